//! Canaries of Argo Rollouts.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Bench, at, condition, template};
use crate::actor::resource;
use crate::models::analysis::{ANALYSIS_RUNS, ANALYSIS_TEMPLATES};
use crate::models::fields::{annotation, label, name, text};
use crate::models::gateway::{HTTP_ROUTES, SERVICES};
use crate::models::knobs::Knobs;
use crate::models::replicaset::{REPLICA_SETS, Set};
use crate::models::rollout::ROLLOUTS;
use crate::models::temper::Chances;

const HASH: &str = "rollouts-pod-template-hash";

/// A canary over Traefik with two steps, judged in the background.
fn routed(image: &str) -> Value {
    json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 4,
            "selector": {"matchLabels": {"app": "web"}},
            "progressDeadlineSeconds": 120,
            "progressDeadlineAbort": true,
            "rollbackWindow": {"revisions": 3},
            "template": template(image),
            "strategy": {"canary": {
                "maxSurge": "25%",
                "maxUnavailable": 0,
                "abortScaleDownDelaySeconds": 30,
                "stableService": "web-stable",
                "canaryService": "web-canary",
                "trafficRouting": {"traefik": {"weightedTraefikServiceName": "web"}},
                "analysis": {
                    "startingStep": 1,
                    "templates": [{"templateName": "web"}],
                    "args": [{"name": "canary-hash", "valueFrom": {"podTemplateHashValue": "Latest"}}],
                },
                "steps": [
                    {"setWeight": 25}, {"pause": {"duration": "1m"}},
                    {"setWeight": 50}, {"pause": {"duration": "1m"}},
                ],
            }},
        },
    })
}

/// One without a router.
fn basic(image: &str) -> Value {
    let mut rollout = routed(image);
    let canary = json!({
        "maxSurge": 1,
        "maxUnavailable": 0,
        "steps": [{"setWeight": 25}, {"pause": {"duration": "1m"}}, {"setWeight": 50}, {"pause": {"duration": "1m"}}],
    });
    rollout["spec"]["strategy"]["canary"] = canary;
    rollout
}

fn surroundings(bench: &Bench) {
    for service in ["web-stable", "web-canary"] {
        let ports = json!([{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}]);
        let spec = json!({"selector": {"app": "web"}, "ports": ports});
        bench.put(
            SERVICES,
            json!({"metadata": {"name": service}, "spec": spec}),
        );
    }
    let service = |name: &str, weight: i64| json!({"kind": "Service", "name": name, "port": 80, "weight": weight});
    let services = [service("web-stable", 100), service("web-canary", 0)];
    let spec = json!({"weighted": {"services": services}});
    bench.put(
        resource("traefik.io", "traefikservices"),
        json!({"metadata": {"name": "web"}, "spec": spec}),
    );
    let metric = json!({
        "name": "success", "initialDelay": "10s", "interval": "10s", "failureLimit": 2, "inconclusiveLimit": 5,
        "successCondition": "true",
        "provider": {"prometheus": {"address": "http://prometheus", "query": "up"}},
    });
    let spec = json!({"args": [{"name": "canary-hash"}], "metrics": [metric]});
    bench.put(
        ANALYSIS_TEMPLATES,
        json!({"metadata": {"name": "web"}, "spec": spec}),
    );
}

fn web(bench: &Bench) -> Arc<Value> {
    bench.get(ROLLOUTS, "web")
}

fn image(bench: &Bench, image: &str) {
    let container = json!([{"name": "app", "image": image}]);
    bench.edit(
        ROLLOUTS,
        "web",
        json!({"spec": {"template": {"spec": {"containers": container}}}}),
    );
}

/// What the operator takes for a promotion: healthy, about this generation, and stable is current.
fn is_healthy(bench: &Bench) -> bool {
    let web = web(bench);
    let generation = at(&web, "/metadata/generation")
        .as_i64()
        .unwrap()
        .to_string();
    text(&web, "/status/phase") == "Healthy"
        && text(&web, "/status/observedGeneration") == generation
        && at(&web, "/status/stableRS") == at(&web, "/status/currentPodHash")
}

