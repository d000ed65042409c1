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
        let is_namespace = !self.resource.is_custom && self.resource.kind == "Namespace";
        self.check_preconditions(&live, options, is_namespace)?;
        let is_going = live["metadata"].get("deletionTimestamp").is_some();
        if is_namespace && is_going && strategy::has_finalizers(&live) {
            return Ok(Answer { code: 200, body: live });
        }
        let mut object = Value::clone(&live);
        if strategy::has_dependents(self.resource) {
            put_finalizers(&mut object, options.propagation);
        }
        let is_graceful = !self.resource.is_custom && self.resource.kind == "Pod";
        let goes_now = !strategy::has_finalizers(&object);
        if goes_now && (!is_graceful || is_going) {
            self.state.store.remove(&self.key);
            return Ok(self.deleted(&live));
        }
        let generation = live["metadata"]["generation"].as_i64();
        let metadata = metadata(&mut object);
        if !is_going {
            metadata.insert("deletionTimestamp".into(), json!(self.now));
            if let Some(generation) = generation {
                metadata.insert("generation".into(), json!(generation + 1));
            }
        }
        if is_namespace {
            object["status"]["phase"] = json!("Terminating");
        } else {
            metadata.insert("deletionGracePeriodSeconds".into(), json!(0));
        }
        let body = if object == *live {
            live
        } else {
            self.state.store.put(self.key.clone(), object)
        };
        if goes_now {
            // The end of the grace period of none, after its beginning was told.
            self.state.store.remove(&self.key);
            return Ok(self.deleted(&body));
        }
        Ok(Answer { code: 200, body })
    }

    fn check_preconditions(&self, live: &Value, options: &Delete, is_namespace: bool) -> Result<(), Failure> {
        let conditions = [
            ("UID", "uid", &options.uid, "The object might have been deleted and then recreated"),
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
fn put_finalizers(object: &mut Value, propagation: Propagation) {
    let mut finalizers: Vec<String> = object["metadata"]["finalizers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|finalizer| finalizer.as_str().map(str::to_owned))
        .collect();
    let wanted = match propagation {
        Propagation::Unsaid => return,
        Propagation::Background => None,
        Propagation::Foreground => Some(FOREGROUND),
        Propagation::Orphan => Some(ORPHAN),
    };
    let has = |finalizer: &str| finalizers.iter().any(|known| known == finalizer);
    let is_as_wanted = [ORPHAN, FOREGROUND].iter().all(|finalizer| has(finalizer) == (wanted == Some(*finalizer)));
    if is_as_wanted {
        return;
    }
    finalizers.retain(|finalizer| finalizer != ORPHAN && finalizer != FOREGROUND);
    finalizers.extend(wanted.map(str::to_owned));
    let finalizers = (!finalizers.is_empty()).then(|| json!(finalizers));
    strategy::set(&mut object["metadata"], "finalizers", finalizers);
}
