//! Which application holds what only one can have.

use std::collections::{BTreeMap, BTreeSet};

use todo_operator_core::validate::{Claim, Holders};

use crate::index::AppKey;

/// An application in the queue for a claim: the oldest holds it, and at the same age the first by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claimant {
    /// Seconds since the epoch of its creation.
    created: i64,
    app: AppKey,
}

/// Claims of all applications. In sorted lists: nearly all have one entry, for which a tree takes ten times the memory.
#[derive(Debug, Default)]
pub struct Claims {
    queues: BTreeMap<Claim, Vec<Claimant>>,
    by_app: BTreeMap<AppKey, (i64, Box<[Claim]>)>,
}

impl Claims {
    /// Replaces the claims of an application; returns the others that wait for, or hold, what it gave up or took.
    pub fn set(&mut self, app: &AppKey, created: i64, claims: BTreeSet<Claim>) -> BTreeSet<AppKey> {
        if self
            .by_app
            .get(app)
            .is_some_and(|(when, old)| *when == created && old.iter().eq(&claims))
        {
            return BTreeSet::new();
        }
        let mut affected = self.remove(app);
        for claim in &claims {
            let queue = self.queues.entry(claim.clone()).or_default();
            affected.extend(queue.iter().map(|claimant| claimant.app.clone()));
            let claimant = Claimant {
                created,
                app: app.clone(),
            };
            if let Err(place) = queue.binary_search(&claimant) {
                queue.insert(place, claimant);
            }
        }
        let claims = claims.into_iter().collect();
        self.by_app.insert(app.clone(), (created, claims));
        affected
    }

    /// Forgets an application; returns the others that waited for what it held.
    pub fn remove(&mut self, app: &AppKey) -> BTreeSet<AppKey> {
        let mut affected = BTreeSet::new();
        let Some((_, claims)) = self.by_app.remove(app) else {
            return affected;
        };
        for claim in claims {
            if let Some(queue) = self.queues.get_mut(&claim) {
                queue.retain(|claimant| claimant.app != *app);
                affected.extend(queue.iter().map(|claimant| claimant.app.clone()));
                if queue.is_empty() {
                    self.queues.remove(&claim);
                }
            }
        }
        affected
    }

    /// What older applications hold of that which `app` claims.
    pub fn holders(&self, app: &AppKey) -> Holders {
        let claims = self.by_app.get(app).map(|(_, claims)| claims);
        claims
            .into_iter()
            .flatten()
            .filter_map(|claim| {
                let holder = &self.queues.get(claim)?.first()?.app;
                (holder != app).then(|| {
                    (
                        claim.clone(),
                        format!("{}/{}", holder.namespace, holder.name),
                    )
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(host: &str) -> BTreeSet<Claim> {
        [Claim::Route(host.into(), "/".into())].into()
    }

    #[test]
    fn the_older_application_holds_and_the_younger_gets_it_when_the_older_goes() {
        let mut claims = Claims::default();
        let (old, young) = (AppKey::new("z", "old"), AppKey::new("a", "young"));
        assert_eq!(claims.set(&young, 20, claim("x")), BTreeSet::new());
        assert_eq!(claims.set(&old, 10, claim("x")), [young.clone()].into());
        assert_eq!(claims.holders(&old), Holders::new());
        assert_eq!(
            claims.holders(&young).into_values().collect::<Vec<_>>(),
            ["z/old"]
        );
        assert_eq!(claims.set(&old, 10, claim("y")), [young.clone()].into());
        assert_eq!(claims.holders(&young), Holders::new());
        claims.set(&old, 10, claim("x"));
        assert_eq!(claims.remove(&old), [young.clone()].into());
        assert_eq!(claims.holders(&young), Holders::new());
    }

    #[test]
    fn claims_that_stay_the_same_affect_nobody() {
        let mut claims = Claims::default();
        let (one, two) = (AppKey::new("a", "one"), AppKey::new("a", "two"));
        claims.set(&one, 1, claim("x"));
        claims.set(&two, 2, claim("x"));
        assert_eq!(claims.set(&one, 1, claim("x")), BTreeSet::new());
    }
}
