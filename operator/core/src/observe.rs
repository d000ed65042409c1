//! Reading: from an object, as the API server sends it, to its compact record.

use serde::Deserialize;
use serde_json::Value;

use crate::canonical;
use crate::cause::Health;
use crate::child::ChildKey;
use crate::fields::{self, boxed, generation, integer, is_true, items, seconds, text};
use crate::health;
use crate::kind::Kind;
use crate::live::{Detail, Live, Record, RevisionComponent, RevisionSummary, Whose};
use crate::names;
use crate::projection;
use crate::release::RevisionData;

/// Reads an object of `kind`; `None` where it has no name, UID or resourceVersion (which the API server never sends).
pub fn read(kind: Kind, object: &Value) -> Option<Record> {
    let name = text(object, "/metadata/name")?;
    let namespace = text(object, "/metadata/namespace").unwrap_or_default();
    let label = |name: &str| fields::label(object, name).map(boxed);
    let app = label(names::LABEL_APP);
    let (health, detail) = match kind {
        Kind::ControllerRevision => (
            Health::Ready,
            revision(object, app.as_deref().unwrap_or_default()),
        ),
        Kind::Event => (Health::Ready, event(object)),
        _ => health::read(kind, object),
    };
    let live = Live {
        uid: boxed(text(object, "/metadata/uid")?),
        resource_version: boxed(text(object, "/metadata/resourceVersion")?),
        generation: generation(object),
        owner: items(object, "/metadata/ownerReferences")
            .find(|owner| is_true(owner, "/controller"))
            .and_then(|owner| text(owner, "/uid"))
            .map(boxed),
        component: label(names::LABEL_COMPONENT),
        owned: canonical::digest(&projection::project(kind, object)),
        written: projection::our_entry(object)
            .and_then(|entry| seconds(entry, "/time"))
            .unwrap_or_default(),
        deleting: health::is_being_deleted(object),
        health,
        detail,
    };
    let whose = match app {
        Some(name) => Whose::App {
            namespace: label(names::LABEL_NAMESPACE).unwrap_or_else(|| boxed(namespace)),
            name,
        },
        None => label(names::LABEL_ENVIRONMENT).map_or(Whose::Nobody, Whose::Environment),
    };
    Some(Record {
        key: ChildKey::new(kind, namespace, name),
        whose,
        live,
    })
}

/// What a ControllerRevision of `app` holds; [`Detail::None`] where it is not in our form.
fn revision(object: &Value, app: &str) -> Detail {
    let data = object.get("data").map(RevisionData::deserialize);
    let Some(Ok(data)) = data else {
        return Detail::None;
    };
    let components = data
        .components
        .iter()
        .map(|(name, inputs)| RevisionComponent {
            name: boxed(name),
            inputs: inputs.hash().into(),
            image: boxed(&inputs.image),
            config_hash: inputs.config_hash().into_boxed_str(),
            config_map: inputs.config_map(app, name).map(String::into_boxed_str),
            migration: inputs
                .migration
                .as_ref()
                .map(|migration| boxed(&migration.job)),
        })
        .collect();
    Detail::Revision(Box::new(RevisionSummary {
        number: integer(object, "/revision").unwrap_or_default(),
        fingerprint: data.fingerprint.into_boxed_str(),
        version: data.release.version.map(String::into_boxed_str),
        components,
    }))
}

