//! A child as it is: a compact record of an object, so that ten thousand applications fit in memory.
//!
//! The record holds a hash of the fields that we own, never the body: whether a child must be written is a comparison of
//! two hashes. What is needed of its status is read once, when the object arrives.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::canonical::Digest128;
use crate::cause::{Cause, Health};
use crate::child::ChildKey;
use crate::kind::Kind;

/// Every live object of an application: its children, and what tells how they are.
pub type Children = BTreeMap<ChildKey, Arc<Live>>;

/// One live object.
pub fn find<'a>(
    children: &'a Children,
    kind: Kind,
    namespace: &str,
    name: &str,
) -> Option<&'a Arc<Live>> {
    children.get(&ChildKey::new(kind, namespace, name))
}

/// An object as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Which object.
    pub key: ChildKey,
    /// Whose it is.
    pub whose: Whose,
    /// How it is.
    pub live: Live,
}

/// Whose an object is, by its labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// An application's.
    App {
        /// [`crate::names::LABEL_NAMESPACE`], else the object's own namespace.
        namespace: Box<str>,
        /// [`crate::names::LABEL_APP`].
        name: Box<str>,
    },
    /// That of the environment that [`crate::names::LABEL_ENVIRONMENT`] names.
    Environment(Box<str>),
    /// Nobody's of ours.
    Nobody,
}

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
    /// Value of [`crate::names::LABEL_COMPONENT`].
    pub component: Option<Box<str>>,
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

impl Live {
    /// The resourceVersion as a number, to tell which of two objects of a kind was written later (KEP-5504); 0 where it is
    /// none.
    pub fn version(&self) -> u128 {
        self.resource_version.parse().unwrap_or_default()
    }

    /// Whether another version of the object says the same: nothing that decides anything is different.
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        let Self {
            uid,
            resource_version: _,
            generation,
            owner,
            component,
            owned,
            written,
            deleting,
            health,
            detail,
        } = self;
        *uid == other.uid
            && *generation == other.generation
            && *owner == other.owner
            && *component == other.component
            && *owned == other.owned
            && *written == other.written
            && *deleting == other.deleting
            && *health == other.health
            && *detail == other.detail
    }
}

/// What else is needed of an object, by kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Detail {
    /// Nothing.
    None,
    /// A Namespace: what decides whether an environment may take it over.
    Namespace {
        /// The environment whose it is: value of [`crate::names::LABEL_ENVIRONMENT`].
        environment: Option<Box<str>>,
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
        problem: Option<Box<Cause>>,
    },
    /// An AnalysisRun: the Rollout that it judges and how it ended.
    Analysis {
        /// Name of the Rollout that owns it.
        rollout: Box<str>,
        /// Pod-template hash of the version that it judges.
        hash: Option<Box<str>>,
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
    pub rejected: Option<Box<Cause>>,
    /// ConfigMaps that its template names.
    pub config_maps: Vec<Box<str>>,
    /// Of a Rollout: its status is about an earlier generation.
    pub unobserved: bool,
    /// Of a Rollout: it bears [`crate::names::ANNOTATION_OVERLOOKED`] of this generation.
    pub told_to_look: bool,
    /// Of a Rollout that Argo Rollouts calls invalid: since when, in seconds since the epoch.
    pub invalid_since: Option<i64>,
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
