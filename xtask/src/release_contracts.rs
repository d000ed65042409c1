//! `cargo xtask release-contracts`: keeps today's schemas and fixtures of the contracts, for all later versions to be
//! compared with.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};
use todo_contracts::schema;

use crate::repository::root;

const CONTRACTS: &str = "services/contracts";

/// Writes the release of the version that stands in the manifest.
pub fn run() -> Result<()> {
    let contracts = root()?.join(CONTRACTS);
    let version = env!("CARGO_PKG_VERSION");
    let target = contracts.join(format!("released/{version}.json"));
    if target.exists() {
        bail!(
            "{version} was released: raise the version in Cargo.toml, or remove {} if nobody has it yet",
            target.display()
        );
    }
    let schemas: Map<_, _> = schema::schemas()
        .into_iter()
        .map(|named| (named.name, named.schema))
        .collect();
    let release = json!({"schemas": schemas, "fixtures": fixtures(&contracts.join("fixtures"))?});
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let text = serde_json::to_string_pretty(&release).context("cannot write JSON")?;
    fs::write(&target, text + "\n")
        .with_context(|| format!("cannot write {}", target.display()))?;
    println!("wrote {}", target.display());
    Ok(())
}

fn fixtures(folder: &Path) -> Result<Map<String, Value>> {
    let list = |folder: &Path| -> Result<Vec<_>> {
        let entries =
            fs::read_dir(folder).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
        let mut entries = entries.with_context(|| format!("cannot list {}", folder.display()))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        Ok(entries)
    };
    let mut all = Map::new();
    for kind in list(folder)? {
        for file in list(&kind.path())? {
            let path = file.path();
            let text = fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let value = serde_json::from_str(&text)
                .with_context(|| format!("{} is no JSON", path.display()))?;
            let name = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            all.insert(
                format!("{}/{name}", kind.file_name().to_string_lossy()),
                value,
            );
        }
    }
    Ok(all)
}