fn event(object: &Value) -> Detail {
    // A series or a repetition says when it was last seen; a single one only when it was made.
    let seen = [
        "/series/lastObservedTime",
        "/lastTimestamp",
        "/eventTime",
        "/firstTimestamp",
        "/metadata/creationTimestamp",
    ]
    .into_iter()
    .find_map(|time| seconds(object, time));
    let word = |pointer| boxed(text(object, pointer).unwrap_or_default());
    Detail::Event {
        about: word("/involvedObject/name"),
        reason: word("/reason"),
        message: word("/message"),
        seen: seen.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::live::Workload;

    /// A recorded answer of an API server: the body that was applied, and what the server held.
    fn recorded(name: &str) -> (Value, Value) {
        let path = format!(
            "{}/tests/fixtures/settled/{name}.json",
            env!("CARGO_MANIFEST_DIR")
        );
        let text = std::fs::read_to_string(path).unwrap();
        let mut fixture: Value = serde_json::from_str(&text).unwrap();
        (fixture["body"].take(), fixture["live"].take())
    }

    fn workload(name: &str, kind: Kind) -> Workload {
        match read(kind, &recorded(name).1).unwrap().live.detail {
            Detail::Workload(workload) => *workload,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn recorded_deployment_is_read_as_a_whole() {
        let (body, live) = recorded("deployment");
        let read = read(Kind::Deployment, &live).unwrap();
        let (key, record) = (read.key, read.live);
        assert_eq!(key, ChildKey::new(Kind::Deployment, "rec-app", "todo-api"));
        let whose = Whose::App {
            namespace: "rec-app".into(),
            name: "todo".into(),
        };
        assert_eq!(read.whose, whose);
        assert_eq!(record.component.as_deref(), Some("api"));
        assert_eq!(record.owner, None);
        assert_eq!(record.generation, 1);
        assert_eq!(*record.uid, *live["metadata"]["uid"].as_str().unwrap());
        assert_eq!(
            *record.resource_version,
            *live["metadata"]["resourceVersion"].as_str().unwrap()
        );
        let written: jiff::Timestamp = live["metadata"]["creationTimestamp"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(record.written, written.as_second());
        let wanted = projection::neutral(Kind::Deployment, &body);
        assert_eq!(record.owned, canonical::digest(&wanted));
        assert!(!record.deleting);
        let Detail::Workload(workload) = record.detail else {
            panic!("{:?}", record.detail);
        };
        assert_eq!(workload.inputs.as_deref(), Some("0123456789ab"));
        assert!(
            workload
                .image
                .starts_with("registry.example.com/todo-api@sha256:")
        );
        assert_eq!(workload.config_maps, vec![boxed("todo-api-1a2b3c4d")]);
        assert_eq!(workload.replicas, Some(2));
    }

    #[test]
    fn recorded_owners_of_replicas_are_told_apart() {
        for (name, kind, ours, theirs, replicas) in [
            ("deployment", Kind::Deployment, true, false, 2),
            (
                "deployment_scaled_by_another_manager",
                Kind::Deployment,
                false,
                true,
                5,
            ),
            (
                "deployment_replicas_co_owned",
                Kind::Deployment,
                true,
                true,
                3,
            ),
            ("rollout", Kind::Rollout, true, false, 2),
            (
                "rollout_scaled_by_another_manager",
                Kind::Rollout,
                false,
                true,
                5,
            ),
        ] {
            let workload = workload(name, kind);
            let read = (
                workload.replicas_ours,
                workload.replicas_theirs,
                workload.replicas,
            );
            assert_eq!(read, (ours, theirs, Some(replicas)), "{name}");
        }
    }

    #[test]
    fn recorded_selector_and_weights_of_rollouts_are_read() {
        let detail = |name, kind| read(kind, &recorded(name).1).unwrap().live.detail;
        let hash = Some("6c54544bf9".into());
        assert_eq!(
            detail("service_with_selector_of_rollouts", Kind::Service),
            Detail::Service { hash }
        );
        let weights = vec![
            ("todo-web-stable".into(), 95),
            ("todo-web-canary".into(), 5),
        ];
        assert_eq!(
            detail(
                "traefikservice_with_weights_of_rollouts",
                Kind::TraefikService
            ),
            Detail::Weights(weights)
        );
    }

    #[test]
    fn recorded_revision_is_summed_up() {
        let (body, live) = recorded("controllerrevision");
        let record = read(Kind::ControllerRevision, &live).unwrap().live;
        let inputs: crate::inputs::PodInputs =
            serde_json::from_value(body["data"]["components"]["api"].clone()).unwrap();
        let fingerprint = body["data"]["fingerprint"].as_str().unwrap();
        assert_eq!(
            record.detail,
            Detail::Revision(Box::new(RevisionSummary {
                number: 3,
                fingerprint: fingerprint.into(),
                version: Some("1.2.0".into()),
                components: vec![RevisionComponent {
                    name: "api".into(),
                    inputs: inputs.hash().into(),
                    image: "registry.example.com/api@sha256:00".into(),
                    config_hash: inputs.config_hash().into(),
                    config_map: inputs.config_map("todo", "api").map(Into::into),
                    migration: Some("todo-api-migrate-01234567".into()),
                }],
            }))
        );
        assert!(record.health.is_ready());
    }

    #[test]
    fn revision_of_somebody_else_has_no_detail() {
        let object = json!({"metadata": {"name": "a", "uid": "u", "resourceVersion": "1"}, "data": {"spec": {}}});
        assert_eq!(
            read(Kind::ControllerRevision, &object).unwrap().live.detail,
            Detail::None
        );
    }

    #[test]
    fn labels_say_whose_an_object_is() {
        let mut object = json!({"metadata": {
            "name": "todo-test-events", "namespace": "kafka", "uid": "u", "resourceVersion": "1",
            "labels": {
                "todo-operator.dev/app": "todo", "todo-operator.dev/namespace": "todo-test",
                "todo-operator.dev/environment": "test",
            },
            "deletionTimestamp": "2026-01-01T00:00:00Z",
        }});
        let Record { key, whose, live } = read(Kind::KafkaTopic, &object).unwrap();
        assert_eq!(&*key.namespace, "kafka");
        let of_app = Whose::App {
            namespace: "todo-test".into(),
            name: "todo".into(),
        };
        assert_eq!(whose, of_app);
        assert_eq!(live.written, 0);
        assert!(live.deleting && !live.health.is_ready());
        for (label, then) in [
            ("todo-operator.dev/app", Whose::Environment("test".into())),
            ("todo-operator.dev/environment", Whose::Nobody),
        ] {
            object["metadata"]["labels"]
                .as_object_mut()
                .unwrap()
                .remove(label);
            assert_eq!(read(Kind::KafkaTopic, &object).unwrap().whose, then);
        }
    }

    #[test]
    fn only_the_controlling_owner_counts() {
        let object = json!({"metadata": {"name": "a", "uid": "u", "resourceVersion": "1", "ownerReferences": [
            {"kind": "X", "name": "x", "uid": "other"}, {"kind": "TodoApp", "name": "a", "uid": "app", "controller": true}]}});
        assert_eq!(
            read(Kind::ConfigMap, &object)
                .unwrap()
                .live
                .owner
                .as_deref(),
            Some("app")
        );
    }

    #[test]
    fn event_was_seen_when_it_last_repeated() {
        let event = |times: Value| {
            let mut object = json!({
                "metadata": {"name": "e", "namespace": "n", "uid": "u", "resourceVersion": "1",
                             "creationTimestamp": "1970-01-01T00:00:01Z"},
                "involvedObject": {"kind": "Pod", "name": "web-1"}, "reason": "FailedMount", "message": "secret \"pg\" not found",
            });
            object
                .as_object_mut()
                .unwrap()
                .extend(times.as_object().unwrap().clone());
            object
        };
        for (times, expected) in [
            (json!({"lastTimestamp": null, "eventTime": null}), 1),
            (json!({"firstTimestamp": "1970-01-01T00:00:02Z"}), 2),
            (json!({"eventTime": "1970-01-01T00:00:03.500000Z"}), 3),
            (
                json!({"eventTime": "1970-01-01T00:00:03Z", "lastTimestamp": "1970-01-01T00:00:04Z"}),
                4,
            ),
            (
                json!({"lastTimestamp": "1970-01-01T00:00:04Z", "series": {"lastObservedTime": "1970-01-01T00:00:05.000001Z"}}),
                5,
            ),
        ] {
            let live = read(Kind::Event, &event(times)).unwrap().live;
            let Detail::Event {
                about,
                reason,
                message,
                seen,
            } = live.detail
            else {
                panic!("{:?}", live.detail);
            };
            assert_eq!(
                (&*about, &*reason, seen),
                ("web-1", "FailedMount", expected)
            );
            assert_eq!(&*message, "secret \"pg\" not found");
        }
    }

    #[test]
    fn object_without_identity_is_no_object() {
        for metadata in [
            json!({"uid": "u", "resourceVersion": "1"}),
            json!({"name": "a", "uid": "u"}),
            json!({"name": "a"}),
        ] {
            assert_eq!(read(Kind::Pod, &json!({"metadata": metadata})), None);
        }
    }
}
