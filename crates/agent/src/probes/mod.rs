//! What probes see of a target in some seconds, for captures and for the command.
//!
//! Each is measured as it runs, and ends early when it costs more than it may.

mod alloc;
mod faults;
mod mappings;
mod native;
mod pictures;
mod process;
mod runs;

use std::time::Duration;

use model::Profile;

pub use alloc::{Allocations, AllocationsSoFar, allocations};
pub use faults::{FaultLook, FaultRow, FaultsSeen};
pub use mappings::{MappingLook, MappingsSeen};
pub use native::{NativeSeen, NativeSoFar, native};
pub(crate) use pictures::{show_allocations, show_native};
pub use process::AnyProcess;
pub use runs::{Begun, Figures, Picture, PictureSite, Run, Runs, Seen};

/// What a probe that the watch has at work may cost, as a share of a core.
pub const COST_MAX: f64 = 0.05;
/// Before, a measurement says nothing.
const COST_AFTER: Duration = Duration::from_secs(1);

/// Why a probe ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    /// Whoever asked said so.
    Asked,
    /// The target ended.
    Ended,
    /// The target became another program.
    Replaced,
    /// It cost this share of a core, more than it may.
    TooDear(f64),
}

/// Whether so many events, of which each takes the target so much longer, cost more than they may.
fn too_dear(each: Duration, events: u64, elapsed: Duration, cost_max: f64) -> Option<End> {
    let share = each.as_secs_f64() * events as f64 / elapsed.as_secs_f64();
    (elapsed > COST_AFTER && share > cost_max).then_some(End::TooDear(share))
}

/// Notes when a look ended, and how long it took.
fn stamp(profile: &mut Profile, took: Duration) {
    profile.time_nanos = capture::now().0.saturating_mul(1_000_000);
    profile.duration_nanos = i64::try_from(took.as_nanos()).unwrap_or(i64::MAX);
}
