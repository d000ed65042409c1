//! The operator as a whole: watches, leadership, reconciles, and an orderly end.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::Future;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::Stream;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::stream::{self, BoxStream, StreamExt};
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::api::Api;
use kube::runtime::controller::{self, Action};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store, store};
use kube::runtime::{WatchStreamExt, applier, watcher};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use todo_operator_api::{TodoApp, TodoEnvironment, TodoIntent};
use todo_operator_core::kind::Kind;
use todo_operator_core::mutants::Mutant;
use todo_operator_core::names::FIELD_MANAGER;
use todo_operator_core::validate;

use crate::apply::Applier;
use crate::backlog::Backlog;
use crate::claims::Claims;
use crate::context::{Context, Memories};
use crate::index::{AppKey, Concern, Index};
use crate::kafka::KafkaAdmin;
use crate::kept::{KeptApp, keep, trim};
use crate::leader::{Elector, Lost};
use crate::metrics::{KindLabel, Metrics};
use crate::outside::{Clock, Jitter};
use crate::policy::{self, PolicyWatch};
use crate::reconcile;
use crate::topics::TopicCache;
use crate::watch::{self, News};

/// TodoApps that are reconciled at once: enough to keep every apply busy that may be under way, and no more bodies in
/// memory than that takes.
const CONCURRENT_APPS: u16 = 8;

/// How long news of a child wait for more of the same application: one step of a rollout is told by a dozen objects within
/// some ten milliseconds, and is one reconcile.
const GATHERING: Duration = Duration::from_millis(50);

/// News that are gathered at most.
const GATHERED: usize = 1024;

/// Everything from outside.
pub struct Outside {
    /// The API server.
    pub client: Client,
    /// Kafka's admin API.
    pub kafka: Arc<dyn KafkaAdmin>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub jitter: Jitter,
}

/// How this instance runs.
pub struct Options {
    /// Namespace of the operator: its Lease stands there.
    pub namespace: String,
    /// Name of this instance, unique to the process.
    pub identity: String,
    /// Set once every watch has listed.
    pub ready: Arc<AtomicBool>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
}

type Queue<K> = UnboundedSender<ObjectRef<K>>;

/// Where news goes.
#[derive(Clone)]
struct Queues {
    apps: Queue<KeptApp>,
    environments: Queue<TodoEnvironment>,
}

/// Runs until `shutdown` resolves (then in-flight reconciles end and the Lease is given back) or leadership is lost.
pub async fn run(
    outside: Outside,
    options: Options,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Lost> {
    let client = outside.client;
    let (apps, apps_writer) = store::<KeptApp>();
    let (environments, environments_writer) = store::<TodoEnvironment>();
    let (intents, intents_writer) = store::<TodoIntent>();
    let (app_queue, app_requests) = unbounded();
    let (environment_queue, environment_requests) = unbounded();
    let reporter = Reporter {
        controller: FIELD_MANAGER.into(),
        instance: Some(options.identity.clone()),
    };
    let backlog = Arc::new(Backlog::default());
    let context = Arc::new(Context {
        applier: Applier::new(
            client.clone(),
            Arc::clone(&outside.clock),
            Arc::clone(&backlog),
        ),
        backlog,
        index: Arc::new(Index::default()),
        apps: apps.clone(),
        environments: environments.clone(),
        intents: intents.clone(),
        intent_policy: Arc::new(PolicyWatch::default()),
        claims: Arc::new(Mutex::new(Claims::default())),
        kafka: outside.kafka,
        topics: TopicCache::default(),
        clock: Arc::clone(&outside.clock),
        jitter: outside.jitter,
        metrics: Arc::clone(&options.metrics),
        recorder: Recorder::new(client.clone(), reporter),
        namespace: options.namespace.clone(),
        memory: Memories::default(),
        client: client.clone(),
    });
    let queues = Queues {
        apps: app_queue,
        environments: environment_queue,
    };
    let watches = stream::select_all([
        children(&context, &queues),
        own_apps(&context, &queues, apps_writer),
        own_environments(&context, &queues, environments_writer),
        own_intents(&context, &queues, intents_writer),
        intent_policy(&context),
        postponed_statuses(&context, &queues),
    ]);
    // A task of its own: reading watch events must not wait for reconciles.
    let watching = AbortOnDrop(tokio::spawn(watches.collect::<()>()));
    let listed = wait_until_listed(&context, &options.ready);
    let elector = Elector::new(
        Api::namespaced(client, &options.namespace),
        FIELD_MANAGER,
        &options.identity,
        outside.clock,
    );
    futures::pin_mut!(shutdown);
    let lead = async {
        listed.await;
        elector.acquire().await;
    };
    tokio::select! {
        biased;
        () = lead => {}
        () = &mut shutdown => return Ok(()),
    }
    tracing::info!(identity = options.identity, "leading");
    options.metrics.leader.set(1);
    let (stop, stopped) = futures::channel::oneshot::channel::<()>();
    let stopped = futures::FutureExt::shared(stopped);
    let work = futures::future::join(
        reconcile_all(
            apps,
            app_requests,
            reconcile::app::reconcile,
            reconcile::app_failed,
            &context,
            CONCURRENT_APPS,
            stopped.clone(),
        ),
        reconcile_all(
            environments,
            environment_requests,
            reconcile::environment::reconcile,
            reconcile::environment_failed,
            &context,
            1,
            stopped,
        ),
    );
    futures::pin_mut!(work);
    let lost = tokio::select! {
        biased;
        lost = elector.keep() => Some(lost),
        () = &mut shutdown => None,
        _ = &mut work => None,
    };
    options.metrics.leader.set(0);
    drop(watching);
    if let Some(lost) = lost {
        return Err(lost);
    }
    tracing::info!("stopping: reconciles that are under way end first");
    drop(stop);
    work.await;
    elector.release().await;
    Ok(())
}

/// Ends a task with its owner.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn wait_until_listed(context: &Context, ready: &AtomicBool) {
    // An error means that the writer is gone, which ends the process anyway.
    let _ = context.apps.wait_until_ready().await;
    let _ = context.environments.wait_until_ready().await;
    let _ = context.intents.wait_until_ready().await;
    while !(context.index.is_complete() && context.intent_policy.is_complete()) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ready.store(true, Ordering::Relaxed);
}

