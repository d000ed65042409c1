//! What is said, and when.

use super::*;
use crate::plan::tests::{NOW, World, new_image};
use crate::render::tests::fixture::{Fixture, demo};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn verdict(world: &World, fixture: &Fixture, previous: &TodoAppStatus, now: i64) -> Verdict {
    let app = fixture.valid();
    let (wanted, decision) = world.decide(&app);
    let plan = plan::plan(&app, &wanted, &decision, &world.observed());
    status(&Outcome {
        app: &app,
        wanted: &wanted,
        plan: &plan,
        decision: &decision,
        observed: &world.observed(),
        rejected: &world.rejected,
        failed: &[],
        previous,
        now: at(now),
    })
}

fn condition<'a>(status: &'a TodoAppStatus, kind: &str) -> &'a Condition {
    status
        .conditions
        .iter()
        .find(|condition| condition.type_ == kind)
        .unwrap()
}

fn is(status: &TodoAppStatus, kind: &str) -> bool {
    condition(status, kind).status == "True"
}

#[test]
fn all_is_well() {
    let fixture = demo();
    let Verdict { status, again_in } = verdict(
        &World::proven(&fixture),
        &fixture,
        &TodoAppStatus::default(),
        NOW,
    );
    assert!(is(&status, READY), "{:#?}", status.conditions);
    assert!(!is(&status, PROGRESSING) && !is(&status, DEGRADED));
    assert_eq!(status.ready.as_deref(), Some("4/4"));
    assert_eq!(again_in, None);
    let effective = status.effective_release.unwrap();
    assert_eq!(effective.reason, "Spec");
    assert!(effective.revision.is_some());
}

#[test]
fn the_same_observation_gives_the_same_status() {
    let fixture = demo();
    let world = World::proven(&fixture);
    let first = verdict(&world, &fixture, &TodoAppStatus::default(), NOW).status;
    assert_eq!(verdict(&world, &fixture, &first, NOW + 500).status, first);
}

#[test]
fn one_unhealthy_component_is_named_with_its_cause() {
    let fixture = demo();
    let mut world = World::proven(&fixture);
    world.change(Kind::Rollout, "demo-api", |live| {
        live.health =
            Health::Progressing(Cause::new("NotAvailable", "2 of 3 replicas are available"));
    });
    let status = verdict(&world, &fixture, &TodoAppStatus::default(), NOW).status;
    let ready = condition(&status, READY);
    assert_eq!(
        (ready.status.as_str(), ready.reason.as_str()),
        ("False", "ComponentProgressing")
    );
    assert_eq!(ready.message, "api: 2 of 3 replicas are available");
    assert_eq!(status.ready.as_deref(), Some("3/4"));
}

#[test]
fn not_ready_for_too_long_is_degraded() {
    let fixture = demo();
    let mut world = World::proven(&fixture);
    world.change(Kind::Rollout, "demo-api", |live| {
        live.health =
            Health::Progressing(Cause::new("NotAvailable", "2 of 3 replicas are available"));
    });
    let first = verdict(&world, &fixture, &TodoAppStatus::default(), NOW);
    assert_eq!(first.again_in, Some(SignedDuration::from_secs(600)));
    let later = verdict(&world, &fixture, &first.status, NOW + 599);
    assert_eq!(later.again_in, Some(SignedDuration::from_secs(1)));
    assert!(!is(&later.status, DEGRADED));
    let late = verdict(&world, &fixture, &first.status, NOW + 600).status;
    assert!(is(&late, DEGRADED) && !is(&late, PROGRESSING));
    assert!(
        condition(&late, DEGRADED)
            .message
            .contains("2 of 3 replicas"),
        "with its cause"
    );
    let still = verdict(&world, &fixture, &late, NOW + 601).status;
    assert_eq!(still, late, "and it stays so");
}

