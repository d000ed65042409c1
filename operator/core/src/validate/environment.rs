//! The environment: its namespace, what its applications rely on, and what releases must pass.

use std::collections::BTreeMap;

use todo_operator_api::TodoEnvironment;
use todo_operator_api::environment::{
    Defaults, EnvironmentAnalysis, EnvironmentMessaging, LimitRange, MessagingProvider, Policy,
    SaslMechanism, SecurityProtocol,
};
use todo_operator_api::promotion::{Gates, Promotion, TriggerType};
use todo_operator_api::scalar::Quantity;
use todo_operator_api::traffic::Router;

use super::syntax::{self, Shortest};
use super::{NOT_SET, Problem, Problems, Scope, component, data, name_of, variables};
use crate::live::{Detail, Live};
use crate::names::{ANNOTATION_ADOPT, LABEL_ENVIRONMENT};

/// What was observed of an environment's namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceFacts {
    /// Whether it exists.
    pub exists: bool,
    /// Value of its label [`LABEL_ENVIRONMENT`].
    pub environment_label: Option<String>,
    /// Whether it has the annotation [`ANNOTATION_ADOPT`]` = "true"`.
    pub adopt: bool,
    /// Whether it is older than the TodoEnvironment.
    pub created_before_environment: bool,
}

impl NamespaceFacts {
    /// What `live`, the record of the Namespace, says; `None` is one that does not exist.
    pub fn of(live: Option<&Live>, environment: &TodoEnvironment) -> Self {
        let Some(live) = live else {
            return Self::default();
        };
        let asked_at = environment
            .metadata
            .creation_timestamp
            .as_ref()
            .map_or(i64::MAX, |time| time.0.as_second());
        let (label, adopt, created) = match &live.detail {
            Detail::Namespace {
                environment,
                adopt,
                created,
            } => (environment.as_deref(), *adopt, *created),
            _ => (None, false, 0),
        };
        Self {
            exists: true,
            environment_label: label.map(str::to_owned),
            adopt,
            created_before_environment: created < asked_at,
        }
    }
}

/// Checks an environment against `all` of them. Every problem is found at once, sorted by field.
///
/// `namespace` is what was observed of its namespace; where that is unknown, as offline, only the name is judged.
/// `operator_namespace` is the operator's own.
///
/// Refused are namespaces of Kubernetes (`kube-*`), the operator's own, and `default`: it exists in every cluster before
/// anybody asked for it, things land in it by mistake, and a default-deny network policy or a quota would hit them all.
pub fn environment(
    environment: &TodoEnvironment,
    all: &[&TodoEnvironment],
    namespace: Option<&NamespaceFacts>,
    operator_namespace: &str,
) -> Result<(), Vec<Problem>> {
    let mut problems = Problems::default();
    namespace_name(
        &mut problems,
        "spec.namespace",
        &environment.spec.namespace,
        Some(operator_namespace),
    );
    sharing(&mut problems, environment, all);
    if let Some(facts) = namespace {
        namespace_facts(&mut problems, environment, facts);
    }
    relied_on(environment, &mut problems);
    if let Some(policy) = &environment.spec.policy {
        quota(&mut problems, policy);
    }
    if let Some(promotion) = &environment.spec.promotion {
        self::promotion(&mut problems, environment, promotion, all);
    }
    if let Some(preview) = &environment.spec.preview {
        syntax::duration(
            &mut problems,
            "spec.preview.ttl",
            preview.ttl.as_ref(),
            Shortest::Second,
        );
        syntax::range(&mut problems, "spec.preview.max", preview.max, 1..=100);
    }
    match problems.into_sorted() {
        problems if problems.is_empty() => Ok(()),
        problems => Err(problems),
    }
}

/// The environment as an application sees it: there is exactly one, and what is rendered from it can be rendered.
///
/// What concerns promotions alone is not looked at: a bad window stops no application.
pub(super) fn of_app(scope: &Scope<'_, '_>, problems: &mut Problems) {
    let field = "metadata.namespace";
    let environments = scope.surroundings.environments;
    if scope.namespace.is_empty() {
        problems.add(
            field,
            NOT_SET,
            "an application stands in the namespace of its environment: set metadata.namespace",
        );
    } else {
        namespace_name(problems, field, scope.namespace, None);
    }
    if environments.is_empty() && !scope.namespace.is_empty() {
        problems.add(
            field,
            scope.namespace,
            format!(
                "no TodoEnvironment has spec.namespace {}: create one",
                scope.namespace
            ),
        );
    }
    if environments.len() > 1 {
        let names: Vec<&str> = environments
            .iter()
            .map(|environment| name_of(environment))
            .collect();
        problems.add(
            field,
            scope.namespace,
            format!(
                "the TodoEnvironments {} share this namespace: one of them must have another",
                names.join(" and ")
            ),
        );
    }
    if let Some(environment) = scope.environment {
        let mut own = Problems::default();
        relied_on(environment, &mut own);
        for problem in own.into_sorted() {
            let field = format!(
                "TodoEnvironment {}: {}",
                name_of(environment),
                problem.field
            );
            problems.add(field, problem.value, problem.rule);
        }
    }
    let deadline = scope.app.spec.ready_deadline.as_ref();
    syntax::duration(problems, "spec.readyDeadline", deadline, Shortest::Second);
}

