//! A world that behaves: what was applied is there, and is as healthy as a test says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use todo_operator_api::status::Rejection;

use super::*;
use crate::canonical;
use crate::cause::Health;
use crate::live::{RevisionComponent, RevisionSummary, Workload, find};
use crate::names;
use crate::projection;
use crate::render::tests::fixture::{Fixture, demo, with};

/// Seconds since the epoch; everything was written long before.
pub(crate) const NOW: i64 = 1_000_000;

/// What is there, and what the operator made of it.
pub(crate) struct World {
    pub(crate) children: Children,
    pub(crate) topics: BTreeMap<String, LiveTopic>,
    pub(crate) last_good: Option<RevisionData>,
    pub(crate) missing: BTreeSet<Kind>,
    pub(crate) rejected: Vec<Rejection>,
}

impl World {
    pub(crate) fn empty() -> Self {
        Self {
            children: Children::new(),
            topics: BTreeMap::new(),
            last_good: None,
            missing: BTreeSet::new(),
            rejected: Vec::new(),
        }
    }

    /// A world in which the fixture's release was rolled out and proven.
    pub(crate) fn proven(fixture: &Fixture) -> Self {
        let mut world = Self::empty();
        for _ in 0..Wave::ALL.len() {
            world.reconcile(fixture);
        }
        world.prove(fixture);
        world
    }

    pub(crate) fn observed(&self) -> Observed<'_> {
        Observed {
            children: &self.children,
            last_good: self.last_good.as_ref(),
            topics: Ok(&self.topics),
            missing: &self.missing,
            now: NOW,
        }
    }

    pub(crate) fn decide(&self, app: &ValidApp<'_>) -> (BTreeMap<String, PodInputs>, Decision) {
        let wanted = render::pod_inputs(app);
        let now = jiff::Timestamp::from_second(NOW).unwrap();
        let decision = release::decide(app, &wanted, &self.children, &self.rejected, now);
        (wanted, decision)
    }

    pub(crate) fn plan(&self, fixture: &Fixture) -> Plan {
        let app = fixture.valid();
        let (wanted, decision) = self.decide(&app);
        plan(&app, &wanted, &decision, &self.observed())
    }

    /// Writes what is planned, makes topics, deletes orphans; everything is healthy at once.
    pub(crate) fn reconcile(&mut self, fixture: &Fixture) -> Vec<ChildKey> {
        let app = fixture.valid();
        let (wanted, decision) = self.decide(&app);
        self.rejected = release::record(&self.rejected, &decision.rejections);
        let plan = plan(&app, &wanted, &decision, &self.observed());
        let mut written = Vec::new();
        for (_, children) in &plan.waves {
            for write in writes(&app, children, &self.observed()) {
                written.push(write.child.key.clone());
                self.store(&write.child);
            }
        }
        for orphan in orphans(&app, &plan, &self.observed()) {
            self.children.remove(&orphan.key);
            written.push(orphan.key);
        }
        for topic in &plan.topics {
            let live = LiveTopic {
                partitions: topic.partitions,
                replicas: topic.replicas,
                config: topic.config.clone(),
            };
            self.topics.insert(topic.physical_name.clone(), live);
        }
        written
    }

    /// Writes the revision, as the controller does once everything is healthy.
    pub(crate) fn prove(&mut self, fixture: &Fixture) {
        let app = fixture.valid();
        let (wanted, _) = self.decide(&app);
        if let Some((data, number)) = release::proven(&app, &wanted, &self.children) {
            self.store(&release::revision(&app, &data, number));
            self.last_good = Some(data);
        }
    }

    pub(crate) fn get(&self, kind: Kind, name: &str) -> Option<&Live> {
        find(&self.children, kind, "todo", name).map(AsRef::as_ref)
    }

    pub(crate) fn change(&mut self, kind: Kind, name: &str, change: impl FnOnce(&mut Live)) {
        let live = self
            .children
            .get_mut(&ChildKey::new(kind, "todo", name))
            .unwrap();
        change(Arc::make_mut(live));
    }

    pub(crate) fn change_workload(
        &mut self,
        kind: Kind,
        name: &str,
        change: impl FnOnce(&mut Workload),
    ) {
        self.change(kind, name, |live| {
            let Detail::Workload(workload) = &mut live.detail else {
                panic!("{name} is no workload")
            };
            change(workload);
        });
    }

    fn store(&mut self, child: &Child) {
        let text = |pointer: &str| {
            child
                .body
                .pointer(pointer)
                .and_then(Value::as_str)
                .map(Box::from)
        };
        let label = |name: &str| {
            child.body["metadata"]["labels"][name]
                .as_str()
                .map(Box::from)
        };
        let live = Live {
            uid: format!("uid-{}", child.key).into(),
            resource_version: "7".into(),
            generation: 1,
            owner: text("/metadata/ownerReferences/0/uid"),
            component: label(names::LABEL_COMPONENT),
            owned: canonical::digest(&projection::neutral(child.key.kind, &child.body)),
            written: 0,
            deleting: false,
            health: Health::Ready,
            detail: detail(child),
        };
        self.children.insert(child.key.clone(), Arc::new(live));
    }
}

