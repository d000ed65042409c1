//! From the schemas of `services/contracts`: classes in TypeScript, Python and Go, and for each language a registry that
//! finds the class of a message by its `type`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use localcluster::{Cache, NodeModules, Tools};
use serde_json::{Map, Value, json};
use todo_contracts::{catalog, schema};

use super::{Files, MARK};
use crate::progress::shown;

pub(super) const TYPESCRIPT: &str = "services/contracts/packages/typescript/src";
pub(super) const PYTHON: &str = "services/contracts/packages/python/todo_contracts";
pub(super) const GO: &str = "services/contracts/packages/go";
const SOURCE: &str = "services/contracts/src. Do not edit.";

pub(super) fn generate() -> Result<Files> {
    let modules = Tools::new(Cache::from_env())
        .ensure_npm(shown().as_ref())
        .context("quicktype is needed, and comes from npm")?;
    let work = tempfile::tempdir().context("cannot create a temporary directory")?;
    let bundle = work.path().join("bundle.json");
    fs::write(&bundle, bundle_of_schemas().to_string()).context("cannot write the schemas")?;
    let quicktype = |arguments: &[&str]| run_quicktype(&modules, &bundle, arguments);
    let typescript = quicktype(&["--lang", "typescript", "--prefer-unions"])?;
    let python = quicktype(&["--lang", "python", "--python-version", "3.10"])?;
    let go = gofmt(&quicktype(&["--lang", "go", "--package", "contracts"])?)?;
    let file = |folder: &str, name: &str, comment: &str, text: &str| {
        let text = format!("{comment} {MARK} {SOURCE}\n{}\n", text.trim());
        (Path::new(folder).join(name), text)
    };
    Ok(Files::from([
        file(TYPESCRIPT, "messages.ts", "//", &typescript),
        file(TYPESCRIPT, "registry.ts", "//", &registry_in_typescript()),
        file(PYTHON, "messages.py", "#", &python),
        file(PYTHON, "registry.py", "#", &registry_in_python()),
        file(GO, "messages.go", "//", &go),
        file(GO, "registry.go", "//", &gofmt(&registry_in_go())?),
    ]))
}

/// One document with every schema among its definitions, so that what messages share is one class.
fn bundle_of_schemas() -> Value {
    let mut definitions = Map::new();
    for named in schema::schemas() {
        let Value::Object(mut schema) = rebased(named.schema) else {
            continue;
        };
        for name in ["$id", "$schema"] {
            schema.remove(name);
        }
        if let Some(Value::Object(shared)) = schema.remove("$defs") {
            definitions.extend(shared);
        }
        if let Some(title) = schema.get("title").and_then(Value::as_str) {
            definitions.insert(title.to_owned(), Value::Object(schema));
        }
    }
    // Sorted, so that the order of classes is the same whatever features of serde_json other crates ask for.
    super::contracts::sorted(json!({"definitions": definitions}))
}

/// References into `$defs` lead into the bundle's `definitions`.
fn rebased(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, value)| match value {
                    Value::String(to) if name == "$ref" => (
                        name,
                        Value::String(to.replace("#/$defs/", "#/definitions/")),
                    ),
                    value => (name, rebased(value)),
                })
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(rebased).collect()),
        other => other,
    }
}

fn run_quicktype(modules: &NodeModules, bundle: &Path, arguments: &[&str]) -> Result<String> {
    let mut quicktype = modules.program("quicktype/dist/index.js");
    quicktype
        .args(["--src-lang", "schema", "--telemetry", "disable"])
        // Texts stay texts: whoever passes a message on writes what was read.
        .args(["--no-date-times", "--no-uuids"])
        .args(arguments)
        .arg(format!("{}#/definitions/", bundle.display()));
    output(quicktype, None)
}

fn gofmt(text: &str) -> Result<String> {
    output(Command::new("gofmt"), Some(text))
}

fn output(mut command: Command, input: Option<&str>) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    let (mut stdin, input) = (child.stdin.take(), input.unwrap_or_default().to_owned());
    // Beside the reading: pipes hold less than a file.
    let writing = std::thread::spawn(move || {
        use std::io::Write as _;
        stdin
            .as_mut()
            .map_or(Ok(()), |stdin| stdin.write_all(input.as_bytes()))
    });
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program} failed ({}):\n{said}", output.status);
    }
    if let Ok(written) = writing.join() {
        written.with_context(|| format!("cannot write to {program}"))?;
    }
    String::from_utf8(output.stdout).with_context(|| format!("{program} writes no UTF-8"))
}

fn registry_in_typescript() -> String {
    let mut text = "import * as messages from \"./messages.js\";\n\
        import { Convert } from \"./messages.js\";\n\n\
        /** What `data` is, by the `type` of the envelope. */\n\
        export interface Messages {\n"
        .to_owned();
    for entry in catalog() {
        let _ = writeln!(text, "    \"{}\": messages.{};", entry.kind, entry.name);
    }
    text.push_str(
        "}\n\n/** Reads and writes the `data` of one type of message, as JSON text. */\n\
         export interface Codec<T> {\n    read(json: string): T;\n    write(value: T): string;\n}\n\n\
         /** The codecs of all types. */\n\
         export const codecs: { readonly [K in keyof Messages]: Codec<Messages[K]> } = {\n",
    );
    for entry in catalog() {
        let (name, lower) = (entry.name, lower_first(entry.name));
        let _ = writeln!(
            text,
            "    \"{}\": {{ read: Convert.to{name}, write: Convert.{lower}ToJson }},",
            entry.kind
        );
    }
    text.push_str("};\n");
    text
}

fn registry_in_python() -> String {
    let mut text =
        "\"\"\"Finds the class of a message's data by the type of its envelope.\"\"\"\n\n\
        from . import messages\n\n\
        CLASSES: dict[str, type] = {\n"
            .to_owned();
    for entry in catalog() {
        let _ = writeln!(text, "    \"{}\": messages.{},", entry.kind, entry.name);
    }
    text.push_str("}\n");
    text
}

fn registry_in_go() -> String {
    let mut text = "package contracts\n\n\
        // New makes an empty value for the data of a message, by the type of its envelope.\n\
        var New = map[string]func() any{\n"
        .to_owned();
    for entry in catalog() {
        let _ = writeln!(
            text,
            "\"{}\": func() any {{ return new({}) }},",
            entry.kind, entry.name
        );
    }
    text.push_str("}\n");
    text
}

fn lower_first(name: &str) -> String {
    let mut characters = name.chars();
    let first = characters.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(characters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_messages_share_is_defined_once() {
        let bundle = bundle_of_schemas();
        let definitions = bundle["definitions"].as_object().unwrap();
        let shared = ["Due", "Recurrence", "Priority", "Role"];
        assert!(shared.iter().all(|name| definitions.contains_key(*name)));
        let reference = "#/definitions/Due";
        assert_eq!(
            bundle
                .pointer("/definitions/TaskCreated/properties/due/$ref")
                .unwrap(),
            reference
        );
        assert_eq!(
            bundle
                .pointer("/definitions/EditTask/properties/due/$ref")
                .unwrap(),
            reference
        );
    }

    #[test]
    fn registries_name_every_type() {
        for text in [
            registry_in_typescript(),
            registry_in_python(),
            registry_in_go(),
        ] {
            for entry in catalog() {
                assert!(
                    text.contains(&format!("\"{}\":", entry.kind)),
                    "{}",
                    entry.kind
                );
            }
        }
    }
}
