//! Programs that show a page or a file.

use std::ffi::OsStr;
use std::process::{Child, Command};

/// What may be a web browser here: the chosen one first, then in the order of pprof.
pub(crate) fn names() -> Vec<String> {
    let chosen = std::env::var("BROWSER").ok().filter(|browser| !browser.is_empty());
    let desktop = std::env::var_os("DISPLAY").map(|_| "xdg-open".to_owned());
    let known = ["chrome", "google-chrome", "chromium", "firefox", "sensible-browser"];
    chosen.into_iter().chain(desktop).chain(known.map(str::to_owned)).collect()
}

/// Starts the first of `programs` that starts, with its name.
pub(crate) fn start(programs: &[String], what: &OsStr) -> Option<(String, Child)> {
    programs.iter().find_map(|program| {
        let mut words = program.split_whitespace();
        let name = words.next()?;
        let child = Command::new(name).args(words).arg(what).spawn().ok()?;
        Some((name.to_owned(), child))
    })
}
