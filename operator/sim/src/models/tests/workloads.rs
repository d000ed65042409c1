//! Deployments, ReplicaSets, pods, Jobs, and what goes when its owner goes.

use serde_json::{Value, json};

use super::{Bench, NAMESPACE, at, condition, template};
use crate::actor::resource;
use crate::models::deployment::DEPLOYMENTS;
use crate::models::fields::{holds, name, text, uid};
use crate::models::knobs::{Fate, Knobs};
use crate::models::replicaset::REPLICA_SETS;
use crate::models::temper::Chances;

fn deployment(image: &str) -> Value {
    json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "web"}},
            "progressDeadlineSeconds": 60,
            "revisionHistoryLimit": 1,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": template(image),
        },
    })
}

fn image(image: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}}})
}

fn is_complete(bench: &Bench) -> bool {
    let web = bench.get(DEPLOYMENTS, "web");
    at(&web, "/status/observedGeneration") == at(&web, "/metadata/generation")
        && condition(&web, "Progressing") == ("True", "NewReplicaSetAvailable")
        && ["replicas", "updatedReplicas", "availableReplicas"]
            .iter()
            .all(|field| web["status"][field] == web["spec"]["replicas"])
}

#[test]
fn deployment_becomes_available_and_rests() {
    let mut bench = Bench::new();
    bench.put(DEPLOYMENTS, deployment("web:1"));
    bench.until("it is complete", 30, is_complete);
    let web = bench.get(DEPLOYMENTS, "web");
    assert_eq!(
        condition(&web, "Available"),
        ("True", "MinimumReplicasAvailable")
    );
    assert_eq!(
        web["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "1"
    );
    let pods = bench.pods();
    let set = &bench.person.list(REPLICA_SETS)[0];
    assert_eq!(pods.len(), 3);
    for pod in &pods {
        assert!(name(pod).starts_with(name(set)));
        assert_eq!(
            pod["metadata"]["labels"]["pod-template-hash"],
            set["metadata"]["labels"]["pod-template-hash"]
        );
        assert_eq!(at(pod, "/metadata/ownerReferences/0/uid"), uid(set));
        assert_eq!(at(pod, "/metadata/ownerReferences/0/controller"), true);
    }
    assert_eq!(
        name(set),
        format!("web-{}", text(set, "/metadata/labels/pod-template-hash"))
    );
    bench.assert_rests();
}

#[test]
fn old_pods_go_only_as_new_ones_are_available() {
    let mut bench = Bench::new();
    bench.put(DEPLOYMENTS, deployment("web:1"));
    bench.until("it is complete", 30, is_complete);
    bench.edit(DEPLOYMENTS, "web", image("web:2"));
    for _ in 0..60 {
        bench.second();
        assert!(bench.serving().len() >= 3, "{:?}", bench.serving());
        assert!(bench.pods().len() <= 4);
    }
    assert!(is_complete(&bench));
    assert_eq!(bench.serving(), ["web:2", "web:2", "web:2"]);
    for version in 3..6 {
        bench.edit(DEPLOYMENTS, "web", image(&format!("web:{version}")));
        bench.run(60);
    }
    assert!(is_complete(&bench));
    assert_eq!(
        bench.person.list(REPLICA_SETS).len(),
        2,
        "one, and one of history"
    );
    bench.assert_rests();
}

#[test]
fn deployment_that_crashes_passes_its_deadline_and_keeps_serving() {
    let mut bench = Bench::new();
    bench.put(DEPLOYMENTS, deployment("web:1"));
    bench.until("it is complete", 30, is_complete);
    bench.edit(DEPLOYMENTS, "web", image("web:crash"));
    let exceeded = |bench: &Bench| {
        let web = bench.get(DEPLOYMENTS, "web");
        condition(&web, "Progressing") == ("False", "ProgressDeadlineExceeded")
    };
    let passed = bench.until("its deadline has passed", 120, exceeded);
    assert!(passed >= 60, "{passed}");
    assert_eq!(bench.serving(), ["web:1"; 3]);
    let pods = bench.pods();
    let crashing = pods
        .iter()
        .find(|pod| text(pod, "/spec/containers/0/image") == "web:crash");
    let state = at(crashing.unwrap(), "/status/containerStatuses/0").clone();
    assert_eq!(at(&state, "/state/waiting/reason"), "CrashLoopBackOff");
    assert_eq!(at(&state, "/lastState/terminated/exitCode"), 1);
    bench.edit(DEPLOYMENTS, "web", image("web:1"));
    bench.until("it is back", 60, is_complete);
    bench.assert_rests();
}

#[test]
fn images_have_the_fates_that_the_table_gives_them() {
    let mut bench = Bench::new();
    bench.put(DEPLOYMENTS, deployment("web:missing"));
    bench.run(20);
    for pod in bench.pods() {
        assert_eq!(
            at(&pod, "/status/containerStatuses/0/state/waiting/reason"),
            "ImagePullBackOff"
        );
        assert_eq!(at(&pod, "/status/phase"), "Pending");
    }
    bench.knobs.change(|settings| {
        settings
            .behaviour
            .0
            .retain(|(_, fate)| *fate != Fate::Missing)
    });
    bench.until("somebody pushed it", 30, is_complete);

    let mut bench = Bench::new();
    bench.put(DEPLOYMENTS, deployment("web:slow"));
    let passed = bench.until("it is ready", 400, |bench| bench.serving().len() == 3);
    assert!(passed >= 300, "{passed}");
}

#[test]
fn pod_waits_for_what_it_names() {
    let mut bench = Bench::new();
    let mut web = deployment("web:1");
    web["spec"]["replicas"] = json!(1);
    web["spec"]["template"]["spec"]["serviceAccountName"] = json!("web");
    web["spec"]["template"]["spec"]["containers"][0]["envFrom"] =
        json!([{"configMapRef": {"name": "config"}}]);
    web["spec"]["template"]["spec"]["volumes"] =
        json!([{"name": "tls", "secret": {"secretName": "tls"}}]);
    bench.put(DEPLOYMENTS, web);
    bench.run(5);
    assert!(bench.pods().is_empty());
    let set = bench.person.list(REPLICA_SETS)[0].clone();
    assert_eq!(condition(&set, "ReplicaFailure"), ("True", "FailedCreate"));
    let web = bench.get(DEPLOYMENTS, "web");
    assert_eq!(condition(&web, "ReplicaFailure"), ("True", "FailedCreate"));

    bench.put(
        resource("", "serviceaccounts"),
        json!({"metadata": {"name": "web"}}),
    );
    bench.run(5);
    let reason = "/status/containerStatuses/0/state/waiting/reason";
    assert_eq!(at(&bench.pods()[0], reason), "ContainerCreating");
    let events = bench.person.list(resource("", "events"));
    assert_eq!(events.len(), 1);
    assert_eq!(
        events[0]["message"],
        "MountVolume.SetUp failed for volume \"tls\" : secret \"tls\" not found"
    );

    bench.put(
        resource("", "secrets"),
        json!({"metadata": {"name": "tls"}}),
    );
    bench.run(5);
    let pod = bench.pods()[0].clone();
    assert_eq!(at(&pod, reason), "CreateContainerConfigError");
    assert_eq!(
        at(&pod, "/status/containerStatuses/0/state/waiting/message"),
        "configmap \"config\" not found"
    );

    bench.put(
        resource("", "configmaps"),
        json!({"metadata": {"name": "config"}}),
    );
    bench.until("it is complete", 30, is_complete);
    let web = bench.get(DEPLOYMENTS, "web");
    assert_eq!(condition(&web, "ReplicaFailure"), ("", ""));
    bench.assert_rests();
}

#[test]
fn refused_pods_are_told_in_the_words_of_admission() {
    let mut bench = Bench::new();
    let quota = "exceeded quota: todo, requested: pods=1, used: pods=60, limited: pods=60";
    bench.knobs.change(|settings| {
        settings
            .refused_pods
            .insert(NAMESPACE.to_owned(), quota.to_owned());
    });
    bench.put(DEPLOYMENTS, deployment("web:1"));
    bench.run(5);
    let web = bench.get(DEPLOYMENTS, "web");
    let failure = crate::models::fields::condition(&web, "ReplicaFailure").unwrap();
    assert!(text(failure, "/message").ends_with(quota), "{failure}");
    bench.knobs.change(|settings| settings.refused_pods.clear());
    bench.until("there is room", 30, is_complete);
}

fn job(image: &str) -> Value {
    json!({
        "metadata": {"name": "migrate"},
        "spec": {
            "backoffLimit": 2,
            "activeDeadlineSeconds": 600,
            "template": {
                "metadata": {"labels": {"role": "migrate"}},
                "spec": {"restartPolicy": "Never", "containers": [{"name": "app", "image": image}]},
            },
        },
    })
}

#[test]
fn job_ends_once() {
    let jobs = resource("batch", "jobs");
    let mut bench = Bench::new();
    bench.put(jobs, job("api:1"));
    bench.until("it is complete", 60, |bench| {
        holds(&bench.get(jobs, "migrate"), "Complete")
    });
    let status = bench.get(jobs, "migrate")["status"].clone();
    assert_eq!(
        (&status["succeeded"], at(&status, "/active")),
        (&json!(1), &Value::Null)
    );
    assert_eq!(bench.pods().len(), 1);
    assert_eq!(at(&bench.pods()[0], "/status/phase"), "Succeeded");
    bench.assert_rests();
}

#[test]
fn job_fails_after_its_retries() {
    let jobs = resource("batch", "jobs");
    let mut bench = Bench::new();
    bench.put(jobs, job("api:fail"));
    let passed = bench.until("it has failed", 120, |bench| {
        holds(&bench.get(jobs, "migrate"), "Failed")
    });
    let migrate = bench.get(jobs, "migrate");
    assert_eq!(
        condition(&migrate, "Failed"),
        ("True", "BackoffLimitExceeded")
    );
    assert_eq!(migrate["status"]["failed"], 3, "the first and two retries");
    assert!(
        passed >= 10 + 20 + 3 * 8,
        "{passed}: waits of 10 s and 20 s"
    );
    assert_eq!(bench.pods().len(), 3);
    bench.assert_rests();
}

#[test]
fn job_that_hangs_passes_its_deadline() {
    let jobs = resource("batch", "jobs");
    let mut bench = Bench::new();
    let mut hanging = job("api:missing");
    hanging["spec"]["activeDeadlineSeconds"] = json!(30);
    bench.put(jobs, hanging);
    bench.run(40);
    assert_eq!(
        condition(&bench.get(jobs, "migrate"), "Failed"),
        ("True", "DeadlineExceeded")
    );
    assert!(bench.pods().is_empty());
}

#[test]
fn dependents_go_with_their_owner() {
    let mut bench = Bench::new();
    let web = bench.put(DEPLOYMENTS, deployment("web:1"));
    bench.until("it is complete", 30, is_complete);
    bench.person.delete(DEPLOYMENTS, &web).unwrap();
    bench.run(10);
    assert!(bench.person.list(REPLICA_SETS).is_empty());
    assert!(bench.pods().is_empty());
}

#[test]
fn one_owner_that_is_left_is_enough() {
    let mut bench = Bench::new();
    let maps = resource("", "configmaps");
    let one = bench.put(maps, json!({"metadata": {"name": "one"}}));
    let two = bench.put(maps, json!({"metadata": {"name": "two"}}));
    let owner = |of: &Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name(of), "uid": uid(of)});
    let owners = json!([owner(&one), owner(&two)]);
    bench.put(
        maps,
        json!({"metadata": {"name": "child", "ownerReferences": owners}}),
    );
    bench.person.delete(maps, &one).unwrap();
    bench.run(3);
    let child = bench.get(maps, "child");
    assert_eq!(child["metadata"]["ownerReferences"], json!([owner(&two)]));
    // Another object under the owner's name is not the owner.
    bench.person.delete(maps, &two).unwrap();
    bench.put(maps, json!({"metadata": {"name": "two"}}));
    bench.run(3);
    assert!(bench.find(maps, "child").is_none());
    // Nor is one that was never there.
    bench.put(
        maps,
        json!({"metadata": {"name": "late", "ownerReferences": [owner(&one)]}}),
    );
    bench.run(3);
    assert!(bench.find(maps, "late").is_none());
}

