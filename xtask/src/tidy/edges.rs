//! The allowed edges between crates, and dependencies some must not have.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// Crate and the crates of ours it may use. Data flows one way.
const ALLOWED: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("decode", &["model"]),
    ("analyze", &["model"]),
    ("render", &["model", "analyze"]),
    ("capture", &["model", "decode"]),
    ("httpclient", &[]),
    ("promql", &["model"]),
    ("remotewrite", &["model", "httpclient"]),
    ("notify", &["model", "promql", "httpclient"]),
    ("store", &["model", "decode"]),
    (
        "agent",
        &[
            "model",
            "decode",
            "analyze",
            "capture",
            "store",
            "httpclient",
            "promql",
            "remotewrite",
            "notify",
        ],
    ),
    ("server", &["model", "decode", "analyze", "render", "store", "agent", "promql"]),
    (
        "memsight",
        &[
            "model",
            "decode",
            "analyze",
            "render",
            "capture",
            "store",
            "agent",
            "server",
            "promql",
            "remotewrite",
            "notify",
        ],
    ),
    ("xtask", &[]),
];

/// Crate and foreign crates it must not use.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("model", &["serde", "tokio", "libc"]),
    ("decode", &["tokio", "rustix", "libc"]),
    ("analyze", &["serde", "serde_json", "tokio", "rustix", "libc"]),
    ("render", &["tokio", "rustix", "libc"]),
    ("promql", &["tokio", "rustix", "libc"]),
];

pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let arguments = ["metadata", "--format-version=1", "--no-deps", "--locked"];
    let output = crate::cargo(root).args(arguments).output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let mut breaches = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = short(package["name"].as_str().unwrap_or_default());
        let Some((_, allowed)) = ALLOWED.iter().find(|(known, _)| *known == name) else {
            breaches.push(format!("{name}: a new crate; give it a row in xtask/src/tidy/edges.rs"));
            continue;
        };
        let forbidden = FORBIDDEN.iter().find(|(known, _)| *known == name).map_or(&[][..], |f| f.1);
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let is_dev = dependency["kind"] == "dev";
            let used = short(dependency["name"].as_str().unwrap_or_default());
            let is_ours = ALLOWED.iter().any(|(known, _)| *known == used);
            if is_ours && !allowed.contains(&used) {
                breaches.push(format!("{name} must not use {used}"));
            }
            if !is_dev && forbidden.contains(&used) {
                breaches.push(format!("{name} must not use {used}"));
            }
        }
    }
    Ok(breaches)
}

fn short(package: &str) -> &str {
    package.strip_prefix("memsight-").unwrap_or(package)
}
