//! Replicas, and KEDA, which moves their number by lag and CPU.

use serde_json::{Value, json};
use todo_operator_api::component::{ComponentKind, Consume};
use todo_operator_api::environment::{EnvironmentMessaging, SaslMechanism, SecurityProtocol};

use super::metadata::child;
use super::{rollout, topic, volumes};
use crate::child::Child;
use crate::kind::Kind;
use crate::names;
use crate::validate::{ValidApp, ValidComponent};

const POLLING_SECONDS: i32 = 15;
const COOLDOWN_SECONDS: i32 = 300;
/// Failures to read the lag in a row after which the number of replicas is held.
const FALLBACK_FAILURES: i32 = 3;
/// Most replicas where CPU scales and nobody says.
const DEFAULT_MAX: i64 = 10;

/// Whether an autoscaler moves a component's replicas.
pub fn autoscaled(component: &ValidComponent<'_>) -> bool {
    component.spec.kind != ComponentKind::CronJob
        && (cpu(component).is_some() || lag(component).is_some())
}

/// Replicas of a component: the fixed number, or the least.
///
/// At least one where none could never rise again (CPU alone scales) or would let a canary pass unseen.
pub fn replicas(component: &ValidComponent<'_>) -> i64 {
    let scaling = component.spec.scaling.as_ref();
    let asked = scaling.and_then(|scaling| scaling.min).unwrap_or(1).into();
    let scaled = autoscaled(component);
    let judged_by_work = component.spec.kind == ComponentKind::Worker || scaled;
    let needs_one =
        scaled && lag(component).is_none() || rollout::is_canary(component) && judged_by_work;
    if needs_one { i64::max(asked, 1) } else { asked }
}

/// Most replicas: what is asked for; else as many as have a partition each; else ten.
pub(crate) fn most_replicas(app: &ValidApp<'_>, component: &ValidComponent<'_>) -> i64 {
    let least = replicas(component);
    if !autoscaled(component) {
        return least;
    }
    let asked = component
        .spec
        .scaling
        .as_ref()
        .and_then(|scaling| scaling.max);
    let partitions = lag(component).and_then(|_| topic::fewest_partitions(app, component));
    asked
        .map(i64::from)
        .or(partitions)
        .unwrap_or(DEFAULT_MAX)
        .max(least)
        .max(1)
}

fn cpu(component: &ValidComponent<'_>) -> Option<i32> {
    component.spec.scaling.as_ref()?.cpu
}

/// The target lag, where there is a topic whose lag says how much work waits.
fn lag(component: &ValidComponent<'_>) -> Option<i64> {
    shared_topics(component).next()?;
    component.spec.scaling.as_ref()?.lag
}

fn shared_topics<'a>(component: &'a ValidComponent<'_>) -> impl Iterator<Item = &'a str> {
    let shared = |(_, consume): &(&String, &Consume)| !consume.broadcast;
    component
        .spec
        .consumes
        .iter()
        .filter(shared)
        .map(|(topic, _)| topic.as_str())
}

/// One ScaledObject for every component that is scaled.
pub(super) fn scaled_objects(app: &ValidApp<'_>) -> Vec<Child> {
    app.components
        .values()
        .filter(|component| autoscaled(component))
        .map(|component| scaled_object(app, component))
        .collect()
}

