//! One server for several tests.

use std::sync::{Arc, Weak};

use tokio::sync::Mutex;

use crate::error::Result;

/// A server that all who need one at the same time share. It is started for the first of them, and ends with the last.
///
/// It is meant for a `static`: tests of one program cannot hand each other anything, and a server that were the static
/// itself would never be dropped.
#[derive(Debug)]
pub struct Shared<T>(Mutex<Weak<T>>);

impl<T> Shared<T> {
    /// Nobody has one so far.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::const_new(Weak::new()))
    }

    /// The one that somebody has; a new one, if nobody has any.
    ///
    /// # Errors
    /// If a new one does not start.
    pub async fn get(&self, start: impl AsyncFnOnce() -> Result<T>) -> Result<Arc<T>> {
        let mut shared = self.0.lock().await;
        if let Some(server) = shared.upgrade() {
            return Ok(server);
        }
        let server = Arc::new(start().await?);
        *shared = Arc::downgrade(&server);
        Ok(server)
    }
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_the_same_as_long_as_anybody_has_it() {
        static SHARED: Shared<u32> = Shared::new();
        let first = SHARED.get(async || Ok(1)).await.unwrap();
        let second = SHARED.get(async || Ok(2)).await.unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        drop((first, second));
        assert_eq!(*SHARED.get(async || Ok(3)).await.unwrap(), 3);
    }
}
