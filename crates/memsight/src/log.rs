//! What the agent says while it runs: one line an event, as text or JSON, from a level on.

use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};

use agent::config::{LogFormat, Logging};
use agent::{Event, Level, Record};
use model::TargetId;
use render::paint::Paint;
use serde_json::{Map, Value};

/// Writes lines to standard error.
#[derive(Debug)]
pub(crate) struct Log {
    pub options: Logging,
    pub paint: Paint,
    /// Names of targets, for sentences about them.
    names: HashMap<TargetId, String>,
}

/// One line.
pub(crate) struct Line<'a> {
    pub level: Level,
    /// The kind of event, for programs.
    pub event: &'a str,
    /// One sentence, for people.
    pub message: String,
    /// What else JSON has.
    pub fields: Map<String, Value>,
}

impl<'a> Line<'a> {
    /// Without further fields.
    pub(crate) fn new(level: Level, event: &'a str, message: impl Into<String>) -> Line<'a> {
        Line { level, event, message: message.into(), fields: Map::new() }
    }
}

impl Log {
    /// A log without lines.
    pub(crate) fn new(options: Logging, paint: Paint) -> Log {
        Log { options, paint, names: HashMap::new() }
    }

    /// Writes what happened.
    pub(crate) fn event(&mut self, record: &Record) {
        let event = &record.event;
        if let Event::TargetFound { target, name, pid } = event {
            let pid = pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
            self.names.insert(*target, format!("{name}{pid}"));
        }
        let message = match event.target() {
            Some(target) if !matches!(event, Event::TargetFound { .. } | Event::Warning { .. }) => {
                let unknown = || format!("target {}", target.0);
                let name = self.names.get(&target).cloned().unwrap_or_else(unknown);
                format!("{name}: {}", event.message())
            }
            _ => event.message(),
        };
        if let Event::TargetEnded { target } = event {
            self.names.remove(target);
        }
        let fields = event.fields();
        self.write(&Line { level: event.level(), event: event.kind(), message, fields });
    }

    /// Writes the line, if its level is wanted. That nobody reads is no reason to end.
    pub(crate) fn write(&self, line: &Line<'_>) {
        if line.level > self.options.level {
            return;
        }
        let text = match self.options.format {
            LogFormat::Text => self.text(line),
            LogFormat::Json => json(line, jiff::Timestamp::now()),
        };
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    fn text(&self, line: &Line<'_>) -> String {
        let message = match line.level {
            Level::Error => self.paint.bad(&line.message),
            Level::Warn => self.paint.warn(&line.message),
            Level::Info | Level::Debug => line.message.clone(),
        };
        // systemd's journal has a time of its own.
        if !io::stderr().is_terminal() && std::env::var_os("JOURNAL_STREAM").is_some() {
            return message;
        }
        let time = jiff::Zoned::now().strftime("%H:%M:%S").to_string();
        format!("{} {message}", self.paint.dim(&time))
    }
}

fn json(line: &Line<'_>, time: jiff::Timestamp) -> String {
    let mut object = Map::new();
    object.insert("time".to_owned(), time.to_string().into());
    object.insert("level".to_owned(), line.level.as_str().into());
    object.insert("event".to_owned(), line.event.into());
    object.insert("message".to_owned(), line.message.as_str().into());
    object.extend(line.fields.clone());
    Value::Object(object).to_string()
}

#[cfg(test)]
mod tests {
    use super::{Level, Line, json};

    #[test]
    fn a_line_of_json_has_what_the_event_has() {
        let mut line = Line::new(Level::Warn, "warning", "a \"quoted\"\nline");
        line.fields.insert("target".to_owned(), 7.into());
        let text = json(&line, jiff::Timestamp::UNIX_EPOCH);
        let expected = r#"{"event":"warning","level":"warn","message":"a \"quoted\"\nline","target":7,"time":"1970-01-01T00:00:00Z"}"#;
        assert_eq!(text, expected);
    }
}
