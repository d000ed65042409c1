//! Whole applications as snapshots, and what must hold of any.

pub(crate) mod fixture;
mod properties;
mod snapshots;
