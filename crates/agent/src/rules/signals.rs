//! What rules can ask about: the columns of an observation by the API's names, and what is
//! worked out of them.

use std::sync::OnceLock;

use model::Observation;

use super::units::Unit;

/// How the values of a signal come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalKind {
    /// Goes up and down.
    Level,
    /// Only grows, but for restarts: its rate is what tells.
    Counter,
}

/// A signal.
#[derive(Debug)]
pub struct Signal {
    /// As written in rules.
    pub name: &'static str,
    /// Its values.
    pub unit: Unit,
    /// How they come about.
    pub kind: SignalKind,
    /// What it is, where it is no column of an observation.
    pub help: &'static str,
    read: Read,
}

#[derive(Debug)]
enum Read {
    Column(fn(&Observation) -> Option<i64>),
    Derived(fn(&Observation) -> Option<f64>),
}

impl Signal {
    /// The value in an observation; `None` is unknown.
    pub fn value(&self, observation: &Observation) -> Option<f64> {
        match self.read {
            Read::Column(read) => read(observation).map(|value| value as f64),
            Read::Derived(read) => read(observation),
        }
    }

    /// For people: `cgroup working set` of `cgroup_working_set_bytes`.
    pub fn words(&self) -> String {
        self.name.trim_end_matches("_bytes").replace('_', " ")
    }
}

const COUNTERS: [&str; 3] = ["total_alloc_bytes", "gc_cycles", "oom_kills"];

type Derived = (&'static str, Unit, &'static str, fn(&Observation) -> Option<f64>);

/// Signals that are no columns.
const DERIVED: [Derived; 6] = [
    (
        "used_bytes",
        Unit::Bytes,
        "what counts against the limit that kills: the working set of the cgroup, or what the machine has in use",
        used,
    ),
    (
        "limit_share",
        Unit::Percent,
        "used_bytes as a share of the limit that kills: the cgroup's, else the machine's memory",
        limit_share,
    ),
    (
        "settled_bytes",
        Unit::Bytes,
        "used_bytes less what the next collection may free and idle heap: what the program needs",
        settled,
    ),
    (
        "settled_share",
        Unit::Percent,
        "settled_bytes as a share of the limit that kills",
        settled_share,
    ),
    (
        "unreturned_bytes",
        Unit::Bytes,
        "idle heap that the Go runtime has not given back",
        unreturned,
    ),
    (
        "outside_go_bytes",
        Unit::Bytes,
        "resident memory less what the Go runtime has mapped: cgo, mmap, the binary",
        outside_go,
    ),
];

/// All signals: columns in their order, then derived ones.
pub fn signals() -> &'static [Signal] {
    static SIGNALS: OnceLock<Vec<Signal>> = OnceLock::new();
    SIGNALS.get_or_init(|| {
        let column = |field: &'static store::Field| {
            let unit = match field.name {
                name if name.ends_with("_bytes") => Unit::Bytes,
                name if name.ends_with("_percent") => Unit::Percent,
                _ => Unit::Count,
            };
            let is_counter = COUNTERS.contains(&field.name);
            let kind = if is_counter { SignalKind::Counter } else { SignalKind::Level };
            Signal { name: field.name, unit, kind, help: "", read: Read::Column(field.get) }
        };
        let derived = |(name, unit, help, read): &Derived| {
            let (kind, read) = (SignalKind::Level, Read::Derived(*read));
            Signal { name, unit: *unit, kind, help, read }
        };
        store::fields().iter().map(column).chain(DERIVED.iter().map(derived)).collect()
    })
}

/// The signal of that name, or what may have been meant.
pub(super) fn signal(name: &str) -> Result<&'static Signal, String> {
    if let Some(found) = signals().iter().find(|signal| signal.name == name) {
        return Ok(found);
    }
    let names = signals().iter().map(|signal| signal.name);
    Err(match nearest(name, names) {
        Some(meant) => format!("there is no signal {name:?}; did you mean {meant}?"),
        None => format!("there is no signal {name:?}; `memsight rules signals` lists them"),
    })
}

/// The candidate that a wrong word was probably meant to be.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    let scored = candidates.filter_map(|candidate| {
        let is_part = word.len() > 2 && (candidate.contains(word) || word.contains(candidate));
        let distance = if is_part { 1 } else { edit_distance(word, candidate) };
        (distance <= candidate.len() / 3).then_some((distance, candidate))
    });
    scored.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

/// Levenshtein's, by bytes.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut before = i + 1;
        for (right, cell) in b.bytes().zip(row.iter_mut().skip(1)) {
            let changed = diagonal + usize::from(left != right);
            diagonal = *cell;
            before = changed.min(before + 1).min(*cell + 1);
            *cell = before;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// Which limit a share is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LimitOf {
    /// The cgroup's; without one GOMEMLIMIT where it is lower than the machine's memory; else that.
    #[default]
    Applying,
    /// The tightest of the cgroup and its ancestors.
    Cgroup,
    /// GOMEMLIMIT.
    GoMemLimit,
    /// The machine's memory.
    Host,
}

