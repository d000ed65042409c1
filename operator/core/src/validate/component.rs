//! Components: what each says about itself, and whether it fits the stage that it runs in.

use std::collections::BTreeMap;

use todo_operator_api::component::{
    Analysis, Component, ComponentKind, Egress, Probe, Resources, Rollout, Scaling, Schedule,
    Strategy,
};
use todo_operator_api::environment::LimitRange;
use todo_operator_api::scalar::{Duration, Quantity};

use super::syntax::{self, Shortest};
use super::{NOT_SET, Problems, Scope, data, mounts};
use crate::names::{ADMIN_PORT, DEFAULT_PORT};

const PORTS: std::ops::RangeInclusive<i32> = 1..=65_535;
/// Time without progress after which a new version is rejected, where nobody says.
const PROGRESS_DEADLINE_SECONDS: u64 = 600;

pub(super) fn check(scope: &Scope<'_, '_>, problems: &mut Problems) {
    let components = &scope.app.spec.components;
    if components.is_empty() {
        problems.add(
            "spec.components",
            NOT_SET,
            "an application has at least one component",
        );
    }
    for (name, component) in components {
        let path = format!("spec.components.{name}");
        by_kind(problems, &path, component);
        ports(problems, &path, component);
        calls(problems, &path, name, component, components);
        for (index, egress) in component.egress.iter().enumerate() {
            self::egress(problems, &format!("{path}.egress[{index}]"), egress);
        }
        for (topic, consume) in &component.consumes {
            syntax::range(
                problems,
                &format!("{path}.consumes.{topic}.lag"),
                consume.lag,
                1..=i64::MAX,
            );
        }
        if let Some(own) = &component.resources {
            resources(problems, &format!("{path}.resources"), own);
        }
        if let Some(own) = &component.scaling {
            scaling(problems, &format!("{path}.scaling"), own);
        }
        if let Some(own) = &component.rollout {
            rollout(problems, &format!("{path}.rollout"), own);
        }
        if let Some(schedule) = &component.schedule {
            self::schedule(problems, &format!("{path}.schedule"), schedule);
        }
        mounts::check(problems, &path, component);
    }
    for (name, component) in &scope.running {
        in_stage(scope, problems, name, component);
    }
}

/// The port that a component serves, if it does.
fn port(component: &Component) -> Option<i32> {
    component.port.or(match component.kind {
        ComponentKind::Service | ComponentKind::Site => Some(DEFAULT_PORT),
        ComponentKind::Worker | ComponentKind::CronJob => None,
    })
}

/// What each kind can have.
fn by_kind(problems: &mut Problems, path: &str, component: &Component) {
    let is_cron_job = component.kind == ComponentKind::CronJob;
    let is_canary = component
        .rollout
        .as_ref()
        .is_some_and(|rollout| rollout.strategy == Strategy::Canary);
    if is_cron_job && is_canary {
        problems.add(
            format!("{path}.rollout.strategy"),
            "Canary",
            "a CronJob cannot have a canary: use strategy Rolling, or leave rollout out",
        );
    }
    if is_cron_job && component.scaling.is_some() {
        problems.add(
            format!("{path}.scaling"),
            "set",
            "a CronJob does not scale: remove scaling",
        );
    }
    if is_cron_job && component.migrate.is_some() {
        problems.add(
            format!("{path}.migrate"),
            "set",
            "a CronJob does not migrate: let the Service or Worker that owns the database do it",
        );
    }
    if is_cron_job && component.schedule.is_none() {
        problems.add(
            format!("{path}.schedule"),
            NOT_SET,
            "a CronJob needs a schedule",
        );
    }
    if !is_cron_job && component.schedule.is_some() {
        problems.add(
            format!("{path}.schedule"),
            "set",
            "only a CronJob has a schedule: remove it",
        );
    }
    let is_routable = matches!(component.kind, ComponentKind::Service | ComponentKind::Site);
    if component.route.is_some() && !is_routable {
        problems.add(
            format!("{path}.route"),
            "set",
            "only a Service or a Site can be routed: remove route",
        );
    }
    if let Some(migrate) = &component.migrate {
        if component.database.is_none() {
            problems.add(
                format!("{path}.migrate"),
                "set",
                "migrate needs a database to migrate: set database",
            );
        }
        syntax::duration(
            problems,
            &format!("{path}.migrate.timeout"),
            migrate.timeout.as_ref(),
            Shortest::Second,
        );
        syntax::range(
            problems,
            &format!("{path}.migrate.retries"),
            migrate.retries,
            0..=100,
        );
    }
}

