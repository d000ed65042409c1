//! What is rejected, what goes back, what may try again.

use std::sync::Arc;

use super::*;
use crate::plan::Origin;
use crate::plan::tests::{World, new_image};
use crate::render::tests::fixture::{Fixture, demo};

fn abort(world: &mut World, component: &str) {
    world.change_workload(Kind::Rollout, &format!("demo-{component}"), |workload| {
        workload.rejected = Some(Box::new(Cause::new(
            "RolloutAborted",
            "metric success-rate: 0.5",
        )));
    });
}

/// `web` 2.0.0 was rolled out and has failed.
fn rejected() -> (World, Fixture) {
    let mut world = World::proven(&demo());
    let fixture = new_image("web", "2.0.0");
    world.reconcile(&fixture);
    abort(&mut world, "web");
    (world, fixture)
}

#[test]
fn nothing_goes_back_before_anything_was_good() {
    let fixture = demo();
    let mut world = World::empty();
    for _ in 0..5 {
        world.reconcile(&fixture);
    }
    abort(&mut world, "web");
    let (_, decision) = world.decide(&fixture.valid());
    assert!(!decision.is_held_back());
    assert_eq!(decision.rejections, []);
}

#[test]
fn a_failed_component_is_rejected_with_its_measurement() {
    let (world, fixture) = rejected();
    let (wanted, decision) = world.decide(&fixture.valid());
    let [rejection] = decision.rejections.as_slice() else {
        panic!("{decision:?}")
    };
    assert_eq!(rejection.component, "web");
    assert_eq!(rejection.image, "registry.example.com/web:2.0.0");
    assert_eq!(rejection.inputs_hash, wanted["web"].hash());
    assert_eq!(
        rejection.measurement.as_deref(),
        Some("metric success-rate: 0.5")
    );
}

#[test]
fn the_whole_change_set_goes_back_and_nothing_else() {
    let mut world = World::proven(&demo());
    let mut fixture = new_image("web", "2.0.0");
    fixture.app.spec.release.images[2].image = "registry.example.com/worker:2.0.0".into();
    world.reconcile(&fixture);
    abort(&mut world, "web");
    let plan = world.plan(&fixture);
    assert_eq!(plan.effective["web"], Origin::LastGood);
    assert_eq!(plan.effective["worker"], Origin::LastGood);
    assert_eq!(plan.effective["api"], Origin::Spec);
}

#[test]
fn what_was_rejected_is_not_tried_again() {
    let (mut world, fixture) = rejected();
    world.reconcile(&fixture);
    world.reconcile(&fixture);
    assert_eq!(world.reconcile(&fixture), []);
    let (_, decision) = world.decide(&fixture.valid());
    assert_eq!(decision.quarantined, ["web".to_owned()].into());
    assert_eq!(decision.rejections, [], "it is on record already");
}

fn set_variable(fixture: &mut Fixture, name: &str, value: &str) {
    let web = fixture.app.spec.components.get_mut("web").unwrap();
    web.env.insert(name.into(), value.into());
}

#[test]
fn a_bad_image_does_not_come_back_under_another_label() {
    let (mut world, mut fixture) = rejected();
    world.reconcile(&fixture);
    set_variable(&mut fixture, "A", "b");
    assert!(world.decide(&fixture.valid()).1.is_held_back());
}

#[test]
fn a_later_release_without_the_bad_entry_passes() {
    let (mut world, fixture) = rejected();
    world.reconcile(&fixture);
    assert!(
        !world
            .decide(&new_image("web", "2.0.1").valid())
            .1
            .is_held_back()
    );
    assert!(
        !world
            .decide(&new_image("worker", "2.0.0").valid())
            .1
            .is_held_back()
    );
}

#[test]
fn a_bad_variable_does_not_condemn_a_proven_image() {
    let mut world = World::proven(&demo());
    let mut fixture = demo();
    set_variable(&mut fixture, "MODE", "broken");
    world.reconcile(&fixture);
    abort(&mut world, "web");
    world.reconcile(&fixture);
    assert!(world.decide(&fixture.valid()).1.is_held_back());
    assert!(!world.decide(&demo().valid()).1.is_held_back());
    set_variable(&mut fixture, "MODE", "fixed");
    assert!(!world.decide(&fixture.valid()).1.is_held_back());
}

