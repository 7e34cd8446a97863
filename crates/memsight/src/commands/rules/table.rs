//! A table of observations as CSV: `time`, perhaps `target`, and columns named as the API's series.

use std::io::{BufRead, Read};

use model::{Observation, Timestamp};
use store::Field;

/// A line is no longer than this.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// Reads a table, a row at a time.
pub(super) struct Rows<R> {
    reader: R,
    columns: Vec<Column>,
    line: u64,
}

#[derive(Clone, Copy)]
enum Column {
    Time,
    Target,
    Field(&'static Field),
}

/// A row: the target's name, empty where the table has none, and what was observed.
pub(super) type Row = (String, Observation);

impl<R: BufRead> Rows<R> {
    /// Reads the header.
    pub(super) fn new(reader: R) -> Result<Rows<R>, String> {
        let mut rows = Rows { reader, columns: Vec::new(), line: 0 };
        let header = rows.next_line()?.ok_or("the table is empty")?;
        for cell in cells(&header) {
            rows.columns.push(match cell.as_str() {
                "time" => Column::Time,
                "target" => Column::Target,
                name => match store::fields().iter().find(|field| field.name == name) {
                    Some(field) => Column::Field(field),
                    None => {
                        return Err(format!(
                            "line 1: there is no signal {name:?}; `memsight rules signals` lists them"
                        ));
                    }
                },
            });
        }
        match rows.columns.iter().any(|column| matches!(column, Column::Time)) {
            true => Ok(rows),
            false => Err("line 1: there is no column time".to_owned()),
        }
    }

    /// The next row; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Row>, String> {
        loop {
            let Some(line) = self.next_line()? else { return Ok(None) };
            if !line.trim().is_empty() {
                let place = |why| format!("line {}: {why}", self.line);
                return self.row(&line).map(Some).map_err(place);
            }
        }
    }

    fn row(&self, line: &str) -> Result<Row, String> {
        let cells = cells(line);
        if cells.len() != self.columns.len() {
            return Err(format!("{} cells, {} are expected", cells.len(), self.columns.len()));
        }
        let (mut target, mut observation) = (String::new(), Observation::default());
        for (column, cell) in self.columns.iter().zip(cells) {
            match column {
                Column::Time => observation.time = time(&cell)?,
                Column::Target => target = cell,
                // An empty cell is unknown.
                Column::Field(_) if cell.is_empty() => {}
                Column::Field(field) => {
                    let value: f64 = cell.parse().map_err(|_| format!("{cell:?} is no number"))?;
                    (field.set)(&mut observation, value as i64);
                }
            }
        }
        Ok((target, observation))
    }

    fn next_line(&mut self) -> Result<Option<String>, String> {
        let mut bytes = Vec::new();
        self.line += 1;
        let mut limited = self.reader.by_ref().take(LINE_BYTES_MAX);
        let read = limited.read_until(b'\n', &mut bytes).map_err(|error| error.to_string())?;
        match read {
            0 => Ok(None),
            _ if read as u64 == LINE_BYTES_MAX => {
                Err(format!("line {}: longer than {LINE_BYTES_MAX} bytes", self.line))
            }
            _ => Ok(Some(String::from_utf8_lossy(&bytes).trim_end().to_owned())),
        }
    }
}

/// The cells of a line; quotes as in RFC 4180, but no line breaks inside them.
fn cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut is_quoted = false;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if is_quoted && letters.peek() == Some(&'"') => {
                letters.next();
                push(&mut cells, '"');
            }
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => cells.push(String::new()),
            letter => push(&mut cells, letter),
        }
    }
    cells.iter().map(|cell| cell.trim().to_owned()).collect()
}

fn push(cells: &mut [String], letter: char) {
    if let Some(last) = cells.last_mut() {
        last.push(letter);
    }
}

/// Seconds since 1970, with a fraction or none, or RFC 3339.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(seconds) = text.parse::<f64>()
        && (0.0..1e11).contains(&seconds)
    {
        return Ok(Timestamp((seconds * 1000.0).round() as i64));
    }
    let time: Result<jiff::Timestamp, _> = text.parse();
    time.map(|time| Timestamp(time.as_millisecond())).map_err(|_| {
        format!("{text:?} is no time: write 2026-11-26T08:00:00Z, or seconds since 1970")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_read_by_the_row() {
        let text = "time,\"target\",rss_bytes,goroutines\n\
                    10,shop,100,\n\n1970-01-01T00:00:20.5Z,\"a, \"\"b\"\"\",1.5e3,7\n";
        let mut rows = Rows::new(text.as_bytes()).unwrap();
        let (target, first) = rows.next().unwrap().unwrap();
        assert_eq!((target.as_str(), first.time), ("shop", Timestamp(10_000)));
        assert_eq!((first.process.rss_bytes, first.runtime.goroutines), (Some(100), None));
        let (target, second) = rows.next().unwrap().unwrap();
        assert_eq!((target.as_str(), second.time), ("a, \"b\"", Timestamp(20_500)));
        assert_eq!((second.process.rss_bytes, second.runtime.goroutines), (Some(1500), Some(7)));
        assert_eq!(rows.next(), Ok(None));
    }

    #[test]
    fn what_is_wrong_has_its_line() {
        let check = |text: &str, expected: &str| {
            let read = Rows::new(text.as_bytes()).and_then(|mut rows| rows.next());
            let error = read.unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        check("", "the table is empty");
        check("rss_bytes\n", "line 1: there is no column time");
        check("time,rss\n", "line 1: there is no signal \"rss\"");
        check("time,rss_bytes\n1\n", "line 2: 1 cells, 2 are expected");
        check("time,rss_bytes\nyesterday,1\n", "line 2: \"yesterday\" is no time");
        check("time,rss_bytes\n1,much\n", "line 2: \"much\" is no number");
        check(&"x".repeat(1 << 20), "line 1: longer than");
    }
}
