//! Answers questions on a timeline.

use ahash::AHashMap;
use model::trace::Time;

use super::canvas::{Canvas, View};
use super::grid::Grid;
use super::log::{Block, Occupant, Record};
use super::steps::{Columns, Steps};
use super::{Activity, Figure, Point, Slice, Slot, Text, Timeline, Track};

impl Timeline {
    /// What is in some rows from one time to another: slices, unless there are more than
    /// `max` in a row, else as many columns. All rows together cost one pass over the log.
    pub fn views(&self, tracks: &[Track], from: Time, to: Time, max: usize) -> Vec<View> {
        let (from, to) = (from.max(self.start), to.min(self.end));
        let mut canvases: Vec<Canvas> = tracks.iter().map(|_| Canvas::new(from, to, max)).collect();
        let is_wide = self.is_wide(from, to, max);
        let mut rows = Rows::default();
        for (at, (track, canvas)) in tracks.iter().zip(&mut canvases).enumerate() {
            match track {
                Track::Marking => self.marking.iter().for_each(|slice| canvas.add(*slice)),
                Track::Stops => self.stops.iter().for_each(|slice| canvas.add(*slice)),
                Track::Proc(proc) if is_wide => canvas.draw_wide(&self.buckets, *proc as usize),
                Track::Proc(proc) => rows.procs.push((*proc, at)),
                Track::Goroutine(slot) => {
                    rows.goroutines.insert(slot.0, GoroutineRow { canvas: at, doing: None });
                }
            }
        }
        if from < to && !(rows.procs.is_empty() && rows.goroutines.is_empty()) {
            self.read(from, to, &mut rows, &mut canvases);
        }
        canvases.into_iter().map(Canvas::into_view).collect()
    }

    /// One row of [`Timeline::views`].
    pub fn slices(&self, track: Track, from: Time, to: Time, max: usize) -> View {
        self.views(&[track], from, to, max).pop().unwrap_or(View::Slices(Vec::new()))
    }

    /// A figure in columns of equal time; `None` where it is not known.
    pub fn series(&self, of: Figure, from: Time, to: Time, count: usize) -> Vec<Option<Point>> {
        let (from, to) = (from.max(self.start), to.min(self.end));
        if from >= to {
            return vec![None; count];
        }
        let kind = match of {
            Figure::HeapBytes => return steps(&self.heap, from, to, count),
            Figure::HeapGoalBytes => return steps(&self.goal, from, to, count),
            Figure::Running => 0,
            Figure::Ready => 1,
            Figure::Blocked => 2,
        };
        if self.is_wide(from, to, count) {
            let grid = Grid::new(from, to, count);
            return (0..count).map(|at| self.buckets.point(kind, grid.column(at))).collect();
        }
        self.counts(kind, from, to, count)
    }

    /// Whether columns are so wide that the buckets do.
    fn is_wide(&self, from: Time, to: Time, count: usize) -> bool {
        let column = to.nanos_since(from) / (count as u64).max(1);
        self.changes() > self.changes_few && column >= 2 * self.buckets.width_nanos()
    }

    /// Counts goroutines as the log says.
    fn counts(&self, kind: usize, from: Time, to: Time, count: usize) -> Vec<Option<Point>> {
        let mut columns = Columns::new(from, to, count);
        let blocks = self.log.blocks_from(from);
        let Some(first) = blocks.first() else { return columns.into_points() };
        let mut number = first.moment.counts.get(kind).copied().unwrap_or(0);
        let mut since = from.min(first.time);
        for record in blocks.iter().flat_map(Block::records) {
            if record.time >= to {
                break;
            }
            let change = i32::from(record.activity.count_kind() == Some(kind))
                - i32::from(record.before.count_kind() == Some(kind));
            if change != 0 {
                columns.add(since, record.time, u64::from(number));
                number = number.saturating_add_signed(change);
                since = record.time;
            }
        }
        columns.add(since, to, u64::from(number));
        columns.into_points()
    }