fn weights(bench: &Bench) -> (i64, i64) {
    let object = bench.get(resource("traefik.io", "traefikservices"), "web");
    let weight = |index: usize| {
        at(&object, &format!("/spec/weighted/services/{index}/weight"))
            .as_i64()
            .unwrap()
    };
    (weight(0), weight(1))
}

fn selected(bench: &Bench, service: &str) -> String {
    let service = bench.get(SERVICES, service);
    text(&service, &format!("/spec/selector/{HASH}")).to_owned()
}

fn begun(first: Value) -> Bench {
    begun_with(Knobs::default(), first)
}

fn begun_with(knobs: Knobs, first: Value) -> Bench {
    let mut bench = Bench::with(knobs, 5);
    surroundings(&bench);
    bench.put(ROLLOUTS, first);
    bench.until("the first version is healthy", 60, is_healthy);
    bench.run(5);
    bench
}

fn step(bench: &Bench) -> i64 {
    at(&web(bench), "/status/currentStepIndex")
        .as_i64()
        .unwrap_or(-1)
}

#[test]
fn first_version_goes_straight_to_all_and_rests() {
    let mut bench = begun(routed("web:1"));
    assert_eq!(bench.serving(), ["web:1"; 4]);
    let web = web(&bench);
    assert_eq!(step(&bench), 4);
    assert_eq!(weights(&bench), (100, 0));
    let stable = text(&web, "/status/stableRS");
    assert_eq!(selected(&bench, "web-stable"), stable);
    assert_eq!(selected(&bench, "web-canary"), stable);
    assert_eq!(annotation(&web, "rollout.argoproj.io/revision"), Some("1"));
    assert_eq!(condition(&web, "Healthy"), ("True", "RolloutHealthy"));
    assert_eq!(condition(&web, "Completed"), ("True", "RolloutCompleted"));
    assert_eq!(
        condition(&web, "Progressing"),
        ("True", "NewReplicaSetAvailable")
    );
    assert_eq!(at(&web, "/status/HPAReplicas"), 4);
    assert!(at(&web, "/status/observedGeneration").is_string());
    assert!(bench.person.list(ANALYSIS_RUNS).is_empty());
    bench.assert_rests();
}

#[test]
fn canary_goes_through_its_steps() {
    let mut bench = begun(routed("web:1"));
    let first = text(&web(&bench), "/status/stableRS").to_owned();
    image(&bench, "web:2");
    let mut seen: Vec<(i64, i64, usize)> = Vec::new();
    let mut passed = 0;
    while !is_healthy(&bench) || web(&bench)["status"]["stableRS"] == first.as_str() {
        bench.second();
        passed += 1;
        assert!(passed < 400, "{seen:?}\n{}", bench.dump());
        let old = bench
            .serving()
            .iter()
            .filter(|image| *image == "web:1")
            .count();
        assert!(bench.serving().len() >= 4);
        let new = bench.serving().len() - old;
        let now = (step(&bench), weights(&bench).1, new);
        // Nobody is sent where nobody serves.
        assert!(weights(&bench).1 == 0 || new > 0, "{now:?}");
        if seen.last() != Some(&now) {
            seen.push(now);
        }
    }
    assert!(passed > 120, "two pauses of a minute: {passed}");
    assert!(seen.contains(&(1, 25, 1)), "{seen:?}");
    assert!(seen.contains(&(3, 50, 2)), "{seen:?}");
    assert!(seen.contains(&(4, 100, 4)), "{seen:?}");
    let second = text(&web(&bench), "/status/stableRS").to_owned();
    bench.run(60);
    assert_eq!(selected(&bench, "web-stable"), second);
    assert_eq!(weights(&bench), (100, 0), "stable is the new one");
    assert_eq!(
        bench.serving(),
        ["web:2"; 4],
        "the former one goes after its delay"
    );
    let runs = bench.person.list(ANALYSIS_RUNS);
    assert_eq!(runs.len(), 1);
    assert_eq!(text(&runs[0], "/status/phase"), "Successful");
    assert_eq!(name(&runs[0]), format!("web-{second}-2"));
    assert_eq!(at(&runs[0], "/spec/args/0/value"), second.as_str());
    assert_eq!(label(&runs[0], "rollout-type"), "Background");
    bench.assert_rests();
}

