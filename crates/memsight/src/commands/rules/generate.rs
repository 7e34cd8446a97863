//! `memsight rules generate`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use render::monitoring::{DASHBOARDS, Settings, dashboard, rule_tests, rules};

use crate::args::rules::GenerateArgs;
use crate::failure::Failure;
use crate::terminal::print;

const RULES: &str = "memsight.rules.yaml";
const TESTS: &str = "memsight.tests.yaml";

/// Writes the files and names them.
pub(crate) fn run(args: &GenerateArgs) -> Result<ExitCode, Failure> {
    let settings = Settings {
        near_limit: args.near_limit,
        horizon: args.horizon,
        labels: args.labels.clone(),
    };
    let dir = &args.output;
    std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    write(
        dir,
        RULES,
        &rules(&settings),
        "rule_files: in prometheus.yml, or here in memsight.yaml",
    )?;
    write(dir, TESTS, &rule_tests(&settings, RULES), "promtool test rules")?;
    for each in &DASHBOARDS {
        let text = serde_json::to_string_pretty(&dashboard(each)).context("dashboard")?;
        write(dir, &format!("{}.json", each.name), &format!("{text}\n"), "import into Grafana")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn write(dir: &Path, name: &str, text: &str, what_for: &str) -> Result<(), Failure> {
    let path = dir.join(name);
    std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    Ok(print(format!("{}  ({what_for})\n", path.display()))?)
}
