//! What was read last of each target, as families of series: for pages that are scraped, for
//! the store of series and for remote write.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use analyze::families::{Families, Histograms, Subject, target_labels};
use capture::LiveTarget;
use model::{Diagnosis, Observation, RuntimeMetrics};

use crate::registry::{Registry, Watched};

/// What was read of a target last.
#[derive(Debug, Default)]
pub struct Latest {
    figures: Mutex<Figures>,
    /// Whose series they are.
    subject: OnceLock<Subject>,
}

#[derive(Clone, Debug, Default)]
struct Figures {
    observation: Option<Arc<Observation>>,
    metrics: Option<Arc<RuntimeMetrics>>,
    diagnosis: Option<Arc<Diagnosis>>,
}

impl Latest {
    fn lock(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Level signals were read.
    pub fn observed(&self, observation: &Observation) {
        self.lock().observation = Some(Arc::new(observation.clone()));
    }

    /// The runtime's metrics were read.
    pub fn measured(&self, mut metrics: RuntimeMetrics) {
        metrics.samples.shrink_to_fit();
        self.lock().metrics = Some(Arc::new(metrics));
    }

    /// The verdict was renewed.
    pub fn diagnosed(&self, diagnosis: &Diagnosis) {
        self.lock().diagnosis = Some(Arc::new(diagnosis.clone()));
    }

    /// The last level signals.
    pub fn observation(&self) -> Option<Arc<Observation>> {
        self.lock().observation.clone()
    }
}

impl Registry {
    /// Adds all that was read last of all targets, their cgroups and the machine.
    pub fn families(&self, families: &mut Families, form: Histograms) {
        let mut newest: Option<Arc<Observation>> = None;
        for watched in self.all() {
            let figures = watched.latest.lock().clone();
            add_target(families, &watched, &figures, form);
            if let Some(observation) = figures.observation
                && newest.as_ref().is_none_or(|newest| newest.time < observation.time)
            {
                newest = Some(observation);
            }
        }
        if let Some(observation) = newest {
            families.host(&observation);
        }
    }
}

fn add_target(families: &mut Families, watched: &Watched, figures: &Figures, form: Histograms) {
    let subject = watched.latest.subject.get_or_init(|| {
        let start = match &watched.live {
            LiveTarget::Process(process) => process.started(),
            _ => None,
        };
        Subject::new(target_labels(&watched.target), start)
    });
    let cgroup = figures.observation.as_ref().map(|observation| observation.cgroup.path.as_str());
    families.target(&watched.target, cgroup.unwrap_or_default());
    if let Some(observation) = &figures.observation {
        families.process(observation, subject);
        families.cgroup(&observation.cgroup);
        // Levels are the fresher ones of what both have.
        families.runtime_levels(&observation.runtime, subject);
    }
    if let Some(metrics) = &figures.metrics {
        families.runtime(metrics, subject, form);
    }
    if let Some(diagnosis) = &figures.diagnosis {
        families.diagnosis(diagnosis, subject);
    }
}
