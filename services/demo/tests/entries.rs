//! `migrate`, `serve` and `backup` against a real PostgreSQL that lets its roles in by certificate, as the operator sets it
//! up.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panic"
)]

mod support;

use std::collections::BTreeSet;

use localcluster::standalone::{Postgres, Proof};
use nix::sys::signal::Signal;
use serde_json::Value;
use support::{Running, Variables, ask, ended, until, variables};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn with(mut base: Variables, more: &[(&str, &str)]) -> Variables {
    base.extend(variables(more.iter().copied()));
    base
}

/// Writes an entry; its number, if it was acknowledged.
async fn write(port: u16, text: &str) -> Option<i64> {
    let body = serde_json::json!({"text": text}).to_string();
    let (status, answer) = ask("POST", port, "/entries", &body).await?;
    (status == 201).then(|| json(&answer)["id"].as_i64().unwrap())
}

async fn ids(port: u16) -> BTreeSet<i64> {
    let (status, answer) = ask("GET", port, "/entries?limit=10000", "").await.unwrap();
    assert_eq!(status, 200, "{answer}");
    let entries = json(&answer)["entries"].clone();
    let entries = entries.as_array().unwrap().iter();
    entries.map(|entry| entry["id"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_killed_server_and_the_migration_its_repetition() {
    let mut server = Postgres::start_for(Proof::Certificate).await.unwrap();
    server.create_database("orders").unwrap();
    let owner = server.variables("orders", "orders_owner");
    let api = with(
        server.variables("orders", "orders_app"),
        &[
            ("APP_COMPONENT", "api"),
            ("POD_NAME", "demo-api-1"),
            ("DEMO_SHUTDOWN_DELAY", "0s"),
        ],
    );
    let api = Running::start(&[], api);
    let reason = until("it says why it is not ready", async || {
        let (status, reason) = api.admin("/readyz").await?;
        (status == 503 && reason.contains("does not exist")).then_some(reason)
    })
    .await;
    assert!(reason.contains("read the table `entries`"), "{reason}");

    let told_to_fail = with(owner.clone(), &[("DEMO_MIGRATION_FAILS", "true")]);
    let failed = ended(&["migrate"], &told_to_fail).await;
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.log.contains("DEMO_MIGRATION_FAILS"), "{failed:?}");
    let both = [ended(&["migrate"], &owner), ended(&["migrate"], &owner)];
    for migration in futures::future::join_all(both).await {
        assert_eq!(migration.code, Some(0), "{migration:?}");
    }
    api.until_ready().await;

    let mut acknowledged = BTreeSet::new();
    for number in 0..50 {
        acknowledged.insert(write(api.port, &format!("entry {number}")).await.unwrap());
    }
    server.kill().unwrap();
    assert_eq!(write(api.port, "into the dark").await, None);
    let (ready, _) = api.admin("/readyz").await.unwrap();
    assert_eq!(ready, 200, "no other pod would be a better address");
    server.restart().await.unwrap();
    let after = until("entries are written again", async || {
        write(api.port, "after").await
    })
    .await;
    acknowledged.insert(after);
    assert!(ids(api.port).await.is_superset(&acknowledged));
    assert_eq!(ended(&["migrate"], &owner).await.code, Some(0));

    let backup = ended(&["backup"], &server.variables("orders", "orders_app")).await;
    assert_eq!(backup.code, Some(0), "{backup:?}");
    let lines = backup.output.lines().map(|line| json(line)["id"].as_i64());
    let saved: BTreeSet<i64> = lines.map(Option::unwrap).collect();
    assert_eq!(saved, ids(api.port).await);
    // The pods' role may not change the schema.
    let wrong = ended(&["migrate"], &server.variables("orders", "orders_app")).await;
    assert_eq!(wrong.code, Some(1), "{wrong:?}");

    api.stop().await;

    let token = [("DEMO_TOKEN", "s3cret")];
    let api = with(server.variables("orders", "orders_app"), &token);
    let api = Running::start(&[], with(api, &[("DEMO_SHUTDOWN_DELAY", "0s")]));
    api.until_ready().await;
    let (status, answer) = ask("GET", api.port, "/entries", "").await.unwrap();
    assert_eq!(status, 401, "{answer}");
    let address = format!("127.0.0.1:{}", api.port);
    let web = variables([
        ("SERVICE_API", address.as_str()),
        ("DEMO_SHUTDOWN_DELAY", "0s"),
    ]);
    let web = Running::start(&["serve"], with(web, &token));
    web.until_ready().await;
    let through = write(web.port, "through web").await.unwrap();
    assert!(ids(web.port).await.contains(&through));
    let (_, metrics) = web.admin("/metrics").await.unwrap();
    assert!(
        metrics.contains("http_requests_total{code=\"201\"} 1"),
        "{metrics}"
    );
    web.stop().await;
    api.stop().await;
}

#[tokio::test]
async fn an_end_fails_readiness_at_once_and_cuts_off_no_request() {
    let slow = variables([
        ("APP_COMPONENT", "web"),
        ("DEMO_VERSION", "v2"),
        ("DEMO_LATENCY", "2s"),
        ("DEMO_SHUTDOWN_DELAY", "1s"),
    ]);
    let web = Running::start(&[], slow);
    web.until_ready().await;
    let port = web.port;
    let early = tokio::spawn(async move { ask("GET", port, "/", "").await });
    web.signal(Signal::SIGTERM);
    until("it is unready", async || {
        let (status, reason) = web.admin("/readyz").await?;
        (status == 503).then(|| assert_eq!(reason, "it is ending\n"))
    })
    .await;
    assert_eq!(
        web.admin("/livez").await.map(|(status, _)| status),
        Some(200)
    );
    // Whoever has not heard of it is still answered.
    let late = ask("GET", port, "/", "").await.expect("an answer");
    let early = early.await.unwrap().expect("an answer");
    for (status, body) in [early, late] {
        assert_eq!(status, 200);
        assert_eq!(json(&body)["version"], "v2");
    }
    let (status, log) = web.end().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("every request is answered"), "{log}");
}

#[tokio::test]
async fn a_bad_release_is_never_ready_or_crashes() {
    let bad = variables([("DEMO_NEVER_READY", "true"), ("DEMO_CRASH_AFTER", "3s")]);
    let web = Running::start(&[], bad);
    let reason = until("it answers", async || web.admin("/readyz").await).await;
    assert_eq!(reason, (503, "DEMO_NEVER_READY says so\n".to_owned()));
    let (status, log) = web.end().await;
    assert!(!status.success());
    assert!(log.contains("DEMO_CRASH_AFTER"), "{log}");
}
