//! The peers' custom resource definitions: taken out of pinned packages once, then loaded from the cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::{TryStreamExt, stream};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::wait::{await_condition, conditions};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::cache::key;
use crate::error::{Error, Result};
use crate::progress::{Event, Progress};
use crate::tools::{
    ARGO_CD, ARGO_ROLLOUTS, CLOUDNATIVE_PG, CRDS, KEDA, KWOK, Recipe, TRAEFIK, Tools, go, output,
};

/// A project whose custom resources the operator writes or reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Peer {
    /// Rollout, AnalysisTemplate, AnalysisRun, Experiment.
    ArgoRollouts,
    /// Application, ApplicationSet, AppProject.
    ArgoCd,
    /// ObjectStore of CloudNativePG's backup plugin.
    BarmanCloud,
    /// Certificate, Issuer and their requests.
    CertManager,
    /// Cluster, Database, DatabaseRole, Pooler, ScheduledBackup.
    CloudNativePg,
    /// Component, Subscription, Configuration, Resiliency.
    Dapr,
    /// Gateway, HTTPRoute, GRPCRoute (standard channel).
    GatewayApi,
    /// VirtualService, DestinationRule, AuthorizationPolicy.
    Istio,
    /// ScaledObject, TriggerAuthentication.
    Keda,
    /// ServiceMonitor, PodMonitor, PrometheusRule.
    PrometheusOperator,
    /// KafkaTopic, KafkaUser.
    Strimzi,
    /// IngressRoute, TraefikService, Middleware, ServersTransport.
    Traefik,
}

/// Where a set of files lies in a Go module.
struct Source {
    recipe: Recipe,
    module: &'static str,
    /// Files, or directories of which every YAML file is taken.
    paths: &'static [&'static str],
}

impl Peer {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::ArgoRollouts,
        Self::ArgoCd,
        Self::BarmanCloud,
        Self::CertManager,
        Self::CloudNativePg,
        Self::Dapr,
        Self::GatewayApi,
        Self::Istio,
        Self::Keda,
        Self::PrometheusOperator,
        Self::Strimzi,
        Self::Traefik,
    ];

    /// Its name in the field, in lower case with hyphens.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ArgoRollouts => "argo-rollouts",
            Self::ArgoCd => "argo-cd",
            Self::BarmanCloud => "plugin-barman-cloud",
            Self::CertManager => "cert-manager",
            Self::CloudNativePg => "cloudnative-pg",
            Self::Dapr => "dapr",
            Self::GatewayApi => "gateway-api",
            Self::Istio => "istio",
            Self::Keda => "keda",
            Self::PrometheusOperator => "prometheus-operator",
            Self::Strimzi => "strimzi",
            Self::Traefik => "traefik",
        }
    }

    const fn source(self) -> Option<Source> {
        let (recipe, module, paths): (Recipe, &str, &[&str]) = match self {
            Self::ArgoRollouts => (
                ARGO_ROLLOUTS,
                "github.com/argoproj/argo-rollouts",
                &["manifests/crds"],
            ),
            Self::ArgoCd => (
                ARGO_CD,
                "github.com/argoproj/argo-cd/v3",
                &[
                    "manifests/crds/application-crd.yaml",
                    "manifests/crds/appproject-crd.yaml",
                ],
            ),
            Self::BarmanCloud => (
                CRDS,
                "github.com/cloudnative-pg/plugin-barman-cloud",
                &["config/crd/bases"],
            ),
            Self::CertManager => (
                CRDS,
                "github.com/cert-manager/cert-manager",
                &["deploy/crds"],
            ),
            Self::CloudNativePg => (
                CLOUDNATIVE_PG,
                "github.com/cloudnative-pg/cloudnative-pg",
                &["config/crd/bases"],
            ),
            Self::Dapr => (CRDS, "github.com/dapr/dapr", &["charts/dapr/crds"]),
            Self::GatewayApi => (CRDS, "sigs.k8s.io/gateway-api", &["config/crd/standard"]),
            Self::Istio => (
                CRDS,
                "istio.io/api",
                &["kubernetes/customresourcedefinitions.gen.yaml"],
            ),
            Self::Keda => (KEDA, "github.com/kedacore/keda/v2", &["config/crd/bases"]),
            // The other kinds of this operator are several megabytes that nothing here reads.
            Self::PrometheusOperator => (
                CRDS,
                "github.com/prometheus-operator/prometheus-operator",
                &[
                    "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
                    "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml",
                    "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
                ],
            ),
            Self::Strimzi => return None,
            Self::Traefik => (
                TRAEFIK,
                "github.com/traefik/traefik/v3",
                &["docs/content/reference/dynamic-configuration/kubernetes-crd-definition-v1.yml"],
            ),
        };
        Some(Source {
            recipe,
            module,
            paths,
        })
    }
}

const STRIMZI: [&str; 2] = [
    include_str!("../crds/strimzi/kafkatopic.yaml"),
    include_str!("../crds/strimzi/kafkauser.yaml"),
];

