//! What people do, step by step, and what must come of it.

mod fields;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::actor::{Resource, resource, text};
use crate::models::argocd::Application;
use crate::oracle::{self, Violation};
use crate::world::World;
use todo_operator_core::names::LABEL_APP;

/// `todoapps`
pub const APPS: Resource = resource("todo-operator.dev", "todoapps");
/// The longest time, in the simulation, that anything may take: canaries with their pauses, deadlines, and a lease that
/// has to run out.
const LIVENESS: Duration = Duration::from_secs(3 * 3600);
/// More writes of the operators than any scenario needs.
const MOST_WRITES: usize = 10_000;
/// Time without a write after which a world is at rest.
const REST: Duration = Duration::from_secs(120);
/// Time for which nothing may be written once the world is at rest: long enough that topics are looked at again.
const STEADY: Duration = Duration::from_secs(400);

/// One scenario.
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// What it may do.
    pub allows: Allows,
    /// With how many seeds its faults are played: a short one with more of them.
    pub seeds: u64,
    script: for<'a> fn(&'a Stage) -> BoxFuture<'a, Outcome>,
}

/// What a scenario may do beside what every one may.
#[derive(Clone, Copy, Debug)]
pub struct Allows {
    /// Data is deleted, because somebody asked for it.
    pub data_loss: bool,
    /// Pods get other templates, because somebody edits them by hand.
    pub restarts: bool,
}

impl Allows {
    const NOTHING: Self = Self {
        data_loss: false,
        restarts: false,
    };
}

/// How a step ended.
pub type Outcome = Result<(), Violation>;

/// Where a scenario is played.
pub struct Stage {
    /// The world.
    pub world: Arc<World>,
}

/// Every scenario.
pub const ALL: &[Scenario] = &[
    scenario("create", |stage| Box::pin(create(stage))),
    scenario("release", |stage| Box::pin(release(stage))),
    scenario("canary-passes", |stage| Box::pin(canary_passes(stage))),
    scenario("canary-aborts", |stage| Box::pin(canary_aborts(stage))),
    scenario("canary-aborts-later", |stage| {
        Box::pin(canary_aborts_later(stage))
    }),
    scenario("rolling-fails", |stage| Box::pin(rolling_fails(stage))),
    scenario("through-git", |stage| Box::pin(through_git(stage))),
    scenario("migration-fails", |stage| Box::pin(migration_fails(stage))),
    scenario("scale-during-canary", |stage| {
        Box::pin(scale_during_canary(stage))
    }),
    Scenario {
        name: "hand-edit",
        allows: Allows {
            restarts: true,
            ..Allows::NOTHING
        },
        seeds: 1,
        script: |stage| Box::pin(hand_edit(stage)),
    },
    scenario("hand-edit-during-canary", |stage| {
        Box::pin(hand_edit_during_canary(stage))
    }),
    Scenario {
        seeds: 8,
        ..scenario("bad-beside-good", |stage| Box::pin(bad_beside_good(stage)))
    },
    scenario("delete-retains", |stage| Box::pin(delete_retains(stage))),
    Scenario {
        name: "delete-deletes",
        allows: Allows {
            data_loss: true,
            ..Allows::NOTHING
        },
        seeds: 1,
        script: |stage| Box::pin(delete_deletes(stage)),
    },
    Scenario {
        name: "fields",
        allows: Allows::NOTHING,
        seeds: 0,
        script: |stage| Box::pin(fields::play(stage)),
    },
    scenario("two-operators", |stage| Box::pin(two_operators(stage))),
];

const fn scenario(
    name: &'static str,
    script: for<'a> fn(&'a Stage) -> BoxFuture<'a, Outcome>,
) -> Scenario {
    Scenario {
        name,
        allows: Allows::NOTHING,
        seeds: 1,
        script,
    }
}

