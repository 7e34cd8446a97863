//! Takes the memory of a process and prints what that cost:
//! `snapshot PID [fork|stop|read-only] [DIR] [TIMES]`.

use std::process::ExitCode;

use capture::snapshot::{Method, Options, take};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |index: usize| arguments.get(index).map(String::as_str);
    let Some(pid) = argument(0).and_then(|text| text.parse().ok()) else {
        eprintln!("usage: snapshot PID [fork|stop|read-only] [DIR] [TIMES]");
        return ExitCode::from(2);
    };
    let method = match argument(1) {
        Some("stop") => Method::Stop,
        Some("read-only") => Method::ReadOnly,
        _ => Method::Fork,
    };
    let mut options = Options { method, ..Options::default() };
    if let Some(dir) = argument(2) {
        options.scratch_dir = dir.into();
    }
    let times = argument(3).and_then(|text| text.parse().ok()).unwrap_or(1);
    for _ in 0..times {
        match take(pid, &options, &mut |_, _| {}) {
            Ok(frozen) => println!(
                "{} threads={} copied_mb={:.1} pause_ms={:.3} second_pause_ms={:.3} clone_ms={:.1} \
                 unreadable={} left_out={} warnings={:?}",
                frozen.method.name(),
                frozen.threads.len(),
                frozen.copied_bytes as f64 / 1e6,
                frozen.pause.as_secs_f64() * 1e3,
                frozen.second_pause.as_secs_f64() * 1e3,
                frozen.clone_age.as_secs_f64() * 1e3,
                frozen.unreadable_bytes,
                frozen.left_out_bytes,
                frozen.warnings,
            ),
            Err(error) => {
                eprintln!("snapshot: {error}");
                if let Some(next) = error.next_step() {
                    eprintln!("{next}");
                }
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
