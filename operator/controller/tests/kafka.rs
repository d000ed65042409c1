//! Kafka's admin API against a real broker.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panic"
)]

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use localcluster::{Cluster, Config, Kafka, KafkaUser};
use tempfile::TempDir;
use todo_operator_api::environment::{SaslMechanism, SecurityProtocol};
use todo_operator_controller::kafka::{Action, KafkaAdmin, KafkaCluster, KafkaError, RdKafkaAdmin};
use todo_operator_core::topics::{LiveTopic, WantedTopic};
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;

const USER: &str = "admin";
const PASSWORD: &str = "right-password";

async fn broker() -> &'static Cluster {
    static BROKER: OnceCell<Cluster> = OnceCell::const_new();
    BROKER
        .get_or_init(|| async {
            let sasl = Some(KafkaUser {
                name: USER.to_owned(),
                password: PASSWORD.to_owned(),
            });
            let config = Config::control_plane().kafka(Kafka {
                sasl,
                ..Kafka::default()
            });
            Cluster::start(config).await.expect("a broker")
        })
        .await
}

fn admin(credentials: &Path) -> RdKafkaAdmin {
    RdKafkaAdmin::new(credentials.to_owned())
}

fn no_credentials() -> PathBuf {
    PathBuf::from("nowhere")
}

fn plaintext(bootstrap_servers: String) -> KafkaCluster {
    KafkaCluster {
        bootstrap_servers,
        security_protocol: SecurityProtocol::Plaintext,
        sasl_mechanism: None,
        credential: None,
    }
}

async fn plaintext_broker() -> KafkaCluster {
    plaintext(broker().await.kafka_bootstrap().unwrap())
}

async fn sasl_broker() -> KafkaCluster {
    KafkaCluster {
        bootstrap_servers: broker().await.kafka_sasl_bootstrap().unwrap(),
        security_protocol: SecurityProtocol::SaslSsl,
        sasl_mechanism: Some(SaslMechanism::Plain),
        credential: Some("main".to_owned()),
    }
}

/// The credential `main`, with the broker's authority.
async fn credential(password: &str) -> TempDir {
    let directory = TempDir::new().unwrap();
    let main = directory.path().join("main");
    fs::create_dir(&main).unwrap();
    fs::copy(broker().await.kafka_ca(), main.join("ca.crt")).unwrap();
    fs::write(main.join("username"), USER).unwrap();
    write_password(&directory, password);
    directory
}

fn write_password(directory: &TempDir, password: &str) {
    // With a line break, as an editor leaves one.
    fs::write(
        directory.path().join("main/password"),
        format!("{password}\n"),
    )
    .unwrap();
}

fn settings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect()
}

fn wanted(name: &str, config: &[(&str, &str)]) -> WantedTopic {
    WantedTopic {
        physical_name: name.to_owned(),
        partitions: 3,
        replicas: 1,
        config: settings(config),
        allow_growth: false,
    }
}

async fn describe(admin: &RdKafkaAdmin, cluster: &KafkaCluster, name: &str) -> Option<LiveTopic> {
    let names = [name.to_owned()];
    admin
        .describe(cluster, &names)
        .await
        .expect("a description")
        .remove(name)
}

/// Waits until the broker's view of its own metadata is as `expected`: it follows the controller's by a moment.
async fn shows(
    admin: &RdKafkaAdmin,
    cluster: &KafkaCluster,
    name: &str,
    expected: impl Fn(Option<&LiveTopic>) -> bool,
) -> Option<LiveTopic> {
    tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            let live = describe(admin, cluster, name).await;
            if expected(live.as_ref()) {
                return live;
            }
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{name} never becomes as expected"))
}

