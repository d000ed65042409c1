//! What the tests of the controller on a real API server share: one cluster a test binary, the operator in this process
//! under its own ServiceAccount, and ways to apply, wait and look.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do, and no test file uses them all"
)]

pub mod life;
pub mod proxy;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::{Client, Config as KubeConfig, CustomResourceExt as _};
use localcluster::{Cluster, Config, Peer};
use serde_json::{Value, json};
use todo_operator_api::{TodoApp, TodoEnvironment, TodoIntent, TodoRelease};
use todo_operator_controller::apply::api_resource;
use todo_operator_controller::kafka::{KafkaAdmin, RdKafkaAdmin};
use todo_operator_controller::leader::Lost;
use todo_operator_controller::metrics::Metrics;
use todo_operator_controller::outside::{Clock, SystemClock, random_jitter};
use todo_operator_controller::run::{Options, Outside, run};
use todo_operator_core::child::ChildKey;
use todo_operator_core::kind::Kind;
use todo_operator_core::names::{FIELD_MANAGER, LABEL_ENVIRONMENT, LABEL_MANAGED_BY};
use tokio::sync::oneshot;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The operator's namespace, and the name of its ServiceAccount.
pub const OPERATOR: &str = "todo-operator";
/// The operator as the API server's audit log knows it.
pub const OPERATOR_USER: &str = "system:serviceaccount:todo-operator:todo-operator";
/// How long anything may take before a test fails. Far more than it takes.
pub const DEADLINE: Duration = Duration::from_secs(120);
/// The peers whose kinds the operator makes.
pub const PEERS: [Peer; 6] = [
    Peer::ArgoRollouts,
    Peer::CloudNativePg,
    Peer::GatewayApi,
    Peer::Keda,
    Peer::Strimzi,
    Peer::Traefik,
];

/// A cluster with the operator's CRDs, permissions and policy installed as `kubectl apply -k` installs them.
pub async fn cluster(config: Config) -> Cluster {
    let cluster = Cluster::start(config).await.unwrap();
    let overlay = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kustomize/overlays/host");
    let status = Command::new(cluster.kubectl().unwrap())
        .args(["apply", "--server-side", "-k"])
        .arg(overlay)
        .env("KUBECONFIG", cluster.kubeconfig())
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "kubectl apply -k kustomize/overlays/host");
    let client = cluster.client().unwrap();
    let crds = [
        TodoApp::crd_name(),
        TodoEnvironment::crd_name(),
        TodoIntent::crd_name(),
        TodoRelease::crd_name(),
    ];
    for name in crds {
        until(&format!("CRD {name} is established"), async || {
            let crd = object(&client, &crd_resource(), "", name).await?;
            condition(&crd, "Established").filter(|c| c["status"] == "True")
        })
        .await;
    }
    cluster
}

fn crd_resource() -> ApiResource {
    resource("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
}

/// Credentials of the operator's ServiceAccount: it may what its roles grant, and nothing else.
pub async fn operator_config(cluster: &Cluster) -> KubeConfig {
    let client = cluster.client().unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(client, OPERATOR);
    let request = TokenRequest {
        spec: Some(Default::default()),
        ..TokenRequest::default()
    };
    let answer = accounts
        .create_token_request(OPERATOR, &PostParams::default(), &request)
        .await
        .unwrap();
    let kubeconfig = cluster
        .token_kubeconfig(&answer.status.unwrap().token.unwrap())
        .unwrap();
    let kubeconfig = Kubeconfig::from_yaml(&kubeconfig).unwrap();
    KubeConfig::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap()
}

/// The operator, running on a thread and runtime of its own, so that it outlives the test that starts it.
pub struct Operator {
    /// Its metrics.
    pub metrics: Arc<Metrics>,
    ready: Arc<AtomicBool>,
    stop: Option<oneshot::Sender<()>>,
    kill: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), Lost>>>,
}

impl Operator {
    /// Starts it as it runs in production, and waits until it leads.
    pub async fn start(cluster: &Cluster) -> Self {
        Self::start_with(cluster, kafka(), Arc::new(SystemClock)).await
    }

