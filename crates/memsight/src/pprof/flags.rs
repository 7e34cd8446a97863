//! Flags as Go's flag package reads them: one dash or two, a value after `=` or in
//! the next argument, up to the first argument that is no flag.

use std::path::Path;

use analyze::pprof::Config;
use analyze::pprof::config::{self, Kind};
use analyze::pprof::number::{self, NumberError};
use analyze::pprof::report::Command;

use super::commands;

/// What the command line asks for.
#[derive(Debug, Default)]
pub(super) struct Call {
    pub(super) sources: Vec<String>,
    pub(super) exec_name: Option<String>,
    pub(super) build_id: String,
    pub(super) bases: Vec<String>,
    pub(super) is_diff_base: bool,
    pub(super) seconds: i64,
    pub(super) timeout: i64,
    pub(super) symbolize: String,
    pub(super) http: String,
    pub(super) no_browser: bool,
    pub(super) comment: String,
    pub(super) all_frames: bool,
    pub(super) tls: Tls,
    pub(super) config: Config,
    pub(super) command: Option<Command>,
}

/// Files for TLS.
#[derive(Clone, Debug, Default)]
pub(super) struct Tls {
    pub(super) cert: String,
    pub(super) key: String,
    pub(super) ca: String,
}

/// A call, or a wish for help.
pub(super) enum Parsed {
    Help,
    Call(Box<Call>),
}

/// Flags that choose a value, and the value.
const LEGACY_VALUES: [(&str, &str); 7] = [
    ("total_delay", "delay"),
    ("mean_delay", "delay"),
    ("contentions", "contentions"),
    ("inuse_space", "inuse_space"),
    ("inuse_objects", "inuse_objects"),
    ("alloc_space", "alloc_space"),
    ("alloc_objects", "alloc_objects"),
];

const TEXT_FLAGS: [&str; 10] = [
    "diff_base",
    "base",
    "symbolize",
    "buildid",
    "add_comment",
    "tools",
    "http",
    "tls_cert",
    "tls_key",
    "tls_ca",
];

/// What a flag takes.
fn kind_of(name: &str) -> Option<Kind> {
    if TEXT_FLAGS.contains(&name) {
        return Some(Kind::Text);
    }
    if matches!(name, "timeout" | "seconds") {
        return Some(Kind::Int);
    }
    if matches!(name, "no_browser" | "all_frames")
        || LEGACY_VALUES.iter().any(|(flag, _)| *flag == name)
    {
        return Some(Kind::Bool);
    }
    if let Some(command) = commands::find(name) {
        return Some(if command.has_argument { Kind::Text } else { Kind::Bool });
    }
    match config::find(name)? {
        (option, Kind::Choice(_)) if option == name => None,
        (_, Kind::Choice(_)) => Some(Kind::Bool),
        (_, kind) => Some(kind),
    }
}

/// Parses arguments.
pub(super) fn parse(args: &[String]) -> Result<Parsed, String> {
    let mut state = State::default();
    let mut rest = args.iter();
    let mut positional = Vec::new();
    while let Some(arg) = rest.next() {
        if arg == "--" {
            break;
        }
        let Some(flag) = arg.strip_prefix('-').filter(|flag| !flag.is_empty()) else {
            positional.push(arg.clone());
            break;
        };
        let flag = flag.strip_prefix('-').unwrap_or(flag);
        if flag.is_empty() || flag.starts_with(['-', '=']) {
            return Err(with_usage(&format!("bad flag syntax: {arg}")));
        }
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (flag, None),
        };
        if matches!(name, "h" | "help") {
            return Ok(Parsed::Help);
        }
        let unknown = || with_usage(&format!("flag provided but not defined: -{name}"));
        let kind = kind_of(name).ok_or_else(unknown)?;
        let value = match (value, kind) {
            (Some(value), _) => value,
            (None, Kind::Bool) => "true".to_owned(),
            (None, _) => {
                let missing = || with_usage(&format!("flag needs an argument: -{name}"));
                rest.next().ok_or_else(missing)?.clone()
            }
        };
        state.set(name, kind, &value)?;
    }
    positional.extend(rest.cloned());
    state.finish(positional)
}

fn with_usage(message: &str) -> String {
    format!("{message}\nmemsight pprof -help lists the flags")
}

#[derive(Default)]
struct State {
    call: Call,
    bases: Vec<String>,
    diff_bases: Vec<String>,
    commands: Vec<Command>,
    sorts: Vec<String>,
    granularities: Vec<String>,
    values: Vec<&'static str>,
}

