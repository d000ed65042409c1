//! One request, read.

use std::time::Duration;

use serde_json::Value;

use super::failure::Failure;
use super::selector::Selector;

/// What one request asks for, and of what.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// API group; empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Resource, in the plural.
    pub plural: String,
    /// Namespace; empty for none, or for all.
    pub namespace: String,
    /// Name; empty where the request is about all objects, or makes a new one.
    pub name: String,
    /// Part of the object that is read or written.
    pub subresource: Subresource,
    /// What is to be done.
    pub verb: Verb,
}

/// Part of an object with an address of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subresource {
    /// The object itself.
    None,
    /// `/status`
    Status,
    /// `/scale`
    Scale,
    /// `/finalize`, of a namespace.
    Finalize,
}

impl Subresource {
    /// Its name, as `managedFields` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Status => "status",
            Self::Scale => "scale",
            Self::Finalize => "finalize",
        }
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Verb {
    /// Read one object.
    Get,
    /// Read all.
    List(List),
    /// Tell of changes.
    Watch(Watch),
    /// Make a new object.
    Create(Write, Value),
    /// Put another object in its place.
    Replace(Write, Value),
    /// Server-side apply; whether other managers' fields are taken over.
    Apply(Write, bool, Value),
    /// JSON merge patch (RFC 7396).
    Merge(Write, Value),
    /// JSON patch (RFC 6902).
    Json(Write, Value),
    /// Delete one object.
    Delete(Delete),
}

impl Verb {
    /// Whether it asks to change anything.
    pub fn is_write(&self) -> bool {
        !matches!(self, Self::Get | Self::List(_) | Self::Watch(_))
    }

    /// Its name, as an audit log has it, with the kind of a patch.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List(_) => "list",
            Self::Watch(_) => "watch",
            Self::Create(..) => "create",
            Self::Replace(..) => "update",
            Self::Apply(..) => "apply",
            Self::Merge(..) => "merge-patch",
            Self::Json(..) => "json-patch",
            Self::Delete(_) => "delete",
        }
    }
}

/// Options of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// What it is limited to.
    pub selector: Selector,
    /// Objects in a page; 0 for all.
    pub limit: usize,
    /// Where the page begins: version and key of the last page's end.
    pub continue_: String,
    /// `resourceVersion`; empty for the newest.
    pub resource_version: String,
}

/// Options of a watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// What it is limited to.
    pub selector: Selector,
    /// Changes after this version.
    pub resource_version: u64,
    /// Whether it wants bookmarks.
    pub bookmarks: bool,
    /// Time after which the server ends it.
    pub timeout: Option<Duration>,
}

/// Options of every write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Write {
    /// Field manager.
    pub manager: String,
    /// Whether an unknown or duplicate field is refused.
    pub strict: bool,
}

/// Options of a deletion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delete {
    /// Only the object with this UID.
    pub uid: Option<String>,
    /// Only this version of it.
    pub resource_version: Option<String>,
    /// What becomes of its dependents.
    pub propagation: Propagation,
}

/// What becomes of the dependents of a deleted object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    /// What was said before, else they are deleted after it.
    #[default]
    Unsaid,
    /// They are deleted after it.
    Background,
    /// It stays until they are deleted.
    Foreground,
    /// They lose their owner.
    Orphan,
}

impl Call {
    /// Reads a request: its method, path with query, content type and body.
    pub fn parse(
        method: &str,
        path_and_query: &str,
        content_type: &str,
        body: &[u8],
    ) -> Result<Self, Failure> {
        let (path, query) = path_and_query
            .split_once('?')
            .unwrap_or((path_and_query, ""));
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return Err(Failure::not_served()),
        };
        // `namespaces/x/deployments/y` against the namespace `x` itself.
        let (namespace, plural, name, subresource) = match rest {
            ["namespaces", namespace, plural, rest @ ..]
                if !matches!(*plural, "status" | "finalize") =>
            {
                (*namespace, *plural, rest.first(), rest.get(1))
            }
            [plural, rest @ ..] => ("", *plural, rest.first(), rest.get(1)),
            [] => return Err(Failure::not_served()),
        };
        let subresource = match subresource.copied() {
            None => Subresource::None,
            Some("status") => Subresource::Status,
            Some("scale") => Subresource::Scale,
            Some("finalize") => Subresource::Finalize,
            Some(_) => return Err(Failure::not_served()),
        };
        let query = Query(query);
        let name = name.copied().unwrap_or_default();
        Ok(Self {
            group: group.to_owned(),
            version: version.to_owned(),
            plural: plural.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource,
            verb: verb(method, name, &query, content_type, body)?,
        })
    }
}

