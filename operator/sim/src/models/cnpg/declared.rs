//! Databases and DatabaseRoles (`internal/management/controller/database_controller.go`, `databaserole_controller.go`):
//! the instance manager of the primary carries them out.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{DATABASES, ROLES, SECRETS, ensure_secret};
use crate::actor::Resource;
use crate::models::client::{Client, Interrupted};
use crate::models::fields::{
    count, generation, has_finalizer, holds, is_deleting, is_true, name, namespace, text,
    with_finalizer, without_finalizer,
};

const DATABASE_FINALIZER: &str = "cnpg.io/deleteDatabase";
const ROLE_FINALIZER: &str = "cnpg.io/deleteRole";
const RETRY: Duration = Duration::from_secs(30);
const CLUSTER_DELETED: &str = "cluster resource has been deleted, skipping reconciliation";

/// One of both kinds.
struct Kind {
    resource: Resource,
    finalizer: &'static str,
    reclaim_policy: &'static str,
}

const DATABASE: Kind = Kind {
    resource: DATABASES,
    finalizer: DATABASE_FINALIZER,
    reclaim_policy: "/spec/databaseReclaimPolicy",
};
const ROLE: Kind = Kind {
    resource: ROLES,
    finalizer: ROLE_FINALIZER,
    reclaim_policy: "/spec/databaseRoleReclaimPolicy",
};

fn of_cluster(client: &Client, resource: Resource, at: &str, cluster: &str) -> Vec<Arc<Value>> {
    let mut objects = client.list(resource);
    objects.retain(|it| namespace(it) == at && text(it, "/spec/cluster/name") == cluster);
    objects
}

/// Carries out what is declared for a cluster.
pub(super) fn reconcile(
    client: &mut Client,
    cluster: &Value,
    pods: &[&Arc<Value>],
) -> Result<(), Interrupted> {
    let (at, named) = (namespace(cluster), name(cluster));
    let ca = client.get(SECRETS, at, &format!("{named}-ca"));
    for role in of_cluster(client, ROLES, at, named) {
        let has_certificate = is_true(&role, "/spec/clientCertificate/enabled");
        if has_certificate && ca.is_some() && !is_deleting(&role) {
            let secret = format!("{}-client-cert", name(&role));
            ensure_secret(client, &role, &secret, &["tls.crt", "tls.key"])?;
        }
    }
    let primary = text(cluster, "/status/currentPrimary");
    let serves = pods
        .iter()
        .any(|pod| name(pod) == primary && holds(pod, "Ready"));
    if primary != text(cluster, "/status/targetPrimary") || !serves {
        return Ok(());
    }
    for kind in [ROLE, DATABASE] {
        for object in of_cluster(client, kind.resource, at, named) {
            // What one is refused holds back no other.
            let _ = carry_out(client, cluster, &kind, &object);
        }
    }
    Ok(())
}

fn carry_out(
    client: &mut Client,
    cluster: &Value,
    kind: &Kind,
    object: &Value,
) -> Result<(), Interrupted> {
    let postgres = client.knobs().postgres.clone();
    let named = text(object, "/spec/name");
    let is_role = kind.resource == ROLES;
    if is_deleting(object) {
        if !has_finalizer(object, kind.finalizer) {
            return Ok(());
        }
        let is_ours = count(object, "/status/observedGeneration") > 0;
        if text(object, kind.reclaim_policy) == "delete" && is_ours {
            let dropped = if is_role {
                postgres.drop_role(cluster, named)
            } else {
                postgres.drop_database(cluster, named)
            };
            if let Err(refusal) = dropped {
                return report(client, kind, object, Err(refusal));
            }
        }
        client.merge(
            kind.resource,
            object,
            without_finalizer(object, kind.finalizer),
        )?;
        return Ok(());
    }
    let observed = count(object, "/status/observedGeneration");
    if observed == generation(object) && is_true(object, "/status/applied") {
        return Ok(());
    }
    if !has_finalizer(object, kind.finalizer) {
        // The write brings us back.
        client.merge(
            kind.resource,
            object,
            with_finalizer(object, kind.finalizer),
        )?;
        return Ok(());
    }
    let done = if is_role {
        postgres.ensure_role(cluster, named)
    } else {
        postgres.ensure_database(cluster, named, text(object, "/spec/owner"))
    };
    report(client, kind, object, done)
}

fn report(
    client: &mut Client,
    kind: &Kind,
    object: &Value,
    done: Result<(), String>,
) -> Result<(), Interrupted> {
    let mut status = match done {
        Ok(()) => json!({"applied": true, "observedGeneration": generation(object)}),
        Err(refusal) => {
            client.again_in(RETRY);
            let mut failed = json!({"applied": false, "message": refusal});
            if let Some(observed) = object.pointer("/status/observedGeneration") {
                failed["observedGeneration"] = observed.clone();
            }
            failed
        }
    };
    if kind.resource == ROLES && is_true(object, "/spec/clientCertificate/enabled") {
        status["clientCertificate"] = json!({"expiration": "2126-01-01T00:00:00Z"});
    }
    client.set_status(kind.resource, object, status)?;
    Ok(())
}

/// Lets go of what was declared for a cluster that is gone (`internal/controller/finalizers_delete.go`).
pub(super) fn release(client: &mut Client, at: &str, cluster: &str) {
    for kind in [DATABASE, ROLE] {
        for object in of_cluster(client, kind.resource, at, cluster) {
            let status = json!({"applied": false, "message": CLUSTER_DELETED});
            let _ = client.set_status(kind.resource, &object, status);
            if has_finalizer(&object, kind.finalizer) {
                let patch = without_finalizer(&object, kind.finalizer);
                let _ = client.merge(kind.resource, &object, patch);
            }
        }
    }
}