#[test]
fn pause_is_shown_as_the_operator_reads_it() {
    let mut bench = begun(routed("web:1"));
    image(&bench, "web:2");
    let paused = |bench: &Bench| text(&web(bench), "/status/phase") == "Paused";
    bench.until("it pauses", 60, paused);
    let web = web(&bench);
    assert_eq!(
        at(&web, "/status/pauseConditions/0/reason"),
        "CanaryPauseStep"
    );
    assert_eq!(at(&web, "/status/controllerPause"), true);
    assert_eq!(at(&web, "/status/canary/weights/canary/weight"), 25);
    assert_eq!(at(&web, "/status/canary/weights/stable/weight"), 75);
    assert_ne!(
        at(&web, "/status/stableRS"),
        at(&web, "/status/currentPodHash")
    );
    let (health, _) =
        todo_operator_core::health::read(todo_operator_core::kind::Kind::Rollout, &web);
    assert_eq!(
        health,
        todo_operator_core::health::Health::Paused(todo_operator_core::cause::Cause::new(
            "CanaryPauseStep",
            "paused for 1m at step 2/4"
        ))
    );
    // A person resumes it.
    let status = json!({"status": {"pauseConditions": null}});
    let mut object = Value::clone(&web);
    json_patch::merge(&mut object, &status);
    bench
        .person
        .set_status(ROLLOUTS, &web, object["status"].clone())
        .unwrap();
    let passed = bench.until("it goes on", 30, |bench| step(bench) == 2);
    assert!(passed < 10, "{passed}");
}

#[test]
fn bad_measurements_abort_and_stable_serves_again_at_once() {
    let mut bench = begun(routed("web:1"));
    let stable = text(&web(&bench), "/status/stableRS").to_owned();
    image(&bench, "web:badmetric");
    bench.until("it is aborted", 120, |bench| {
        at(&web(bench), "/status/abort") == true
    });
    bench.run(3);
    let aborted = web(&bench);
    assert_eq!(weights(&bench), (100, 0));
    assert_eq!(selected(&bench, "web-canary"), stable);
    assert_eq!(text(&aborted, "/status/phase"), "Degraded");
    let condition = crate::models::fields::condition(&aborted, "Progressing").unwrap();
    assert_eq!(
        text(condition, "/message"),
        "Rollout aborted update to revision 2: Background analysis phase error/failed: Metric \"success\" assessed \
         Failed due to failed (3) > failureLimit (2)"
    );
    assert_eq!(text(&aborted, "/status/stableRS"), stable);
    assert_eq!(step(&bench), 0);
    let run = bench.person.list(ANALYSIS_RUNS)[0].clone();
    let (_, detail) =
        todo_operator_core::health::read(todo_operator_core::kind::Kind::AnalysisRun, &run);
    let todo_operator_core::live::Detail::Analysis {
        rollout, failure, ..
    } = detail
    else {
        panic!("{detail:?}");
    };
    assert_eq!(&*rollout, "web");
    assert!(
        failure
            .unwrap()
            .starts_with("metric success failed, last measured [91.5]")
    );
    // The canary's pods are kept for a while, and go then.
    assert!(bench.serving().contains(&"web:badmetric".to_owned()));
    bench.run(40);
    assert_eq!(bench.serving(), ["web:1"; 4]);
    bench.assert_rests();
    // Going back to the stable template clears it all, without steps.
    image(&bench, "web:1");
    let passed = bench.until("it is healthy", 30, is_healthy);
    assert!(passed < 10, "{passed}");
    assert_eq!(at(&web(&bench), "/status/abort"), &Value::Null);
    assert_eq!(bench.serving(), ["web:1"; 4]);
    bench.assert_rests();
}