fn ports(problems: &mut Problems, path: &str, component: &Component) {
    let probes = component.probes.clone().unwrap_or_default();
    syntax::range(problems, &format!("{path}.port"), component.port, PORTS);
    syntax::range(problems, &format!("{path}.probes.port"), probes.port, PORTS);
    let admin = probes.port.unwrap_or(ADMIN_PORT);
    if let Some(port) = port(component).filter(|port| *port == admin) {
        let field = if component.port.is_some() {
            "port"
        } else {
            "probes.port"
        };
        problems.add(
            format!("{path}.{field}"),
            port,
            format!("the admin port (probes.port, by default {ADMIN_PORT}) must be another than the port that serves: it is never routed"),
        );
    }
    for (name, probe) in [
        ("startup", probes.startup),
        ("readiness", probes.readiness),
        ("liveness", probes.liveness),
    ] {
        if let Some(probe) = probe {
            self::probe(problems, &format!("{path}.probes.{name}"), &probe);
        }
    }
}

fn probe(problems: &mut Problems, path: &str, probe: &Probe) {
    if let Some(text) = probe.path.as_ref().filter(|text| !text.starts_with('/')) {
        problems.add(format!("{path}.path"), text, "a path begins with /");
    }
    syntax::range(
        problems,
        &format!("{path}.periodSeconds"),
        probe.period_seconds,
        1..=3600,
    );
    syntax::range(
        problems,
        &format!("{path}.timeoutSeconds"),
        probe.timeout_seconds,
        1..=3600,
    );
    syntax::range(
        problems,
        &format!("{path}.failureThreshold"),
        probe.failure_threshold,
        1..=1000,
    );
}

fn calls(
    problems: &mut Problems,
    path: &str,
    name: &str,
    component: &Component,
    components: &BTreeMap<String, Component>,
) {
    let path = format!("{path}.calls");
    syntax::once(problems, &path, component.calls.iter().map(String::as_str));
    for callee in &component.calls {
        match components.get(callee) {
            None => problems.add(
                &path,
                callee,
                "no component has this name: correct it, or declare it in spec.components",
            ),
            Some(_) if callee == name => {
                problems.add(
                    &path,
                    callee,
                    "a component does not call itself through its Service: remove it",
                );
            }
            Some(target) if port(target).is_none() => {
                problems.add(
                    &path,
                    callee,
                    "it serves nothing that could be called: set its port",
                );
            }
            Some(_) => {}
        }
    }
}

fn egress(problems: &mut Problems, path: &str, egress: &Egress) {
    match (&egress.cidr, &egress.namespace) {
        (Some(cidr), None) => syntax::cidr(problems, &format!("{path}.cidr"), cidr),
        (None, Some(namespace)) => {
            syntax::namespace(problems, &format!("{path}.namespace"), Some(namespace));
        }
        (Some(_), Some(_)) => problems.add(
            path,
            "cidr and namespace",
            "set exactly one of cidr and namespace",
        ),
        (None, None) => problems.add(path, NOT_SET, "set exactly one of cidr and namespace"),
    }
    for port in &egress.ports {
        syntax::range(problems, &format!("{path}.ports"), Some(*port), PORTS);
    }
}

fn schedule(problems: &mut Problems, path: &str, schedule: &Schedule) {
    if let Err(rule) = syntax::cron(&schedule.cron) {
        problems.add(format!("{path}.cron"), &schedule.cron, rule);
    }
    syntax::time_zone(
        problems,
        &format!("{path}.timeZone"),
        schedule.time_zone.as_deref(),
    );
    syntax::duration(
        problems,
        &format!("{path}.timeout"),
        schedule.timeout.as_ref(),
        Shortest::Second,
    );
}

