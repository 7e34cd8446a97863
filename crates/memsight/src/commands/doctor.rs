//! `memsight doctor`.

use std::process::ExitCode;

use capture::doctor::{self, State};
use render::paint::Paint;
use serde_json::{Value, json};

use crate::args::DoctorArgs;
use crate::failure::Failure;
use crate::terminal::print;

/// Says what works here.
pub(crate) fn run(args: &DoctorArgs, paint: Paint) -> Result<ExitCode, Failure> {
    let checks = doctor::checks();
    if args.json {
        let value: Vec<Value> = checks
            .iter()
            .map(|check| {
                json!({ "name": check.name, "state": word(check.state), "detail": check.detail })
            })
            .collect();
        print(format!("{:#}\n", Value::from(value)))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = String::new();
    for check in &checks {
        let word = format!("{:<8}", word(check.state));
        let word = match check.state {
            State::Ok => paint.good(&word),
            State::Limited => paint.warn(&word),
            State::Missing => paint.bad(&word),
        };
        out += &format!("{word} {:<22} {}\n", check.name, check.detail);
    }
    print(out)?;
    Ok(ExitCode::SUCCESS)
}

fn word(state: State) -> &'static str {
    match state {
        State::Ok => "ok",
        State::Limited => "limited",
        State::Missing => "missing",
    }
}
