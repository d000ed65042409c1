//! The memory.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use todo_bus::EventBus;
use todo_bus::memory::MemoryBus;

use crate::rig::{PARTITIONS, Rig};

pub struct MemoryRig(MemoryBus);

impl Default for MemoryRig {
    fn default() -> Self {
        Self(MemoryBus::new(PARTITIONS))
    }
}

#[async_trait]
impl Rig for MemoryRig {
    async fn topic(&mut self, _: &str) {}

    async fn bus(&mut self, _: &str) -> Arc<dyn EventBus> {
        Arc::new(self.0.clone())
    }

    /// It goes with the process, and comes back with nothing.
    async fn interrupt(&mut self) {}

    async fn partitions_of(&mut self, topic: &str, key: &str) -> BTreeSet<u32> {
        let has = |partition: &u32| {
            self.0
                .log(topic, *partition)
                .iter()
                .any(|(of, _)| of == key)
        };
        (0..PARTITIONS).filter(has).collect()
    }

    async fn gone(&mut self, _: Arc<dyn EventBus>) {}
}
