//! `memsight rules check`, and reading files of rules for the others.

use std::path::Path;
use std::process::ExitCode;

use agent::rules::{Fault, Rule, compile, parse};
use promql::rules::RuleFile;
use serde_json::{Value, json};

use crate::args::rules::CheckArgs;
use crate::failure::{Exit, Failure};
use crate::terminal::print;

/// A file of rules is no larger than this.
const FILE_BYTES_MAX: u64 = 8 << 20;

pub(super) fn run(args: &CheckArgs) -> Result<ExitCode, Failure> {
    let mut files = Vec::new();
    let mut is_sound = true;
    for path in &args.files {
        let name = path.display().to_string();
        let found = check(path);
        is_sound &= found.is_ok();
        if args.json {
            let (rules, faults) = match &found {
                Ok(rules) => (rules.as_slice(), &[][..]),
                Err(faults) => (&[][..], faults.as_slice()),
            };
            let faults: Vec<Value> = faults.iter().map(fault_json).collect();
            files.push(json!({ "file": name, "rules": rules, "faults": faults }));
            continue;
        }
        match found {
            Ok(rules) => print(format!("{name}: {} rules\n", rules.len()))?,
            Err(faults) => faults.iter().for_each(|fault| eprintln!("{}", at(path, fault))),
        }
    }
    if args.json {
        print(format!("{:#}\n", Value::from(files)))?;
    }
    Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::from(Exit::Usage as u8) })
}

/// A fault with its file: `FILE:LINE:COLUMN: TEXT`.
pub(super) fn at(path: &Path, fault: &Fault) -> String {
    let space = if fault.line == 0 { " " } else { "" };
    format!("{}:{space}{fault}", path.display())
}

pub(super) fn fault_json(fault: &Fault) -> Value {
    let place = |number: u32| if fault.line == 0 { Value::Null } else { number.into() };
    json!({ "line": place(fault.line), "column": place(fault.column), "text": fault.text })
}

/// The names of the rules in a file of any kind, or all that is wrong with it.
fn check(path: &Path) -> Result<Vec<String>, Vec<Fault>> {
    let text = read(path).map_err(whole)?;
    let rules = match kind(&text) {
        Kind::Capture => parse(&text)?,
        Kind::Configuration => configured(path, &text)?,
        Kind::Prometheus => return prometheus(&text),
    };
    Ok(rules.into_iter().map(|rule| rule.name).collect())
}

/// A fault of a whole file.
fn whole(text: String) -> Vec<Fault> {
    vec![Fault { line: 0, column: 0, text }]
}

/// What a file is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Capture rules alone.
    Capture,
    /// memsight.yaml.
    Configuration,
    /// Recording and alerting rules.
    Prometheus,
}

/// By the keys at the left edge. A file with `rules` and a slip is one of rules.
fn kind(text: &str) -> Kind {
    const SECTIONS: [&str; 10] = [
        "global:",
        "targets:",
        "web:",
        "store:",
        "budget:",
        "log:",
        "default_rules:",
        "scrape_configs:",
        "remote_write:",
        "rule_files:",
    ];
    let has = |key: &str| text.lines().any(|line| line.starts_with(key));
    match () {
        () if has("groups:") => Kind::Prometheus,
        () if SECTIONS.into_iter().any(has) => Kind::Configuration,
        () => Kind::Capture,
    }
}

/// The rules of memsight.yaml itself, once all of it is sound.
fn configured(path: &Path, text: &str) -> Result<Vec<Rule>, Vec<Fault>> {
    let environment = |name: &str| std::env::var(name).ok();
    let config = agent::config::Config::parse(path, text, &environment);
    compile(&config.map_err(|error| error.faults)?.rules)
}

fn prometheus(text: &str) -> Result<Vec<String>, Vec<Fault>> {
    let file = RuleFile::parse(text).map_err(|errors| {
        let fault = |error: promql::rules::RuleError| {
            let place = error.place;
            let text = error.to_string();
            let bare = text.strip_prefix(&format!("{place}: ")).unwrap_or(&text).to_owned();
            Fault { line: place.line, column: place.column, text: bare }
        };
        errors.into_iter().map(fault).collect::<Vec<_>>()
    })?;
    let rules = file.groups.into_iter().flat_map(|group| group.rules);
    Ok(rules.map(|rule| rule.name).collect())
}

/// A file's text.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > FILE_BYTES_MAX {
        return Err(format!("{size} bytes are too many for a file of rules"));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

/// The capture rules in a file, which must be sound.
pub(super) fn load(path: &Path) -> Result<Vec<Rule>, Failure> {
    let rules = read(path).map_err(whole).and_then(|text| match kind(&text) {
        Kind::Capture => parse(&text),
        Kind::Configuration => configured(path, &text),
        Kind::Prometheus => {
            Err(whole("these are rules of Prometheus, not capture rules".to_owned()))
        }
    });
    rules.map_err(|faults| {
        let failure =
            Failure::usage(faults.first().map(|fault| at(path, fault)).unwrap_or_default());
        match faults.len() {
            1 => failure,
            count => failure.next(format!("{} more: memsight rules check", count - 1)),
        }
    })
}
