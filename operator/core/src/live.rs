//! A child as it is: a compact record of an object, so that ten thousand applications fit in memory.
//!
//! The record holds a hash of the fields that we own, never the body: whether a child must be written is a comparison of
//! two hashes. What is needed of its status is read once, when the object arrives.

use serde::Deserialize;
use serde_json::Value;

use crate::canonical::{self, Digest128};
use crate::child::ChildKey;
use crate::health::fields::{boxed, generation, integer, is_true, items, text};
use crate::health::{self, Health};
use crate::kind::Kind;
use crate::names;
use crate::projection;
use crate::release::RevisionData;

/// A child as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Live {
    /// Its UID.
    pub uid: Box<str>,
    /// Its resourceVersion, for preconditions.
    pub resource_version: Box<str>,
    /// Generation of its spec; 0 where the kind has none.
    pub generation: i64,
    /// UID of the controller that owns it.
    pub owner: Option<Box<str>>,
    /// Value of [`crate::names::LABEL_APP`].
    pub app: Option<Box<str>>,
    /// Value of [`crate::names::LABEL_COMPONENT`].
    pub component: Option<Box<str>>,
    /// Namespace of the application: [`crate::names::LABEL_NAMESPACE`], else its own.
    pub app_namespace: Box<str>,
    /// Value of [`crate::names::LABEL_ENVIRONMENT`].
    pub environment: Option<Box<str>>,
    /// Hash of the fields that our manager owns, shared fields in their neutral form
    /// (see [`crate::projection::project`]).
    pub owned: Digest128,
    /// Seconds since the epoch of our last write that changed it; 0 where we never wrote it.
    pub written: i64,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// How it is.
    pub health: Health,
    /// What else is needed of it.
    pub detail: Detail,
}

/// What else is needed of an object, by kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Detail {
    /// Nothing.
    None,
    /// A Namespace: what decides whether an environment may take it over.
    Namespace {
        /// Whether [`crate::names::ANNOTATION_ADOPT`] is `true`.
        adopt: bool,
        /// Seconds since the epoch of its creation.
        created: i64,
    },
    /// A Deployment or Rollout.
    Workload(Box<Workload>),
    /// A Service whose selector Argo Rollouts may have narrowed: the pod-template hash in it.
    Service {
        /// Value of [`crate::names::ROLLOUTS_POD_TEMPLATE_HASH`] in `spec.selector`.
        hash: Option<Box<str>>,
    },
    /// An HTTPRoute or TraefikService: the live weights, in the order of its back ends.
    Weights(Vec<(Box<str>, i64)>),
    /// A HorizontalPodAutoscaler: its bounds and what it moves.
    Scaler {
        /// `spec.minReplicas`.
        min: i64,
        /// `spec.maxReplicas`.
        max: i64,
        /// `spec.scaleTargetRef.name`.
        target: Box<str>,
    },
    /// A ScaledObject: the HPA that KEDA made for it, and its bounds.
    ScaledObject {
        /// `status.hpaName`.
        hpa: Option<Box<str>>,
        /// `spec.minReplicaCount`.
        min: i64,
        /// `spec.maxReplicaCount`.
        max: i64,
    },
    /// A ReplicaSet or Job: the ConfigMaps that its pods read.
    ConfigMaps(Vec<Box<str>>),
    /// A ControllerRevision: what is needed to decide; its body is read from the API server when pods must go back.
    Revision(Box<RevisionSummary>),
    /// A pod that has a problem.
    Pod {
        /// The pod-template hash, to tell the canary's pods from stable ones.
        hash: Option<Box<str>>,
        /// What hinders it, in the words of its status; `None` where nothing does.
        problem: Option<Box<crate::health::Cause>>,
    },
    /// An AnalysisRun: the Rollout that it judges and how it ended.
    Analysis {
        /// Name of the Rollout that owns it.
        rollout: Box<str>,
        /// Its failing measurement, in a sentence.
        failure: Option<Box<str>>,
    },
    /// An Event about an object of ours: what it is about, and its message.
    Event {
        /// Name of the object that it is about.
        about: Box<str>,
        /// Its reason.
        reason: Box<str>,
        /// Its message.
        message: Box<str>,
        /// Seconds since the epoch when it was last seen.
        seen: i64,
    },
}

/// What is needed of a Deployment or Rollout.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Workload {
    /// [`crate::names::ANNOTATION_INPUTS`]: the pod inputs that it was last rendered from.
    pub inputs: Option<Box<str>>,
    /// Image of the first container.
    pub image: Box<str>,
    /// `spec.replicas`.
    pub replicas: Option<i64>,
    /// Whether our manager owns `spec.replicas`.
    pub replicas_ours: bool,
    /// Whether another manager owns `spec.replicas` (an autoscaler through `scale`).
    pub replicas_theirs: bool,
    /// Available replicas.
    pub available: i64,
    /// Whether a new version is on its way: neither all the way out nor given up.
    pub in_flight: bool,
    /// Canary step that is under way and how many there are.
    pub step: Option<(i64, i64)>,
    /// Weight of the canary in per cent, while in flight.
    pub weight: Option<i64>,
    /// While in flight: `spec.strategy` as it is, because a change of the steps would start it anew.
    pub strategy: Option<Box<Value>>,
    /// Pod-template hash of the stable version.
    pub stable_hash: Option<Box<str>>,
    /// Pod-template hash of the version that the spec asks for.
    pub current_hash: Option<Box<str>>,
    /// The new version was given up (aborted, or its deadline passed): why.
    pub rejected: Option<Box<crate::health::Cause>>,
    /// ConfigMaps that its template names.
    pub config_maps: Vec<Box<str>>,
}

