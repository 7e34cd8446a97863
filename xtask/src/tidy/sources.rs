//! Rules on source text.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const FILE_LINES_MAX: usize = 1000;
const FUNCTION_LINES_MAX: usize = 70;

/// Files that may be longer, and why.
const LONG_FILES: &[(&str, &str)] = &[];

pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for folder in ["crates", "xtask", "fuzz/fuzz_targets"] {
        collect(&root.join(folder), &mut files)?;
    }
    files.sort();
    let mut breaches = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        breaches.extend(check_file(&name, &text).into_iter().map(|what| format!("{name}:{what}")));
    }
    Ok(breaches)
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let Ok(entries) = fs::read_dir(dir) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" {
            collect(&path, files)?;
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn check_file(name: &str, text: &str) -> Vec<String> {
    let mut breaches = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    // Attributes may come first.
    let first = lines.iter().find(|line| !line.starts_with("#![") && !line.is_empty());
    if !first.is_some_and(|line| line.starts_with("//!")) {
        breaches.push("1: opens without a //! line that says what it is".to_owned());
    }
    let is_long = LONG_FILES.iter().any(|(known, _)| *known == name);
    if lines.len() > FILE_LINES_MAX && !is_long {
        breaches.push(format!("{FILE_LINES_MAX}: more than {FILE_LINES_MAX} lines"));
    }
    let may_be_unsafe = name.starts_with("crates/capture/") || name.starts_with("xtask/src/tidy/");
    for (index, line) in lines.iter().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        if !may_be_unsafe && (code.contains("unsafe {") || code.contains("unsafe fn")) {
            breaches.push(format!("{}: unsafe outside capture", index + 1));
        }
        if !name.starts_with("xtask/src/tidy/") && code.contains("#[allow(") {
            breaches.push(format!("{}: use #[expect(lint, reason = ...)]", index + 1));
        }
    }
    breaches.extend(long_functions(&lines));
    breaches
}

fn long_functions(lines: &[&str]) -> Vec<String> {
    let mut breaches = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let words = line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
        let words = words.trim_start_matches("pub(super) ").trim_start_matches("async ");
        let words = match words.strip_prefix("pub(in ") {
            Some(rest) => rest.split_once(") ").map_or(rest, |(_, rest)| rest),
            None => words,
        };
        if !words.starts_with("fn ") || line.trim_end().ends_with(';') {
            continue;
        }
        // Formatted code closes a function at its own indentation.
        let close = format!("{}}}", " ".repeat(indent));
        let length = lines.iter().skip(start).position(|line| *line == close).unwrap_or(0) + 1;
        if length > FUNCTION_LINES_MAX {
            breaches.push(format!("{}: a function of {length} lines", start + 1));
        }
    }
    breaches
}
