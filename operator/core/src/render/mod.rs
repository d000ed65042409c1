//! From a [`crate::validate::ValidApp`] to children. Cannot fail, and has no client.
