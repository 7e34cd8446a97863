//! `memsight rules test`.

use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

use agent::rules::{CaseResult, Fault, Rule, compile, defaults, parse_cases, run_case};
use anyhow::Context;
use promql::rules::{RuleFile, UnitTests, run_unit_tests};
use serde_json::{Value, json};

use super::check::{at, fault_json, load, read};
use crate::args::rules::TestArgs;
use crate::failure::{Exit, Failure};
use crate::terminal::print;

pub(super) fn run(args: &TestArgs) -> Result<ExitCode, Failure> {
    let mut all = Vec::new();
    for path in &args.files {
        all.push((path.display().to_string(), run_file(path)?));
    }
    let results = || all.iter().flat_map(|(_, results)| results);
    let failed = results().filter(|result| !result.failures.is_empty()).count();
    let out = match args.json {
        true => format!("{:#}\n", document(&all)),
        false => {
            let mut out = String::new();
            for (name, results) in &all {
                results.iter().for_each(|result| line(&mut out, name, result));
            }
            let _ = writeln!(out, "{} tests, {failed} failed", results().count());
            out
        }
    };
    print(out)?;
    if let Some(path) = &args.junit {
        std::fs::write(path, junit(&all)).with_context(|| path.display().to_string())?;
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(Exit::Problem as u8) })
}

fn run_file(path: &Path) -> Result<Vec<CaseResult>, Failure> {
    let place = |fault: &Fault| Failure::usage(at(path, fault));
    let whole = |why: String| Failure::usage(format!("{}: {why}", path.display()));
    let text = read(path).map_err(whole)?;
    if text.contains("input_series:") {
        return run_prometheus(path, &text).map_err(whole);
    }
    let file = parse_cases(&text).map_err(|fault| place(&fault))?;
    let mut rules: Vec<Rule> = if file.defaults { defaults() } else { Vec::new() };
    for name in &file.rule_files {
        let beside = path.parent().unwrap_or(Path::new(""));
        rules.extend(load(&beside.join(&name.value))?);
    }
    let own = compile(&file.rules);
    rules.extend(
        own.map_err(|faults| faults.first().map_or_else(|| Failure::usage("no rules"), place))?,
    );
    if rules.is_empty() {
        return Err(Failure::usage(format!("{}: there are no rules to test", path.display()))
            .next("name them under rule_files, write them under rules, or say defaults: true"));
    }
    Ok(file.tests.iter().map(|case| run_case(case, &rules)).collect())
}

/// Tests of Prometheus's rules, as promtool takes them: one result a file.
fn run_prometheus(path: &Path, text: &str) -> Result<Vec<CaseResult>, String> {
    let tests = UnitTests::parse(text)?;
    let mut rules = Vec::new();
    for name in &tests.rule_files {
        let file = path.parent().unwrap_or(Path::new("")).join(name);
        let text = read(&file).map_err(|why| format!("{name}: {why}"))?;
        let parsed = RuleFile::parse(&text);
        rules.push(parsed.map_err(|errors| {
            let first = errors.first().map(ToString::to_string).unwrap_or_default();
            format!("{name}:{first}")
        })?);
    }
    let failures = run_unit_tests(&tests, &rules);
    let failures = failures.into_iter().map(|text| Fault { line: 0, column: 0, text }).collect();
    Ok(vec![CaseResult { name: "rules of Prometheus".to_owned(), line: 1, failures }])
}

fn line(out: &mut String, file: &str, result: &CaseResult) {
    let word = if result.failures.is_empty() { "ok  " } else { "FAIL" };
    let _ = writeln!(out, "{word}  {file}:{}  {}", result.line, result.name);
    for fault in &result.failures {
        let _ = writeln!(out, "      {fault}");
    }
}

fn document(all: &[(String, Vec<CaseResult>)]) -> Value {
    let tests = all.iter().flat_map(|(file, results)| {
        results.iter().map(move |result| {
            json!({
                "file": file,
                "line": result.line,
                "name": result.name,
                "passed": result.failures.is_empty(),
                "failures": result.failures.iter().map(fault_json).collect::<Vec<_>>(),
            })
        })
    });
    tests.collect()
}

/// As build servers read it: a suite a file.
fn junit(all: &[(String, Vec<CaseResult>)]) -> String {
    let mut out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n".to_owned();
    for (file, results) in all {
        let failed = results.iter().filter(|result| !result.failures.is_empty()).count();
        let count = results.len();
        let name = escape(file);
        let _ =
            writeln!(out, "  <testsuite name=\"{name}\" tests=\"{count}\" failures=\"{failed}\">");
        for result in results {
            let case = escape(&result.name);
            let texts: Vec<String> = result.failures.iter().map(Fault::to_string).collect();
            let _ = match texts.is_empty() {
                true => writeln!(out, "    <testcase classname=\"{name}\" name=\"{case}\"/>"),
                false => writeln!(
                    out,
                    "    <testcase classname=\"{name}\" name=\"{case}\"><failure>{}</failure></testcase>",
                    escape(&texts.join("\n"))
                ),
            };
        }
        out += "  </testsuite>\n";
    }
    out + "</testsuites>\n"
}

/// Text in XML; what XML 1.0 cannot hold becomes a question mark.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\n' => out += "&#10;",
            letter if letter.is_control() => out.push('?'),
            letter => out.push(letter),
        }
    }
    out
}