fn detail(child: &Child) -> Detail {
    let body = &child.body;
    match child.key.kind {
        Kind::Deployment | Kind::Rollout | Kind::CronJob => Detail::Workload(Box::new(Workload {
            inputs: body["metadata"]["annotations"][names::ANNOTATION_INPUTS]
                .as_str()
                .map(Box::from),
            image: body
                .pointer("/spec/template/spec/containers/0/image")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .into(),
            replicas: body["spec"]["replicas"].as_i64(),
            replicas_ours: body["spec"]["replicas"].is_i64(),
            available: body["spec"]["replicas"].as_i64().unwrap_or_default(),
            stable_hash: (child.key.kind == Kind::Rollout).then(|| "stable".into()),
            current_hash: (child.key.kind == Kind::Rollout).then(|| "stable".into()),
            ..Workload::default()
        })),
        Kind::ControllerRevision => {
            let data: RevisionData = serde_json::from_value(body["data"].clone()).unwrap();
            Detail::Revision(Box::new(RevisionSummary {
                number: body["revision"].as_i64().unwrap(),
                fingerprint: data.fingerprint.clone().into(),
                version: data.release.version.clone().map(Into::into),
                components: data
                    .components
                    .iter()
                    .map(|(name, inputs)| RevisionComponent {
                        name: name.as_str().into(),
                        inputs: inputs.hash().into(),
                        image: inputs.image.as_str().into(),
                        config_hash: inputs.config_hash().into(),
                        config_map: inputs.config_map("demo", name).map(Into::into),
                        migration: inputs.migration.as_ref().map(|m| m.job.as_str().into()),
                    })
                    .collect(),
            }))
        }
        _ => Detail::None,
    }
}

fn waves_of(plan: &Plan) -> Vec<Wave> {
    plan.waves
        .iter()
        .filter(|(_, children)| !children.is_empty())
        .map(|(wave, _)| *wave)
        .collect()
}

pub(crate) fn new_image(component: &str, tag: &str) -> Fixture {
    let mut fixture = demo();
    for image in &mut fixture.app.spec.release.images {
        if image.component == component {
            image.image = format!("registry.example.com/{component}:{tag}");
        }
    }
    fixture
}

#[test]
fn each_wave_waits_for_the_one_before() {
    let fixture = demo();
    let mut world = World::empty();
    assert_eq!(
        waves_of(&world.plan(&fixture)),
        [Wave::Policy, Wave::Storage]
    );
    world.reconcile(&fixture);
    assert_eq!(
        waves_of(&world.plan(&fixture)),
        [Wave::Policy, Wave::Storage, Wave::Roles]
    );
    world.reconcile(&fixture);
    assert_eq!(
        waves_of(&world.plan(&fixture)),
        [Wave::Policy, Wave::Storage, Wave::Roles, Wave::Databases]
    );
    world.reconcile(&fixture);
    let plan = world.plan(&fixture);
    assert_eq!(plan.barrier.as_ref().unwrap().after, Wave::Migrations);
    assert_eq!(
        waves_of(&plan),
        [
            Wave::Policy,
            Wave::Storage,
            Wave::Roles,
            Wave::Databases,
            Wave::Migrations
        ]
    );
    world.reconcile(&fixture);
    assert_eq!(waves_of(&world.plan(&fixture)), Wave::ALL);
}

