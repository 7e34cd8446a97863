//! `memsight metrics --watch`: the same again and again.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use capture::LiveTarget;
use render::metrics::{Live, Screen, stamp, value};
use render::paint::Paint;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Wanted;
use crate::failure::Failure;

/// Reading more often than this would say nothing more.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// Reads until Ctrl-C, or until nobody reads what is printed.
pub(super) fn run(
    live: &LiveTarget,
    wanted: &Wanted,
    interval: Duration,
    json: bool,
    paint: Paint,
) -> Result<ExitCode, Failure> {
    let interval = interval.max(INTERVAL_MIN);
    let mut stop = Stop::new()?;
    let mut view = Live::default();
    let mut screen = None;
    let started = Instant::now();
    loop {
        let begun = Instant::now();
        let found = wanted.of(live.runtime_metrics()?)?;
        let now = capture::now();
        if json {
            let line = format!("{}\n", value(&found, live.target(), now));
            if !written(&line)? {
                return Ok(ExitCode::SUCCESS);
            }
        } else {
            let head = stamp(now, &found, live.target());
            view.add(started.elapsed().as_secs_f64(), found);
            if io::stdout().is_terminal() {
                let screen: &mut Alternate = match &mut screen {
                    Some(screen) => screen,
                    none => none.insert(Alternate::enter()?),
                };
                let hint = format!("every {:.1} s; Ctrl-C ends", interval.as_secs_f64());
                screen.draw(&view.frame(live.target(), &hint, size(), paint))?;
            } else if !written(&format!("{head}\n{}\n", view.lines()))? {
                return Ok(ExitCode::SUCCESS);
            }
        }
        if stop.comes_within(interval.saturating_sub(begun.elapsed())) {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// Prints; false when the reader has gone away, as `head` does.
fn written(text: &str) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        result => result.map(|()| true),
    }
}

/// The terminal's size, or what terminals once had.
fn size() -> Screen {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
    let size = size.filter(|size| size.ws_row > 0 && size.ws_col > 0);
    size.map_or(Screen { rows: 24, columns: 80 }, |size| Screen {
        rows: size.ws_row.into(),
        columns: size.ws_col.into(),
    })
}

/// The terminal's other screen, without a cursor; what was there comes back when it ends.
struct Alternate;

impl Alternate {
    fn enter() -> io::Result<Alternate> {
        let screen = Alternate;
        screen.write("\x1b[?1049h\x1b[?25l\x1b[2J")?;
        Ok(screen)
    }

    /// Overwrites line by line: clearing first would flicker.
    fn draw(&self, lines: &[String]) -> io::Result<()> {
        self.write(&format!("\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\n")))
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}

impl Drop for Alternate {
    fn drop(&mut self) {
        // Nobody to tell when the terminal itself is gone.
        let _ = self.write("\x1b[?25h\x1b[?1049l");
    }
}

/// Waits for an end that is asked for: Ctrl-C, `kill`, or a terminal that closes.
struct Stop {
    runtime: tokio::runtime::Runtime,
    signals: [Signal; 3],
}

impl Stop {
    fn new() -> io::Result<Stop> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let signals = {
            let _entered = runtime.enter();
            [
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
            ]
        };
        Ok(Stop { runtime, signals })
    }

    fn comes_within(&mut self, wait: Duration) -> bool {
        let [interrupt, terminate, hangup] = &mut self.signals;
        self.runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => true,
                _ = terminate.recv() => true,
                _ = hangup.recv() => true,
                () = tokio::time::sleep(wait) => false,
            }
        })
    }
}
