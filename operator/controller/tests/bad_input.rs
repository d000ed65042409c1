//! Bad input: refused at admission where CEL can see it, else said in a condition that names field, value and rule, all
//! problems at once; what runs keeps running, and other applications go on.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panic")]

mod support;

use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use localcluster::{Cluster, Config, Kafka};
use serde_json::{Value, json};
use todo_operator_core::child::ChildKey;
use todo_operator_core::kind::Kind;
use tokio::sync::OnceCell;

use support::{
    Operator, app, apply, child, condition, environment, merge, try_apply, until_condition, yaml,
};

struct World {
    cluster: Cluster,
    _operator: Operator,
}

/// An API server and a broker: nothing here needs pods.
async fn world() -> &'static World {
    static WORLD: OnceCell<World> = OnceCell::const_new();
    WORLD
        .get_or_init(|| async {
            let config = Config::control_plane()
                .kafka(Kafka::default())
                .peers(support::PEERS);
            let cluster = support::cluster(config).await;
            let operator = Operator::start(&cluster).await;
            World {
                cluster,
                _operator: operator,
            }
        })
        .await
}

/// What is right, and what each case spoils by a merge patch.
const GOOD: &str = "
components:
  web: {kind: Site, route: {paths: [/]}, calls: [api]}
  api: {kind: Service, database: tasks, produces: [events], rollout: {strategy: Canary, steps: [10, 50]}}
  worker: {kind: Worker, consumes: {events: {}}, scaling: {min: 1, max: 4, lag: 10}}
  night: {kind: CronJob, image: api, schedule: {cron: '0 1 * * *'}}
messaging: {topics: {events: {partitions: 4, replicas: 1}}}
databases: {items: {tasks: {}}, cluster: {storage: 2Gi, walStorage: 2Gi}}
traffic: {host: NAMESPACE.example}
release:
  images:
  - {component: web, image: 'registry.example/web@sha256:0000000000000000000000000000000000000000000000000000000000000001'}
  - {component: api, image: 'registry.example/api@sha256:0000000000000000000000000000000000000000000000000000000000000002'}
  - {component: worker, image: 'registry.example/worker@sha256:0000000000000000000000000000000000000000000000000000000000000003'}
";

