//! What a rule asks for a target, done in order: captures, pairs of them, programs, notices.
//!
//! A capture is checked for harm first, taken, read back, and stored durably under the rule's
//! name. What it is called is known to later actions. An action that fails does not keep the
//! later ones from being done.

mod exec;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use capture::{ErrorKind, LiveTarget};
use model::{Capture, CaptureId, CaptureKind, TargetId};
use store::NewTrigger;

use crate::captures::{self, Captures, HeapOf, TakeError, Taken, verify};
use crate::rules::{Action, Take, expand};

pub use exec::{Finished, run_program};

/// Why and for whom actions are done.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The rule, which captures are stored under.
    pub rule: &'a str,
    /// The target.
    pub target: TargetId,
    /// How it is read.
    pub live: &'a LiveTarget,
    /// The value that made the rule fire.
    pub value: Option<f64>,
    /// One line that says why it fired.
    pub reason: &'a str,
    /// Memory is about to run out: heap profiles are those of this moment, and what is
    /// scheduled waits.
    pub is_urgent: bool,
    /// Set when the agent stops: waiting ends.
    pub stop: &'a AtomicBool,
    /// What was read of it moments ago; taken where it can no longer be read.
    pub glimpse: Option<&'a Glimpse>,
}

/// What says most about a target and takes milliseconds to read, in memory.
#[derive(Clone, Debug, Default)]
pub struct Glimpse(BTreeMap<CaptureKind, Taken>);

impl Glimpse {
    /// Reads heap profile and goroutines as they are now, as far as they can be read.
    pub fn of(live: &LiveTarget) -> Glimpse {
        let heap = captures::heap(live, HeapOf::Now).ok();
        let goroutines = captures::goroutines(live).ok();
        let taken = [(CaptureKind::Heap, heap), (CaptureKind::Goroutine, goroutines)];
        Glimpse(taken.into_iter().filter_map(|(kind, taken)| Some((kind, taken?))).collect())
    }

    /// Nothing could be read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What reading it cost.
    pub fn cost(&self) -> Duration {
        self.0.values().map(|taken| taken.cost).sum()
    }
}

/// A capture that an action stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Its name for later actions.
    pub name: String,
    /// The capture.
    pub capture: Capture,
    /// Where its bytes lie.
    pub path: PathBuf,
}

/// How an action ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The captures that were stored; none for notices and programs.
    Done(Vec<CaptureId>),
    /// It could do harm, or does not work with this target.
    Refused(String),
    /// It went wrong; what to do is part of the text.
    Failed(String),
}

/// Tells a receiver; called with [`Action::Notify`] and the captures so far. It should only
/// hand over: whatever waits for an answer holds up the later actions.
pub type Tell<'a> = &'a mut dyn FnMut(&Action, &[Output]) -> Result<(), String>;

/// Does the actions in order; returns how each ended, and all captures.
pub fn run(
    captures: &Captures,
    request: &Request<'_>,
    actions: &[Action],
    tell: Tell<'_>,
) -> (Vec<Outcome>, Vec<Output>) {
    let _urgent = request.is_urgent.then(|| captures.urgent());
    let mut early = match request.is_urgent {
        true => taken_early(captures, request, actions),
        false => Early::new(),
    };
    let mut outputs = Vec::new();
    let mut outcomes = Vec::with_capacity(actions.len());
    for action in actions {
        outcomes.push(match action {
            Action::Capture { kinds, name } => {
                take_all(captures, request, kinds, name.as_deref(), &mut early, &mut outputs)
            }
            Action::Pair { kind, gcs_apart, name } => {
                let name = name.as_deref().unwrap_or(kind.stored_as().as_str());
                pair(captures, request, *kind, *gcs_apart, name, &mut outputs)
            }
            Action::Notify { .. } => match tell(action, &outputs) {
                Ok(()) => Outcome::Done(Vec::new()),
                Err(why) => Outcome::Failed(why),
            },
            Action::Exec { argv, timeout } => {
                let timeout = Duration::from_millis(timeout.unsigned_abs());
                execute(request, argv, timeout, &outputs)
            }
        });
    }
    settle(captures, request, &outputs);
    (outcomes, outputs)
}

/// What was read of a target before anything was written: disks are slow, and it may be gone soon.
type Early = BTreeMap<CaptureKind, Taken>;

/// Reads what says most about a target and takes milliseconds, as far as it is asked for.
fn taken_early(captures: &Captures, request: &Request<'_>, actions: &[Action]) -> Early {
    let asked = |kind: CaptureKind| {
        let mut kinds = actions.iter().flat_map(|action| match action {
            Action::Capture { kinds, .. } => kinds.as_slice(),
            _ => &[],
        });
        kinds.any(|take| *take == Take::Kind(kind))
    };
    let kinds = [CaptureKind::Heap, CaptureKind::Goroutine].into_iter().filter(|kind| asked(*kind));
    // What fails is tried again in its turn, and its reason told.
    let taken = |kind| {
        let now = captures.refuse_harm(kind, request.live);
        let now = now.and_then(|()| take_small(request, kind)).ok();
        let before = || request.glimpse.and_then(|glimpse| glimpse.0.get(&kind)).cloned();
        Some((kind, now.or_else(before)?))
    };
    kinds.filter_map(taken).collect()
}