impl State {
    fn set(&mut self, name: &str, kind: Kind, value: &str) -> Result<(), String> {
        let invalid = |reason: &str| {
            with_usage(&format!("invalid value {value:?} for flag -{name}: {reason}"))
        };
        if kind == Kind::Bool {
            let flag = go_bool(value).ok_or_else(|| {
                with_usage(&format!("invalid boolean value {value:?} for -{name}: parse error"))
            })?;
            self.set_bool(name, flag)?;
            return Ok(());
        }
        let no_number = |error| {
            invalid(match error {
                NumberError::Syntax => "parse error",
                NumberError::Range => "value out of range",
            })
        };
        let number = || number::prefixed_integer(value).map_err(no_number);
        let text = || value.to_owned();
        match name {
            "diff_base" => self.diff_bases.push(text()),
            "base" => self.bases.push(text()),
            "symbolize" => self.call.symbolize = text(),
            "buildid" => self.call.build_id = text(),
            "add_comment" => self.call.comment = text(),
            // Object tools are built in.
            "tools" => {}
            "http" => self.call.http = text(),
            "tls_cert" => self.call.tls.cert = text(),
            "tls_key" => self.call.tls.key = text(),
            "tls_ca" => self.call.tls.ca = text(),
            "timeout" => self.call.timeout = number()?,
            "seconds" => self.call.seconds = number()?,
            "nodecount" => self.call.config.nodecount = number()?,
            _ => match commands::find(name) {
                Some(command) if !value.is_empty() => {
                    self.commands.push(command.with(Some(text())));
                }
                Some(_) => {}
                None => {
                    if kind == Kind::Float {
                        number::float(value).map_err(no_number)?;
                    }
                    self.call.config.set(name, value)?;
                }
            },
        }
        Ok(())
    }

    fn set_bool(&mut self, name: &str, flag: bool) -> Result<(), String> {
        if name == "no_browser" {
            self.call.no_browser = flag;
        } else if name == "all_frames" {
            self.call.all_frames = flag;
        } else if let Some((known, _)) = LEGACY_VALUES.iter().find(|(known, _)| *known == name) {
            if flag && !self.values.contains(known) {
                self.values.push(known);
            }
        } else if let Some(command) = commands::find(name) {
            if flag && !self.commands.iter().any(|known| known.name == name) {
                self.commands.push(command.with(None));
            }
        } else if config::SORTS.contains(&name) || config::GRANULARITIES.contains(&name) {
            let is_sort = config::SORTS.contains(&name);
            let list = if is_sort { &mut self.sorts } else { &mut self.granularities };
            list.retain(|known| known != name);
            if flag {
                list.push(name.to_owned());
            }
        } else {
            self.call.config.set(name, if flag { "true" } else { "false" })?;
        }
        Ok(())
    }

    fn finish(mut self, mut positional: Vec<String>) -> Result<Parsed, String> {
        if positional.is_empty() {
            eprint!("{}", super::usage::command_line());
            return Err("no profile source specified".to_owned());
        }
        if positional.len() > 1 && positional.first().is_some_and(|first| is_object(first)) {
            self.call.exec_name = Some(positional.remove(0));
        }
        self.call.sources = positional;
        for (option, chosen) in [("sort", &self.sorts), ("granularity", &self.granularities)] {
            match chosen.as_slice() {
                [] => {}
                [one] => self.call.config.set(option, one)?,
                several => {
                    return Err(format!("conflicting options set: [{}]", several.join(" ")));
                }
            }
        }
        if self.commands.len() > 1 {
            return Err("must set at most one output format".to_owned());
        }
        self.call.command = self.commands.pop();
        if self.call.command.is_some() && !self.call.http.is_empty() {
            let message = "-http is not compatible with an output format on the command line";
            return Err(message.to_owned());
        }
        if self.call.no_browser && self.call.http.is_empty() {
            return Err("-no_browser only makes sense with -http".to_owned());
        }
        for (flag, value) in LEGACY_VALUES {
            if !self.values.contains(&flag) {
                continue;
            }
            match self.call.config.sample_index.is_empty() {
                true => value.clone_into(&mut self.call.config.sample_index),
                false => eprintln!("Multiple value selections, ignoring -{flag}"),
            }
        }
        self.call.config.mean |= self.values.contains(&"mean_delay");
        let is_set = |list: &mut Vec<String>| list.retain(|base| !base.is_empty());
        is_set(&mut self.bases);
        is_set(&mut self.diff_bases);
        if !self.bases.is_empty() && !self.diff_bases.is_empty() {
            return Err("-base and -diff_base flags cannot both be specified".to_owned());
        }
        self.call.is_diff_base = !self.diff_bases.is_empty();
        self.call.bases = if self.call.is_diff_base { self.diff_bases } else { self.bases };
        if self.call.config.normalize && self.call.bases.is_empty() {
            return Err("must have base profile to normalize by".to_owned());
        }
        Ok(Parsed::Call(Box::new(self.call)))
    }
}

/// A bool as Go's strconv reads it.
fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Reports whether a file is a program, so that it is not taken for a profile.
fn is_object(path: &str) -> bool {
    use std::io::Read;
    let mut magic = [0; 4];
    let read =
        std::fs::File::open(Path::new(path)).and_then(|mut file| file.read_exact(&mut magic));
    read.is_ok() && magic == *b"\x7fELF"
}