#[tokio::test]
async fn a_topic_is_created_as_wanted_and_described_without_what_it_inherits() {
    let (admin, cluster) = (admin(&no_credentials()), plaintext_broker().await);
    let topic = wanted(
        "create.events",
        &[("retention.ms", "60000"), ("cleanup.policy", "compact")],
    );
    admin.create(&cluster, &topic).await.unwrap();
    let live = shows(&admin, &cluster, "create.events", |live| live.is_some()).await;
    let expected = LiveTopic {
        partitions: 3,
        replicas: 1,
        config: topic.config,
    };
    assert_eq!(live, Some(expected));
}

#[tokio::test]
async fn looking_at_topics_makes_none_and_tells_which_exist() {
    let (admin, cluster) = (admin(&no_credentials()), plaintext_broker().await);
    admin
        .create(&cluster, &wanted("describe.present", &[]))
        .await
        .unwrap();
    shows(&admin, &cluster, "describe.present", |live| live.is_some()).await;
    let names = ["describe.present".to_owned(), "describe.absent".to_owned()];
    for _ in 0..2 {
        let topics = admin.describe(&cluster, &names).await.unwrap();
        assert_eq!(topics.keys().collect::<Vec<_>>(), ["describe.present"]);
    }
}

#[tokio::test]
async fn creating_what_is_already_there_is_fine_only_if_it_is_the_same() {
    let (admin, cluster) = (admin(&no_credentials()), plaintext_broker().await);
    let topic = wanted("race.events", &[("retention.ms", "60000")]);
    admin.create(&cluster, &topic).await.unwrap();
    shows(&admin, &cluster, "race.events", |live| live.is_some()).await;
    admin.create(&cluster, &topic).await.unwrap();

    let other = WantedTopic {
        partitions: 5,
        ..topic
    };
    let error = admin.create(&cluster, &other).await.unwrap_err();
    assert!(matches!(error, KafkaError::Exists { .. }), "{error}");
    assert!(error.is_retryable());
    let message = error.to_string();
    assert!(
        message.contains("race.events") && message.contains("3 partitions"),
        "{message}"
    );
}

#[tokio::test]
async fn partitions_grow_and_never_shrink() {
    let (admin, cluster) = (admin(&no_credentials()), plaintext_broker().await);
    admin
        .create(&cluster, &wanted("grow.events", &[]))
        .await
        .unwrap();
    admin.grow(&cluster, "grow.events", 6).await.unwrap();
    let grown = |live: Option<&LiveTopic>| live.is_some_and(|live| live.partitions == 6);
    shows(&admin, &cluster, "grow.events", grown).await;
    // Again: somebody was quicker.
    admin.grow(&cluster, "grow.events", 6).await.unwrap();

    let error = admin.grow(&cluster, "grow.events", 2).await.unwrap_err();
    assert!(!error.is_retryable());
    let message = error.to_string();
    assert!(
        message.contains("it has 6 partitions, 2 were asked for"),
        "{message}"
    );
    assert_eq!(
        describe(&admin, &cluster, "grow.events")
            .await
            .map(|live| live.partitions),
        Some(6)
    );
}

#[tokio::test]
async fn settings_become_exactly_those_given() {
    let (admin, cluster) = (admin(&no_credentials()), plaintext_broker().await);
    let topic = wanted(
        "configure.events",
        &[("retention.ms", "60000"), ("max.message.bytes", "2000")],
    );
    admin.create(&cluster, &topic).await.unwrap();
    for config in [
        settings(&[("retention.ms", "120000"), ("cleanup.policy", "delete")]),
        settings(&[]),
    ] {
        admin
            .configure(&cluster, "configure.events", &config)
            .await
            .unwrap();
        assert_eq!(
            describe(&admin, &cluster, "configure.events")
                .await
                .map(|live| live.config),
            Some(config)
        );
    }
}