    /// Draws rows of Ps and goroutines from the log.
    fn read(&self, from: Time, to: Time, rows: &mut Rows, canvases: &mut [Canvas]) {
        let blocks = self.log.blocks_from(from);
        let Some(first) = blocks.first() else { return };
        rows.occupants = first.moment.occupants.to_vec();
        for (at, occupant) in first.moment.occupants.iter().enumerate() {
            if let Some(occupant) = occupant {
                rows.proc_of.insert(occupant.slot, at);
            }
        }
        for (slot, row) in &mut rows.goroutines {
            row.doing = self.last_before(*slot, first.time);
        }
        for record in blocks.iter().flat_map(Block::records) {
            if record.time >= to {
                break;
            }
            if !rows.procs.is_empty() {
                rows.proc_changes(&record, canvases);
            }
            if let Some(row) = rows.goroutines.get_mut(&record.slot) {
                self.goroutine_changes(row, &record, canvases);
            }
        }
        let all = 0..rows.occupants.len();
        all.for_each(|at| rows.leaves(at, to, canvases));
        for (slot, row) in &rows.goroutines {
            let ended = self.goroutines.get(*slot as usize).map_or(to, |of| of.ended.min(to));
            row.draw(ended, canvases);
        }
    }

    fn goroutine_changes(&self, row: &mut GoroutineRow, record: &Record, canvases: &mut [Canvas]) {
        row.draw(record.time, canvases);
        // What was there before the trace did what is first said of it from its begin on.
        let created = self.goroutines.get(record.slot as usize).map(|of| of.created);
        let is_first = record.before == Activity::Ended;
        let time = created.filter(|_| is_first).unwrap_or(record.time);
        row.doing = Some(Record { time, ..*record });
    }

    /// The last record of a goroutine before a block.
    fn last_before(&self, slot: u32, time: Time) -> Option<Record> {
        let created = self.goroutines.get(slot as usize)?.created;
        let first = self.log.blocks_from(created).first().map_or(created, |block| block.time);
        let blocks = self.log.blocks_before(time).iter().rev();
        let mut blocks = blocks.take_while(|block| block.time >= first);
        let last = blocks.find_map(|block| block.records().filter(|it| it.slot == slot).last())?;
        let is_first = last.before == Activity::Ended;
        Some(if is_first { Record { time: created, ..last } } else { last })
    }
}

/// The rows that are drawn from the log.
#[derive(Debug, Default)]
struct Rows {
    /// Ps with their canvases.
    procs: Vec<(u32, usize)>,
    occupants: Vec<Option<Occupant>>,
    /// The P that each goroutine has.
    proc_of: AHashMap<u32, usize>,
    goroutines: AHashMap<u32, GoroutineRow>,
}

#[derive(Debug)]
struct GoroutineRow {
    canvas: usize,
    doing: Option<Record>,
}

impl Rows {
    fn proc_changes(&mut self, record: &Record, canvases: &mut [Canvas]) {
        if record.before.has_proc()
            && let Some(at) = self.proc_of.remove(&record.slot)
        {
            self.leaves(at, record.time, canvases);
        }
        if record.activity.has_proc() {
            let at = record.detail as usize;
            self.leaves(at, record.time, canvases);
            if self.occupants.len() <= at {
                self.occupants.resize(at + 1, None);
            }
            let (slot, activity, since) = (record.slot, record.activity, record.time);
            if let Some(place) = self.occupants.get_mut(at) {
                *place = Some(Occupant { slot, activity, since });
            }
            self.proc_of.insert(slot, at);
        }
    }

    /// What a P does ends.
    fn leaves(&mut self, at: usize, end: Time, canvases: &mut [Canvas]) {
        let Some(occupant) = self.occupants.get_mut(at).and_then(Option::take) else { return };
        let Occupant { slot, activity, since: start } = occupant;
        let slice = Slice { start, end, activity, slot: Some(Slot(slot)), reason: None };
        for (_, canvas) in self.procs.iter().filter(|(proc, _)| *proc as usize == at) {
            if let Some(canvas) = canvases.get_mut(*canvas) {
                canvas.add(slice);
            }
        }
    }
}

impl GoroutineRow {
    /// What it does ends.
    fn draw(&self, end: Time, canvases: &mut [Canvas]) {
        let Some(Record { time: start, slot, activity, detail, .. }) = self.doing else { return };
        let reason = (activity == Activity::Waiting).then_some(Text(detail));
        if let Some(canvas) = canvases.get_mut(self.canvas)
            && activity != Activity::Ended
        {
            canvas.add(Slice { start, end, activity, slot: Some(Slot(slot)), reason });
        }
    }
}

fn steps(of: &Steps, from: Time, to: Time, count: usize) -> Vec<Option<Point>> {
    let mut columns = Columns::new(from, to, count);
    let mut values = of.from(from).take_while(|value| value.0 < to).peekable();
    while let Some((start, value)) = values.next() {
        let end = values.peek().map_or(to, |next| next.0);
        columns.add(start, end, value);
    }
    columns.into_points()
}
