//! Programs as they begin: discovery looks at once when the configuration names one, so that one that
//! ends within seconds is a target, too. Those that nobody named wait for its next turn: on a machine
//! that builds software, thousands of Go programs live for a moment.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use capture::find::name_pattern;
use model::TargetSpec;
use model::probe::{ProcessChange, ProcessEvent};
use regex::Regex;

use crate::watch::{Config, Settings};

/// What looks at beginnings.
pub(crate) struct Seeds {
    settings: Arc<Settings>,
    /// Tells discovery.
    wake: Arc<AtomicBool>,
    version: Option<u64>,
    names: Vec<Regex>,
}

impl Seeds {
    /// Sets `wake` when a program begins that the settings name.
    pub(crate) fn new(settings: Arc<Settings>, wake: Arc<AtomicBool>) -> Seeds {
        Seeds { settings, wake, version: None, names: Vec::new() }
    }

    /// Looks at what happened.
    pub(crate) fn see(&mut self, events: &[ProcessEvent]) {
        let (version, config) = self.settings.now();
        if self.version != Some(version) {
            self.version = Some(version);
            self.names = names(&config).flatten().collect();
        }
        if events.iter().any(|event| self.is_named(event)) {
            self.wake.store(true, Ordering::Relaxed);
        }
    }

    /// As of a process that is there: by the name of its program, or its command line.
    fn is_named(&self, event: &ProcessEvent) -> bool {
        let ProcessChange::Executed { path, arguments, .. } = &event.change else { return false };
        if self.names.is_empty() {
            return false;
        }
        let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy();
        let command = arguments.join(" ");
        self.names.iter().any(|names| names.is_match(&name) || names.is_match(&command))
    }
}

/// The patterns of the targets that are wanted by name.
pub(crate) fn names(
    config: &Config,
) -> impl Iterator<Item = Result<Regex, capture::CaptureError>> + '_ {
    config.targets.iter().filter_map(|spec| match spec {
        TargetSpec::Name(pattern) => Some(name_pattern(pattern)),
        _ => None,
    })
}