#[test]
fn measurements_without_data_pause() {
    let mut bench = begun(routed("web:1"));
    image(&bench, "web:nodata");
    let inconclusive = |bench: &Bench| {
        let web = web(bench);
        let reasons = crate::models::fields::items(&web, "/status/pauseConditions").to_vec();
        reasons
            .iter()
            .any(|condition| condition["reason"] == "InconclusiveAnalysis")
    };
    bench.until("it waits for a person", 180, inconclusive);
    bench.run(300);
    assert_eq!(text(&web(&bench), "/status/phase"), "Paused");
    assert!(bench.serving().len() >= 4);
}

#[test]
fn canary_that_does_not_start_is_aborted_at_its_deadline() {
    let mut bench = begun(routed("web:1"));
    image(&bench, "web:crash");
    let passed = bench.until("it is aborted", 300, |bench| {
        at(&web(bench), "/status/abort") == true
    });
    assert!(passed >= 120, "{passed}");
    assert_eq!(weights(&bench), (100, 0));
    bench.run(60);
    let aborted = web(&bench);
    assert_eq!(text(&aborted, "/status/phase"), "Degraded");
    assert_eq!(condition(&aborted, "Progressing").0, "False");
    assert_eq!(bench.serving(), ["web:1"; 4]);
    assert_eq!(bench.pods().len(), 4, "the crashing pods are gone");
    bench.assert_rests();
}

#[test]
fn change_in_the_middle_begins_the_steps_anew() {
    let mut bench = begun(routed("web:1"));
    image(&bench, "web:2");
    bench.until("it is at the second pause", 200, |bench| step(bench) == 3);
    image(&bench, "web:3");
    bench.run(3);
    assert!(step(&bench) <= 1, "{}", step(&bench));
    bench.until("the third is healthy", 400, is_healthy);
    bench.run(60);
    assert_eq!(bench.serving(), ["web:3"; 4]);

    // Another ladder does the same.
    image(&bench, "web:4");
    bench.until("it is at the second pause", 200, |bench| step(bench) == 3);
    let steps = json!([{"setWeight": 10}, {"pause": {}}]);
    bench.edit(
        ROLLOUTS,
        "web",
        json!({"spec": {"strategy": {"canary": {"steps": steps}}}}),
    );
    bench.run(3);
    assert!(step(&bench) <= 1, "{}", step(&bench));
    bench.run(600);
    assert_eq!(step(&bench), 1, "an indefinite pause");
}

#[test]
fn version_within_the_window_is_gone_back_to_without_steps() {
    let mut bench = begun(routed("web:1"));
    image(&bench, "web:2");
    bench.until("the second is healthy", 400, |bench| {
        is_healthy(bench) && bench.serving().contains(&"web:2".to_owned())
    });
    image(&bench, "web:1");
    bench.run(2);
    let passed = bench.until("the first is back", 100, is_healthy);
    assert!(passed < 30, "{passed}");
    bench.run(60);
    assert_eq!(bench.serving(), ["web:1"; 4]);
    assert_eq!(
        bench.person.list(ANALYSIS_RUNS).len(),
        1,
        "none for going back"
    );
}