const KWOK_SOURCE: Source = Source {
    recipe: KWOK,
    module: "sigs.k8s.io/kwok",
    paths: &[
        "kustomize/crd/bases/kwok.x-k8s.io_stages.yaml",
        "kustomize/stage/node/fast",
        "kustomize/stage/node/heartbeat-with-lease",
        "kustomize/stage/pod/fast",
    ],
};

/// Changed whenever the way in which files are prepared changes, so that old cache entries are not used.
const FORMAT: &str = "3";

/// The files of a peer's CRDs, one JSON document each.
///
/// # Errors
/// If the package cannot be downloaded or read.
pub fn files(tools: &Tools, peer: Peer, progress: &dyn Progress) -> Result<Vec<PathBuf>> {
    let name = format!("crds-{}", peer.name());
    let dir = match peer.source() {
        Some(source) => extract(tools, &name, &source, progress)?,
        None => tools
            .cache
            .entry(&name, &key([FORMAT, STRIMZI[0], STRIMZI[1]]), |work| {
                STRIMZI
                    .iter()
                    .try_for_each(|text| write_documents(work, Path::new("crds/strimzi"), text))
            })?,
    };
    json_files(&dir)
}

/// The files of KWOK's Stage CRD and of its fast stages.
pub(crate) fn kwok_files(tools: &Tools, progress: &dyn Progress) -> Result<Vec<PathBuf>> {
    json_files(&extract(tools, "kwok-stages", &KWOK_SOURCE, progress)?)
}

/// Fills the cache with every peer's CRDs.
pub(crate) fn ensure_all(tools: &Tools, progress: &dyn Progress) -> Result<()> {
    for peer in Peer::ALL {
        files(tools, peer, progress)?;
    }
    kwok_files(tools, progress).map(drop)
}

fn extract(tools: &Tools, name: &str, source: &Source, progress: &dyn Progress) -> Result<PathBuf> {
    let version = source.recipe.version(source.module)?;
    let mut inputs = vec![FORMAT, source.module, version];
    inputs.extend(source.paths);
    tools.cache.entry(name, &key(inputs), |work| {
        let what = format!("{name} {version}");
        let begun = Instant::now();
        progress.event(Event::Begin {
            what: &what,
            steps: None,
        });
        let dir = module_dir(&source.recipe, source.module, &work.join("module"), &what)?;
        for path in source.paths {
            for file in yaml_files(&dir.join(path))? {
                let text = fs::read_to_string(&file).map_err(Error::io("read", &file))?;
                write_documents(work, &file, &text)?;
            }
        }
        progress.event(Event::End {
            what: &what,
            took: begun.elapsed(),
        });
        Ok(())
    })
}

/// The directory of a pinned module in Go's own cache, downloaded first if need be. Go runs in `work`, which is removed.
pub(crate) fn module_dir(
    recipe: &Recipe,
    module: &str,
    work: &Path,
    what: &str,
) -> Result<PathBuf> {
    let version = recipe.version(module)?;
    recipe.write_to(work)?;
    let mut download = go(work);
    // Not `go list -m`: that would load the whole graph of every module named beside it.
    download
        .args(["mod", "download", "-json"])
        .arg(format!("{module}@{version}"));
    let dir = downloaded_dir(&output(download, what)?, module)?;
    fs::remove_dir_all(work).map_err(Error::io("remove", work))?;
    Ok(dir)
}

pub(crate) fn downloaded_dir(json: &str, module: &str) -> Result<PathBuf> {
    let answer: Value = serde_json::from_str(json).unwrap_or_default();
    answer["Dir"]
        .as_str()
        .map(PathBuf::from)
        .ok_or_else(|| Error::Recipe {
            recipe: module.to_owned(),
            reason: format!("`go mod download` named no directory: {}", answer["Error"]),
        })
}

fn yaml_files(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(Error::io("read", path))? {
        let file = entry.map_err(Error::io("read", path))?.path();
        if file.extension().is_some_and(|e| e == "yaml" || e == "yml") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn json_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::io("read", dir))? {
        files.push(entry.map_err(Error::io("read", dir))?.path());
    }
    files.sort();
    Ok(files)
}

/// Writes each CRD (and Stage) of a YAML stream into `dir` as one JSON file, named after its kind and name.
fn write_documents(dir: &Path, origin: &Path, text: &str) -> Result<()> {
    for document in documents(text).map_err(|reason| Error::Recipe {
        recipe: origin.display().to_string(),
        reason,
    })? {
        let kind = document["kind"].as_str().unwrap_or_default().to_lowercase();
        let name = document["metadata"]["name"].as_str().unwrap_or_default();
        let path = dir.join(format!("{kind}.{name}.json"));
        fs::write(&path, document.to_string()).map_err(Error::io("write", &path))?;
    }
    Ok(())
}

