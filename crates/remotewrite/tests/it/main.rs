//! Remote write against receivers: scripted ones, and real ones where they are installed.

mod delivery;
mod durability;
mod peers;
mod receiver;
mod relabelling;
mod wire;

#[path = "../../../../fixtures/receivers.rs"]
mod receivers;

use std::path::Path;
use std::sync::{Arc, Mutex};

use model::series::NAME;
use model::{Family, FamilyKind, Labels, Point, Timestamp};
use remotewrite::{Config, Limits, Notice, RemoteWrites};

/// What was reported.
type Notices = Arc<Mutex<Vec<Notice>>>;

fn configs(yaml: &str) -> Vec<Config> {
    serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{yaml}: {error}"))
}

fn open_with(folder: &Path, yaml: &str, limits: Limits) -> (RemoteWrites, Notices) {
    let notices = Notices::default();
    let told = Arc::clone(&notices);
    let report = Arc::new(move |notice| told.lock().unwrap().push(notice));
    let writes = RemoteWrites::open(folder, &Labels::empty(), &configs(yaml), limits, report);
    (writes.unwrap(), notices)
}

fn open(folder: &Path, yaml: &str) -> (RemoteWrites, Notices) {
    open_with(folder, yaml, Limits::default())
}

fn texts(notices: &Notices) -> Vec<String> {
    notices.lock().unwrap().iter().map(ToString::to_string).collect()
}

/// A gauge with one value for each of `names`.
fn gauge(names: &[String], value: f64) -> Family {
    let labels = |name: &String| Labels::new([(NAME, "probe"), ("series", name.as_str())]);
    let points = names.iter().map(|name| Point::new(labels(name), value)).collect();
    let (name, help) = ("probe".to_owned(), "A probe.".to_owned());
    Family { name, kind: FamilyKind::Gauge, help, unit: String::new(), points }
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|index| index.to_string()).collect()
}

/// The time of a round: ten seconds each, the last ones close to now.
fn time(round: u64) -> Timestamp {
    static BASE: std::sync::OnceLock<i64> = std::sync::OnceLock::new();
    let base = BASE.get_or_init(|| {
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        now.as_millis() as i64 - 1_000_000
    });
    Timestamp(base + 10_000 * round as i64)
}