fn namespace_name(problems: &mut Problems, field: &str, namespace: &str, operators: Option<&str>) {
    syntax::namespace(problems, field, Some(namespace));
    let owner = if namespace.starts_with("kube-") {
        "kube-* namespaces belong to Kubernetes"
    } else if namespace == "default" {
        "the namespace default is everybody's"
    } else if operators == Some(namespace) {
        "this is the operator's own namespace"
    } else {
        return;
    };
    problems.add(
        field,
        namespace,
        format!("{owner}: use a namespace for this environment alone"),
    );
}

fn sharing(problems: &mut Problems, environment: &TodoEnvironment, all: &[&TodoEnvironment]) {
    let (name, namespace) = (name_of(environment), &environment.spec.namespace);
    for other in all
        .iter()
        .map(|other| (name_of(other), &other.spec.namespace))
    {
        if other.0 != name && other.1 == namespace {
            problems.add(
                "spec.namespace",
                namespace,
                format!("the TodoEnvironments {name} and {} share this namespace: one of them must have another", other.0),
            );
        }
    }
}

fn namespace_facts(problems: &mut Problems, environment: &TodoEnvironment, facts: &NamespaceFacts) {
    let (name, namespace) = (name_of(environment), &environment.spec.namespace);
    let field = "spec.namespace";
    if !facts.exists {
        return problems.add(
            field,
            namespace,
            format!(
                "the namespace does not exist: create it, with label {LABEL_ENVIRONMENT}: {name}"
            ),
        );
    }
    match facts.environment_label.as_deref() {
        Some(label) if label == name => {}
        Some(label) => problems.add(
            field,
            namespace,
            format!("the namespace belongs to environment {label} by its label {LABEL_ENVIRONMENT}: use another"),
        ),
        None if facts.created_before_environment && !facts.adopt => problems.add(
            field,
            namespace,
            format!(
                "the namespace existed before this environment and does not say that it is for it: set its label \
                 {LABEL_ENVIRONMENT}: {name}, or its annotation {ANNOTATION_ADOPT}: \"true\""
            ),
        ),
        None => {}
    }
}

/// What applications are rendered from.
fn relied_on(environment: &TodoEnvironment, problems: &mut Problems) {
    let spec = &environment.spec;
    if !syntax::is_name(&spec.stage) {
        problems.add(
            "spec.stage",
            &spec.stage,
            "lower-case letters, digits and '-', beginning with a letter",
        );
    }
    variables::of_environment(environment, problems);
    if let Some(defaults) = &spec.defaults {
        self::defaults(problems, defaults, spec.policy.as_ref());
    }
    if let Some(messaging) = &spec.messaging {
        self::messaging(problems, messaging);
    }
    if let Some(analysis) = &spec.analysis {
        self::analysis(problems, analysis);
    }
    if let Some(gateway) = spec
        .traffic
        .as_ref()
        .and_then(|traffic| traffic.gateway.as_ref())
    {
        syntax::object_name(problems, "spec.traffic.gateway.name", Some(&gateway.name));
        syntax::namespace(
            problems,
            "spec.traffic.gateway.namespace",
            Some(&gateway.namespace),
        );
    }
    if let Some(telemetry) = &spec.telemetry {
        syntax::url(
            problems,
            "spec.telemetry.otlpEndpoint",
            &telemetry.otlp_endpoint,
        );
    }
    if let Some(network) = spec
        .policy
        .as_ref()
        .and_then(|policy| policy.network.as_ref())
    {
        for (field, namespace) in [
            ("ingressNamespace", &network.ingress_namespace),
            ("monitoringNamespace", &network.monitoring_namespace),
            ("kafkaNamespace", &network.kafka_namespace),
            (
                "databaseOperatorNamespace",
                &network.database_operator_namespace,
            ),
            ("telemetryNamespace", &network.telemetry_namespace),
        ] {
            syntax::namespace(
                problems,
                &format!("spec.policy.network.{field}"),
                namespace.as_deref(),
            );
        }
        for (index, cidr) in network.kafka_cidrs.iter().enumerate() {
            syntax::cidr(
                problems,
                &format!("spec.policy.network.kafkaCidrs[{index}]"),
                cidr,
            );
        }
    }
}

