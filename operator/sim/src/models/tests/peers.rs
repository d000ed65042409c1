//! KEDA and the HPA, CloudNativePG, Strimzi, Kafka, Argo CD.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use todo_operator_api::environment::SecurityProtocol;
use todo_operator_controller::kafka::{KafkaAdmin, KafkaCluster};
use todo_operator_core::health;
use todo_operator_core::kind::Kind;
use todo_operator_core::topics::WantedTopic;

use super::{Bench, NAMESPACE, at, condition, template};
use crate::actor::resource;
use crate::models::argocd::Application;
use crate::models::cnpg::Sql;
use crate::models::deployment::DEPLOYMENTS;
use crate::models::fields::{has_finalizer, holds, items, name, text, uid};
use crate::models::hpa::HPAS;
use crate::models::kafka::{Done, Outage};

fn deployment() -> Value {
    json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": template("web:1"),
        },
    })
}

fn scaled(least: i64) -> Value {
    json!({
        "metadata": {"name": "web", "labels": {"app.kubernetes.io/managed-by": "todo-operator"}},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicaCount": least,
            "maxReplicaCount": 6,
            "triggers": [{"type": "kafka", "metadata": {"topic": "shop.events", "lagThreshold": "50"}}],
        },
    })
}

fn replicas(bench: &Bench) -> i64 {
    bench.get(DEPLOYMENTS, "web")["spec"]["replicas"]
        .as_i64()
        .unwrap()
}

#[test]
fn hpa_scales_through_scale_within_its_bounds() {
    let scaled_objects = resource("keda.sh", "scaledobjects");
    let mut bench = Bench::new();
    bench.put(DEPLOYMENTS, deployment());
    bench.put(scaled_objects, scaled(2));
    bench.run(20);
    let object = bench.get(scaled_objects, "web");
    assert!(health::read(Kind::ScaledObject, &object).0.is_ready());
    assert_eq!(object["status"]["hpaName"], "keda-hpa-web");
    assert!(has_finalizer(&object, "finalizer.keda.sh"));
    let hpa = bench.get(HPAS, "keda-hpa-web");
    assert!(
        health::read(Kind::HorizontalPodAutoscaler, &hpa)
            .0
            .is_ready()
    );
    assert_eq!(at(&hpa, "/metadata/ownerReferences/0/uid"), uid(&object));
    assert_eq!(
        hpa["metadata"]["labels"]["app.kubernetes.io/managed-by"],
        "todo-operator"
    );
    assert_eq!(
        (&hpa["spec"]["minReplicas"], &hpa["spec"]["maxReplicas"]),
        (&json!(2), &json!(6))
    );
    assert_eq!(replicas(&bench), 2, "no load, no change");
    bench.assert_rests();

    bench.knobs.set_load("web", 40);
    bench.until("it is at its most", 60, |bench| replicas(bench) == 6);
    let web = bench.get(DEPLOYMENTS, "web");
    let by_scale = items(&web, "/metadata/managedFields")
        .iter()
        .find(|entry| entry["subresource"] == "scale");
    let by_scale = by_scale.expect("an entry of scale");
    assert_eq!(text(by_scale, "/manager"), "kube-controller-manager");
    assert!(by_scale.pointer("/fieldsV1/f:spec/f:replicas").is_some());

    bench.knobs.set_load("web", 3);
    let passed = bench.until("it is back at what it needs", 600, |bench| {
        replicas(bench) == 3
    });
    assert!(
        passed >= 300,
        "it waits for five minutes of less load: {passed}"
    );

    let paused =
        json!({"metadata": {"annotations": {"autoscaling.keda.sh/paused-scale-out": "true"}}});
    bench.edit(scaled_objects, "web", paused);
    bench.run(5);
    bench.knobs.set_load("web", 5);
    bench.run(60);
    assert_eq!(replicas(&bench), 3);
    assert!(bench.find(HPAS, "keda-hpa-web").is_some());
    bench.edit(
        scaled_objects,
        "web",
        json!({"metadata": {"annotations": {"autoscaling.keda.sh/paused-scale-out": null}}}),
    );
    bench.until("it may grow", 60, |bench| replicas(bench) == 5);

    bench.edit(
        scaled_objects,
        "web",
        json!({"metadata": {"annotations": {"autoscaling.keda.sh/paused": "yes please"}}}),
    );
    bench.run(5);
    assert!(bench.find(HPAS, "keda-hpa-web").is_none());
    assert_eq!(
        condition(&bench.get(scaled_objects, "web"), "Paused").0,
        "True"
    );
    bench.edit(
        scaled_objects,
        "web",
        json!({"metadata": {"annotations": {"autoscaling.keda.sh/paused": null}}}),
    );
    bench.run(5);

    let object = bench.get(scaled_objects, "web");
    bench.person.delete(scaled_objects, &object).unwrap();
    bench.run(10);
    assert!(bench.find(scaled_objects, "web").is_none());
    assert!(
        bench.find(HPAS, "keda-hpa-web").is_none(),
        "collected with its owner"
    );
    assert_eq!(replicas(&bench), 5);
}

