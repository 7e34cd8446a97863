//! Shapes as a trace of Perfetto, which is protobuf: a third of the size of the JSON, for
//! ui.perfetto.dev and trace_processor. Written while they come.
//!
//! A slice is written when it ends, so that packets are not in the order of time; readers sort
//! them, and leave those of one time in their order. Source: protos/perfetto/trace of Perfetto.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};

use analyze::trace::drawing::{Row, Rows, Shape, Sink};
use model::trace::Time;

use super::shown::Shown;

// Fields of TracePacket.
const TIMESTAMP: u64 = 8;
const SEQUENCE: u64 = 10;
const TRACK_EVENT: u64 = 11;
const INTERNED: u64 = 12;
const FLAGS: u64 = 13;
const TRACK: u64 = 60;

// Kinds of TrackEvent.
const BEGIN: u64 = 1;
const END: u64 = 2;
const INSTANT: u64 = 3;
const COUNTER: u64 = 4;

/// Names that are numbered at once; then they are numbered anew.
const NAMES_MAX: usize = 1 << 16;

/// Writes shapes as protobuf.
#[derive(Debug)]
pub struct Perfetto<W> {
    out: W,
    shown: Shown,
    names: HashMap<String, u64>,
    /// Rows that are described.
    tracks: HashSet<u64>,
    /// Counters by their names, with the value written last.
    counters: Vec<([&'static str; 2], Option<u64>)>,
    /// The next packet begins numbering anew.
    is_cleared: bool,
    arrows: u64,
    error: Option<io::Error>,
}

impl<W: Write> Perfetto<W> {
    /// Starts the file.
    pub fn new(out: W, rows: Rows, shown: Shown) -> Perfetto<W> {
        let mut perfetto = Perfetto {
            out,
            shown,
            names: HashMap::new(),
            tracks: HashSet::new(),
            counters: Vec::new(),
            is_cleared: true,
            arrows: 0,
            error: None,
        };
        let name = match rows {
            Rows::Procs => "procs",
            Rows::Goroutines => "goroutines",
        };
        perfetto.describe(ROWS, name, 0, false);
        perfetto.describe(COUNTERS, "counters", 0, false);
        perfetto
    }

    /// Ends the file.
    ///
    /// # Errors
    /// The first one of writing.
    pub fn finish(self) -> io::Result<W> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.out),
        }
    }

    /// Writes a packet.
    fn packet(&mut self, mut packet: Vec<u8>) {
        number(&mut packet, SEQUENCE, 1);
        // The numbers of names hold from the first packet on; others need them.
        let flags = if std::mem::take(&mut self.is_cleared) { 3 } else { 2 };
        number(&mut packet, FLAGS, flags);
        let mut framed = Vec::with_capacity(packet.len() + 4);
        bytes(&mut framed, 1, &packet);
        if self.error.is_none()
            && let Err(error) = self.out.write_all(&framed)
        {
            self.error = Some(error);
        }
    }

    fn describe(&mut self, track: u64, name: &str, parent: u64, is_counter: bool) {
        let mut descriptor = Vec::new();
        number(&mut descriptor, 1, track);
        bytes(&mut descriptor, 2, name.as_bytes());
        if parent != 0 {
            number(&mut descriptor, 5, parent);
        }
        if is_counter {
            bytes(&mut descriptor, 8, &[]);
        }
        let mut packet = Vec::new();
        bytes(&mut packet, TRACK, &descriptor);
        self.packet(packet);
        self.tracks.insert(track);
    }

    /// The number of a row.
    fn track(&mut self, row: Row) -> u64 {
        let track = track(row);
        if !self.tracks.contains(&track) {
            let name = match row {
                Row::Proc(proc) => format!("Proc {}", proc.0),
                Row::Goroutine(goroutine) => format!("G{}", goroutine.0),
                Row::Collector => "GC".to_owned(),
                Row::Network => "Network".to_owned(),
                Row::Syscalls => "Syscalls".to_owned(),
            };
            self.describe(track, &name, ROWS, false);
        }
        track
    }

    /// Writes an event of a track; `more` are its other fields.
    fn event(&mut self, track: u64, kind: u64, name: &str, time: Time, more: &[u8]) {
        let mut packet = Vec::with_capacity(32 + name.len());
        number(&mut packet, TIMESTAMP, self.shown.since_start(time));
        let mut event = Vec::with_capacity(24);
        number(&mut event, 9, kind);
        number(&mut event, 11, track);
        if !name.is_empty() {
            let (id, is_new) = self.name(name);
            number(&mut event, 10, id);
            if is_new {
                let mut entry = Vec::new();
                number(&mut entry, 1, id);
                bytes(&mut entry, 2, name.as_bytes());
                let mut interned = Vec::new();
                bytes(&mut interned, 2, &entry);
                bytes(&mut packet, INTERNED, &interned);
            }
        }
        event.extend_from_slice(more);
        bytes(&mut packet, TRACK_EVENT, &event);
        self.packet(packet);
    }

    /// The number of a name, and whether it is new.
    fn name(&mut self, name: &str) -> (u64, bool) {
        if let Some(id) = self.names.get(name) {
            return (*id, false);
        }
        if self.names.len() >= NAMES_MAX {
            self.names.clear();
            self.is_cleared = true;
        }
        let id = self.names.len() as u64 + 1;
        self.names.insert(name.to_owned(), id);
        (id, true)
    }

    fn counter(&mut self, name: &'static str, at: Time, values: &[(&'static str, u64)]) {
        for (of, value) in values {
            let known = self.counters.iter().position(|known| known.0 == [name, *of]);
            let place = known.unwrap_or(self.counters.len());
            let track = COUNTER_FIRST + place as u64;
            if known.is_none() {
                self.counters.push(([name, of], None));
                self.describe(track, &format!("{name} {of}"), COUNTERS, true);
            }
            let last = self.counters.get_mut(place).map(|known| known.1.replace(*value));
            if last == Some(Some(*value)) {
                continue;
            }
            let mut more = Vec::new();
            number(&mut more, 30, *value);
            self.event(track, COUNTER, "", at, &more);
        }
    }

    /// Two instants, with what joins them.
    fn arrow(&mut self, name: &str, from: (Row, Time), to: (Row, Time)) {
        self.arrows += 1;
        for (field, (row, time)) in [(47, from), (48, to)] {
            let mut more = Vec::new();
            tag(&mut more, field, 1);
            more.extend_from_slice(&self.arrows.to_le_bytes());
            let track = self.track(row);
            self.event(track, INSTANT, name, time, &more);
        }
    }
}