/// What was captured, each once: a capture may go by several names.
pub(crate) fn captured(outputs: &[Output]) -> Vec<CaptureId> {
    let ids: BTreeSet<CaptureId> = outputs.iter().map(|output| output.capture.id).collect();
    ids.into_iter().collect()
}

/// Enters what was captured as the rule's, and lets older captures of rules go for it.
fn settle(captures: &Captures, request: &Request<'_>, outputs: &[Output]) {
    let ids = captured(outputs);
    let Request { target, rule, value, .. } = *request;
    let (time, score) = (capture::now(), value.unwrap_or(0.0));
    let new = NewTrigger { target, rule, time, score, captures: &ids };
    let keep = captures.store.trigger_retention();
    if let Err(error) = captures.store.put_trigger(&new, &keep) {
        captures.not_kept(target, &format!("captures of {rule} stay without a limit: {error}"));
    }
}

/// What stands for a reference in the texts of actions; `None` where nothing does.
pub fn value_of(request: &Request<'_>, outputs: &[Output], name: &str) -> Option<String> {
    let target = request.live.target();
    match name {
        "rule.name" => return Some(request.rule.to_owned()),
        "target.id" => return Some(request.target.0.to_string()),
        "target.name" => return Some(target.name.clone()),
        "target.pid" => return target.pid.map(|pid| pid.to_string()),
        "time" => return Some(capture::now().0.to_string()),
        "value" => return request.value.map(|value| value.to_string()),
        "reason" => return Some(request.reason.to_owned()),
        _ => {}
    }
    if let Some(label) = name.strip_prefix("target.labels.") {
        return target.labels.get(label).cloned();
    }
    let (name, part) = name.strip_prefix("captures.")?.rsplit_once('.')?;
    let output = outputs.iter().rev().find(|output| output.name == name)?;
    match part {
        "path" => Some(output.path.display().to_string()),
        "id" => Some(output.capture.id.0.to_string()),
        "kind" => Some(output.capture.kind.as_str().to_owned()),
        "bytes" => Some(output.capture.bytes.to_string()),
        _ => None,
    }
}

fn take_all(
    captures: &Captures,
    request: &Request<'_>,
    kinds: &[Take],
    name: Option<&str>,
    early: &mut Early,
    outputs: &mut Vec<Output>,
) -> Outcome {
    let (mut ids, mut failure) = (Vec::new(), None);
    for (index, kind) in kinds.iter().enumerate() {
        let word = kind.stored_as().as_str();
        match take(captures, request, *kind, early) {
            Ok(capture) => {
                ids.push(capture.id);
                let full = name.map_or_else(|| word.to_owned(), |name| format!("{name}.{word}"));
                output(captures, &capture, &full, outputs);
                if let (0, Some(name)) = (index, name) {
                    output(captures, &capture, name, outputs);
                }
            }
            // The others may still work, unless the target has ended.
            Err(error) => {
                let is_gone = is_gone(&error);
                failure.get_or_insert(error);
                if is_gone && early.is_empty() {
                    break;
                }
            }
        }
    }
    failure.map_or(Outcome::Done(ids), failed)
}

fn output(captures: &Captures, capture: &Capture, name: &str, outputs: &mut Vec<Output>) {
    if let Ok(path) = captures.store.capture_path(capture.id) {
        outputs.push(Output { name: name.to_owned(), capture: capture.clone(), path });
    }
}

fn is_gone(error: &TakeError) -> bool {
    matches!(error, TakeError::Capture(error) if error.kind() == ErrorKind::Gone)
}

fn failed(error: TakeError) -> Outcome {
    match error {
        TakeError::Refused(why) => Outcome::Refused(why),
        TakeError::Capture(capture::CaptureError::Unsupported(why)) => Outcome::Refused(why),
        error => Outcome::Failed(match error.next_step() {
            Some(next) => format!("{error} ({next})"),
            None => error.to_string(),
        }),
    }
}

