//! What differs between kinds: generations, the first state of an object, what a write may not touch, deletion, and
//! fields that never change.
//!
//! Upstream each kind has a strategy (`k8s.io/kubernetes`, `pkg/registry/*/*/strategy.go`); custom resources share one
//! (`k8s.io/apiextensions-apiserver`, `pkg/registry/customresource/strategy.go`).

use serde_json::{Map, Value, json};

use super::call::Subresource;
use super::failure::Cause;
use super::rules::Rules;
use super::schema::Resource;
use super::server::metadata;
use super::{decode, defaults};

/// The kind of one of Kubernetes' own resources; empty for a custom one.
fn own(resource: &Resource) -> &str {
    if resource.is_custom {
        ""
    } else {
        &resource.kind
    }
}

/// What decoding a request's body makes of it: no null, nothing empty that may be left out, and the defaults.
pub fn decode(resource: &Resource, object: &mut Value) {
    resource.schema.default(object);
    if !resource.is_custom {
        decode::round_trip(resource, object);
        defaults::fill(&resource.kind, object);
    }
}

/// What reading makes of a stored object: custom resources are pruned, others are defaulted once more, which shows where
/// the server itself has changed something since (in Jobs). Tells whether anything changed.
pub fn read(resource: &Resource, object: &mut Value) -> bool {
    if !resource.is_custom && own(resource) != "Job" {
        return false;
    }
    let stored = object.clone();
    if resource.is_custom {
        resource.schema.prune(object);
    } else {
        defaults::fill(&resource.kind, object);
    }
    *object != stored
}

/// Whether objects of a resource count the changes of what is asked for.
pub fn has_generation(resource: &Resource) -> bool {
    resource.is_custom
        || matches!(
            own(resource),
            "CronJob"
                | "CustomResourceDefinition"
                | "Deployment"
                | "Job"
                | "NetworkPolicy"
                | "Pod"
                | "PodDisruptionBudget"
                | "ReplicaSet"
                | "ValidatingAdmissionPolicy"
                | "ValidatingAdmissionPolicyBinding"
        )
}

/// Whether a write without a version is one of the newest version (`AllowUnconditionalUpdate`).
pub fn allows_unconditional_update(resource: &Resource) -> bool {
    !matches!(
        own(resource),
        "" | "Lease"
            | "PodDisruptionBudget"
            | "ValidatingAdmissionPolicy"
            | "ValidatingAdmissionPolicyBinding"
    )
}

/// Whether putting an object makes it (`AllowCreateOnUpdate`).
pub fn allows_create_on_update(resource: &Resource) -> bool {
    matches!(own(resource), "Event" | "Lease" | "LimitRange" | "Service")
}

/// Whether the answer to a deletion is the object (`ReturnDeletedObject` of the kinds' `storage.go`).
pub fn answers_deletion_with_object(resource: &Resource) -> bool {
    matches!(
        own(resource),
        "Namespace" | "Pod" | "ResourceQuota" | "Service" | "ServiceAccount"
    )
}

/// Whether dependents are orphaned where nothing is said of them (`DefaultGarbageCollectionPolicy`).
pub fn orphans_by_default(resource: &Resource) -> bool {
    own(resource) == "Job"
}

/// Whether the garbage collector looks after the dependents of a resource.
pub fn has_dependents(resource: &Resource) -> bool {
    own(resource) != "Event"
}

/// What admission adds to a new object (`plugin/pkg/admission`: `serviceaccount`, `priority`,
/// `defaulttolerationseconds`). The token that `serviceaccount` mounts is left out: nobody here looks for it.
pub fn admit(resource: &Resource, object: &mut Value) {
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    if own(resource) != "Pod" {
        return;
    }
    spec.entry("serviceAccountName").or_insert(json!("default"));
    let account = spec["serviceAccountName"].clone();
    spec.insert("serviceAccount".into(), account);
    spec.entry("priority").or_insert(json!(0));
    spec.entry("preemptionPolicy")
        .or_insert(json!("PreemptLowerPriority"));
    let Some(tolerations) = spec
        .entry("tolerations")
        .or_insert(json!([]))
        .as_array_mut()
    else {
        return;
    };
    for key in [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ] {
        if tolerations
            .iter()
            .all(|toleration| toleration["key"] != key)
        {
            tolerations.push(json!({
                "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300,
            }));
        }
    }
}

