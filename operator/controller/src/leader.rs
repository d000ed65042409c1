//! Leader election by a Lease: one operator writes.
//!
//! As client-go does it (`tools/leaderelection`): a lease has run out when its holder has not renewed it for its
//! duration *by our own clock since we saw the last renewal*, so that clocks of two machines need not agree.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::outside::Clock;

/// Time after which a lease that nobody renews is free.
pub const LEASE_DURATION: Duration = Duration::from_secs(15);
/// Time between two renewals.
pub const RENEW_PERIOD: Duration = Duration::from_secs(5);
/// Time between two looks of one that waits.
pub const RETRY_PERIOD: Duration = Duration::from_secs(1);

/// Leadership was lost: another instance leads, or the API server could not be reached for too long.
#[derive(Debug, thiserror::Error)]
#[error(
    "leadership of lease {lease} was lost: {reason}; this instance stops so that only one writes"
)]
pub struct Lost {
    /// Name of the Lease.
    pub lease: String,
    /// Why.
    pub reason: String,
}

/// Takes, keeps and gives back a Lease.
pub struct Elector {
    leases: Api<Lease>,
    name: String,
    identity: String,
    clock: Arc<dyn Clock>,
}

/// A renewal that was seen: what it said, and when we saw it by our own clock.
struct Seen {
    holder: Option<String>,
    renewed: Option<MicroTime>,
    at: Timestamp,
}

impl Elector {
    /// An elector for the Lease `name`; `identity` is unique to this process.
    pub fn new(leases: Api<Lease>, name: &str, identity: &str, clock: Arc<dyn Clock>) -> Self {
        Self {
            leases,
            name: name.to_owned(),
            identity: identity.to_owned(),
            clock,
        }
    }

