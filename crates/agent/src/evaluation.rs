//! Prometheus's rule files, evaluated over the store of this machine: recorded series go where all
//! series go, alerts to who tells people. States of alerts outlive the agent.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use model::clock::ClockWatch;
use model::series::{NAME, STALE, Sample, Value, is_stale};
use model::{Family, Labels, Point, Timestamp};
use promql::Options;
use promql::rules::{Alert, AlertState, Environment, GroupState, RuleGroup, SavedAlert};
use serde_json::{Value as Json, json};
use store::{SeriesStore, Store};

use crate::events::{Event, Publish};
use crate::failures::Part;
use crate::query::StoredSeries;
use crate::sink::Sink;

/// The name under which states of alerts are kept.
const DOCUMENT: &str = "alerts";
/// An evaluation that takes longer is given up.
const TIMEOUT: Duration = Duration::from_secs(60);
const KEEP_EVERY: Duration = Duration::from_secs(15);
const TICK: Duration = Duration::from_millis(200);

/// Takes all alerts of all groups that are not pending, after each evaluation: those that fire, and
/// those that were resolved lately.
pub type OnAlerts = Arc<dyn Fn(Timestamp, &[Alert]) + Send + Sync>;

/// A group at work.
pub struct Group {
    /// The file it is of.
    pub file: String,
    /// What it says.
    pub rules: RuleGroup,
    /// How often.
    pub interval: Duration,
    /// What is known.
    pub state: GroupState,
    /// When it was evaluated last, and how long that took.
    pub last: Option<(Timestamp, Duration)>,
    next: Instant,
}

impl Group {
    /// Alerts of all its rules, in every state.
    pub fn alerts(&self) -> impl Iterator<Item = &Alert> {
        (0..self.rules.rules.len()).flat_map(|rule| self.state.alerts(rule))
    }

    /// The clock was set. Of the new time there are no samples yet, or those of an earlier life:
    /// it is not asked before there may be some.
    fn clock_moved(&mut self, millis: i64) {
        /// Pages are hardly read less often than that.
        const INTERVALS: u32 = 4;
        self.state.clock_moved(millis);
        self.next = Instant::now() + INTERVALS * self.interval;
    }
}

/// What all groups have in common.
#[derive(Clone)]
pub struct Surroundings {
    /// Where series are.
    pub series: Arc<SeriesStore>,
    /// Where recorded series go.
    pub sink: Arc<Sink>,
    /// Where states are kept.
    pub store: Arc<Store>,
    /// Who is told of alerts.
    pub on_alerts: OnAlerts,
    /// Where failures are told.
    pub publish: Publish,
}

/// Evaluates groups until it is ended.
pub struct Evaluator {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    surroundings: Surroundings,
    groups: Mutex<Vec<Group>>,
    environment: Mutex<(Labels, String)>,
    stop: AtomicBool,
}

impl Evaluator {
    /// Goes on from what an earlier run kept.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        surroundings: Surroundings,
        files: Vec<(String, Vec<RuleGroup>)>,
        default_interval: Duration,
        external: (Labels, String),
    ) -> std::io::Result<Evaluator> {
        let now = capture::now();
        let document = surroundings.store.document(DOCUMENT).ok().flatten();
        let saved = document.map(|text| read_saved(&text)).unwrap_or_default();
        let restore = |rules: &RuleGroup| GroupState::restored(rules, &saved, now);
        let groups = groups(files, default_interval, restore);
        let shared = Arc::new(Shared {
            surroundings,
            groups: Mutex::new(groups),
            environment: Mutex::new(external),
            stop: AtomicBool::new(false),
        });
        let run = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("rule groups".to_owned());
        let thread = Mutex::new(Some(thread.spawn(move || run.run())?));
        Ok(Evaluator { shared, thread })
    }

    /// Goes on with other files; rules that stay keep their state.
    pub fn reload(
        &self,
        files: Vec<(String, Vec<RuleGroup>)>,
        default_interval: Duration,
        external: (Labels, String),
    ) {
        *self.shared.environment.lock().unwrap_or_else(PoisonError::into_inner) = external;
        let mut groups = self.shared.groups();
        let mut old: BTreeMap<(String, String), Group> = groups
            .drain(..)
            .map(|group| ((group.file.clone(), group.rules.name.clone()), group))
            .collect();
        *groups = self::groups(files, default_interval, |_| GroupState::default());
        for group in groups.iter_mut() {
            let key = (group.file.clone(), group.rules.name.clone());
            if let Some(before) = old.remove(&key) {
                group.state = before.state.reloaded(&before.rules, &group.rules);
                group.last = before.last;
            }
        }
        let now = capture::now();
        for gone in old.into_values() {
            self.shared.end(gone, now);
        }
        self.shared.tell(now, &groups);
    }

    /// Ends; states are kept.
    pub fn end(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            // One that panicked has nothing more to say.
            let _ = thread.join();
        }
    }

    /// Looks at the groups.
    pub fn look<T>(&self, at: impl FnOnce(&[Group]) -> T) -> T {
        at(&self.shared.groups())
    }
}