#[test]
fn keda_goes_to_zero_and_comes_back() {
    let mut bench = Bench::new();
    bench.put(DEPLOYMENTS, deployment());
    bench.put(resource("keda.sh", "scaledobjects"), scaled(0));
    bench.knobs.set_load("web", 0);
    bench.until("nothing runs", 120, |bench| bench.pods().is_empty());
    bench.run(20);
    assert_eq!(
        condition(&bench.get(HPAS, "keda-hpa-web"), "ScalingActive"),
        ("False", "ScalingDisabled")
    );
    bench.knobs.set_load("web", 3);
    bench.until("three run", 120, |bench| bench.serving().len() == 3);
}

#[test]
fn scaled_object_without_target_is_not_ready() {
    let scaled_objects = resource("keda.sh", "scaledobjects");
    let mut bench = Bench::new();
    bench.put(scaled_objects, scaled(1));
    bench.run(5);
    let object = bench.get(scaled_objects, "web");
    assert_eq!(
        condition(&object, "Ready"),
        ("False", "ScaledObjectCheckFailed")
    );
    bench.put(DEPLOYMENTS, deployment());
    bench.run(5);
    assert_eq!(
        condition(&bench.get(scaled_objects, "web"), "Ready").0,
        "True"
    );
}

fn cluster(instances: i64, image: &str) -> Value {
    let storage = json!({"size": "1Gi"});
    json!({"metadata": {"name": "db"}, "spec": {"instances": instances, "imageName": image, "storage": storage}})
}

fn role(named: &str) -> Value {
    json!({
        "metadata": {"name": format!("db-{named}")},
        "spec": {
            "name": named, "cluster": {"name": "db"}, "login": true,
            "clientCertificate": {"enabled": true}, "databaseRoleReclaimPolicy": "delete",
        },
    })
}

fn database(policy: &str) -> Value {
    json!({
        "metadata": {"name": "db-api"},
        "spec": {"name": "api", "owner": "api_owner", "cluster": {"name": "db"}, "databaseReclaimPolicy": policy},
    })
}