#[tokio::test]
async fn an_invalid_setting_is_refused_by_name_and_changes_nothing() {
    let (admin, cluster) = (admin(&no_credentials()), plaintext_broker().await);
    let bad = [("retention.ms", "soon"), ("cleanup.policy", "compact")];
    let check = |error: KafkaError, action: &str| {
        assert!(!error.is_retryable());
        let message = error.to_string();
        for part in [
            action,
            "invalid.events",
            "Configuration is invalid",
            "retention.ms=soon",
            &cluster.bootstrap_servers,
        ] {
            assert!(message.contains(part), "{part} is not in: {message}");
        }
        assert!(!message.contains("cleanup.policy"), "{message}");
    };
    let error = admin
        .create(&cluster, &wanted("invalid.events", &bad))
        .await
        .unwrap_err();
    check(error, "create");
    assert_eq!(describe(&admin, &cluster, "invalid.events").await, None);

    let good = wanted("invalid.events", &[("retention.ms", "60000")]);
    admin.create(&cluster, &good).await.unwrap();
    shows(&admin, &cluster, "invalid.events", |live| live.is_some()).await;
    let error = admin
        .configure(&cluster, "invalid.events", &settings(&bad))
        .await
        .unwrap_err();
    check(error, "configure");
    let live = describe(&admin, &cluster, "invalid.events").await.unwrap();
    assert_eq!(live.config, good.config);
    let probe = describe(&admin, &cluster, "invalid.events.validate-only").await;
    assert_eq!(probe, None, "validation leaves a topic behind");
}

#[tokio::test]
async fn more_replicas_than_brokers_are_refused_with_both_numbers() {
    let (admin, cluster) = (admin(&no_credentials()), plaintext_broker().await);
    let topic = WantedTopic {
        replicas: 3,
        ..wanted("replicas.events", &[])
    };
    let error = admin.create(&cluster, &topic).await.unwrap_err();
    assert!(!error.is_retryable());
    let message = error.to_string();
    assert!(
        message.contains("3 replicas were asked for, brokers: 1"),
        "{message}"
    );
}

#[tokio::test]
async fn deleting_is_fine_twice() {
    let (admin, cluster) = (admin(&no_credentials()), plaintext_broker().await);
    admin
        .create(&cluster, &wanted("delete.events", &[]))
        .await
        .unwrap();
    shows(&admin, &cluster, "delete.events", |live| live.is_some()).await;
    admin.delete(&cluster, "delete.events").await.unwrap();
    shows(&admin, &cluster, "delete.events", |live| live.is_none()).await;
    admin.delete(&cluster, "delete.events").await.unwrap();
}