impl Drop for Evaluator {
    fn drop(&mut self) {
        self.end();
    }
}

fn groups(
    files: Vec<(String, Vec<RuleGroup>)>,
    default_interval: Duration,
    state: impl Fn(&RuleGroup) -> GroupState,
) -> Vec<Group> {
    let all = files
        .into_iter()
        .flat_map(|(file, groups)| groups.into_iter().map(move |rules| (file.clone(), rules)));
    let group = |(file, rules): (String, RuleGroup)| {
        let interval = rules.interval.unwrap_or(default_interval);
        let state = state(&rules);
        Group { file, rules, interval, state, last: None, next: Instant::now() }
    };
    all.map(group).collect()
}

fn source(group: &Group) -> String {
    format!("rules {} {}", group.file, group.rules.name)
}

impl Shared {
    fn groups(&self) -> MutexGuard<'_, Vec<Group>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut kept = Instant::now();
        let mut clock = ClockWatch::new(Instant::now(), capture::now());
        while !self.stop.load(Ordering::Relaxed) {
            let mut groups = self.groups();
            if let Some(millis) = clock.moved(Instant::now(), capture::now()) {
                groups.iter_mut().for_each(|group| group.clock_moved(millis));
            }
            let mut has_run = false;
            for group in groups.iter_mut().filter(|group| group.next <= Instant::now()) {
                self.evaluate(group);
                has_run = true;
            }
            if has_run {
                self.tell(capture::now(), &groups);
            }
            if kept.elapsed() >= KEEP_EVERY {
                kept = Instant::now();
                self.keep(&groups);
            }
            drop(groups);
            std::thread::sleep(TICK);
        }
        self.keep(&self.groups());
    }

    fn evaluate(&self, group: &mut Group) {
        let (now, started) = (capture::now(), Instant::now());
        let storage = StoredSeries::new(&self.surroundings.series);
        let stop = || started.elapsed() > TIMEOUT || self.stop.load(Ordering::Relaxed);
        let options = Options { stop: &stop, ..Options::default() };
        let external = self.environment.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let environment = Environment {
            storage: &storage,
            options: &options,
            external_labels: &external.0,
            external_url: &external.1,
        };
        let had_errors = group.state.health().any(|health| health.error.is_some());
        let outcome = group.rules.eval(now, &environment, &mut group.state);
        // What an earlier run left the sink does not know: its ends are passed on once.
        let families = families(&outcome.samples, group.last.is_none());
        self.surroundings.sink.append(&source(group), now, &families);
        Part::Rules.failed_times(outcome.errors.len());
        if let Some((index, error)) = outcome.errors.first()
            && !had_errors
        {
            let rule = group.rules.rules.get(*index).map_or("", |rule| rule.name.as_str());
            let text = format!("rule {rule} of group {}: {error}", group.rules.name);
            (self.surroundings.publish)(Event::Warning { target: None, text });
        }
        group.last = Some((now, started.elapsed()));
        group.next = started + group.interval;
    }

    /// Ends all series of a group that is no more, also those of an earlier run.
    fn end(&self, group: Group, now: Timestamp) {
        let source = source(&group);
        // In the millisecond of its last samples an end would be refused as a second value.
        let now = group.last.map_or(now, |(last, _)| now.max(Timestamp(last.0 + 1)));
        if group.last.is_none() {
            let stale = Sample { time: now, value: Value::Float(STALE) };
            let ends = group.state.end().into_iter().map(|labels| (labels, stale.clone()));
            let ends: Vec<(Labels, Sample)> = ends.collect();
            self.surroundings.sink.append(&source, now, &families(&ends, true));
        }
        self.surroundings.sink.append(&source, now, &[]);
    }

    fn tell(&self, now: Timestamp, groups: &[Group]) {
        let alerts: Vec<Alert> = groups
            .iter()
            .flat_map(Group::alerts)
            .filter(|alert| alert.state != AlertState::Pending)
            .cloned()
            .collect();
        (self.surroundings.on_alerts)(now, &alerts);
    }

    fn keep(&self, groups: &[Group]) {
        let saved = groups.iter().flat_map(|group| group.state.save(&group.rules));
        let text = Json::Array(saved.map(|saved| write_saved(&saved)).collect()).to_string();
        if let Err(error) = self.surroundings.store.put_document(DOCUMENT, &text) {
            Part::Store.failed();
            let text = format!("the state of alerts is not kept: {error}");
            (self.surroundings.publish)(Event::Warning { target: None, text });
        }
    }
}