#[test]
fn cluster_becomes_healthy_and_carries_out_what_is_declared() {
    let (clusters, roles, databases) = (
        resource("postgresql.cnpg.io", "clusters"),
        resource("postgresql.cnpg.io", "databaseroles"),
        resource("postgresql.cnpg.io", "databases"),
    );
    let mut bench = Bench::new();
    let ready = move |bench: &Bench| {
        health::read(Kind::Cluster, &bench.get(clusters, "db"))
            .0
            .is_ready()
    };
    bench.put(databases, database("retain"));
    bench.put(clusters, cluster(3, "postgresql:18.3"));
    bench.run(3);
    assert_eq!(
        text(&bench.get(clusters, "db"), "/status/phase"),
        "Setting up primary"
    );
    bench.until("it is healthy", 120, ready);
    bench.run(3);
    let waiting = bench.get(databases, "db-api");
    assert_eq!(
        text(&waiting, "/status/message"),
        "while creating database \"api\": ERROR: role \"api_owner\" does not exist (SQLSTATE 42704)"
    );
    assert!(!health::read(Kind::Database, &waiting).0.is_ready());
    bench.put(roles, role("api_owner"));
    bench.until("the database is there", 60, |bench| {
        health::read(Kind::Database, &bench.get(databases, "db-api"))
            .0
            .is_ready()
    });
    assert!(
        health::read(Kind::DatabaseRole, &bench.get(roles, "db-api_owner"))
            .0
            .is_ready()
    );
    for secret in ["db-ca", "db-app", "db-api_owner-client-cert"] {
        assert!(
            bench.find(resource("", "secrets"), secret).is_some(),
            "{secret}"
        );
    }
    let expected = BTreeMap::from([("api".to_owned(), "api_owner".to_owned())]);
    assert_eq!(bench.knobs.postgres.databases("shop/db"), expected);
    bench.assert_rests();

    // Deleting what is retained drops nothing; deleting the cluster loses it.
    let object = bench.get(databases, "db-api");
    bench.person.delete(databases, &object).unwrap();
    bench.run(40);
    assert!(bench.find(databases, "db-api").is_none());
    assert_eq!(bench.knobs.postgres.databases("shop/db"), expected);
    let object = bench.get(clusters, "db");
    bench.person.delete(clusters, &object).unwrap();
    bench.run(10);
    assert!(bench.pods().is_empty());
    assert_eq!(
        bench.knobs.postgres.record().last().unwrap().1,
        Sql::Lost(vec!["api".to_owned()])
    );
    assert_eq!(
        bench.knobs.postgres.losses(),
        ["shop/db was deleted with api"]
    );
    assert!(!has_finalizer(
        &bench.get(roles, "db-api_owner"),
        "cnpg.io/deleteRole"
    ));
}

#[test]
fn deleted_database_and_then_its_role_are_dropped() {
    let (clusters, roles, databases) = (
        resource("postgresql.cnpg.io", "clusters"),
        resource("postgresql.cnpg.io", "databaseroles"),
        resource("postgresql.cnpg.io", "databases"),
    );
    let mut bench = Bench::new();
    bench.put(clusters, cluster(1, "postgresql:18.3"));
    bench.put(roles, role("api_owner"));
    bench.put(databases, database("delete"));
    bench.until("the database is there", 120, |bench| {
        !bench.knobs.postgres.databases("shop/db").is_empty()
    });
    bench.run(5);
    let object = bench.get(roles, "db-api_owner");
    bench.person.delete(roles, &object).unwrap();
    bench.run(40);
    assert!(
        text(&bench.get(roles, "db-api_owner"), "/status/message").contains("cannot be dropped")
    );
    let object = bench.get(databases, "db-api");
    bench.person.delete(databases, &object).unwrap();
    bench.run(60);
    assert!(bench.find(roles, "db-api_owner").is_none());
    let done: Vec<Sql> = bench
        .knobs
        .postgres
        .record()
        .into_iter()
        .map(|(_, sql)| sql)
        .collect();
    assert_eq!(
        done[done.len() - 2..],
        [
            Sql::DroppedDatabase("api".to_owned()),
            Sql::DroppedRole("api_owner".to_owned())
        ]
    );
}

#[test]
fn new_image_comes_to_the_standbys_first_and_by_a_switchover() {
    let clusters = resource("postgresql.cnpg.io", "clusters");
    let mut bench = Bench::new();
    let ready = move |bench: &Bench| {
        health::read(Kind::Cluster, &bench.get(clusters, "db"))
            .0
            .is_ready()
    };
    bench.put(clusters, cluster(2, "postgresql:18.3"));
    bench.until("it is healthy", 120, ready);
    let primary = text(&bench.get(clusters, "db"), "/status/currentPrimary").to_owned();
    assert_eq!(primary, "db-1");
    bench.edit(
        clusters,
        "db",
        json!({"spec": {"imageName": "postgresql:18.4"}}),
    );
    // The image is in the status while the phase is still that of before (cloudnative-pg#11390).
    bench.second();
    let lying = bench.get(clusters, "db");
    assert_eq!(text(&lying, "/status/image"), "postgresql:18.4");
    assert!(health::read(Kind::Cluster, &lying).0.is_ready());
    let mut passed = 0;
    while bench.serving() != ["postgresql:18.4"; 2] {
        bench.second();
        passed += 1;
        assert!(passed < 120, "{}", bench.dump());
        assert!(!bench.serving().is_empty(), "one always serves");
    }
    bench.until("it is healthy", 120, ready);
    assert_ne!(
        text(&bench.get(clusters, "db"), "/status/currentPrimary"),
        primary
    );
    bench.edit(clusters, "db", json!({"spec": {"instances": 1}}));
    bench.run(2);
    bench.until("it is healthy", 120, ready);
    assert_eq!(bench.pods().len(), 1);
    bench.assert_rests();
}

