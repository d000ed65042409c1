//! How an object is, by the rules of the peer that runs it, trusted only for its current generation.

mod analysis;
pub mod database;
mod pod;
mod quota;
mod replica_set;
mod rollout;
mod route;
mod scaler;
mod template;
mod topic;
mod workload;

use serde_json::Value;

pub use crate::cause::{Cause, Health};
use crate::fields::{self, is_observed};
use crate::kind::Kind;
use crate::live::Detail;
use crate::names;

/// Reads the health of an object of `kind`, and what else is needed of it.
pub fn read(kind: Kind, object: &Value) -> (Health, Detail) {
    let (health, detail) = match kind {
        Kind::Deployment => workload::deployment(object),
        Kind::CronJob => workload::cron_job(object),
        Kind::Job => workload::job(object),
        Kind::Rollout => rollout::read(object),
        Kind::AnalysisRun => analysis::read(object),
        Kind::Cluster => (database::cluster(object), Detail::None),
        Kind::Database | Kind::DatabaseRole => (database::declared(object), Detail::None),
        Kind::KafkaTopic => (topic::read(object), Detail::None),
        Kind::ScaledObject => scaler::scaled_object(object),
        Kind::HorizontalPodAutoscaler => scaler::autoscaler(object),
        Kind::HttpRoute => route::http_route(object),
        Kind::TraefikService => (Health::Ready, route::weighted(object)),
        Kind::Service => (Health::Ready, route::service(object)),
        Kind::Pod => pod::read(object),
        Kind::ReplicaSet => replica_set::read(object),
        Kind::ResourceQuota => (quota::read(object), Detail::None),
        Kind::Namespace => (Health::Ready, namespace(object)),
        Kind::PodDisruptionBudget if !is_observed(object) => (Health::unobserved(), Detail::None),
        _ => (Health::Ready, Detail::None),
    };
    if is_being_deleted(object) {
        let deleting = Health::progressing("Deleting", "it is being deleted");
        return (deleting, detail);
    }
    (health, detail)
}

fn namespace(object: &Value) -> Detail {
    let annotation = object
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get(names::ANNOTATION_ADOPT)?.as_str());
    let label = fields::label(object, names::LABEL_ENVIRONMENT);
    Detail::Namespace {
        environment: label.map(fields::boxed),
        adopt: annotation == Some("true"),
        created: fields::seconds(object, "/metadata/creationTimestamp").unwrap_or_default(),
    }
}

/// Whether deletion has been asked for and finalizers or a grace period are still in the way.
pub(crate) fn is_being_deleted(object: &Value) -> bool {
    fields::text(object, "/metadata/deletionTimestamp").is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_being_deleted_is_not_ready_and_keeps_its_detail() {
        let service = json!({
            "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"selector": {"rollouts-pod-template-hash": "abc"}},
        });
        let (health, detail) = read(Kind::Service, &service);
        assert_eq!(&*health.cause().unwrap().reason, "Deleting");
        assert!(matches!(health, Health::Progressing(_)));
        assert_eq!(
            detail,
            Detail::Service {
                hash: Some("abc".into())
            }
        );
    }

    #[test]
    fn kinds_without_status_are_ready_once_they_exist() {
        for kind in [
            Kind::LimitRange,
            Kind::ServiceAccount,
            Kind::ConfigMap,
            Kind::NetworkPolicy,
            Kind::AnalysisTemplate,
            Kind::TriggerAuthentication,
            Kind::IngressRoute,
            Kind::Middleware,
        ] {
            let object = json!({"metadata": {"name": "a", "generation": 3}});
            assert_eq!(
                read(kind, &object),
                (Health::Ready, Detail::None),
                "{kind:?}"
            );
        }
    }

    #[test]
    fn namespace_tells_its_age_and_whether_it_may_be_adopted() {
        let object = json!({"metadata": {
            "creationTimestamp": "1970-01-01T00:01:40Z",
            "annotations": {names::ANNOTATION_ADOPT: "true"},
            "labels": {names::LABEL_ENVIRONMENT: "test"},
        }});
        let expected = Detail::Namespace {
            environment: Some("test".into()),
            adopt: true,
            created: 100,
        };
        assert_eq!(read(Kind::Namespace, &object), (Health::Ready, expected));
    }

    #[test]
    fn disruption_budget_waits_for_its_controller() {
        let mut budget =
            json!({"metadata": {"generation": 2}, "status": {"observedGeneration": 1}});
        assert!(!read(Kind::PodDisruptionBudget, &budget).0.is_ready());
        budget["status"]["observedGeneration"] = json!(2);
        assert!(read(Kind::PodDisruptionBudget, &budget).0.is_ready());
    }
}
