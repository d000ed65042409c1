//! Looks at a stage all the time, and notes what changes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Result;
use kube::api::{Api, DynamicObject, ListParams};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::objects::{self, APP, Kind, POD, TRAEFIK_SERVICE};
use super::recorder::Recorder;
use super::stage::{NAME, Stage};
use super::timeline::Style;
use super::web::Prometheus;

/// Chart of the pods that are ready, a line for each component.
pub const REPLICAS: &str = "ready pods";
/// Chart of the messages that nobody has taken yet.
pub const WAITING: &str = "messages that wait";
/// Its line.
pub const LAG: &str = "lag";
/// Chart of the pods that are asked for, by an autoscaler where there is one; a line for each component.
pub const WANTED: &str = "pods that are asked for";
/// Chart of the canary's share.
pub const WEIGHT: &str = "share of the canary, %";
/// Line of the share that the router was asked for.
pub const ASKED: &str = "asked";

const EVENT: Kind = Kind("events.k8s.io/v1", "Event");
const OFTEN: Duration = Duration::from_millis(100);
const SOMETIMES: Duration = Duration::from_millis(500);

/// Looks until it is dropped.
pub struct Watch(#[allow(dead_code, reason = "ends what it holds")] JoinSet<()>);

impl Stage<'_> {
    /// Notes what the application says of itself, its ready pods, and the operator's events.
    pub fn watch(&self) -> Watch {
        let mut looks = JoinSet::new();
        let (apps, record) = (self.api(APP), self.record.clone());
        looks.spawn_local(async move {
            let mut said = String::new();
            every(OFTEN, async || {
                if let Some(app) = objects::get(&apps, NAME).await? {
                    note_app(&record, &app, &mut said);
                }
                Ok(())
            })
            .await;
        });
        let (pods, record) = (self.api(POD), self.record.clone());
        looks.spawn_local(async move {
            let mut known = BTreeSet::new();
            every(SOMETIMES, async || {
                note_pods(
                    &record,
                    &list(&pods, "todo-operator.dev/component").await?,
                    &mut known,
                );
                Ok(())
            })
            .await;
        });
        let (events, record) = (self.api(EVENT), self.record.clone());
        looks.spawn_local(async move {
            let mut known = BTreeSet::new();
            every(SOMETIMES, async || {
                note_events(&record, &list(&events, "").await?, &mut known);
                Ok(())
            })
            .await;
        });
        Watch(looks)
    }

    /// Notes the share of the requests that the router is asked to give to a component's canary.
    pub fn watch_weight(&self, component: &str) -> Watch {
        let mut looks = JoinSet::new();
        let (services, record) = (self.api(TRAEFIK_SERVICE), self.record.clone());
        let name = format!("{NAME}-{component}");
        let canary = format!("{name}-canary");
        looks.spawn_local(async move {
            every(OFTEN, async || {
                if let Some(service) = objects::get(&services, &name).await? {
                    let share = canary_share(&service, &canary);
                    record.value(WEIGHT, ASKED, Style::Steps, share);
                }
                Ok(())
            })
            .await;
        });
        Watch(looks)
    }
}

/// Draws how many messages wait for the workers of a stage.
pub async fn watch_lag(stage: &Stage<'_>) -> Result<Watch> {
    let prometheus = Prometheus::find(stage.platform).await?;
    let query = format!("sum(consumer_lag{{namespace=\"{}\"}})", stage.name);
    let (mut looks, record) = (JoinSet::new(), stage.record.clone());
    looks.spawn_local(async move {
        every(Duration::from_secs(1), async || {
            if let Some(lag) = prometheus.number(&query).await? {
                record.value(WAITING, LAG, Style::Curve, lag);
            }
            Ok(())
        })
        .await;
    });
    Ok(Watch(looks))
}

/// Looks again and again. A look that fails is made again: what is looked at is being taken apart.
async fn every(time: Duration, mut look: impl AsyncFnMut() -> Result<()>) {
    let mut clock = tokio::time::interval(time);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        let _ = look().await;
    }
}

async fn list(api: &Api<DynamicObject>, label: &str) -> Result<Vec<Value>> {
    let listed = api.list(&ListParams::default().labels(label)).await?;
    Ok(listed.items.iter().map(|object| json!(object)).collect())
}

fn note_app(record: &Recorder, app: &Value, said: &mut String) {
    let components = app["status"]["components"].as_object();
    for (name, component) in components.into_iter().flatten() {
        if let Some(desired) = component["desired"].as_f64() {
            record.value(WANTED, name, Style::Steps, desired);
        }
    }
    let says = what_it_says(app);
    if says != *said {
        record.mark("app", says.clone());
        *said = says;
    }
}