#[test]
fn topic_of_strimzi_grows_and_never_shrinks() {
    let topics = resource("kafka.strimzi.io", "kafkatopics");
    let mut bench = Bench::new();
    let spec = json!({"topicName": "shop.events", "partitions": 3, "replicas": 1, "config": {"retention.ms": 1000}});
    bench.put(
        topics,
        json!({"metadata": {"name": "shop.events"}, "spec": spec}),
    );
    let ready = move |bench: &Bench| {
        health::read(Kind::KafkaTopic, &bench.get(topics, "shop.events"))
            .0
            .is_ready()
    };
    bench.until("it is ready", 10, ready);
    assert!(has_finalizer(
        &bench.get(topics, "shop.events"),
        "strimzi.io/topic-operator"
    ));
    bench.edit(topics, "shop.events", json!({"spec": {"partitions": 6}}));
    assert!(!ready(&bench), "not about this generation");
    bench.until("it has grown", 10, ready);
    assert_eq!(bench.knobs.kafka.topics()["shop.events"]["partitions"], 6);
    bench.edit(topics, "shop.events", json!({"spec": {"partitions": 2}}));
    bench.run(3);
    assert_eq!(
        condition(&bench.get(topics, "shop.events"), "Ready"),
        ("False", "NotSupported")
    );
    assert_eq!(bench.knobs.kafka.topics()["shop.events"]["partitions"], 6);
    assert!(bench.knobs.kafka.losses().is_empty());
    bench.edit(
        topics,
        "shop.events",
        json!({"metadata": {"annotations": {"strimzi.io/managed": "false"}}}),
    );
    bench.run(3);
    assert!(holds(&bench.get(topics, "shop.events"), "Unmanaged"));
    let object = bench.get(topics, "shop.events");
    bench.person.delete(topics, &object).unwrap();
    bench.run(3);
    assert!(bench.find(topics, "shop.events").is_none());
    assert_eq!(
        bench.knobs.kafka.topics()["shop.events"]["partitions"],
        6,
        "what is unmanaged stays"
    );
}

#[tokio::test]
async fn kafka_keeps_a_record_and_fails_as_it_is_told() {
    let kafka = crate::models::kafka::Kafka::default();
    let cluster = KafkaCluster {
        bootstrap_servers: "kafka:9092".to_owned(),
        security_protocol: SecurityProtocol::Plaintext,
        sasl_mechanism: None,
        credential: None,
    };
    let wanted = WantedTopic {
        physical_name: "shop.events".to_owned(),
        partitions: 3,
        replicas: 1,
        config: BTreeMap::new(),
        allow_growth: true,
    };
    kafka.set_outage(Outage::Unreachable);
    assert!(
        kafka
            .create(&cluster, &wanted)
            .await
            .unwrap_err()
            .is_retryable()
    );
    assert!(kafka.record().is_empty());
    kafka.set_outage(Outage::LostAnswers);
    assert!(kafka.create(&cluster, &wanted).await.is_err());
    kafka.set_outage(Outage::None);
    kafka.create(&cluster, &wanted).await.unwrap();
    assert_eq!(
        kafka.record().len(),
        1,
        "it was made although the answer was lost"
    );
    kafka.grow(&cluster, "shop.events", 6).await.unwrap();
    let config = BTreeMap::from([("retention.ms".to_owned(), "1".to_owned())]);
    kafka
        .configure(&cluster, "shop.events", &config)
        .await
        .unwrap();
    kafka
        .configure(&cluster, "shop.events", &config)
        .await
        .unwrap();
    let names = ["shop.events".to_owned(), "none".to_owned()];
    let live = kafka.describe(&cluster, &names).await.unwrap();
    assert_eq!((live.len(), live["shop.events"].partitions), (1, 6));
    assert_eq!(kafka.record().len(), 3);
    assert!(kafka.losses().is_empty());
    assert!(kafka.grow(&cluster, "shop.events", 2).await.is_err());
    assert_eq!(
        kafka.losses(),
        ["topic shop.events was to shrink from 6 partitions to 2"]
    );
    kafka.refuse("shop.events");
    let refused = kafka
        .configure(&cluster, "shop.events", &BTreeMap::new())
        .await
        .unwrap_err();
    assert!(refused.is_about_one_topic());
    kafka.refuse_nothing();
    kafka.delete(&cluster, "shop.events").await.unwrap();
    kafka.delete(&cluster, "shop.events").await.unwrap();
    assert_eq!(kafka.record().last().unwrap().1, Done::Deleted);
    assert_eq!(kafka.record().len(), 5);
}

