//! In which partition a key is. Kafka's clients disagree by default; ours all take FNV-1a, as Sarama, and so Dapr, does.

/// The partition of a key.
#[must_use]
pub fn of(key: &[u8], partitions: u32) -> u32 {
    let hash = key.iter().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    // Sarama takes the hash for a signed number, and the remainder without its sign.
    let remainder = i64::from(hash.cast_signed()) % i64::from(partitions.max(1));
    u32::try_from(remainder.abs()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_where_librdkafka_and_sarama_put_them() {
        // Hashes without their sign, from the unit test of librdkafka, which were made with Go.
        let hashes: [(&str, u32); 6] = [
            ("kafka", 0x0d33_c4e1),
            ("giberish123456789", 0x77a5_8295),
            ("1234", 0x023b_dd03),
            ("234", 0x2dea_3cd2),
            ("34", 0x740f_a83e),
            ("PreAmbleWillBeRemoved,ThePrePartThatIs", 0x65cb_d69c),
        ];
        for (key, hash) in hashes {
            for partitions in [1, 3, 12, 1_000] {
                assert_eq!(of(key.as_bytes(), partitions), hash % partitions, "{key}");
            }
        }
    }

    #[test]
    fn every_partition_is_used() {
        let used: std::collections::BTreeSet<_> = (0..1_000)
            .map(|n| of(format!("key-{n}").as_bytes(), 12))
            .collect();
        assert_eq!(used.len(), 12);
    }
}
