//! A row as it is drawn: slices where there are few enough, columns where there are more.

use ahash::AHashMap;
use model::trace::Time;

use super::buckets::Buckets;
use super::grid::Grid;
use super::{Activity, Slice, Slot};

/// What is in a row.
#[derive(Clone, Debug, PartialEq)]
pub enum View {
    /// All of it, in the order of time; what goes on beyond the end is cut there.
    Slices(Vec<Slice>),
    /// Too much of it: sums, in columns of equal time.
    Columns(Vec<Column>),
}

/// What is done in a span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Column {
    /// The share of the time, by [`Activity`]; in the rest nothing is done.
    pub shares: [f32; Activity::COUNT],
    /// The goroutine that does something for longest.
    pub slot: Option<Slot>,
}

#[derive(Debug)]
pub(super) struct Canvas {
    from: Time,
    to: Time,
    max: usize,
    grid: Grid,
    /// `None` when there are too many.
    slices: Option<Vec<Slice>>,
    /// With nanoseconds in place of shares.
    columns: Vec<Column>,
    /// Which column is last, and what each goroutine had of it.
    last: usize,
    had: AHashMap<Slot, f32>,
    most: f32,
}

impl Canvas {
    pub(super) fn new(from: Time, to: Time, max: usize) -> Canvas {
        Canvas {
            from,
            to,
            max,
            grid: Grid::new(from, to, max),
            slices: Some(Vec::new()),
            columns: Vec::new(),
            last: 0,
            had: AHashMap::new(),
            most: 0.0,
        }
    }

    /// Adds a slice; they must come in the order of time.
    pub(super) fn add(&mut self, slice: Slice) {
        if slice.end <= self.from || slice.start >= self.to {
            return;
        }
        match &mut self.slices {
            Some(slices) if slices.len() < self.max => slices.push(slice),
            Some(_) => {
                self.columns = vec![Column::default(); self.max];
                for before in self.slices.take().into_iter().flatten() {
                    self.sum_up(before);
                }
                self.sum_up(slice);
            }
            None => self.sum_up(slice),
        }
    }

    fn sum_up(&mut self, slice: Slice) {
        let (columns, had, last) = (&mut self.columns, &mut self.had, &mut self.last);
        let most = &mut self.most;
        self.grid.split(slice.start, slice.end, |at, nanos| {
            let Some(column) = columns.get_mut(at) else { return };
            if let Some(share) = column.shares.get_mut(slice.activity as usize) {
                *share += nanos as f32;
            }
            let Some(slot) = slice.slot else { return };
            if *last != at {
                had.clear();
                (*last, *most) = (at, 0.0);
            }
            let own = had.entry(slot).or_default();
            *own += nanos as f32;
            if *own > *most {
                *most = *own;
                column.slot = Some(slot);
            }
        });
    }

    /// Draws a P from the buckets, which are finer than the columns.
    pub(super) fn draw_wide(&mut self, buckets: &Buckets, proc: usize) {
        self.slices = None;
        self.columns = vec![Column::default(); self.max];
        let all = buckets.of_proc(proc);
        let width = buckets.width_nanos() as f32;
        for (at, column) in self.columns.iter_mut().enumerate() {
            let mut most = 0.0;
            for (bucket, nanos) in buckets.parts(self.grid.column(at)) {
                let Some(bucket) = all.get(bucket) else { break };
                let part = nanos / width;
                let busy = column.shares.iter_mut().skip(Activity::Running as usize);
                for (share, busy) in busy.zip(bucket.busy) {
                    *share += busy * part;
                }
                if bucket.slot_nanos * part > most {
                    most = bucket.slot_nanos * part;
                    column.slot = Some(Slot(bucket.slot));
                }
            }
        }
    }

    pub(super) fn into_view(mut self) -> View {
        if let Some(slices) = self.slices {
            return View::Slices(slices);
        }
        for (at, column) in self.columns.iter_mut().enumerate() {
            let (left, right) = self.grid.column(at);
            let nanos = right.nanos_since(left).max(1) as f32;
            column.shares.iter_mut().for_each(|share| *share /= nanos);
        }
        View::Columns(self.columns)
    }
}