/// Compute resources, wherever they stand.
pub(super) fn resources(problems: &mut Problems, path: &str, resources: &Resources) {
    quantities(problems, &format!("{path}.requests"), &resources.requests);
    quantities(problems, &format!("{path}.limits"), &resources.limits);
    for (resource, request) in &resources.requests {
        if let Some(limit) = resources
            .limits
            .get(resource)
            .filter(|limit| is_above(request, limit))
        {
            problems.add(
                format!("{path}.requests.{resource}"),
                request,
                format!("a request is not above its limit, {limit}: lower the request or raise the limit"),
            );
        }
    }
}

/// Quantities by name.
pub(super) fn quantities(
    problems: &mut Problems,
    path: &str,
    quantities: &BTreeMap<String, Quantity>,
) {
    for (name, quantity) in quantities {
        syntax::quantity(problems, &format!("{path}.{name}"), quantity);
    }
}

/// Whether both are quantities and the first is the greater.
pub(super) fn is_above(one: &Quantity, other: &Quantity) -> bool {
    matches!((one.as_millis(), other.as_millis()), (Some(one), Some(other)) if one > other)
}

/// Scaling by itself, wherever it stands.
pub(super) fn scaling(problems: &mut Problems, path: &str, scaling: &Scaling) {
    syntax::range(problems, &format!("{path}.min"), scaling.min, 0..=1000);
    syntax::range(problems, &format!("{path}.max"), scaling.max, 1..=1000);
    syntax::range(problems, &format!("{path}.cpu"), scaling.cpu, 1..=100);
    syntax::range(problems, &format!("{path}.lag"), scaling.lag, 1..=i64::MAX);
    if let (Some(min), Some(max)) = (scaling.min, scaling.max)
        && min > max
    {
        problems.add(
            format!("{path}.min"),
            min,
            format!("min must not be above max, {max}"),
        );
    }
}

/// How a new release reaches the pods, wherever it stands.
pub(super) fn rollout(problems: &mut Problems, path: &str, rollout: &Rollout) {
    let rising = rollout.steps.is_sorted_by(|one, next| one < next);
    if !rising || rollout.steps.iter().any(|step| !(1..=100).contains(step)) {
        let steps: Vec<String> = rollout.steps.iter().map(i32::to_string).collect();
        problems.add(
            format!("{path}.steps"),
            steps.join(", "),
            "steps rise strictly, from 1 to 100 per cent",
        );
    }
    syntax::duration(
        problems,
        &format!("{path}.stepPause"),
        rollout.step_pause.as_ref(),
        Shortest::Zero,
    );
    let deadline = rollout.progress_deadline.as_ref();
    syntax::duration(
        problems,
        &format!("{path}.progressDeadline"),
        deadline,
        Shortest::Second,
    );
    syntax::range(
        problems,
        &format!("{path}.minReadySeconds"),
        rollout.min_ready_seconds,
        0..=3600,
    );
    if let Some(analysis) = &rollout.analysis {
        self::analysis(problems, &format!("{path}.analysis"), analysis);
    }
    let deadline = deadline.map_or(Some(PROGRESS_DEADLINE_SECONDS), Duration::as_secs);
    let ready = rollout
        .min_ready_seconds
        .and_then(|seconds| u64::try_from(seconds).ok());
    if let (Some(deadline), Some(ready)) = (deadline, ready)
        && ready >= deadline
    {
        problems.add(
                format!("{path}.minReadySeconds"),
                ready,
                format!("must be shorter than progressDeadline, {deadline}s: no new version could ever succeed"),
            );
    }
}

fn analysis(problems: &mut Problems, path: &str, analysis: &Analysis) {
    syntax::duration(
        problems,
        &format!("{path}.latency"),
        analysis.latency.as_ref(),
        Shortest::Millisecond,
    );
    if let Some(success) = analysis
        .success
        .as_ref()
        .filter(|success| !is_percentage(success))
    {
        problems.add(
            format!("{path}.success"),
            success,
            "a share in per cent from 0 to 100, with at most two decimals, as 99.5",
        );
    }
}

fn is_percentage(text: &str) -> bool {
    let (whole, decimals) = text
        .split_once('.')
        .map_or((text, None), |(whole, decimals)| (whole, Some(decimals)));
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    are_digits(whole)
        && whole.len() <= 3
        && decimals.is_none_or(|decimals| are_digits(decimals) && decimals.len() <= 2)
        && text.parse::<f64>().is_ok_and(|share| share <= 100.0)
}

