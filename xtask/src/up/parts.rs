//! What a local cluster can be made of, by the names that `--only` takes, and what needs what.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use clap::ValueEnum;
use clap::builder::PossibleValue;
use localcluster::peers::Product;
use serde::{Deserialize, Serialize};

/// Where pods live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Pods {
    /// In containers on a real node, with the peers themselves among them.
    Real,
    /// Nowhere: KWOK and models of the peers say that they run.
    Modelled,
}

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// A peer of the operator.
    Peer(Product),
    /// The operator.
    Operator,
    /// The demonstration application in its three stages.
    Apps,
}

impl Part {
    const ALL: [Self; 11] = [
        Self::Peer(Product::ArgoCd),
        Self::Peer(Product::ArgoRollouts),
        Self::Peer(Product::CloudNativePg),
        Self::Peer(Product::GitServer),
        Self::Peer(Product::Kafka),
        Self::Peer(Product::Keda),
        Self::Peer(Product::Prometheus),
        Self::Peer(Product::Redis),
        Self::Peer(Product::Traefik),
        Self::Operator,
        Self::Apps,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Peer(product) => product.name(),
            Self::Operator => "operator",
            Self::Apps => "apps",
        }
    }

    /// Without which it would not become ready.
    const fn needs(self) -> &'static [Self] {
        match self {
            Self::Peer(Product::ArgoCd) => &[Self::Peer(Product::GitServer)],
            Self::Apps => &[
                Self::Operator,
                Self::Peer(Product::ArgoRollouts),
                Self::Peer(Product::CloudNativePg),
                Self::Peer(Product::Kafka),
                Self::Peer(Product::Keda),
                Self::Peer(Product::Prometheus),
                Self::Peer(Product::Traefik),
            ],
            _ => &[],
        }
    }

    /// Whether there is something of it where pods are modelled.
    const fn is_modelled(self) -> bool {
        !matches!(
            self,
            Self::Peer(Product::ArgoCd | Product::GitServer | Product::Prometheus | Product::Redis)
        )
    }
}

impl ValueEnum for Part {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

/// What is wanted, with all that it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts(BTreeSet<Part>);

impl Parts {
    /// These parts, or all if none is named.
    pub fn wanted(only: &[Part], pods: Pods) -> Result<Self> {
        if pods == Pods::Modelled
            && let Some(part) = only.iter().find(|part| !part.is_modelled())
        {
            bail!(
                "{} runs on a real node only: run this as root, or leave it out",
                part.name()
            );
        }
        let mut wanted = BTreeSet::new();
        let mut open: Vec<Part> = match only {
            [] => Part::ALL.to_vec(),
            only => only.to_vec(),
        };
        while let Some(part) = open.pop() {
            if wanted.insert(part) {
                open.extend(part.needs());
            }
        }
        Ok(Self(wanted))
    }

    /// Whether this one is wanted.
    pub fn has(&self, part: Part) -> bool {
        self.0.contains(&part)
    }

    /// The peers that are wanted.
    pub fn products(&self) -> Vec<Product> {
        let product = |part: &Part| match part {
            Part::Peer(product) => Some(*product),
            Part::Operator | Part::Apps => None,
        };
        self.0.iter().filter_map(product).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_peer_can_be_named() {
        for product in Product::ALL {
            assert!(
                Part::ALL.contains(&Part::Peer(product)),
                "{}",
                product.name()
            );
        }
        let all = Parts::wanted(&[], Pods::Real).unwrap();
        assert_eq!(all.products(), Product::ALL);
    }

    #[test]
    fn what_is_needed_comes_along_and_nothing_else() {
        let kafka = Part::Peer(Product::Kafka);
        let parts = Parts::wanted(&[kafka], Pods::Real).unwrap();
        assert_eq!(parts.products(), [Product::Kafka]);
        assert!(!parts.has(Part::Operator));
        let argo_cd = Parts::wanted(&[Part::Peer(Product::ArgoCd)], Pods::Real).unwrap();
        assert_eq!(argo_cd.products(), [Product::ArgoCd, Product::GitServer]);
        let apps = Parts::wanted(&[Part::Apps], Pods::Real).unwrap();
        assert!(apps.has(Part::Operator) && apps.has(kafka));
        assert!(!apps.has(Part::Peer(Product::ArgoCd)));
    }

    #[test]
    fn what_has_no_model_needs_a_real_node() {
        let redis = Part::Peer(Product::Redis);
        assert!(Parts::wanted(&[redis], Pods::Real).is_ok());
        let error = Parts::wanted(&[redis], Pods::Modelled).unwrap_err();
        assert!(error.to_string().starts_with("redis runs"), "{error}");
        assert!(Parts::wanted(&[], Pods::Modelled).is_ok());
    }
}
