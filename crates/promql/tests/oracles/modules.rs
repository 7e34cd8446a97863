//! Files of Go modules, from the module cache or the module proxy.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The version whose test scripts we run.
pub(crate) const PROMETHEUS: &str = "github.com/prometheus/prometheus@v0.315.1";
/// The version whose templates we render.
pub(crate) const ALERTMANAGER: &str = "github.com/prometheus/alertmanager@v0.34.0";

/// A program of Prometheus's; `None` says so on standard output.
pub(crate) fn peer(name: &str) -> Option<PathBuf> {
    let home = std::env::var("HOME").unwrap_or_default();
    let peers = std::env::var("MEMSIGHT_PEERS").map(PathBuf::from);
    let peers = peers.unwrap_or_else(|_| Path::new(&home).join(".cache/memsight/peers"));
    let found = [peers.join(name), peers.join("bin").join(name)].into_iter().find(|p| p.exists());
    if found.is_none() {
        println!("skipped: {name} is not in {}", peers.display());
    }
    found
}

/// The folder of a module's sources; `None` says why on standard output.
pub(crate) fn sources(module: &str) -> Option<PathBuf> {
    let mut command = Command::new("go");
    // Outside of any module, so that no go.mod is asked.
    let output = command.args(["mod", "download", "-json", module]).current_dir("/").output();
    let folder = output.ok().and_then(|output| {
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        answer["Dir"].as_str().map(PathBuf::from)
    });
    if folder.is_none() {
        println!("skipped: {module} cannot be downloaded with `go mod download`");
    }
    folder
}