fn scaled_object(app: &ValidApp<'_>, component: &ValidComponent<'_>) -> Child {
    let name = names::component(app.name, component.name);
    let target = if rollout::is_canary(component) {
        Kind::Rollout
    } else {
        Kind::Deployment
    };
    let messaging = app.environment.spec.messaging.as_ref();
    let mut triggers = Vec::new();
    if let (Some(lag), Some(messaging)) = (lag(component), messaging) {
        let topics = shared_topics(component);
        triggers.extend(topics.map(|topic| lag_trigger(app, component, messaging, topic, lag)));
    }
    let falls_back = !triggers.is_empty();
    if let Some(percent) = cpu(component) {
        triggers.push(json!({
            "type": "cpu",
            "metricType": "Utilization",
            "metadata": {"value": percent.to_string()},
        }));
    }
    let least = replicas(component);
    let spec = json!({
        "scaleTargetRef": {"apiVersion": target.api_version(), "kind": target.name(), "name": name},
        "pollingInterval": POLLING_SECONDS,
        "cooldownPeriod": COOLDOWN_SECONDS,
        "minReplicaCount": least,
        "maxReplicaCount": most_replicas(app, component),
        // KEDA refuses a fallback where nothing but CPU scales.
        "fallback": falls_back.then(|| json!({
            "failureThreshold": FALLBACK_FAILURES,
            "replicas": least.max(1),
            "behavior": "currentReplicasIfHigher",
        })),
        "triggers": triggers,
    });
    let content = json!({"spec": spec});
    child(
        app,
        Kind::ScaledObject,
        &name,
        Some(component.name),
        content,
    )
}

fn lag_trigger(
    app: &ValidApp<'_>,
    component: &ValidComponent<'_>,
    messaging: &EnvironmentMessaging,
    topic: &str,
    lag: i64,
) -> Value {
    let reference =
        needs_authentication(app, messaging).map(|_| json!({"name": authentication_name(app)}));
    json!({
        "type": "kafka",
        "metadata": {
            "bootstrapServers": messaging.bootstrap_servers,
            "consumerGroup": names::consumer_group(app.namespace, component.name),
            "topic": names::physical_topic(app.namespace, topic),
            "lagThreshold": lag.to_string(),
            "offsetResetPolicy": "earliest",
            "tls": if encrypted(messaging) { "enable" } else { "disable" },
            "sasl": sasl(messaging),
        },
        "authenticationRef": reference,
    })
}

fn encrypted(messaging: &EnvironmentMessaging) -> bool {
    matches!(
        messaging.security_protocol,
        SecurityProtocol::Ssl | SecurityProtocol::SaslSsl
    )
}

/// KEDA's name of the mechanism; absent where the client does not log in.
fn sasl(messaging: &EnvironmentMessaging) -> Option<&'static str> {
    let logs_in = matches!(
        messaging.security_protocol,
        SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl
    );
    let mechanism = messaging.sasl_mechanism.unwrap_or(SaslMechanism::Plain);
    logs_in.then_some(match mechanism {
        SaslMechanism::Plain => "plaintext",
        SaslMechanism::ScramSha256 => "scram_sha256",
        SaslMechanism::ScramSha512 => "scram_sha512",
    })
}

/// The Secret that KEDA reads Kafka with, where the connection needs one.
fn needs_authentication<'a>(
    app: &ValidApp<'a>,
    messaging: &EnvironmentMessaging,
) -> Option<&'a str> {
    volumes::client_secret(app)
        .filter(|_| messaging.security_protocol != SecurityProtocol::Plaintext)
}

fn authentication_name(app: &ValidApp<'_>) -> String {
    format!("{}-kafka", app.name)
}

/// How KEDA proves to Kafka who it is: by the same Secret as the pods. Keys that it lacks count as empty.
pub(super) fn authentication(app: &ValidApp<'_>) -> Vec<Child> {
    let scales_by_lag = app
        .components
        .values()
        .any(|component| autoscaled(component) && lag(component).is_some());
    let Some(messaging) = &app.environment.spec.messaging else {
        return Vec::new();
    };
    let Some(secret) = needs_authentication(app, messaging).filter(|_| scales_by_lag) else {
        return Vec::new();
    };
    let mut keys = Vec::new();
    if encrypted(messaging) {
        keys.push(("ca", "ca.crt"));
    }
    if sasl(messaging).is_some() {
        keys.extend([("username", "username"), ("password", "password")]);
    } else {
        keys.extend([("cert", "user.crt"), ("key", "user.key")]);
    }
    let references: Vec<_> = keys
        .iter()
        .map(|(parameter, key)| json!({"parameter": parameter, "name": secret, "key": key}))
        .collect();
    let name = authentication_name(app);
    let content = json!({"spec": {"secretTargetRef": references}});
    vec![child(
        app,
        Kind::TriggerAuthentication,
        &name,
        None,
        content,
    )]
}