/// Takes one capture and stores it, if it can do no harm and shows something.
fn take(
    captures: &Captures,
    request: &Request<'_>,
    take: Take,
    early: &mut Early,
) -> Result<Capture, TakeError> {
    let Request { target, live, rule, .. } = *request;
    let kind = take.stored_as();
    let result = match take {
        Take::Lasting(..) | Take::Kind(CaptureKind::Graph) => {
            let turn = captures.turn(request.stop);
            let _turn = turn.ok_or_else(|| {
                TakeError::Refused("another heavy capture did not end in time".to_owned())
            })?;
            captures.refuse_harm(kind, live)?;
            match take {
                Take::Lasting(kind, millis) => {
                    let length = Duration::from_millis(millis.unsigned_abs());
                    lasting(captures, request, kind, length)
                }
                Take::Kind(_) => captures.graph(target, rule, live),
            }
        }
        Take::Kind(kind) => {
            let taken = early.remove(&kind).map_or_else(
                || captures.refuse_harm(kind, live).and_then(|()| take_small(request, kind)),
                Ok,
            );
            taken.and_then(|taken| {
                verify(&taken)?;
                Ok(captures.keep(target, rule, &taken)?)
            })
        }
    };
    if let Ok(capture) = &result {
        captures.cpu.spend(Duration::from_micros(capture.cost_micros), Instant::now());
    }
    result
}

fn lasting(
    captures: &Captures,
    request: &Request<'_>,
    kind: CaptureKind,
    length: Duration,
) -> Result<Capture, TakeError> {
    let Request { target, live, rule, stop, .. } = *request;
    if kind == CaptureKind::Trace {
        return captures.trace(target, rule, live, length);
    }
    let begun = captures.runs.begin(target, kind, rule, length);
    let taken = captures::probe(live, begun.run(), stop)?;
    verify(&taken)?;
    Ok(captures.keep(target, rule, &taken)?)
}

fn take_small(request: &Request<'_>, kind: CaptureKind) -> Result<Taken, TakeError> {
    let live = request.live;
    Ok(match kind {
        CaptureKind::Heap if request.is_urgent => captures::heap(live, HeapOf::Now)?,
        CaptureKind::Heap => captures::heap(live, HeapOf::Published)?,
        CaptureKind::Goroutine => captures::goroutines(live)?,
        CaptureKind::GoroutineLeak => captures::goroutine_leak(live)?,
        CaptureKind::Runtime => captures::metrics(live)?,
        CaptureKind::Rss => captures::rss(live)?,
        CaptureKind::Graph
        | CaptureKind::Trace
        | CaptureKind::Alloc
        | CaptureKind::Native
        | CaptureKind::Faults
        | CaptureKind::Mmap => {
            return Err(TakeError::Refused(format!("{} is no small capture", kind.as_str())));
        }
    })
}

/// Takes two captures between which the collector ran so often: what differs survived.
fn pair(
    captures: &Captures,
    request: &Request<'_>,
    kind: Take,
    gcs_apart: u32,
    name: &str,
    outputs: &mut Vec<Output>,
) -> Outcome {
    // Both are what the program publishes, or the first would have garbage that the second has not.
    let request = &Request { is_urgent: false, ..*request };
    let first = match cycles(request.live).and_then(|cycles| {
        let capture = take(captures, request, kind, &mut Early::new())?;
        Ok((cycles, capture))
    }) {
        Ok(first) => first,
        Err(error) => return failed(error),
    };
    let (cycles, base) = first;
    output(captures, &base, &format!("{name}.base"), outputs);
    if let Err(error) = wait_for_cycle(request, cycles.saturating_add(gcs_apart.into())) {
        return failed(error);
    }
    match take(captures, request, kind, &mut Early::new()) {
        Ok(capture) => {
            output(captures, &capture, name, outputs);
            Outcome::Done(vec![base.id, capture.id])
        }
        Err(error) => failed(error),
    }
}

/// Collections so far.
fn cycles(live: &LiveTarget) -> Result<u64, TakeError> {
    let cycles = live.observe()?.runtime.gc_cycles;
    cycles.ok_or_else(|| TakeError::Refused("its collections cannot be counted".to_owned()))
}

fn wait_for_cycle(request: &Request<'_>, wanted: u64) -> Result<(), TakeError> {
    /// The runtime forces a collection every two minutes.
    const AT_MOST: Duration = Duration::from_secs(300);
    const STEP: Duration = Duration::from_millis(100);
    let started = Instant::now();
    while cycles(request.live)? < wanted {
        if request.stop.load(Ordering::Relaxed) {
            return Err(TakeError::Refused("memsight stops".to_owned()));
        }
        if started.elapsed() > AT_MOST {
            let why = "the second of the pair was not taken: the collector did not run so often \
                       within 5 minutes";
            return Err(TakeError::Refused(why.to_owned()));
        }
        std::thread::sleep(STEP);
    }
    Ok(())
}

fn execute(
    request: &Request<'_>,
    argv: &[String],
    timeout: Duration,
    outputs: &[Output],
) -> Outcome {
    let value = |name: &str| value_of(request, outputs, name);
    let argv: Vec<String> = argv.iter().map(|text| expand(text, value)).collect();
    match run_program(&argv, timeout, request.stop) {
        Ok(Finished { is_success: true, .. }) => Outcome::Done(Vec::new()),
        Ok(finished) => Outcome::Failed(finished.text()),
        Err(error) => Outcome::Failed(error),
    }
}