impl<W: Write> Sink for Perfetto<W> {
    fn begin(&mut self, start: Time) {
        self.shown.begin(start);
    }

    fn shape(&mut self, shape: &Shape<'_>) {
        if !self.shown.shows(shape) {
            return;
        }
        match *shape {
            Shape::Slice { row, name, start, end } => {
                let track = self.track(row);
                self.event(track, BEGIN, name, start, &[]);
                self.event(track, END, "", end, &[]);
            }
            Shape::Instant { row, name, at } => {
                let track = self.track(row);
                self.event(track, INSTANT, name, at, &[]);
            }
            Shape::Arrow { name, from, to } => self.arrow(name, from, to),
            Shape::Counter { name, at, values } => self.counter(name, at, values),
            // Only those of goroutines say more than their number, when it is known.
            Shape::Name { row, name } => {
                if let Row::Goroutine(_) = row
                    && self.tracks.contains(&track(row))
                {
                    self.describe(track(row), name, ROWS, false);
                }
            }
        }
    }
}

/// Tracks above the rows and the counters.
const ROWS: u64 = 1;
const COUNTERS: u64 = 2;
const COUNTER_FIRST: u64 = 16;

fn track(row: Row) -> u64 {
    match row {
        Row::Collector => 3,
        Row::Network => 4,
        Row::Syscalls => 5,
        Row::Proc(proc) => 1 << 32 | proc.0 as u64,
        Row::Goroutine(goroutine) => 1 << 62 | goroutine.0 as u64,
    }
}

fn varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

fn tag(to: &mut Vec<u8>, field: u64, kind: u64) {
    varint(to, field << 3 | kind);
}

fn number(to: &mut Vec<u8>, field: u64, value: u64) {
    tag(to, field, 0);
    varint(to, value);
}

fn bytes(to: &mut Vec<u8>, field: u64, value: &[u8]) {
    tag(to, field, 2);
    varint(to, value.len() as u64);
    to.extend_from_slice(value);
}
