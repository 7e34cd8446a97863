//! The interactive shell.

use std::io::{self, BufRead, IsTerminal, Write};
use std::process::{Command as Process, Stdio};

use analyze::pprof::config::{self, Kind};
use analyze::pprof::report::{Command, sample_index};
use analyze::pprof::{Config, Format};
use model::Profile;

use super::{commands, generate, usage};

const PROMPT: &str = "(pprof) ";

/// Reads commands until the input ends.
pub(super) fn run(profile: Profile, mut config: Config) -> Result<(), String> {
    config.compact_labels = true;
    greet(&profile, &config);
    let mut shell = Shell { profile, config };
    if io::stdin().is_terminal() && io::stdout().is_terminal() {
        return shell.converse();
    }
    let mut input = io::stdin().lock();
    loop {
        print!("{PROMPT}");
        io::stdout().flush().map_err(|error| error.to_string())?;
        let mut line = String::new();
        match input.read_line(&mut line) {
            Ok(0) => return Ok(()),
            Ok(_) if shell.line(&line) == Next::Quit => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

fn greet(profile: &Profile, config: &Config) {
    let command = Command { name: "comments".to_owned(), format: Format::Comments, argument: None };
    if let Ok(report) = generate::prepared(profile.clone(), &command, config) {
        eprintln!("{}", report.profile_labels().join("\n"));
        if report.total == 0 && profile.sample_types.len() > 1 {
            eprintln!("No samples were found with the default sample value type.");
            eprintln!("Try \"sample_index\" command to analyze different sample values.\n");
        }
    }
    eprintln!("Entering interactive mode (type \"help\" for commands, \"o\" for options)");
}

#[derive(PartialEq, Eq)]
enum Next {
    Line,
    Quit,
}

struct Shell {
    profile: Profile,
    config: Config,
}

impl Shell {
    fn converse(&mut self) -> Result<(), String> {
        use rustyline::error::ReadlineError;
        let failed = |error: ReadlineError| error.to_string();
        let mut editor = rustyline::Editor::<Completer, rustyline::history::DefaultHistory>::new()
            .map_err(failed)?;
        let functions = self.profile.functions.iter();
        let functions = functions.map(|function| self.profile.str(function.name).to_owned());
        editor.set_helper(Some(Completer { functions: functions.collect() }));
        let history = history_file();
        if let Some(path) = &history {
            // A first session has none.
            let _ = editor.load_history(path);
        }
        loop {
            match editor.readline(PROMPT) {
                Ok(line) => {
                    let _ = editor.add_history_entry(&line);
                    if self.line(&line) == Next::Quit {
                        break;
                    }
                }
                Err(ReadlineError::Interrupted) => {}
                Err(ReadlineError::Eof) => break,
                Err(error) => return Err(failed(error)),
            }
        }
        if let Some(path) = &history {
            let _ = editor.save_history(path);
        }
        Ok(())
    }

    fn line(&mut self, line: &str) -> Next {
        for line in self.expanded(line.trim()) {
            if self.assign(&line) {
                continue;
            }
            let tokens: Vec<&str> = line.split_whitespace().collect();
            let result = match tokens.as_slice() {
                [] => Ok(()),
                ["o" | "options", ..] => {
                    eprintln!("{}", self.options());
                    Ok(())
                }
                ["exit" | "quit" | "q", ..] => return Next::Quit,
                ["help", what @ ..] => {
                    eprint!("{}", self.help(&what.join(" ")));
                    Ok(())
                }
                _ => self.command(&line),
            };
            if let Err(error) = result {
                eprintln!("{error}");
            }
        }
        Next::Line
    }

    /// Short words that stand for several assignments.
    fn expanded(&self, line: &str) -> Vec<String> {
        if line == ":" {
            let cleared = ["focus=", "ignore=", "hide=", "tagfocus=", "tagignore="];
            return cleared.map(str::to_owned).to_vec();
        }
        for value_type in &self.profile.sample_types {
            let kind = self.profile.str(value_type.kind);
            let choose = format!("sample_index={kind}");
            if line == kind {
                return vec![choose];
            }
            for (prefix, mean) in [("total_", "mean=0"), ("mean_", "mean=1")] {
                if line.strip_prefix(prefix) == Some(kind) {
                    return vec![mean.to_owned(), choose];
                }
            }
        }
        vec![line.to_owned()]
    }

    /// Carries out `name=value`; false when the line is something else.
    fn assign(&mut self, line: &str) -> bool {
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value)),
            None => (line, None),
        };
        let Some((option, kind)) = config::find(name) else { return false };
        let is_choice = option != name;
        if value.is_none() && kind != Kind::Bool && !is_choice {
            eprintln!("please specify a value, e.g. {name}=<val>");
            return true;
        }
        let value = value.unwrap_or("");
        let value = value.rsplit_once("//:").map_or(value, |(value, _)| value).trim();
        let mut value = value.to_owned();
        if name == "sample_index" {
            match sample_index(&self.profile, &value) {
                Ok(column) => {
                    let chosen = self.profile.sample_types.get(column);
                    value = chosen.map_or("", |t| self.profile.str(t.kind)).to_owned();
                }
                Err(error) => {
                    eprintln!("{error}");
                    return true;
                }
            }
        }
        if let Err(error) = self.config.set(name, &value) {
            eprintln!("{error}");
        }
        true
    }

    fn options(&self) -> String {
        let kinds = self.value_names();
        let mut lines = Vec::new();
        for (name, kind) in config::OPTIONS {
            let mut value = self.config.get(name).unwrap_or_default();
            let mut comment = String::new();
            match (name, kind) {
                ("source_path", _) => continue,
                (_, Kind::Choice(choices)) => {
                    let mut choices = choices.to_vec();
                    choices.sort_unstable();
                    comment = format!("[{}]", choices.join(" | "));
                    if value.is_empty() {
                        "(default)".clone_into(&mut value);
                    }
                }
                ("sample_index", _) => {
                    if value.is_empty() {
                        value = kinds.last().copied().unwrap_or("").to_owned();
                    }
                    comment = format!("[{}]", kinds.join(" | "));
                }
                ("nodecount", _) if value == "-1" => "default".clone_into(&mut comment),
                _ if value.is_empty() => "\"\"".clone_into(&mut value),
                _ => {}
            }
            if !comment.is_empty() {
                comment = format!("//: {comment}");
            }
            lines.push(format!("  {name:<25} = {value:<20} {comment}"));
        }
        lines.sort();
        lines.join("\n")
    }

    fn help(&self, what: &str) -> String {
        if what.is_empty() {
            let more = "\n  :   Clear focus/ignore/hide/tagfocus/tagignore\n\n  \
                        type \"help <cmd|option>\" for more information\n";
            return usage::overview("") + more;
        }
        let command = commands::find(what).map(|command| command.help());
        let values = match what {
            "sample_index" => {
                let values = self.value_names().join(" ");
                format!("Or use sample_index=name, with name in [{values}].\n")
            }
            _ => String::new(),
        };
        let option = usage::option(what).map(|help| format!("{help}{values}\n"));
        command.or(option).unwrap_or_else(|| format!("Unknown command: {what}\n"))
    }

    fn value_names(&self) -> Vec<&str> {
        self.profile.sample_types.iter().map(|t| self.profile.str(t.kind)).collect()
    }

    fn command(&self, line: &str) -> Result<(), String> {
        let (line, pipe) = match line.split_once('|') {
            // A bar within a word is part of an expression.
            Some((line, pipe)) if line.ends_with(' ') || pipe.starts_with(' ') => {
                (line, Some(pipe.trim()))
            }
            _ => (line, None),
        };
        let tokens: Vec<&str> = line.split_whitespace().collect();
        let (command, config) = parse(&tokens, &self.config)?;
        let Some(pipe) = pipe.filter(|pipe| !pipe.is_empty()) else {
            return generate::report(self.profile.clone(), &command, &config, true);
        };
        let mut report = generate::prepared(self.profile.clone(), &command, &config)?;
        let failed = |error: io::Error| format!("{pipe}: {error}");
        let mut child =
            Process::new("sh").args(["-c", pipe]).stdin(Stdio::piped()).spawn().map_err(failed)?;
        if let Some(stdin) = child.stdin.take() {
            let mut out = io::BufWriter::new(stdin);
            let written = generate::draw(&mut report, &mut out);
            if let Err(render::pprof::ReportError::Refused(message)) = written {
                eprintln!("{message}");
            }
        }
        child.wait().map(|_| ()).map_err(failed)
    }
}

