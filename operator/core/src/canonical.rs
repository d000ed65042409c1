//! Hashes of canonical JSON (RFC 8785).

use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use todo_operator_api::release::Release;

/// SHA-256 of a value's canonical form, in hexadecimal.
///
/// Canonical JSON refuses only what `serde_json` cannot produce from our types (non-finite numbers, maps with keys that
/// are no strings), so the fallback to plain JSON is never reached by them.
pub fn sha256<T: Serialize>(value: &T) -> String {
    let bytes = serde_json_canonicalizer::to_vec(value)
        .or_else(|_| serde_json::to_vec(value))
        .unwrap_or_default();
    hex(&Sha256::digest(&bytes))
}

/// The first `length` characters of [`sha256`].
pub fn short<T: Serialize>(value: &T, length: usize) -> String {
    let mut hash = sha256(value);
    hash.truncate(length);
    hash
}

/// The first `length` characters of the SHA-256 of a value's JSON, as `serde_json` writes it. Where the value has no fractions,
/// its maps are sorted and the order of its fields is fixed, as in a [`serde_json::Value`], this is as stable as [`short`], and
/// takes a third of the time.
pub fn short_of_sorted<T: Serialize>(value: &T, length: usize) -> String {
    let mut hash = hex(&sha256_as_written(value));
    hash.truncate(length);
    hash
}

/// A hash that is kept in memory by the thousand: the first 16 bytes of SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest128(pub [u8; 16]);

/// [`Digest128`] of a value's JSON, as `serde_json` writes it: it is compared within one process only.
pub fn digest<T: Serialize>(value: &T) -> Digest128 {
    let mut short = [0; 16];
    short.copy_from_slice(&sha256_as_written(value)[..16]);
    Digest128(short)
}

/// SHA-256 of a value's JSON, as `serde_json` writes it.
fn sha256_as_written<T: Serialize>(value: &T) -> [u8; 32] {
    Sha256::digest(serde_json::to_vec(value).unwrap_or_default()).into()
}

/// Fingerprint of a release: SHA-256 over `images`, sorted by component, and `config`; `version` is left out, so that a
/// new name alone is no new release.
pub fn fingerprint(release: &Release) -> String {
    let mut images: Vec<_> = release.images.iter().collect();
    images.sort_by(|a, b| a.component.cmp(&b.component));
    sha256(&json!({"images": images, "config": release.config}))
}

/// Hash of one component's configuration, as it stands in ConfigMap names and in rejections.
pub fn config_hash(config: &std::collections::BTreeMap<String, String>) -> String {
    short(config, 8)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use todo_operator_api::release::ReleaseImage;

    fn release(images: &[(&str, &str)], version: &str) -> Release {
        Release {
            version: Some(version.into()),
            images: images
                .iter()
                .map(|(component, image)| ReleaseImage {
                    component: (*component).into(),
                    image: (*image).into(),
                })
                .collect(),
            config: Default::default(),
        }
    }

    #[test]
    fn fingerprint_ignores_order_and_version() {
        let one = release(&[("a", "x:1"), ("b", "y:1")], "1.0.0");
        let two = release(&[("b", "y:1"), ("a", "x:1")], "2.0.0");
        assert_eq!(fingerprint(&one), fingerprint(&two));
    }

    #[test]
    fn fingerprint_sees_images_and_config() {
        let one = release(&[("a", "x:1")], "1");
        let mut other = one.clone();
        other.images[0].image = "x:2".into();
        assert_ne!(fingerprint(&one), fingerprint(&other));
        let mut other = one.clone();
        other
            .config
            .entry("a".into())
            .or_default()
            .insert("K".into(), "v".into());
        assert_ne!(fingerprint(&one), fingerprint(&other));
    }

    #[test]
    fn what_is_sorted_has_the_hash_of_its_canonical_form() {
        let config = std::collections::BTreeMap::from([("b", "\u{7f}\u{1}\"\\\n/é"), ("a", "")]);
        let sorted = (
            "image",
            config,
            json!({"z": [1, -2, true, null], "a": {"c": {}, "b": []}}),
        );
        assert_eq!(short_of_sorted(&sorted, 64), sha256(&sorted));
    }

    #[test]
    fn fingerprint_is_the_documented_one() {
        let empty = Release::default();
        // echo -n '{"config":{},"images":[]}' | sha256sum
        assert_eq!(
            fingerprint(&empty),
            hex(&Sha256::digest(br#"{"config":{},"images":[]}"#))
        );
    }
}