/// Reconciles what the queue names until it is told to stop; then ends what is under way.
async fn reconcile_all<K, Reconcile, Failed, Running>(
    objects: Store<K>,
    requests: UnboundedReceiver<ObjectRef<K>>,
    reconcile: Reconcile,
    failed: Failed,
    context: &Arc<Context>,
    concurrency: u16,
    stopped: impl Future<Output: Send> + Send + 'static,
) where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
    Reconcile: Fn(Arc<K>, Arc<Context>) -> Running,
    Running: Future<Output = Result<Action, reconcile::Error>> + Send + 'static,
    Failed: Fn(Arc<K>, &reconcile::Error, Arc<Context>) -> Action,
    ObjectRef<K>: Hash + Eq,
{
    let requests = requests
        .take_until(stopped)
        .map(Ok::<_, Infallible>)
        .boxed();
    let config = controller::Config::default().concurrency(concurrency);
    applier(
        move |object, context| Box::pin(reconcile(object, context)),
        failed,
        Arc::clone(context),
        objects,
        requests,
        config,
    )
    // Failures were logged where they were met; an object that is gone needs nothing.
    .for_each(|_| std::future::ready(()))
    .await;
}

/// Watches of every kind of child, and whom they concern.
fn children(context: &Arc<Context>, queues: &Queues) -> BoxStream<'static, ()> {
    let kinds = Kind::CHILDREN.into_iter().chain(Kind::READ);
    let watches: Vec<_> = kinds
        .map(|kind| watch::watch(context.client.clone(), kind, Arc::clone(&context.index)).boxed())
        .collect();
    let (context, queues) = (Arc::clone(context), queues.clone());
    tokio_stream::StreamExt::chunks_timeout(stream::select_all(watches), GATHERED, GATHERING)
        .map(move |gathered| {
            for news in gathered.into_iter().collect::<BTreeSet<_>>() {
                queues.tell(news, &context);
            }
        })
        .boxed()
}

fn note_missing(context: &Context) {
    let missing = context.index.missing();
    for kind in Kind::CHILDREN
        .into_iter()
        .chain(Kind::READ)
        .filter(|kind| kind.peer().is_some())
    {
        let value = i64::from(missing.contains(&kind));
        context
            .metrics
            .crd_missing
            .get_or_create(&KindLabel { kind: kind.name() })
            .set(value);
    }
}

impl Queues {
    fn tell(&self, news: News, context: &Context) {
        match news {
            News::Changed(Concern::App(app)) => self.app(&app),
            News::Changed(Concern::Environment(name)) => self.environment(&name),
            News::Changed(Concern::Namespace(namespace)) => self.namespace(context, &namespace),
            News::Kinds => {
                note_missing(context);
                for app in context.all_apps() {
                    self.app(&reconcile::app_key(app.as_ref()));
                }
            }
        }
    }

    // A send fails only once the receiver is gone, which is the end of the process.
    fn app(&self, app: &AppKey) {
        let _ = self
            .apps
            .unbounded_send(ObjectRef::new(&app.name).within(&app.namespace));
    }