/// The CRDs and Stages of a YAML stream, made fit for a cluster in which nobody answers their webhooks.
fn documents(text: &str) -> Result<Vec<Value>, String> {
    let mut found = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let mut value = Value::deserialize(document).map_err(|e| e.to_string())?;
        match value["kind"].as_str() {
            Some("CustomResourceDefinition") => {
                if value["spec"]["conversion"]["strategy"] == "Webhook" {
                    value["spec"]["conversion"] = serde_json::json!({"strategy": "None"});
                }
                // Files generated from Go carry an empty status, which is not for the applier to set.
                if let Some(object) = value.as_object_mut() {
                    object.remove("status");
                }
                remove_descriptions(&mut value["spec"]["versions"]);
                found.push(value);
            }
            Some("Stage") => found.push(value),
            // Kustomizations, admission policies, empty documents.
            _ => {}
        }
    }
    Ok(found)
}

/// Removes the texts of a schema, which are most of its size: the API server is ready in half the time without them, and
/// what it accepts is the same.
fn remove_descriptions(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            // A property of that name has a schema, not a text.
            if fields.get("description").is_some_and(Value::is_string) {
                fields.remove("description");
            }
            for (name, value) in fields {
                // Values, not schemas.
                if !matches!(name.as_str(), "default" | "enum" | "example") {
                    remove_descriptions(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(remove_descriptions),
        _ => {}
    }
}

/// Applies the peers' CRDs and waits until the API server serves them.
///
/// # Errors
/// If the API server refuses one, or does not establish it in time.
pub async fn install(
    client: &Client,
    tools: &Tools,
    peers: &[Peer],
    progress: &dyn Progress,
) -> Result<()> {
    let mut all = Vec::new();
    for peer in peers {
        all.extend(files(tools, *peer, progress)?);
    }
    apply_crds(client, all).await
}

pub(crate) async fn apply_crds(client: &Client, files: Vec<PathBuf>) -> Result<()> {
    stream::iter(files.into_iter().map(Ok))
        .try_for_each_concurrent(8, |file| apply_crd(client.clone(), file))
        .await
}

async fn apply_crd(client: Client, file: PathBuf) -> Result<()> {
    let text = fs::read_to_string(&file).map_err(Error::io("read", &file))?;
    let name = file
        .file_stem()
        .and_then(|s| s.to_str())
        .and_then(|s| s.strip_prefix("customresourcedefinition."))
        .ok_or_else(|| Error::State {
            path: file.clone(),
            reason: "it is no CRD".to_owned(),
        })?
        .to_owned();
    let body = RawValue::from_string(text).map_err(|e| Error::State {
        path: file.clone(),
        reason: e.to_string(),
    })?;
    let api: Api<CustomResourceDefinition> = Api::all(client);
    let action = || format!("install the CRD {name}");
    api.patch(
        &name,
        &PatchParams::apply("localcluster").force(),
        &Patch::Apply(&body),
    )
    .await
    .map_err(Error::kube(action()))?;
    let established = await_condition(api, &name, conditions::is_crd_established());
    tokio::time::timeout(Duration::from_secs(60), established)
        .await
        .map_err(|_| Error::NotReady {
            part: format!("CRD {name}"),
            seconds: 60,
            waiting_for: "condition Established".to_owned(),
            log: PathBuf::from("kube-apiserver.log"),
            tail: String::new(),
        })?
        .map_err(|e| Error::Task(format!("waiting for the CRD {name}: {e}")))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "---\napiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: a.x.io}\nspec:\n  conversion:\n    strategy: Webhook\n    webhook: {conversionReviewVersions: [v1]}\nstatus: {conditions: []}\n---\n# only a comment\n---\nkind: ValidatingAdmissionPolicy\nmetadata: {name: p}\n---\nkind: CustomResourceDefinition\nmetadata: {name: b.x.io}\n";

    #[test]
    fn only_crds_are_taken_and_webhook_conversion_is_turned_off() {
        let found = documents(TWO).unwrap();
        let names: Vec<_> = found
            .iter()
            .map(|d| d["metadata"]["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["a.x.io", "b.x.io"]);
        assert_eq!(
            found[0]["spec"]["conversion"],
            serde_json::json!({"strategy": "None"})
        );
        assert!(found[0].get("status").is_none());
    }

    #[test]
    fn texts_are_removed_but_no_property_or_default_of_that_name() {
        let mut schema = serde_json::json!({
            "description": "gone",
            "properties": {"description": {"type": "string", "description": "gone", "default": {"description": "kept"}}},
        });
        remove_descriptions(&mut schema);
        let wanted = serde_json::json!({"properties": {"description": {"type": "string", "default": {"description": "kept"}}}});
        assert_eq!(schema, wanted);
    }

    #[test]
    fn strimzi_crds_are_kept_in_the_tree() {
        for text in STRIMZI {
            assert_eq!(documents(text).unwrap().len(), 1);
        }
    }

    #[test]
    fn every_peer_with_a_package_is_pinned() {
        for source in Peer::ALL.into_iter().filter_map(Peer::source) {
            assert!(
                source.recipe.version(source.module).is_ok(),
                "{}",
                source.module
            );
        }
    }

    #[test]
    fn a_failed_download_names_the_module() {
        let error = downloaded_dir(r#"{"Error": "not found"}"#, "a.io/m").unwrap_err();
        assert!(
            error.to_string().contains("a.io/m") && error.to_string().contains("not found"),
            "{error}"
        );
    }
}
