//! Whole applications as snapshots, and what must hold of any.

mod fixture;
mod properties;
mod snapshots;