fn defaults(problems: &mut Problems, defaults: &Defaults, policy: Option<&Policy>) {
    let path = "spec.defaults";
    let resources = defaults.resources.clone().unwrap_or_default();
    component::resources(problems, &format!("{path}.resources"), &resources);
    if let Some(scaling) = &defaults.scaling {
        component::scaling(problems, &format!("{path}.scaling"), scaling);
        let range = policy.and_then(|policy| policy.limit_range.as_ref());
        let has_request = resources.requests.contains_key("cpu")
            || resources.limits.contains_key("cpu")
            || range.is_some_and(|range| {
                range.default_request.contains_key("cpu") || range.default.contains_key("cpu")
            });
        if let Some(cpu) = scaling.cpu.filter(|_| !has_request) {
            problems.add(
                format!("{path}.scaling.cpu"),
                cpu,
                "cpu is a share of the request: set defaults.resources.requests.cpu too",
            );
        }
    }
    if let Some(rollout) = &defaults.rollout {
        component::rollout(problems, &format!("{path}.rollout"), rollout);
    }
    if defaults.router == Some(Router::Istio) {
        problems.add(
            format!("{path}.router"),
            "Istio",
            "Istio is not supported yet: use Traefik, GatewayAPI or None",
        );
    }
    syntax::range(
        problems,
        &format!("{path}.topicReplicas"),
        defaults.topic_replicas,
        1..=10,
    );
    syntax::range(
        problems,
        &format!("{path}.databaseInstances"),
        defaults.database_instances,
        1..=20,
    );
    let deadline = defaults.ready_deadline.as_ref();
    syntax::duration(
        problems,
        &format!("{path}.readyDeadline"),
        deadline,
        Shortest::Second,
    );
}

fn messaging(problems: &mut Problems, messaging: &EnvironmentMessaging) {
    let path = "spec.messaging";
    syntax::servers(
        problems,
        &format!("{path}.bootstrapServers"),
        &messaging.bootstrap_servers,
    );
    if let Some(servers) = &messaging.admin_bootstrap_servers {
        syntax::servers(problems, &format!("{path}.adminBootstrapServers"), servers);
    }
    syntax::object_name(
        problems,
        &format!("{path}.clientSecret"),
        messaging.client_secret.as_deref(),
    );
    let mechanism = format!("{path}.saslMechanism");
    match (messaging.security_protocol, messaging.sasl_mechanism) {
        (protocol, None) if data::is_sasl(protocol) => {
            problems.add(
                mechanism,
                NOT_SET,
                "a SASL protocol needs it: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
            );
        }
        (SecurityProtocol::SaslPlaintext, Some(SaslMechanism::Plain)) => {
            problems.add(
                mechanism,
                "PLAIN",
                "sends the password as it is: use it with securityProtocol SASL_SSL only",
            );
        }
        (protocol, Some(_)) if !data::is_sasl(protocol) => {
            problems.add(
                mechanism,
                "set",
                "only a SASL protocol has it: remove it, or set securityProtocol to SASL_SSL",
            );
        }
        _ => {}
    }
    match messaging.provider {
        MessagingProvider::Strimzi => match &messaging.strimzi {
            None => problems.add(
                format!("{path}.strimzi"),
                NOT_SET,
                "provider Strimzi needs strimzi.cluster and strimzi.namespace",
            ),
            Some(strimzi) => {
                syntax::object_name(
                    problems,
                    &format!("{path}.strimzi.cluster"),
                    Some(&strimzi.cluster),
                );
                syntax::namespace(
                    problems,
                    &format!("{path}.strimzi.namespace"),
                    Some(&strimzi.namespace),
                );
            }
        },
        MessagingProvider::Direct => {
            if data::is_sasl(messaging.security_protocol) && messaging.admin_credential.is_none() {
                problems.add(
                    format!("{path}.adminCredential"),
                    NOT_SET,
                    "provider Direct logs in to Kafka: name the credential that is mounted into the operator",
                );
            }
        }
    }
}

fn analysis(problems: &mut Problems, analysis: &EnvironmentAnalysis) {
    let path = "spec.analysis";
    syntax::url(
        problems,
        &format!("{path}.prometheus"),
        &analysis.prometheus,
    );
    syntax::duration(
        problems,
        &format!("{path}.delay"),
        analysis.delay.as_ref(),
        Shortest::Zero,
    );
    syntax::duration(
        problems,
        &format!("{path}.interval"),
        analysis.interval.as_ref(),
        Shortest::Second,
    );
    syntax::duration(
        problems,
        &format!("{path}.window"),
        analysis.window.as_ref(),
        Shortest::Second,
    );
}