/// The command of a line and the options for it alone.
fn parse(tokens: &[&str], config: &Config) -> Result<(Command, Config), String> {
    let Some((&first, rest)) = tokens.split_first() else {
        return Err("no command".to_owned());
    };
    let mut config = config.clone();
    let mut rest = rest.to_vec();
    let digits = first.len() - first.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let (name, number) = first.split_at(first.len() - digits);
    let info = commands::find(first).or_else(|| {
        rest.insert(0, number);
        commands::find(name)
    });
    let Some(info) = info else {
        return Err(match usage::option(name) {
            Some(_) => {
                let value = tokens.get(1).copied().unwrap_or("<val>");
                format!("did you mean: {name}={value}")
            }
            None if name.is_empty() => format!("unrecognized command: {first:?}"),
            None => format!("unrecognized command: {name:?}"),
        });
    };
    let mut rest = rest.into_iter();
    let argument = match info.has_argument {
        true => {
            let missing = || format!("command {} requires an argument", info.name);
            Some(rest.next().ok_or_else(missing)?.to_owned())
        }
        false => None,
    };
    let (mut focus, mut ignore) = (Vec::new(), Vec::new());
    while let Some(token) = rest.next() {
        if let Ok(count) = token.parse::<i32>() {
            config.nodecount = count.into();
        } else if let Some(file) = token.strip_prefix('>') {
            let file = if file.is_empty() { rest.next() } else { Some(file) };
            file.ok_or("unexpected end of line after >")?.clone_into(&mut config.output);
        } else if matches!(token, "-cum" | "--cum") {
            config.sort_by_cum = true;
        } else if let Some(pattern) = token.strip_prefix('-') {
            ignore.push(pattern);
        } else {
            focus.push(token);
        }
    }
    let (focus_slot, ignore_slot) = match info.name {
        "tags" => (&mut config.tagfocus, &mut config.tagignore),
        _ => (&mut config.focus, &mut config.ignore),
    };
    for (patterns, slot) in [(focus, focus_slot), (ignore, ignore_slot)] {
        let patterns: Vec<&str> = patterns.into_iter().filter(|text| !text.is_empty()).collect();
        if !patterns.is_empty() {
            *slot = patterns.join("|");
        }
    }
    if config.nodecount == -1 && matches!(info.name, "text" | "top") {
        config.nodecount = 10;
    }
    Ok((info.with(argument), config))
}

