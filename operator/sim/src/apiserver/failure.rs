//! What the API server answers when it refuses, in the words of the real one.

use serde_json::{Value, json};

use super::managed::ApplyError;
use super::schema::Resource;

/// A refusal: a `Status`, or the bare text that answers a path which nothing serves.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// HTTP status code.
    pub code: u16,
    /// The `Status`; `None` for `404 page not found`.
    pub status: Option<Value>,
}

/// A reason why an object is not accepted, in the details of a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Such as `FieldValueInvalid`.
    pub reason: String,
    /// The message without the field.
    pub message: String,
    /// The path of the field.
    pub field: String,
}

impl Failure {
    fn new(code: u16, reason: &str, message: &str, details: Option<Value>) -> Self {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": reason, "code": code,
        });
        if let Some(details) = details {
            status["details"] = details;
        }
        Self {
            code,
            status: Some(status),
        }
    }

    /// Its `reason`; empty for a path that nothing serves.
    pub fn reason(&self) -> &str {
        self.text("reason")
    }

    /// Its message.
    pub fn message(&self) -> &str {
        self.text("message")
    }

    fn text(&self, field: &str) -> &str {
        self.status
            .as_ref()
            .and_then(|status| status.get(field)?.as_str())
            .unwrap_or_default()
    }

    /// The path names a group, version or resource that is not served.
    pub fn not_served() -> Self {
        Self {
            code: 404,
            status: None,
        }
    }

    /// There is no such object.
    pub fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", qualified(resource));
        Self::new(404, "NotFound", &message, Some(details(resource, name)))
    }

    /// The namespace of a new object does not exist.
    pub fn namespace_not_found(namespace: &str) -> Self {
        let message = format!("namespaces \"{namespace}\" not found");
        let details = json!({"name": namespace, "kind": "namespaces"});
        Self::new(404, "NotFound", &message, Some(details))
    }

    /// The namespace of a new object is being deleted.
    pub fn namespace_terminating(resource: &Resource, name: &str, namespace: &str) -> Self {
        let message = format!(
            "{} \"{name}\" is forbidden: unable to create new content in namespace {namespace} because it is being terminated",
            qualified(resource)
        );
        let mut details = details(resource, name);
        details["causes"] = json!([{
            "reason": "NamespaceTerminating",
            "message": format!("namespace {namespace} is being terminated"),
            "field": "metadata.namespace",
        }]);
        Self::new(403, "Forbidden", &message, Some(details))
    }

    /// An object of that name is there already.
    pub fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", qualified(resource));
        Self::new(
            409,
            "AlreadyExists",
            &message,
            Some(details(resource, name)),
        )
    }

    /// An object of that name is there, and about to go.
    pub fn already_exists_and_goes(resource: &Resource, name: &str) -> Self {
        let message = format!(
            "object is being deleted: {} \"{name}\" already exists",
            qualified(resource)
        );
        Self::new(
            409,
            "AlreadyExists",
            &message,
            Some(details(resource, name)),
        )
    }

    /// The write was made for another version of the object.
    pub fn modified(resource: &Resource, name: &str) -> Self {
        Self::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// The write does not fit the object as it is.
    pub fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": {why}",
            qualified(resource)
        );
        Self::new(409, "Conflict", &message, Some(details(resource, name)))
    }

    /// A conflict that the network makes up.
    pub fn simulated_conflict(plural: &str, name: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {plural} \"{name}\": the object has been modified; please apply your changes to the latest version and try again"
        );
        let details = json!({"name": name, "kind": plural});
        Self::new(409, "Conflict", &message, Some(details))
    }

    /// The request cannot be read.
    pub fn bad_request(message: &str) -> Self {
        Self::new(400, "BadRequest", message, None)
    }

    /// The object has fields that the schema does not know, and the write is strict.
    pub fn strict(resource: &Resource, unknown: &[String]) -> Self {
        let unknown: Vec<String> = unknown
            .iter()
            .map(|path| format!("unknown field {path:?}"))
            .collect();
        let message = format!(
            "{} in version \"{}\" cannot be handled as a {}: strict decoding error: {}",
            resource.kind,
            resource.version,
            resource.kind,
            unknown.join(", ")
        );
        Self::bad_request(&message)
    }

    /// The object is not accepted.
    pub fn invalid(resource: &Resource, name: &str, causes: &[Cause]) -> Self {
        let kind = match resource.group.as_str() {
            "" => resource.kind.clone(),
            group => format!("{}.{group}", resource.kind),
        };
        Self::invalid_as(&kind, &resource.group, &resource.kind, name, causes)
    }

    /// The write of a kind that asks for a version names none. Upstream gives the resource where the kind belongs.
    pub fn without_version(resource: &Resource, name: &str) -> Self {
        let cause = Cause {
            reason: "FieldValueInvalid".to_owned(),
            message: "Invalid value: 0: must be specified for an update".to_owned(),
            field: "metadata.resourceVersion".to_owned(),
        };
        Self::invalid_as(
            &qualified(resource),
            &resource.group,
            &resource.plural,
            name,
            &[cause],
        )
    }

    fn invalid_as(qualified: &str, group: &str, kind: &str, name: &str, causes: &[Cause]) -> Self {
        // An aggregate says each thing once (`pkg/util/errors`).
        let mut each: Vec<String> = Vec::new();
        for cause in causes {
            let text = match cause.field.as_str() {
                "" => cause.message.clone(),
                field => format!("{field}: {}", cause.message),
            };
            if !each.contains(&text) {
                each.push(text);
            }
        }
        let joined = match each.as_slice() {
            [one] => one.clone(),
            _ => format!("[{}]", each.join(", ")),
        };
        let causes: Vec<Value> = causes
            .iter()
            .map(|cause| json!({"reason": cause.reason, "message": cause.message, "field": cause.field}))
            .collect();
        let mut about = json!({"name": name, "group": group, "kind": kind, "causes": causes});
        strip_empty_group(&mut about);
        let message = format!("{qualified} \"{name}\" is invalid: {joined}");
        Self::new(422, "Invalid", &message, Some(about))
    }

    /// The write is for an object with another UID (`Preconditions.Check` of `pkg/storage/interfaces.go`).
    pub fn precondition(
        resource: &Resource,
        key: &str,
        name: &str,
        what: &str,
        wanted: &str,
        found: &str,
    ) -> Self {
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}"
        );
        Self::conflict(resource, name, &why)
    }

    /// The deletion is of an object with another UID or version (`BeforeDelete` of `pkg/registry/rest/delete.go`).
    /// Upstream gives the kind where the resource belongs.
    pub fn delete_precondition(resource: &Resource, name: &str, why: &str) -> Self {
        // Every Event is one of the core group to the server.
        let group = if resource.kind == "Event" {
            ""
        } else {
            &resource.group
        };
        let kind = match group {
            "" => resource.kind.clone(),
            group => format!("{}.{group}", resource.kind),
        };
        let message = format!("Operation cannot be fulfilled on {kind} \"{name}\": {why}");
        let mut details = json!({"name": name, "group": group, "kind": resource.kind});
        strip_empty_group(&mut details);
        Self::new(409, "Conflict", &message, Some(details))
    }

    /// The version that a watch is to go on from was compacted away.
    pub fn expired() -> Self {
        Self::new(
            410,
            "Expired",
            "The resourceVersion for the provided watch is too old.",
            None,
        )
    }

    /// The API server failed, and says why.
    pub fn internal_because(why: &str) -> Self {
        let details = json!({"causes": [{"message": why}]});
        Self::new(
            500,
            "InternalError",
            &format!("Internal error occurred: {why}"),
            Some(details),
        )
    }

    /// A JSON patch cannot be applied.
    pub fn unprocessable() -> Self {
        let message = "the server rejected our request due to an error in our request";
        Self::new(422, "Invalid", message, Some(json!({})))
    }

    /// The API server failed.
    pub fn internal() -> Self {
        Self::new(
            500,
            "InternalError",
            "Internal error occurred: simulated",
            None,
        )
    }

    /// The API server did not answer in time.
    pub fn timeout() -> Self {
        Self::new(
            504,
            "Timeout",
            "Timeout: request did not complete within requested timeout - context deadline exceeded",
            None,
        )
    }
}

