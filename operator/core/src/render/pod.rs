//! Pods: the template that a component's workload, and its migration, are made of.

use serde_json::{Value, json};
use todo_operator_api::component::{Component, ComponentKind, Probe, Protocol};

use super::{metadata, migration, quantity, variables, volumes};
use crate::inputs::{self, Content, PodInputs};
use crate::names;
use crate::validate::{ValidApp, ValidComponent};

/// Name of the only container.
const CONTAINER: &str = "app";
/// Time between SIGTERM and SIGKILL: a process takes 3 s until nothing new reaches it, and 20 s to drain.
const GRACE_PERIOD_SECONDS: i64 = 45;
/// Group of mounted volumes. Images run as whichever user they name; as a member of this group it may read credentials,
/// which are closed to everybody else, as libpq demands of a private key.
const VOLUME_GROUP: i64 = 65532;

/// Which login of its database a process uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Login {
    /// Reads and writes rows.
    App,
    /// Owns the schema: migrations.
    Owner,
}

/// What the pods of a component are made of.
pub(super) fn inputs(app: &ValidApp<'_>, component: &ValidComponent<'_>) -> PodInputs {
    let config_map = inputs::config_map(&component.config, app.name, component.name);
    PodInputs::from(Content {
        image: component.image.to_owned(),
        config: component.config.clone(),
        template: template(app, component, config_map.as_deref()),
        migration: migration::of(app, component, config_map.as_deref()),
    })
}

/// The pod template of a component. Nothing in it is release-wide.
fn template(app: &ValidApp<'_>, component: &ValidComponent<'_>, config_map: Option<&str>) -> Value {
    let spec = &component.spec;
    let mut container = container(app, component, config_map, Login::App);
    container["args"] = json!(spec.args);
    container["ports"] = ports(spec).into();
    let mut pod = json!({});
    if spec.kind == ComponentKind::CronJob {
        pod["restartPolicy"] = "Never".into();
    } else {
        container["startupProbe"] = startup(spec);
        container["readinessProbe"] = readiness(spec);
        container["livenessProbe"] = liveness(spec);
        pod["topologySpreadConstraints"] = json!([{
            "maxSkew": 1,
            "topologyKey": "topology.kubernetes.io/zone",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": metadata::selector(app.name, component.name)},
        }]);
    }
    let labels = metadata::labels(app.name, Some(component.name));
    let volumes = volumes::volumes(app, component, Login::App);
    assemble(app, component, pod, labels, container, volumes)
}

/// The pod template of a component's migration: the same process with other arguments, as the owner of the database.
///
/// It lacks the component's label, so that neither its Service nor its workload takes the pod for one of theirs.
pub(super) fn migration_template(
    app: &ValidApp<'_>,
    component: &ValidComponent<'_>,
    config_map: Option<&str>,
    args: &[String],
) -> Value {
    let mut labels = metadata::labels(app.name, None);
    labels[names::LABEL_NAME] = component.name.into();
    labels[names::LABEL_ROLE] = migration::ROLE.into();
    let mut container = container(app, component, config_map, Login::Owner);
    container["args"] = json!(args);
    let volumes = volumes::volumes(app, component, Login::Owner);
    let pod = json!({"restartPolicy": "Never"});
    assemble(app, component, pod, labels, container, volumes)
}

fn container(
    app: &ValidApp<'_>,
    component: &ValidComponent<'_>,
    config_map: Option<&str>,
    login: Login,
) -> Value {
    json!({
        "name": CONTAINER,
        "image": component.image,
        "envFrom": config_map.map(|name| json!([{"configMapRef": {"name": name}}])),
        "env": variables::variables(app, component, login),
        "volumeMounts": volumes::mounts(app, component, login),
        "resources": quantity::resources(component.spec.resources.as_ref()),
        // The last lines of the log become the message of a failed container, which is what people are shown.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        },
    })
}

fn assemble(
    app: &ValidApp<'_>,
    component: &ValidComponent<'_>,
    mut pod: Value,
    labels: Value,
    container: Value,
    volumes: Vec<Value>,
) -> Value {
    pod["serviceAccountName"] = names::component(app.name, component.name).into();
    pod["automountServiceAccountToken"] = false.into();
    pod["enableServiceLinks"] = false.into();
    pod["terminationGracePeriodSeconds"] = GRACE_PERIOD_SECONDS.into();
    pod["securityContext"] = json!({
        "runAsNonRoot": true,
        "fsGroup": VOLUME_GROUP,
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    pod["containers"] = json!([container]);
    pod["volumes"] = volumes.into();
    metadata::compact(json!({"metadata": {"labels": labels}, "spec": pod}))
}

/// The port that a component serves on: what it says, else 8080 for what serves by nature.
pub(super) fn port(component: &Component) -> Option<i32> {
    let serves = matches!(component.kind, ComponentKind::Service | ComponentKind::Site);
    component
        .port
        .or_else(|| serves.then_some(names::DEFAULT_PORT))
}

/// Name of the port that a component serves on.
pub(super) fn port_name(component: &Component) -> &'static str {
    match component.protocol {
        Protocol::Http => names::PORT_HTTP,
        Protocol::Grpc => "grpc",
    }
}

/// The port of probes and metrics.
pub(super) fn admin_port(component: &Component) -> i32 {
    component
        .probes
        .as_ref()
        .and_then(|probes| probes.port)
        .unwrap_or(names::ADMIN_PORT)
}

/// Container ports. Where probes are answered on the serving port there is only that one.
fn ports(component: &Component) -> Vec<Value> {
    let declare =
        |name: &str, port: i32| json!({"name": name, "containerPort": port, "protocol": "TCP"});
    let serving = port(component);
    let admin = admin_port(component);
    let mut ports: Vec<_> = serving
        .map(|port| declare(port_name(component), port))
        .into_iter()
        .collect();
    if component.kind != ComponentKind::CronJob && serving != Some(admin) {
        ports.push(declare(ADMIN_PORT_NAME, admin));
    }
    ports
}

const ADMIN_PORT_NAME: &str = "admin";

/// Two minutes to start, looked at every two seconds.
fn startup(component: &Component) -> Value {
    let probe = component.probes.as_ref().and_then(|p| p.startup.as_ref());
    http_probe(component, probe, "/livez", 2, Some(60))
}

fn readiness(component: &Component) -> Value {
    let probe = component.probes.as_ref().and_then(|p| p.readiness.as_ref());
    http_probe(component, probe, "/readyz", 5, None)
}

fn liveness(component: &Component) -> Value {
    let probe = component.probes.as_ref().and_then(|p| p.liveness.as_ref());
    http_probe(component, probe, "/livez", 10, None)
}

fn http_probe(
    component: &Component,
    probe: Option<&Probe>,
    path: &str,
    period: i32,
    failures: Option<i32>,
) -> Value {
    let port = if port(component) == Some(admin_port(component)) {
        port_name(component)
    } else {
        ADMIN_PORT_NAME
    };
    json!({
        "httpGet": {"path": probe.and_then(|p| p.path.as_deref()).unwrap_or(path), "port": port},
        "periodSeconds": probe.and_then(|p| p.period_seconds).unwrap_or(period),
        "timeoutSeconds": probe.and_then(|p| p.timeout_seconds),
        "failureThreshold": probe.and_then(|p| p.failure_threshold).or(failures),
    })
}