#[test]
fn foreground_deletion_waits_for_dependents_and_orphans_are_set_free() {
    use crate::apiserver::call::Propagation;
    use crate::apiserver::store::Key;
    for (propagation, owner_stays, child_stays) in [
        (Propagation::Foreground, true, true),
        (Propagation::Orphan, false, true),
    ] {
        let mut bench = Bench::new();
        let maps = resource("", "configmaps");
        let one = bench.put(maps, json!({"metadata": {"name": "one"}}));
        let owner = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "name": "one", "uid": uid(&one), "blockOwnerDeletion": true,
        });
        let child = json!({"metadata": {"name": "child", "ownerReferences": [owner], "finalizers": ["test/held"]}});
        bench.put(maps, child);
        bench.run(2);
        let key = bench.server.read(|store| Key {
            resource: store.find("", "configmaps").unwrap(),
            namespace: NAMESPACE.into(),
            name: "one".into(),
        });
        bench.person.delete_at(&key, &one, propagation).unwrap();
        bench.run(10);
        assert_eq!(
            bench.find(maps, "one").is_some(),
            owner_stays,
            "{propagation:?}"
        );
        assert_eq!(
            bench.find(maps, "child").is_some(),
            child_stays,
            "{propagation:?}"
        );
        let is_deleting = crate::models::fields::is_deleting(&bench.get(maps, "child"));
        assert_eq!(is_deleting, owner_stays, "{propagation:?}");
        bench.edit(maps, "child", json!({"metadata": {"finalizers": []}}));
        bench.run(10);
        assert!(bench.find(maps, "one").is_none(), "{propagation:?}");
        assert_eq!(
            bench.find(maps, "child").is_some(),
            !owner_stays,
            "{propagation:?}"
        );
    }
}