/// Patches of [`GOOD`] that admission refuses, with parts of its message: the field, and the rule.
const REFUSED: [(&str, &str, &[&str]); 22] = [
    (
        "unknown component in calls",
        "{components: {web: {calls: [nobody]}}}",
        &[
            "spec.components",
            "calls names a component that does not exist",
        ],
    ),
    (
        "unknown component in release.config",
        "{release: {config: {nobody: {A: b}}}}",
        &[
            "spec.release.config",
            "names a component that does not exist",
        ],
    ),
    (
        "duplicate image key",
        "{release: {images: [{component: web, image: a/b}, {component: web, image: a/c}]}}",
        &["spec.release.images", "uplicate"],
    ),
    (
        "undeclared database",
        "{components: {api: {database: other}}}",
        &[
            "spec.components",
            "a database that databases.items does not declare",
        ],
    ),
    (
        "undeclared topic, produced",
        "{components: {api: {produces: [other]}}}",
        &[
            "spec.components",
            "produces a topic that messaging.topics does not declare",
        ],
    ),
    (
        "undeclared topic, consumed",
        "{components: {worker: {consumes: {other: {}}}}}",
        &[
            "spec.components",
            "consumes a topic that messaging.topics does not declare",
        ],
    ),
    (
        "canary on a CronJob",
        "{components: {night: {rollout: {strategy: Canary}}}}",
        &[
            "spec.components[night].rollout",
            "a CronJob cannot have a canary",
        ],
    ),
    (
        "steps that fall",
        "{components: {api: {rollout: {steps: [50, 10]}}}}",
        &["rollout.steps", "steps must rise"],
    ),
    (
        "steps that repeat",
        "{components: {api: {rollout: {steps: [50, 50]}}}}",
        &["rollout.steps", "steps rise"],
    ),
    (
        "steps over 100",
        "{components: {api: {rollout: {steps: [50, 101]}}}}",
        &["rollout.steps", "less than or equal to 100"],
    ),
    (
        "min above max",
        "{components: {worker: {scaling: {min: 5}}}}",
        &["scaling.min", "min must not be above max"],
    ),
    (
        "cron with four fields",
        "{components: {night: {schedule: {cron: '0 1 * *'}}}}",
        &["schedule.cron", "cron takes five fields"],
    ),
    (
        "duration",
        "{components: {api: {rollout: {stepPause: 5 minutes}}}}",
        &["rollout.stepPause", "should match"],
    ),
    (
        "quantity",
        "{databases: {cluster: {storage: much}}}",
        &["databases.cluster.storage", "should match"],
    ),
    (
        "<app>-<component> over 45",
        "{components: {a-component-whose-name-is-far-too-long-for-a-service: {kind: Service}}}",
        &["spec.components", "at most 45 characters"],
    ),
    (
        "component's name",
        "{components: {Web: {kind: Site}}}",
        &["spec.components", "lower case letters"],
    ),
    (
        "database's name",
        "{databases: {items: {Tasks: {}}}}",
        &["spec.databases.items", "lower case letters"],
    ),
    (
        "topic's name",
        "{messaging: {topics: {My_Events: {}}}}",
        &["spec.messaging.topics", "lower case letters"],
    ),
    (
        "CronJob without a schedule",
        "{components: {night: {schedule: null}}}",
        &["schedule", "a CronJob needs a schedule"],
    ),
    (
        "routed Worker",
        "{components: {worker: {route: {paths: [/]}}}}",
        &["route", "only a Service or a Site can be routed"],
    ),
    (
        "unknown field",
        "{components: {web: {replicas: 3}}}",
        &["spec.components.web.replicas", "not declared in schema"],
    ),
    (
        "egress to nowhere",
        "{components: {web: {egress: [{ports: [1]}]}}}",
        &["egress", "exactly one of cidr and namespace"],
    ),
];

/// Updates of [`GOOD`] that admission refuses.
const REFUSED_UPDATES: [(&str, &str, &[&str]); 7] = [
    (
        "partition decrease",
        "{messaging: {topics: {events: {partitions: 3}}}}",
        &["partitions never shrink"],
    ),
    (
        "unasked growth",
        "{messaging: {topics: {events: {partitions: 5}}}}",
        &["set allowPartitionGrowth: true"],
    ),
    (
        "storage shrink",
        "{databases: {cluster: {storage: 1Gi}}}",
        &["storage never shrinks"],
    ),
    (
        "storage that is left out, which is 1Gi",
        "{databases: {cluster: {storage: null}}}",
        &["storage never shrinks"],
    ),
    (
        "walStorage shrink",
        "{databases: {cluster: {walStorage: 1Gi}}}",
        &["walStorage never shrinks"],
    ),
    (
        "walStorage that goes away",
        "{databases: {cluster: {walStorage: null}}}",
        &["walStorage never shrinks and never goes away"],
    ),
    (
        "another topology",
        "{databases: {topology: Dedicated}}",
        &["topology cannot change"],
    ),
];

