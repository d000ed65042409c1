//! Programs that run in a pod of a stage: to its end, or until they are told to stop.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, LogParams};
use serde_json::{Value, json};

use super::objects::{self, POD, apply, delete, until};
use super::stage::Stage;

const FAREWELL: Duration = Duration::from_secs(60);

/// A program in a pod.
pub struct Task {
    /// Of the pod.
    pub name: &'static str,
    pub image: String,
    /// What is started; the image's own program if empty.
    pub command: Vec<String>,
    pub arguments: Vec<String>,
    pub variables: Vec<(String, String)>,
    /// Volumes of the pod that the container has at their path: Kubernetes' own description of the volume, and the path.
    pub volumes: Vec<(Value, String)>,
}

impl Stage<'_> {
    /// The demonstration service with the names that its pods have for Kafka.
    pub fn kafka_task(&self, name: &'static str, arguments: &[&str]) -> Task {
        let variables = [
            ("KAFKA_BOOTSTRAP_SERVERS", "kafka.kafka.svc:9092".to_owned()),
            ("TOPIC_ORDERS", self.topic("orders")),
            ("TOPIC_PROCESSED", self.topic("processed")),
            ("POD_NAME", name.to_owned()),
        ];
        Task {
            name,
            image: self.platform.images["v1"].clone(),
            command: Vec::new(),
            arguments: arguments
                .iter()
                .map(|argument| (*argument).to_owned())
                .collect(),
            variables: variables
                .map(|(name, value)| (name.to_owned(), value))
                .into(),
            volumes: Vec::new(),
        }
    }

    /// Starts a program.
    pub async fn start(&self, task: &Task) -> Result<()> {
        delete(&self.api(POD), task.name, FAREWELL).await?;
        apply(&self.platform.client, &manifest(task, &self.name)).await
    }

    /// Waits until a program has ended, and gives what it has written, also where it has failed.
    pub async fn end(&self, name: &str, patience: Duration) -> Result<Ended> {
        let pods = self.api(POD);
        let phase = until(&format!("{name} ends"), patience, async || {
            let pod = objects::get(&pods, name).await?;
            let phase =
                pod.with_context(|| format!("there is no pod {name}"))?["status"]["phase"].clone();
            let phase = phase.as_str().unwrap_or_default().to_owned();
            Ok(["Succeeded", "Failed"]
                .contains(&phase.as_str())
                .then_some(phase))
        })
        .await?;
        let logs: Api<Pod> = Api::namespaced(self.platform.client.clone(), &self.name);
        let log = logs.logs(name, &LogParams::default()).await;
        let log = log.with_context(|| format!("cannot read what {name} has written"))?;
        delete(&pods, name, FAREWELL).await?;
        Ok(Ended {
            is_good: phase == "Succeeded",
            log,
        })
    }

    /// Runs a program, which must end well.
    pub async fn run(&self, task: &Task, patience: Duration) -> Result<String> {
        self.start(task).await?;
        let ended = self.end(task.name, patience).await?;
        if !ended.is_good {
            bail!("{} has failed: {}", task.name, ended.log.trim());
        }
        Ok(ended.log)
    }
}

/// What a program leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub is_good: bool,
    pub log: String,
}

impl Ended {
    /// The last line that is a JSON object with a field of this name: what the demonstration service reports.
    pub fn report(&self, field: &str) -> Result<Value> {
        let lines = self.log.lines().rev();
        let mut objects = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let report = objects.find(|object| !object[field].is_null());
        report.with_context(|| format!("there is no report with {field} in: {}", self.log))
    }
}

/// A pod as the Pod Security level `restricted` wants it.
fn manifest(task: &Task, namespace: &str) -> Value {
    let environment: Vec<_> = task
        .variables
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    let names = (0..task.volumes.len()).map(|number| format!("volume-{number}"));
    let (mut volumes, mut mounts) = (Vec::new(), Vec::new());
    for (name, (volume, path)) in names.zip(&task.volumes) {
        let mut volume = volume.clone();
        volume["name"] = name.as_str().into();
        volumes.push(volume);
        mounts.push(json!({"name": name, "mountPath": path, "readOnly": true}));
    }
    let mut container = json!({
        "name": "task",
        "image": task.image,
        "imagePullPolicy": "IfNotPresent",
        "args": task.arguments,
        "env": environment,
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": mounts,
    });
    if !task.command.is_empty() {
        container["command"] = json!(task.command);
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": task.name, "namespace": namespace},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": 5,
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": 65532,
                "runAsGroup": 65532,
                "fsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": volumes,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_is_the_last_one_among_lines_of_the_log() {
        let log =
            "{\"level\":\"INFO\"}\n{\"produced\":1}\nnoise\n{\"produced\":2,\"processed\":2}\n";
        let ended = Ended {
            is_good: true,
            log: log.to_owned(),
        };
        assert_eq!(ended.report("produced").unwrap()["produced"], 2);
        assert!(ended.report("missing").is_err());
    }

    #[test]
    fn volumes_are_where_they_are_asked_for() {
        let task = Task {
            name: "psql",
            image: "x".to_owned(),
            command: vec!["psql".to_owned()],
            arguments: Vec::new(),
            variables: Vec::new(),
            volumes: vec![(json!({"secret": {"secretName": "s"}}), "/etc/x".to_owned())],
        };
        let pod = manifest(&task, "n");
        assert_eq!(
            pod["spec"]["volumes"],
            json!([{"name": "volume-0", "secret": {"secretName": "s"}}])
        );
        let container = &pod["spec"]["containers"][0];
        assert_eq!(container["volumeMounts"][0]["mountPath"], "/etc/x");
        assert_eq!(container["command"], json!(["psql"]));
    }
}
