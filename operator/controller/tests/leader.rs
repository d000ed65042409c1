//! Two operators on one cluster: one writes, and when it ends, however it ends, the other goes on where it stopped.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panic")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kube::Client;
use localcluster::{Cluster, Config};
use serde_json::{Value, json};
use todo_operator_core::child::ChildKey;
use todo_operator_core::kind::Kind;
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use support::proxy::{self, Fate};
use support::{Operator, SteppedClock, app, apply, child, children, environment, resource, until};

/// The cluster, held by one test at a time: they would lead each other's. No controller runs on it, so that only an
/// operator writes.
async fn cluster() -> (MutexGuard<'static, Cluster>, Client) {
    static CLUSTER: OnceCell<Mutex<Cluster>> = OnceCell::const_new();
    let cluster = CLUSTER
        .get_or_init(|| async { Mutex::new(support::cluster(Config::control_plane()).await) })
        .await
        .lock()
        .await;
    let client = cluster.client().unwrap();
    (cluster, client)
}

/// An operator that need not lead, and its clock.
async fn launch(cluster: &Cluster) -> (Operator, Arc<SteppedClock>) {
    let config = support::operator_config(cluster).await;
    let clock = Arc::new(SteppedClock::default());
    let operator = Operator::launch(
        || Client::try_from(config).unwrap(),
        support::kafka(),
        clock.clone(),
    );
    until("it has listed everything", async || {
        operator.is_ready().then_some(())
    })
    .await;
    (operator, clock)
}

async fn lease(client: &Client) -> Value {
    let leases = resource("coordination.k8s.io", "v1", "Lease");
    support::object(client, &leases, support::OPERATOR, "todo-operator")
        .await
        .unwrap()["spec"]
        .clone()
}

/// Makes an application that becomes a Deployment; its manifest.
async fn make(client: &Client, namespace: &str) -> Value {
    environment(client, namespace, "").await;
    let spec = "
components: {api: {kind: Service}}
release: {images: [{component: api, image: 'registry.example/api:1'}]}
";
    let manifest = app(namespace, "shop", spec);
    apply(client, &manifest).await;
    until_image(client, namespace, "registry.example/api:1").await;
    manifest
}

async fn until_image(client: &Client, namespace: &str, image: &str) {
    let key = ChildKey::new(Kind::Deployment, namespace, "shop-api");
    until(&format!("{key} runs {image}"), async || {
        let deployment = child(client, &key).await?;
        (deployment["spec"]["template"]["spec"]["containers"][0]["image"] == image).then_some(())
    })
    .await;
}

/// Waits until the operator has said of the application how it is: it has nothing more to write of it.
async fn until_done(client: &Client, namespace: &str) {
    until("the first is done", async || {
        let app = support::object(client, &support::apps(), namespace, "shop").await?;
        (app["status"]["observedGeneration"] == app["metadata"]["generation"]).then_some(())
    })
    .await;
}

/// The resourceVersion of every child.
async fn versions(client: &Client, namespace: &str) -> BTreeMap<ChildKey, Value> {
    let children = children(client, namespace).await;
    children
        .into_iter()
        .map(|(key, child)| (key, child["metadata"]["resourceVersion"].clone()))
        .collect()
}

/// The next leader looks at everything and writes nothing of it; then it does what is asked of it.
async fn goes_on(
    client: &Client,
    operator: &Operator,
    manifest: &mut Value,
    before: &BTreeMap<ChildKey, Value>,
) {
    let namespace = manifest["metadata"]["namespace"]
        .as_str()
        .unwrap()
        .to_owned();
    until(
        "the next leader has looked at the application",
        async || (operator.reconciles() > 0).then_some(()),
    )
    .await;
    assert_eq!(
        versions(client, &namespace).await,
        *before,
        "nothing is done twice"
    );
    manifest["spec"]["release"]["images"][0]["image"] = json!("registry.example/api:2");
    apply(client, manifest).await;
    until_image(client, &namespace, "registry.example/api:2").await;
}

#[tokio::test]
async fn only_the_leader_writes_and_a_stop_hands_over_at_once() {
    let (cluster, client) = cluster().await;
    let first = Operator::start(&cluster).await;
    let (second, _) = launch(&cluster).await;
    let mut manifest = make(&client, "handover").await;
    until_done(&client, "handover").await;
    assert!(!second.is_leading());
    assert_eq!(
        second.reconciles(),
        0,
        "one that does not lead does nothing"
    );
    let held = lease(&client).await;
    let before = versions(&client, "handover").await;

    first.stop().await;
    // Its clock does not move but by itself: the lease was given back, not waited for.
    second.until_leading().await;
    let now = lease(&client).await;
    assert_ne!(now["holderIdentity"], held["holderIdentity"]);
    goes_on(&client, &second, &mut manifest, &before).await;
    second.stop().await;
    assert_eq!(lease(&client).await["holderIdentity"], Value::Null);
}

#[tokio::test]
async fn when_the_leader_is_killed_the_next_one_leads_once_the_lease_has_run_out() {
    let (cluster, client) = cluster().await;
    let first = Operator::start(&cluster).await;
    let (second, clock) = launch(&cluster).await;
    let mut manifest = make(&client, "killed").await;
    until_done(&client, "killed").await;
    let before = versions(&client, "killed").await;
    first.kill().await;
    let held = lease(&client).await;
    assert!(held["holderIdentity"].is_string(), "nobody gave it back");
    assert!(!second.is_leading());
    // It may see the last renewal only now, and begins to wait then.
    until("the second leads", async || {
        clock.step(Duration::from_secs(16));
        tokio::time::sleep(Duration::from_millis(200)).await;
        second.is_leading().then_some(())
    })
    .await;
    let now = lease(&client).await;
    assert_eq!(
        now["leaseTransitions"].as_i64().unwrap(),
        held["leaseTransitions"].as_i64().unwrap() + 1
    );
    goes_on(&client, &second, &mut manifest, &before).await;
    second.stop().await;
}

#[tokio::test]
async fn a_leader_that_gets_no_answer_about_its_lease_ends() {
    let (cluster, _) = cluster().await;
    let config = support::operator_config(&cluster).await;
    let silent = Arc::new(AtomicBool::new(false));
    let is_silent = Arc::clone(&silent);
    let fate = move |request: &axum::http::Request<kube::client::Body>| {
        let about_leases = request.uri().path().contains("/leases/");
        if about_leases && is_silent.load(Ordering::SeqCst) {
            Fate::Lost
        } else {
            Fate::Sent
        }
    };
    let connect = move || proxy::client(Client::try_from(config).unwrap(), fate, || {});
    let operator = Operator::launch(connect, support::kafka(), Arc::new(SteppedClock::default()));
    operator.until_leading().await;
    silent.store(true, Ordering::SeqCst);
    let lost = operator.ended().await.unwrap_err();
    assert!(lost.to_string().contains("did not answer"), "{lost}");
}
