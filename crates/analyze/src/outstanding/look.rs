//! What one look at malloc found, by the call that is responsible: read back from the profile that
//! the probe writes, so that the verdict is the same of what was just seen and of what was stored.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{CaptureId, Frame, Interval, Profile, StackId, Timestamp};

use super::{NativeFrame, is_cgo_stub, responsible};
use crate::code::{self, Owner};
use crate::frames;
use crate::samples::{Estimate, weight};

/// Calls that are kept of a look, those with the most bytes.
const SITES_MAX: usize = 20;
/// Calls of a stack that are kept.
const STACK_MAX: usize = 32;

/// What one look at malloc found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NativeLook {
    /// The capture that it is, if it is one.
    pub capture: Option<CaptureId>,
    /// When it ended.
    pub time: Timestamp,
    /// For how long what was asked for could count.
    pub span_seconds: f64,
    /// What was not freed at its end though it was as old as this.
    pub older_seconds: f64,
    /// All of it.
    pub total: Estimate,
    /// By the call that is responsible, that with the most bytes first.
    pub sites: Vec<NativeSite>,
}

/// A call that asked for memory which nobody freed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NativeSite {
    /// The call.
    pub frame: Frame,
    /// The Go function that called C, if one did.
    pub caller: Option<Frame>,
    /// What was not freed.
    pub live: Estimate,
    /// The stack with most of it, innermost call first.
    pub stack: Vec<Frame>,
}

/// What a profile says of the blocks that were left out of it.
pub fn older_comment(older: Duration) -> String {
    format!("{OLDER_BEFORE}{}{OLDER_AFTER}", older.as_millis())
}

const OLDER_BEFORE: &str = "blocks younger than ";
const OLDER_AFTER: &str = " ms are left out";

fn older_of(profile: &Profile) -> Option<f64> {
    let millis = |text: &str| {
        let number = text.strip_prefix(OLDER_BEFORE)?.strip_suffix(OLDER_AFTER)?;
        Some(number.parse::<u64>().ok()? as f64 / 1000.0)
    };
    profile.comments.iter().find_map(|comment| millis(profile.str(*comment)))
}

impl NativeLook {
    /// Reads a profile of what malloc gave and nobody freed; `None` when it is another profile. `module` is that of a Go
    /// program.
    pub fn of(
        profile: &Profile,
        module: &str,
        capture: Option<CaptureId>,
        time: Timestamp,
    ) -> Option<NativeLook> {
        let (objects, bytes) = (profile.column("inuse_objects")?, profile.column("inuse_space")?);
        let older_seconds = older_of(profile)?;
        let mut by_stack: BTreeMap<StackId, Estimate> = BTreeMap::new();
        let mut total = Estimate::default();
        for (id, stack) in profile.samples.ids().zip(&profile.samples.stacks) {
            let value = |column: usize| profile.samples.row(id).nth(column).unwrap_or(0).max(0);
            // All that was asked for has rows of its own.
            if value(objects) == 0 {
                continue;
            }
            let mean = value(bytes) / value(objects).max(1);
            let size = profile.num_label(id, "bytes").unwrap_or(mean).max(0).cast_unsigned();
            let samples = value(objects) as f64 / weight(size as f64, profile.period);
            let samples = samples.round() as u64;
            by_stack.entry(*stack).or_default().add(samples, size, profile.period);
            total.add(samples, size, profile.period);
        }
        let took = profile.duration_nanos.max(0) as f64 / 1e9;
        Some(NativeLook {
            capture,
            time,
            span_seconds: (took - older_seconds).max(0.0),
            older_seconds,
            total,
            sites: sites(profile, module, &by_stack),
        })
    }

    /// The look was long enough to tell a pace: in less time what is held for a moment looks as if
    /// nobody freed it. Looks that cost too much end within a second.
    pub(crate) fn has_pace(&self) -> bool {
        self.span_seconds >= 2.0
    }

