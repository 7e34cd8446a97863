//! Columns as Go's text/tabwriter lays them out, aligned right with one blank between.

use std::io::{self, Write};

/// Cells of each line; the last one of a line belongs to no column.
#[derive(Debug, Default)]
pub(super) struct Tabs {
    lines: Vec<Vec<String>>,
}

impl Tabs {
    /// Adds a line; tabs end cells.
    pub(super) fn line(&mut self, line: &str) {
        self.lines.push(line.split('\t').map(str::to_owned).collect());
    }

    /// Writes all lines.
    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut widths: Vec<Vec<usize>> = self.lines.iter().map(|_| Vec::new()).collect();
        self.measure(0, 0, self.lines.len(), &mut widths);
        for (cells, widths) in self.lines.iter().zip(&widths) {
            for (index, cell) in cells.iter().enumerate() {
                let width = if index + 1 < cells.len() { widths.get(index) } else { None };
                let pad = width.map_or(0, |width| width.saturating_sub(cell.chars().count()));
                write!(out, "{:pad$}{cell}", "")?;
            }
            writeln!(out)?;
        }
        Ok(())
    }

    /// A column is as wide as its widest cell among neighbouring lines that have it.
    fn measure(&self, column: usize, from: usize, to: usize, widths: &mut [Vec<usize>]) {
        let has_cell = |line: usize| self.lines.get(line).is_some_and(|l| column + 1 < l.len());
        let mut line = from;
        while line < to {
            if !has_cell(line) {
                line += 1;
                continue;
            }
            let start = line;
            while line < to && has_cell(line) {
                line += 1;
            }
            let block = self.lines.get(start..line).unwrap_or(&[]).iter();
            let cells = block.filter_map(|cells| cells.get(column));
            let width = cells.map(|cell| cell.chars().count() + 1).max().unwrap_or(0);
            for widths in widths.iter_mut().take(line).skip(start) {
                widths.push(width);
            }
            self.measure(column + 1, start, line, widths);
        }
    }
}
