//! Image references, and which registries they come from.

/// An image reference, with what Docker leaves out filled in: `nginx` is `docker.io/library/nginx`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference<'a> {
    /// `registry/path`, without tag and digest.
    pub(super) name: String,
    /// The tag.
    pub(super) tag: Option<&'a str>,
    /// The digest, `sha256:…`.
    pub(super) digest: Option<&'a str>,
}

/// The registry of references that name none.
const DEFAULT_REGISTRY: &str = "docker.io";
/// Longest name that registries take.
const LONGEST_NAME: usize = 255;

impl<'a> Reference<'a> {
    /// Parses `[registry/]path[:tag][@digest]`; what is wrong with it, otherwise.
    pub(super) fn parse(text: &'a str) -> Result<Self, &'static str> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        if digest.is_some_and(|digest| !is_digest(digest)) {
            return Err("a digest is sha256: and 64 hexadecimal digits in lower case");
        }
        // A colon before the last slash belongs to the registry's port.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err("a tag is at most 128 letters, digits, '_', '.' and '-'");
        }
        let name = qualify(name);
        let (registry, path) = name.split_once('/').unwrap_or((&name, ""));
        if !is_registry(registry)
            || !path.split('/').all(is_path_component)
            || name.len() > LONGEST_NAME
        {
            return Err(
                "an image is [registry/]path[:tag][@digest] in lower case, as ghcr.io/acme/web:1.2@sha256:…",
            );
        }
        Ok(Self { name, tag, digest })
    }

    /// Whether it comes from `allowed`: a registry, or a prefix of whole path segments.
    pub(super) fn is_from(&self, allowed: &str) -> bool {
        let allowed = allowed.trim_end_matches('/');
        let allowed = if allowed.contains('/') || !names_registry(allowed) {
            qualify_prefix(allowed)
        } else {
            canonical_registry(allowed).to_owned()
        };
        self.name
            .strip_prefix(&allowed)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// Whether the first segment of a name is a registry: Docker's rule.
fn names_registry(segment: &str) -> bool {
    segment == "localhost" || segment.contains(['.', ':'])
}

/// Docker Hub has several names.
fn canonical_registry(registry: &str) -> &str {
    match registry {
        "index.docker.io" | "registry-1.docker.io" => DEFAULT_REGISTRY,
        other => other,
    }
}

fn qualify_prefix(name: &str) -> String {
    match name.split_once('/') {
        Some((registry, path)) if names_registry(registry) => {
            format!("{}/{path}", canonical_registry(registry))
        }
        _ => format!("{DEFAULT_REGISTRY}/{name}"),
    }
}

fn qualify(name: &str) -> String {
    let name = qualify_prefix(name);
    match name.split_once('/') {
        Some((DEFAULT_REGISTRY, path)) if !path.contains('/') => {
            format!("{DEFAULT_REGISTRY}/library/{path}")
        }
        _ => name,
    }
}

fn is_registry(text: &str) -> bool {
    let (host, port) = text
        .split_once(':')
        .map_or((text, None), |(host, port)| (host, Some(port)));
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.split('.').all(is_label)
        && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// Lower-case letters and digits, with single separators (`.`, `_`, `__`, any number of `-`) between them.
fn is_path_component(text: &str) -> bool {
    let is_alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bounded = text.bytes().next().is_some_and(is_alphanumeric)
        && text.bytes().last().is_some_and(is_alphanumeric);
    bounded
        && text
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .all(|separator| {
                matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
            })
}

fn is_tag(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        && !text.starts_with(['.', '-'])
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_docker_leaves_out_is_filled_in() {
        let name = |text| Reference::parse(text).unwrap().name;
        assert_eq!(name("nginx"), "docker.io/library/nginx");
        assert_eq!(name("acme/web:1"), "docker.io/acme/web");
        assert_eq!(name("docker.io/nginx"), "docker.io/library/nginx");
        assert_eq!(name("index.docker.io/acme/web"), "docker.io/acme/web");
        assert_eq!(name("localhost/web"), "localhost/web");
        assert_eq!(name("registry:5000/web"), "registry:5000/web");
        assert_eq!(name("ghcr.io/acme/a__b/c--d"), "ghcr.io/acme/a__b/c--d");
    }

    #[test]
    fn tag_and_digest_are_told_apart() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let text = format!("localhost:5000/web:1.2@{digest}");
        let reference = Reference::parse(&text).unwrap();
        assert_eq!(
            (reference.tag, reference.digest),
            (Some("1.2"), Some(digest.as_str()))
        );
        let reference = Reference::parse("localhost:5000/web").unwrap();
        assert_eq!((reference.tag, reference.digest), (None, None));
    }

    #[test]
    fn malformed_references_are_refused() {
        for text in [
            "",
            "/web",
            "web/",
            "a//b",
            "Web",
            "ghcr.io/Acme/web",
            "ghcr.io/acme/web:",
            "web:.1",
            "web@sha256:12",
            "web@md5:12",
            "a b",
            "ghcr.io/-a",
            "a___b",
            "a._b",
            "https://ghcr.io/acme/web",
            "ghcr.io:0/web",
            "web:1:2",
        ] {
            assert!(Reference::parse(text).is_err(), "{text}");
        }
        assert!(Reference::parse(&format!("web@sha256:{}", "A".repeat(64))).is_err());
    }

    #[test]
    fn prefixes_end_at_whole_segments() {
        let from = |text, allowed| Reference::parse(text).unwrap().is_from(allowed);
        assert!(from("ghcr.io/acme/x", "ghcr.io/acme"));
        assert!(from("ghcr.io/acme/x", "ghcr.io/acme/"));
        assert!(from("ghcr.io/acme/x", "ghcr.io/acme/x"));
        assert!(from("ghcr.io/acme/x", "ghcr.io"));
        assert!(!from("ghcr.io/acmeevil/x", "ghcr.io/acme"));
        assert!(!from("ghcr.io.evil.example/acme/x", "ghcr.io"));
        assert!(!from("ghcr.io:444/acme/x", "ghcr.io"));
        assert!(!from("evil.example/ghcr.io/acme/x", "ghcr.io/acme"));
    }

    #[test]
    fn docker_hub_has_one_name() {
        let from = |text, allowed| Reference::parse(text).unwrap().is_from(allowed);
        assert!(from("nginx", "docker.io"));
        assert!(from("nginx", "docker.io/library"));
        assert!(from("acme/web", "docker.io/acme"));
        assert!(from("acme/web", "acme"));
        assert!(from(
            "registry-1.docker.io/acme/web",
            "index.docker.io/acme"
        ));
        assert!(!from("acme/web", "ghcr.io"));
    }
}
