//! The parts of `cargo xtask` that tests call from Rust too.

pub mod load;