    /// Waits until this instance leads.
    pub async fn acquire(&self) {
        let mut seen: Option<Seen> = None;
        loop {
            match self.try_acquire(&mut seen).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(lease = self.name, %error, "cannot take the lease; trying again")
                }
            }
            tokio::time::sleep(RETRY_PERIOD).await;
        }
    }

    async fn try_acquire(&self, seen: &mut Option<Seen>) -> Result<bool, kube::Error> {
        let now = self.clock.now();
        let Some(lease) = self.leases.get_opt(&self.name).await? else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(self.name.clone()),
                    ..ObjectMeta::default()
                },
                spec: Some(LeaseSpec {
                    holder_identity: Some(self.identity.clone()),
                    lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
                    acquire_time: Some(MicroTime(now)),
                    renew_time: Some(MicroTime(now)),
                    lease_transitions: Some(0),
                    ..LeaseSpec::default()
                }),
            };
            return match self.leases.create(&PostParams::default(), &lease).await {
                Ok(_) => Ok(true),
                Err(error) if is_conflict(&error) => Ok(false),
                Err(error) => Err(error),
            };
        };
        let spec = lease.spec.unwrap_or_default();
        let holder = spec.holder_identity.filter(|holder| !holder.is_empty());
        let unchanged = seen
            .as_ref()
            .filter(|seen| seen.holder == holder && seen.renewed == spec.renew_time)
            .map(|seen| seen.at);
        let since = unchanged.unwrap_or(now);
        let duration = spec
            .lease_duration_seconds
            .map_or(SignedDuration::from_secs(15), |seconds| {
                SignedDuration::from_secs(seconds.into())
            });
        let is_free = holder.is_none()
            || holder.as_deref() == Some(self.identity.as_str())
            || now.duration_since(since) >= duration;
        *seen = Some(Seen {
            holder,
            renewed: spec.renew_time,
            at: since,
        });
        if !is_free {
            return Ok(false);
        }
        let patch = json!({
            "metadata": {"resourceVersion": lease.metadata.resource_version},
            "spec": {
                "holderIdentity": self.identity,
                "leaseDurationSeconds": LEASE_DURATION.as_secs(),
                "acquireTime": MicroTime(now),
                "renewTime": MicroTime(now),
                "leaseTransitions": spec.lease_transitions.unwrap_or_default() + 1,
            },
        });
        match self.patch(&patch).await {
            Ok(_) => Ok(true),
            Err(error) if is_conflict(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Renews the lease until that fails for longer than it lasts.
    pub async fn keep(&self) -> Lost {
        let mut renewed = self.clock.now();
        let mut left = None;
        loop {
            tokio::time::sleep(RENEW_PERIOD).await;
            // An answer that never comes is no renewal: whoever waits for the lease does not wait for it.
            let renewal = tokio::time::timeout(RENEW_PERIOD, self.renew(&mut left))
                .await
                .unwrap_or_else(|_| Err(no_answer()));
            match renewal {
                Ok(()) => renewed = self.clock.now(),
                Err(error) => {
                    let age = self.clock.now().duration_since(renewed);
                    let lasts = SignedDuration::try_from(LEASE_DURATION - RENEW_PERIOD)
                        .unwrap_or(SignedDuration::ZERO);
                    if is_conflict(&error) || age >= lasts {
                        return Lost {
                            lease: self.name.clone(),
                            reason: error.to_string(),
                        };
                    }
                    tracing::warn!(lease = self.name, %error, "cannot renew the lease; trying again");
                }
            }
        }
    }

    /// Renews the lease as it was left by the last renewal, in one request; where somebody has written it since, only if
    /// it is still ours.
    async fn renew(&self, left: &mut Option<String>) -> Result<(), kube::Error> {
        let at_once = match left.take() {
            Some(version) => self.renew_from(Some(version)).await.map(Some),
            None => Ok(None),
        };
        let lease = match at_once {
            Ok(Some(lease)) => lease,
            Err(error) if !is_conflict(&error) => return Err(error),
            _ => self.renew_from(self.version_of_ours().await?).await?,
        };
        *left = lease.metadata.resource_version;
        Ok(())
    }

    async fn version_of_ours(&self) -> Result<Option<String>, kube::Error> {
        let lease = self.leases.get(&self.name).await?;
        let holder = lease.spec.and_then(|spec| spec.holder_identity);
        if holder.as_deref() == Some(self.identity.as_str()) {
            return Ok(lease.metadata.resource_version);
        }
        let holder = holder.as_deref().unwrap_or("nobody");
        let status = kube::core::Status::failure(&format!("{holder} holds it"), "Conflict");
        Err(kube::Error::Api(Box::new(status.with_code(409))))
    }

    async fn renew_from(&self, version: Option<String>) -> Result<Lease, kube::Error> {
        let patch = json!({
            "metadata": {"resourceVersion": version},
            "spec": {"renewTime": MicroTime(self.clock.now())},
        });
        self.patch(&patch).await
    }

    /// Gives the lease back, so that another instance need not wait for it to run out.
    pub async fn release(&self) {
        let result = async {
            let lease = self.leases.get(&self.name).await?;
            let holder = lease.spec.and_then(|spec| spec.holder_identity);
            if holder.as_deref() != Some(self.identity.as_str()) {
                return Ok(());
            }
            let patch = json!({
                "metadata": {"resourceVersion": lease.metadata.resource_version},
                "spec": {"holderIdentity": null},
            });
            self.patch(&patch).await.map(|_| ())
        };
        let result: Result<(), kube::Error> = result.await;
        if let Err(error) = result {
            tracing::warn!(lease = self.name, %error, "cannot give the lease back; it runs out by itself");
        }
    }

    async fn patch(&self, patch: &serde_json::Value) -> Result<Lease, kube::Error> {
        self.leases
            .patch(&self.name, &PatchParams::default(), &Patch::Merge(patch))
            .await
    }
}

fn no_answer() -> kube::Error {
    let seconds = RENEW_PERIOD.as_secs();
    kube::Error::Service(format!("the API server did not answer within {seconds} s").into())
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}
