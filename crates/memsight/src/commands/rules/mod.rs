//! `memsight rules`.

mod check;
mod generate;
mod replay;
mod table;
mod test;

use std::process::ExitCode;

use agent::rules::{DEFAULTS, SignalKind, Unit, signals};
use render::table::{Align, Table};
use serde_json::{Value, json};

use crate::args::rules::{RulesCommand, SignalsArgs};
use crate::failure::Failure;
use crate::terminal::print;

/// Runs one of them.
pub(crate) fn run(command: &RulesCommand) -> Result<ExitCode, Failure> {
    match command {
        RulesCommand::Check(args) => check::run(args),
        RulesCommand::Test(args) => test::run(args),
        RulesCommand::Replay(args) => replay::run(args),
        RulesCommand::Show => {
            print(DEFAULTS)?;
            Ok(ExitCode::SUCCESS)
        }
        RulesCommand::Signals(args) => list_signals(args),
        RulesCommand::Generate(args) => generate::run(args),
    }
}

fn list_signals(args: &SignalsArgs) -> Result<ExitCode, Failure> {
    let unit = |unit: Unit| match unit {
        Unit::Bytes => "bytes",
        Unit::Count => "count",
        Unit::Percent => "percent",
    };
    let kind = |kind: SignalKind| match kind {
        SignalKind::Level => "level",
        SignalKind::Counter => "counter",
    };
    if args.json {
        let one = |signal: &agent::rules::Signal| {
            json!({
                "name": signal.name,
                "unit": unit(signal.unit),
                "kind": kind(signal.kind),
                "help": signal.help,
            })
        };
        let all: Vec<Value> = signals().iter().map(one).collect();
        print(format!("{:#}\n", Value::from(all)))?;
        return Ok(ExitCode::SUCCESS);
    }
    let columns = ["SIGNAL", "UNIT", "KIND", "WHAT IT IS"].map(|name| (name, Align::Left));
    let mut table = Table::new(&columns);
    for signal in signals() {
        let cells = [signal.name, unit(signal.unit), kind(signal.kind), signal.help];
        table.push(cells.map(str::to_owned).to_vec());
    }
    print(table.text())?;
    Ok(ExitCode::SUCCESS)
}