    /// Starts it with a clock that is an hour ahead: what waits for some seconds after a write does not wait.
    pub async fn start_ahead(cluster: &Cluster) -> Self {
        Self::start_with(cluster, kafka(), Arc::new(HourAhead)).await
    }

    /// Starts it with a Kafka and a clock of the test's choice, and waits until it leads.
    pub async fn start_with(
        cluster: &Cluster,
        kafka: Arc<dyn KafkaAdmin>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let config = operator_config(cluster).await;
        let operator = Self::launch(|| Client::try_from(config).unwrap(), kafka, clock);
        operator.until_leading().await;
        operator
    }

    /// Starts it with any client, made on the operator's own runtime, and waits for nothing.
    pub fn launch(
        connect: impl FnOnce() -> Client + Send + 'static,
        kafka: Arc<dyn KafkaAdmin>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        show_log();
        let metrics = Arc::new(Metrics::default());
        let ready = Arc::new(AtomicBool::new(false));
        let options = Options {
            namespace: OPERATOR.to_owned(),
            identity: format!("test-{:08x}", rand::random::<u32>()),
            ready: Arc::clone(&ready),
            metrics: Arc::clone(&metrics),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let (kill, killed) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            let ended = runtime.block_on(async {
                let outside = Outside {
                    client: connect(),
                    kafka,
                    clock,
                    jitter: random_jitter(),
                };
                let stopped = async {
                    let _ = stopped.await;
                };
                tokio::select! {
                    ended = run(outside, options, stopped) => ended,
                    Ok(()) = killed => Ok(()),
                }
            });
            // What still runs is dropped where it stands, as when a process is killed.
            runtime.shutdown_background();
            ended
        });
        Self {
            metrics,
            ready,
            stop: Some(stop),
            kill: Some(kill),
            thread: Some(thread),
        }
    }

    /// Waits until it leads.
    pub async fn until_leading(&self) {
        until("the operator leads", async || {
            self.is_leading().then_some(())
        })
        .await;
    }

    /// Whether every watch has listed.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Whether it leads.
    pub fn is_leading(&self) -> bool {
        self.is_ready() && self.metrics.leader.get() == 1
    }

    /// Stops it as SIGTERM does, and waits until it has ended.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        self.join().await.unwrap();
    }

    /// Ends it as SIGKILL does: nothing is finished, the Lease is not given back.
    pub async fn kill(mut self) {
        self.kill.take().unwrap().send(()).unwrap();
        self.join().await.unwrap();
    }

    /// Waits until it ends by itself; why it did.
    pub async fn ended(mut self) -> Result<(), Lost> {
        self.join().await
    }

    async fn join(&mut self) -> Result<(), Lost> {
        let thread = self.thread.take().unwrap();
        tokio::task::spawn_blocking(move || thread.join().unwrap())
            .await
            .unwrap()
    }

    /// How many reconciles of TodoApps it has ended, well or badly.
    pub fn reconciles(&self) -> u64 {
        ["ok", "error"]
            .into_iter()
            .map(|result| {
                let labels = todo_operator_controller::metrics::ReconcileLabels {
                    kind: "TodoApp",
                    result,
                };
                self.metrics.reconciles.get_or_create(&labels).get()
            })
            .sum()
    }

    /// How often it has put right a child of a kind.
    pub fn drift_corrected(&self, kind: Kind) -> u64 {
        let label = todo_operator_controller::metrics::KindLabel { kind: kind.name() };
        self.metrics.drift_corrected.get_or_create(&label).get()
    }
}

/// The machine's clock, which a test can put forward.
#[derive(Debug, Default)]
pub struct SteppedClock(AtomicI64);

