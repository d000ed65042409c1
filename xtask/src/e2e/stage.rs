//! A stage of its own for a case: a namespace, a TodoEnvironment and the demonstration application, made of those of
//! `config-repo` by merge patches that say what is different.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use kube::api::{Api, DynamicObject};
use serde_json::{Value, json};

use super::case::Context;
use super::objects::{
    self, APP, ENVIRONMENT, Kind, NAMESPACE, apply, ask_to_go, delete, merge, until,
};
use super::platform::Platform;
use super::recorder::Recorder;

/// The name of the application.
pub const NAME: &str = "demo";
/// How long anything may take to go away.
const FAREWELL: Duration = Duration::from_secs(180);

/// A stage. What it was made of stays when it is dropped; see [`Stage::remove`].
pub struct Stage<'a> {
    pub platform: &'a Platform,
    pub record: &'a Recorder,
    /// Of the namespace and of the TodoEnvironment.
    pub name: String,
    app: Mutex<Value>,
}

impl<'a> Stage<'a> {
    /// Makes the stage, without an application yet. The patches are of the application's spec, one after the other; what an
    /// earlier case has left behind goes first.
    pub async fn create(context: &'a Context, patches: &[Value]) -> Result<Self> {
        let (platform, record) = (&context.platform, &context.record);
        let name = format!("e2e-{}", context.name);
        let mut manifests = platform
            .kustomization("config-repo/environments/test")
            .await?;
        manifests.extend(platform.kustomization("config-repo/platform/test").await?);
        let find = |kind: Kind| {
            let found = manifests.iter().find(|object| object["kind"] == kind.1);
            found
                .cloned()
                .with_context(|| format!("config-repo has no {} for test", kind.1))
        };
        let (mut demo, mut stage) = (find(APP)?, find(ENVIRONMENT)?);
        merge(&mut demo, &own_app(&name, &platform.images["v1"]));
        for patch in patches {
            merge(&mut demo["spec"], patch);
        }
        keep_images_of_components(&mut demo);
        merge(&mut stage, &own_environment(&name));
        let this = Self {
            platform,
            record,
            name,
            app: Mutex::new(demo),
        };
        this.clear().await?;
        let namespace = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": this.name, "labels": {"todo-operator.dev/environment": this.name}},
        });
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "demo-token", "namespace": this.name},
            "stringData": {"token": "only-for-tests"},
        });
        for object in [&namespace, &stage, &secret] {
            apply(&platform.client, object).await?;
        }
        Ok(this)
    }

    /// The API of a kind in this namespace.
    pub fn api(&self, kind: Kind) -> Api<DynamicObject> {
        objects::api(&self.platform.client, kind, Some(&self.name))
    }

    /// Changes the application's spec by a merge patch, and applies it.
    pub async fn apply(&self, patch: Value) -> Result<()> {
        self.apply_each(&[patch]).await
    }

    /// Changes the application's spec by merge patches, one after the other, and applies it.
    async fn apply_each(&self, patches: &[Value]) -> Result<()> {
        let app = {
            let mut app = self.lock();
            for patch in patches {
                merge(&mut app["spec"], patch);
            }
            keep_images_of_components(&mut app);
            app.clone()
        };
        apply(&self.platform.client, &app).await
    }

    /// Releases other images of some components, and whatever else the patch of the spec says.
    pub async fn release(
        &self,
        version: &str,
        images: &[(&str, &str)],
        patch: Value,
    ) -> Result<()> {
        let mut all = self.lock()["spec"]["release"]["images"].clone();
        for image in all.as_array_mut().into_iter().flatten() {
            let component = image["component"].as_str().unwrap_or_default();
            if let Some((_, version)) = images.iter().find(|(name, _)| *name == component) {
                let known = self.platform.images.get(version);
                let known =
                    known.with_context(|| format!("there is no image of version {version}"))?;
                image["image"] = known.as_str().into();
            }
        }
        let release = json!({"release": {"version": version, "images": all}});
        let changed: Vec<_> = images.iter().map(|(component, _)| *component).collect();
        let of = if changed.is_empty() {
            String::new()
        } else {
            format!(" of {}", changed.join(", "))
        };
        self.record.mark("user", format!("releases {version}{of}"));
        self.apply_each(&[release, patch]).await
    }

    /// The TodoApp as it is.
    pub async fn app(&self) -> Result<Value> {
        let app = objects::get(&self.api(APP), NAME).await?;
        app.with_context(|| format!("there is no TodoApp {NAME} in {}", self.name))
    }

    /// Waits until the application is Ready.
    pub async fn ready(&self, patience: Duration) -> Result<()> {
        let mut last = Value::Null;
        let waited = until("the application is Ready", patience, async || {
            last = self.app().await?;
            Ok(is_ready(&last).then_some(()))
        })
        .await;
        waited.with_context(|| summary(&last))
    }

    /// Waits until what the spec asks for was rejected; gives the reason.
    pub async fn rejected(&self, patience: Duration) -> Result<String> {
        let mut last = Value::Null;
        let waited = until("the release is rejected", patience, async || {
            last = self.app().await?;
            let released = current(&last, "Released");
            let rejected = released.filter(|condition| condition["reason"] == "ReleaseRejected");
            Ok(rejected
                .map(|condition| condition["message"].as_str().unwrap_or_default().to_owned()))
        })
        .await;
        waited.with_context(|| summary(&last))
    }

    /// Removes what an earlier case of this name has left, also what it has left on purpose.
    async fn clear(&self) -> Result<()> {
        let namespaces = objects::api(&self.platform.client, NAMESPACE, None);
        if objects::get(&namespaces, &self.name).await?.is_some() {
            self.remove().await?;
            delete(&namespaces, &self.name, FAREWELL).await?;
            self.platform.delete_kafka_topics(&self.topic("")).await?;
        }
        Ok(())
    }

    /// Removes everything of this stage, databases and topics too. The namespace goes when its last pod has said farewell to its
    /// users, which nobody waits for.
    pub async fn remove(&self) -> Result<()> {
        let client = &self.platform.client;
        objects::remove_app(&self.api(APP), NAME, FAREWELL).await?;
        objects::postgres_ends(client, &self.name, FAREWELL).await?;
        ask_to_go(&objects::api(client, ENVIRONMENT, None), &self.name).await?;
        ask_to_go(&objects::api(client, NAMESPACE, None), &self.name).await
    }

    /// The topic's name in Kafka.
    pub fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.name)
    }

    /// The host by which users reach the application.
    pub fn host(&self) -> String {
        format!("{}.localhost", self.name)
    }

    fn lock(&self) -> MutexGuard<'_, Value> {
        // What is guarded is complete after every statement.
        self.app.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn own_app(name: &str, image: &str) -> Value {
    let images =
        ["api", "web", "worker"].map(|component| json!({"component": component, "image": image}));
    json!({
        "metadata": {"namespace": name},
        "spec": {
            "traffic": {"host": format!("{name}.localhost")},
            "release": {"version": "v1", "images": images, "config": null},
        },
    })
}

