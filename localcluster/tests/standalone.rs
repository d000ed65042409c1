//! PostgreSQL, Kafka, Valkey and Dapr's sidecar without a Kubernetes: killed, and started again on the same data.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panic"
)]

use std::process::Command;

use localcluster::standalone::{Broker, Daprd, Postgres, Proof, Sidecar, Valkey};
use localcluster::{Cache, Kafka, Lines, Tools};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[tokio::test]
async fn a_database_survives_a_kill_and_keeps_out_the_roles_of_others() {
    let mut postgres = Postgres::start_for(Proof::Certificate).await.unwrap();
    for name in ["ours", "theirs"] {
        postgres.create_database(name).unwrap();
    }
    postgres
        .sql("ours", "CREATE TABLE t AS SELECT 7 AS n")
        .unwrap();
    postgres.kill().unwrap();
    assert!(postgres.sql("ours", "SELECT n FROM t").is_err());
    postgres.restart().await.unwrap();
    assert_eq!(postgres.sql("ours", "SELECT n FROM t").unwrap(), "7");
    let error = postgres.create_database("ours").unwrap_err().to_string();
    assert!(error.contains("already exists"), "{error}");

    let ask = |database, role| {
        let mut psql = Command::new("psql");
        psql.args(["-X", "-A", "-t", "-c", "SELECT current_user"])
            .envs(postgres.variables(database, role));
        psql
    };
    let answer = ask("ours", "ours_app").output().unwrap();
    assert_eq!(answer.stdout, b"ours_app\n", "{answer:?}");
    let refused = |mut psql: Command| {
        let answer = psql.output().unwrap();
        assert!(!answer.status.success(), "{answer:?}");
        String::from_utf8(answer.stderr).unwrap()
    };
    let error = refused(ask("theirs", "ours_app"));
    assert!(error.contains("pg_hba.conf rejects"), "{error}");
    let mut unproved = ask("ours", "ours_app");
    unproved.env_remove("PGSSLCERT").env_remove("PGSSLKEY");
    let error = refused(unproved);
    assert!(
        error.contains("requires a valid client certificate"),
        "{error}"
    );
}

#[tokio::test]
async fn a_broker_comes_back_where_it_was_and_a_sidecar_answers() {
    let tools = Tools::new(Cache::from_env());
    let mut broker = Broker::start(&tools, Kafka::default(), &Lines)
        .await
        .unwrap();
    broker.kill().unwrap();
    assert!(TcpStream::connect(broker.bootstrap()).await.is_err());
    broker.restart().await.unwrap();
    assert!(TcpStream::connect(broker.bootstrap()).await.is_ok());
    let sidecar = Sidecar {
        app_id: "test".to_owned(),
        app_port: None,
        resources: Vec::new(),
    };
    let daprd = Daprd::start(&tools, sidecar, &Lines).await.unwrap();
    let address = daprd.url().replace("http://", "");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"GET /v1.0/metadata HTTP/1.0\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("\"id\":\"test\""), "{answer}");
}

#[tokio::test]
async fn a_cache_comes_back_empty_where_it_was() {
    let mut valkey = Valkey::start().await.unwrap();
    let address = valkey.url().replace("redis://", "");
    let ask = async |commands: &str| {
        let mut stream = TcpStream::connect(&address).await?;
        let commands = format!("{commands}\r\nQUIT\r\n");
        stream.write_all(commands.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.map(|_| answer)
    };
    let kept = ask("SET a 1\r\nGET a").await.unwrap();
    assert_eq!(kept, "+OK\r\n$1\r\n1\r\n+OK\r\n");
    valkey.kill().unwrap();
    assert!(ask("GET a").await.is_err());
    valkey.restart().await.unwrap();
    assert_eq!(ask("GET a").await.unwrap(), "$-1\r\n+OK\r\n");
}
