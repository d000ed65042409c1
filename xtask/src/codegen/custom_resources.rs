//! From the types of `operator/api`: one manifest per custom resource and a kustomization that lists them, and one page of
//! documentation per custom resource.

use std::path::Path;

use anyhow::{Context, Result};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use todo_operator_api::{TodoApp, TodoEnvironment, TodoIntent, TodoRelease};

use super::{Files, MARK, reference};

pub(super) const CRDS: &str = "crds";
pub(super) const REFERENCE: &str = "docs/reference";
const SOURCE: &str = "operator/api. Do not edit.";

pub(super) fn definitions() -> [CustomResourceDefinition; 4] {
    [
        TodoApp::crd(),
        TodoEnvironment::crd(),
        TodoRelease::crd(),
        TodoIntent::crd(),
    ]
}

pub(super) fn generate() -> Result<Files> {
    let mut files = Files::new();
    let mut resources = Vec::new();
    for definition in definitions() {
        let manifest = serde_yaml::to_string(&definition)
            .with_context(|| format!("cannot write {} as YAML", definition.spec.names.plural))?;
        let file = format!("{}.yaml", definition.spec.names.plural);
        files.insert(
            Path::new(CRDS).join(&file),
            format!("# {MARK} {SOURCE}\n{manifest}"),
        );
        resources.push(file);
        let page = format!("{}.md", definition.spec.names.kind.to_lowercase());
        files.insert(
            Path::new(REFERENCE).join(page),
            format!(
                "<!-- {MARK} {SOURCE} -->\n{}",
                reference::page(&definition)?
            ),
        );
    }
    files.insert(
        Path::new(CRDS).join("kustomization.yaml"),
        format!(
            "# {MARK} {SOURCE}\napiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n- {}\n",
            resources.join("\n- ")
        ),
    );
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_manifest_a_page_and_a_line_in_the_kustomization() {
        let files = generate().unwrap();
        assert_eq!(files.len(), 2 * definitions().len() + 1);
        let kustomization = &files[Path::new("crds/kustomization.yaml")];
        for definition in definitions() {
            let plural = &definition.spec.names.plural;
            assert!(kustomization.contains(&format!("\n- {plural}.yaml\n")));
            let manifest = &files[&Path::new(CRDS).join(format!("{plural}.yaml"))];
            let parsed: CustomResourceDefinition = serde_yaml::from_str(manifest).unwrap();
            assert_eq!(parsed, definition, "{plural}: YAML says what the types say");
        }
    }
}