/// Fast measurements, and no quota that a case would have to think of.
fn own_environment(name: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "namespace": name,
            "source": null,
            "promotion": null,
            "policy": {"quota": null},
            "analysis": {
                "prometheus": "http://prometheus.monitoring.svc:9090",
                "delay": "4s",
                "interval": "2s",
                "window": "5s",
            },
        },
    })
}

/// A release names images of components that there are.
fn keep_images_of_components(app: &mut Value) {
    let spec = &mut app["spec"];
    let components = spec["components"].clone();
    if let Some(images) = spec["release"]["images"].as_array_mut() {
        images.retain(|image| {
            image["component"]
                .as_str()
                .is_some_and(|name| !components[name].is_null())
        });
    }
}

/// A condition that speaks of the current spec.
pub fn current<'v>(app: &'v Value, kind: &str) -> Option<&'v Value> {
    let generation = &app["metadata"]["generation"];
    let conditions = app["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| {
        condition["type"] == kind && condition["observedGeneration"] == *generation
    })
}

/// Whether the current spec is Ready.
pub fn is_ready(app: &Value) -> bool {
    current(app, "Ready").is_some_and(|ready| ready["status"] == "True")
}

fn summary(app: &Value) -> String {
    let said = current(app, "Ready").map(|ready| {
        let text = |name: &str| ready[name].as_str().unwrap_or_default().to_owned();
        format!("{}: {}", text("reason"), text("message"))
    });
    said.unwrap_or_else(|| "the operator has not seen the current spec".to_owned())
}

/// Fails with a message unless something holds.
pub fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<()> {
    if !holds {
        bail!(what());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_counts_for_the_current_spec_alone() {
        let app = |generation: i64, status: &str| {
            json!({
                "metadata": {"generation": 2},
                "status": {"conditions": [{"type": "Ready", "status": status, "observedGeneration": generation,
                                            "reason": "ComponentPaused", "message": "web waits"}]},
            })
        };
        assert!(is_ready(&app(2, "True")));
        assert!(!is_ready(&app(1, "True")));
        assert!(!is_ready(&app(2, "False")));
        assert!(!is_ready(&json!({})));
        assert_eq!(summary(&app(2, "False")), "ComponentPaused: web waits");
    }

    #[test]
    fn images_of_components_that_are_left_out_go_with_them() {
        let mut app = json!({"spec": {
            "components": {"web": {}},
            "release": {"images": [{"component": "web", "image": "a"}, {"component": "api", "image": "a"}]},
        }});
        keep_images_of_components(&mut app);
        assert_eq!(
            app["spec"]["release"]["images"].as_array().unwrap().len(),
            1
        );
    }
}