/// Patches of [`GOOD`] that only the operator can judge, with `field: value: rule` as the condition says it.
const INVALID: [(&str, &str, &[&str]); 9] = [
    (
        "max above the partitions",
        "{components: {worker: {scaling: {max: 9}}}}",
        &["spec.components.worker.scaling.max: 9: ", "partitions, 4"],
    ),
    (
        "no digest",
        "{release: {images: [{component: web, image: 'registry.example/web:1'}, {component: api, image: 'registry.example/api@sha256:0000000000000000000000000000000000000000000000000000000000000002'}, {component: worker, image: 'registry.example/worker@sha256:0000000000000000000000000000000000000000000000000000000000000003'}]}}",
        &["spec.release.images", "registry.example/web:1", "digest"],
    ),
    (
        "registry",
        "{release: {images: [{component: web, image: 'elsewhere.example/web@sha256:0000000000000000000000000000000000000000000000000000000000000001'}, {component: api, image: 'registry.example/api@sha256:0000000000000000000000000000000000000000000000000000000000000002'}, {component: worker, image: 'registry.example/worker@sha256:0000000000000000000000000000000000000000000000000000000000000003'}]}}",
        &[
            "spec.release.images",
            "elsewhere.example/web",
            "registry.example",
        ],
    ),
    (
        "no image",
        "{components: {extra: {kind: Service}}}",
        &["extra", "image"],
    ),
    (
        "cron of impossible values",
        "{components: {night: {schedule: {cron: '99 1 * * *'}}}}",
        &["spec.components.night.schedule.cron: 99 1 * * *: "],
    ),
    (
        "time zone",
        "{components: {night: {schedule: {timeZone: Mars/Olympus}}}}",
        &["spec.components.night.schedule.timeZone: Mars/Olympus: "],
    ),
    (
        "cpu without a request",
        "{components: {api: {scaling: {min: 1, max: 2, cpu: 50}}}}",
        &["spec.components.api.scaling.cpu: 50: cpu is a share of the request"],
    ),
    (
        "faults where they are not allowed",
        "{traffic: {faults: {abortPercent: 5, abortCode: 503}}}",
        &["spec.traffic.faults"],
    ),
    (
        "reserved variable",
        "{components: {api: {env: {PGHOST: mine}}}}",
        &["spec.components.api.env.PGHOST"],
    ),
];

fn environment_spec(world: &World) -> String {
    let kafka = world.cluster.kafka_bootstrap().unwrap();
    format!(
        "{{defaults: {{router: Traefik, topicReplicas: 1}}, policy: {{requireDigests: true, allowedRegistries: [registry.example]}},
           messaging: {{provider: Direct, bootstrapServers: '{kafka}'}}}}"
    )
}

fn good(namespace: &str, name: &str) -> Value {
    app(namespace, name, &GOOD.replace("NAMESPACE", namespace))
}

fn spoilt(namespace: &str, name: &str, patch: &str) -> Value {
    let mut manifest = good(namespace, name);
    merge(&mut manifest["spec"], yaml(patch));
    manifest
}

fn contains(case: &str, message: &str, parts: &[&str]) {
    for part in parts {
        assert!(
            message.contains(part),
            "{case}: {part:?} is not in {message:?}"
        );
    }
}

/// An environment that the operator knows: an application is judged by it from the first time on.
async fn ready_environment(client: &Client, name: &str, spec: &str) {
    let made = environment(client, name, spec).await;
    until_condition(client, &made, "Ready", "True").await;
}

async fn until_invalid(client: &Client, manifest: &Value) -> String {
    let app = until_condition(client, manifest, "Accepted", "False").await;
    for (kind, status) in [("Ready", "False"), ("Degraded", "True")] {
        assert_eq!(condition(&app, kind).unwrap()["status"], status);
    }
    let accepted = condition(&app, "Accepted").unwrap();
    accepted["message"].as_str().unwrap().to_owned()
}