    /// Bytes a second that the program kept of what it asked for.
    pub(crate) fn pace(&self, live: &Estimate) -> Interval {
        let half = 1.96 * live.bytes_error;
        let rate = |bytes: f64| bytes.max(0.0) / self.span_seconds.max(1e-9);
        let (low, high) = (rate(live.bytes - half), rate(live.bytes + half));
        Interval { estimate: rate(live.bytes), low, high }
    }

    /// The call's part of this look.
    pub(crate) fn site(&self, frame: &Frame) -> Option<&NativeSite> {
        self.sites.iter().find(|site| site.frame == *frame)
    }
}

fn sites(
    profile: &Profile,
    module: &str,
    by_stack: &BTreeMap<StackId, Estimate>,
) -> Vec<NativeSite> {
    // The first mapping is the program's own.
    let executable = profile.mappings.first().map_or("", |own| profile.str(own.filename));
    let mut largest: Vec<(&StackId, &Estimate)> = by_stack.iter().collect();
    largest.sort_by(|a, b| b.1.bytes.total_cmp(&a.1.bytes));
    let mut sites: BTreeMap<Frame, NativeSite> = BTreeMap::new();
    for (stack, live) in largest {
        let calls = frames::with_objects(profile, *stack);
        let frame = responsible(&calls, executable).cloned().map(Frame::from).unwrap_or_default();
        let site = sites.entry(frame).or_insert_with_key(|frame| NativeSite {
            frame: frame.clone(),
            caller: go_caller(&calls, module),
            live: Estimate::default(),
            stack: calls.into_iter().take(STACK_MAX).map(Frame::from).collect(),
        });
        site.live.join(live);
    }
    let mut sites: Vec<NativeSite> = sites.into_values().collect();
    sites.sort_by(|a, b| b.live.bytes.total_cmp(&a.live.bytes));
    sites.truncate(SITES_MAX);
    sites
}

/// The innermost Go function of the program's own that called C, else the innermost of any.
fn go_caller(calls: &[NativeFrame], module: &str) -> Option<Frame> {
    let crossing = calls.iter().position(|call| call.function == "runtime.cgocall")?;
    let go = || calls.iter().skip(crossing).filter(|call| !is_cgo_stub(&call.function));
    let of = |wanted| go().find(|call| code::owner(&call.function, module) == wanted);
    let found = of(Owner::Program).or_else(|| of(Owner::Dependency));
    found
        .or_else(|| go().find(|call| !call.function.starts_with("runtime.")))
        .cloned()
        .map(Frame::from)
}

#[cfg(test)]
mod tests {
    use model::profile::{Location, Mapping};
    use model::{Function, FunctionId, Label, LabelValue, Line, LocationId, MappingId};

    use super::*;

    /// A profile of stacks of `function@object`, with the size of a block and how many were sampled.
    fn profile(period: i64, stacks: &[(&[&str], u64, u64)]) -> Profile {
        let mut profile = Profile::new(&[("inuse_objects", "count"), ("inuse_space", "bytes")]);
        (profile.period, profile.duration_nanos) = (period, 20_000_000_000);
        let comment = profile.strings.intern(&older_comment(Duration::from_secs(4)));
        profile.comments.push(comment);
        let key = profile.strings.intern("bytes");
        for (calls, size, samples) in stacks {
            let stack: Vec<LocationId> =
                calls.iter().map(|call| location(&mut profile, call)).collect();
            let weight = if period <= 1 {
                1.0
            } else {
                1.0 / (1.0 - (-(*size as f64) / period as f64).exp())
            };
            let objects = *samples as f64 * weight;
            let values = [objects.round() as i64, (objects * *size as f64).round() as i64];
            let label = Label { key, value: LabelValue::Num(*size as i64, key) };
            profile.push_sample(&stack, &values, &[label]);
        }
        profile
    }

