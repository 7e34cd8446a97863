//! `memsight ps`.

use std::process::ExitCode;

use capture::{GoProcess, Readable};
use model::Bytes;
use render::table::{Align, Table};
use serde_json::json;

use crate::args::PsArgs;
use crate::failure::Failure;
use crate::terminal::print;

/// Lists Go processes.
pub(crate) fn run(args: &PsArgs) -> Result<ExitCode, Failure> {
    let processes = capture::find::go_processes();
    if args.json {
        let rows: Vec<_> = processes.iter().map(value).collect();
        print(format!("{:#}\n", json!(rows)))?;
        return Ok(ExitCode::SUCCESS);
    }
    if processes.is_empty() {
        eprintln!("no Go process found on this machine");
        return Ok(ExitCode::SUCCESS);
    }
    let table = table(&processes, args.csv);
    print(if args.csv { table.csv() } else { table.text() })?;
    Ok(ExitCode::SUCCESS)
}

fn readable(process: &GoProcess) -> (&'static str, String) {
    match &process.readable {
        Readable::Everything => ("everything", String::new()),
        Readable::WithoutHeapProfile(why) => ("no heap profile", why.clone()),
        Readable::Nothing(why) => ("nothing", why.clone()),
    }
}

fn value(process: &GoProcess) -> serde_json::Value {
    let (readable, missing) = readable(process);
    json!({
        "pid": process.pid,
        "name": process.name,
        "exe": process.exe,
        "go_version": process.go_version,
        "module": process.module,
        "rss_bytes": process.rss_bytes,
        "limit_bytes": process.cgroup.limit_bytes,
        "readable": readable,
        "missing": missing,
    })
}

fn table(processes: &[GoProcess], is_csv: bool) -> Table {
    let (left, right) = (Align::Left, Align::Right);
    let mut table = Table::new(&[
        ("PID", right),
        ("NAME", left),
        ("GO", left),
        ("RSS", right),
        ("LIMIT", right),
        ("READABLE", left),
        ("MODULE", left),
    ]);
    for process in processes {
        let bytes = |bytes: Option<u64>| match bytes {
            Some(bytes) if is_csv => bytes.to_string(),
            Some(bytes) => Bytes(bytes).to_string(),
            None => "-".to_owned(),
        };
        let (readable, missing) = readable(process);
        table.push(vec![
            process.pid.to_string(),
            process.name.clone(),
            process.go_version.clone(),
            bytes(process.rss_bytes),
            bytes(process.cgroup.limit_bytes),
            if missing.is_empty() { readable.into() } else { format!("{readable}: {missing}") },
            process.module.clone(),
        ]);
    }
    table
}
