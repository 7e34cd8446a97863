//! Texts that Go programs print about themselves: the tail of `heap?debug=1` and
//! goroutine dumps (`goroutine?debug=2`, panics).

use std::collections::HashMap;

use model::{Frame, Goroutine, GoroutineGroup, GoroutineSnapshot, RuntimeMemory, Timestamp};

/// Reads the `# runtime.MemStats` part of `/debug/pprof/heap?debug=1`.
pub fn memstats(text: &str) -> RuntimeMemory {
    let line = |key: &str| -> Option<&str> {
        let find = |line: &'_ str| -> Option<usize> {
            let rest = line.strip_prefix("# ")?.strip_prefix(key)?;
            rest.strip_prefix(" = ").map(|value| line.len() - value.len())
        };
        text.lines().rev().take(64).find_map(|line| line.get(find(line)?..))
    };
    let number = |key: &str| line(key)?.split(' ').next()?.parse::<u64>().ok();
    let pair = |key: &str| -> Option<u64> { line(key)?.split(' ').nth(2)?.parse().ok() };
    let objects = number("Mallocs").zip(number("Frees")).map(|(m, f)| m.wrapping_sub(f));
    let metadata =
        [pair("MSpan"), pair("MCache"), number("BuckHashSys"), number("GCSys"), number("OtherSys")];
    RuntimeMemory {
        heap_alloc_bytes: number("HeapAlloc"),
        heap_in_use_bytes: number("HeapInuse"),
        heap_idle_bytes: number("HeapIdle"),
        heap_released_bytes: number("HeapReleased"),
        heap_objects: objects,
        total_alloc_bytes: number("TotalAlloc"),
        stacks_bytes: number("Stack"),
        metadata_bytes: metadata.iter().copied().sum(),
        sys_bytes: number("Sys"),
        heap_goal_bytes: number("NextGC"),
        gc_cycles: number("NumGC"),
        heap_profile_time: number("NumGC").and_then(|cycles| {
            let ring = line("PauseEnd")?.trim_matches(['[', ']']);
            let nanos = ring.split(' ').nth((cycles.checked_sub(2)? % 256) as usize)?;
            Some(Timestamp(nanos.parse::<i64>().ok()? / 1_000_000))
        }),
        gc_forced_cycles: number("NumForcedGC"),
        gc_cpu_fraction: line("GCCPUFraction").and_then(|value| value.parse().ok()),
        ..RuntimeMemory::default()
    }
}

/// States a traceback prints for goroutines that do not wait.
const STATES: [&str; 7] =
    ["idle", "runnable", "running", "syscall", "dead", "copystack", "preempted"];

/// Reads a goroutine dump; damaged blocks are skipped with a warning.
pub fn goroutines(text: &str) -> GoroutineSnapshot {
    let mut snapshot = GoroutineSnapshot::default();
    let mut stacks: HashMap<(Vec<Frame>, Option<Frame>), usize> = HashMap::new();
    let mut creators = Vec::new();
    let mut damaged = 0_u32;
    for block in text.split("\n\n").filter(|block| !block.trim().is_empty()) {
        let mut lines = block.trim_start().lines();
        let Some(mut goroutine) = lines.next().and_then(header) else {
            damaged += 1;
            continue;
        };
        let key = frames(lines);
        goroutine.stack = *stacks.entry(key).or_insert_with_key(|(frames, creator)| {
            snapshot.stacks.push(frames.clone());
            creators.push(creator.clone());
            creators.len() - 1
        });
        snapshot.goroutines.push(goroutine);
    }
    if damaged > 0 {
        snapshot
            .warnings
            .push(format!("{damaged} blocks of the goroutine dump were not understood"));
    }
    snapshot.groups = group(&snapshot.goroutines, &creators);
    snapshot
}

/// `goroutine 7 [chan receive, 5 minutes, locked to thread]:`
fn header(line: &str) -> Option<Goroutine> {
    let rest = line.strip_prefix("goroutine ")?;
    let (id, rest) = rest.split_once(' ')?;
    let open = rest.find('[')?;
    let inside = rest.get(open + 1..rest.rfind(']')?)?;
    let mut parts = inside.split(", ");
    let reason = parts.next()?.trim_end_matches(" (scan)");
    let minutes = parts.find_map(|part| part.strip_suffix(" minutes")?.parse::<f64>().ok());
    let state = STATES.into_iter().find(|state| *state == reason);
    Some(Goroutine {
        id: id.parse().ok()?,
        state: state.unwrap_or("waiting"),
        wait_reason: if state.is_some() { String::new() } else { reason.to_owned() },
        wait_seconds: minutes.map(|minutes| minutes * 60.0),
        ..Goroutine::default()
    })
}

