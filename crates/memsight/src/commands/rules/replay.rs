//! `memsight rules replay`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use agent::rules::replay::{self, Prices, Replay, Report};
use agent::rules::{Cost, Rule, TargetInfo, defaults};
use anyhow::Context;
use model::{Bytes, Target, TargetId, TargetSpec, Timestamp};
use regex::Regex;
use render::table::{Align, Table};
use store::{Options, Store, StoredTarget};

use super::check::load;
use super::table::{Rows, time};
use crate::args::parse_duration;
use crate::args::rules::ReplayArgs;
use crate::failure::Failure;
use crate::terminal::{Progress, print};

pub(super) fn run(args: &ReplayArgs) -> Result<ExitCode, Failure> {
    let rules = rules(args)?;
    let names = rules.iter().map(|rule| rule.name.clone()).collect::<Vec<_>>();
    let pattern = args.target.as_ref().map(|pattern| Regex::new(&format!("^(?:{pattern})$")));
    let pattern =
        pattern.transpose().map_err(|error| Failure::usage(format!("--target: {error}")))?;
    let (from, to) = (bound(args.from.as_deref())?, bound(args.to.as_deref())?);
    let span = (from.unwrap_or(Timestamp(0)), to.unwrap_or(Timestamp(i64::MAX)));
    let is_wanted = |name: &str| pattern.as_ref().is_none_or(|pattern| pattern.is_match(name));
    let report = match (&args.store, &args.csv) {
        (Some(dir), _) => replay_store(dir, rules, &is_wanted, span)?,
        (None, Some(file)) => replay_table(file, rules, &is_wanted, span)?,
        (None, None) => return Err(Failure::usage("--store or --csv is missing")),
    };
    if report.observations == 0 {
        return Err(Failure::usage("nothing was observed then")
            .next("leave out --from, --to and --target to replay all of it"));
    }
    let out = if args.json {
        format!("{:#}\n", server::replay_document(&report))
    } else {
        text(&report, &names)
    };
    print(out)?;
    Ok(ExitCode::SUCCESS)
}

fn rules(args: &ReplayArgs) -> Result<Vec<Rule>, Failure> {
    let mut rules = Vec::new();
    for path in &args.rules {
        rules.extend(load(path)?);
    }
    if args.rules.is_empty() {
        rules = defaults();
    }
    for name in &args.names {
        if !rules.iter().any(|rule| rule.name == *name) {
            let all: Vec<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
            return Err(Failure::usage(format!("there is no rule {name:?}"))
                .next(format!("there are {}", all.join(", "))));
        }
    }
    rules.retain(|rule| args.names.is_empty() || args.names.contains(&rule.name));
    Ok(rules)
}

/// A time, or how long ago.
fn bound(text: Option<&str>) -> Result<Option<Timestamp>, Failure> {
    let Some(text) = text else { return Ok(None) };
    let is_span = text.ends_with(['s', 'm', 'h', 'd']);
    if is_span && let Ok(ago) = parse_duration(text) {
        let millis = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
        return Ok(Some(Timestamp(capture::now().0.saturating_sub(millis))));
    }
    time(text).map(Some).map_err(Failure::usage)
}

fn replay_store(
    dir: &Path,
    rules: Vec<Rule>,
    is_wanted: &dyn Fn(&str) -> bool,
    (from, to): (Timestamp, Timestamp),
) -> Result<Report, Failure> {
    if !dir.join("catalog.db").exists() {
        return Err(Failure::usage(format!("{}: there is no store", dir.display())));
    }
    let store = Store::open(dir, Options::default()).map_err(|error| {
        let failure = Failure::usage(&error);
        error.next_step().map_or(Failure::usage(&error), |next| failure.next(next))
    })?;
    let targets: Vec<StoredTarget> =
        store.targets()?.into_iter().filter(|target| is_wanted(&target.target.name)).collect();
    let mut progress = Progress::new();
    let mut show = |left: Duration| progress.show(&format!("{} h left", left.as_secs() / 3600));
    Ok(replay::stored(&store, &targets, rules, (from, to), &mut show)?)
}