fn verb(
    method: &str,
    name: &str,
    query: &Query<'_>,
    content_type: &str,
    body: &[u8],
) -> Result<Verb, Failure> {
    let selector = || Selector::parse(&query.get("labelSelector"), &query.get("fieldSelector"));
    let write = || Write {
        manager: query.get("fieldManager"),
        strict: query.get("fieldValidation") == "Strict",
    };
    Ok(match method {
        "GET" if query.get("watch") == "true" => Verb::Watch(Watch {
            selector: selector()?,
            resource_version: query.get("resourceVersion").parse().unwrap_or(0),
            bookmarks: query.get("allowWatchBookmarks") == "true",
            timeout: query
                .get("timeoutSeconds")
                .parse()
                .ok()
                .map(Duration::from_secs),
        }),
        "GET" if name.is_empty() => Verb::List(List {
            selector: selector()?,
            limit: query.get("limit").parse().unwrap_or(0),
            continue_: query.get("continue"),
            resource_version: query.get("resourceVersion"),
        }),
        "GET" => Verb::Get,
        "POST" => Verb::Create(write(), json(body)?),
        "PUT" => Verb::Replace(write(), json(body)?),
        "PATCH" => match content_type {
            "application/apply-patch+yaml" => {
                Verb::Apply(write(), query.get("force") == "true", json(body)?)
            }
            "application/merge-patch+json" => Verb::Merge(write(), json(body)?),
            "application/json-patch+json" => Verb::Json(write(), json(body)?),
            other => {
                return Err(Failure::bad_request(&format!(
                    "the simulation does not know the patch type {other:?}"
                )));
            }
        },
        "DELETE" if !name.is_empty() => Verb::Delete(delete(body)?),
        other => {
            return Err(Failure::bad_request(&format!(
                "the simulation does not know the method {other}"
            )));
        }
    })
}

fn delete(body: &[u8]) -> Result<Delete, Failure> {
    if body.is_empty() {
        return Ok(Delete::default());
    }
    let options = json(body)?;
    let precondition = |field: &str| {
        let value = options.get("preconditions")?.get(field)?.as_str()?;
        Some(value.to_owned())
    };
    Ok(Delete {
        uid: precondition("uid"),
        resource_version: precondition("resourceVersion"),
        propagation: match options.get("propagationPolicy").and_then(Value::as_str) {
            Some("Foreground") => Propagation::Foreground,
            Some("Orphan") => Propagation::Orphan,
            Some("Background") => Propagation::Background,
            _ => Propagation::Unsaid,
        },
    })
}

fn json(body: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(body)
        .map_err(|error| Failure::bad_request(&format!("the body is no JSON: {error}")))
}

/// A query string.
struct Query<'a>(&'a str);

impl Query<'_> {
    /// The value of a parameter; empty where it is absent.
    fn get(&self, name: &str) -> String {
        form_urlencoded::parse(self.0.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
            .unwrap_or_default()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panic")]
mod tests {
    use serde_json::json;

    use super::*;

    fn get(path: &str) -> Call {
        Call::parse("GET", path, "", b"").unwrap()
    }

    #[test]
    fn paths_name_group_namespace_object_and_subresource() {
        let call = get("/apis/apps/v1/namespaces/todo/deployments/shop/scale");
        let parts = (
            call.group.as_str(),
            call.version.as_str(),
            call.plural.as_str(),
        );
        assert_eq!(parts, ("apps", "v1", "deployments"));
        assert_eq!(
            (call.namespace.as_str(), call.name.as_str()),
            ("todo", "shop")
        );
        assert_eq!(call.subresource, Subresource::Scale);
        let call = get("/api/v1/namespaces/todo");
        assert_eq!(
            (call.plural.as_str(), call.name.as_str()),
            ("namespaces", "todo")
        );
        assert_eq!(call.namespace, "");
        let call = get("/api/v1/namespaces/todo/status");
        assert_eq!(call.subresource, Subresource::Status);
        assert!(Call::parse("GET", "/metrics", "", b"").is_err());
    }

    #[test]
    fn queries_are_decoded() {
        let call = get(
            "/api/v1/pods?watch=true&labelSelector=app%3Dshop&resourceVersion=7&timeoutSeconds=290&allowWatchBookmarks=true",
        );
        let expected = Watch {
            selector: Selector::parse("app=shop", "").unwrap(),
            resource_version: 7,
            bookmarks: true,
            timeout: Some(Duration::from_secs(290)),
        };
        assert_eq!(call.verb, Verb::Watch(expected));
    }

    #[test]
    fn writes_bear_their_options() {
        let path = "/api/v1/namespaces/todo/configmaps/a?fieldManager=me&force=true&fieldValidation=Strict";
        let call = Call::parse("PATCH", path, "application/apply-patch+yaml", b"{}").unwrap();
        let write = Write {
            manager: "me".into(),
            strict: true,
        };
        assert_eq!(call.verb, Verb::Apply(write, true, json!({})));
        let body = br#"{"propagationPolicy":"Orphan","preconditions":{"uid":"u"}}"#;
        let call = Call::parse("DELETE", path, "", body).unwrap();
        let expected = Delete {
            uid: Some("u".into()),
            resource_version: None,
            propagation: Propagation::Orphan,
        };
        assert_eq!(call.verb, Verb::Delete(expected));
        assert!(
            Call::parse(
                "PATCH",
                path,
                "application/strategic-merge-patch+json",
                b"{}"
            )
            .is_err()
        );
    }
}