    fn environment(&self, name: &str) {
        let _ = self.environments.unbounded_send(ObjectRef::new(name));
    }

    fn namespace(&self, context: &Context, namespace: &str) {
        for app in context.apps_in(namespace) {
            self.app(&reconcile::app_key(app.as_ref()));
        }
        for environment in context.environments_in(namespace) {
            self.environment(&environment.name_any());
        }
    }
}

/// A watch of one of our own kinds, with the parts that nobody reads taken out.
fn own<K>(client: &Client) -> impl Stream<Item = watcher::Event<K>> + Send + 'static + use<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    watcher(
        Api::<K>::all(client.clone()),
        watcher::Config::default().page_size(watch::PAGE),
    )
    .default_backoff()
    .modify(trim)
        .filter_map(|event| {
            std::future::ready(
                event
                    .inspect_err(|error| tracing::warn!(kind = %K::kind(&()), %error, "watch interrupted; it begins again"))
                    .ok(),
            )
        })
}
fn changed<K>(event: &watcher::Event<K>) -> Option<&K> {
    match event {
        watcher::Event::Apply(object)
        | watcher::Event::InitApply(object)
        | watcher::Event::Delete(object) => Some(object),
        watcher::Event::Init | watcher::Event::InitDone => None,
    }
}

fn own_apps(
    context: &Arc<Context>,
    queues: &Queues,
    mut writer: Writer<KeptApp>,
) -> BoxStream<'static, ()> {
    let (context, queues) = (Arc::clone(context), queues.clone());
    own::<TodoApp>(&context.client)
        .map(move |event| {
            let before: Option<BTreeSet<AppKey>> =
                matches!(event, watcher::Event::InitDone).then(|| {
                    context
                        .apps
                        .state()
                        .iter()
                        .map(|app| reconcile::app_key(app.as_ref()))
                        .collect()
                });
            writer.apply_watcher_event(&keep(&event));
            match &event {
                // Not in the store yet, nor perhaps the environments: they are told of together, at the end of the list.
                watcher::Event::InitApply(app) if Mutant::ClaimsBeforeListed.is_on() => {
                    claim(&context, &queues, app);
                }
                watcher::Event::Init | watcher::Event::InitApply(_) => {}
                watcher::Event::Apply(app)
                    if context.memory.is_echo(&reconcile::app_key(app), app) =>
                {
                    environments_of(&context, &queues, app);
                }
                watcher::Event::Apply(app) => {
                    claim(&context, &queues, app);
                    queues.app(&reconcile::app_key(app));
                    environments_of(&context, &queues, app);
                }
                watcher::Event::Delete(app) => {
                    unclaim(&context, &queues, &reconcile::app_key(app));
                    environments_of(&context, &queues, app);
                }
                watcher::Event::InitDone => {
                    let mut gone = before.unwrap_or_default();
                    for app in context.all_apps() {
                        gone.remove(&reconcile::app_key(app.as_ref()));
                        if Mutant::ClaimsBeforeListed.is_on() {
                            queues.app(&reconcile::app_key(app.as_ref()));
                            continue;
                        }
                        claim_and_queue(&context, &queues, &app);
                    }
                    for app in &gone {
                        unclaim(&context, &queues, app);
                    }
                    for environment in context.all_environments() {
                        queues.environment(&environment.name_any());
                    }
                }
            }
        })
        .boxed()
}

fn environments_of(context: &Context, queues: &Queues, app: &TodoApp) {
    for environment in context.environments_in(&app.namespace().unwrap_or_default()) {
        queues.environment(&environment.name_any());
    }
}

fn claim_and_queue(context: &Context, queues: &Queues, app: &KeptApp) {
    // One that is no TodoApp is told so when it is reconciled.
    if let Ok(app) = app.parse() {
        claim(context, queues, &app);
    }
    queues.app(&reconcile::app_key(app));
}

/// Takes in what an application claims, and wakes those whom that concerns.
fn claim(context: &Context, queues: &Queues, app: &TodoApp) {
    let environments = context.environments_in(&app.namespace().unwrap_or_default());
    let Some(environment) = environments.first() else {
        return;
    };
    let created = app
        .metadata
        .creation_timestamp
        .as_ref()
        .map_or(0, |time| time.0.as_second());
    let claims = validate::claims(app, environment);
    let affected = context
        .claims
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .set(&reconcile::app_key(app), created, claims);
    for other in affected {
        queues.app(&other);
    }
}

