//! Ranges of time: stopped worlds, collections, sweeps and assists.

use model::trace::{GoId, ProcId, Range, StackId, StringId, What};

use super::{Disorder, Marking, Outcome, Ranges, Scheduler, Step};
use crate::gotrace::spec;

fn begin(ranges: &mut Ranges, range: (u8, StringId)) -> Result<(), Disorder> {
    if ranges.contains(&range) {
        let name = spec::name(range.0);
        return Err(format!("discovered event already in-flight for when starting event {name}"));
    }
    ranges.push(range);
    Ok(())
}

/// A range that was there before the generation.
fn active(ranges: &mut Ranges, kind: u8, is_first_generation: bool) -> Result<(), Disorder> {
    let range = (kind, StringId(0));
    match (is_first_generation, ranges.contains(&range)) {
        (true, true) => {
            Err(format!("found named active range already in first gen: {}", spec::name(kind)))
        }
        (true, false) => {
            ranges.push(range);
            Ok(())
        }
        (false, true) => Ok(()),
        (false, false) => Err(format!("resource is missing active range: {}", spec::name(kind))),
    }
}

fn end(ranges: &mut Ranges, kind: u8) -> Result<StringId, Disorder> {
    match ranges.iter().position(|range| range.0 == kind) {
        Some(at) => Ok(ranges.swap_remove(at).1),
        None => Err(format!("tried to end event {}, but not in-flight", spec::name(kind))),
    }
}

impl Scheduler<'_> {
    pub(super) fn go_range_begin(&mut self, step: Step<'_>) -> Outcome {
        step.now.needs_all()?;
        let goroutine = step.now.goroutine;
        let kind = step.raw.kind;
        let (range, tells, stack) = if kind == spec::STW_BEGIN {
            let reason = StringId(step.argument(0));
            (Range::StopTheWorld { reason }, reason, step.stack(1))
        } else {
            (Range::Assist { goroutine }, StringId(0), step.stack(0))
        };
        begin(&mut self.current(step)?.ranges, (kind, tells))?;
        self.done(step, step.now, stack, What::RangeBegin(range))
    }

    pub(super) fn go_range_end(&mut self, step: Step<'_>) -> Outcome {
        step.now.needs_all()?;
        let goroutine = step.now.goroutine;
        let ranges = &mut self.current(step)?.ranges;
        let range = if step.raw.kind == spec::STW_END {
            Range::StopTheWorld { reason: end(ranges, spec::STW_BEGIN)? }
        } else {
            end(ranges, spec::GC_ASSIST_BEGIN)?;
            Range::Assist { goroutine }
        };
        self.done(step, step.now, StackId(0), What::RangeEnd(range))
    }

    /// Of any goroutine, also one that does not run.
    pub(super) fn assist_active(&mut self, step: Step<'_>) -> Outcome {
        let goroutine = GoId(step.argument(0) as i64);
        let Some(state) = self.goroutines.get_mut(&goroutine) else {
            return Err(format!(
                "uninitialized goroutine {} found during {}",
                goroutine.0,
                step.name()
            ));
        };
        active(&mut state.ranges, spec::GC_ASSIST_BEGIN, step.is_first_generation)?;
        let what = What::RangeActive(Range::Assist { goroutine });
        self.done(step, step.now, StackId(0), what)
    }

    pub(super) fn sweep_begin(&mut self, step: Step<'_>) -> Outcome {
        step.now.needs_proc()?;
        begin(&mut self.current_proc(step)?.ranges, (step.raw.kind, StringId(0)))?;
        self.done(step, step.now, step.stack(0), What::RangeBegin(sweep(step.now.proc, 0, 0)))
    }

    pub(super) fn sweep_active(&mut self, step: Step<'_>) -> Outcome {
        let id = ProcId(step.argument(0) as i64);
        let Some(proc) = self.procs.get_mut(&id) else {
            return Err(format!("encountered GCSweepActive for unknown proc {}", id.0));
        };
        active(&mut proc.ranges, spec::GC_SWEEP_BEGIN, step.is_first_generation)?;
        self.done(step, step.now, StackId(0), What::RangeActive(sweep(id, 0, 0)))
    }

    pub(super) fn sweep_end(&mut self, step: Step<'_>) -> Outcome {
        step.now.needs_proc()?;
        end(&mut self.current_proc(step)?.ranges, spec::GC_SWEEP_BEGIN)?;
        let range = sweep(step.now.proc, step.argument(0), step.argument(1));
        self.done(step, step.now, StackId(0), What::RangeEnd(range))
    }

    /// Marking was there before the generation. Begin and end carry numbers, because they
    /// may come from different threads.
    pub(super) fn gc_active(&mut self, step: Step<'_>) -> Outcome {
        let number = step.argument(0);
        if step.is_first_generation {
            if self.marking != Marking::Undetermined {
                return Err("GCActive in the first generation isn't first GC event".to_owned());
            }
            self.collections = number;
            self.marking = Marking::Yes;
        } else {
            if !self.is_next_collection(number) {
                return Ok(None);
            }
            if self.marking != Marking::Yes {
                return Err("encountered GCActive while GC was not in progress".to_owned());
            }
            self.collections = number;
            step.now.needs_all()?;
        }
        self.done(step, step.now, StackId(0), What::RangeActive(Range::Mark))
    }

    pub(super) fn gc_begin(&mut self, step: Step<'_>) -> Outcome {
        let number = step.argument(0);
        if self.marking != Marking::Undetermined {
            if !self.is_next_collection(number) {
                return Ok(None);
            }
            if self.marking == Marking::Yes {
                return Err("encountered GCBegin while GC was already in progress".to_owned());
            }
            step.now.needs_all()?;
        }
        self.collections = number;
        self.marking = Marking::Yes;
        self.done(step, step.now, step.stack(1), What::RangeBegin(Range::Mark))
    }

    pub(super) fn gc_end(&mut self, step: Step<'_>) -> Outcome {
        let number = step.argument(0);
        if !self.is_next_collection(number) {
            return Ok(None);
        }
        if self.marking != Marking::Yes {
            let state = self.marking;
            return Err(format!("encountered GCEnd when GC was in the state {state:?}"));
        }
        self.collections = number;
        self.marking = Marking::No;
        step.now.needs_all()?;
        self.done(step, step.now, StackId(0), What::RangeEnd(Range::Mark))
    }

    fn is_next_collection(&self, number: u64) -> bool {
        number == self.collections.wrapping_add(1)
    }
}

fn sweep(proc: ProcId, swept_bytes: u64, reclaimed_bytes: u64) -> Range {
    Range::Sweep { proc, swept_bytes, reclaimed_bytes }
}