#[tokio::test]
async fn a_topic_that_is_gone_can_be_neither_grown_nor_configured() {
    let (admin, cluster) = (admin(&no_credentials()), plaintext_broker().await);
    let admin = admin.with_request_timeout(Duration::from_secs(2));
    let error = admin.grow(&cluster, "gone.events", 4).await.unwrap_err();
    assert!(
        matches!(
            error,
            KafkaError::Refused {
                action: Action::Grow,
                ..
            }
        ),
        "{error}"
    );
    let config = settings(&[("retention.ms", "60000")]);
    let error = admin
        .configure(&cluster, "gone.events", &config)
        .await
        .unwrap_err();
    assert!(matches!(error, KafkaError::Unreadable { .. }), "{error}");
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_an_error_and_not_an_absent_topic() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let cluster = plaintext(format!("127.0.0.1:{port}"));
    let admin = admin(&no_credentials());
    let names = ["unreachable.events".to_owned()];
    let looked = admin.describe(&cluster, &names).await.map(drop);
    let created = admin
        .create(&cluster, &wanted("unreachable.events", &[]))
        .await;
    for result in [looked, created] {
        let error = result.unwrap_err();
        assert!(matches!(error, KafkaError::Unreachable { .. }), "{error}");
        assert!(error.is_retryable());
        let message = error.to_string();
        assert!(
            message.contains(&cluster.bootstrap_servers) && message.contains("refused"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn brokers_that_come_back_are_reached_again() {
    let behind = broker().await.kafka_bootstrap().unwrap();
    let front = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cluster = plaintext(front.local_addr().unwrap().to_string());
    let forwarding = Arc::new(AtomicBool::new(false));
    let forwards = Arc::clone(&forwarding);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = front.accept().await {
            if forwards.load(Ordering::SeqCst) {
                let mut broker = TcpStream::connect(&behind).await.unwrap();
                tokio::spawn(async move { copy_bidirectional(&mut client, &mut broker).await });
            }
        }
    });
    let (admin, names) = (admin(&no_credentials()), ["back.events".to_owned()]);
    let error = admin.describe(&cluster, &names).await.unwrap_err();
    assert!(error.to_string().contains("close"), "{error}");

    forwarding.store(true, Ordering::SeqCst);
    assert!(admin.describe(&cluster, &names).await.unwrap().is_empty());
}

#[tokio::test]
async fn tls_and_a_password_work() {
    let (credentials, cluster) = (credential(PASSWORD).await, sasl_broker().await);
    let admin = admin(credentials.path());
    admin
        .create(&cluster, &wanted("sasl.events", &[]))
        .await
        .unwrap();
    shows(&admin, &cluster, "sasl.events", |live| live.is_some()).await;
    admin.delete(&cluster, "sasl.events").await.unwrap();
}

#[tokio::test]
async fn a_wrong_password_is_said_at_once_and_a_corrected_one_is_used_at_the_next_attempt() {
    let (credentials, cluster) = (credential("wrong-password").await, sasl_broker().await);
    // If it were not for the broker's answer, this would hang.
    let admin = admin(credentials.path()).with_request_timeout(Duration::from_secs(3_600));
    let names = ["password.events".to_owned()];
    let error = admin.describe(&cluster, &names).await.unwrap_err();
    assert!(
        matches!(error, KafkaError::Authentication { .. }),
        "{error}"
    );
    assert!(error.is_retryable());
    for shown in [error.to_string(), format!("{error:?} {admin:?}")] {
        assert!(!shown.contains("wrong-password"), "{shown}");
    }

    write_password(&credentials, PASSWORD);
    assert!(admin.describe(&cluster, &names).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_unknown_authority_is_not_trusted() {
    let (credentials, cluster) = (credential(PASSWORD).await, sasl_broker().await);
    fs::remove_file(credentials.path().join("main/ca.crt")).unwrap();
    let error = admin(credentials.path())
        .describe(&cluster, &["tls.events".to_owned()])
        .await
        .unwrap_err();
    let message = error.to_string();
    assert!(
        matches!(error, KafkaError::Unreachable { .. }) && message.contains("certificate"),
        "{message}"
    );
}

#[tokio::test]
async fn what_is_missing_for_a_login_is_named_before_anybody_is_asked() {
    let empty = TempDir::new().unwrap();
    let names = ["login.events".to_owned()];
    let cluster = KafkaCluster {
        security_protocol: SecurityProtocol::SaslSsl,
        sasl_mechanism: Some(SaslMechanism::ScramSha512),
        credential: Some("main".to_owned()),
        ..plaintext("kafka.invalid:9093".to_owned())
    };
    let admin = admin(empty.path());
    let error = admin.describe(&cluster, &names).await.unwrap_err();
    assert!(
        error.to_string().contains("'main'") && error.is_retryable(),
        "{error}"
    );

    fs::create_dir(empty.path().join("main")).unwrap();
    fs::write(empty.path().join("main/username"), USER).unwrap();
    let error = admin.describe(&cluster, &names).await.unwrap_err();
    assert!(error.to_string().contains("password must both"), "{error}");

    fs::write(empty.path().join("main/password"), PASSWORD).unwrap();
    let unsaid = KafkaCluster {
        sasl_mechanism: None,
        ..cluster.clone()
    };
    let error = admin.describe(&unsaid, &names).await.unwrap_err();
    assert!(
        error.to_string().contains("saslMechanism") && !error.is_retryable(),
        "{error}"
    );

    let escaping = KafkaCluster {
        credential: Some("../main".to_owned()),
        ..cluster
    };
    let error = admin.describe(&escaping, &names).await.unwrap_err();
    assert!(matches!(error, KafkaError::Credential { .. }), "{error}");
}
