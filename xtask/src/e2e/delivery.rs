//! The three stages of `config-repo`, as a repository of the cluster's git server and through Argo CD, or as manifests that
//! somebody applies.

use std::time::Duration;

use anyhow::{Context as _, Result};
use kube::api::{Api, DynamicObject};
use serde_json::{Value, json};

use super::case::Context;
use super::objects::{self, APP, ENVIRONMENT, Kind, NAMESPACE, SERVICE, until};
use super::platform::Platform;
use super::recorder::Recorder;
use super::stage::{NAME, is_ready};
use crate::config_repo::{Author, MAIN, Repository, STAGES, fill};
use crate::up::secrets;

const AUTHOR: Author = Author {
    name: "ci",
    email: "ci@localhost",
};
const PATIENCE: Duration = Duration::from_secs(180);

pub const APPLICATION: Kind = Kind("argoproj.io/v1alpha1", "Application");
const APPLICATION_SET: Kind = Kind("argoproj.io/v1alpha1", "ApplicationSet");
const PROJECT: Kind = Kind("argoproj.io/v1alpha1", "AppProject");
const ARGO_CD: &str = "argocd";

/// The namespace of a stage.
pub fn namespace(stage: &str) -> String {
    format!("todo-{stage}")
}

/// What is delivered, and where to.
pub struct Delivery<'a> {
    pub platform: &'a Platform,
    pub record: &'a Recorder,
    pub repository: Repository,
    /// Where the repository is pushed to from here.
    server: String,
}

impl<'a> Delivery<'a> {
    /// Makes the repository, with the first version's image. What an earlier case has left behind goes first.
    pub async fn prepare(context: &'a Context) -> Result<Self> {
        let (platform, record) = (&context.platform, &context.record);
        clear(platform).await?;
        let services = objects::api(&platform.client, SERVICE, Some("git"));
        let server = match objects::get(&services, "git").await? {
            Some(service) => {
                let address = service["spec"]["clusterIP"]
                    .as_str()
                    .context("the git server has no address")?;
                format!("http://{address}/config.git")
            }
            None => String::new(),
        };
        let directory = platform.cluster.state().join("config-repo");
        let template = crate::repository::root()?.join("config-repo");
        fill(&template, &directory, &platform.images["v1"])?;
        let repository = Repository::create(&directory, AUTHOR).await?;
        Ok(Self {
            platform,
            record,
            repository,
            server,
        })
    }

    /// Pushes what is committed, without force but for the first time: the server may have what an earlier case has left.
    pub async fn push(&self, is_first: bool) -> Result<()> {
        let mut push = vec!["push", "--quiet", &self.server, MAIN];
        if is_first {
            push.push("--force");
        }
        self.repository.git(&push).await?;
        self.record.mark("user", "pushes to the repository");
        Ok(())
    }

    /// Applies one of the repository's kustomizations.
    pub async fn apply(&self, folder: &str) -> Result<()> {
        let path = self.repository.directory().join(folder);
        let path = path.to_string_lossy();
        let arguments = ["apply", "--server-side", "--force-conflicts", "-k", &path];
        self.platform.kubectl.run(&arguments).await
    }

    /// Makes the Secrets that no repository holds, once their namespaces are there.
    pub async fn make_secrets(&self) -> Result<()> {
        let namespaces = STAGES.map(namespace);
        let client = &self.platform.client;
        until("the stages have namespaces", PATIENCE, async || {
            for name in &namespaces {
                if objects::get(&objects::api(client, NAMESPACE, None), name)
                    .await?
                    .is_none()
                {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
        .await?;
        secrets::ensure(client, &namespaces).await?;
        self.record
            .mark("user", "makes the Secrets, outside of Argo CD");
        Ok(())
    }

    /// The TodoApp of a stage; none if there is none.
    pub async fn app(&self, stage: &str) -> Result<Option<Value>> {
        let apps = objects::api(&self.platform.client, APP, Some(&namespace(stage)));
        objects::get(&apps, NAME).await
    }

    /// Whether the TodoApps of all stages are Ready.
    pub async fn are_ready(&self) -> Result<bool> {
        for stage in STAGES {
            if !self.app(stage).await?.is_some_and(|app| is_ready(&app)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What Argo CD says of a stage.
    pub async fn application(&self, stage: &str) -> Result<Option<Opinion>> {
        let found = objects::get(&self.applications(), &namespace(stage)).await?;
        Ok(found.as_ref().map(Opinion::of))
    }

    /// Syncs a stage, as a person does who says so.
    pub async fn sync(&self, stage: &str) -> Result<()> {
        let operation = json!({
            "operation": {
                "initiatedBy": {"username": "somebody"},
                "sync": {"syncOptions": ["ServerSideApply=true"]},
            },
        });
        self.record.mark("user", format!("syncs {stage}"));
        objects::meddle(&self.applications(), &namespace(stage), operation).await
    }

    /// Removes Argo CD's objects, then the applications with their data, then the stages.
    pub async fn clear(&self) -> Result<()> {
        clear(self.platform).await
    }

    fn applications(&self) -> Api<DynamicObject> {
        objects::api(&self.platform.client, APPLICATION, Some(ARGO_CD))
    }
}

/// What Argo CD says of an Application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opinion {
    /// `Synced` or `OutOfSync`.
    pub sync: String,
    /// `Healthy`, `Progressing`, `Degraded` …
    pub health: String,
}

impl Opinion {
    fn of(application: &Value) -> Self {
        let text = |what: &str| {
            let status = application["status"][what]["status"].as_str();
            status.unwrap_or("nothing").to_owned()
        };
        Self {
            sync: text("sync"),
            health: text("health"),
        }
    }

    /// Whether nothing is left to do.
    pub fn is_good(&self) -> bool {
        self.sync == "Synced" && self.health == "Healthy"
    }
}

async fn clear(platform: &Platform) -> Result<()> {
    let client = &platform.client;
    for (kind, names) in [
        (APPLICATION_SET, vec!["todo".to_owned()]),
        (
            APPLICATION,
            [
                vec!["todo-platform".to_owned()],
                STAGES.map(namespace).into(),
            ]
            .concat(),
        ),
        (PROJECT, vec!["todo".to_owned(), "todo-platform".to_owned()]),
    ] {
        let api = objects::api(client, kind, Some(ARGO_CD));
        for name in names {
            objects::delete(&api, &name, PATIENCE).await?;
        }
    }
    for stage in STAGES {
        let namespace = namespace(stage);
        objects::remove_app(&objects::api(client, APP, Some(&namespace)), NAME, PATIENCE).await?;
        objects::postgres_ends(client, &namespace, PATIENCE).await?;
        objects::delete(&objects::api(client, ENVIRONMENT, None), stage, PATIENCE).await?;
        objects::delete(&objects::api(client, NAMESPACE, None), &namespace, PATIENCE).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn argo_cd_is_of_no_opinion_before_it_has_looked() {
        let opinion = Opinion::of(&json!({}));
        assert_eq!(
            (opinion.sync.as_str(), opinion.is_good()),
            ("nothing", false)
        );
        let status =
            json!({"status": {"sync": {"status": "Synced"}, "health": {"status": "Healthy"}}});
        assert!(Opinion::of(&status).is_good());
    }
}
