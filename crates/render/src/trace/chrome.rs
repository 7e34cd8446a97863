//! Shapes in the Trace Event Format of Chrome, as `go tool trace` writes them: for
//! ui.perfetto.dev, chrome://tracing, speedscope. Written while they come.

use std::io::{self, Write};

use analyze::trace::drawing::{Row, Rows, Shape, Sink};
use model::trace::Time;

use super::shown::Shown;

/// Processes, by which viewers group rows.
const ROWS: u8 = 0;
const COUNTERS: u8 = 1;

/// Writes shapes as JSON.
#[derive(Debug)]
pub struct Chrome<W> {
    out: W,
    shown: Shown,
    rows: Rows,
    arrows: u64,
    is_first: bool,
    error: Option<io::Error>,
    line: String,
}

impl<W: Write> Chrome<W> {
    /// Starts the file.
    pub fn new(out: W, rows: Rows, shown: Shown) -> Chrome<W> {
        let (arrows, is_first, error, line) = (0, true, None, String::new());
        let mut chrome = Chrome { out, shown, rows, arrows, is_first, error, line };
        chrome.write("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n");
        chrome
    }

    /// Ends the file.
    ///
    /// # Errors
    /// The first one of writing.
    pub fn finish(mut self) -> io::Result<W> {
        let rows = match self.rows {
            Rows::Procs => "PROCS",
            Rows::Goroutines => "G",
        };
        self.group(COUNTERS, "STATS", 0);
        self.group(ROWS, rows, 2);
        for (row, name) in
            [(Row::Collector, "GC"), (Row::Network, "Network"), (Row::Syscalls, "Syscalls")]
        {
            self.name(row, name);
        }
        self.write("\n]}\n");
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.out),
        }
    }

    fn write(&mut self, text: &str) {
        if self.error.is_none()
            && let Err(error) = self.out.write_all(text.as_bytes())
        {
            self.error = Some(error);
        }
    }

    /// Writes an event; `rest` is what follows its phase.
    fn event(&mut self, name: &str, phase: char, rest: std::fmt::Arguments<'_>) {
        use std::fmt::Write as _;
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        line.push_str(if self.is_first { "{\"name\":" } else { ",\n{\"name\":" });
        self.is_first = false;
        quote(name, &mut line);
        let _ = write!(line, ",\"ph\":\"{phase}\"{rest}}}");
        self.write(&line);
        self.line = line;
    }

    fn group(&mut self, process: u8, name: &str, order: u8) {
        let mut quoted = String::new();
        quote(name, &mut quoted);
        let place =
            format_args!(",\"ts\":0,\"pid\":{process},\"tid\":0,\"args\":{{\"name\":{quoted}}}");
        self.event("process_name", 'M', place);
        let place = format_args!(
            ",\"ts\":0,\"pid\":{process},\"tid\":0,\"args\":{{\"sort_index\":{order}}}"
        );
        self.event("process_sort_index", 'M', place);
    }

    fn name(&mut self, row: Row, name: &str) {
        let (thread, order) = (thread(row), order(row));
        let mut quoted = String::new();
        quote(name, &mut quoted);
        let rest = format_args!(
            ",\"ts\":0,\"pid\":{ROWS},\"tid\":{thread},\"args\":{{\"name\":{quoted}}}"
        );
        self.event("thread_name", 'M', rest);
        let rest = format_args!(
            ",\"ts\":0,\"pid\":{ROWS},\"tid\":{thread},\"args\":{{\"sort_index\":{order}}}"
        );
        self.event("thread_sort_index", 'M', rest);
    }

    fn arrow(&mut self, name: &str, from: (Row, Time), to: (Row, Time)) {
        self.arrows += 1;
        let number = self.arrows;
        for (phase, (row, time)) in [('s', from), ('t', to)] {
            let (time, thread) = (micros(self.shown.since_start(time)), thread(row));
            let rest =
                format_args!(",\"ts\":{time},\"pid\":{ROWS},\"tid\":{thread},\"id\":{number}");
            self.event(name, phase, rest);
        }
    }
}

impl<W: Write> Sink for Chrome<W> {
    fn begin(&mut self, start: Time) {
        self.shown.begin(start);
    }

    fn shape(&mut self, shape: &Shape<'_>) {
        if !self.shown.shows(shape) {
            return;
        }
        match *shape {
            Shape::Slice { row, name, start, end } => {
                let (time, thread) = (micros(self.shown.since_start(start)), thread(row));
                let took = micros(end.nanos_since(start));
                let rest =
                    format_args!(",\"ts\":{time},\"dur\":{took},\"pid\":{ROWS},\"tid\":{thread}");
                self.event(name, 'X', rest);
            }
            Shape::Instant { row, name, at } => {
                let (time, thread) = (micros(self.shown.since_start(at)), thread(row));
                let rest =
                    format_args!(",\"s\":\"t\",\"ts\":{time},\"pid\":{ROWS},\"tid\":{thread}");
                self.event(name, 'I', rest);
            }
            Shape::Arrow { name, from, to } => self.arrow(name, from, to),
            Shape::Counter { name, at, values } => {
                let time = micros(self.shown.since_start(at));
                let values = values.iter().map(|(name, value)| format!("\"{name}\":{value}"));
                let values: Vec<String> = values.collect();
                let values = values.join(",");
                let rest = format_args!(
                    ",\"ts\":{time},\"pid\":{COUNTERS},\"tid\":0,\"args\":{{{values}}}"
                );
                self.event(name, 'C', rest);
            }
            Shape::Name { row, name } => self.name(row, name),
        }
    }
}

/// The numbers that `go tool trace` gives rows.
fn thread(row: Row) -> i64 {
    match row {
        Row::Proc(proc) => proc.0,
        Row::Goroutine(goroutine) => goroutine.0,
        Row::Network => 1_000_002,
        Row::Syscalls => 1_000_003,
        Row::Collector => 1_000_004,
    }
}

/// The collector stands on top.
fn order(row: Row) -> i64 {
    match row {
        Row::Collector => -6,
        Row::Network => -5,
        Row::Syscalls => -3,
        row => thread(row),
    }
}

/// Nanoseconds as microseconds, exactly.
fn micros(nanos: u64) -> String {
    match nanos % 1000 {
        0 => (nanos / 1000).to_string(),
        rest => format!("{}.{rest:03}", nanos / 1000),
    }
}

/// Adds a text as JSON.
fn quote(text: &str, to: &mut String) {
    use std::fmt::Write as _;
    to.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => to.extend(['\\', letter]),
            letter if letter < ' ' => {
                let _ = write!(to, "\\u{:04x}", u32::from(letter));
            }
            letter => to.push(letter),
        }
    }
    to.push('"');
}

#[cfg(test)]
mod tests {
    use super::{micros, quote};

    #[test]
    fn times_are_exact_and_texts_are_json() {
        assert_eq!([0, 1, 1000, 1_234_567].map(micros), ["0", "0.001", "1", "1234.567"]);
        let mut quoted = String::new();
        let text = "a \"b\"\\\n\u{1}\u{2028}é";
        quote(text, &mut quoted);
        assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), text);
    }
}
