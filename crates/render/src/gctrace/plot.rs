//! The heap over time in a terminal.

use model::gctrace::GcCycle;

use super::mib;

/// What a column shows: the greatest of its cycles.
#[derive(Clone, Copy, Default)]
struct Column {
    live: u64,
    end: u64,
    goal: u64,
}

/// Draws what lives (full), what the heap grew to (light) and the goal (line) from the first
/// cycle to the last, `width` columns and `height` rows of it. Empty without two cycles.
pub fn plot(cycles: &[GcCycle], width: usize, height: usize) -> String {
    let (Some(first), Some(last)) = (cycles.first(), cycles.last()) else { return String::new() };
    let seconds = last.at_seconds - first.at_seconds;
    if seconds <= 0.0 || width == 0 || height == 0 {
        return String::new();
    }
    let columns = columns(cycles, width, first.at_seconds, seconds);
    let top = columns.iter().map(|column| column.end.max(column.goal)).max().unwrap_or(0).max(1);
    // The size at the upper edge of a row, counted from below.
    let edge = |row: usize| top as f64 * (row + 1) as f64 / height as f64;
    let mut out = String::new();
    for row in (0..height).rev() {
        let label = if row + 1 == height || row == 0 || row == height / 2 {
            mib(edge(row).round() as u64)
        } else {
            String::new()
        };
        out.push_str(&format!("{label:>11} |"));
        let (low, high) = (if row == 0 { 0.0 } else { edge(row - 1) }, edge(row));
        let line: String = columns.iter().map(|column| sign(*column, low, high)).collect();
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out.push_str(&format!("{:>11} +{}\n", "", "-".repeat(width)));
    let (start, end) = (format!("{:.1} s", first.at_seconds), format!("{:.1} s", last.at_seconds));
    let gap = width.saturating_sub(start.len() + end.len());
    out.push_str(&format!("{:>11}  {start}{}{end}\n", "", " ".repeat(gap)));
    out.push_str(&format!("{:>11}  # lives  : at the end of the cycle  - goal\n", ""));
    out
}

fn columns(cycles: &[GcCycle], width: usize, start: f64, seconds: f64) -> Vec<Column> {
    let mut columns: Vec<Option<Column>> = vec![None; width];
    for cycle in cycles {
        let at = ((cycle.at_seconds - start) / seconds * width as f64) as usize;
        if let Some(slot) = columns.get_mut(at.min(width - 1)) {
            let column = slot.get_or_insert_default();
            column.live = column.live.max(cycle.live_mib);
            column.end = column.end.max(cycle.end_mib);
            column.goal = column.goal.max(cycle.goal_mib);
        }
    }
    // Between two cycles the heap is what the one before left.
    let mut before = Column::default();
    columns
        .into_iter()
        .map(|column| {
            before = column.unwrap_or(before);
            before
        })
        .collect()
}

fn sign(column: Column, low: f64, high: f64) -> char {
    let reaches = |size: u64| size as f64 > low;
    match () {
        () if reaches(column.live) => '#',
        () if reaches(column.goal) && column.goal as f64 <= high => '-',
        () if reaches(column.end) => ':',
        () => ' ',
    }
}

#[cfg(test)]
mod tests {
    use super::plot;
    use model::gctrace::GcCycle;

    #[test]
    fn a_heap_that_doubles() {
        let cycle = |at: u64| GcCycle {
            number: at,
            at_seconds: at as f64,
            live_mib: 10 * at,
            end_mib: 20 * at,
            goal_mib: 20 * at,
            ..GcCycle::default()
        };
        let drawn = plot(&[cycle(1), cycle(2), cycle(4)], 8, 4);
        let rows: Vec<&str> = drawn.lines().collect();
        assert_eq!(rows.len(), 7);
        assert!(rows[0].ends_with('-') && rows[3].contains('#'), "{drawn}");
        assert!(rows[3].starts_with("   20.0 MiB |"), "{drawn}");
        assert!(rows[5].contains("1.0 s") && rows[5].ends_with("4.0 s"), "{drawn}");
        assert_eq!(plot(&[cycle(1)], 8, 4), "");
        assert_eq!(plot(&[], 8, 4), "");
    }
}