fn unclaim(context: &Context, queues: &Queues, app: &AppKey) {
    let affected = context
        .claims
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .remove(app);
    for other in affected {
        queues.app(&other);
    }
    context.memory.forget(app);
    context.backlog.forget(app);
}

fn own_environments(
    context: &Arc<Context>,
    queues: &Queues,
    mut writer: Writer<TodoEnvironment>,
) -> BoxStream<'static, ()> {
    let (context, queues) = (Arc::clone(context), queues.clone());
    own::<TodoEnvironment>(&context.client)
        .map(move |event| {
            let same = matches!(&event, watcher::Event::Apply(environment)
                if only_status_changed(environment, &context.environments));
            writer.apply_watcher_event(&event);
            if same && let Some(environment) = changed(&event) {
                // Its status counts its applications: they must not be woken by it in turn.
                queues.environment(&environment.name_any());
                return;
            }
            let all = matches!(event, watcher::Event::InitDone);
            for app in context.all_apps() {
                let here = |environment: &TodoEnvironment| {
                    app.namespace().as_deref() == Some(&environment.spec.namespace)
                };
                if all || changed(&event).is_some_and(here) {
                    claim_and_queue(&context, &queues, &app);
                }
            }
            // Each is judged beside the others.
            for environment in context.all_environments() {
                queues.environment(&environment.name_any());
            }
        })
        .boxed()
}

/// Whether an environment differs from what is known of it in its status at most: whatever else changes raises the
/// generation.
fn only_status_changed(environment: &TodoEnvironment, known: &Store<TodoEnvironment>) -> bool {
    known
        .get(&ObjectRef::from_obj(environment))
        .is_some_and(|known| {
            known.uid() == environment.uid()
                && known.metadata.generation == environment.metadata.generation
        })
}

fn own_intents(
    context: &Arc<Context>,
    queues: &Queues,
    mut writer: Writer<TodoIntent>,
) -> BoxStream<'static, ()> {
    let (context, queues) = (Arc::clone(context), queues.clone());
    own::<TodoIntent>(&context.client)
        .map(move |event| {
            writer.apply_watcher_event(&event);
            let Some(intent) = changed(&event) else {
                return;
            };
            for app in context.all_apps() {
                if intent
                    .spec
                    .app
                    .as_ref()
                    .is_none_or(|name| *name == app.name_any())
                {
                    queues.app(&reconcile::app_key(app.as_ref()));
                }
            }
        })
        .boxed()
}

/// Applications whose status has waited for other applications' children.
fn postponed_statuses(context: &Arc<Context>, queues: &Queues) -> BoxStream<'static, ()> {
    stream::unfold(
        (Arc::clone(context), queues.clone()),
        async |(context, queues)| {
            for app in context.backlog.due(context.clock.as_ref()).await {
                queues.app(&app);
            }
            Some(((), (context, queues)))
        },
    )
    .boxed()
}

/// Watches the admission policy that guards intents, and its binding.
fn intent_policy(context: &Arc<Context>) -> BoxStream<'static, ()> {
    let policy_watch = Arc::clone(&context.intent_policy);
    let binding_watch = Arc::clone(&context.intent_policy);
    stream::select(
        only::<ValidatingAdmissionPolicy>(&context.client)
            .map(move |object| policy_watch.set_policy(object)),
        only::<ValidatingAdmissionPolicyBinding>(&context.client)
            .map(move |object| binding_watch.set_binding(object)),
    )
    .boxed()
}

/// The one object of its kind that bears the policy's name, whenever it changes.
fn only<K>(
    client: &Client,
) -> impl Stream<Item = Option<serde_json::Value>> + Send + 'static + use<K>
where
    K: Resource<DynamicType = ()>
        + Clone
        + DeserializeOwned
        + serde::Serialize
        + std::fmt::Debug
        + Send
        + 'static,
{
    let config = watcher::Config::default().fields(&format!("metadata.name={}", policy::NAME));
    // Of a list the end tells: in its midst the object that is there has yet to come.
    let mut listed = None;
    watcher(Api::<K>::all(client.clone()), config).default_backoff().filter_map(move |event| {
        std::future::ready(match event {
            Ok(watcher::Event::Init) => {
                listed = None;
                None
            }
            Ok(watcher::Event::InitApply(object)) => {
                listed = serde_json::to_value(object).ok();
                None
            }
            Ok(watcher::Event::InitDone) => Some(listed.take()),
            Ok(watcher::Event::Apply(object)) => Some(serde_json::to_value(object).ok()),
            Ok(watcher::Event::Delete(_)) => Some(None),
            Err(error) => {
                tracing::warn!(kind = %K::kind(&()), %error, "watch interrupted; it begins again");
                None
            }
        })
    })
}
