//! The live table of the applications.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt as _};
use owo_colors::{OwoColorize as _, Stream::Stderr};
use serde_json::Value;

use crate::config_repo::STAGES;

const PATIENCE: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(200);

/// One application in one stage, as the table shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    place: String,
    is_ready: bool,
    /// `ready/total`, or nothing yet.
    components: String,
    message: String,
}

/// The namespaces of all stages, in the order in which a release passes through them.
pub async fn namespaces(client: &Client) -> Result<Vec<String>> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(
        todo_operator_api::GROUP,
        todo_operator_api::VERSION,
        "TodoEnvironment",
    ));
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
    let environments = api
        .list(&ListParams::default())
        .await
        .context("cannot list the TodoEnvironments")?;
    let mut found: Vec<_> = environments
        .iter()
        .filter_map(stage_and_namespace)
        .collect();
    found.sort();
    if found.len() != STAGES.len() {
        bail!(
            "config-repo/platform must have the TodoEnvironments {}, each with a namespace",
            STAGES.join(", ")
        );
    }
    Ok(found.into_iter().map(|(_, namespace)| namespace).collect())
}

fn stage_and_namespace(environment: &DynamicObject) -> Option<(usize, String)> {
    let name = environment.name_any();
    let stage = STAGES.iter().position(|stage| *stage == name)?;
    Some((
        stage,
        environment.data["spec"]["namespace"].as_str()?.to_owned(),
    ))
}

/// Shows the applications until all in these namespaces are Ready.
pub async fn wait_ready(client: &Client, namespaces: &[String]) -> Result<()> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(
        todo_operator_api::GROUP,
        todo_operator_api::VERSION,
        "TodoApp",
    ));
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
    let mut table = Table::new();
    let begun = Instant::now();
    loop {
        let apps = api
            .list(&ListParams::default())
            .await
            .context("cannot list the TodoApps")?;
        let mut rows: Vec<Row> = apps
            .iter()
            .filter(|app| app.namespace().is_some_and(|ns| namespaces.contains(&ns)))
            .map(row)
            .collect();
        rows.sort_by(|a, b| a.place.cmp(&b.place));
        table.show(&rows, begun.elapsed());
        let expected = namespaces.iter().all(|ns| {
            rows.iter()
                .any(|row| row.place.starts_with(&format!("{ns}/")))
        });
        if expected && rows.iter().all(|row| row.is_ready) {
            table.end();
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            table.end();
            let late: Vec<_> = rows
                .iter()
                .filter(|row| !row.is_ready)
                .map(|row| format!("{}: {}", row.place, row.message))
                .collect();
            bail!(
                "not ready after {} s:\n  {}\nNothing was stopped, so you can look; `cargo xtask down` removes it.",
                PATIENCE.as_secs(),
                late.join("\n  ")
            );
        }
        tokio::time::sleep(POLL).await;
    }
}

fn row(app: &DynamicObject) -> Row {
    let status = &app.data["status"];
    let ready = condition(status, "Ready");
    // A condition of an earlier generation says nothing about this one.
    let is_current = status["observedGeneration"].as_i64() == app.metadata.generation;
    let text = |name: &str| ready.and_then(|c| c[name].as_str()).unwrap_or_default();
    let message = match (text("reason"), text("message")) {
        ("", "") => "not looked at yet".to_owned(),
        (reason, "") => reason.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    };
    Row {
        place: format!("{}/{}", app.namespace().unwrap_or_default(), app.name_any()),
        is_ready: is_current && text("status") == "True",
        components: status["ready"].as_str().unwrap_or("-").to_owned(),
        message,
    }
}

fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    status["conditions"]
        .as_array()?
        .iter()
        .find(|condition| condition["type"] == kind)
}

/// A line for each application that is written over on a terminal, and printed when it changes elsewhere.
struct Table {
    lines: Option<MultiProgress>,
    bars: BTreeMap<String, ProgressBar>,
    last: Vec<Row>,
}

impl Table {
    fn new() -> Self {
        Self {
            lines: std::io::stderr().is_terminal().then(MultiProgress::new),
            bars: BTreeMap::new(),
            last: Vec::new(),
        }
    }

    fn show(&mut self, rows: &[Row], since: Duration) {
        for row in rows.iter().filter(|row| !self.last.contains(row)) {
            let line = line(row, since);
            match &self.lines {
                None => eprintln!("{line}"),
                Some(lines) => self
                    .bars
                    .entry(row.place.clone())
                    .or_insert_with(|| {
                        let plain = ProgressStyle::with_template("{wide_msg}")
                            .unwrap_or_else(|_| ProgressStyle::default_bar());
                        lines.add(ProgressBar::new_spinner().with_style(plain))
                    })
                    .set_message(line),
            }
        }
        self.last = rows.to_vec();
    }

    /// Leaves the lines where they are.
    fn end(&self) {
        for bar in self.bars.values() {
            bar.abandon();
        }
    }
}

fn line(row: &Row, since: Duration) -> String {
    let mark = if row.is_ready {
        format!("{}", "✓".if_supports_color(Stderr, |t| t.green()))
    } else {
        format!("{}", "…".if_supports_color(Stderr, |t| t.yellow()))
    };
    let seconds = format!("{:5.1} s", since.as_secs_f64());
    format!(
        "  {mark} {:28} {:>5}  {}  {}",
        row.place,
        row.components,
        seconds.if_supports_color(Stderr, |t| t.dimmed()),
        row.message
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn app(status: Value) -> DynamicObject {
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(
            "todo-operator.dev",
            "v1alpha1",
            "TodoApp",
        ));
        let mut app = DynamicObject::new("todo", &kind).within("test");
        app.metadata.generation = Some(2);
        app.data = json!({"status": status});
        app
    }

    #[test]
    fn ready_counts_for_the_current_generation_only() {
        let conditions =
            json!([{"type": "Ready", "status": "True", "reason": "AllReady", "message": ""}]);
        assert!(
            row(&app(
                json!({"observedGeneration": 2, "conditions": conditions})
            ))
            .is_ready
        );
        assert!(
            !row(&app(
                json!({"observedGeneration": 1, "conditions": conditions})
            ))
            .is_ready
        );
    }

    #[test]
    fn an_app_without_status_is_shown() {
        let row = row(&app(Value::Null));
        assert_eq!(
            (
                row.place.as_str(),
                row.components.as_str(),
                row.message.as_str()
            ),
            ("test/todo", "-", "not looked at yet")
        );
    }
}