/// What is needed of a ControllerRevision to decide.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RevisionSummary {
    /// `revision`: the highest is the last good one.
    pub number: i64,
    /// Fingerprint of its release.
    pub fingerprint: Box<str>,
    /// Version of its release.
    pub version: Option<Box<str>>,
    /// Per component: hash of its pod inputs, its image, hash of its configuration, ConfigMap, migration Job.
    pub components: Vec<RevisionComponent>,
}

/// One component of a [`RevisionSummary`].
#[derive(Clone, Debug, PartialEq)]
pub struct RevisionComponent {
    /// The component.
    pub name: Box<str>,
    /// Hash of its pod inputs.
    pub inputs: Box<str>,
    /// Its image.
    pub image: Box<str>,
    /// Hash of its configuration.
    pub config_hash: Box<str>,
    /// Its ConfigMap.
    pub config_map: Option<Box<str>>,
    /// Its migration Job.
    pub migration: Option<Box<str>>,
}

/// Reads an object of `kind` into its key and record; `None` where it has no name, UID or resourceVersion (which the
/// API server never sends).
pub fn read(kind: Kind, object: &Value) -> Option<(ChildKey, Live)> {
    let name = text(object, "/metadata/name")?;
    let namespace = text(object, "/metadata/namespace").unwrap_or_default();
    let label = |name: &str| {
        let value = object.pointer("/metadata/labels")?.get(name)?.as_str()?;
        Some(boxed(value))
    };
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
        app,
        component: label(names::LABEL_COMPONENT),
        app_namespace: label(names::LABEL_NAMESPACE).unwrap_or_else(|| boxed(namespace)),
        environment: label(names::LABEL_ENVIRONMENT),
        owned: canonical::digest(&projection::project(kind, object)),
        written: projection::our_entry(object)
            .and_then(|entry| seconds(entry, "/time"))
            .unwrap_or_default(),
        deleting: health::is_being_deleted(object),
        health,
        detail,
    };
    Some((ChildKey::new(kind, namespace, name), live))
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
            inputs: inputs.hash().into_boxed_str(),
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

/// Seconds since the epoch of the time at `pointer`.
pub(crate) fn seconds(object: &Value, pointer: &str) -> Option<i64> {
    let time: jiff::Timestamp = text(object, pointer)?.parse().ok()?;
    Some(time.as_second())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
        match read(kind, &recorded(name).1).unwrap().1.detail {
            Detail::Workload(workload) => *workload,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn recorded_deployment_is_read_as_a_whole() {
        let (body, live) = recorded("deployment");
        let (key, record) = read(Kind::Deployment, &live).unwrap();
        assert_eq!(key, ChildKey::new(Kind::Deployment, "rec-app", "todo-api"));
        assert_eq!(record.app.as_deref(), Some("todo"));
        assert_eq!(record.component.as_deref(), Some("api"));
        assert_eq!(&*record.app_namespace, "rec-app");
        assert_eq!((record.owner, record.environment), (None, None));
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
        let detail = |name, kind| read(kind, &recorded(name).1).unwrap().1.detail;
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
        let (_, record) = read(Kind::ControllerRevision, &live).unwrap();
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
            read(Kind::ControllerRevision, &object).unwrap().1.detail,
            Detail::None
        );
    }

    #[test]
    fn object_outside_of_the_apps_namespace_keeps_its_labels() {
        let object = json!({"metadata": {
            "name": "todo-test-events", "namespace": "kafka", "uid": "u", "resourceVersion": "1",
            "labels": {"todo-operator.dev/namespace": "todo-test", "todo-operator.dev/environment": "test"},
            "deletionTimestamp": "2026-01-01T00:00:00Z",
        }});
        let (key, live) = read(Kind::KafkaTopic, &object).unwrap();
        assert_eq!(&*key.namespace, "kafka");
        assert_eq!(&*live.app_namespace, "todo-test");
        assert_eq!(live.environment.as_deref(), Some("test"));
        assert_eq!(live.written, 0);
        assert!(live.deleting && !live.health.is_ready());
    }

    #[test]
    fn only_the_controlling_owner_counts() {
        let object = json!({"metadata": {"name": "a", "uid": "u", "resourceVersion": "1", "ownerReferences": [
            {"kind": "X", "name": "x", "uid": "other"}, {"kind": "TodoApp", "name": "a", "uid": "app", "controller": true}]}});
        assert_eq!(
            read(Kind::ConfigMap, &object).unwrap().1.owner.as_deref(),
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
            let (_, live) = read(Kind::Event, &event(times)).unwrap();
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
