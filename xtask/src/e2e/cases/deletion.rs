//! An application that is deleted leaves its databases and topics; with `deletionPolicy: Delete` it leaves nothing.

use std::time::Duration;

use anyhow::Result;
use futures::FutureExt as _;
use kube::api::ListParams;
use localcluster::peers::Product;
use serde_json::{Value, json};

use crate::e2e::case::{Case, Context};
use crate::e2e::objects::{self, APP, DEPLOYMENT, Kind, POD, SERVICE, until};
use crate::e2e::stage::{NAME, Stage, ensure};
use crate::e2e::web::Web;

pub const CASE: Case = Case {
    name: "deletion",
    shows: "an app is deleted: workloads go, databases and topics stay; deletionPolicy Delete removes all",
    is_quick: false,
    needs: &[
        Product::CloudNativePg,
        Product::Kafka,
        Product::Keda,
        Product::Traefik,
    ],
    run: |context| run(context).boxed_local(),
};

const WORKLOADS: [Kind; 5] = [
    DEPLOYMENT,
    SERVICE,
    Kind("keda.sh/v1alpha1", "ScaledObject"),
    Kind("traefik.io/v1alpha1", "IngressRoute"),
    Kind("networking.k8s.io/v1", "NetworkPolicy"),
];
const DATABASES: [Kind; 3] = [
    Kind("postgresql.cnpg.io/v1", "Cluster"),
    Kind("postgresql.cnpg.io/v1", "Database"),
    Kind("v1", "PersistentVolumeClaim"),
];
const PATIENCE: Duration = Duration::from_secs(120);
const ENTRY: &str = "written before the deletion";

async fn run(context: &Context) -> Result<()> {
    let app = json!({"components": {"backup": null, "web": {"rollout": null}}});
    let stage = Stage::create(context, &[app]).await?;
    let record = &context.record;
    let _watch = stage.watch();
    stage.apply(json!({})).await?;
    stage.ready(Duration::from_secs(300)).await?;
    let web = Web::new(&context.platform.entrance().await?, Some(&stage.host()));
    web.write_entry(ENTRY, PATIENCE).await?;
    let produce = ["produce", "--messages", "50", "--rate", "100"];
    stage
        .run(&stage.kafka_task("produce", &produce), PATIENCE)
        .await?;
    record.mark("user", "has written an entry and 50 messages");
    let (before, topics) = (uids(&stage, &DATABASES).await?, topics(&stage).await?);
    ensure(!before.is_empty() && topics.len() == 3, || {
        format!("{before:?} {topics:?}")
    })?;

    record.mark("user", "deletes the TodoApp");
    objects::delete(&stage.api(APP), NAME, PATIENCE).await?;
    until("every workload is gone", PATIENCE, async || {
        let (left, pods) = (uids(&stage, &WORKLOADS).await?, pods(&stage).await?);
        Ok((left.is_empty() && pods == 0).then_some(()))
    })
    .await?;
    record.mark("operator", "every workload is gone");
    // What would be deleted by mistake would be within seconds.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (now, kept) = (uids(&stage, &DATABASES).await?, self::topics(&stage).await?);
    ensure(now == before, || {
        format!("of the databases {before:?} there are {now:?}")
    })?;
    ensure(kept == topics, || {
        format!("of the topics {topics:?} there are {kept:?}")
    })?;
    record.mark(
        "case",
        format!(
            "{} objects of databases and the topics {} are there",
            now.len(),
            kept.join(", ")
        ),
    );

    record.mark("user", "makes it again");
    stage.apply(json!({})).await?;
    stage.ready(Duration::from_secs(240)).await?;
    until("the entry can be read again", PATIENCE, async || {
        let entries = web.get("/entries").await?;
        Ok(entries.to_string().contains(ENTRY).then_some(()))
    })
    .await?;
    let check = stage.kafka_task("check", &["check", "--wait", "60s"]);
    let checked = stage.run(&check, PATIENCE).await?;
    ensure(checked.contains("\"produced\":50"), || checked.clone())?;
    record.mark("case", "the entry and the 50 messages are there");

    record.mark("user", "sets deletionPolicy: Delete, and deletes it");
    stage.apply(json!({"deletionPolicy": "Delete"})).await?;
    stage.ready(PATIENCE).await?;
    objects::delete(&stage.api(APP), NAME, PATIENCE).await?;
    until("everything is gone", PATIENCE, async || {
        let kinds = [&WORKLOADS[..], &DATABASES].concat();
        let (left, topics) = (uids(&stage, &kinds).await?, self::topics(&stage).await?);
        Ok((left.is_empty() && topics.is_empty() && pods(&stage).await? == 0).then_some(()))
    })
    .await?;
    record.mark("operator", "nothing is left");
    stage.remove().await
}

/// Who the application's objects of some kinds are, by kind and name.
async fn uids(stage: &Stage<'_>, kinds: &[Kind]) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for kind in kinds {
        let listed = stage.api(*kind).list(&ListParams::default()).await?;
        let own = listed
            .items
            .iter()
            .map(|object| json!(object))
            .filter(of_the_app);
        found.extend(own.map(|object| {
            let text = |field: &str| {
                object["metadata"][field]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            };
            (format!("{} {}", kind.1, text("name")), text("uid"))
        }));
    }
    found.sort();
    Ok(found)
}

/// By its label; a volume bears none of ours, but its database's name. What CloudNativePG makes for a database goes with it.
fn of_the_app(object: &Value) -> bool {
    let metadata = &object["metadata"];
    let is_volume = object["kind"] == "PersistentVolumeClaim"
        && metadata["labels"]["cnpg.io/cluster"] == "demo-db";
    is_volume || metadata["labels"]["todo-operator.dev/app"] == NAME
}

async fn pods(stage: &Stage<'_>) -> Result<usize> {
    let pods = stage
        .api(POD)
        .list(&ListParams::default().labels("todo-operator.dev/app"))
        .await?;
    Ok(pods.items.len())
}

/// The stage's topics in Kafka.
async fn topics(stage: &Stage<'_>) -> Result<Vec<String>> {
    let all = stage.platform.kafka_topics().await?;
    let prefix = format!("{}.", stage.name);
    Ok(all
        .into_iter()
        .filter(|topic| topic.starts_with(&prefix))
        .collect())
}
