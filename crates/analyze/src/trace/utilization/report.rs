//! The curve at windows of many lengths, and the worst windows of one.

use super::{Curve, Utilization, Window};

/// How many windows for each power of ten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steps {
    /// Three: 1, 2 and 5.
    Three,
    /// Ten, among them those.
    Ten,
}

impl Steps {
    fn hundredths(self) -> &'static [u64] {
        match self {
            Steps::Three => &[100, 200, 500],
            Steps::Ten => &[100, 125, 160, 200, 250, 315, 400, 500, 630, 800],
        }
    }
}

/// Of each 1,000, 100 and 20 windows one, as Go's page has them.
const PARTS: [f64; 3] = [0.001, 0.01, 0.05];

/// What is said of a trace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// How long the shares are known.
    pub duration_nanos: u64,
    /// From 1 us to 1 s, or as long as the trace is.
    pub curve: Vec<Point>,
    /// The length of the worst windows.
    pub window_nanos: u64,
    /// Windows that do not overlap, worst first, with their begin from that of the trace on.
    pub worst: Vec<(u64, f64)>,
}

/// Windows of one length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// How long they are.
    pub window_nanos: u64,
    /// The least share of any.
    pub minimum: f64,
    /// The shares that no more than 0.1, 1 and 5 % of them fall short of.
    pub low: [f64; PARTS.len()],
}

impl Report {
    /// Asks the curve; `count` is that of the worst windows.
    pub fn new(of: Utilization, steps: Steps, window_nanos: u64, count: usize) -> Report {
        let start = of.start;
        let curve = Curve::new(of);
        let duration_nanos = curve.duration_nanos();
        let point = |window_nanos| {
            let mut low = [0.0; PARTS.len()];
            let (quantiles, minimum) = curve.quantiles(window_nanos, &PARTS);
            for (to, from) in low.iter_mut().zip(quantiles) {
                *to = from;
            }
            Point { window_nanos, minimum, low }
        };
        let window_nanos = window_nanos.min(duration_nanos);
        let worst = curve.worst(window_nanos, count).into_iter();
        Report {
            duration_nanos,
            curve: windows(steps, duration_nanos).into_iter().map(point).collect(),
            window_nanos,
            worst: worst
                .map(|Window { start: at, share }| (at.nanos_since(start), share))
                .collect(),
        }
    }
}

/// From 1 us to 1 s. No window is longer than the trace; one that is shorter than a second
/// is the last.
fn windows(steps: Steps, duration_nanos: u64) -> Vec<u64> {
    const LONGEST: u64 = 1_000_000_000;
    let decades = (0..7).map(|decade| 10_u64.pow(decade + 1));
    let of = |scale| steps.hundredths().iter().map(move |step| step * scale);
    let mut windows: Vec<u64> = decades.flat_map(of).collect();
    windows.retain(|window| *window <= LONGEST.min(duration_nanos));
    if duration_nanos > 0 && duration_nanos < LONGEST {
        windows.push(duration_nanos);
        windows.dedup();
    }
    windows
}