#[test]
fn a_failed_migration_rejects_the_release() {
    let mut world = World::proven(&demo());
    let fixture = new_image("api", "2.0.0");
    world.reconcile(&fixture);
    let app = fixture.valid();
    let (wanted, _) = world.decide(&app);
    let job = wanted["api"].migration.as_ref().unwrap().job.clone();
    world.change(Kind::Job, &job, |live| {
        live.health = Health::Degraded(Cause::new(
            "BackoffLimitExceeded",
            "Job has reached the specified backoff limit",
        ));
    });
    let failed = world.get(Kind::Job, &job).unwrap().clone();
    for (name, version, words) in [("b", "9", "no table users"), ("a", "10", "still none")] {
        let pod = Live {
            resource_version: version.into(),
            owner: Some(failed.uid.clone()),
            health: Health::Degraded(Cause::new("ContainerFailed", words)),
            detail: Detail::None,
            ..failed.clone()
        };
        let pod_key = ChildKey::new(Kind::Pod, "todo", name);
        world.children.insert(pod_key, Arc::new(pod));
    }
    let (_, decision) = world.decide(&app);
    let rejection = &decision.rejections[0];
    assert_eq!(rejection.reason, REASON_MIGRATION_FAILED);
    assert_eq!(
        rejection.measurement,
        Some(format!(
            "Job {job}: Job has reached the specified backoff limit; still none"
        ))
    );
    world.reconcile(&fixture);
    assert!(
        world.get(Kind::Job, &job).is_some(),
        "a person wants to read its log"
    );
}

#[test]
fn a_release_is_proven_only_when_all_of_it_is_healthy() {
    let mut world = World::proven(&demo());
    let fixture = new_image("web", "2.0.0");
    let app = fixture.valid();
    let (wanted, _) = world.decide(&app);
    assert_eq!(
        proven(&app, &wanted, &world.children),
        None,
        "its pods are not there yet"
    );
    world.reconcile(&fixture);
    world.change(Kind::Rollout, "demo-api", |live| {
        live.health = Health::Progressing(Cause::new("Scaling", ""))
    });
    assert_eq!(
        proven(&app, &wanted, &world.children),
        None,
        "another component is not healthy"
    );
    world.change(Kind::Rollout, "demo-api", |live| {
        live.health = Health::Ready
    });
    let (data, number) = proven(&app, &wanted, &world.children).unwrap();
    assert_eq!(number, 2);
    assert_eq!(
        data.components["web"].image,
        "registry.example.com/web:2.0.0"
    );
}

#[test]
fn going_back_to_an_earlier_release_makes_its_revision_the_newest() {
    let mut world = World::proven(&demo());
    let two = new_image("web", "2.0.0");
    world.reconcile(&two);
    world.prove(&two);
    assert_eq!(last_good(&world.children).unwrap().1.number, 2);
    world.reconcile(&demo());
    world.prove(&demo());
    let (key, good) = last_good(&world.children).unwrap();
    assert_eq!(good.number, 3);
    assert_eq!(revisions(&world.children).count(), 2);
    assert_eq!(*key.name, *world.last_good.as_ref().unwrap().name("demo"));
}

#[test]
fn ten_revisions_are_kept() {
    let mut world = World::proven(&demo());
    for tag in 0..14 {
        let fixture = new_image("web", &format!("2.0.{tag}"));
        world.reconcile(&fixture);
        world.prove(&fixture);
        world.reconcile(&fixture);
    }
    let mut numbers: Vec<i64> = revisions(&world.children)
        .map(|(_, revision)| revision.number)
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (6..=15).collect::<Vec<_>>());
}

#[test]
fn records_keep_the_newest_fifty() {
    let rejection = |n: usize| Rejection {
        component: "web".into(),
        image: "x".into(),
        config_hash: "c".into(),
        inputs_hash: n.to_string(),
        reason: "RolloutAborted".into(),
        measurement: None,
        time: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH),
    };
    let all: Vec<Rejection> = (0..60).map(rejection).collect();
    let kept = record(&all, &[rejection(59), rejection(60)]);
    assert_eq!(kept.len(), REJECTIONS_KEPT);
    assert_eq!(kept.last().unwrap().inputs_hash, "60");
    assert_eq!(kept.iter().filter(|r| r.inputs_hash == "59").count(), 1);
}