/// Gives a new object its first state (`PrepareForCreate`).
pub fn prepare_create(resource: &Resource, object: &mut Value) {
    if resource.status {
        set(object, "status", resource.empty.get("status").cloned());
    }
    let uid = object["metadata"]["uid"].clone();
    let name = object["metadata"]["name"].clone();
    match own(resource) {
        "Namespace" => {
            let finalizers = &mut object["spec"]["finalizers"];
            match finalizers.as_array_mut() {
                Some(finalizers) if finalizers.iter().any(|known| known == "kubernetes") => {}
                Some(finalizers) => finalizers.push(json!("kubernetes")),
                None => *finalizers = json!(["kubernetes"]),
            }
            object["status"] = json!({"phase": "Active"});
            metadata(object).entry("labels").or_insert(json!({}))["kubernetes.io/metadata.name"] =
                name;
        }
        "Pod" => {
            let class = quality_of_service(&object["spec"]);
            object["status"] = json!({"phase": "Pending", "qosClass": class});
        }
        "Job" if object["spec"]["manualSelector"] != true => {
            // Labels that were defaulted are those of the template, in one map.
            let template = object.pointer("/spec/template/metadata/labels");
            let is_shared = template.is_some() && template == object.pointer("/metadata/labels");
            select_by_uid(&mut object["spec"], &name, &uid);
            if is_shared {
                let labels = object.pointer("/spec/template/metadata/labels").cloned();
                set(&mut object["metadata"], "labels", labels);
            }
        }
        _ => {}
    }
}

/// `generateSelector` of `batch/job/strategy.go`.
fn select_by_uid(spec: &mut Value, name: &Value, uid: &Value) {
    let labels = &mut metadata(&mut spec["template"])
        .entry("labels")
        .or_insert(json!({}));
    for (label, value) in [
        ("job-name", name),
        ("batch.kubernetes.io/job-name", name),
        ("controller-uid", uid),
        ("batch.kubernetes.io/controller-uid", uid),
    ] {
        if let Some(labels) = labels.as_object_mut() {
            labels.entry(label).or_insert(value.clone());
        }
    }
    if !spec["selector"].is_object() {
        spec["selector"] = json!({});
    }
    let selector = &mut spec["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"];
    if selector.is_null() {
        *selector = uid.clone();
    }
}

/// `pkg/apis/core/v1/helper/qos`, of the resources of containers.
fn quality_of_service(spec: &Value) -> &'static str {
    let lists = ["containers", "initContainers"].map(|list| spec[list].as_array());
    let all: Vec<&Value> = lists.into_iter().flatten().flatten().collect();
    let quantity = |container: &Value, of: &str, name: &str| {
        let quantity = container.pointer(&format!("/resources/{of}/{name}"));
        quantity.filter(|quantity| **quantity != "0").cloned()
    };
    let asks = |container: &&Value| {
        ["limits", "requests"].iter().any(|of| {
            ["cpu", "memory"]
                .iter()
                .any(|name| quantity(container, of, name).is_some())
        })
    };
    if !all.iter().any(asks) {
        return "BestEffort";
    }
    let is_guaranteed = |container: &&Value| {
        ["cpu", "memory"].iter().all(|name| {
            let limit = quantity(container, "limits", name);
            limit.is_some() && limit == quantity(container, "requests", name)
        })
    };
    if all.iter().all(is_guaranteed) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