/// The reason and the message of Ready; what was said of an older spec is not said of this one.
fn what_it_says(app: &Value) -> String {
    let Some(ready) = super::stage::current(app, "Ready") else {
        return "not seen yet".to_owned();
    };
    let text = |name: &str| ready[name].as_str().unwrap_or_default();
    match ready["status"].as_str() {
        Some("True") => "Ready".to_owned(),
        _ => format!("{}: {}", text("reason"), text("message")),
    }
}

fn note_pods(record: &Recorder, pods: &[Value], known: &mut BTreeSet<String>) {
    let mut ready: BTreeMap<String, u32> = known.iter().map(|name| (name.clone(), 0)).collect();
    for pod in pods {
        let labels = &pod["metadata"]["labels"];
        let component = labels["todo-operator.dev/component"]
            .as_str()
            .unwrap_or_default();
        // A migration has a component too, but is nobody's replica.
        if labels["todo-operator.dev/role"].is_null() && is_serving(pod) {
            *ready.entry(component.to_owned()).or_default() += 1;
        }
    }
    for (component, count) in ready {
        record.value(REPLICAS, &component, Style::Steps, count.into());
        known.insert(component);
    }
}

/// Whether a pod is ready and is not about to end.
fn is_serving(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    let is_ready = conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    is_ready && pod["metadata"]["deletionTimestamp"].is_null()
}

fn note_events(record: &Recorder, events: &[Value], known: &mut BTreeSet<(String, i64)>) {
    for event in events {
        if event["reportingController"] != "todo-operator" {
            continue;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let count = event["series"]["count"].as_i64().unwrap_or(1);
        if known.insert((text(&event["metadata"]["uid"]), count)) {
            record.mark(
                "event",
                format!("{}: {}", text(&event["reason"]), text(&event["note"])),
            );
        }
    }
}

/// The canary's share in a weighted TraefikService, in per cent.
fn canary_share(service: &Value, canary: &str) -> f64 {
    let services = service["spec"]["weighted"]["services"].as_array();
    let weights = services.into_iter().flatten().map(|service| {
        let weight = service["weight"].as_f64().unwrap_or_default();
        (service["name"] == canary, weight)
    });
    let (own, all) = weights.fold((0.0, 0.0), |(own, all), (is_canary, weight)| {
        (if is_canary { own + weight } else { own }, all + weight)
    });
    if all > 0.0 { 100.0 * own / all } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_that_of_the_weights() {
        let service = |stable: i64, canary: i64| {
            json!({"spec": {"weighted": {"services": [
                {"name": "demo-web-stable", "weight": stable},
                {"name": "demo-web-canary", "weight": canary},
            ]}}})
        };
        assert_eq!(canary_share(&service(95, 5), "demo-web-canary"), 5.0);
        assert_eq!(canary_share(&service(100, 0), "demo-web-canary"), 0.0);
        assert_eq!(canary_share(&json!({}), "demo-web-canary"), 0.0);
    }

    #[test]
    fn pods_that_end_or_are_not_ready_do_not_count_and_none_is_zero() {
        let record = Recorder::new("x");
        let mut known = BTreeSet::from(["api".to_owned()]);
        let pod = |ready: &str, ends: bool, role: Option<&str>| {
            json!({
                "metadata": {
                    "labels": {"todo-operator.dev/component": "web", "todo-operator.dev/role": role},
                    "deletionTimestamp": ends.then_some("2026-01-01T00:00:00Z"),
                },
                "status": {"conditions": [{"type": "Ready", "status": ready}]},
            })
        };
        let pods = [
            pod("True", false, None),
            pod("True", true, None),
            pod("False", false, None),
            pod("True", false, Some("migrate")),
        ];
        note_pods(&record, &pods, &mut known);
        let lines = record.timeline().charts.remove(0).lines;
        let last = |line: usize| (lines[line].name.as_str(), lines[line].points[0].value);
        assert_eq!((last(0), last(1)), (("api", 0.0), ("web", 1.0)));
    }

    #[test]
    fn an_event_is_noted_once_each_time_it_is_counted() {
        let record = Recorder::new("x");
        let mut known = BTreeSet::new();
        let event = |count: Option<i64>, who: &str| {
            json!({"metadata": {"uid": "1"}, "reportingController": who, "reason": "DriftCorrected",
                   "note": "put right", "series": count.map(|count| json!({"count": count}))})
        };
        for one in [
            event(None, "todo-operator"),
            event(None, "todo-operator"),
            event(Some(2), "todo-operator"),
            event(None, "kubelet"),
        ] {
            note_events(&record, &[one], &mut known);
        }
        let marks = record.timeline().marks;
        assert_eq!(marks.len(), 2);
        assert_eq!(marks[0].what, "DriftCorrected: put right");
    }
}
