//! Migrations: a Job that must succeed before the first new pod.

use std::collections::BTreeMap;

use serde_json::json;

use super::metadata::child;
use super::{duration, pod};
use crate::canonical;
use crate::child::Child;
use crate::inputs::{Migration, PodInputs};
use crate::kind::Kind;
use crate::names;
use crate::validate::{ValidApp, ValidComponent};

/// Value of [`names::LABEL_ROLE`] on the pods of a migration.
pub(super) const ROLE: &str = "migrate";
/// What a migration is started with where the component does not say.
const DEFAULT_ARGUMENT: &str = "migrate";
const DEFAULT_TIMEOUT_SECONDS: u64 = 600;
const DEFAULT_RETRIES: i32 = 3;

/// The migration of a component, where it has one.
pub(super) fn of(
    app: &ValidApp<'_>,
    component: &ValidComponent<'_>,
    config_map: Option<&str>,
) -> Option<Migration> {
    let migrate = component.spec.migrate.as_ref()?;
    let args = match migrate.args.as_slice() {
        [] => vec![DEFAULT_ARGUMENT.to_owned()],
        args => args.to_vec(),
    };
    let attempt = app.attempts.get(component.name).copied().unwrap_or(0);
    let hash = canonical::short(&(component.image, &args, attempt), 8);
    let name = names::component(app.name, component.name);
    let timeout = duration::seconds(migrate.timeout.as_ref(), DEFAULT_TIMEOUT_SECONDS);
    Some(Migration {
        job: format!("{name}-{ROLE}-{hash}"),
        template: pod::migration_template(app, component, config_map, &args),
        retries: migrate.retries.unwrap_or(DEFAULT_RETRIES),
        timeout_seconds: i64::try_from(timeout).unwrap_or(i64::MAX),
    })
}

/// The Jobs. They stay when they have ended (no `ttlSecondsAfterFinished`): one that vanished would run again.
pub(super) fn jobs(app: &ValidApp<'_>, inputs: &BTreeMap<String, PodInputs>) -> Vec<Child> {
    inputs
        .iter()
        .filter_map(|(component, inputs)| {
            let migration = inputs.migration.as_ref()?;
            let spec = json!({
                "backoffLimit": migration.retries,
                "activeDeadlineSeconds": migration.timeout_seconds,
                "template": migration.template,
            });
            let content = json!({"spec": spec});
            let mut job = child(app, Kind::Job, &migration.job, Some(component), content);
            job.body["metadata"]["labels"][names::LABEL_ROLE] = ROLE.into();
            Some(job)
        })
        .collect()
}