fn quota(problems: &mut Problems, policy: &Policy) {
    let path = "spec.policy";
    component::quantities(problems, &format!("{path}.quota"), &policy.quota);
    if let Some(range) = &policy.limit_range {
        limit_range(problems, &format!("{path}.limitRange"), range);
    }
}

fn limit_range(problems: &mut Problems, path: &str, range: &LimitRange) {
    let maps = [
        ("defaultRequest", &range.default_request),
        ("default", &range.default),
        ("max", &range.max),
    ];
    for (field, quantities) in maps {
        component::quantities(problems, &format!("{path}.{field}"), quantities);
    }
    for (index, (field, lower)) in maps.iter().enumerate() {
        for (upper_field, upper) in maps.iter().skip(index + 1) {
            ordered(
                problems,
                &format!("{path}.{field}"),
                lower,
                upper_field,
                upper,
            );
        }
    }
}

fn ordered(
    problems: &mut Problems,
    path: &str,
    lower: &BTreeMap<String, Quantity>,
    upper_field: &str,
    upper: &BTreeMap<String, Quantity>,
) {
    for (resource, quantity) in lower {
        if let Some(upper) = upper
            .get(resource)
            .filter(|upper| component::is_above(quantity, upper))
        {
            problems.add(
                format!("{path}.{resource}"),
                quantity,
                format!("must not be above {upper_field}.{resource}, {upper}"),
            );
        }
    }
}

fn promotion(
    problems: &mut Problems,
    environment: &TodoEnvironment,
    promotion: &Promotion,
    all: &[&TodoEnvironment],
) {
    let path = "spec.promotion";
    if let Some(from) = &promotion.from {
        origin(problems, environment, from, all);
    }
    if let Some(trigger) = &promotion.trigger
        && trigger.kind == TriggerType::Tag
        && trigger.pattern.is_none()
    {
        problems.add(
            format!("{path}.trigger.pattern"),
            NOT_SET,
            "trigger Tag needs a pattern, as v*.*.*",
        );
    }
    syntax::duration(
        problems,
        &format!("{path}.deadline"),
        promotion.deadline.as_ref(),
        Shortest::Second,
    );
    if let Some(gates) = &promotion.gates {
        self::gates(problems, &format!("{path}.gates"), gates);
    }
}

/// Where releases come from must exist, and the way back through `from` must end.
fn origin(
    problems: &mut Problems,
    environment: &TodoEnvironment,
    from: &str,
    all: &[&TodoEnvironment],
) {
    let (field, name) = ("spec.promotion.from", name_of(environment));
    if from == name {
        return problems.add(
            field,
            from,
            "an environment does not promote from itself: name the stage before it",
        );
    }
    let find = |name: &str| all.iter().find(|other| name_of(other) == name);
    let Some(mut at) = find(from) else {
        return problems.add(
            field,
            from,
            "no TodoEnvironment has this name: create it, or correct the name",
        );
    };
    let mut chain = vec![name, from];
    // No longer than the environments there are: a circle that does not come back here is reported where it does.
    for _ in all {
        let Some(next) = at
            .spec
            .promotion
            .as_ref()
            .and_then(|promotion| promotion.from.as_deref())
        else {
            return;
        };
        chain.push(next);
        if next == name {
            return problems.add(
                field,
                from,
                format!("releases would go in a circle: {}", chain.join(" from ")),
            );
        }
        let Some(next) = find(next) else { return };
        at = next;
    }
}

fn gates(problems: &mut Problems, path: &str, gates: &Gates) {
    syntax::duration(
        problems,
        &format!("{path}.soak"),
        gates.soak.as_ref(),
        Shortest::Zero,
    );
    let names = gates.analysis.iter().map(|gate| gate.name.as_str());
    syntax::once(problems, &format!("{path}.analysis"), names);
    if let Some(test) = &gates.smoke_test {
        syntax::duration(
            problems,
            &format!("{path}.smokeTest.timeout"),
            test.timeout.as_ref(),
            Shortest::Second,
        );
    }
    if let Some(approvals) = &gates.approvals {
        syntax::range(
            problems,
            &format!("{path}.approvals.required"),
            Some(approvals.required),
            1..=10,
        );
    }
    for (index, window) in gates.windows.iter().enumerate() {
        let path = format!("{path}.windows[{index}]");
        if let Err(rule) = syntax::window(&window.cron) {
            problems.add(format!("{path}.cron"), &window.cron, rule);
        }
        syntax::duration(
            problems,
            &format!("{path}.duration"),
            Some(&window.duration),
            Shortest::Second,
        );
        syntax::time_zone(
            problems,
            &format!("{path}.timeZone"),
            window.time_zone.as_deref(),
        );
    }
}
