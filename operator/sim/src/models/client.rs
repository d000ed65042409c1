//! What controllers work through: an actor with a temper, and the informer that calls them only when there is something
//! new.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::Model;
use super::fields::{name, namespace, plus, until};
use super::knobs::{Knobs, Settings};
use super::temper::Temper;
use crate::actor::{Actor, Resource};
use crate::apiserver::failure::Failure;
use crate::apiserver::server::ApiServer;

/// When a write that was refused is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// When a controller that does not run looks whether it is to run again.
const STOPPED: Duration = Duration::from_secs(5);

/// A controller that reconciles everything that it is about.
pub(crate) trait Controller: Send {
    /// Its name, by which a scenario stops it.
    const NAME: &'static str;
    /// Its field manager.
    const MANAGER: &'static str;
    /// The only resources that it reads.
    const WATCHES: &'static [Resource];

    /// Makes everything as it should be, as far as that goes now.
    fn sync(&mut self, client: &mut Client, now: Timestamp);
}

/// Nothing more can be done now: a write was refused, or something is missing. The client knows when to go on.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl From<Failure> for Interrupted {
    fn from(_: Failure) -> Self {
        Self
    }
}

/// Reads and writes of one controller.
pub(crate) struct Client {
    actor: Actor,
    knobs: Knobs,
    settings: Arc<Settings>,
    temper: Temper,
    again: Option<Duration>,
}

type Written = Result<Arc<Value>, Failure>;

impl Client {
    pub fn new(server: &Arc<ApiServer>, manager: &'static str, knobs: &Knobs, seed: u64) -> Self {
        Self {
            actor: Actor::new(server, manager),
            knobs: knobs.clone(),
            settings: knobs.settings(),
            temper: Temper::new(seed),
            again: None,
        }
    }

    /// The settings of this round.
    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    pub fn knobs(&self) -> &Knobs {
        &self.knobs
    }

    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    pub fn temper(&mut self) -> &mut Temper {
        &mut self.temper
    }

    /// Asks for another round, even if nothing changes until then.
    pub fn again_in(&mut self, wait: Duration) {
        self.again = Some(self.again.map_or(wait, |again| again.min(wait)));
    }

    pub fn list(&self, resource: Resource) -> Vec<Arc<Value>> {
        self.actor.list(resource)
    }

    pub fn get(&self, resource: Resource, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.actor.get(resource, namespace, name)
    }

    pub fn create(&mut self, resource: Resource, object: Value) -> Written {
        let result = self.actor.create(resource, object);
        self.note(result)
    }

    /// Changes parts of an object.
    pub fn merge(&mut self, resource: Resource, object: &Value, patch: Value) -> Written {
        self.meet_conflict(resource, object)?;
        let result = self
            .actor
            .merge(resource, namespace(object), name(object), patch);
        self.note(result)
    }

    /// Puts another state of an object in its place.
    pub fn replace(&mut self, resource: Resource, object: Value) -> Written {
        self.meet_conflict(resource, &object)?;
        let result = self.actor.replace(resource, object);
        self.note(result)
    }

    /// Writes the status of an object as a whole, where it differs.
    pub fn set_status(&mut self, resource: Resource, of: &Value, mut status: Value) -> Written {
        if of.get("status") == Some(&status) {
            return Ok(Arc::new(Value::Null));
        }
        if self.temper.is_behind(of, self.settings.chances.stale) {
            self.again_in(RETRY);
            match of.pointer("/status/observedGeneration") {
                Some(former) => status["observedGeneration"] = former.clone(),
                None => return Ok(Arc::new(Value::Null)),
            }
        }
        self.meet_conflict(resource, of)?;
        let result = self.actor.set_status(resource, of, status);
        self.note(result)
    }

    /// Sets the number of replicas through `scale`.
    pub fn scale(&mut self, resource: Resource, object: &Value, replicas: i64) -> Written {
        self.meet_conflict(resource, object)?;
        let result = self
            .actor
            .scale(resource, namespace(object), name(object), replicas);
        self.note(result)
    }

    pub fn delete(&mut self, resource: Resource, object: &Value) -> Written {
        let result = self.actor.delete(resource, object);
        self.note(result)
    }

    fn meet_conflict(&mut self, resource: Resource, object: &Value) -> Result<(), Failure> {
        let chance = self.settings.chances.conflict;
        if !self.temper.happens(chance) {
            return Ok(());
        }
        self.again_in(RETRY);
        Err(self.actor.modified(resource, name(object)))
    }

    fn note(&mut self, result: Written) -> Written {
        if result.is_err() {
            self.again_in(RETRY);
        }
        result
    }
}

/// Calls a controller when something that it watches has changed, or when it asked to be called.
pub(crate) struct Informed<C> {
    controller: C,
    client: Client,
    /// Version of everything that the controller has seen.
    seen: Option<u64>,
    knobs: u64,
    due: Option<Timestamp>,
}

impl<C: Controller> Informed<C> {
    pub fn new(server: &Arc<ApiServer>, controller: C, knobs: &Knobs, seed: u64) -> Self {
        Self {
            controller,
            client: Client::new(server, C::MANAGER, knobs, seed),
            seen: None,
            knobs: knobs.version(),
            due: None,
        }
    }

    fn has_news(&self, now: Timestamp) -> bool {
        let is_due = self.due.is_some_and(|due| due <= now);
        let knobs_changed = self.knobs != self.client.knobs.version();
        is_due
            || knobs_changed
            || self
                .seen
                .is_none_or(|seen| self.client.actor.has_changed(C::WATCHES, seen))
    }
}

impl<C: Controller> Model for Informed<C> {
    fn act(&mut self, now: Timestamp) -> Option<Duration> {
        if !self.has_news(now) {
            return self.due.map(|due| until(due, now));
        }
        self.knobs = self.client.knobs.version();
        self.client.settings = self.client.knobs.settings();
        self.client.again = None;
        if self.client.settings.stopped.contains(C::NAME) {
            self.seen = None;
            self.due = None;
            return Some(STOPPED);
        }
        self.seen = Some(self.client.actor.revision());
        self.controller.sync(&mut self.client, now);
        self.due = self.client.again.map(|again| plus(now, again));
        self.client.again
    }
}
