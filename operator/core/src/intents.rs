//! Intents: whether the cluster proves who made them, and what the `Retry` ones do.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;
use todo_operator_api::intent::{IntentPhase, TodoIntent, Verb};
use todo_operator_api::release::Release;
use todo_operator_api::status::Rejection;
use todo_operator_api::{TodoApp, TodoAppSpec};

use crate::canonical;

/// Name of the ValidatingAdmissionPolicy, and of its binding, that guards intents.
pub const POLICY_NAME: &str = "todo-intents";
/// What a person types to get the policy back.
pub const POLICY_INSTALL: &str =
    "kubectl apply --server-side --force-conflicts -f kustomize/base/intents-policy.yaml";

/// The policy and its binding, as they are installed.
const MANIFEST: &str = include_str!("../../../kustomize/base/intents-policy.yaml");

/// Whether the live ValidatingAdmissionPolicy and binding are the ones that this version installs; else what differs.
///
/// The manifest spells out every field that the API server defaults, so `spec` must be equal as a whole: whatever was
/// added to it (a match condition, an excluded namespace, a parameter) could let a forged intent through. Metadata is
/// free, for those who label what they install.
pub fn policy_matches(policy: &Value, binding: &Value) -> Result<(), String> {
    let expected = manifest()?;
    for (kind, live) in [
        ("ValidatingAdmissionPolicy", policy),
        ("ValidatingAdmissionPolicyBinding", binding),
    ] {
        let expected = expected
            .iter()
            .find(|document| document["kind"] == kind)
            .ok_or_else(|| format!("the operator's own intents-policy.yaml has no {kind}"))?;
        let found = if live.pointer("/metadata/deletionTimestamp").is_some() {
            Some("it is being deleted".to_owned())
        } else {
            ["/metadata/name", "/spec"]
                .into_iter()
                .find_map(|path| difference(expected.pointer(path), live.pointer(path), path))
        };
        if let Some(found) = found {
            return Err(format!(
                "the live {kind} {POLICY_NAME} is not the one that this operator trusts: {found}. Run: {POLICY_INSTALL}"
            ));
        }
    }
    Ok(())
}

/// The documents of [`MANIFEST`].
fn manifest() -> Result<Vec<Value>, String> {
    serde_yaml::Deserializer::from_str(MANIFEST)
        .map(Value::deserialize)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("the operator's own intents-policy.yaml cannot be read: {error}"))
}

/// The first difference below `path`, in a sentence.
fn difference(expected: Option<&Value>, live: Option<&Value>, path: &str) -> Option<String> {
    match (expected, live) {
        (Some(Value::Object(expected)), Some(Value::Object(live))) => {
            let keys: BTreeSet<&String> = expected.keys().chain(live.keys()).collect();
            keys.into_iter().find_map(|key| {
                difference(expected.get(key), live.get(key), &format!("{path}/{key}"))
            })
        }
        (Some(Value::Array(expected)), Some(Value::Array(live))) => {
            (0..expected.len().max(live.len()))
                .find_map(|i| difference(expected.get(i), live.get(i), &format!("{path}/{i}")))
        }
        (expected, live) if expected == live => None,
        (Some(_), None) => Some(format!("{path} is missing")),
        (None, Some(live)) => Some(format!("{path} was added: {live}")),
        (expected, live) => Some(format!(
            "{path} is {}, not {}",
            live.unwrap_or(&Value::Null),
            expected.unwrap_or(&Value::Null),
        )),
    }
}

/// What one `Retry` intent does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Name of the TodoIntent.
    pub intent: String,
    /// Components that are tried again: their rejections are forgotten and their attempts counted up.
    pub components: Vec<String>,
    /// Why the intent does nothing, where it does not.
    pub refused: Option<String>,
}

