//! Plain tables: aligned text, CSV and Markdown from the same rows.

/// How a column is aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Texts.
    Left,
    /// Numbers.
    Right,
}

/// A table of texts.
#[derive(Clone, Debug, Default)]
pub struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Starts a table with these columns.
    pub fn new(columns: &[(&str, Align)]) -> Table {
        let columns = columns.iter().map(|(name, align)| ((*name).to_owned(), *align)).collect();
        Table { columns, rows: Vec::new() }
    }

    /// Adds a row; missing cells are empty.
    pub fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// Aligned text with two spaces between columns; the last column is not padded.
    pub fn text(&self) -> String {
        let width = |index: usize, name: &str| {
            let cells = self.rows.iter().filter_map(|row| row.get(index));
            let longest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
            longest.max(name.chars().count())
        };
        let widths: Vec<usize> =
            self.columns.iter().enumerate().map(|(i, (name, _))| width(i, name)).collect();
        let names: Vec<String> = self.columns.iter().map(|(name, _)| name.clone()).collect();
        let mut out = String::new();
        for row in std::iter::once(&names).chain(&self.rows) {
            let mut line = String::new();
            for (index, (_, align)) in self.columns.iter().enumerate() {
                let cell = row.get(index).map_or("", String::as_str);
                let pad = " ".repeat(widths[index].saturating_sub(cell.chars().count()));
                let is_last = index + 1 == self.columns.len();
                line += &match (align, is_last) {
                    (Align::Right, _) => format!("{pad}{cell}"),
                    (Align::Left, true) => cell.to_owned(),
                    (Align::Left, false) => format!("{cell}{pad}"),
                };
                if !is_last {
                    line += "  ";
                }
            }
            out += line.trim_end();
            out.push('\n');
        }
        out
    }

    /// CSV as in RFC 4180, with `\n` line ends.
    pub fn csv(&self) -> String {
        let cell = |text: &str| {
            if text.contains([',', '"', '\n', '\r']) {
                format!("\"{}\"", text.replace('"', "\"\""))
            } else {
                text.to_owned()
            }
        };
        let names: Vec<String> = self.columns.iter().map(|(name, _)| name.clone()).collect();
        let lines = std::iter::once(&names).chain(&self.rows).map(|row| {
            let cells: Vec<String> = row.iter().map(|text| cell(text)).collect();
            cells.join(",") + "\n"
        });
        lines.collect()
    }
}

impl Table {
    /// A Markdown table (GitHub's dialect).
    pub fn markdown(&self) -> String {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let cell = |text: &str| {
            // A bar would end the cell, and names such as `F[...]` or `<x>` are not markup.
            let mut out = String::with_capacity(text.len());
            for letter in text.chars() {
                match letter {
                    '\n' | '\r' => out.push(' '),
                    '&' => out.push_str("&amp;"),
                    '<' => out.push_str("&lt;"),
                    '\\' | '|' | '*' | '_' | '`' | '[' | ']' | '~' => out.extend(['\\', letter]),
                    letter => out.push(letter),
                }
            }
            out
        };
        let mut out = line(self.columns.iter().map(|(name, _)| cell(name)).collect());
        let rule = |align: &Align| match align {
            Align::Left => "---".to_owned(),
            Align::Right => "---:".to_owned(),
        };
        out += &line(self.columns.iter().map(|(_, align)| rule(align)).collect());
        for row in &self.rows {
            let cells = (0..self.columns.len()).map(|at| row.get(at).map_or("", String::as_str));
            out += &line(cells.map(cell).collect());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::{Align, Table};

    #[test]
    fn text_aligns_and_csv_quotes() {
        let mut table = Table::new(&[("PID", Align::Right), ("NAME", Align::Left)]);
        table.push(vec!["7".into(), "a,b".into()]);
        table.push(vec!["1234".into(), "say \"x\"".into()]);
        assert_eq!(table.text(), " PID  NAME\n   7  a,b\n1234  say \"x\"\n");
        assert_eq!(table.csv(), "PID,NAME\n7,\"a,b\"\n1234,\"say \"\"x\"\"\"\n");
        table.push(vec!["1".into(), "a.F[...]|<b>".into()]);
        let markdown = table.markdown();
        assert!(markdown.starts_with("| PID | NAME |\n| ---: | --- |\n| 7 | a,b |\n"));
        assert!(markdown.ends_with("| 1 | a.F\\[...\\]\\|&lt;b> |\n"), "{markdown}");
    }
}