#[test]
fn what_stands_in_git_stands_in_the_cluster() {
    let maps = resource("", "configmaps");
    let map = |value: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{key: {value}}}\n")
    };
    let mut bench = Bench::new();
    let commit = |bench: &Bench, changes: &[(&str, Option<&str>)]| {
        bench
            .knobs
            .gitops
            .with_repository(|repository| repository.commit("main", "m", changes.iter().copied()))
    };
    let (one, two) = (map("one"), map("two"));
    let first = commit(
        &bench,
        &[
            ("test/a.yaml", Some(&one)),
            ("test/notes.md", Some("no manifest")),
        ],
    );
    let application = Application {
        name: "shop".to_owned(),
        branch: "main".to_owned(),
        path: "test".to_owned(),
        namespace: NAMESPACE.to_owned(),
        self_heal: false,
        prune: false,
    };
    bench.knobs.gitops.add(application);
    bench.run(3);
    assert_eq!(bench.get(maps, "a")["data"]["key"], "one");
    assert_eq!(bench.knobs.gitops.synced("shop").unwrap().revision, first);
    let managed = items(&bench.get(maps, "a"), "/metadata/managedFields").to_vec();
    assert_eq!(
        (
            text(&managed[0], "/manager"),
            text(&managed[0], "/operation")
        ),
        ("argocd-controller", "Apply")
    );

    bench.edit(maps, "a", json!({"data": {"key": "edited"}}));
    bench.run(70);
    assert_eq!(
        bench.get(maps, "a")["data"]["key"],
        "edited",
        "it does not heal unasked"
    );
    commit(&bench, &[("test/a.yaml", Some(&two))]);
    bench.run(70);
    assert_eq!(bench.get(maps, "a")["data"]["key"], "two");
    let broken = commit(
        &bench,
        &[("test/b.yaml", Some("kind: Nothing\nmetadata: {name: b}"))],
    );
    bench.run(3);
    let synced = bench.knobs.gitops.synced("shop").unwrap();
    assert_eq!(synced.revision, broken);
    assert!(synced.failure.contains("not served"), "{}", synced.failure);
    commit(&bench, &[("test/a.yaml", None), ("test/b.yaml", None)]);
    bench.run(70);
    assert!(bench.find(maps, "a").is_some(), "it does not prune unasked");
    assert_eq!(bench.knobs.gitops.synced("shop").unwrap().failure, "");
}

#[test]
fn argo_cd_heals_and_prunes_where_it_is_told_to() {
    let maps = resource("", "configmaps");
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {key: one}\n";
    let mut bench = Bench::new();
    let gitops = bench.knobs.gitops.clone();
    gitops
        .with_repository(|repository| repository.commit("main", "m", [("test/a.yaml", Some(map))]));
    gitops.add(Application {
        name: "shop".to_owned(),
        branch: "main".to_owned(),
        path: "test".to_owned(),
        namespace: NAMESPACE.to_owned(),
        self_heal: true,
        prune: true,
    });
    bench.put(maps, json!({"metadata": {"name": "somebody-elses"}}));
    bench.run(3);
    let object = bench.get(maps, "a");
    bench.person.delete(maps, &object).unwrap();
    bench.run(3);
    assert_eq!(name(&bench.get(maps, "a")), "a");
    gitops.with_repository(|repository| repository.commit("main", "m", [("test/a.yaml", None)]));
    bench.run(10);
    assert!(bench.find(maps, "a").is_none());
    assert!(bench.find(maps, "somebody-elses").is_some());
}
