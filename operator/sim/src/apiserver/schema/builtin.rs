//! The builtin resources.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::parse::Parser;
use super::{Resource, Schema, SchemaError};
use crate::apiserver::managed::FieldSet;

/// Definitions of the API server's OpenAPI documents, written by [`super::generate`].
const FILE: &str = include_str!("../../../schemas/builtin.json");

static DEFINITIONS: LazyLock<Result<Map<String, Value>, serde_json::Error>> =
    LazyLock::new(|| serde_json::from_str(FILE));

/// The definitions of the file.
pub(super) fn definitions() -> Result<&'static Map<String, Value>, SchemaError> {
    DEFINITIONS
        .as_ref()
        .map_err(|error| SchemaError::Json(serde::de::Error::custom(error)))
}

/// One builtin resource.
pub(super) struct Builtin {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    namespaced: bool,
    /// The name of its definition.
    pub(super) definition: &'static str,
    /// What the status subresource does not own, where it has one (`GetResetFields` of the status strategies in
    /// `pkg/registry` of Kubernetes; those of the object itself are its status).
    status_reset: Option<&'static [&'static [&'static str]]>,
}

const SPEC: Option<&[&[&str]]> = Some(&[&["spec"]]);

const fn builtin(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    namespaced: bool,
    definition: &'static str,
    status_reset: Option<&'static [&'static [&'static str]]>,
) -> Builtin {
    Builtin {
        group,
        version,
        kind,
        plural,
        namespaced,
        definition,
        status_reset,
    }
}

#[rustfmt::skip]
pub(super) const BUILTINS: &[Builtin] = &[
    builtin("", "v1", "Namespace", "namespaces", false, "io.k8s.api.core.v1.Namespace", SPEC),
    builtin("", "v1", "ResourceQuota", "resourcequotas", true, "io.k8s.api.core.v1.ResourceQuota", SPEC),
    builtin("", "v1", "LimitRange", "limitranges", true, "io.k8s.api.core.v1.LimitRange", None),
    builtin("", "v1", "ServiceAccount", "serviceaccounts", true, "io.k8s.api.core.v1.ServiceAccount", None),
    builtin("", "v1", "ConfigMap", "configmaps", true, "io.k8s.api.core.v1.ConfigMap", None),
    builtin("", "v1", "Secret", "secrets", true, "io.k8s.api.core.v1.Secret", None),
    builtin("", "v1", "Service", "services", true, "io.k8s.api.core.v1.Service", SPEC),
    builtin("", "v1", "Pod", "pods", true, "io.k8s.api.core.v1.Pod",
        Some(&[&["spec"], &["metadata", "deletionTimestamp"], &["metadata", "ownerReferences"]])),
    builtin("", "v1", "Event", "events", true, "io.k8s.api.core.v1.Event", None),
    builtin("", "v1", "Node", "nodes", false, "io.k8s.api.core.v1.Node", SPEC),
    builtin("apps", "v1", "ControllerRevision", "controllerrevisions", true, "io.k8s.api.apps.v1.ControllerRevision", None),
    builtin("apps", "v1", "Deployment", "deployments", true, "io.k8s.api.apps.v1.Deployment",
        Some(&[&["spec"], &["metadata", "labels"]])),
    builtin("apps", "v1", "ReplicaSet", "replicasets", true, "io.k8s.api.apps.v1.ReplicaSet", SPEC),
    builtin("batch", "v1", "Job", "jobs", true, "io.k8s.api.batch.v1.Job", SPEC),
    builtin("batch", "v1", "CronJob", "cronjobs", true, "io.k8s.api.batch.v1.CronJob", SPEC),
    builtin("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", true, "io.k8s.api.policy.v1.PodDisruptionBudget", SPEC),
    builtin("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", true, "io.k8s.api.networking.v1.NetworkPolicy", None),
    builtin("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", true,
        "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler", SPEC),
    builtin("autoscaling", "v1", "Scale", "scales", true, "io.k8s.api.autoscaling.v1.Scale", None),
    builtin("coordination.k8s.io", "v1", "Lease", "leases", true, "io.k8s.api.coordination.v1.Lease", None),
    builtin("events.k8s.io", "v1", "Event", "events", true, "io.k8s.api.events.v1.Event", None),
    builtin("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies", false,
        "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicy", Some(&[&["spec"], &["metadata"]])),
    builtin("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", false,
        "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicyBinding", None),
    builtin("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", false,
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
        Some(&[&["metadata"], &["spec"]])),
];

/// Every builtin resource. They share one arena of types.
pub(super) fn resources() -> Vec<Resource> {
    static RESOURCES: LazyLock<Vec<Resource>> = LazyLock::new(|| make().unwrap_or_default());
    RESOURCES.clone()
}

fn make() -> Result<Vec<Resource>, SchemaError> {
    let definitions = definitions()?;
    let mut parser = Parser::new(definitions);
    let roots = BUILTINS
        .iter()
        .map(|builtin| parser.named(builtin.definition))
        .collect::<Result<Vec<_>, _>>()?;
    let types: std::sync::Arc<[_]> = parser.finish().into();
    let resources = BUILTINS.iter().zip(roots).map(|(builtin, root)| {
        let api_version = if builtin.group.is_empty() {
            builtin.version.to_owned()
        } else {
            format!("{}/{}", builtin.group, builtin.version)
        };
        let mut empty = zero(definitions, builtin.definition);
        crate::apiserver::decode::round_trip_as(builtin.definition, &mut empty);
        // What the OpenAPI document does not tell: here optional means `omitempty` once too little, there too much.
        match builtin.kind {
            "HorizontalPodAutoscaler" => empty["status"]["currentMetrics"] = Value::Null,
            "ValidatingAdmissionPolicyBinding" => empty["spec"] = json!({}),
            _ => {}
        }
        if let Value::Object(empty) = &mut empty {
            empty.insert("apiVersion".to_owned(), json!(api_version));
            empty.insert("kind".to_owned(), json!(builtin.kind));
        }
        let status = builtin.status_reset.is_some();
        Resource {
            group: builtin.group.to_owned(),
            version: builtin.version.to_owned(),
            versions: vec![builtin.version.to_owned()],
            kind: builtin.kind.to_owned(),
            list_kind: format!("{}List", builtin.kind),
            plural: builtin.plural.to_owned(),
            singular: builtin.kind.to_lowercase(),
            namespaced: builtin.namespaced,
            status,
            scale: None,
            is_custom: false,
            schema: Schema {
                types: types.clone(),
                root,
                checks: None,
            },
            empty,
            reset: if status {
                FieldSet::of(&[&["status"]])
            } else {
                FieldSet::default()
            },
            status_reset: FieldSet::of(builtin.status_reset.unwrap_or_default()),
        }
    });
    Ok(resources.collect())
}

/// Go's zero value of a definition in JSON.
///
/// A field that is a struct is never left out, and its definition has the default `{}`. A scalar field without
/// `omitempty` has its zero value for default. A required field without a default is a nil slice, map or pointer, and
/// null in JSON.
fn zero(definitions: &Map<String, Value>, name: &str) -> Value {
    let mut object = Map::new();
    let definition = definitions.get(name).unwrap_or(&Value::Null);
    let required = |name: &str| {
        definition["required"]
            .as_array()
            .is_some_and(|required| required.iter().any(|r| r == name))
    };
    for (field, property) in definition["properties"].as_object().into_iter().flatten() {
        let value = match (&property["default"], property["$ref"].as_str()) {
            (Value::Object(default), Some(reference)) if default.is_empty() => {
                zero(definitions, reference)
            }
            (Value::Null, _) if required(field) => Value::Null,
            (zero @ Value::String(text), _) if text.is_empty() => zero.clone(),
            (zero @ Value::Number(number), _)
                if number.as_f64() == Some(0.0) && required(field) =>
            {
                zero.clone()
            }
            (zero @ Value::Bool(false), _) => zero.clone(),
            _ => continue,
        };
        object.insert(field.clone(), value);
    }
    Value::Object(object)
}
