//! A Kafka broker (KRaft, one node) from its jars and the host's Java.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::config::Kafka;
use crate::error::{Error, Result};
use crate::pki::{Pki, write_private};
use crate::process::Spec;
use crate::tools::output;

const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qg";

/// Formatting takes a Java start of its own, so it is done once, into the cache. Nothing in its result depends on ports,
/// because the quorum is given in the settings.
pub(crate) const FORMAT_PROPERTIES: &str = "\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:9093
listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093
controller.listener.names=CONTROLLER
";

/// The last line that the broker logs when it has started.
pub(crate) const STARTED: &str = "Kafka Server started";

/// Listeners of a broker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) plaintext: u16,
    pub(crate) controller: u16,
    pub(crate) sasl_ssl: u16,
}

/// Makes `template/` in the cache entry: an empty, formatted log directory.
pub(crate) fn format_template(entry: &Path) -> Result<()> {
    let (template, properties) = (entry.join("template"), entry.join("format.properties"));
    let text = format!("{FORMAT_PROPERTIES}log.dirs={}\n", template.display());
    fs::write(&properties, text).map_err(Error::io("write", &properties))?;
    let mut format = Command::new(java());
    format
        .args([
            "-cp",
            &class_path(entry),
            "kafka.tools.StorageTool",
            "format",
            "-t",
            CLUSTER_ID,
            "-c",
        ])
        .arg(&properties);
    output(format, "Kafka's storage").map(drop)
}

/// `$JAVA_HOME/bin/java` if that is set, else the `java` on PATH.
fn java() -> PathBuf {
    std::env::var_os("JAVA_HOME")
        .map(|home| Path::new(&home).join("bin/java"))
        .filter(|java| java.is_file())
        .unwrap_or_else(|| PathBuf::from("java"))
}

fn class_path(entry: &Path) -> String {
    format!("{}/libs/*", entry.display())
}

/// Writes settings and storage (the latter only if it is new) and says how to start the broker.
pub(crate) fn prepare(
    entry: &Path,
    state: &Path,
    pki: &Pki,
    kafka: &Kafka,
    ports: Ports,
) -> Result<Spec> {
    let (data, properties) = (state.join("kafka"), state.join("kafka.properties"));
    if !data.join("meta.properties").exists() {
        fs::create_dir_all(&data).map_err(Error::io("create", &data))?;
        let template = entry.join("template");
        for file in fs::read_dir(&template).map_err(Error::io("read", &template))? {
            let file = file.map_err(Error::io("read", &template))?.path();
            if let Some(name) = file.file_name().filter(|_| file.is_file()) {
                fs::copy(&file, data.join(name)).map_err(Error::io("copy", &file))?;
            }
        }
    }
    write_private(
        &properties,
        &settings(&data, &pki.file("kafka.pem"), kafka, ports),
    )?;
    Ok(Spec::new("kafka", java()).args([
        "-Xms256m".to_owned(),
        "-Xmx256m".to_owned(),
        // A broker that lives for seconds spends them in the second compiler otherwise.
        "-XX:TieredStopAtLevel=1".to_owned(),
        "-XX:+UseSerialGC".to_owned(),
        "-Xshare:auto".to_owned(),
        format!(
            "-Dlog4j2.configurationFile={}",
            entry.join("log4j2.properties").display()
        ),
        "-cp".to_owned(),
        class_path(entry),
        "kafka.Kafka".to_owned(),
        properties.display().to_string(),
    ]))
}

fn settings(data: &Path, keystore: &Path, kafka: &Kafka, ports: Ports) -> String {
    let mut listeners = format!("PLAINTEXT://127.0.0.1:{}", ports.plaintext);
    let mut sasl = String::new();
    if let Some(user) = &kafka.sasl {
        listeners.push_str(&format!(",SASL_SSL://127.0.0.1:{}", ports.sasl_ssl));
        sasl = format!(
            "sasl.enabled.mechanisms=PLAIN\n\
             ssl.keystore.type=PEM\n\
             ssl.keystore.location={}\n\
             listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_{}=\"{}\";\n",
            keystore.display(),
            user.name,
            user.password
        );
    }
    format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller}\n\
         controller.listener.names=CONTROLLER\n\
         listeners={listeners},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners={listeners}\n\
         inter.broker.listener.name=PLAINTEXT\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL\n\
         {sasl}log.dirs={data}\n\
         auto.create.topics.enable=false\n\
         offsets.topic.replication.factor=1\n\
         offsets.topic.num.partitions=1\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         transaction.state.log.num.partitions=1\n\
         share.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\n\
         share.coordinator.state.topic.num.partitions=1\n\
         group.initial.rebalance.delay.ms=0\n\
         broker.heartbeat.interval.ms=500\n\
         broker.session.timeout.ms=3000\n\
         group.consumer.min.heartbeat.interval.ms=500\n\
         group.consumer.heartbeat.interval.ms=500\n\
         log.cleaner.dedupe.buffer.size=8388608\n",
        controller = ports.controller,
        data = data.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::KafkaUser;

    const PORTS: Ports = Ports {
        plaintext: 1,
        controller: 2,
        sasl_ssl: 3,
    };

    #[test]
    fn without_a_user_there_is_no_tls_listener() {
        let text = settings(
            Path::new("/data"),
            Path::new("/k.pem"),
            &Kafka::default(),
            PORTS,
        );
        assert!(
            text.contains("\nlisteners=PLAINTEXT://127.0.0.1:1,CONTROLLER://127.0.0.1:2\n"),
            "{text}"
        );
        assert!(
            text.contains("\nadvertised.listeners=PLAINTEXT://127.0.0.1:1\n"),
            "{text}"
        );
        assert!(!text.contains("keystore"), "{text}");
    }

    #[test]
    fn a_user_adds_a_tls_listener() {
        let user = KafkaUser {
            name: "admin".to_owned(),
            password: "secret".to_owned(),
        };
        let text = settings(
            Path::new("/data"),
            Path::new("/k.pem"),
            &Kafka {
                sasl: Some(user),
                ..Kafka::default()
            },
            PORTS,
        );
        assert!(text.contains("SASL_SSL://127.0.0.1:3,CONTROLLER"), "{text}");
        assert!(text.contains("required user_admin=\"secret\";\n"), "{text}");
    }
}
