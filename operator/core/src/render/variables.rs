//! Environment variables of a process: the contract of names that every component reads.
//!
//! Precedence: `release.config` (by `envFrom`, which loses to `env`) < `components.<c>.env` and `secretEnv` <
//! `TodoEnvironment.spec.variables` (`*`, then the component's) < the operator's own names.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use todo_operator_api::component::SecretKey;
use todo_operator_api::environment::EnvironmentMessaging;

use super::database::{self, Place};
use super::pod::{self, Login};
use super::volumes;
use crate::names;
use crate::validate::{ValidApp, ValidComponent};

/// Key under which an environment's variables are for every component.
const EVERY_COMPONENT: &str = "*";

/// The variables, sorted by name.
pub(super) fn variables(
    app: &ValidApp<'_>,
    component: &ValidComponent<'_>,
    login: Login,
) -> Vec<Value> {
    let mut variables = Variables::default();
    variables.literals(&component.spec.env);
    for (name, key) in &component.spec.secret_env {
        variables.secret(name, key);
    }
    for scope in [EVERY_COMPONENT, component.name] {
        if let Some(values) = app.environment.spec.variables.get(scope) {
            variables.literals(values);
        }
    }
    variables.identity(app, component);
    variables.peers(app, component);
    variables.kafka(app, component);
    variables.postgres(app, component, login);
    variables.0.into_values().collect()
}

#[derive(Default)]
struct Variables(BTreeMap<String, Value>);

impl Variables {
    /// An empty value is left out, as the API server does.
    fn set(&mut self, name: &str, value: impl AsRef<str>) {
        let value = Some(value.as_ref()).filter(|value| !value.is_empty());
        self.0
            .insert(name.to_owned(), json!({"name": name, "value": value}));
    }

    fn literals(&mut self, values: &BTreeMap<String, String>) {
        for (name, value) in values {
            self.set(name, value);
        }
    }

    fn secret(&mut self, name: &str, key: &SecretKey) {
        let reference = json!({
            "name": key.secret,
            "key": key.key,
            "optional": key.optional.then_some(true),
        });
        let variable = json!({"name": name, "valueFrom": {"secretKeyRef": reference}});
        self.0.insert(name.to_owned(), variable);
    }

    fn identity(&mut self, app: &ValidApp<'_>, component: &ValidComponent<'_>) {
        let environment = app.environment;
        self.set("APP_NAME", app.name);
        self.set("APP_COMPONENT", component.name);
        self.set(
            "APP_ENVIRONMENT",
            environment.metadata.name.as_deref().unwrap_or_default(),
        );
        self.set(
            "OTEL_SERVICE_NAME",
            names::component(app.name, component.name),
        );
        if let Some(telemetry) = &environment.spec.telemetry {
            self.set("OTEL_EXPORTER_OTLP_ENDPOINT", &telemetry.otlp_endpoint);
        }
        let field = json!({"apiVersion": "v1", "fieldPath": "metadata.name"});
        let pod_name = json!({"name": "POD_NAME", "valueFrom": {"fieldRef": field}});
        self.0.insert("POD_NAME".to_owned(), pod_name);
    }

    /// Callees that do not run in this stage have no Service, and so no variable.
    fn peers(&mut self, app: &ValidApp<'_>, component: &ValidComponent<'_>) {
        for callee in &component.spec.calls {
            let serves = |callee: &ValidComponent<'_>| pod::port(&callee.spec).is_some();
            if app.components.get(callee.as_str()).is_some_and(serves) {
                let host = names::component(app.name, callee);
                self.set(
                    &format!("SERVICE_{}", names::variable(callee)),
                    format!("{host}:{}", names::SERVICE_PORT),
                );
            }
        }
    }

    fn kafka(&mut self, app: &ValidApp<'_>, component: &ValidComponent<'_>) {
        let Some(messaging) = messaging(app, component) else {
            return;
        };
        let group = names::consumer_group(app.namespace, component.name);
        self.set("KAFKA_BOOTSTRAP_SERVERS", &messaging.bootstrap_servers);
        self.set(
            "KAFKA_SECURITY_PROTOCOL",
            text(&messaging.security_protocol),
        );
        if let Some(mechanism) = &messaging.sasl_mechanism {
            self.set("KAFKA_SASL_MECHANISM", text(mechanism));
        }
        self.set("KAFKA_TRANSACTIONAL_ID_PREFIX", &group);
        if !component.spec.consumes.is_empty() {
            self.set("KAFKA_GROUP_ID", &group);
        }
        let consumed = component.spec.consumes.keys();
        for topic in component.spec.produces.iter().chain(consumed) {
            self.set(
                &format!("TOPIC_{}", names::variable(topic)),
                names::physical_topic(app.namespace, topic),
            );
        }
    }

    fn postgres(&mut self, app: &ValidApp<'_>, component: &ValidComponent<'_>, login: Login) {
        let Some((name, place)) = database::used(app, component) else {
            return;
        };
        let file = |name: &str| format!("{}/{name}", volumes::POSTGRES);
        match place {
            Place::Cluster(cluster) => {
                self.set("PGHOST", format!("{cluster}-rw"));
                self.set("PGPORT", database::PORT.to_string());
                self.set("PGDATABASE", names::sql_name(name));
                self.set("PGUSER", database::role(name, login));
                self.set("PGSSLMODE", "verify-full");
                self.set("PGSSLCERT", file("tls.crt"));
                self.set("PGSSLKEY", file("tls.key"));
                self.set("PGSSLROOTCERT", file("ca.crt"));
            }
            Place::External(external) => {
                let role = match login {
                    Login::App => &external.app,
                    Login::Owner => &external.owner,
                };
                let port = external.port.unwrap_or(database::PORT);
                let ssl_mode = external
                    .ssl_mode
                    .map_or_else(|| "verify-full".to_owned(), |mode| text(&mode));
                self.set("PGHOST", &external.host);
                self.set("PGPORT", port.to_string());
                self.set("PGDATABASE", external.database.as_deref().unwrap_or(name));
                self.set("PGUSER", &role.user);
                self.secret("PGPASSWORD", &role.password);
                self.set("PGSSLMODE", ssl_mode);
                if external.ca_secret.is_some() {
                    self.set("PGSSLROOTCERT", file("ca.crt"));
                }
            }
        }
    }
}

/// Where Kafka is, for a component that uses it.
pub(super) fn messaging<'a>(
    app: &ValidApp<'a>,
    component: &ValidComponent<'_>,
) -> Option<&'a EnvironmentMessaging> {
    let uses = !component.spec.produces.is_empty() || !component.spec.consumes.is_empty();
    app.environment.spec.messaging.as_ref().filter(|_| uses)
}

/// A unit variant as it is written in a manifest.
pub(super) fn text<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(text)) => text,
        _ => String::new(),
    }
}