#[test]
fn a_topic_that_is_not_there_closes_the_barrier() {
    let fixture = demo();
    let mut world = World::proven(&fixture);
    world.topics.clear();
    let barrier = world.plan(&fixture).barrier.unwrap();
    assert_eq!(barrier.after, Wave::Storage);
    assert_eq!(&*barrier.waits_for[0].0.name, "todo.task-events");
}

#[test]
fn a_settled_application_is_left_alone() {
    let fixture = demo();
    let mut world = World::proven(&fixture);
    assert_eq!(world.reconcile(&fixture), []);
}

#[test]
fn releasing_one_component_writes_only_what_is_its() {
    let mut world = World::proven(&demo());
    let written = world.reconcile(&new_image("web", "2.0.0"));
    assert_eq!(written, [ChildKey::new(Kind::Rollout, "todo", "demo-web")]);
}

#[test]
fn behind_a_closed_barrier_pods_keep_what_was_last_good() {
    let mut world = World::proven(&demo());
    let fixture = new_image("api", "2.0.0");
    let plan = world.plan(&fixture);
    assert_eq!(
        plan.barrier.as_ref().unwrap().after,
        Wave::Migrations,
        "the new image migrates first"
    );
    assert_eq!(plan.effective["api"], Origin::LastGood);
    assert_eq!(
        plan.effective["web"],
        Origin::Spec,
        "it is not in the change set"
    );
    let written = world.reconcile(&fixture);
    assert!(
        written.iter().all(|key| key.kind != Kind::Rollout),
        "{written:?}"
    );
    world.reconcile(&fixture);
    assert_eq!(
        &*workload(&world, "demo-api").image,
        "registry.example.com/api:2.0.0"
    );
}

#[test]
fn a_rollout_that_was_deleted_brings_up_the_last_good_version_before_the_new_one() {
    let mut world = World::proven(&demo());
    let fixture = new_image("web", "2.0.0");
    let rollout = ChildKey::new(Kind::Rollout, "todo", "demo-web");
    world.children.remove(&rollout);
    assert_eq!(world.plan(&fixture).effective["web"], Origin::LastGood);
    world.reconcile(&fixture);
    let tag = |world: &World| {
        workload(world, "demo-web")
            .image
            .rsplit_once(':')
            .unwrap()
            .1
            .to_owned()
    };
    assert_eq!(tag(&world), "1.0.0");
    world.change_workload(Kind::Rollout, "demo-web", |web| web.stable_hash = None);
    assert_eq!(world.reconcile(&fixture), [], "it is not up yet");
    world.change_workload(Kind::Rollout, "demo-web", |web| {
        web.stable_hash = Some("stable".into());
    });
    assert_eq!(world.reconcile(&fixture), [rollout]);
    assert_eq!(tag(&world), "2.0.0");
}

