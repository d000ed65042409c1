//! Being a member of a group: its settings.

use rdkafka::config::ClientConfig;

use crate::{Mode, Subscription};

/// The settings of a consumer.
pub(super) fn settings(
    mut client: ClientConfig,
    subscription: &Subscription,
    protocol: &str,
) -> ClientConfig {
    client
        // An offset is stored when its message is done, and what is stored is committed now and then.
        .set("enable.auto.offset.store", "false")
        .set("auto.commit.interval.ms", "1000")
        // What is fetched ahead must fit into a small container; the default is 64 MiB.
        .set("queued.max.messages.kbytes", "8192")
        .set("fetch.wait.max.ms", "100")
        .set("statistics.interval.ms", "1000")
        .set("group.id", &subscription.group);
    match subscription.mode {
        Mode::Shared => {
            client
                .set("auto.offset.reset", "earliest")
                .set("enable.auto.commit", "true");
            if protocol == "consumer" {
                // Members come and go without a stop for all (KIP-848). Assignment and sessions are the broker's.
                client.set("group.protocol", "consumer");
            } else {
                client.set("partition.assignment.strategy", "cooperative-sticky");
            }
        }
        Mode::Broadcast => {
            // Partitions are taken by hand, so nobody is a member of anything.
            client
                .set("auto.offset.reset", "latest")
                .set("enable.auto.commit", "false");
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Joined;

    fn of(mode: Mode, protocol: &str) -> ClientConfig {
        let subscription = Subscription {
            group: "todo-test.views".to_owned(),
            topics: vec!["t".to_owned()],
            mode,
            joined: Joined::default(),
        };
        settings(ClientConfig::new(), &subscription, protocol)
    }

    #[test]
    fn the_new_protocol_is_not_told_what_the_broker_decides() {
        let config = of(Mode::Shared, "consumer");
        assert_eq!(config.get("group.protocol"), Some("consumer"));
        for setting in [
            "partition.assignment.strategy",
            "session.timeout.ms",
            "heartbeat.interval.ms",
            "group.instance.id",
        ] {
            assert_eq!(config.get(setting), None, "{setting}");
        }
        let config = of(Mode::Shared, "classic");
        assert_eq!(
            config.get("partition.assignment.strategy"),
            Some("cooperative-sticky")
        );
        assert_eq!(config.get("group.protocol"), None);
    }

    #[test]
    fn only_members_remember_how_far_they_are() {
        assert_eq!(
            of(Mode::Shared, "consumer").get("auto.offset.reset"),
            Some("earliest")
        );
        let config = of(Mode::Broadcast, "consumer");
        assert_eq!(config.get("enable.auto.commit"), Some("false"));
        assert_eq!(config.get("auto.offset.reset"), Some("latest"));
    }
}
