//! The corpus: programs with a planted truth, watched by the real server, and how
//! often the verdict is right.
//!
//! `memsight serve` watches each batch; once a second its API is asked for every
//! verdict. The time to verdict is the start of the last unbroken stretch of right
//! answers.

mod score;
mod truth;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use score::Outcome;
use truth::Truth;

struct Options {
    seconds: u64,
    batch: usize,
    only: String,
    is_check: bool,
}

/// Killed when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the corpus; with `--check` false when the scores are too low.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<bool> {
    let options = parse(arguments)?;
    build(root)?;
    let mut truths = truth::read_all(&root.join("examples/leaks"))?;
    truths.retain(|truth| truth.name.contains(&options.only));
    if truths.is_empty() {
        bail!("no program matches --only {}", options.only);
    }
    let mut outcomes = Vec::new();
    for batch in truths.chunks(options.batch) {
        eprintln!("xtask: {} programs for {} s", batch.len(), options.seconds);
        outcomes.extend(watch(root, batch, options.seconds)?);
    }
    Ok(score::report(&outcomes) || !options.is_check)
}

fn parse(arguments: &[String]) -> Result<Options> {
    let mut options = Options { seconds: 75, batch: 16, only: String::new(), is_check: false };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--seconds" => options.seconds = value()?.parse()?,
            "--batch" => options.batch = value()?.parse::<usize>()?.max(1),
            "--only" => options.only = value()?.clone(),
            "--check" => options.is_check = true,
            other => bail!("unknown argument {other}"),
        }
    }
    Ok(options)
}

fn target_dir(root: &Path) -> std::path::PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into)
}

fn build(root: &Path) -> Result<()> {
    let bin = target_dir(root).join("corpus");
    std::fs::create_dir_all(&bin)?;
    let mut go = Command::new("go");
    go.current_dir(root.join("examples/leaks")).args(["build", "-trimpath", "-o"]).arg(&bin);
    if !go.arg("./...").status().context("go")?.success() {
        bail!("the corpus does not build");
    }
    let arguments = ["build", "--release", "--locked", "--quiet", "--package", "memsight"];
    if !crate::cargo(root).args(arguments).status()?.success() {
        bail!("memsight does not build");
    }
    Ok(())
}

fn watch(root: &Path, batch: &[Truth], seconds: u64) -> Result<Vec<Outcome>> {
    let target = target_dir(root);
    let mut programs = Vec::new();
    for truth in batch {
        let mut command = Command::new(target.join("corpus").join(&truth.name));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        programs.push(Process(command.spawn().with_context(|| truth.name.clone())?));
    }
    let store = std::env::temp_dir().join(format!("memsight-corpus-{}", std::process::id()));
    std::fs::create_dir_all(&store)?;
    // Rounds five times as often as usual: the usual share of a core would not do on a slow machine.
    let config = store.join("memsight.yaml");
    std::fs::write(&config, "budget: {cpu: 100%}\n")?;
    let mut serve = Command::new(target.join("release/memsight"));
    serve.args(["serve", "--listen", "127.0.0.1:0", "--every", "2s", "--store"]).arg(&store);
    serve.arg("-c").arg(&config);
    for program in &programs {
        serve.args(["--pid", &program.0.id().to_string()]);
    }
    let mut server = Process(serve.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?);
    let url = url(&mut server.0)?;
    let mut outcomes: BTreeMap<u32, Outcome> = batch
        .iter()
        .zip(&programs)
        .map(|(truth, program)| (program.0.id(), Outcome::new(truth.clone())))
        .collect();
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(seconds) {
        std::thread::sleep(Duration::from_secs(1));
        for target in get(&format!("{url}/api/v1/targets"))?.as_array().into_iter().flatten() {
            let pid = target["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
            let Some(outcome) = pid.and_then(|pid| outcomes.get_mut(&pid)) else { continue };
            let diagnosis = get(&format!("{url}/api/v1/targets/{}/diagnosis", target["id"]))?;
            outcome.note(started.elapsed().as_secs(), &diagnosis);
        }
    }
    drop((server, programs));
    let _ = std::fs::remove_dir_all(&store);
    Ok(outcomes.into_values().collect())
}

/// The address the server prints; the rest of what it says is drained and dropped.
fn url(server: &mut Child) -> Result<String> {
    let stderr = server.stderr.take().context("no standard error")?;
    let mut lines = BufReader::new(stderr).lines();
    let line =
        lines.find_map(|line| line.ok()?.split_once("pages on ").map(|(_, rest)| rest.to_owned()));
    let line = line.context("memsight serve did not start")?;
    std::thread::spawn(move || lines.for_each(drop));
    Ok(line.split(',').next().unwrap_or_default().to_owned())
}

fn get(url: &str) -> Result<Value> {
    let mut response = ureq::get(url).call().with_context(|| url.to_owned())?;
    Ok(serde_json::from_reader(response.body_mut().as_reader())?)
}