/// Puts back what a write may not touch, and counts it as a new generation where it changes what is asked for
/// (`PrepareForUpdate`).
pub fn prepare_update(
    resource: &Resource,
    subresource: Subresource,
    live: &Value,
    object: &mut Value,
) {
    match subresource {
        Subresource::Status => return prepare_status(resource, live, object),
        Subresource::Finalize => set(object, "status", live.get("status").cloned()),
        Subresource::None | Subresource::Scale => {
            if resource.status {
                set(object, "status", live.get("status").cloned());
            }
            match own(resource) {
                "Namespace" => set(object, "spec", live.get("spec").cloned()),
                "Secret" if object.get("type").is_none() => {
                    set(object, "type", live.get("type").cloned())
                }
                _ => {}
            }
        }
    }
    if has_generation(resource) && changes_generation(resource, live, object) {
        count_generation(live, object);
    }
}

/// Makes an object a new generation of what it was.
pub fn count_generation(live: &Value, object: &mut Value) {
    let generation = live["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
    metadata(object).insert("generation".into(), json!(generation));
}

/// Whether an empty list or map is a change to an object that has none (`reflect.DeepEqual` in
/// `networking/networkpolicy/strategy.go`; all others compare semantically).
pub fn counts_empty_lists(resource: &Resource) -> bool {
    own(resource) == "NetworkPolicy"
}

/// Whether there is an empty list, or an empty map of labels, anywhere in a value.
pub fn has_empty_list(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty() || items.iter().any(has_empty_list),
        Value::Object(fields) => fields.iter().any(|(name, value)| {
            has_empty_list(value)
                || name == "matchLabels" && value.as_object().is_some_and(Map::is_empty)
        }),
        _ => false,
    }
}

fn prepare_status(resource: &Resource, live: &Value, object: &mut Value) {
    if resource.is_custom {
        let status = object.get("status").cloned();
        let managed = object["metadata"].get("managedFields").cloned();
        *object = live.clone();
        set(object, "status", status);
        set(&mut object["metadata"], "managedFields", managed);
        return;
    }
    set(object, "spec", live.get("spec").cloned());
    let kept: &[&str] = match own(resource) {
        "CustomResourceDefinition" | "ValidatingAdmissionPolicy" => {
            &["labels", "annotations", "finalizers", "ownerReferences"]
        }
        "Deployment" => &["labels"],
        "Pod" => &["ownerReferences"],
        _ => &[],
    };
    for field in kept {
        set(
            &mut object["metadata"],
            field,
            live["metadata"].get(field).cloned(),
        );
    }
    if own(resource) == "Pod" && object["status"].get("qosClass").is_none() {
        set(
            &mut object["status"],
            "qosClass",
            live["status"].get("qosClass").cloned(),
        );
    }
}

fn changes_generation(resource: &Resource, live: &Value, object: &Value) -> bool {
    let differs = |pointer: &str| live.pointer(pointer) != object.pointer(pointer);
    if !resource.is_custom {
        let counts_annotations = own(resource) == "Deployment";
        return differs("/spec") || (counts_annotations && differs("/metadata/annotations"));
    }
    let (Value::Object(live), Value::Object(object)) = (live, object) else {
        return true;
    };
    let same = |one: &Map<String, Value>, other: &Map<String, Value>| {
        one.iter()
            .all(|(name, value)| name == "metadata" || other.get(name) == Some(value))
    };
    !same(live, object) || !same(object, live)
}

/// Sets a field, or takes it away.
pub fn set(object: &mut Value, field: &str, value: Option<Value>) {
    let Value::Object(object) = object else {
        return;
    };
    match value {
        Some(value) => object.insert(field.to_owned(), value),
        None => object.remove(field),
    };
}

