//! The packages for other languages compile, and each reads every fixture and writes it as it was. The AsyncAPI document is
//! valid by AsyncAPI's own parser.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panic"
)]

mod support;

use std::process::Command;

use localcluster::{Cache, Lines, NodeModules, Tools};

use crate::support::{fixtures, path};

fn modules() -> NodeModules {
    Tools::new(Cache::from_env())
        .ensure_npm(&Lines)
        .expect("npm's packages")
}

/// Runs it to a good end, and gives what it wrote.
fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{text}{errors}");
    text
}

/// So that a test that finds no fixtures does not pass.
fn count() -> String {
    format!("{} messages", fixtures().len())
}

#[test]
fn typescript() {
    let (modules, out) = (modules(), tempfile::tempdir().unwrap());
    run(modules
        .program("typescript/bin/tsc")
        .arg("--project")
        .arg(path("packages/typescript"))
        .arg("--outDir")
        .arg(out.path()));
    // Without it Node takes the files for CommonJS.
    std::fs::copy(
        path("packages/typescript/package.json"),
        out.path().join("package.json"),
    )
    .unwrap();
    let script = out.path().join("test/roundtrip.js");
    let text = run(modules.node().arg(script).arg(path("fixtures")));
    assert!(text.contains(&count()), "{text}");
}

#[test]
fn python() {
    let text = run(Command::new("python3")
        .current_dir(path("packages/python"))
        .env("PYTHONPATH", ".")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .args(["-W", "error", "tests/roundtrip.py"])
        .arg(path("fixtures")));
    assert!(text.contains(&count()), "{text}");
}

#[test]
fn go() {
    let go = || {
        let mut command = Command::new("go");
        command
            .current_dir(path("packages/go"))
            .env("GOWORK", "off")
            .env("GOFLAGS", "-mod=readonly")
            .env("FIXTURES", path("fixtures"));
        command
    };
    run(go().args(["vet", "./..."]));
    // What was cached would not see other fixtures.
    let text = run(go().args(["test", "-count=1", "-v", "./..."]));
    assert!(text.contains(&count()), "{text}");
}

#[test]
fn asyncapi_parser_takes_the_document() {
    const SCRIPT: &str = "
        const { Parser } = require(process.argv[1] + '/@asyncapi/parser');
        const text = require('node:fs').readFileSync(process.argv[2], 'utf8');
        new Parser().parse(text).then(({ document, diagnostics }) => {
            for (const { severity, path, message } of diagnostics) console.log(severity, path.join('.'), message);
            console.log(document ? document.messages().length + ' messages' : 'no document');
        });";
    let modules = modules();
    let text = run(modules
        .node()
        .args(["-e", SCRIPT])
        .arg(modules.path())
        .arg(path("asyncapi.json")));
    let expected = format!("{} messages", todo_contracts::catalog().len());
    assert_eq!(text.trim(), expected);
}