/// Samples of one evaluation as families. What ended is left out unless it is asked for, as whoever
/// takes them sees what is missing.
fn families(samples: &[(Labels, Sample)], with_ends: bool) -> Vec<Family> {
    let mut by_name: BTreeMap<&str, Family> = BTreeMap::new();
    for (labels, sample) in samples {
        let is_end = matches!(sample.value, Value::Float(value) if is_stale(value));
        if is_end && !with_ends {
            continue;
        }
        let name = labels.get(NAME).unwrap_or_default();
        let family = by_name.entry(name).or_default();
        name.clone_into(&mut family.name);
        let mut point = Point::new(labels.clone(), 0.0);
        point.value = sample.value.clone();
        // With a time of its own it is not taken for a series that is there.
        point.time = is_end.then_some(sample.time);
        family.points.push(point);
    }
    by_name.into_values().collect()
}

fn write_saved(saved: &SavedAlert) -> Json {
    let alert = &saved.alert;
    let pairs = |labels: &Labels| -> Vec<(String, String)> {
        labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    json!({
        "group": saved.group, "seen": saved.seen_at.0, "rule": alert.rule,
        "labels": pairs(&alert.labels), "annotations": alert.annotations,
        "state": alert.state.as_str(), "active": alert.active_at.0,
        "fired": alert.fired_at.map(|time| time.0), "resolved": alert.resolved_at.map(|time| time.0),
        "keep": alert.keep_firing_since.map(|time| time.0),
        // Numbers that JSON has not are kept to the bit.
        "value": alert.value.to_bits().to_string(),
    })
}

/// What was kept; what makes no sense is left out.
fn read_saved(text: &str) -> Vec<SavedAlert> {
    let values: Vec<Json> = serde_json::from_str(text).unwrap_or_default();
    let read = |value: &Json| -> Option<SavedAlert> {
        let time = |name: &str| value[name].as_i64().map(Timestamp);
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        let labels: Vec<(String, String)> = serde_json::from_value(value["labels"].clone()).ok()?;
        let states = [AlertState::Inactive, AlertState::Pending, AlertState::Firing];
        let alert = Alert {
            rule: text("rule")?,
            labels: Labels::new(labels),
            annotations: serde_json::from_value(value["annotations"].clone()).ok()?,
            state: states
                .into_iter()
                .find(|state| Some(state.as_str()) == value["state"].as_str())?,
            active_at: time("active")?,
            fired_at: time("fired"),
            resolved_at: time("resolved"),
            keep_firing_since: time("keep"),
            value: f64::from_bits(value["value"].as_str()?.parse().ok()?),
        };
        Some(SavedAlert { group: text("group")?, seen_at: time("seen")?, alert })
    };
    values.iter().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_survive_being_written() {
        let alert = Alert {
            rule: "A".to_owned(),
            labels: Labels::new([("a", "b"), ("alertname", "A")]),
            annotations: BTreeMap::from([("summary".to_owned(), "x".to_owned())]),
            state: AlertState::Firing,
            active_at: Timestamp(1),
            fired_at: Some(Timestamp(2)),
            resolved_at: None,
            keep_firing_since: Some(Timestamp(3)),
            value: f64::INFINITY,
        };
        let saved = SavedAlert { group: "g".to_owned(), seen_at: Timestamp(4), alert };
        let text = Json::Array(vec![write_saved(&saved), json!({"group": 1})]).to_string();
        assert_eq!(read_saved(&text), [saved]);
        assert_eq!(read_saved("nonsense"), []);
    }

    /// A group that records `up` as `a:b`, and alerts on it.
    const RULES: &str = "groups: [{name: g, interval: 100ms, rules: [{record: 'a:b', expr: up}, \
                         {alert: Up, expr: up == 1}]}]";

    struct Kept {
        store: Arc<Store>,
        series: Arc<SeriesStore>,
        sink: Arc<Sink>,
    }

    impl Kept {
        fn open(dir: &std::path::Path) -> Kept {
            let store = Arc::new(Store::open(dir, store::Options::default()).unwrap());
            let options = store::SeriesOptions::default();
            let series = Arc::new(SeriesStore::open(dir, options).unwrap());
            let (limits, none) = (remotewrite::Limits::default(), Labels::empty());
            let folder = dir.join("remote");
            let remote =
                remotewrite::RemoteWrites::open(&folder, &none, &[], limits, Arc::new(|_| {}));
            let remote = Arc::new(remote.unwrap());
            let sink = Arc::new(Sink::new(Arc::clone(&series), remote, Arc::new(|_| {})));
            Kept { store, series, sink }
        }

        fn evaluate(&self, files: Vec<(String, Vec<RuleGroup>)>) -> Evaluator {
            let surroundings = Surroundings {
                series: Arc::clone(&self.series),
                sink: Arc::clone(&self.sink),
                store: Arc::clone(&self.store),
                on_alerts: Arc::new(|_, _| {}),
                publish: Arc::new(|_| {}),
            };
            let external = (Labels::empty(), String::new());
            Evaluator::start(surroundings, files, Duration::from_secs(1), external).unwrap()
        }

        /// Waits until the last value of a series fits.
        fn until(&self, name: &str, fits: impl Fn(f64) -> bool) {
            let matcher = store::Matcher::new(NAME, store::MatchOp::Equal, name).unwrap();
            let matchers = [matcher];
            let last = || {
                let all = self.series.select(&matchers, Timestamp(0), Timestamp(i64::MAX));
                let all = all.unwrap().series;
                all.first().and_then(|(_, samples)| samples.last()?.value.float())
            };
            let came = (0..300).any(|_| {
                std::thread::sleep(Duration::from_millis(20));
                last().is_some_and(&fits)
            });
            assert!(came, "{name}: {:?}", last());
        }
    }

    #[test]
    fn series_of_groups_that_are_gone_end() {
        let dir = tempfile::tempdir().unwrap();
        let parsed = || promql::rules::RuleFile::parse(RULES).unwrap().groups;
        let files = || vec![("f".to_owned(), parsed())];
        let reload = |evaluator: &Evaluator, files| {
            evaluator.reload(files, Duration::from_secs(1), (Labels::empty(), String::new()));
        };
        let kept = Kept::open(dir.path());
        let sample = Sample { time: capture::now(), value: Value::Float(1.0) };
        kept.series.append(&[(Labels::new([(NAME, "up")]), sample)]).unwrap();
        let evaluator = kept.evaluate(files());
        kept.until("a:b", |value| value == 1.0);
        kept.until("ALERTS", |value| value == 1.0);
        reload(&evaluator, Vec::new());
        kept.until("a:b", is_stale);
        kept.until("ALERTS", is_stale);

        // The same where the group was not evaluated since the start of the agent.
        reload(&evaluator, files());
        kept.until("ALERTS", |value| value == 1.0);
        drop(evaluator);
        drop(kept);
        let kept = Kept::open(dir.path());
        let evaluator = kept.evaluate(files());
        reload(&evaluator, Vec::new());
        kept.until("ALERTS", is_stale);
    }
}