#[test]
fn namespace_goes_when_it_is_empty() {
    let mut bench = Bench::new();
    let maps = resource("", "configmaps");
    let namespaces = resource("", "namespaces");
    bench.put(DEPLOYMENTS, deployment("web:1"));
    bench.put(
        maps,
        json!({"metadata": {"name": "held", "finalizers": ["test/held"]}}),
    );
    bench.run(20);
    let namespace = bench.person.get(namespaces, "", NAMESPACE).unwrap();
    bench.person.delete(namespaces, &namespace).unwrap();
    bench.run(20);
    let terminating = bench.person.get(namespaces, "", NAMESPACE).unwrap();
    assert_eq!(terminating["status"]["phase"], "Terminating");
    assert!(bench.pods().is_empty() && bench.person.list(DEPLOYMENTS).is_empty());
    bench.edit(maps, "held", json!({"metadata": {"finalizers": []}}));
    bench.run(20);
    assert!(bench.person.get(namespaces, "", NAMESPACE).is_none());
}

#[test]
fn tempers_delay_and_do_not_change_the_end() {
    let knobs = Knobs::default();
    knobs.change(|settings| {
        settings.chances = Chances {
            conflict: 0.4,
            stale: 1.0,
            overlook: 0.0,
        };
    });
    let mut bench = Bench::with(knobs, 3);
    bench.put(DEPLOYMENTS, deployment("web:1"));
    bench.until("it is complete", 200, is_complete);
    bench.edit(DEPLOYMENTS, "web", image("web:2"));
    bench.run(300);
    assert!(is_complete(&bench));
    assert_eq!(bench.serving(), ["web:2"; 3]);
    // Some status was written about a generation that was no longer the newest.
    let is_behind = bench.server.read(|store| {
        let id = store.find("apps", "deployments").unwrap();
        store.changes_after(id, 0).iter().any(|change| {
            let (Some(before), Some(after)) = (&change.before, &change.after) else {
                return false;
            };
            before["status"] != after["status"]
                && after["status"]["observedGeneration"] != after["metadata"]["generation"]
        })
    });
    assert!(is_behind);
    bench.assert_rests();
}