impl From<ApplyError> for Failure {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::BadRequest(message) => Self::bad_request(&message),
            ApplyError::Conflict { message, causes } => {
                let causes: Vec<Value> = causes
                    .iter()
                    .map(|cause| {
                        json!({
                            "reason": "FieldManagerConflict",
                            "message": cause.message,
                            "field": cause.field,
                        })
                    })
                    .collect();
                Self::new(409, "Conflict", &message, Some(json!({"causes": causes})))
            }
            ApplyError::Internal(message) => {
                let mut failure = Self::new(500, "", &message, None);
                if let Some(Value::Object(status)) = &mut failure.status {
                    status.remove("reason");
                }
                failure
            }
        }
    }
}

/// `deployments.apps`, as messages name a resource.
fn qualified(resource: &Resource) -> String {
    match resource.group.as_str() {
        "" => resource.plural.clone(),
        group => format!("{}.{group}", resource.plural),
    }
}

fn details(resource: &Resource, name: &str) -> Value {
    let mut details = json!({"name": name, "group": resource.group, "kind": resource.plural});
    strip_empty_group(&mut details);
    details
}

fn strip_empty_group(details: &mut Value) {
    if details["group"] == ""
        && let Some(details) = details.as_object_mut()
    {
        details.remove("group");
    }
}