#[test]
fn basic_canary_is_a_matter_of_pods() {
    let mut bench = begun(basic("web:1"));
    assert_eq!(at(&web(&bench), "/status/canary/weights"), &Value::Null);
    image(&bench, "web:2");
    let mut seen = Vec::new();
    let mut passed = 0;
    while !(is_healthy(&bench) && bench.serving() == ["web:2"; 4]) {
        bench.second();
        passed += 1;
        assert!(passed < 400, "{seen:?}\n{}", bench.dump());
        assert!(bench.serving().len() >= 4, "{:?}", bench.serving());
        assert!(bench.pods().len() <= 5);
        let new = bench
            .serving()
            .iter()
            .filter(|image| *image == "web:2")
            .count();
        if seen.last() != Some(&(step(&bench), new)) {
            seen.push((step(&bench), new));
        }
    }
    assert!(seen.contains(&(1, 1)) && seen.contains(&(3, 2)), "{seen:?}");
    bench.assert_rests();
}

#[test]
fn consumers_never_surge() {
    let mut first = basic("web:1");
    first["spec"]["strategy"]["canary"]["maxSurge"] = json!(0);
    first["spec"]["strategy"]["canary"]["maxUnavailable"] = json!(1);
    let mut bench = begun(first);
    image(&bench, "web:2");
    let mut passed = 0;
    while !(is_healthy(&bench) && bench.serving() == ["web:2"; 4]) {
        bench.second();
        passed += 1;
        assert!(passed < 400, "{}", bench.dump());
        assert!(bench.pods().len() <= 4);
        assert!(bench.serving().len() >= 3);
    }
    bench.assert_rests();
}

#[test]
fn bad_basic_canary_is_given_back_at_its_deadline() {
    let mut bench = begun(basic("web:1"));
    image(&bench, "web:crash");
    bench.until("it is aborted", 300, |bench| {
        at(&web(bench), "/status/abort") == true
    });
    bench.run(30);
    assert_eq!(bench.serving(), ["web:1"; 4]);
    assert_eq!(bench.pods().len(), 4);
    bench.assert_rests();
}

#[test]
fn replicas_change_in_the_middle_of_a_canary() {
    let mut bench = begun(routed("web:1"));
    image(&bench, "web:2");
    bench.until("it pauses", 60, |bench| step(bench) == 1);
    bench
        .person
        .scale(ROLLOUTS, super::NAMESPACE, "web", 8)
        .unwrap();
    bench.run(15);
    let count = |image: &str| bench.serving().iter().filter(|it| *it == image).count();
    assert_eq!((count("web:1"), count("web:2")), (8, 2));
    bench.until("it is healthy", 400, is_healthy);
    bench.run(60);
    assert_eq!(bench.serving(), ["web:2"; 8]);
    let sets = bench.person.list(REPLICA_SETS);
    let old = sets
        .iter()
        .find(|set| text(set, "/spec/template/spec/containers/0/image") == "web:1");
    assert!(Set(Arc::clone(old.unwrap())).is_empty());
}

#[test]
fn replicas_that_nobody_names_are_one() {
    let mut first = routed("web:1");
    first["spec"].as_object_mut().unwrap().remove("replicas");
    let bench = begun(first);
    assert_eq!(web(&bench)["spec"]["replicas"], 1);
}

#[test]
fn missing_reference_makes_the_spec_invalid_until_it_is_there() {
    let mut bench = Bench::new();
    bench.put(ROLLOUTS, routed("web:1"));
    bench.run(3);
    let invalid = web(&bench);
    assert_eq!(text(&invalid, "/status/phase"), "Degraded");
    assert!(
        text(&invalid, "/status/message").contains("service \"web-stable\" not found"),
        "{invalid}"
    );
    surroundings(&bench);
    bench.until("it is healthy", 60, is_healthy);
    assert_eq!(condition(&web(&bench), "InvalidSpec"), ("", ""));
}