fn workload<'a>(world: &'a World, name: &str) -> &'a Workload {
    match &world.get(Kind::Rollout, name).unwrap().detail {
        Detail::Workload(workload) => workload,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_closed_barrier_holds_is_no_orphan() {
    let fixture = demo();
    let mut world = World::proven(&fixture);
    world.change(Kind::Cluster, "demo-db", |cluster| {
        cluster.health = Health::Progressing(Cause::new("Failover", "a new primary is chosen"));
    });
    let smaller = with("{components: {backup: null}}", "{}");
    world.reconcile(&smaller);
    let has = |world: &World, kind| world.get(kind, "demo-backup").is_some();
    assert!(has(&world, Kind::CronJob) && has(&world, Kind::ServiceAccount));
    world.change(Kind::Cluster, "demo-db", |cluster| {
        cluster.health = Health::Ready
    });
    world.reconcile(&smaller);
    assert!(!has(&world, Kind::CronJob) && !has(&world, Kind::ServiceAccount));
}

#[test]
fn databases_and_roles_stay_unless_deletion_is_asked_for() {
    let mut world = World::proven(&demo());
    let without = "{databases: null, components: {api: {database: null, migrate: null}, backup: {database: null}}}";
    world.reconcile(&with(without, "{}"));
    assert!(world.get(Kind::Cluster, "demo-db").is_some());
    let deleting = "{deletionPolicy: Delete, databases: null, components: {api: {database: null, migrate: null}, backup: {database: null}}}";
    world.reconcile(&with(deleting, "{}"));
    assert!(world.get(Kind::Cluster, "demo-db").is_none());
}

#[test]
fn a_child_of_somebody_else_is_no_orphan() {
    let fixture = demo();
    let mut world = World::proven(&fixture);
    let mut foreign = world.get(Kind::Service, "demo-api").unwrap().clone();
    foreign.owner = Some("somebody".into());
    let key = ChildKey::new(Kind::Service, "todo", "demo-other");
    world.children.insert(key.clone(), Arc::new(foreign));
    world.reconcile(&fixture);
    assert!(world.children.contains_key(&key));
}

#[test]
fn config_maps_stay_while_pods_read_them() {
    let fixture = demo();
    let mut world = World::proven(&fixture);
    let old = render::pod_inputs(&fixture.valid())["api"]
        .config_map("demo", "api")
        .unwrap();
    let replica_set = ChildKey::new(Kind::ReplicaSet, "todo", "demo-api-1");
    let mut live = world.get(Kind::Service, "demo-api").unwrap().clone();
    live.detail = Detail::ConfigMaps(vec![old.as_str().into()]);
    world.children.insert(replica_set.clone(), Arc::new(live));
    world
        .children
        .retain(|key, _| key.kind != Kind::ControllerRevision);
    let changed = with("{release: {config: {api: {PAGE_SIZE: \"51\"}}}}", "{}");
    world.reconcile(&changed);
    world.reconcile(&changed);
    assert!(world.get(Kind::ConfigMap, &old).is_some());
    world.children.remove(&replica_set);
    world.reconcile(&changed);
    assert!(world.get(Kind::ConfigMap, &old).is_none());
}

#[test]
fn a_missing_peer_is_named_with_the_command_that_installs_it() {
    let mut world = World::empty();
    world.missing = [Kind::Cluster, Kind::Database, Kind::DatabaseRole].into();
    let barrier = world.plan(&demo()).barrier.unwrap();
    let (_, cause) = &barrier.waits_for[0];
    assert_eq!(&*cause.reason, "PeerMissing");
    assert!(cause.message.contains("kubectl apply"), "{}", cause.message);
    let app = demo();
    let app = app.valid();
    assert!(writes(&app, &render::storage(&app), &world.observed()).is_empty());
}

#[test]
fn a_cluster_is_not_believed_right_after_our_write() {
    let fixture = demo();
    let mut world = World::proven(&fixture);
    world.change(Kind::Cluster, "demo-db", |cluster| {
        cluster.written = NOW - 3
    });
    let barrier = world.plan(&fixture).barrier.unwrap();
    assert_eq!(&*barrier.waits_for[0].1.reason, "Settling");
}

#[test]
fn replicas_are_handed_over_and_taken_back() {
    let scaled = demo();
    let mut world = World::proven(&scaled);
    let sent = |world: &World, fixture: &Fixture| -> Option<Option<Value>> {
        let app = fixture.valid();
        let (wanted, _) = world.decide(&app);
        let child = render::workloads(&app, &wanted)
            .into_iter()
            .find(|c| &*c.key.name == "demo-web" && c.key.kind == Kind::Rollout)?;
        let write = carry::write(&app, &child, &world.children, NOW)?;
        Some(write.child.body["spec"].get("replicas").cloned())
    };
    assert_eq!(sent(&world, &scaled), None, "nothing to write");
    let changed = with("{components: {web: {env: {A: b}}}}", "{}");
    // Only we own the field: leaving it out would delete it.
    assert_eq!(sent(&world, &changed), Some(Some(json!(2))));
    world.change_workload(Kind::Rollout, "demo-web", |workload| {
        workload.replicas = Some(5);
        workload.replicas_ours = false;
        workload.replicas_theirs = true;
    });
    assert_eq!(sent(&world, &changed), Some(None), "the autoscaler owns it");
    // No longer scaled, but the scaler still lives: hands off.
    let fixed = with(
        "{components: {web: {scaling: {min: 3, max: null, cpu: null}}}}",
        "{}",
    );
    assert_eq!(sent(&world, &fixed), None);
    world
        .children
        .remove(&ChildKey::new(Kind::ScaledObject, "todo", "demo-web"));
    assert_eq!(sent(&world, &fixed), Some(Some(json!(3))));
}

#[test]
fn what_argo_rollouts_wrote_is_carried_over() {
    let fixture = demo();
    let mut world = World::proven(&fixture);
    world.change(Kind::Service, "demo-web-stable", |service| {
        service.detail = Detail::Service {
            hash: Some("abc".into()),
        };
        service.owned = canonical::digest(&json!("drifted"));
    });
    let app = fixture.valid();
    let services = render::services(&app);
    let stable = services
        .iter()
        .find(|child| &*child.key.name == "demo-web-stable")
        .unwrap();
    let write = carry::write(&app, stable, &world.children, NOW).unwrap();
    assert_eq!(
        write.child.body["spec"]["selector"][names::ROLLOUTS_POD_TEMPLATE_HASH],
        "abc"
    );
    assert_eq!(
        write.child.body["metadata"]["resourceVersion"], "7",
        "a stale view must not erase it"
    );
}

#[test]
fn weights_are_carried_over() {
    let fixture = demo();
    let mut world = World::proven(&fixture);
    let app = fixture.valid();
    let services = render::services(&app);
    let weighted = services
        .iter()
        .find(|child| child.key.kind == Kind::TraefikService)
        .unwrap();
    world.change(Kind::TraefikService, &weighted.key.name, |live| {
        live.detail = Detail::Weights(vec![
            ("demo-web-stable".into(), 65),
            ("demo-web-canary".into(), 35),
        ]);
        live.owned = canonical::digest(&json!("drifted"));
    });
    let write = carry::write(&app, weighted, &world.children, NOW).unwrap();
    let weights: Vec<&Value> = write.child.body["spec"]["weighted"]["services"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| &s["weight"])
        .collect();
    assert_eq!(weights, [&json!(65), &json!(35)]);
}

#[test]
fn the_ladder_is_not_changed_under_way() {
    let fixture = demo();
    let mut world = World::proven(&fixture);
    let strategy = json!({"canary": {"steps": [{"setWeight": 50}]}});
    world.change_workload(Kind::Rollout, "demo-web", |workload| {
        workload.in_flight = true;
        workload.strategy = Some(Box::new(strategy.clone()));
    });
    let changed = with(
        "{components: {web: {env: {A: b}, rollout: {steps: [10]}}}}",
        "{}",
    );
    let app = changed.valid();
    let (wanted, _) = world.decide(&app);
    let rollouts = render::workloads(&app, &wanted);
    let web = rollouts
        .iter()
        .find(|child| &*child.key.name == "demo-web" && child.key.kind == Kind::Rollout)
        .unwrap();
    let write = carry::write(&app, web, &world.children, NOW).unwrap();
    assert_eq!(write.child.body["spec"]["strategy"], strategy);
}

#[test]
fn a_workers_scaler_is_held_during_its_canary() {
    let fixture = demo();
    let mut world = World::proven(&fixture);
    world.change_workload(Kind::Rollout, "demo-worker", |workload| {
        workload.in_flight = true
    });
    let written = world.reconcile(&fixture);
    assert_eq!(
        written,
        [ChildKey::new(Kind::ScaledObject, "todo", "demo-worker")]
    );
    world.change_workload(Kind::Rollout, "demo-worker", |workload| {
        workload.in_flight = false
    });
    assert_eq!(world.reconcile(&fixture), written, "and let go after it");
}

#[test]
fn a_deployment_stays_until_the_rollout_that_replaces_it_is_healthy() {
    let rolling = with("{components: {web: {rollout: {strategy: Rolling}}}}", "{}");
    let mut world = World::proven(&rolling);
    let canary = demo();
    let app = canary.valid();
    let (wanted, decision) = world.decide(&app);
    let plan = plan(&app, &wanted, &decision, &world.observed());
    let deployment = ChildKey::new(Kind::Deployment, "todo", "demo-web");
    let doomed = |world: &World| {
        orphans(&app, &plan, &world.observed())
            .iter()
            .any(|orphan| orphan.key == deployment)
    };
    assert!(!doomed(&world));
    world.reconcile(&canary);
    assert!(
        !world.children.contains_key(&deployment),
        "the Rollout was healthy at once"
    );
}

fn rollout_of_web(app: &ValidApp<'_>, wanted: &BTreeMap<String, PodInputs>) -> Child {
    let is_it = |child: &Child| &*child.key.name == "demo-web" && child.key.kind == Kind::Rollout;
    render::workloads(app, wanted)
        .into_iter()
        .find(is_it)
        .unwrap()
}

#[test]
fn argo_rollouts_is_told_once_to_look_at_what_it_has_overlooked() {
    let fixture = demo();
    let mut world = World::proven(&fixture);
    let app = fixture.valid();
    let (wanted, _) = world.decide(&app);
    let rollout = rollout_of_web(&app, &wanted);
    let live = |world: &World| world.children[&rollout.key].clone();
    let written = live(&world).written;
    let late = written + carry::OVERLOOKED_SECONDS;
    let sent = |world: &World, now: i64| carry::write(&app, &rollout, &world.children, now);
    assert_eq!(sent(&world, late), None, "it has seen everything");

    world.change_workload(Kind::Rollout, "demo-web", |workload| {
        workload.unobserved = true;
    });
    let wait = |world: &World, now| carry::reminder_in(Kind::Rollout, &live(world), now);
    assert_eq!(sent(&world, late - 1), None, "it may be about to look");
    assert_eq!(wait(&world, late - 1), Some(1));
    let told = sent(&world, late).unwrap().child;
    let annotation = &told.body["metadata"]["annotations"][crate::names::ANNOTATION_OVERLOOKED];
    assert_eq!(*annotation, json!(live(&world).generation.to_string()));

    // The write itself is young; the word stays until it has looked.
    world.change_workload(Kind::Rollout, "demo-web", |workload| {
        workload.told_to_look = true;
    });
    let again = sent(&world, written).unwrap().child;
    assert_eq!(again.body, told.body);
    assert_eq!(wait(&world, written), None);
    world.change_workload(Kind::Rollout, "demo-web", |workload| {
        workload.unobserved = false;
    });
    assert_eq!(sent(&world, late), None, "it has looked");
}

#[test]
fn argo_rollouts_is_reminded_of_an_invalid_rollout_ever_more_rarely_and_then_no_more() {
    let fixture = demo();
    let mut world = World::proven(&fixture);
    let app = fixture.valid();
    let (wanted, _) = world.decide(&app);
    let rollout = rollout_of_web(&app, &wanted);
    let since = world.children[&rollout.key].written + 100;
    world.change_workload(Kind::Rollout, "demo-web", |workload| {
        workload.invalid_since = Some(since);
    });
    let mut now = since;
    let mut reminded = Vec::new();
    while let Some(wait) = carry::reminder_in(Kind::Rollout, &world.children[&rollout.key], now) {
        assert_eq!(
            carry::reminder(Kind::Rollout, &world.children[&rollout.key], now + wait - 1),
            reminded
                .last()
                .map(|(_, said): &(i64, String)| said.clone()),
            "nothing is said before its time"
        );
        now += wait;
        let sent = carry::write(&app, &rollout, &world.children, now).unwrap();
        let said = &sent.child.body["metadata"]["annotations"][crate::names::ANNOTATION_OVERLOOKED];
        reminded.push((now - since, said.as_str().unwrap().to_owned()));
    }
    let after: Vec<_> = reminded.iter().map(|(seconds, _)| *seconds).collect();
    assert_eq!(after, [5, 10, 20, 40, 80, 160]);
    let different: std::collections::BTreeSet<_> = reminded.iter().map(|(_, said)| said).collect();
    assert_eq!(different.len(), reminded.len(), "each makes a change");

    world.change_workload(Kind::Rollout, "demo-web", |workload| {
        workload.invalid_since = None;
    });
    assert_eq!(
        carry::write(&app, &rollout, &world.children, now),
        None,
        "it is valid again"
    );
}
