//! Volumes of a process: credentials, Secrets as files, and what it may write to.

use serde_json::{Value, json};

use super::database::{self, Place};
use super::pod::Login;
use super::{quantity, variables};
use crate::validate::{ValidApp, ValidComponent};

/// Where the files of the PostgreSQL connection are.
pub(super) const POSTGRES: &str = "/etc/app/postgres";
/// Where the files of the Kafka connection are.
const KAFKA: &str = "/etc/app/kafka";
/// `0440`: libpq refuses a private key that others may read.
const CREDENTIAL_MODE: i32 = 0o440;
/// Most that a writable directory holds, so that one pod cannot fill its node's disk; where the component limits
/// `ephemeral-storage`, that limit. (An `emptyDir` without any field could not be told from an absent one.)
const WRITABLE_SIZE: &str = "1Gi";

/// The volumes of a pod.
pub(super) fn volumes(
    app: &ValidApp<'_>,
    component: &ValidComponent<'_>,
    login: Login,
) -> Vec<Value> {
    let mut volumes = Vec::new();
    if let Some(projected) = postgres(app, component, login) {
        volumes.push(json!({"name": "postgres", "projected": projected}));
    }
    if let Some(secret) = kafka_secret(app, component, login) {
        volumes.push(json!({"name": "kafka", "secret": {"secretName": secret, "defaultMode": CREDENTIAL_MODE}}));
    }
    for (name, files) in &component.spec.secret_files {
        let items: Vec<_> = files.keys.iter().map(|key| item(key)).collect();
        volumes.push(json!({
            "name": format!("secret-{name}"),
            "secret": {"secretName": files.secret, "items": items},
        }));
    }
    for index in 0..component.spec.writable.len() {
        volumes.push(json!({"name": format!("writable-{index}"), "emptyDir": {"sizeLimit": size(component)}}));
    }
    volumes
}

/// Where the container sees them.
pub(super) fn mounts(
    app: &ValidApp<'_>,
    component: &ValidComponent<'_>,
    login: Login,
) -> Vec<Value> {
    let read_only =
        |name: &str, path: &str| json!({"name": name, "mountPath": path, "readOnly": true});
    let mut mounts = Vec::new();
    if postgres(app, component, login).is_some() {
        mounts.push(read_only("postgres", POSTGRES));
    }
    if kafka_secret(app, component, login).is_some() {
        mounts.push(read_only("kafka", KAFKA));
    }
    for (name, files) in &component.spec.secret_files {
        mounts.push(read_only(&format!("secret-{name}"), &files.path));
    }
    for (index, path) in component.spec.writable.iter().enumerate() {
        mounts.push(json!({"name": format!("writable-{index}"), "mountPath": path}));
    }
    mounts
}

/// Inside the cluster: the certificate of the role, and of the server's authority the certificate alone, since its Secret
/// holds the key too. Outside: the authority, where one is named.
fn postgres(app: &ValidApp<'_>, component: &ValidComponent<'_>, login: Login) -> Option<Value> {
    let (name, place) = database::used(app, component)?;
    let sources = match place {
        Place::Cluster(cluster) => {
            let certificate = format!(
                "{}-client-cert",
                database::role_object(&cluster, name, login)
            );
            vec![
                json!({"secret": {"name": certificate, "items": [item("tls.crt"), item("tls.key")]}}),
                json!({"secret": {"name": format!("{cluster}-ca"), "items": [item("ca.crt")]}}),
            ]
        }
        Place::External(external) => {
            let secret = external.ca_secret.as_deref()?;
            vec![json!({"secret": {"name": secret, "items": [item("ca.crt")]}})]
        }
    };
    Some(json!({"defaultMode": CREDENTIAL_MODE, "sources": sources}))
}

fn item(key: &str) -> Value {
    json!({"key": key, "path": key})
}

/// The client credential of Kafka; a migration has no use for it.
fn kafka_secret<'a>(
    app: &ValidApp<'a>,
    component: &ValidComponent<'_>,
    login: Login,
) -> Option<&'a str> {
    variables::messaging(app, component)?;
    client_secret(app).filter(|_| login == Login::App)
}

/// Secret with the Kafka credential of the application's components: its own, else the environment's.
pub(super) fn client_secret<'a>(app: &ValidApp<'a>) -> Option<&'a str> {
    let own = app.app.spec.messaging.as_ref();
    let environment = app.environment.spec.messaging.as_ref();
    own.and_then(|messaging| messaging.client_secret.as_deref())
        .or_else(|| environment?.client_secret.as_deref())
}

fn size(component: &ValidComponent<'_>) -> String {
    component
        .spec
        .resources
        .as_ref()
        .and_then(|resources| resources.limits.get("ephemeral-storage"))
        .map_or_else(|| WRITABLE_SIZE.to_owned(), quantity::canonical)
}