#[test]
fn http_route_is_weighed_and_marked() {
    let mut first = routed("web:1");
    first["spec"]["strategy"]["canary"]["trafficRouting"] = json!({"plugins": {"argoproj-labs/gatewayAPI": {"httpRoute": "web", "namespace": super::NAMESPACE}}});
    let mut bench = Bench::new();
    surroundings(&bench);
    let back_end =
        |service: &str, weight: i64| json!({"name": service, "port": 80, "weight": weight});
    let rules = json!([
        {"backendRefs": [back_end("web-stable", 100), back_end("web-canary", 0)]},
        {"backendRefs": [back_end("web-canary", 1)]},
    ]);
    let spec = json!({"parentRefs": [{"name": "public"}], "rules": rules});
    bench.put(
        HTTP_ROUTES,
        json!({"metadata": {"name": "web"}, "spec": spec}),
    );
    bench.put(ROLLOUTS, first);
    bench.until("the first is healthy", 60, is_healthy);
    let route = bench.get(HTTP_ROUTES, "web");
    let (health, _) =
        todo_operator_core::health::read(todo_operator_core::kind::Kind::HttpRoute, &route);
    assert!(health.is_ready(), "{health:?}");
    image(&bench, "web:2");
    bench.until("it pauses", 60, |bench| step(bench) == 1);
    bench.run(3);
    let route = bench.get(HTTP_ROUTES, "web");
    let weight =
        |rule: usize, at: usize| route["spec"]["rules"][rule]["backendRefs"][at]["weight"].clone();
    assert_eq!(
        (weight(0, 0), weight(0, 1), weight(1, 0)),
        (json!(75), json!(25), json!(1))
    );
    assert_eq!(
        label(&route, "rollouts.argoproj.io/gatewayapi-canary"),
        "in-progress"
    );
    bench.until("it is healthy", 400, is_healthy);
    bench.run(5);
    let route = bench.get(HTTP_ROUTES, "web");
    assert_eq!(label(&route, "rollouts.argoproj.io/gatewayapi-canary"), "");
}

#[test]
fn overlooked_change_is_seen_only_after_another_event() {
    let knobs = Knobs::default();
    let mut bench = begun_with(knobs.clone(), routed("web:1"));
    bench.assert_rests();
    knobs.change(|settings| {
        settings.chances = Chances {
            overlook: 1.0,
            ..Chances::default()
        };
    });
    // The controller writes, and in that moment somebody changes the template.
    image(&bench, "web:2");
    bench.second();
    bench.second();
    image(&bench, "web:3");
    bench.run(60);
    let overlooked = web(&bench);
    let generation = at(&overlooked, "/metadata/generation")
        .as_i64()
        .unwrap()
        .to_string();
    assert_ne!(text(&overlooked, "/status/observedGeneration"), generation);
    bench.edit(
        ROLLOUTS,
        "web",
        json!({"metadata": {"annotations": {"todo-operator.dev/overlooked": generation}}}),
    );
    bench.until("it is seen", 10, |bench| {
        text(&web(bench), "/status/observedGeneration") == generation
    });
}

#[test]
fn canary_gets_there_through_conflicts_and_stale_statuses() {
    for seed in 1..6 {
        let knobs = Knobs::default();
        knobs.change(|settings| {
            settings.chances = Chances {
                conflict: 0.3,
                stale: 0.5,
                overlook: 0.0,
            };
        });
        let mut bench = Bench::with(knobs, seed);
        surroundings(&bench);
        bench.put(ROLLOUTS, routed("web:1"));
        bench.until("the first is healthy", 300, is_healthy);
        image(&bench, "web:2");
        bench.until("the second is healthy", 900, is_healthy);
        bench.run(90);
        assert_eq!(bench.serving(), ["web:2"; 4], "seed {seed}");
        image(&bench, "web:badmetric");
        bench.until("the third is aborted", 900, |bench| {
            text(&web(bench), "/status/phase") == "Degraded"
        });
        bench.run(90);
        assert_eq!(bench.serving(), ["web:2"; 4], "seed {seed}");
        assert_eq!(weights(&bench), (100, 0), "seed {seed}");
    }
}
