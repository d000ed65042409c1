//! What somebody edits or deletes by hand is put right within seconds, and an Event says so.

use std::time::Duration;

use anyhow::Result;
use futures::FutureExt as _;
use localcluster::peers::Product;
use serde_json::{Value, json};

use super::web_alone;
use crate::e2e::case::{Case, Context};
use crate::e2e::objects::{self, DEPLOYMENT, Kind, SERVICE, until};
use crate::e2e::stage::{Stage, ensure};

pub const CASE: Case = Case {
    name: "drift",
    shows: "what is edited or deleted by hand is put right within seconds, with an Event",
    is_quick: true,
    needs: &[Product::Traefik],
    run: |context| run(context).boxed_local(),
};

/// How long anything may stay wrong.
const SECONDS: Duration = Duration::from_secs(5);
const NETWORK_POLICY: Kind = Kind("networking.k8s.io/v1", "NetworkPolicy");
const INGRESS_ROUTE: Kind = Kind("traefik.io/v1alpha1", "IngressRoute");

async fn run(context: &Context) -> Result<()> {
    let two = json!({"components": {"web": {"rollout": null, "scaling": {"min": 2}}}});
    let stage = Stage::create(context, &[web_alone(), two]).await?;
    let _watch = stage.watch();
    stage.apply(json!({})).await?;
    stage.ready(Duration::from_secs(120)).await?;
    let users = stage.users(20.0).await?;

    for (kind, what, path, wrong) in [
        (
            DEPLOYMENT,
            "gets five replicas",
            "/spec/replicas",
            json!({"spec": {"replicas": 5}}),
        ),
        (
            DEPLOYMENT,
            "loses a label",
            "/metadata/labels/app.kubernetes.io~1part-of",
            json!({"metadata": {"labels": {"app.kubernetes.io/part-of": null}}}),
        ),
        (
            SERVICE,
            "gets another port",
            "/spec/ports/0/targetPort",
            json!({"spec": {"ports": [{"name": "http", "port": 80, "targetPort": 1}]}}),
        ),
        (
            NETWORK_POLICY,
            "lets nobody in",
            "/spec/ingress",
            json!({"spec": {"ingress": []}}),
        ),
    ] {
        edited(&stage, kind, what, path, wrong).await?;
    }
    for kind in [SERVICE, INGRESS_ROUTE, NETWORK_POLICY, DEPLOYMENT] {
        deleted(&stage, kind).await?;
    }
    stage.ready(Duration::from_secs(60)).await?;

    let events = corrections(&stage).await?;
    ensure(events >= 8, || {
        format!("8 corrections, but {events} Events")
    })?;
    let (outcome, _) = users.end().await?;
    context.record.mark(
        "users",
        format!("{} of {} were answered", outcome.all.answers(), outcome.due),
    );
    stage.remove().await
}

/// Edits the object `demo-web` of a kind, and waits until what is at `path` is again as it was.
async fn edited(stage: &Stage<'_>, kind: Kind, what: &str, path: &str, wrong: Value) -> Result<()> {
    let api = stage.api(kind);
    let at_path = async || -> Result<Option<Value>> {
        let object = objects::get(&api, OBJECT).await?;
        Ok(object.and_then(|object| object.pointer(path).cloned()))
    };
    let before = at_path().await?;
    stage
        .record
        .mark("somebody", format!("{} {OBJECT} {what}", kind.1));
    objects::meddle(&api, OBJECT, wrong).await?;
    let begun = stage.record.elapsed();
    let subject = format!("{} {OBJECT} that {what} is put right", kind.1);
    until(&subject, SECONDS, async || {
        Ok((at_path().await? == before).then_some(()))
    })
    .await?;
    note(stage, kind, begun);
    Ok(())
}

/// Deletes the object `demo-web` of a kind, and waits until there is another.
async fn deleted(stage: &Stage<'_>, kind: Kind) -> Result<()> {
    let api = stage.api(kind);
    let uid = async || -> Result<Option<Value>> {
        let object = objects::get(&api, OBJECT).await?;
        Ok(object.map(|object| object["metadata"]["uid"].clone()))
    };
    let before = uid().await?;
    stage
        .record
        .mark("somebody", format!("{} {OBJECT} is deleted", kind.1));
    api.delete(OBJECT, &kube::api::DeleteParams::background())
        .await?;
    let begun = stage.record.elapsed();
    until(
        &format!("{} {OBJECT} is there again", kind.1),
        SECONDS,
        async || {
            let now = uid().await?;
            Ok((now.is_some() && now != before).then_some(()))
        },
    )
    .await?;
    note(stage, kind, begun);
    Ok(())
}

fn note(stage: &Stage<'_>, kind: Kind, begun: Duration) {
    let took = stage.record.elapsed().saturating_sub(begun);
    let what = format!(
        "{} {OBJECT} is right again after {:.1} s",
        kind.1,
        took.as_secs_f64()
    );
    stage.record.mark("operator", what);
}

/// The object that is tampered with.
const OBJECT: &str = "demo-web";

/// How many corrections the Events tell of, a repeated one as often as it is counted.
async fn corrections(stage: &Stage<'_>) -> Result<i64> {
    let events = stage.api(Kind("events.k8s.io/v1", "Event"));
    let listed = events.list(&kube::api::ListParams::default()).await?;
    let events = listed.items.iter().map(|event| json!(event));
    let told = events.filter(|event| event["reason"] == "DriftCorrected");
    Ok(told
        .map(|event| event["series"]["count"].as_i64().unwrap_or(1))
        .sum())
}