impl SteppedClock {
    /// Puts it forward.
    pub fn step(&self, by: Duration) {
        self.0
            .fetch_add(i64::try_from(by.as_secs()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for SteppedClock {
    fn now(&self) -> Timestamp {
        SystemClock.now() + SignedDuration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

/// Kafka's admin API, where no credential is needed.
pub fn kafka() -> Arc<dyn KafkaAdmin> {
    Arc::new(RdKafkaAdmin::new(PathBuf::from("no-credentials")))
}

struct HourAhead;

impl Clock for HourAhead {
    fn now(&self) -> jiff::Timestamp {
        SystemClock.now() + jiff::SignedDuration::from_hours(1)
    }
}

/// The operator's log on standard error, where `RUST_LOG` asks for it.
fn show_log() {
    if let Ok(wanted) = std::env::var("RUST_LOG") {
        let wanted: tracing_subscriber::filter::Targets = wanted.parse().unwrap();
        let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let _ = tracing_subscriber::registry()
            .with(wanted)
            .with(log)
            .try_init();
    }
}

/// Waits until `look` finds something. Fails after [`DEADLINE`], saying what was waited for.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(
            begun.elapsed() < DEADLINE,
            "not within {DEADLINE:?}: {what}"
        );
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// What `kube` needs to know of a kind that is no [`Kind`].
pub fn resource(group: &str, version: &str, kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

/// What `kube` needs to know of TodoApps.
pub fn apps() -> ApiResource {
    ApiResource::erase::<TodoApp>(&())
}

/// What `kube` needs to know of TodoEnvironments.
pub fn environments() -> ApiResource {
    ApiResource::erase::<TodoEnvironment>(&())
}

/// The objects of a kind; an empty namespace stands for all, or for a cluster-scoped kind.
pub fn api(client: &Client, resource: &ApiResource, namespace: &str) -> Api<DynamicObject> {
    match namespace {
        "" => Api::all_with(client.clone(), resource),
        _ => Api::namespaced_with(client.clone(), namespace, resource),
    }
}

/// One object, or nothing where there is none.
pub async fn object(
    client: &Client,
    resource: &ApiResource,
    namespace: &str,
    name: &str,
) -> Option<Value> {
    let found = api(client, resource, namespace)
        .get_opt(name)
        .await
        .unwrap()?;
    Some(serde_json::to_value(found).unwrap())
}

/// One child, or nothing where there is none.
pub async fn child(client: &Client, key: &ChildKey) -> Option<Value> {
    object(client, &api_resource(key.kind), &key.namespace, &key.name).await
}

/// A manifest in YAML.
pub fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap()
}

/// JSON merge patch (RFC 7386).
pub fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(&key);
        } else {
            merge(&mut target[key], value);
        }
    }
}

/// Applies a manifest as a person does: server-side, unknown fields refused. Answers with what was refused, in the API
/// server's words.
pub async fn try_apply(client: &Client, manifest: &Value) -> Result<Value, String> {
    let text = |pointer| manifest.pointer(pointer).and_then(Value::as_str);
    let api_version = text("/apiVersion").unwrap();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let resource = resource(group, version, text("/kind").unwrap());
    let api = api(
        client,
        &resource,
        text("/metadata/namespace").unwrap_or_default(),
    );
    let params = PatchParams {
        field_validation: Some(kube::api::ValidationDirective::Strict),
        ..PatchParams::apply("person").force()
    };
    match api
        .patch(
            text("/metadata/name").unwrap(),
            &params,
            &Patch::Apply(manifest),
        )
        .await
    {
        Ok(object) => Ok(serde_json::to_value(object).unwrap()),
        Err(kube::Error::Api(status)) => Err(status.message.clone()),
        Err(error) => panic!("{error}"),
    }
}

/// As [`try_apply`], where nothing may be refused.
pub async fn apply(client: &Client, manifest: &Value) -> Value {
    try_apply(client, manifest)
        .await
        .unwrap_or_else(|refusal| panic!("{refusal}\n{manifest:#}"))
}

/// Makes an environment and its namespace, both of this name. `spec` is what its spec holds beside the namespace.
pub async fn environment(client: &Client, name: &str, spec: &str) -> Value {
    apply(client, &namespace(name)).await;
    let mut manifest = json!({
        "apiVersion": "todo-operator.dev/v1alpha1",
        "kind": "TodoEnvironment",
        "metadata": {"name": name},
        "spec": {"stage": "test", "namespace": name},
    });
    let spec = yaml(spec);
    if spec.is_object() {
        merge(&mut manifest["spec"], spec);
    }
    apply(client, &manifest).await
}

/// The namespace of an environment of the same name.
pub fn namespace(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {LABEL_ENVIRONMENT: name}},
    })
}