async fn delete(client: &Client, manifest: &Value) {
    let text = |field: &str| {
        manifest["metadata"][field]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let resource = if manifest["kind"] == "TodoApp" {
        support::apps()
    } else {
        support::environments()
    };
    let api = support::api(client, &resource, &text("namespace"));
    api.delete(&text("name"), &Default::default())
        .await
        .unwrap();
    support::until("it is gone", async || {
        api.get_opt(&text("name"))
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn admission_refuses_what_it_can_see() {
    let world = world().await;
    let client = world.cluster.client().unwrap();
    ready_environment(&client, "refused", &environment_spec(world)).await;
    for (case, patch, parts) in REFUSED {
        let refusal = try_apply(&client, &spoilt("refused", "shop", patch)).await;
        contains(case, &refusal.expect_err(case), parts);
    }
    let name = try_apply(&client, &good("refused", "1st"))
        .await
        .expect_err("a name that begins with a digit");
    contains("name", &name, &["a TodoApp's name is lower case letters"]);

    apply(&client, &good("refused", "shop")).await;
    for (case, patch, parts) in REFUSED_UPDATES {
        let refusal = try_apply(&client, &spoilt("refused", "shop", patch)).await;
        contains(case, &refusal.expect_err(case), parts);
    }
    for (namespace, rule) in [
        ("kube-system", "kube-* namespaces belong to Kubernetes"),
        ("UPPER", "should match"),
    ] {
        let manifest = json!({"apiVersion": "todo-operator.dev/v1alpha1", "kind": "TodoEnvironment", "metadata": {"name": "bad"}, "spec": {"stage": "test", "namespace": namespace}});
        contains(
            namespace,
            &try_apply(&client, &manifest).await.expect_err(namespace),
            &["spec.namespace", rule],
        );
    }
    let moved = json!({"apiVersion": "todo-operator.dev/v1alpha1", "kind": "TodoEnvironment", "metadata": {"name": "refused"}, "spec": {"stage": "test", "namespace": "elsewhere"}});
    contains(
        "moved",
        &try_apply(&client, &moved).await.expect_err("moved"),
        &["an environment's namespace cannot change"],
    );
}

#[tokio::test]
async fn conditions_say_what_admission_cannot_see() {
    let world = world().await;
    let client = world.cluster.client().unwrap();
    ready_environment(&client, "judged", &environment_spec(world)).await;
    for (case, patch, parts) in INVALID {
        let manifest = spoilt("judged", "shop", patch);
        apply(&client, &manifest).await;
        contains(case, &until_invalid(&client, &manifest).await, parts);
        let deployment = ChildKey::new(Kind::Deployment, "judged", "shop-web");
        assert_eq!(
            child(&client, &deployment).await,
            None,
            "{case}: nothing of it is made"
        );
        delete(&client, &manifest).await;
    }

    // All problems at once.
    let patch = "{components: {worker: {scaling: {max: 9}}, night: {schedule: {timeZone: Mars/Olympus}}, api: {env: {PGHOST: mine}}}}";
    let manifest = spoilt("judged", "shop", patch);
    apply(&client, &manifest).await;
    let all = [
        "spec.components.api.env.PGHOST",
        "spec.components.night.schedule.timeZone",
        "spec.components.worker.scaling.max",
    ];
    contains(
        "all at once",
        &until_invalid(&client, &manifest).await,
        &all,
    );
    delete(&client, &manifest).await;
}

/// An application that was good and is not any more keeps running as it was; those beside it go on.
#[tokio::test]
async fn what_runs_keeps_running_and_others_go_on() {
    let world = world().await;
    let client = world.cluster.client().unwrap();
    ready_environment(&client, "beside", "").await;
    let spec = |image: &str| {
        format!(
            "{{components: {{web: {{kind: Site}}}}, release: {{images: [{{component: web, image: '{image}'}}]}}}}"
        )
    };
    let image = async |name: &str| {
        let key = ChildKey::new(Kind::Deployment, "beside", &format!("{name}-web"));
        let deployment = child(&client, &key).await?;
        Some(
            deployment
                .pointer("/spec/template/spec/containers/0/image")
                .unwrap()
                .clone(),
        )
    };
    let until_image = async |name: &str, wanted: &str| {
        support::until(&format!("{name} runs {wanted}"), async || {
            (image(name).await? == wanted).then_some(())
        })
        .await;
    };
    for name in ["bad", "one", "two"] {
        apply(
            &client,
            &app("beside", name, &spec("registry.example/web:1")),
        )
        .await;
        until_image(name, "registry.example/web:1").await;
    }
    let key = ChildKey::new(Kind::Deployment, "beside", "bad-web");
    let before = child(&client, &key).await.unwrap();
    let mut bad = app("beside", "bad", &spec("registry.example/web:2"));
    bad["spec"]["components"]["web"]["scaling"] = json!({"min": 1, "max": 2, "cpu": 50});
    apply(&client, &bad).await;
    until_invalid(&client, &bad).await;
    for name in ["one", "two"] {
        apply(
            &client,
            &app("beside", name, &spec("registry.example/web:2")),
        )
        .await;
        until_image(name, "registry.example/web:2").await;
    }
    let after = child(&client, &key).await.unwrap();
    assert_eq!(
        after["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"],
        "nothing of the bad one is touched"
    );

    // Put right, it goes on.
    apply(
        &client,
        &app("beside", "bad", &spec("registry.example/web:2")),
    )
    .await;
    until_image("bad", "registry.example/web:2").await;
}

#[tokio::test]
async fn two_applications_cannot_have_the_same_thing() {
    let world = world().await;
    let client = world.cluster.client().unwrap();
    ready_environment(&client, "claims-a", &environment_spec(world)).await;
    ready_environment(&client, "claims-b", &environment_spec(world)).await;
    let older = spoilt(
        "claims-a",
        "older",
        "{databases: {topology: External, cluster: null, items: {tasks: {external: {host: pg.example, owner: {user: o, password: {secret: s, key: o}}, app: {user: a, password: {secret: s, key: a}}}}}}}",
    );
    apply(&client, &older).await;
    until_condition(&client, &older, "Accepted", "True").await;
    // Topics are of the namespace, hosts and databases of the whole cluster.
    let mut same = older.clone();
    same["metadata"]["name"] = json!("younger");
    apply(&client, &same).await;
    let message = until_invalid(&client, &same).await;
    contains(
        "topic",
        &message,
        &[
            "spec.messaging.topics.events: claims-a.events",
            "belongs to the TodoApp claims-a/older",
        ],
    );
    contains("host", &message, &["claims-a.example"]);
    let mut elsewhere = older.clone();
    elsewhere["metadata"]["name"] = json!("younger");
    elsewhere["metadata"]["namespace"] = json!("claims-b");
    apply(&client, &elsewhere).await;
    let message = until_invalid(&client, &elsewhere).await;
    contains(
        "host of another namespace",
        &message,
        &["claims-a.example", "belongs to the TodoApp claims-a/older"],
    );
    contains(
        "database",
        &message,
        &["spec.databases.items.tasks", "pg.example"],
    );
    assert!(!message.contains("topics"), "{message}");

    // <app>-<component> of two applications.
    let one = "{components: {b-c: {kind: Service}}, release: {images: [{component: b-c, image: 'registry.example/x@sha256:0000000000000000000000000000000000000000000000000000000000000001'}]}}";
    let other = one.replace("b-c", "c");
    apply(&client, &app("claims-b", "a", one)).await;
    until_condition(&client, &app("claims-b", "a", one), "Accepted", "True").await;
    let other = app("claims-b", "a-b", &other);
    apply(&client, &other).await;
    contains(
        "object",
        &until_invalid(&client, &other).await,
        &["a-b-c", "claims-b/a"],
    );

    // The older one goes, and the younger gets what it held.
    delete(&client, &same).await;
    delete(&client, &older).await;
    until_condition(&client, &elsewhere, "Accepted", "True").await;
}

/// A topic that Kafka has with more, or fewer, partitions than the first apply asks for: no transition rule sees it.
#[tokio::test]
async fn partitions_are_judged_by_what_kafka_has() {
    let world = world().await;
    let client = world.cluster.client().unwrap();
    ready_environment(&client, "partitions", &environment_spec(world)).await;
    let first = good("partitions", "shop");
    apply(&client, &first).await;
    until_condition(&client, &first, "TopicsReady", "True").await;
    delete(&client, &first).await;
    for (partitions, rule) in [
        (3, "cannot take any away"),
        (5, "set allowPartitionGrowth: true"),
    ] {
        let patch = format!(
            "{{messaging: {{topics: {{events: {{partitions: {partitions}}}}}}}, components: {{worker: {{scaling: null}}}}}}"
        );
        let again = spoilt("partitions", "shop", &patch);
        apply(&client, &again).await;
        let message = until_invalid(&client, &again).await;
        contains(
            rule,
            &message,
            &[
                &format!("spec.messaging.topics.events.partitions: {partitions}: "),
                rule,
            ],
        );
        delete(&client, &again).await;
    }
}

#[tokio::test]
async fn environments_that_cannot_be_are_refused_with_a_reason() {
    let world = world().await;
    let client = world.cluster.client().unwrap();
    // No environment yet: the application waits and then goes on.
    apply(&client, &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "late", "labels": {"todo-operator.dev/environment": "late"}}})).await;
    let early = app(
        "late",
        "shop",
        "{components: {web: {kind: Site}}, release: {images: [{component: web, image: 'registry.example/web:1'}]}}",
    );
    apply(&client, &early).await;
    contains(
        "late",
        &until_invalid(&client, &early).await,
        &["metadata.namespace: late: no TodoEnvironment has spec.namespace late"],
    );
    let made = environment(&client, "late", "").await;
    until_condition(&client, &early, "Accepted", "True").await;
    until_condition(&client, &made, "Ready", "True").await;

    // Two environments with one namespace.
    let mut twin = made.clone();
    twin["metadata"] = json!({"name": "twin"});
    twin.as_object_mut().unwrap().remove("status");
    apply(&client, &twin).await;
    let refused = until_condition(&client, &twin, "Ready", "False").await;
    contains(
        "twin",
        condition(&refused, "Ready").unwrap()["message"]
            .as_str()
            .unwrap(),
        &[
            "spec.namespace: late: ",
            "share this namespace: one of them must have another",
        ],
    );
    contains(
        "twin",
        &until_invalid(&client, &early).await,
        &["metadata.namespace: late: ", "share this namespace"],
    );
    delete(&client, &twin).await;
    until_condition(&client, &early, "Accepted", "True").await;
    until_condition(&client, &made, "Ready", "True").await;

    // Namespaces that are refused: the operator's own, one that nobody made, one that was there before.
    let before = apply(
        &client,
        &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "before"}}),
    )
    .await;
    // Kubernetes tells ages by the second.
    let created: Timestamp = before["metadata"]["creationTimestamp"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    while Timestamp::now().as_second() <= created.as_second() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for (namespace, rule) in [
        (
            support::OPERATOR,
            "use a namespace for this environment alone",
        ),
        ("default", "use a namespace for this environment alone"),
        ("nowhere", "the namespace does not exist: create it"),
        ("before", "todo-operator.dev/adopt"),
    ] {
        let name = format!("in-{namespace}");
        let manifest = json!({"apiVersion": "todo-operator.dev/v1alpha1", "kind": "TodoEnvironment", "metadata": {"name": name}, "spec": {"stage": "test", "namespace": namespace}});
        apply(&client, &manifest).await;
        let refused = until_condition(&client, &manifest, "Ready", "False").await;
        let ready = condition(&refused, "Ready").unwrap();
        assert_eq!(ready["reason"], "InvalidSpec");
        contains(
            namespace,
            ready["message"].as_str().unwrap(),
            &[&format!("spec.namespace: {namespace}: "), rule],
        );
        let labels = support::object(
            &client,
            &support::resource("", "v1", "Namespace"),
            "",
            namespace,
        )
        .await;
        assert!(labels.is_none_or(|namespace| {
            namespace["metadata"]["labels"]["todo-operator.dev/environment"].is_null()
        }));
    }

    // And nothing is made in one for an application.
    let intruder = app(
        "before",
        "shop",
        "{components: {web: {kind: Site}}, release: {images: [{component: web, image: 'registry.example/web:1'}]}}",
    );
    apply(&client, &intruder).await;
    contains(
        "before",
        &until_invalid(&client, &intruder).await,
        &[
            "metadata.namespace: before: TodoEnvironment in-before is refused",
            "todo-operator.dev/adopt",
        ],
    );
    let service = support::resource("", "v1", "Service");
    assert!(
        support::object(&client, &service, "before", "shop-web")
            .await
            .is_none()
    );
}