impl Scenario {
    /// The scenario of that name.
    pub fn find(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|scenario| scenario.name == name)
    }

    /// Plays it to its end, and waits until the world is at rest. Nothing may be written then.
    pub async fn play(&self, world: &Arc<World>) -> Outcome {
        let stage = Stage {
            world: Arc::clone(world),
        };
        stage.apply(include_str!("../scenarios/operator.yaml"))?;
        world.keep_operator_running("operator");
        (self.script)(&stage).await?;
        stage.rest().await?;
        let at_rest = world.clock.elapsed();
        tokio::time::sleep(STEADY).await;
        let (written, what) = world.last_operator_write();
        if written > at_rest {
            return Err(Violation::new("no write at rest", what));
        }
        oracle::owners_exist(world)?;
        if !world.plan().removes_a_crd() {
            oracle::stable_serves(world)?;
            if !world.plan().shows_the_past() {
                oracle::tells_true_corrections(world)?;
            }
        }
        if !self.allows.data_loss {
            oracle::keeps_data(world)?;
        }
        Ok(())
    }
}

impl Stage {
    /// Applies manifests as a person does.
    pub fn apply(&self, manifests: &str) -> Outcome {
        let manifests =
            documents(manifests).map_err(|error| Violation::new("scenario", error.to_string()))?;
        manifests
            .into_iter()
            .try_for_each(|manifest| self.put(manifest))
    }

    /// Applies one manifest as a person does.
    pub fn put(&self, manifest: Value) -> Outcome {
        self.world.note(|| {
            let kind = manifest["kind"].as_str().unwrap_or_default();
            format!("kubectl applies {kind} {}", text(&manifest, "name"))
        });
        let applied = self.world.person().apply(manifest);
        applied
            .map(drop)
            .map_err(|failure| Violation::new("scenario", failure.message()))
    }

    /// Replaces the spec of the shop as a person does: what a server-side apply cannot take back, this can.
    fn replace_spec(&self, spec: &Value) -> Outcome {
        let person = self.world.person();
        let Some(shop) = person.get(APPS, "test", "shop") else {
            return Err(Violation::new("scenario", "shop is not there"));
        };
        let mut shop = Value::clone(&shop);
        shop["spec"] = spec.clone();
        self.world
            .note(|| "kubectl replaces TodoApp shop".to_owned());
        let replaced = person.replace(APPS, shop).map(drop);
        replaced.map_err(|failure| Violation::new("scenario", failure.message()))
    }

    /// Changes an object as a person does.
    pub fn edit(&self, resource: Resource, name: &str, patch: Value) -> Outcome {
        self.world
            .note(|| format!("kubectl edits {} {name}: {patch}", resource.plural));
        self.world
            .person()
            .merge(resource, "test", name, patch)
            .map(drop)
            .map_err(|failure| Violation::new("scenario", failure.message()))
    }

