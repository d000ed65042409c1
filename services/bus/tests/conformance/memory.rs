//! The memory.

use std::sync::Arc;

use async_trait::async_trait;
use todo_bus::EventBus;
use todo_bus::memory::MemoryBus;

use crate::rig::{Keys, PARTITIONS, Rig};

pub struct MemoryRig(MemoryBus);

impl Default for MemoryRig {
    fn default() -> Self {
        Self(MemoryBus::new(PARTITIONS))
    }
}

#[async_trait(?Send)]
impl Rig for MemoryRig {
    fn name(&self) -> &'static str {
        "memory"
    }

    async fn topic(&self, _: &str) {}

    async fn bus(&self, _: &str) -> Arc<dyn EventBus> {
        Arc::new(self.0.clone())
    }

    /// It goes with the process, and comes back with nothing.
    async fn interrupt(&self) {}

    async fn keys_in(&self, topic: &str) -> Keys {
        let mut found = Keys::new();
        for partition in 0..PARTITIONS {
            for (key, _) in self.0.log(topic, partition) {
                found.entry(key).or_default().insert(partition);
            }
        }
        found
    }

    async fn gone(&self, _: Arc<dyn EventBus>) {}
}
