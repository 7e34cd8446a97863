//! Figures that hold until the next one, such as the heap: packed, and summed up in columns.

use model::trace::Time;

use super::Point;
use super::grid::Grid;
use super::log::{put, take};

/// Values of a block.
const BLOCK_VALUES: usize = 1024;

/// Values over time, about four bytes each.
#[derive(Debug, Default)]
pub(super) struct Steps {
    /// Where each block begins, with its first time and value.
    blocks: Vec<(usize, Time, u64)>,
    bytes: Vec<u8>,
    count: usize,
    last: Option<(Time, u64)>,
}

impl Steps {
    pub(super) fn push(&mut self, time: Time, value: u64) {
        match self.last {
            Some((before, old)) if !self.count.is_multiple_of(BLOCK_VALUES) => {
                put(&mut self.bytes, time.nanos_since(before));
                // Signed, the sign at the end.
                let change = value.wrapping_sub(old) as i64;
                put(&mut self.bytes, (change << 1 ^ change >> 63) as u64);
            }
            _ => self.blocks.push((self.bytes.len(), time, value)),
        }
        self.last = Some((time, value));
        self.count += 1;
    }

    /// Bytes that they take.
    pub(super) fn size(&self) -> usize {
        self.bytes.capacity() + size_of_val(self.blocks.as_slice())
    }

    /// From the last value at or before a time on.
    pub(super) fn from(&self, time: Time) -> impl Iterator<Item = (Time, u64)> + '_ {
        let after = self.blocks.partition_point(|block| block.1 <= time);
        let blocks = self.blocks.get(after.saturating_sub(1)..).unwrap_or_default();
        blocks.iter().enumerate().flat_map(move |(at, (start, time, value))| {
            let end = blocks.get(at + 1).map_or(self.bytes.len(), |next| next.0);
            let bytes = self.bytes.get(*start..end).unwrap_or_default();
            std::iter::once((*time, *value)).chain(Values { bytes, time: *time, value: *value })
        })
    }
}

struct Values<'a> {
    bytes: &'a [u8],
    time: Time,
    value: u64,
}

impl Iterator for Values<'_> {
    type Item = (Time, u64);

    fn next(&mut self) -> Option<(Time, u64)> {
        self.time = Time(self.time.0.saturating_add_unsigned(take(&mut self.bytes)?));
        let change = take(&mut self.bytes)?;
        let change = (change >> 1) as i64 ^ -((change & 1) as i64);
        self.value = self.value.wrapping_add_signed(change);
        Some((self.time, self.value))
    }
}

/// Columns of equal time, in which a figure is summed up.
#[derive(Debug)]
pub(super) struct Columns {
    grid: Grid,
    points: Vec<Option<Point>>,
    nanos: Vec<f64>,
}

impl Columns {
    pub(super) fn new(from: Time, to: Time, count: usize) -> Columns {
        let grid = Grid::new(from, to, count);
        Columns { grid, points: vec![None; count], nanos: vec![0.0; count] }
    }

    /// The figure has a value from one time to another; times must not decrease.
    pub(super) fn add(&mut self, start: Time, end: Time, value: u64) {
        let (points, sums) = (&mut self.points, &mut self.nanos);
        self.grid.split(start, end, |at, nanos| {
            let (Some(point), Some(sum)) = (points.get_mut(at), sums.get_mut(at)) else { return };
            let old = point.get_or_insert(Point { min: value, max: value, mean: 0.0 });
            *sum += nanos as f64;
            // The mean so far, and how far the new value draws it.
            let mean = old.mean + (value as f64 - old.mean) * nanos as f64 / *sum;
            *point = Some(Point { min: old.min.min(value), max: old.max.max(value), mean });
        });
    }

    pub(super) fn into_points(self) -> Vec<Option<Point>> {
        self.points
    }
}