/// What the `Retry` intents for this application and environment do, in the order in which they were made.
///
/// An intent that was carried out, refused or ended before is left out. Each component is tried again once, however
/// many people ask.
pub fn retries(intents: &[&TodoIntent], environment: &str, app: &TodoApp) -> Vec<Retry> {
    let name = app.metadata.name.as_deref().unwrap_or_default();
    let mut open: Vec<&TodoIntent> = intents
        .iter()
        .copied()
        .filter(|intent| is_open(intent) && intent.spec.verb == Verb::Retry)
        .filter(|intent| {
            intent.spec.environment == environment && intent.spec.app.as_deref() == Some(name)
        })
        .collect();
    open.sort_by_key(|intent| {
        (
            intent.metadata.creation_timestamp.clone(),
            intent.metadata.name.clone(),
        )
    });

    let failed = failed(app);
    let mut retried_by: Option<&str> = None;
    open.into_iter()
        .map(|intent| {
            let intent_name = intent.metadata.name.as_deref().unwrap_or_default();
            let release = intent.spec.release.as_deref();
            let refused = if let Some(release) =
                release.filter(|release| !is_release(&app.spec.release, release))
            {
                Some(format!(
                    "{name} does not ask for release {release}: it asks for {}",
                    describe(&app.spec.release)
                ))
            } else if failed.is_empty() {
                Some(format!("nothing of {name} is rejected"))
            } else {
                retried_by.map(|first| {
                    format!("nothing of {name} is rejected any more: intent {first} retries it")
                })
            };
            if refused.is_none() {
                retried_by = Some(intent_name);
            }
            Retry {
                intent: intent_name.to_owned(),
                components: if refused.is_none() {
                    failed.iter().cloned().collect()
                } else {
                    Vec::new()
                },
                refused,
            }
        })
        .collect()
}

/// `status.rejected` and `status.attempts` once the retries are carried out. What was rejected of other releases stays
/// on record.
pub fn retried(retries: &[Retry], app: &TodoApp) -> (Vec<Rejection>, BTreeMap<String, i64>) {
    let status = app.status.clone().unwrap_or_default();
    let (mut rejected, mut attempts) = (status.rejected, status.attempts);
    let components: BTreeSet<&String> =
        retries.iter().flat_map(|retry| &retry.components).collect();
    rejected.retain(|rejection| {
        !(components.contains(&rejection.component) && concerns(rejection, &app.spec))
    });
    for component in components {
        *attempts.entry(component.clone()).or_default() += 1;
    }
    (rejected, attempts)
}

fn is_open(intent: &TodoIntent) -> bool {
    let phase = intent.status.as_ref().and_then(|status| status.phase);
    matches!(phase, None | Some(IntentPhase::Active))
        && intent.metadata.deletion_timestamp.is_none()
}

/// Whether `text` names the release: its version, or the beginning of its fingerprint.
fn is_release(release: &Release, text: &str) -> bool {
    release.version.as_deref() == Some(text) || canonical::fingerprint(release).starts_with(text)
}

fn describe(release: &Release) -> String {
    let mut fingerprint = canonical::fingerprint(release);
    fingerprint.truncate(12);
    match &release.version {
        Some(version) => format!("{version} ({fingerprint})"),
        None => fingerprint,
    }
}

/// Components whose present content was rejected; and before the first release was proven, when nothing is ever
/// rejected because there is nothing to go back to, those whose migration has failed.
fn failed(app: &TodoApp) -> BTreeSet<String> {
    let Some(status) = &app.status else {
        return BTreeSet::new();
    };
    let rejected = status
        .rejected
        .iter()
        .filter(|rejection| concerns(rejection, &app.spec))
        .map(|rejection| rejection.component.clone());
    let proven = status
        .effective_release
        .as_ref()
        .is_some_and(|release| release.revision.is_some());
    let stuck = app
        .spec
        .components
        .iter()
        .filter(|(name, component)| {
            let state = status
                .components
                .get(*name)
                .map(|component| component.state.as_str());
            !proven && component.migrate.is_some() && state == Some("Degraded")
        })
        .map(|(name, _)| name.clone());
    rejected.chain(stuck).collect()
}

/// Whether the rejection is of the image and configuration that the spec asks for now.
fn concerns(rejection: &Rejection, spec: &TodoAppSpec) -> bool {
    let Some(component) = spec.components.get(&rejection.component) else {
        return false;
    };
    let key = component.image.as_ref().unwrap_or(&rejection.component);
    let image = spec
        .release
        .images
        .iter()
        .find(|image| image.component == *key);
    let config = spec
        .release
        .config
        .get(&rejection.component)
        .cloned()
        .unwrap_or_default();
    image.is_some_and(|image| image.image == rejection.image)
        && canonical::config_hash(&config) == rejection.config_hash
}

#[cfg(test)]
mod tests;