/// Pairs of lines: `main.f(0x1, 0x2)` and `\t/path/file.go:12 +0x1d`.
fn frames<'a>(lines: impl Iterator<Item = &'a str>) -> (Vec<Frame>, Option<Frame>) {
    let mut frames: Vec<Frame> = Vec::new();
    let mut creator = None;
    let mut lines = lines.peekable();
    while let Some(line) = lines.next() {
        let position = lines.next_if(|next| next.starts_with('\t')).map(str::trim);
        let position = position.and_then(|text| text.split(' ').next()).unwrap_or("");
        let (file, line_number) = position.rsplit_once(':').unwrap_or((position, "0"));
        let (file, line_number) = (file.to_owned(), line_number.parse().unwrap_or(0));
        if let Some(name) = line.strip_prefix("created by ") {
            let name = name.split(" in goroutine").next().unwrap_or(name);
            creator = Some(Frame { function: name.to_owned(), file, line: line_number });
            continue;
        }
        if line.starts_with("...") {
            continue;
        }
        // The argument list is the last bracket; receivers have brackets too.
        let name = line.rfind('(').and_then(|end| line.get(..end)).unwrap_or(line);
        frames.push(Frame { function: name.to_owned(), file, line: line_number });
    }
    (frames, creator)
}

fn group(goroutines: &[Goroutine], creators: &[Option<Frame>]) -> Vec<GoroutineGroup> {
    let mut groups: HashMap<(usize, &'static str, &str), GoroutineGroup> = HashMap::new();
    for goroutine in goroutines {
        let key = (goroutine.stack, goroutine.state, goroutine.wait_reason.as_str());
        let group = groups.entry(key).or_insert_with(|| GoroutineGroup {
            state: goroutine.state,
            wait_reason: goroutine.wait_reason.clone(),
            stack: goroutine.stack,
            created_by: creators.get(goroutine.stack).cloned().flatten(),
            ..GoroutineGroup::default()
        });
        group.count += 1;
        group.wait_seconds_max = match (group.wait_seconds_max, goroutine.wait_seconds) {
            (Some(longest), Some(wait)) => Some(longest.max(wait)),
            (longest, wait) => longest.or(wait),
        };
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by(|a, b| {
        (b.count, a.stack, a.state, &a.wait_reason).cmp(&(
            a.count,
            b.stack,
            b.state,
            &b.wait_reason,
        ))
    });
    groups
}

#[cfg(test)]
mod tests {
    use super::{goroutines, memstats};

    #[test]
    fn dump_is_grouped() {
        let text = "goroutine 1 [chan receive, 5 minutes]:\nmain.main()\n\t/a/main.go:12 +0x1d\n\n\
            goroutine 7 [running]:\nmain.(*T).run(0x1, {0x2, 0x3})\n\t/a/t.go:7 +0x2\n\
            created by main.main in goroutine 1\n\t/a/main.go:9 +0x8\n\n\
            goroutine 8 [running]:\nmain.(*T).run(0x9, {0x2, 0x3})\n\t/a/t.go:7 +0x2\n\
            created by main.main in goroutine 1\n\t/a/main.go:9 +0x8\n\nnonsense\n";
        let snapshot = goroutines(text);
        assert_eq!(snapshot.groups.len(), 2);
        let first = &snapshot.groups[0];
        assert_eq!((first.count, first.state), (2, "running"));
        assert_eq!(first.created_by.as_ref().map(|frame| frame.line), Some(9));
        assert_eq!(snapshot.stacks[first.stack][0].function, "main.(*T).run");
        assert_eq!(snapshot.groups[1].wait_reason, "chan receive");
        assert_eq!(snapshot.groups[1].wait_seconds_max, Some(300.0));
        assert_eq!(snapshot.warnings.len(), 1);
    }

    #[test]
    fn memstats_are_read_from_the_tail() {
        let text = "heap profile: 1: 2 [3: 4] @ heap/1048576\n\n# runtime.MemStats\n# Alloc = 5\n\
            # HeapInuse = 77\n# Stack = 10 / 20\n# NumGC = 3\n";
        let memory = memstats(text);
        assert_eq!(memory.heap_in_use_bytes, Some(77));
        assert_eq!(memory.stacks_bytes, Some(10));
        assert_eq!(memory.gc_cycles, Some(3));
        assert_eq!(memory.heap_released_bytes, None);
    }
}
