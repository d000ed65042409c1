//! The release: an image for each component that runs, from where the stage allows, and configuration that fits.

use std::collections::{BTreeMap, BTreeSet};

use todo_operator_api::component::Component;
use todo_operator_api::environment::Policy;
use todo_operator_api::release::Release;

use super::image::Reference;
use super::{NOT_SET, Problems, Scope};

/// Most that a ConfigMap holds.
const LARGEST_CONFIG: usize = 1_048_576;

/// The image of a component.
pub(super) fn image<'a>(
    release: &'a Release,
    name: &str,
    component: &Component,
) -> Option<&'a str> {
    let key = key(name, component);
    let found = release.images.iter().find(|image| image.component == key);
    found.map(|image| image.image.as_str())
}

fn key<'a>(name: &'a str, component: &'a Component) -> &'a str {
    component.image.as_deref().unwrap_or(name)
}

pub(super) fn check(scope: &Scope<'_, '_>, problems: &mut Problems) {
    let release = &scope.app.spec.release;
    let components = &scope.app.spec.components;
    let used: BTreeSet<&str> = components
        .iter()
        .map(|(name, component)| key(name, component))
        .collect();
    let mut seen = BTreeSet::new();
    for image in &release.images {
        let path = format!("spec.release.images[{}]", image.component);
        if !seen.insert(image.component.as_str()) {
            problems.add(
                &path,
                &image.image,
                "each image key stands once: remove the second",
            );
        }
        if !used.contains(image.component.as_str()) {
            problems.add(
                &path,
                &image.component,
                "no component uses this image key: correct it, or remove the entry",
            );
        }
        reference(
            scope.policy(),
            problems,
            &format!("{path}.image"),
            &image.image,
        );
    }
    for (name, component) in &scope.running {
        if image(release, name, component).is_none() {
            let key = key(name, component);
            problems.add(
                format!("spec.release.images[{key}]"),
                NOT_SET,
                format!("component {name} runs in this stage and needs an image: add an entry with component: {key}"),
            );
        }
    }
    for (name, config) in &release.config {
        let path = format!("spec.release.config.{name}");
        if !components.contains_key(name) {
            problems.add(
                &path,
                name,
                "no component has this name: correct it, or remove the entry",
            );
        }
        size(problems, &path, config);
    }
}

fn size(problems: &mut Problems, path: &str, config: &BTreeMap<String, String>) {
    let bytes: usize = config
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    if bytes > LARGEST_CONFIG {
        problems.add(
            path,
            format!("{bytes} bytes"),
            format!("a component's configuration has at most {LARGEST_CONFIG} bytes"),
        );
    }
}

/// An image reference that the stage's policy allows.
pub(super) fn reference(policy: Option<&Policy>, problems: &mut Problems, path: &str, text: &str) {
    let reference = match Reference::parse(text) {
        Ok(reference) => reference,
        Err(rule) => return problems.add(path, text, rule),
    };
    let Some(policy) = policy else { return };
    if policy.require_digests && reference.digest.is_none() {
        problems.add(
            path,
            text,
            format!(
                "this stage demands images by digest: write {}@sha256:…",
                reference.name
            ),
        );
    }
    let allowed = &policy.allowed_registries;
    if !allowed.is_empty() && !allowed.iter().any(|allowed| reference.is_from(allowed)) {
        problems.add(
            path,
            text,
            format!("this stage allows images from {} only", allowed.join(", ")),
        );
    }
}
