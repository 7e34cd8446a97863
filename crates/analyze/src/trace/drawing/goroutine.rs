//! A goroutine while it is drawn: what it is called, since when it runs where, and what else
//! goes on in that time.

use model::trace::{GoId, StackId, Tables, Time};

use super::{Row, Shape, Sink};

pub(super) const ASSIST: &str = "GC mark assist";

#[derive(Debug)]
pub(super) struct Goroutine {
    pub(super) id: GoId,
    /// Number, function and label.
    name: String,
    function: String,
    label: String,
    is_named: bool,
    /// Where it runs, since when.
    runs: Option<(Row, Time)>,
    in_syscall: Option<Time>,
    /// Ranges that go on, with their begin while it runs.
    ranges: Vec<(String, Option<Time>)>,
    /// What ended since it runs: drawn when it stops, because it is within that slice.
    ended: Vec<(String, Time, Time)>,
    /// What it waits for.
    pub(super) reason: String,
    /// What lets it run.
    cause: Option<(Row, Time, String)>,
}

impl Goroutine {
    pub(super) fn new(id: GoId) -> Goroutine {
        Goroutine {
            id,
            name: format!("G{}", id.0),
            function: String::new(),
            label: String::new(),
            is_named: false,
            runs: None,
            in_syscall: None,
            ranges: Vec::new(),
            ended: Vec::new(),
            reason: String::new(),
            cause: None,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The outermost function of a stack is the one that it started with.
    pub(super) fn find_name(&mut self, stack: StackId, tables: &Tables<'_>) {
        if !self.is_named
            && let Some(frame) = tables.stack(stack).last()
            && let Some(frame) = tables.frame(*frame)
        {
            self.is_named = true;
            self.function = format!(" {}", tables.text(frame.function));
            self.rename();
        }
    }

    pub(super) fn label(&mut self, label: &str) {
        self.label = if label.is_empty() { String::new() } else { format!(" ({label})") };
        self.rename();
    }

    fn rename(&mut self) {
        self.name = format!("G{}{}{}", self.id.0, self.function, self.label);
    }

    pub(super) fn is_assisting(&self) -> bool {
        self.ranges.iter().any(|range| range.0 == ASSIST)
    }

    pub(super) fn created(&mut self, at: Time, by: Option<Row>) {
        self.cause = by.map(|row| (row, at, "go".to_owned()));
    }

    pub(super) fn unblocked(&mut self, at: Time, by: Option<Row>, sink: &mut impl Sink) {
        let reason = std::mem::take(&mut self.reason);
        let name = match reason.is_empty() {
            true => "unblock".to_owned(),
            false => format!("unblock ({reason})"),
        };
        let mut by = by;
        if reason.contains("network") {
            sink.shape(&Shape::Instant { row: Row::Network, name: &name, at });
            by = Some(Row::Network);
        }
        self.cause = by.map(|row| (row, at, name));
    }

    /// A system call that blocked ends.
    pub(super) fn returned(&mut self, at: Time, sink: &mut impl Sink) {
        let (row, name) = (Row::Syscalls, "exit blocked syscall");
        sink.shape(&Shape::Instant { row, name, at });
        self.cause = Some((row, at, name.to_owned()));
    }

    pub(super) fn starts(&mut self, at: Time, row: Row, sink: &mut impl Sink) {
        self.ranges.iter_mut().for_each(|range| range.1 = Some(at));
        if let Some((from, since, name)) = self.cause.take() {
            sink.shape(&Shape::Arrow { name: &name, from: (from, since), to: (row, at) });
        }
        self.runs = Some((row, at));
    }

    pub(super) fn stops(&mut self, end: Time, sink: &mut impl Sink) {
        let Some((row, start)) = self.runs.take() else { return };
        sink.shape(&Shape::Slice { row, name: &self.name, start, end });
        for (name, start, end) in self.ended.drain(..) {
            sink.shape(&Shape::Slice { row, name: &name, start, end });
        }
        for (name, since) in &mut self.ranges {
            if let Some(start) = since.take() {
                sink.shape(&Shape::Slice { row, name, start, end });
            }
        }
    }

    pub(super) fn syscall_begins(&mut self, at: Time, row: Row) {
        self.in_syscall = Some(at);
        self.runs.get_or_insert((row, at));
    }

    pub(super) fn syscall_ends(&mut self, end: Time) {
        if let Some(start) = self.in_syscall.take() {
            self.ended.push(("syscall".to_owned(), start, end));
        }
    }

    /// A range begins, or goes on without a word of its begin.
    pub(super) fn range_begins(&mut self, name: String, at: Option<Time>) {
        let since = self.runs.map(|(_, start)| at.unwrap_or(start));
        match self.ranges.iter_mut().find(|range| range.0 == name) {
            Some(range) => range.1 = since,
            None => self.ranges.push((name, since)),
        }
    }

    pub(super) fn range_ends(&mut self, name: &str, end: Time) {
        let Some(at) = self.ranges.iter().position(|range| range.0 == name) else { return };
        let (name, since) = self.ranges.swap_remove(at);
        if let Some((_, start)) = self.runs {
            self.ended.push((name, since.unwrap_or(start), end));
        }
    }

    /// The trace ends.
    pub(super) fn finish(&mut self, end: Time, sink: &mut impl Sink) {
        if self.runs.is_some() {
            self.syscall_ends(end);
            self.stops(end, sink);
        }
    }
}
