//! Kafka is away for a minute, the operator is killed, the node loses power: all comes back by itself, and nothing is lost.

use std::time::Duration;

use anyhow::Result;
use futures::FutureExt as _;
use jiff::Timestamp;
use kube::api::{DeleteParams, ListParams};
use localcluster::Part;
use localcluster::peers::Product;
use serde_json::{Value, json};

use crate::e2e::case::{Case, Context};
use crate::e2e::objects::{self, DEPLOYMENT, Kind, POD, until};
use crate::e2e::stage::{Stage, ensure};
use crate::e2e::watch::{REPLICAS, watch_lag};
use crate::e2e::web::Web;

pub const CASE: Case = Case {
    name: "outage",
    shows: "Kafka away for a minute, the operator killed, the node restarted: all comes back by itself",
    is_quick: false,
    needs: &[
        Product::CloudNativePg,
        Product::Kafka,
        Product::Keda,
        Product::Prometheus,
        Product::Traefik,
    ],
    run: |context| run(context).boxed_local(),
};

const PATIENCE: Duration = Duration::from_secs(300);
const AWAY: Duration = Duration::from_secs(60);
const BROKER: Kind = Kind("apps/v1", "StatefulSet");
const OPERATOR: &str = "todo-operator";

async fn run(context: &Context) -> Result<()> {
    let app = json!({"components": {"backup": null, "web": {"rollout": null}}});
    let stage = Stage::create(context, &[app]).await?;
    let record = &context.record;
    record.chart(REPLICAS);
    let _watch = stage.watch();
    stage.apply(json!({})).await?;
    stage.ready(PATIENCE).await?;
    let _lag = watch_lag(&stage).await?;
    let web = Web::new(&context.platform.entrance().await?, Some(&stage.host()));
    let entries = [
        "before",
        "after Kafka",
        "after the operator",
        "after the node",
    ];
    web.write_entry(entries[0], PATIENCE).await?;

    record.mark("users", "20 messages a second for 100 s");
    let produce = [
        "produce",
        "--keys",
        "10",
        "--rate",
        "20",
        "--duration",
        "100s",
    ];
    stage.start(&stage.kafka_task("produce", &produce)).await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    kafka_is_away(&stage).await?;
    web.write_entry(entries[1], PATIENCE).await?;
    operator_is_killed(&stage).await?;
    web.write_entry(entries[2], PATIENCE).await?;
    let produced = stage.end("produce", PATIENCE).await?;
    record.mark(
        "users",
        format!(
            "{} messages were produced",
            produced.report("messages")?["messages"]
        ),
    );
    ensure(produced.is_good, || {
        format!("not every message could be produced: {}", produced.log)
    })?;
    node_restarts(&stage).await?;
    web.write_entry(entries[3], PATIENCE).await?;

    let check = stage.kafka_task("check", &["check", "--wait", "120s"]);
    stage.start(&check).await?;
    let checked = stage.end(check.name, PATIENCE).await?;
    let report = checked.report("produced")?;
    record.mark("check", report.to_string());
    ensure(checked.is_good, || {
        format!("messages were lost or out of order: {report}")
    })?;
    let kept = web.get("/entries").await?.to_string();
    ensure(entries.iter().all(|entry| kept.contains(entry)), || {
        format!("entries are lost: {kept}")
    })?;
    record.mark("check", format!("the {} entries are there", entries.len()));
    stage.remove().await
}

async fn kafka_is_away(stage: &Stage<'_>) -> Result<()> {
    let brokers = objects::api(&stage.platform.client, BROKER, Some("kafka"));
    stage.record.mark("somebody", "takes Kafka away");
    objects::meddle(&brokers, "kafka", json!({"spec": {"replicas": 0}})).await?;
    tokio::time::sleep(AWAY).await;
    stage.record.mark("somebody", "brings Kafka back");
    objects::meddle(&brokers, "kafka", json!({"spec": {"replicas": 1}})).await?;
    until("Kafka serves", PATIENCE, async || {
        let broker = objects::get(&brokers, "kafka").await?;
        let ready = broker.and_then(|broker| broker["status"]["readyReplicas"].as_i64());
        Ok((ready == Some(1)).then_some(()))
    })
    .await?;
    stage.record.mark("kafka", "serves again");
    stage.ready(PATIENCE).await
}

/// Its pod goes without a farewell; what is tampered with meanwhile is put right by the next.
async fn operator_is_killed(stage: &Stage<'_>) -> Result<()> {
    let pods = objects::api(&stage.platform.client, POD, Some(OPERATOR));
    let selector = ListParams::default().labels("app.kubernetes.io/name=todo-operator");
    stage.record.mark(
        "somebody",
        "kills the operator, and removes a Deployment meanwhile",
    );
    for pod in pods.list(&selector).await? {
        let name = pod.metadata.name.unwrap_or_default();
        pods.delete(&name, &DeleteParams::default().grace_period(0))
            .await?;
    }
    let deployments = stage.api(DEPLOYMENT);
    deployments
        .delete("demo-worker", &DeleteParams::background())
        .await?;
    until("the Deployment is there again", PATIENCE, async || {
        let deployment = objects::get(&deployments, "demo-worker").await?;
        let lives = deployment.is_some_and(|d| d["metadata"]["deletionTimestamp"].is_null());
        Ok(lives.then_some(()))
    })
    .await?;
    stage
        .record
        .mark("operator", "the Deployment is there again");
    stage.ready(PATIENCE).await
}

/// Everything on the node ends at once, as when it loses power.
async fn node_restarts(stage: &Stage<'_>) -> Result<()> {
    stage
        .record
        .mark("somebody", "turns the node off, and on again");
    let off = Timestamp::now();
    stage
        .platform
        .cluster
        .restart_part(Part::Namespaces)
        .await?;
    stage.record.mark("node", "runs again");
    for namespace in [&stage.name, "kafka"] {
        let pods = objects::api(&stage.platform.client, POD, Some(namespace));
        let what = format!("every pod in {namespace} is ready again");
        until(&what, PATIENCE, async || {
            let pods = pods.list(&ListParams::default()).await?;
            let mut pods = pods.items.iter().map(|pod| json!(pod));
            Ok(pods.all(|pod| is_ready_since(off, &pod)).then_some(()))
        })
        .await?;
    }
    stage.ready(PATIENCE).await
}

/// Whether a pod has become ready again since then, or has done what it had to. (Its old status stays until the kubelet looks.)
fn is_ready_since(off: Timestamp, pod: &Value) -> bool {
    let status = &pod["status"];
    let all_of = |list: &str, holds: &dyn Fn(&Value) -> bool| {
        let items = status[list].as_array();
        items.is_some_and(|items| items.iter().all(holds))
    };
    let is_new = |container: &Value| {
        let started = container["state"]["running"]["startedAt"].as_str();
        let started = started.and_then(|started| started.parse::<Timestamp>().ok());
        started.is_some_and(|started| started > off)
    };
    let is_true = |condition: &Value| condition["type"] != "Ready" || condition["status"] == "True";
    status["phase"] == "Succeeded"
        || all_of("containerStatuses", &is_new) && all_of("conditions", &is_true)
}