#[test]
fn a_new_generation_gets_the_whole_deadline() {
    let fixture = demo();
    let mut world = World::proven(&fixture);
    world.change(Kind::Rollout, "demo-api", |live| {
        live.health = Health::Progressing(Cause::new("NotAvailable", "waits"));
    });
    let late = verdict(
        &world,
        &fixture,
        &verdict(&world, &fixture, &TodoAppStatus::default(), NOW).status,
        NOW + 600,
    )
    .status;
    let mut changed = demo();
    changed.app.metadata.generation = Some(2);
    let anew = verdict(&world, &changed, &late, NOW + 700);
    assert!(is(&anew.status, PROGRESSING) && !is(&anew.status, DEGRADED));
    assert_eq!(anew.again_in, Some(SignedDuration::from_secs(600)));
}

#[test]
fn a_rejected_release_is_degraded_while_the_last_good_one_serves() {
    let mut world = World::proven(&demo());
    let fixture = new_image("web", "2.0.0");
    world.reconcile(&fixture);
    world.change_workload(Kind::Rollout, "demo-web", |workload| {
        workload.rejected = Some(Box::new(Cause::new(
            "RolloutAborted",
            "metric success-rate: 0.5",
        )));
    });
    world.reconcile(&fixture);
    let status = verdict(&world, &fixture, &TodoAppStatus::default(), NOW).status;
    let ready = condition(&status, READY);
    assert_eq!(ready.reason, reasons::RELEASE_REJECTED);
    assert!(
        ready.message.contains("1.0.0") && ready.message.contains("success-rate: 0.5"),
        "{}",
        ready.message
    );
    assert!(is(&status, DEGRADED));
    let effective = status.effective_release.unwrap();
    assert_eq!(effective.reason, "Rejected");
    assert_ne!(Some(effective.fingerprint), status.fingerprint);
    assert_eq!(
        status.components["web"].image.as_deref(),
        Some("registry.example.com/web:1.0.0")
    );
}

#[test]
fn a_barrier_says_what_it_waits_for() {
    let fixture = demo();
    let mut world = World::empty();
    world.reconcile(&fixture);
    world.change(Kind::Cluster, "demo-db", |live| {
        live.health = Health::Progressing(Cause::new("Setup", "Setting up primary"));
    });
    let status = verdict(&world, &fixture, &TodoAppStatus::default(), NOW).status;
    assert!(!is(&status, READY));
    assert_eq!(condition(&status, DATABASES_READY).reason, "Setup");
    assert_eq!(status.components["api"].state, components::WAITING);
    assert!(
        status.components["api"]
            .message
            .as_deref()
            .unwrap()
            .contains("Setting up primary")
    );
    assert_eq!(status.effective_release, None, "nothing serves yet");
}

#[test]
fn a_missing_peer_is_a_condition_with_the_command() {
    let fixture = demo();
    let mut world = World::proven(&fixture);
    world.missing = [Kind::ScaledObject, Kind::TriggerAuthentication].into();
    let status = verdict(&world, &fixture, &TodoAppStatus::default(), NOW).status;
    let applied = condition(&status, APPLIED);
    assert_eq!(applied.reason, reasons::PEER_MISSING);
    assert!(
        applied.message.contains("keda-2.20.2.yaml"),
        "{}",
        applied.message
    );
}

#[test]
fn an_invalid_spec_keeps_what_was_known() {
    let fixture = demo();
    let mut app = fixture.app.clone();
    app.status = Some(
        verdict(
            &World::proven(&fixture),
            &fixture,
            &TodoAppStatus::default(),
            NOW,
        )
        .status,
    );
    app.metadata.generation = Some(2);
    let problem = Problem {
        field: "spec.x".into(),
        value: "1".into(),
        rule: "must be 2".into(),
    };
    let status = invalid(&app, Some("production"), &[problem], at(NOW + 1));
    assert!(!is(&status, READY) && is(&status, DEGRADED));
    assert_eq!(condition(&status, ACCEPTED).message, "spec.x: 1: must be 2");
    assert_eq!(status.observed_generation, Some(2));
    assert_eq!(status.components.len(), 4);
    assert_eq!(status.effective_release.unwrap().reason, "Invalid");
}