fn history_file() -> Option<std::path::PathBuf> {
    let is_set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let state = is_set("XDG_STATE_HOME")
        .map(std::path::PathBuf::from)
        .or_else(|| is_set("HOME").map(|home| std::path::Path::new(&home).join(".local/state")))?;
    let dir = state.join("memsight");
    std::fs::create_dir_all(&dir).ok()?;
    Some(dir.join("pprof_history"))
}

/// Completes commands and options, then function names.
#[derive(rustyline::Helper, rustyline::Highlighter, rustyline::Hinter, rustyline::Validator)]
struct Completer {
    functions: Vec<String>,
}

impl rustyline::completion::Completer for Completer {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &rustyline::Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = line.get(..position).unwrap_or(line);
        let start = typed.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let word = typed.get(start..).unwrap_or("");
        let is_first = typed.get(..start).is_some_and(|before| before.trim().is_empty());
        let mut found: Vec<String> = match is_first || typed.starts_with("help ") {
            true => {
                let options = config::OPTIONS.iter().map(|(name, _)| *name);
                let names = commands::COMMANDS.iter().map(|command| command.name).chain(options);
                names.filter(|name| name.starts_with(word)).map(str::to_owned).collect()
            }
            false => {
                let (dash, word) = match word.strip_prefix('-') {
                    Some(word) => ("-", word),
                    None => ("", word),
                };
                let matching = self.functions.iter().filter(|name| name.contains(word));
                matching.take(100).map(|name| format!("{dash}{name}")).collect()
            }
        };
        found.sort();
        found.dedup();
        Ok((start, found))
    }
}
