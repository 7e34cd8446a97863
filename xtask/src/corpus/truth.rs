//! What each program of the corpus plants: `//corpus:` lines in its source.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// A program's truth.
#[derive(Clone, Debug)]
pub(super) struct Truth {
    /// Folder and binary.
    pub name: String,
    /// `healthy` or the kind of leak.
    pub verdict: String,
    /// Function that is responsible; empty where there is none in Go.
    pub function: String,
    /// Line marked `//corpus:here`.
    pub line: Option<u64>,
}

impl Truth {
    pub(super) fn is_leak(&self) -> bool {
        self.verdict != "healthy"
    }
}

pub(super) fn read_all(dir: &Path) -> Result<Vec<Truth>> {
    let mut truths = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let Ok(text) = fs::read_to_string(path.join("main.go")) else { continue };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        truths.push(read(&name, &text).with_context(|| name.clone())?);
    }
    truths.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(truths)
}

fn read(name: &str, text: &str) -> Result<Truth> {
    let value =
        |key: &str| text.lines().find_map(|line| line.strip_prefix("//corpus:")?.strip_prefix(key));
    let Some(verdict) = value("verdict ") else { bail!("no //corpus:verdict line") };
    let here = text.lines().position(|line| line.ends_with("//corpus:here"));
    Ok(Truth {
        name: name.to_owned(),
        verdict: verdict.trim().to_owned(),
        function: value("site ").unwrap_or_default().trim().to_owned(),
        line: here.map(|index| index as u64 + 1),
    })
}
