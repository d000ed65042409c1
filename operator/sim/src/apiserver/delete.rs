//! Deletion (`k8s.io/apiserver`, `pkg/registry/rest/delete.go` and `pkg/registry/generic/registry/store.go`).
//!
//! Pods go at once, as those do that run on no node: there is no grace period.

use std::sync::Arc;

use serde_json::{Value, json};

use super::call::{Delete, Propagation};
use super::failure::Failure;
use super::server::{Answer, Request, metadata};
use super::strategy;

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

impl Request<'_> {
    /// Deletes an object, or lets it begin to go.
    pub(super) fn delete(&mut self, options: &Delete) -> Result<Answer, Failure> {
        let live = self.live()?;
        let is_own = |kind: &str| !self.resource.is_custom && self.resource.kind == kind;
        let (is_namespace, is_pod) = (is_own("Namespace"), is_own("Pod"));
        self.check_preconditions(&live, options, is_namespace)?;
        let is_going = live["metadata"].get("deletionTimestamp").is_some();
        if is_namespace && is_going && live["spec"].get("finalizers").is_some() {
            return Ok(Answer {
                code: 200,
                body: live,
            });
        }
        let mut object = Value::clone(&live);
        if strategy::has_dependents(self.resource) {
            let unsaid = strategy::orphans_by_default(self.resource).then_some(ORPHAN);
            put_finalizers(&mut object, options.propagation, unsaid);
        }
        // A namespace, and a pod, is told to go before it may.
        let is_told = (is_namespace || is_pod) && !is_going;
        let may_go = !strategy::has_finalizers(&object);
        if may_go && !is_told {
            if options.resource_version.is_some() && strategy::has_finalizers(&live) {
                // Upstream looks for the version of an object that it did not write meanwhile.
                let found = live["metadata"]["resourceVersion"]
                    .as_str()
                    .unwrap_or_default();
                let (key, name) = (self.registry_key(), &self.key.name);
                return Err(Failure::precondition(
                    self.resource,
                    &key,
                    name,
                    "ResourceVersion",
                    "",
                    found,
                ));
            }
            self.state.store.remove(&self.key);
            return Ok(self.deleted(&live));
        }
        if !is_going {
            metadata(&mut object).insert("deletionTimestamp".into(), json!(self.now));
            if live["metadata"].get("generation").is_some() {
                strategy::count_generation(&live, &mut object);
            }
        }
        if is_namespace && is_told {
            object["status"]["phase"] = json!("Terminating");
        } else {
            metadata(&mut object).insert("deletionGracePeriodSeconds".into(), json!(0));
        }
        let body = if object == *live {
            live
        } else {
            self.put(object)
        };
        if is_pod && may_go {
            // The end of no grace period, after its beginning was told.
            self.state.store.remove(&self.key);
            return Ok(self.deleted(&body));
        }
        Ok(Answer { code: 200, body })
    }

    fn check_preconditions(
        &self,
        live: &Value,
        options: &Delete,
        is_namespace: bool,
    ) -> Result<(), Failure> {
        let conditions = [
            (
                "UID",
                "uid",
                &options.uid,
                "The object might have been deleted and then recreated",
            ),
            (
                "ResourceVersion",
                "resourceVersion",
                &options.resource_version,
                "The object might have been modified",
            ),
        ];
        for (what, field, wanted, guess) in conditions {
            let found = live["metadata"][field].as_str().unwrap_or_default();
            let Some(wanted) = wanted.as_deref().filter(|wanted| *wanted != found) else {
                continue;
            };
            let name = &self.key.name;
            if is_namespace {
                let why = format!(
                    "Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}"
                );
                return Err(Failure::conflict(self.resource, name, &why));
            }
            let why = format!(
                "the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). {guess}"
            );
            return Err(Failure::delete_precondition(self.resource, name, &why));
        }
        Ok(())
    }

    /// The answer to a deletion that was carried out at once (`finalizeDelete`).
    fn deleted(&self, live: &Arc<Value>) -> Answer {
        if strategy::answers_deletion_with_object(self.resource) {
            let mut last = Value::clone(live);
            let revision = self.state.store.revision();
            metadata(&mut last).insert("resourceVersion".into(), json!(revision.to_string()));
            return Answer {
                code: 200,
                body: Arc::new(last),
            };
        }
        let mut details = json!({
            "name": self.key.name, "kind": self.resource.plural, "uid": live["metadata"]["uid"],
        });
        if !self.resource.group.is_empty() {
            details["group"] = json!(self.resource.group);
        }
        let body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
        });
        Answer {
            code: 200,
            body: Arc::new(body),
        }
    }
}

/// `deletionFinalizersForGarbageCollection`: the finalizers by which the garbage collector is asked to see to the
/// dependents first. What was asked for before goes on where nothing is asked for now.
fn put_finalizers(object: &mut Value, propagation: Propagation, unsaid: Option<&str>) {
    let mut finalizers: Vec<String> = object["metadata"]["finalizers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|finalizer| finalizer.as_str().map(str::to_owned))
        .collect();
    let has = |finalizer: &str| finalizers.iter().any(|known| known == finalizer);
    let wanted = match propagation {
        Propagation::Unsaid if has(ORPHAN) || has(FOREGROUND) => return,
        Propagation::Unsaid => unsaid,
        Propagation::Background => None,
        Propagation::Foreground => Some(FOREGROUND),
        Propagation::Orphan => Some(ORPHAN),
    };
    let is_as_wanted = [ORPHAN, FOREGROUND]
        .iter()
        .all(|finalizer| has(finalizer) == (wanted == Some(*finalizer)));
    if is_as_wanted {
        return;
    }
    finalizers.retain(|finalizer| finalizer != ORPHAN && finalizer != FOREGROUND);
    finalizers.extend(wanted.map(str::to_owned));
    let finalizers = (!finalizers.is_empty()).then(|| json!(finalizers));
    strategy::set(&mut object["metadata"], "finalizers", finalizers);
}
