//! `memsight probe exec`.

use std::collections::BTreeSet;
use std::process::ExitCode;

use capture::bpf::ExecProbe;
use capture::find::name_pattern;
use model::probe::{ProcessChange, ProcessEvent};
use regex::Regex;
use render::paint::Paint;

use super::{Until, time_of_day, warn_of_losses};
use crate::args::probe::ExecArgs;
use crate::failure::Failure;
use crate::terminal::print;

/// Prints processes as they come and go.
pub(crate) fn run(args: &ExecArgs, paint: Paint) -> Result<ExitCode, Failure> {
    let pattern = args.name.as_deref().map(name_pattern).transpose()?;
    let mut probe = ExecProbe::open()?;
    let until = Until::new(args.duration)?;
    if !args.json {
        print(render::probe::PROCESS_HEADER)?;
    }
    let mut wanted = Wanted { pattern, pids: BTreeSet::new() };
    while let Some(step) = until.step() {
        let mut lines = String::new();
        probe.read(step, |event| {
            if wanted.take(&event) {
                lines += &match args.json {
                    true => format!("{}\n", render::probe::process_value(&event)),
                    false => render::probe::process_line(&event, &time_of_day(event.time), paint),
                };
            }
        });
        print(lines)?;
    }
    warn_of_losses(&probe.counts());
    Ok(ExitCode::SUCCESS)
}

/// Which processes are shown. One that matched once is shown to its end.
struct Wanted {
    pattern: Option<Regex>,
    pids: BTreeSet<u32>,
}

impl Wanted {
    fn take(&mut self, event: &ProcessEvent) -> bool {
        let Some(pattern) = &self.pattern else { return true };
        let matches = pattern.is_match(&event.name)
            || matches!(&event.change, ProcessChange::Executed { arguments, .. }
                if pattern.is_match(&arguments.join(" ")));
        match event.change {
            ProcessChange::Exited { .. } => self.pids.remove(&event.pid) || matches,
            _ if matches => {
                self.pids.insert(event.pid);
                true
            }
            _ => self.pids.contains(&event.pid),
        }
    }
}
