//! How much time was spent at which share: the begin of a window moves over the trace, and
//! its share with it. Source: internal/trace/mud.go.

/// Parts of a coarse histogram, which says when enough is known.
const PARTS: usize = 1024;

/// A sum of pieces, each spread evenly from one share to another.
#[derive(Debug)]
pub(super) struct Distribution {
    edges: Vec<Edge>,
    /// Nanoseconds of windows in which nothing was left.
    nothing: f64,
    /// Nanoseconds of windows that have to be known, counted from the least share.
    wanted: f64,
    /// The part of the histogram in which they end, and what lies below it.
    part: usize,
    below: f64,
    histogram: Vec<f64>,
}

/// At a share the density changes, and a share that lasts has all its time in one place.
#[derive(Clone, Copy, Debug)]
struct Edge {
    share: f64,
    density: f64,
    mass: f64,
}

impl Distribution {
    /// Starts; up to so many nanoseconds of windows have to be known.
    pub(super) fn up_to(wanted: f64) -> Distribution {
        let histogram = vec![0.0; PARTS];
        let (edges, nothing, part, below) = (Vec::new(), 0.0, PARTS, 0.0);
        Distribution { edges, nothing, wanted, part, below, histogram }
    }

    /// For so many nanoseconds the share went from one to the other.
    pub(super) fn add(&mut self, from: f64, to: f64, nanos: f64) {
        let (low, high) = (from.min(to), from.max(to));
        if nanos == 0.0 {
            return;
        }
        // What lies above the bound is counted, but needs no place of its own.
        if self.bound().is_none_or(|bound| low < bound) {
            self.place(low, high, nanos);
        }
        self.count(low, high, nanos);
        let part = self.part as f64 / PARTS as f64;
        if low < part {
            let is_whole = high < part || low == high;
            self.below += if is_whole { nanos } else { nanos * (part - low) / (high - low) };
            if self.below >= self.wanted {
                self.find_part();
            }
        }
    }

    fn place(&mut self, low: f64, high: f64, nanos: f64) {
        if high == 0.0 {
            self.nothing += nanos;
            return;
        }
        if low == high {
            self.edges.push(Edge { share: low, density: 0.0, mass: nanos });
            return;
        }
        let density = nanos / (high - low);
        self.edges.push(Edge { share: low, density, mass: 0.0 });
        self.edges.push(Edge { share: high, density: -density, mass: 0.0 });
    }

    fn count(&mut self, low: f64, high: f64, nanos: f64) {
        let place = |share: f64| {
            let scaled = share * PARTS as f64;
            let part = scaled as usize;
            if part < PARTS { (part, scaled - part as f64) } else { (PARTS - 1, 1.0) }
        };
        let ((first, before), (last, within)) = (place(low), place(high));
        let mut add = |part: usize, nanos: f64| {
            if let Some(sum) = self.histogram.get_mut(part) {
                *sum += nanos;
            }
        };
        if first == last {
            add(first, nanos);
            return;
        }
        let each = nanos / (high - low) / PARTS as f64;
        add(first, each * (1.0 - before));
        add(last, each * within);
        for part in first + 1..last {
            add(part, each);
        }
    }

    fn find_part(&mut self) {
        let mut sum = 0.0;
        self.part = PARTS;
        for (part, nanos) in self.histogram.iter().enumerate() {
            if sum + nanos > self.wanted {
                self.part = part;
                break;
            }
            sum += nanos;
        }
        self.below = sum;
    }

    /// Whether nothing was left in all windows that have to be known.
    pub(super) fn is_settled(&self) -> bool {
        self.nothing > 0.0 && self.nothing >= self.wanted
    }

    /// No share above this changes what is wanted; `None` while too little is known.
    pub(super) fn bound(&self) -> Option<f64> {
        (self.part < PARTS).then(|| (self.part + 1) as f64 / PARTS as f64)
    }

    /// Makes it answer.
    pub(super) fn sorted(mut self) -> Sorted {
        self.edges.sort_by(|a, b| a.share.total_cmp(&b.share));
        Sorted { edges: self.edges, nothing: self.nothing }
    }
}

/// In the order of shares.
#[derive(Debug)]
pub(super) struct Sorted {
    edges: Vec<Edge>,
    nothing: f64,
}

impl Sorted {
    /// The share below which so many nanoseconds of windows lie; `None` when there are no
    /// windows.
    pub(super) fn at(&self, nanos: f64) -> Option<f64> {
        if self.nothing > 0.0 && self.nothing >= nanos {
            return Some(0.0);
        }
        let (mut sum, mut density, mut last) = (self.nothing, 0.0, 0.0);
        for edge in &self.edges {
            let next = sum + (edge.share - last) * density;
            if next >= nanos {
                let is_gap = density == 0.0;
                return Some(if is_gap { edge.share } else { (nanos - sum) / density + last });
            }
            let next = next + edge.mass;
            if next >= nanos {
                return Some(edge.share);
            }
            (sum, last) = (next, edge.share);
            density += edge.density;
        }
        self.edges.last().map(|_| last)
    }
}
