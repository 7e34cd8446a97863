//! Verdicts and the evidence they rest on.

use crate::capture::CaptureId;
use crate::go::Frame;
use crate::target::Target;
use crate::units::Timestamp;

/// The kinds of verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FindingKind {
    /// Go heap objects accumulate at a site.
    HeapLeak,
    /// Goroutines accumulate at a stack.
    GoroutineLeak,
    /// Memory outside the Go runtime grows (cgo, mmap).
    NativeGrowth,
    /// Goroutine stacks grow.
    StackGrowth,
    /// Spans in use hold few live objects.
    Fragmentation,
    /// Idle heap is not given back to the operating system.
    UnreturnedMemory,
    /// Much short-lived garbage keeps the heap large or the CPU busy.
    GcChurn,
    /// A bounded cache still fills.
    CacheGrowth,
    /// The cgroup's growth is page cache.
    PageCache,
    /// Nothing grows that matters.
    Healthy,
    /// Not enough evidence yet.
    InsufficientEvidence,
}

impl FindingKind {
    /// All kinds.
    pub const ALL: [FindingKind; 11] = [
        FindingKind::HeapLeak,
        FindingKind::GoroutineLeak,
        FindingKind::NativeGrowth,
        FindingKind::StackGrowth,
        FindingKind::Fragmentation,
        FindingKind::UnreturnedMemory,
        FindingKind::GcChurn,
        FindingKind::CacheGrowth,
        FindingKind::PageCache,
        FindingKind::Healthy,
        FindingKind::InsufficientEvidence,
    ];

    /// The word used in every output.
    pub fn as_str(self) -> &'static str {
        match self {
            FindingKind::HeapLeak => "heap-leak",
            FindingKind::GoroutineLeak => "goroutine-leak",
            FindingKind::NativeGrowth => "native-growth",
            FindingKind::StackGrowth => "stack-growth",
            FindingKind::Fragmentation => "fragmentation",
            FindingKind::UnreturnedMemory => "unreturned-memory",
            FindingKind::GcChurn => "gc-churn",
            FindingKind::CacheGrowth => "cache-growth",
            FindingKind::PageCache => "page-cache",
            FindingKind::Healthy => "healthy",
            FindingKind::InsufficientEvidence => "insufficient-evidence",
        }
    }

    /// Parses the word.
    pub fn parse(word: &str) -> Option<FindingKind> {
        FindingKind::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Reports whether this kind is a leak: growth that does not end by itself.
    pub fn is_leak(self) -> bool {
        matches!(
            self,
            FindingKind::HeapLeak | FindingKind::GoroutineLeak | FindingKind::NativeGrowth
        )
    }
}

/// An estimate with its interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Interval {
    /// Best guess.
    pub estimate: f64,
    /// Lower bound (95 %).
    pub low: f64,
    /// Upper bound (95 %).
    pub high: f64,
}

/// How sure a verdict is, 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Confidence(pub f64);

/// A place in the program that is responsible for growth.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Site {
    /// The innermost frame of the program's own code.
    pub frame: Frame,
    /// Its share of the growth, 0 to 1.
    pub share: f64,
    /// Its rate; bytes per second (goroutines per second in goroutine findings).
    pub rate: Interval,
    /// The whole stack, innermost call first.
    pub stack: Vec<Frame>,
}

/// A path that keeps objects alive, root first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Retainer {
    /// `main.registry`, `map[string]*main.Session`, ...
    pub path: Vec<String>,
}

/// One verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// What it is.
    pub kind: FindingKind,
    /// How sure.
    pub confidence: Confidence,
    /// One line for people: what, where, how fast.
    pub summary: String,
    /// Bytes per second; `None` when the finding is not about growth.
    pub rate: Option<Interval>,
    /// Seconds until the limit at this rate; `None` when it is not reached.
    pub time_to_limit_seconds: Option<Interval>,
    /// Responsible sites, largest first.
    pub sites: Vec<Site>,
    /// Known retainers.
    pub retainers: Vec<Retainer>,
    /// The figures behind it, one sentence each.
    pub evidence: Vec<String>,
    /// Captures that show it.
    pub captures: Vec<CaptureId>,
    /// What to do next.
    pub next: String,
}

impl Finding {
    /// About nothing that grows or is named; whoever knows more adds it.
    pub fn new(kind: FindingKind, confidence: f64, summary: String, next: &str) -> Finding {
        Finding {
            kind,
            confidence: Confidence(confidence),
            summary,
            rate: None,
            time_to_limit_seconds: None,
            sites: Vec::new(),
            retainers: Vec::new(),
            evidence: Vec::new(),
            captures: Vec::new(),
            next: next.to_owned(),
        }
    }
}

/// The answer of a diagnosis: findings, most important first.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnosis {
    /// About whom.
    pub target: Target,
    /// When the evidence ends.
    pub time: Timestamp,
    /// How long it spans.
    pub span_seconds: f64,
    /// At least one; the first is the verdict.
    pub findings: Vec<Finding>,
    /// What could not be read, and why.
    pub warnings: Vec<String>,
}

impl Diagnosis {
    /// The kind of the first finding.
    pub fn verdict(&self) -> FindingKind {
        self.findings.first().map_or(FindingKind::InsufficientEvidence, |finding| finding.kind)
    }

    /// Reports whether any finding is a leak that is more likely than not.
    pub fn is_leak(&self) -> bool {
        self.findings.iter().any(|finding| finding.kind.is_leak() && finding.confidence.0 >= 0.5)
    }
}