/// What depends on the stage: its defaults, its policy, its topics and the other components in it.
fn in_stage(scope: &Scope<'_, '_>, problems: &mut Problems, name: &str, component: &Component) {
    let path = format!("spec.components.{name}");
    for callee in &component.calls {
        let exists = scope.app.spec.components.contains_key(callee);
        if exists && !scope.running.contains_key(callee.as_str()) {
            problems.add(
                format!("{path}.calls"),
                callee,
                format!(
                    "it does not run in {}: add this stage to its environments, or restrict {name} too",
                    scope.environment_name()
                ),
            );
        }
    }
    let limits = scope
        .policy()
        .and_then(|policy| policy.limit_range.as_ref());
    if let Some(resources) = &component.resources {
        within_limit_range(problems, &format!("{path}.resources"), resources, limits);
    }
    if let Some(scaling) = &component.scaling {
        scaling_in_stage(
            scope,
            problems,
            &format!("{path}.scaling"),
            component,
            scaling,
            limits,
        );
    }
}

/// What the LimitRange refuses would be refused pod by pod, long after the spec was accepted.
fn within_limit_range(
    problems: &mut Problems,
    path: &str,
    resources: &Resources,
    range: Option<&LimitRange>,
) {
    let Some(range) = range else { return };
    for (resource, most) in &range.max {
        let asked = [
            ("limits", resources.limits.get(resource)),
            ("requests", resources.requests.get(resource)),
        ];
        for (kind, quantity) in asked {
            if let Some(quantity) = quantity.filter(|quantity| is_above(quantity, most)) {
                problems.add(
                    format!("{path}.{kind}.{resource}"),
                    quantity,
                    format!(
                        "this stage allows at most {most} for one container (policy.limitRange.max)"
                    ),
                );
            }
        }
    }
}

fn scaling_in_stage(
    scope: &Scope<'_, '_>,
    problems: &mut Problems,
    path: &str,
    component: &Component,
    scaling: &Scaling,
    limits: Option<&LimitRange>,
) {
    if scaling.max.is_some() && scaling.cpu.is_none() && scaling.lag.is_none() {
        problems.add(
            format!("{path}.max"),
            scaling.max.unwrap_or_default(),
            "max needs something to scale by: set cpu or lag",
        );
    }
    if let Some(lag) = scaling.lag {
        if component.consumes.values().all(|consume| consume.broadcast) {
            problems.add(
                format!("{path}.lag"),
                lag,
                "lag needs a consumer group to measure: consume a topic that is not broadcast, or scale by cpu",
            );
        }
        if scope.environment.is_some() && scope.messaging().is_none() {
            problems.add(
                format!("{path}.lag"),
                lag,
                format!("environment {} has no messaging, so no lag can be measured: set its spec.messaging", scope.environment_name()),
            );
        }
    }
    if let Some(cpu) = scaling.cpu.filter(|_| !has_cpu_request(component, limits)) {
        problems.add(
            format!("{path}.cpu"),
            cpu,
            "cpu is a share of the request: set resources.requests.cpu here or in the environment's defaults",
        );
    }
    if let Some(cpu) = scaling
        .cpu
        .filter(|_| scaling.min == Some(0) && scaling.lag.is_none())
    {
        problems.add(
            format!("{path}.min"),
            0,
            format!(
                "without pods no CPU use can be measured (cpu: {cpu}): set min: 1, or scale by lag"
            ),
        );
    }
    let most = scaling.max.max(scaling.min);
    let partitions = data::usable_replicas(scope.app, component);
    if let (Some(most), Some(partitions)) = (most, partitions)
        && most > partitions
    {
        let field = if scaling.max == Some(most) {
            "max"
        } else {
            "min"
        };
        problems.add(
                format!("{path}.{field}"),
                most,
                format!(
                    "a Worker has at most as many replicas as the topics that it consumes have partitions, {partitions}: \
                     the others would be idle"
                ),
            );
    }
}

/// Kubernetes fills a request from the limit, and both from the LimitRange.
fn has_cpu_request(component: &Component, limits: Option<&LimitRange>) -> bool {
    let own = component.resources.as_ref();
    own.is_some_and(|own| own.requests.contains_key("cpu") || own.limits.contains_key("cpu"))
        || limits.is_some_and(|range| {
            range.default_request.contains_key("cpu") || range.default.contains_key("cpu")
        })
}
