//! What probes see of a target in some seconds, for captures and for the command.
//!
//! Each is measured as it runs, and ends early when it costs more than it may.

mod alloc;
mod native;
mod pictures;
mod runs;

use std::time::Duration;

pub use alloc::{Allocations, AllocationsSoFar, allocations};
pub use native::{NativeSeen, NativeSoFar, native};
pub(crate) use pictures::{show_allocations, show_native};
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