/// What of a new or changed object is not accepted, as the causes of a refusal. Of Kubernetes' own kinds only what
/// never changes is looked at.
pub fn validate(
    resource: &Resource,
    rules: &Rules,
    subresource: Subresource,
    object: &Value,
    live: Option<&Value>,
) -> Vec<Cause> {
    let mut causes = live.map_or_else(Vec::new, |live| immutable_metadata(object, live));
    if !resource.is_custom {
        causes.extend(live.map_or_else(Vec::new, |live| immutable(resource, object, live)));
        return causes;
    }
    let problems = match (subresource, live) {
        (Subresource::Status, Some(live)) => resource.schema.validate_status(object, live),
        _ => resource.schema.validate(object, live),
    };
    let blocks = problems.iter().any(super::schema::Problem::blocks_rules);
    causes.extend(problems.into_iter().map(|problem| Cause {
        reason: problem.reason.to_string(),
        message: problem.message,
        field: problem.field,
    }));
    if !blocks {
        causes.extend(rules.broken(resource, object, live));
    }
    causes
}

/// `ValidateObjectMetaAccessorUpdate` of `pkg/api/validation/objectmeta.go`.
fn immutable_metadata(object: &Value, live: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let finalizers = |of: &Value| -> Vec<String> {
        let all = of["metadata"]["finalizers"]
            .as_array()
            .into_iter()
            .flatten();
        all.filter_map(|finalizer| finalizer.as_str().map(str::to_owned))
            .collect()
    };
    if live["metadata"].get("deletionTimestamp").is_some() {
        let old = finalizers(live);
        let mut new: Vec<String> = finalizers(object)
            .into_iter()
            .filter(|it| !old.contains(it))
            .collect();
        new.sort();
        new.dedup();
        if !new.is_empty() {
            let new: Vec<String> = new.iter().map(|it| format!("{it:?}")).collect();
            causes.push(Cause {
                reason: "FieldValueForbidden".to_owned(),
                message: format!(
                    "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                    new.join(", ")
                ),
                field: "metadata.finalizers".to_owned(),
            });
        }
    }
    let (wanted, found) = (&object["metadata"]["uid"], &live["metadata"]["uid"]);
    if wanted != found {
        causes.push(never_changes("metadata.uid", wanted));
    }
    causes
}

fn never_changes(field: &str, value: &Value) -> Cause {
    Cause {
        reason: "FieldValueInvalid".to_owned(),
        message: format!("Invalid value: {value}: field is immutable"),
        field: field.to_owned(),
    }
}

/// Fields of Kubernetes' own kinds that never change.
fn immutable(resource: &Resource, object: &Value, live: &Value) -> Vec<Cause> {
    let is_frozen = live["immutable"] == true;
    let fields: &[&str] = match own(resource) {
        "Deployment" | "ReplicaSet" => &["spec.selector"],
        "Job" => &[
            "spec.completions",
            "spec.selector",
            "spec.template",
            "spec.completionMode",
        ],
        "ControllerRevision" => &["data"],
        "ConfigMap" if is_frozen => &["immutable", "data", "binaryData"],
        "Secret" if is_frozen => &["immutable", "data", "type"],
        "Secret" => &["type"],
        _ => &[],
    };
    let pointer = |field: &str| format!("/{}", field.replace('.', "/"));
    let changed = fields.iter().filter(|field| {
        let pointer = pointer(field);
        object.pointer(&pointer) != live.pointer(&pointer)
    });
    changed
        .map(|field| {
            if is_frozen && *field != "type" {
                return Cause {
                    reason: "FieldValueForbidden".to_owned(),
                    message: "Forbidden: field is immutable when `immutable` is set".to_owned(),
                    field: (*field).to_owned(),
                };
            }
            never_changes(
                field,
                object.pointer(&pointer(field)).unwrap_or(&Value::Null),
            )
        })
        .collect()
}

/// Whether something is to be done before the object may go.
pub fn has_finalizers(object: &Value) -> bool {
    let any = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_array)
            .is_some_and(|finalizers| !finalizers.is_empty())
    };
    let of_namespace = object["kind"] == "Namespace" && any("/spec/finalizers");
    any("/metadata/finalizers") || of_namespace
}
