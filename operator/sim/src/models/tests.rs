//! The models against a real API server, in a time that the tests advance.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panic"
)]

mod canary;
mod peers;
mod workloads;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Knobs, Model, all};
use crate::actor::{Actor, Resource, resource};
use crate::apiserver::server::ApiServer;

const NAMESPACE: &str = "shop";

/// An API server, every model, and a clock.
struct Bench {
    server: Arc<ApiServer>,
    knobs: Knobs,
    models: Vec<Box<dyn Model>>,
    now: Arc<Mutex<Timestamp>>,
    person: Actor,
}

impl Bench {
    fn new() -> Self {
        Self::with(Knobs::default(), 7)
    }

    fn with(knobs: Knobs, seed: u64) -> Self {
        crate::catalog::load().unwrap();
        let catalog = crate::catalog::catalog();
        let now = Arc::new(Mutex::new(
            "2026-01-05T09:00:00Z".parse::<Timestamp>().unwrap(),
        ));
        let clock = Arc::clone(&now);
        let server = Arc::new(ApiServer::new(
            catalog.resources,
            catalog.rules,
            move || *clock.lock().unwrap(),
            seed,
        ));
        let person = Actor::new(&server, "kubectl");
        let bench = Self {
            models: all(&server, &knobs, seed),
            server,
            knobs,
            now,
            person,
        };
        bench
            .person
            .create(
                resource("", "namespaces"),
                json!({"metadata": {"name": NAMESPACE}}),
            )
            .unwrap();
        bench
    }

    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap()
    }

    /// Lets every model act once a second.
    fn run(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.second();
        }
    }

    fn second(&mut self) {
        let now = self.now();
        for model in &mut self.models {
            model.act(now);
        }
        *self.now.lock().unwrap() = now + jiff::SignedDuration::from_secs(1);
    }

    /// Lets time pass until something holds. Returns how many seconds that took.
    fn until(&mut self, what: &str, most: u64, holds: impl Fn(&Self) -> bool) -> u64 {
        for passed in 0..most {
            if holds(self) {
                return passed;
            }
            self.second();
        }
        panic!("not within {most} s: {what}\n{}", self.dump());
    }

    fn dump(&self) -> String {
        self.server.read(|store| {
            let objects = store.all().map(|(_, object)| {
                let mut object = Value::clone(object);
                object["metadata"]["managedFields"] = json!(null);
                serde_json::to_string(&object).unwrap()
            });
            objects.collect::<Vec<_>>().join("\n")
        })
    }

    fn revision(&self) -> u64 {
        self.server.read(|store| store.revision())
    }

    fn put(&self, resource: Resource, mut object: Value) -> Arc<Value> {
        object["metadata"]["namespace"] = json!(NAMESPACE);
        self.person
            .create(resource, object)
            .unwrap_or_else(|failure| panic!("{failure:?}"))
    }

    fn find(&self, resource: Resource, name: &str) -> Option<Arc<Value>> {
        self.person.get(resource, NAMESPACE, name)
    }

    fn get(&self, resource: Resource, name: &str) -> Arc<Value> {
        self.find(resource, name)
            .unwrap_or_else(|| panic!("no {name}\n{}", self.dump()))
    }

    fn edit(&self, resource: Resource, name: &str, patch: Value) {
        let edited = self.person.merge(resource, NAMESPACE, name, patch);
        edited.unwrap_or_else(|failure| panic!("{failure:?}"));
    }

    fn pods(&self) -> Vec<Arc<Value>> {
        self.person.list(super::replicaset::PODS)
    }

    /// Images of the pods that are ready, sorted.
    fn serving(&self) -> Vec<String> {
        let pods = self.pods();
        let ready = pods.iter().filter(|pod| super::fields::holds(pod, "Ready"));
        let mut images: Vec<String> = ready
            .map(|pod| super::fields::text(pod, "/spec/containers/0/image").to_owned())
            .collect();
        images.sort();
        images
    }

    /// Nobody writes anything any more.
    fn assert_rests(&mut self) {
        // What is on its way may arrive.
        self.run(5);
        let before = self.revision();
        self.run(120);
        let changed: Vec<String> = self.server.read(|store| {
            let changes = store
                .resources()
                .flat_map(|id| store.changes_after(id, before));
            changes
                .map(|change| format!("{:?} is now {:?}", change.key, change.after))
                .collect()
        });
        assert!(
            changed.is_empty(),
            "somebody writes at rest: {}",
            changed.join("\n")
        );
    }
}

fn template(image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "app", "image": image}]},
    })
}

fn at<'a>(object: &'a Value, pointer: &str) -> &'a Value {
    object.pointer(pointer).unwrap_or(&Value::Null)
}

fn condition<'a>(object: &'a Value, kind: &str) -> (&'a str, &'a str) {
    let condition = super::fields::condition(object, kind).unwrap_or(&Value::Null);
    let text = |pointer| super::fields::text(condition, pointer);
    (text("/status"), text("/reason"))
}

#[test]
fn informed_model_that_has_nothing_to_do_is_cheap() {
    let mut bench = Bench::new();
    bench.run(5);
    let begun = std::time::Instant::now();
    bench.run(1_000);
    let each = begun.elapsed() / (1_000 * u32::try_from(bench.models.len()).unwrap());
    assert!(each < Duration::from_micros(50), "{each:?}");
}