/// A TodoApp from its spec.
pub fn app(namespace: &str, name: &str, spec: &str) -> Value {
    json!({
        "apiVersion": "todo-operator.dev/v1alpha1",
        "kind": "TodoApp",
        "metadata": {"name": name, "namespace": namespace},
        "spec": yaml(spec),
    })
}

/// A condition of an object.
pub fn condition(object: &Value, kind: &str) -> Option<Value> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find(|c| c["type"] == kind).cloned()
}

/// Waits until a condition of an object has this status for its current generation; the object.
pub async fn until_condition(client: &Client, manifest: &Value, kind: &str, status: &str) -> Value {
    let text = |pointer| {
        manifest
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let resource = match text("/kind") {
        "TodoEnvironment" => environments(),
        _ => apps(),
    };
    let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
    let begun = Instant::now();
    loop {
        let object = object(client, &resource, namespace, name)
            .await
            .unwrap_or_default();
        let found = condition(&object, kind).is_some_and(|condition| {
            condition["status"] == status
                && condition["observedGeneration"] == object["metadata"]["generation"]
        });
        if found {
            return object;
        }
        assert!(
            begun.elapsed() < DEADLINE,
            "{namespace}/{name}: {kind} is not {status} within {DEADLINE:?}: {:#}",
            object["status"]
        );
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// Waits until an object is Ready at its current generation, as `kubectl wait --for=condition=Ready` does; the object.
pub async fn until_ready(client: &Client, manifest: &Value) -> Value {
    until_condition(client, manifest, "Ready", "True").await
}

/// Every child of any kind in a namespace that bears the operator's label.
pub async fn children(client: &Client, namespace: &str) -> BTreeMap<ChildKey, Value> {
    let ours = ListParams::default().labels(&format!("{LABEL_MANAGED_BY}={FIELD_MANAGER}"));
    let kinds = Kind::CHILDREN
        .into_iter()
        .filter(|kind| kind.is_namespaced());
    let lists = kinds.map(async |kind| {
        let list = api(client, &api_resource(kind), namespace)
            .list(&ours)
            .await;
        let list = match list {
            Ok(list) => list.items,
            // A peer's kind, where the peer is not installed.
            Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
            Err(error) => panic!("{error}"),
        };
        list.into_iter().map(move |item| {
            let name = item.metadata.name.clone().unwrap();
            (
                ChildKey::new(kind, namespace, &name),
                serde_json::to_value(item).unwrap(),
            )
        })
    });
    futures::future::join_all(lists)
        .await
        .into_iter()
        .flatten()
        .collect()
}

/// The audit log's events of one user, in order, as `(verb, resource[/subresource], namespace/name)`, from `offset` in
/// the log; and where the log ends now.
pub fn audited(cluster: &Cluster, user: &str, offset: usize) -> (Vec<Audited>, usize) {
    let log = std::fs::read(cluster.audit_log()).unwrap();
    let events = log[offset..]
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Value>(line).ok())
        .filter(|event| event["user"]["username"] == user)
        .map(|event| {
            let text = |field: &str| {
                event["objectRef"][field]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            };
            Audited {
                verb: event["verb"].as_str().unwrap().to_owned(),
                group: text("apiGroup"),
                resource: text("resource"),
                subresource: text("subresource"),
                namespace: text("namespace"),
                name: text("name"),
                code: event["responseStatus"]["code"].as_u64().unwrap_or_default(),
            }
        })
        .collect();
    (events, log.len())
}

/// One request in the audit log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub struct Audited {
    pub verb: String,
    pub group: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    pub code: u64,
}

impl Audited {
    /// Whether it asked to change anything but the operator's Lease.
    pub fn is_write(&self) -> bool {
        matches!(
            self.verb.as_str(),
            "create" | "update" | "patch" | "delete" | "deletecollection"
        ) && self.resource != "leases"
    }
}