#[test]
fn one_seed_is_one_history() {
    let history = || {
        let mut bench = Bench::new();
        bench.put(DEPLOYMENTS, deployment("web:1"));
        bench.run(30);
        bench.edit(DEPLOYMENTS, "web", image("web:2"));
        bench.run(60);
        bench.dump()
    };
    assert_eq!(history(), history());
}

#[test]
fn model_that_is_stopped_does_nothing() {
    let mut bench = Bench::new();
    bench.knobs.change(|settings| {
        settings.stopped.insert("deployment".to_owned());
    });
    bench.put(DEPLOYMENTS, deployment("web:1"));
    bench.run(20);
    assert!(bench.person.list(REPLICA_SETS).is_empty());
    bench.knobs.change(|settings| settings.stopped.clear());
    bench.until("it is complete", 30, is_complete);
}

#[test]
fn disruption_budget_and_quota_are_in_force() {
    let mut bench = Bench::new();
    let budgets = resource("policy", "poddisruptionbudgets");
    let selector = json!({"matchLabels": {"app": "web"}});
    bench.put(
        budgets,
        json!({"metadata": {"name": "web"}, "spec": {"maxUnavailable": 1, "selector": selector}}),
    );
    let hard = json!({"pods": "60"});
    bench.put(
        resource("", "resourcequotas"),
        json!({"metadata": {"name": "q"}, "spec": {"hard": hard}}),
    );
    bench.put(DEPLOYMENTS, deployment("web:1"));
    bench.until("it is complete", 30, is_complete);
    bench.run(2);
    let status = bench.get(budgets, "web")["status"].clone();
    assert_eq!(
        (&status["expectedPods"], &status["disruptionsAllowed"]),
        (&json!(3), &json!(1))
    );
    assert_eq!(status["observedGeneration"], 1);
    assert_eq!(
        bench.get(resource("", "resourcequotas"), "q")["status"]["hard"],
        hard
    );
    bench.assert_rests();
}