    /// Waits until something holds. It must, in the end.
    pub async fn until(&self, what: &str, mut holds: impl FnMut(&World) -> bool) -> Outcome {
        let begun = self.world.clock.elapsed();
        while !holds(&self.world) {
            if self.world.clock.elapsed() - begun > LIVENESS {
                return Err(Violation::new("liveness", format!("never: {what}")));
            }
            let (writes, _) = self.world.counts();
            if writes > MOST_WRITES {
                return Err(Violation::new("liveness", "it writes without end"));
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        self.world.note(|| format!("— {what}"));
        Ok(())
    }

    /// Waits until nobody has written anything for [`REST`].
    async fn rest(&self) -> Outcome {
        self.rest_for(REST).await
    }

    /// Waits until nobody has written anything for so long.
    async fn rest_for(&self, time: Duration) -> Outcome {
        let quiet = |world: &World| world.clock.elapsed() - world.last_change() > time;
        self.until("the world is at rest", quiet).await
    }

    /// Waits until a condition of an application is true for what it now asks for, for that reason.
    pub async fn until_app(&self, name: &str, kind: &str, reason: &str) -> Outcome {
        let what = format!("{name} is {kind}: {reason}");
        self.until(&what, |world| is(world, name, kind, reason))
            .await
    }

    /// Releases another image of a component, which comes to serve.
    async fn release_passes(&self, version: &str, component: &str, tag: &str) -> Outcome {
        self.release(version, component, tag)?;
        self.until_app("shop", "Ready", "Ready").await?;
        self.until_serves(component, tag).await
    }

    /// Releases another image of a component, which is rejected: then the former one serves.
    async fn release_is_rejected(
        &self,
        version: &str,
        component: &str,
        tag: &str,
        former: &str,
    ) -> Outcome {
        self.release(version, component, tag)?;
        self.until_app("shop", "Degraded", "ReleaseRejected")
            .await?;
        self.until_serves(component, former).await
    }

    /// Waits until an image of a component serves, and no other.
    async fn until_serves(&self, component: &str, tag: &str) -> Outcome {
        let what = format!("{component}:{tag} serves");
        self.until(&what, |world| serves(world, component, tag))
            .await
    }

    /// Brings about an application that is Ready, and one beside it. What goes wrong goes wrong after that.
    async fn begin(&self, shop: &str) -> Outcome {
        self.create(shop).await?;
        self.world.begin_of_faults();
        Ok(())
    }

    async fn create(&self, shop: &str) -> Outcome {
        self.create_bystander().await?;
        self.apply(shop)?;
        self.until_app("shop", "Ready", "Ready").await
    }

    async fn create_bystander(&self) -> Outcome {
        self.apply(include_str!("../scenarios/environment.yaml"))?;
        self.apply(include_str!("../scenarios/bystander.yaml"))?;
        self.until_app("bystander", "Ready", "Ready").await
    }

    /// Releases another image of a component; the others stay.
    fn release(&self, version: &str, component: &str, tag: &str) -> Outcome {
        let shop = self.world.person().get(APPS, "test", "shop");
        let mut images = shop.map_or(json!([]), |shop| shop["spec"]["release"]["images"].clone());
        for image in images.as_array_mut().into_iter().flatten() {
            if image["component"] == component {
                image["image"] = json!(format!("registry.example/{component}:{tag}"));
            }
        }
        // Configuration comes and goes with the image.
        let config = json!({component: {"TAG": tag}});
        let release = json!({"version": version, "images": images, "config": config});
        self.edit(APPS, "shop", json!({"spec": {"release": release}}))
    }
}

/// Every kind of component.
const SHOP: &str = include_str!("../scenarios/shop.yaml");
/// Pause after each step of every canary.
const STEP_PAUSE: Duration = Duration::from_secs(60);
/// A canary.
const WEB: &str = include_str!("../scenarios/web.yaml");
/// A database and a topic.
const API: &str = include_str!("../scenarios/api.yaml");
/// A canary and a scaler.
const MAILER: &str = include_str!("../scenarios/mailer.yaml");

fn is(world: &World, app: &str, kind: &str, reason: &str) -> bool {
    let Some(app) = world.person().get(APPS, "test", app) else {
        return false;
    };
    oracle::condition(&app, kind).is_some_and(|condition| {
        condition["status"] == "True"
            && (reason.is_empty() || condition["reason"] == reason)
            && condition["observedGeneration"] == app["metadata"]["generation"]
    })
}

/// The image that every pod of a component runs that serves.
fn serves(world: &World, component: &str, tag: &str) -> bool {
    let image = format!("registry.example/{component}:{tag}");
    let pods = world.person().list(resource("", "pods"));
    let ready: Vec<_> = pods
        .iter()
        .filter(|pod| {
            pod["metadata"]["labels"]["todo-operator.dev/component"] == component
                && oracle::condition(pod, "Ready").is_some_and(|ready| ready["status"] == "True")
        })
        .collect();
    !ready.is_empty()
        && ready
            .iter()
            .all(|pod| pod["spec"]["containers"][0]["image"] == image.as_str())
}

async fn create(stage: &Stage) -> Outcome {
    stage.create(SHOP).await
}

async fn release(stage: &Stage) -> Outcome {
    stage.begin(API).await?;
    stage.release_passes("1.1.0", "api", "2").await
}

async fn canary_passes(stage: &Stage) -> Outcome {
    stage.begin(WEB).await?;
    stage.release_passes("1.1.0", "web", "2").await
}

async fn canary_aborts(stage: &Stage) -> Outcome {
    stage.begin(WEB).await?;
    stage
        .release_is_rejected("1.1.0", "web", "2-badmetric", "1")
        .await
}

async fn canary_aborts_later(stage: &Stage) -> Outcome {
    stage.create(WEB).await?;
    stage.release("1.1.0", "web", "2")?;
    stage.until_app("shop", "Ready", "Ready").await?;
    stage.world.begin_of_faults();
    stage
        .release_is_rejected("1.2.0", "web", "3-badmetric", "2")
        .await
}

async fn rolling_fails(stage: &Stage) -> Outcome {
    stage.begin(MAILER).await?;
    stage
        .release_is_rejected("1.1.0", "mailer", "2-crash", "1")
        .await
}

/// The same as a canary that aborts, and one that passes after it, when Argo CD alone writes.
async fn through_git(stage: &Stage) -> Outcome {
    let gitops = &stage.world.knobs.gitops;
    let commit = |message: &str, shop: &str| {
        stage.world.note(|| format!("git commit: {message}"));
        let file = [("test/shop.yaml", Some(shop))];
        gitops.with_repository(|repository| repository.commit("main", message, file));
    };
    stage.create_bystander().await?;
    commit("shop", WEB);
    gitops.add(Application {
        name: "shop".to_owned(),
        branch: "main".to_owned(),
        path: "test".to_owned(),
        namespace: "test".to_owned(),
        self_heal: true,
        prune: true,
    });
    stage.until_app("shop", "Ready", "Ready").await?;
    stage.world.begin_of_faults();
    commit("bad", &WEB.replace("web:1", "web:2-badmetric"));
    stage
        .until_app("shop", "Degraded", "ReleaseRejected")
        .await?;
    // Argo CD heals all the while, and what it applies must not bring the rejected release back.
    stage.rest_for(REST).await?;
    commit("good", &WEB.replace("web:1", "web:3"));
    stage.until_serves("web", "3").await?;
    stage.until_app("shop", "Ready", "Ready").await
}

async fn migration_fails(stage: &Stage) -> Outcome {
    stage.begin(API).await?;
    stage.release("1.1.0", "api", "2-fail")?;
    stage.until_app("shop", "Degraded", "").await?;
    stage.until_serves("api", "1").await
}

async fn scale_during_canary(stage: &Stage) -> Outcome {
    stage.begin(MAILER).await?;
    stage.release("1.1.0", "web", "2")?;
    stage
        .until("the canary of web has begun", |world| {
            let web = world
                .person()
                .get(resource("argoproj.io", "rollouts"), "test", "shop-web");
            web.is_some_and(|web| web["status"]["currentStepIndex"].as_i64() >= Some(1))
        })
        .await?;
    stage.world.knobs.set_load("shop-mailer", 4);
    stage.until_app("shop", "Ready", "Ready").await?;
    stage
        .until("four mailers", |world| {
            replicas(world, "shop-mailer") == Some(4)
        })
        .await
}

fn replicas(world: &World, deployment: &str) -> Option<i64> {
    let deployment = world
        .person()
        .get(resource("apps", "deployments"), "test", deployment)?;
    deployment["spec"]["replicas"].as_i64()
}

async fn hand_edit(stage: &Stage) -> Outcome {
    stage.begin(API).await?;
    let container = json!([{"name": "app", "image": "registry.example/api:hacked"}]);
    let patch = json!({"spec": {"template": {"spec": {"containers": container}}}});
    let deployments = resource("apps", "deployments");
    stage.edit(deployments, "shop-api", patch)?;
    let labels = json!({"metadata": {"labels": {"todo-operator.dev/app": "bystander"}}});
    stage.edit(resource("", "services"), "shop-api", labels)?;
    let policies = resource("networking.k8s.io", "networkpolicies");
    let person = stage.world.person();
    if let Some(policy) = person.get(policies, "test", "shop-api") {
        let deleted = person.delete(policies, &policy);
        deleted.map_err(|failure| Violation::new("scenario", failure.message()))?;
    }
    stage
        .until("all of it is put right", |world| {
            let person = world.person();
            let of = |resource, name| person.get(resource, "test", name);
            let image = "/spec/template/spec/containers/0/image";
            let deployment = of(deployments, "shop-api");
            let service = of(resource("", "services"), "shop-api");
            deployment.is_some_and(|deployment| {
                deployment.pointer(image) == Some(&json!("registry.example/api:1"))
            }) && service.is_some_and(|service| {
                service["metadata"]["labels"]["todo-operator.dev/app"] == "shop"
            }) && of(policies, "shop-api").is_some()
        })
        .await?;
    stage.until_app("shop", "Ready", "Ready").await
}

/// What Argo Rollouts has written into our objects is theirs, also when we write these for another reason.
async fn hand_edit_during_canary(stage: &Stage) -> Outcome {
    stage.begin(WEB).await?;
    stage.release("1.1.0", "web", "2")?;
    let weights = resource("traefik.io", "traefikservices");
    let services = resource("", "services");
    stage
        .until("the canary has its weight", |world| {
            let route = world.person().get(weights, "test", "shop-web");
            route.is_some_and(|route| route["spec"]["weighted"]["services"][1]["weight"] == 20)
        })
        .await?;
    let next_step = stage.world.clock.elapsed() + STEP_PAUSE;
    let labels = json!({"metadata": {"labels": {"todo-operator.dev/component": "edited"}}});
    let edited = [
        (weights, "shop-web", "/spec/weighted/services"),
        (services, "shop-web-stable", "/spec/selector"),
        (services, "shop-web-canary", "/spec/selector"),
    ];
    for (resource, name, theirs) in edited {
        let before = stage.world.person().get(resource, "test", name);
        let theirs = |object: &Value| object.pointer(theirs).cloned();
        let theirs_before = before.as_deref().and_then(theirs);
        stage.edit(resource, name, labels.clone())?;
        let mut after = None;
        stage
            .until("it is put right", |world| {
                after = world.person().get(resource, "test", name);
                after.as_ref().is_some_and(|object| {
                    object["metadata"]["labels"]["todo-operator.dev/component"] == "web"
                })
            })
            .await?;
        let is_same_step = stage.world.clock.elapsed() < next_step;
        if is_same_step && after.as_deref().and_then(theirs) != theirs_before {
            let what = format!("{name} lost what Argo Rollouts had written");
            return Err(Violation::new("fields of others", what));
        }
    }
    stage.until_app("shop", "Ready", "Ready").await?;
    stage.until_serves("web", "2").await
}

async fn bad_beside_good(stage: &Stage) -> Outcome {
    stage.begin(WEB).await?;
    stage.rest().await?;
    let since = stage.world.server.read(|store| store.revision());
    // The host is the shop's.
    stage.apply(
        "
apiVersion: todo-operator.dev/v1alpha1
kind: TodoApp
metadata: {name: bad, namespace: test}
spec:
  components: {web: {kind: Site, route: {paths: [/]}}}
  traffic: {host: shop.example, router: Traefik}
  release: {version: 1.0.0, images: [{component: web, image: 'registry.example/web:1'}]}
",
    )?;
    stage
        .until("bad is told so", |world| {
            let bad = world.person().get(APPS, "test", "bad");
            bad.and_then(|bad| oracle::condition(&bad, "Ready"))
                .is_some_and(|ready| ready["status"] == "False")
        })
        .await?;
    stage.rest().await?;
    oracle::untouched(&stage.world, "shop", since)?;
    oracle::untouched(&stage.world, "bystander", since)
}

async fn delete_retains(stage: &Stage) -> Outcome {
    stage.begin(API).await?;
    delete(stage).await
}

async fn delete_deletes(stage: &Stage) -> Outcome {
    stage.begin(API).await?;
    stage.edit(APPS, "shop", json!({"spec": {"deletionPolicy": "Delete"}}))?;
    stage.until_app("shop", "Ready", "Ready").await?;
    delete(stage).await
}

async fn delete(stage: &Stage) -> Outcome {
    let person = stage.world.person();
    let Some(app) = person.get(APPS, "test", "shop") else {
        return Err(Violation::new("scenario", "shop is not there"));
    };
    let deleted = person.delete(APPS, &app);
    deleted.map_err(|failure| Violation::new("scenario", failure.message()))?;
    stage
        .until("shop and its pods are gone", |world| {
            let person = world.person();
            person.get(APPS, "test", "shop").is_none()
                && !person
                    .list(resource("", "pods"))
                    .iter()
                    .any(|pod| pod["metadata"]["labels"][LABEL_APP] == "shop")
        })
        .await
}

async fn two_operators(stage: &Stage) -> Outcome {
    stage.world.keep_operator_running("other");
    stage.begin(API).await?;
    stage.release("1.1.0", "api", "2")?;
    stage.until_app("shop", "Ready", "Ready").await
}

/// Reads manifests, one or more documents.
fn documents(text: &str) -> Result<Vec<Value>, serde_yaml::Error> {
    serde_yaml::Deserializer::from_str(text)
        .map(Value::deserialize)
        .filter(|document| !matches!(document, Ok(Value::Null)))
        .collect()
}
