//! What memsight measures, as families of labelled series.
//!
//! One list of names for the pages, the store and remote write. Names are those of the field
//! where they mean the same: client_golang's for the Go runtime and for processes, cadvisor's for
//! cgroups, node_exporter's for the machine. What those do not have is `memsight_*`.
//!
//! A target's series have `service` and `pid` (`instance` where it is known by its URL alone),
//! and where it runs, if that is known. Whatever else describes it is in `memsight_target_info`.

mod figures;
mod findings;
mod runtime;
mod stale;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use model::series::NAME;
use model::{Family, FamilyKind, Labels, Point, Target, Timestamp};

pub use findings::{SelfFigures, SeriesFigures};
pub use runtime::Histograms;
pub use stale::Exposed;

/// Labels of a target that its series have. Values that change while it lives, or that differ
/// between thousands of targets, do not belong here.
const IDENTITY: [&str; 5] = ["service", "instance", "namespace", "pod", "unit"];

/// Labels that only `memsight_target_info` has.
const DESCRIPTION: [&str; 7] =
    ["container", "exe", "go_version", "module", "package", "pod_uid", "version"];

/// The labels that all series of a target have.
pub fn target_labels(target: &Target) -> Labels {
    let pid = target.pid.map(|pid| pid.to_string()).unwrap_or_default();
    let labels = Labels::new([("service", target.name.as_str()), ("pid", &pid)]);
    let known =
        IDENTITY.iter().filter_map(|name| Some((*name, target.labels.get(*name)?.as_str())));
    labels.with(known)
}

/// Whose series they are. Whoever keeps it for the next time spares their labels.
#[derive(Debug, Default)]
pub struct Subject {
    labels: Labels,
    start: Option<Timestamp>,
    /// Of series that are always there.
    named: Mutex<HashMap<&'static str, Labels>>,
}

impl Subject {
    /// `labels` is what its series have in common, `start` since when its counters count.
    pub fn new(labels: Labels, start: Option<Timestamp>) -> Subject {
        Subject { labels, start, named: Mutex::default() }
    }

    /// The labels of the series of this name, which are kept under a key.
    fn named(&self, key: &'static str, name: &str) -> Labels {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        named.entry(key).or_insert_with(|| self.labels.with([(NAME, name)])).clone()
    }
}

/// Families being gathered, in the order in which they came.
#[derive(Debug, Default)]
pub struct Families {
    families: Vec<Family>,
    by_name: HashMap<String, usize>,
    /// Cgroups that are there already: several targets may live in one.
    cgroups: HashSet<String>,
    /// Bounds of buckets: hundreds of targets have the same.
    bounds: Vec<Arc<[f64]>>,
    /// Names and helps that are put together, for the same reason.
    texts: HashMap<&'static str, Arc<(String, String)>>,
}

impl Families {
    /// Adds a number under the name of its series; counters' names end in `_total`. A series
    /// that has just been added stays as it is.
    pub fn add(
        &mut self,
        (name, kind, help): (&str, FamilyKind, &str),
        subject: &Subject,
        value: f64,
    ) {
        let labels = subject.labels.with([(NAME, name)]);
        self.add_labelled(labels, (name, kind, help), subject, value);
    }

    /// The same of a series that is always there; see [`Subject::named`].
    fn add_always(
        &mut self,
        key: &'static str,
        described: (&str, FamilyKind, &str),
        subject: &Subject,
        value: f64,
    ) {
        self.add_labelled(subject.named(key, described.0), described, subject, value);
    }

    fn add_labelled(
        &mut self,
        labels: Labels,
        (name, kind, help): (&str, FamilyKind, &str),
        subject: &Subject,
        value: f64,
    ) {
        let family = match kind {
            FamilyKind::Counter => name.strip_suffix("_total").unwrap_or(name),
            _ => name,
        };
        let start = subject.start.filter(|_| kind == FamilyKind::Counter);
        self.family(family, kind, help).push(Point { start, ..Point::new(labels, value) });
    }

    /// The points of a family, which is begun where it is not there yet.
    fn family(&mut self, name: &str, kind: FamilyKind, help: &str) -> Points<'_> {
        let index = match self.by_name.get(name) {
            Some(index) => *index,
            None => {
                let units = ["bytes", "seconds"];
                let unit = units.iter().find(|unit| name.ends_with(&format!("_{unit}")));
                let unit = unit.copied().unwrap_or_default().to_owned();
                let (name, help) = (name.to_owned(), help.to_owned());
                self.by_name.insert(name.clone(), self.families.len());
                self.families.push(Family { name, kind, help, unit, points: Vec::new() });
                self.families.len() - 1
            }
        };
        Points(self.families.get_mut(index).map(|family| &mut family.points))
    }

    /// The name and the help of what has this key among all that ask.
    fn texts(
        &mut self,
        key: &'static str,
        make: impl FnOnce() -> (String, String),
    ) -> Arc<(String, String)> {
        Arc::clone(self.texts.entry(key).or_insert_with(|| Arc::new(make())))
    }

    /// Adds families that were made elsewhere, under names of their own.
    pub fn extend(&mut self, families: Vec<Family>) {
        self.families.extend(families);
    }

    /// All of them.
    pub fn into_vec(self) -> Vec<Family> {
        self.families
    }

    /// What is known of a target beside its figures.
    pub fn target(&mut self, target: &Target, cgroup: &str) {
        let known = DESCRIPTION.iter();
        let known = known.filter_map(|name| Some((*name, target.labels.get(*name)?.as_str())));
        let labels = target_labels(target).with(known).with([("cgroup", cgroup)]);
        let help = "What a target is; always 1.";
        let subject = Subject::new(labels, None);
        self.add(("memsight_target_info", FamilyKind::Gauge, help), &subject, 1.0);
    }
}

/// Where points of a family go.
struct Points<'f>(Option<&'f mut Vec<Point>>);

impl Points<'_> {
    /// What two sources have of one target follows each other: the first stays.
    fn push(&mut self, point: Point) {
        if let Some(points) = &mut self.0
            && points.last().is_none_or(|last| last.labels != point.labels)
        {
            points.push(point);
        }
    }
}

/// A number as Go's `%v` writes it, so that labels are those of other exporters: `1e-05`.
pub fn float(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let text = format!("{value:e}");
    let Some((digits, exponent)) = text.split_once('e') else { return text };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    match exponent {
        -4..21 => value.to_string(),
        _ => format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs()),
    }
}

#[cfg(test)]
mod tests;