    fn location(profile: &mut Profile, call: &str) -> LocationId {
        let (function, object) = call.split_once('@').unwrap();
        let filename = profile.strings.intern(object);
        let known = profile.mappings.iter().position(|of| of.filename == filename);
        let mapping = known.unwrap_or_else(|| {
            profile.mappings.push(Mapping { filename, ..Mapping::default() });
            profile.mappings.len() - 1
        });
        let name = profile.strings.intern(function);
        profile.functions.push(Function { name, ..Function::default() });
        let function = FunctionId(profile.functions.len() as u32 - 1);
        let lines = vec![Line { function, line: 7, column: 0 }];
        let mapping = Some(MappingId(mapping as u32));
        profile.locations.push(Location { mapping, lines, ..Location::default() });
        LocationId(profile.locations.len() as u32 - 1)
    }

    const CGO: [&str; 8] = [
        "keep@/srv/shop",
        "_cgo_12ab_Cfunc_keep@/srv/shop",
        "runtime.asmcgocall.abi0@/srv/shop",
        "runtime.cgocall@/srv/shop",
        "main._Cfunc_keep@/srv/shop",
        "github.com/x/y.Wrap@/srv/shop",
        "shop/session.Track@/srv/shop",
        "runtime.goexit@/srv/shop",
    ];

    #[test]
    fn a_look_names_who_asked_and_which_go_function_called_c() {
        let library = [
            "sqlite3MemMalloc@/usr/lib/libsqlite3.so.0",
            "_cgo_12ab_Cfunc_open@/srv/shop",
            "runtime.cgocall@/srv/shop",
            "main._Cfunc_open@/srv/shop",
            "main.open@/srv/shop",
        ];
        let profile = profile(1, &[(&CGO, 100, 30), (&library, 1000, 1), (&CGO[..1], 50, 2)]);
        let look = NativeLook::of(&profile, "shop", Some(CaptureId(4)), Timestamp(9)).unwrap();
        assert_eq!((look.total.bytes, look.span_seconds, look.older_seconds), (4100.0, 16.0, 4.0));
        let sites: Vec<(&str, Option<&str>, f64)> = look
            .sites
            .iter()
            .map(|site| {
                let caller = site.caller.as_ref().map(|frame| frame.function.as_str());
                (site.frame.function.as_str(), caller, site.live.bytes)
            })
            .collect();
        let expected = [
            ("keep", Some("shop/session.Track"), 3100.0),
            ("main.open", Some("main.open"), 1000.0),
        ];
        assert_eq!(sites, expected);
        assert_eq!(look.sites[0].stack.len(), CGO.len());
    }

    #[test]
    fn samples_are_counted_again_with_their_error() {
        let profile = profile(1000, &[(&CGO, 500, 40), (&CGO, 2000, 10)]);
        let look = NativeLook::of(&profile, "shop", None, Timestamp(0)).unwrap();
        assert_eq!(look.total.samples, 50);
        // By hand: 1 / (1 - exp(-size / 1000)) of each is 2.5415 and 1.15652.
        let bytes = 40.0 * 2.5415 * 500.0 + 10.0 * 1.15652 * 2000.0;
        let variance = 40.0 * 2.5415 * 1.5415 * 500.0_f64.powi(2)
            + 10.0 * 1.15652 * 0.15652 * 2000.0_f64.powi(2);
        assert!((look.total.bytes / bytes - 1.0).abs() < 1e-4, "{:?}", look.total);
        assert!((look.total.bytes_error / variance.sqrt() - 1.0).abs() < 1e-4, "{:?}", look.total);
        let pace = look.pace(&look.total);
        assert!((pace.estimate - look.total.bytes / 16.0).abs() < 1e-6);
        assert!(pace.low < pace.estimate && pace.estimate < pace.high);
    }

    #[test]
    fn other_profiles_are_no_looks() {
        let mut heap = profile(1, &[(&CGO, 100, 1)]);
        heap.comments.clear();
        assert_eq!(NativeLook::of(&heap, "shop", None, Timestamp(0)), None);
        let faults = Profile::new(&[("faults", "count")]);
        assert_eq!(NativeLook::of(&faults, "shop", None, Timestamp(0)), None);
        let empty = profile(1, &[]);
        let look = NativeLook::of(&empty, "shop", None, Timestamp(0)).unwrap();
        assert!(look.sites.is_empty() && look.total.bytes == 0.0 && look.has_pace());
    }
}