impl LimitOf {
    /// The words in rules.
    pub const WORDS: [(&'static str, LimitOf); 4] = [
        ("limit", LimitOf::Applying),
        ("cgroup", LimitOf::Cgroup),
        ("gomemlimit", LimitOf::GoMemLimit),
        ("host", LimitOf::Host),
    ];

    /// The limit in bytes and what it is called; `None` where there is none or it is unknown.
    pub fn bytes(self, observation: &Observation) -> Option<(f64, &'static str)> {
        let cgroup = positive(observation.cgroup.limit_bytes).map(|b| (b, "the cgroup's limit"));
        let unset = |limit: &i64| *limit < i64::MAX && *limit > 0;
        let go = observation.runtime.gomemlimit_bytes.filter(unset);
        let go = go.map(|bytes| (bytes as f64, "GOMEMLIMIT"));
        let host = positive(observation.host.total_bytes).map(|b| (b, "the machine's memory"));
        match self {
            LimitOf::Cgroup => cgroup,
            LimitOf::GoMemLimit => go,
            LimitOf::Host => host,
            LimitOf::Applying => cgroup.or_else(|| {
                let both = [go, host].into_iter().flatten();
                both.min_by(|a, b| a.0.total_cmp(&b.0))
            }),
        }
    }
}

fn positive(bytes: Option<u64>) -> Option<f64> {
    bytes.filter(|bytes| *bytes > 0).map(|bytes| bytes as f64)
}

/// The limit whose crossing kills, and what counts against it.
pub(super) fn kill_limit(observation: &Observation) -> Option<(f64, f64, &'static str)> {
    let cgroup = &observation.cgroup;
    if let Some((limit, name)) = LimitOf::Cgroup.bytes(observation) {
        let used = cgroup.working_set_bytes.or(cgroup.usage_bytes)?;
        return Some((used as f64, limit, name));
    }
    let (limit, name) = LimitOf::Host.bytes(observation)?;
    let available = observation.host.available_bytes?;
    Some((limit - available as f64, limit, name))
}

fn used(observation: &Observation) -> Option<f64> {
    kill_limit(observation).map(|(used, _, _)| used)
}

fn limit_share(observation: &Observation) -> Option<f64> {
    kill_limit(observation).map(|(used, limit, _)| used / limit * 100.0)
}

fn settled(observation: &Observation) -> Option<f64> {
    let runtime = &observation.runtime;
    let garbage = runtime.heap_alloc_bytes?.saturating_sub(runtime.heap_live_bytes?);
    Some((used(observation)? - garbage as f64 - unreturned(observation)?).max(0.0))
}

fn settled_share(observation: &Observation) -> Option<f64> {
    let (_, limit, _) = kill_limit(observation)?;
    Some(settled(observation)? / limit * 100.0)
}

fn unreturned(observation: &Observation) -> Option<f64> {
    let runtime = &observation.runtime;
    Some(runtime.heap_idle_bytes?.saturating_sub(runtime.heap_released_bytes?) as f64)
}

fn outside_go(observation: &Observation) -> Option<f64> {
    let runtime = &observation.runtime;
    let go = runtime.sys_bytes?.saturating_sub(runtime.heap_released_bytes?);
    Some(observation.process.rss_bytes? as f64 - go as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_get_a_suggestion() {
        let check = |name: &str, meant: &str| {
            let error = signal(name).unwrap_err();
            assert!(error.ends_with(&format!("did you mean {meant}?")), "{error}");
        };
        check("rss_byte", "rss_bytes");
        check("gorutines", "goroutines");
        check("working_set_bytes", "cgroup_working_set_bytes");
        assert!(signal("xyzzy").unwrap_err().contains("lists them"));
        assert!(signal(&"a".repeat(10_000)).is_err());
        for known in signals() {
            assert!(std::ptr::eq(signal(known.name).unwrap(), known));
        }
        assert!(signals().len() > store::series_names().len());
    }

    #[test]
    fn the_limit_that_applies() {
        let mut observation = Observation::default();
        let limit = |o: &Observation| LimitOf::Applying.bytes(o).map(|(bytes, _)| bytes);
        assert_eq!(limit(&observation), None);
        observation.host.total_bytes = Some(1000);
        observation.runtime.gomemlimit_bytes = Some(i64::MAX);
        assert_eq!(limit(&observation), Some(1000.0));
        observation.runtime.gomemlimit_bytes = Some(800);
        assert_eq!(limit(&observation), Some(800.0));
        observation.runtime.gomemlimit_bytes = Some(2000);
        assert_eq!(limit(&observation), Some(1000.0));
        observation.cgroup.limit_bytes = Some(3000);
        assert_eq!(limit(&observation), Some(3000.0));
        assert_eq!(limit_share(&observation), None, "unknown usage is not zero");
        observation.cgroup.working_set_bytes = Some(1500);
        assert_eq!(limit_share(&observation), Some(50.0));
        assert_eq!(settled(&observation), None);
        let runtime = &mut observation.runtime;
        (runtime.heap_alloc_bytes, runtime.heap_live_bytes) = (Some(700), Some(200));
        (runtime.heap_idle_bytes, runtime.heap_released_bytes) = (Some(300), Some(100));
        assert_eq!(settled(&observation), Some(800.0));
    }
}
