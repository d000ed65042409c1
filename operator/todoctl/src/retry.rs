//! `todoctl retry`: a TodoIntent that asks to try again what was rejected.

use std::time::Duration;

use clap::Args;
use kube::ResourceExt;
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::wait::await_condition;
use todo_operator_api::intent::{IntentPhase, TodoIntentSpec, TodoIntentStatus, Verb};
use todo_operator_api::{TodoEnvironment, TodoIntent};

use crate::cluster::{Cluster, ClusterError, message};
use crate::error::{Error, Report};
use crate::paint::quoted;

/// Most groups that an intent takes, and the longest name of one.
const GROUPS_MAX: usize = 50;
const GROUP_LENGTH_MAX: usize = 256;

/// Arguments of `todoctl retry`.
#[derive(Args, Debug)]
pub struct Retry {
    /// The TodoApp
    app: String,
    /// Only if this is the release it asks for: a version, or the beginning of a fingerprint
    #[arg(long, short)]
    release: Option<String>,
    /// Why, for those who read it later
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// How long to wait for the operator, as 30s or 2m; 0s does not wait
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = duration)]
    wait: Duration,
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = todo_operator_api::scalar::Duration::from(text);
    let millis = duration
        .as_millis()
        .ok_or("a duration is digits and a unit (ms, s, m, h, d), as 30s")?;
    Ok(Duration::from_millis(millis))
}

/// Runs the command.
pub async fn run(command: &Retry, cluster: &Cluster) -> Result<Report, Error> {
    let environment = environment(command, cluster).await?;
    let intent = intent(command, cluster, &environment).await?;
    let created = match cluster
        .intents()
        .create(&PostParams::default(), &intent)
        .await
    {
        Ok(created) => created,
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 422) => {
            return Ok(Report::bad(format!(
                "refused: {}\n",
                plain(&status.message)
            )));
        }
        Err(source) => {
            return Err(ClusterError::Request {
                what: "TodoIntent".to_owned(),
                source,
            }
            .into());
        }
    };
    let name = created.name_any();
    if command.wait.is_zero() {
        return Ok(Report::good(format!("TodoIntent {name} is created\n")));
    }
    eprintln!("TodoIntent {name} is created; waiting for the operator");
    let status = outcome(command, cluster, &name).await?;
    let said = status.message.as_deref().map(quoted).unwrap_or_default();
    Ok(match status.phase {
        Some(IntentPhase::Refused) => Report::bad(format!("refused: {said}\n")),
        Some(IntentPhase::Ended) => Report::bad(format!("ended: {said}\n")),
        _ => Report::good(format!("done: {said}\n")),
    })
}

/// The environment of the application.
async fn environment(command: &Retry, cluster: &Cluster) -> Result<String, ClusterError> {
    let namespace = &cluster.namespace;
    if cluster.app(namespace, &command.app).await?.is_none() {
        return Err(ClusterError::NotFound {
            what: format!("TodoApp {} in namespace {namespace}", command.app),
            hint: ": give its namespace with -n".to_owned(),
        });
    }
    let mut environments: Vec<TodoEnvironment> = cluster.environments(Some(namespace)).await?;
    match (environments.pop(), environments.pop()) {
        (Some(only), None) => Ok(only.name_any()),
        (None, _) => Err(ClusterError::NotFound {
            what: format!("TodoEnvironment whose spec.namespace is {namespace}"),
            hint: ": an intent names one".to_owned(),
        }),
        (Some(_), Some(_)) => Err(ClusterError::NotFound {
            what: format!("single TodoEnvironment whose spec.namespace is {namespace}"),
            hint: ": delete all but one".to_owned(),
        }),
    }
}

async fn intent(
    command: &Retry,
    cluster: &Cluster,
    environment: &str,
) -> Result<TodoIntent, ClusterError> {
    let user = cluster.who_am_i().await?;
    let groups = user.groups.unwrap_or_default().into_iter();
    let groups = groups
        .filter(|group| group.len() <= GROUP_LENGTH_MAX)
        .take(GROUPS_MAX);
    let spec = TodoIntentSpec {
        verb: Verb::Retry,
        environment: environment.to_owned(),
        app: Some(command.app.clone()),
        release: command.release.clone(),
        skip: Vec::new(),
        until: None,
        reason: command.reason.clone(),
        user: user.username.unwrap_or_default(),
        groups: groups.collect(),
    };
    let metadata = ObjectMeta {
        generate_name: Some(format!("retry-{}-", command.app)),
        ..ObjectMeta::default()
    };
    Ok(TodoIntent {
        metadata,
        spec,
        status: None,
    })
}

/// Waits until the operator has dealt with the intent.
async fn outcome(
    command: &Retry,
    cluster: &Cluster,
    name: &str,
) -> Result<TodoIntentStatus, ClusterError> {
    let is_settled = |intent: Option<&TodoIntent>| {
        phase(intent).is_some_and(|phase| phase != IntentPhase::Active)
    };
    let settled = tokio::time::timeout(
        command.wait,
        await_condition(cluster.intents(), name, is_settled),
    )
    .await;
    let late = |why: String| {
        ClusterError::Late(format!(
            "TodoIntent {name} {why}: the operator carries it out when it runs; to withdraw it: kubectl delete todointent {name}"
        ))
    };
    match settled {
        Ok(Ok(intent)) => Ok(intent.and_then(|intent| intent.status).unwrap_or_default()),
        Ok(Err(error)) => Err(late(format!(
            "cannot be watched ({})",
            watch_message(&error)
        ))),
        Err(_) => Err(late(format!(
            "was not carried out within {} s",
            command.wait.as_secs_f32()
        ))),
    }
}

fn phase(intent: Option<&TodoIntent>) -> Option<IntentPhase> {
    intent?.status.as_ref()?.phase
}

fn watch_message(error: &kube::runtime::wait::Error) -> String {
    match std::error::Error::source(error).and_then(|source| source.downcast_ref::<kube::Error>()) {
        Some(error) => message(error),
        None => error.to_string(),
    }
}

/// The policy's own words, without the frame that the API server puts around them.
fn plain(message: &str) -> String {
    let words = message
        .split_once("denied request: ")
        .map_or(message, |(_, words)| words);
    quoted(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_the_words_of_the_policy() {
        let message = "todointents.todo-operator.dev \"retry-demo-x\" is forbidden: ValidatingAdmissionPolicy 'todo-intents' with \
                       binding 'todo-intents' denied request: ann must not retry in environment test";
        assert_eq!(plain(message), "ann must not retry in environment test");
        assert_eq!(plain("something else"), "something else");
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert!(duration("30").is_err());
    }
}