fn replay_table(
    path: &Path,
    rules: Vec<Rule>,
    is_wanted: &dyn Fn(&str) -> bool,
    (from, to): (Timestamp, Timestamp),
) -> Result<Report, Failure> {
    let name = path.display().to_string();
    let place = |why: String| Failure::usage(format!("{name}: {why}"));
    let file = File::open(path).with_context(|| name.clone())?;
    let mut rows = Rows::new(BufReader::new(file)).map_err(place)?;
    let mut replay = Replay::new(rules, Prices::default());
    let mut infos: BTreeMap<String, TargetInfo> = BTreeMap::new();
    let mut last = Timestamp(i64::MIN);
    while let Some((target, observation)) = rows.next().map_err(place)? {
        if observation.time < last {
            return Err(place("its rows are not in the order of time".to_owned()));
        }
        last = observation.time;
        if !is_wanted(&target) || !(from..=to).contains(&observation.time) {
            continue;
        }
        let next = TargetId(i64::try_from(infos.len()).unwrap_or(i64::MAX) + 1);
        let info = infos.entry(target).or_insert_with_key(|name| {
            let spec = TargetSpec::Name(name.clone());
            let labels = BTreeMap::from([("service".to_owned(), name.clone())]);
            let target = Target { name: name.clone(), spec, pid: None, labels };
            TargetInfo::new(next, target)
        });
        replay.step(info, &observation);
    }
    Ok(replay.report())
}

fn show_cost(cost: Cost) -> String {
    format!("{:.2} s, {}", cost.cpu_micros as f64 / 1e6, Bytes(cost.bytes))
}

fn text(report: &Report, names: &[String]) -> String {
    let mut out = String::new();
    if !report.rows.is_empty() {
        let columns = ["TIME", "TARGET", "RULE", "WHAT", "CAPTURES", "WHY"];
        let mut table = Table::new(&columns.map(|name| (name, Align::Left)));
        for row in &report.rows {
            let captures: Vec<&str> = row.captures.iter().map(|kind| kind.as_str()).collect();
            table.push(vec![
                server::rfc3339(row.time),
                row.target_name.clone(),
                row.rule.clone(),
                row.kind.to_owned(),
                captures.join(" "),
                row.reason.clone(),
            ]);
        }
        out += &table.text();
        out.push('\n');
    }
    let columns = [
        ("RULE", Align::Left),
        ("FIRED", Align::Right),
        ("REFUSED", Align::Right),
        ("CAPTURES", Align::Right),
        ("COST", Align::Left),
    ];
    let mut table = Table::new(&columns);
    let totals = names.iter().filter_map(|name| Some((name, report.totals.get(name)?)));
    for (name, total) in totals {
        let cost = match (total.captures, total.unpriced) {
            (0, _) => String::new(),
            (captures, unpriced) if captures == unpriced => "not known".to_owned(),
            (_, 0) => show_cost(total.cost),
            (_, unpriced) => format!(
                "{}, and {unpriced} captures of kinds that were never taken",
                show_cost(total.cost)
            ),
        };
        let counts = [total.fired, total.refused, total.captures].map(|count| count.to_string());
        let [fired, refused, captures] = counts;
        table.push(vec![name.clone(), fired, refused, captures, cost]);
    }
    out += &table.text();
    out += &quiet(report);
    let decisions: u64 = report.totals.values().map(|t| t.fired + t.refused + t.resolved).sum();
    if decisions > report.rows.len() as u64 {
        out += &format!("\nof {decisions} decisions the first {} are shown\n", report.rows.len());
    }
    out += &format!(
        "\n{} observations; verdicts, pressure and calls are not stored, and unknown here\n",
        report.observations
    );
    out
}

/// Why rules that never acted did not, as of the last observation.
fn quiet(report: &Report) -> String {
    const SHOWN: usize = 20;
    let never = |rule: &str| report.totals.get(rule).is_some_and(|total| total.fired == 0);
    let views: Vec<_> = report.states.iter().filter(|view| never(&view.rule)).collect();
    let mut out = String::new();
    for view in views.iter().take(SHOWN) {
        if out.is_empty() {
            out += "\nat the end:\n";
        }
        out += &format!("  {} (target {}): {}\n", view.rule, view.target.0, view.reason);
    }
    if views.len() > SHOWN {
        out += &format!("  and {} more (--rule, --target)\n", views.len() - SHOWN);
    }
    out
}
