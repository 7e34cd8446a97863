//! Plain data that every other crate speaks: profiles, goroutines, memory
//! signals, object graphs, labelled series, targets, captures and findings.
//!
//! No I/O, no clocks, no serialisation. Wire formats have types of their own
//! and are converted by hand where they are read or written.

pub mod capture;
pub mod clock;
pub mod finding;
pub mod gctrace;
pub mod go;
pub mod heap;
pub mod memory;
pub mod metrics;
pub mod probe;
pub mod profile;
pub mod rss;
pub mod series;
pub mod strings;
pub mod target;
pub mod trace;
pub mod units;

pub use capture::{Capture, CaptureId, CaptureKind};
pub use finding::{Confidence, Diagnosis, Finding, FindingKind, Interval, Retainer, Site};
pub use go::{Frame, GoVersion, Goroutine, GoroutineGroup, GoroutineSnapshot, RuntimeMemory};
pub use heap::HeapGraph;
pub use memory::{
    CgroupMemory, CgroupVersion, HostMemory, Observation, Pressure, PressureLine, ProcessMemory,
};
pub use metrics::RuntimeMetrics;
pub use profile::{
    Function, FunctionId, Label, LabelValue, Line, LocationId, MappingId, Profile, SampleId,
    StackId, ValueType,
};
pub use rss::{Rss, RssKind};
pub use series::{Family, FamilyKind, Labels, Point};
pub use strings::{StrId, StringTable};
pub use target::{Target, TargetId, TargetSpec};
pub use units::{Addr, Bytes, Timestamp};
