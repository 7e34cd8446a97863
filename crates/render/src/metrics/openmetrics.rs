//! OpenMetrics under the names of client_golang's Go collector.

use analyze::families::{Families, Histograms, Subject};
use model::RuntimeMetrics;
use model::series::Exposition;

use crate::exposition::{Style, page};

/// What can be said of the metrics.
pub fn openmetrics(metrics: &RuntimeMetrics) -> String {
    let mut families = Families::default();
    families.runtime(metrics, &Subject::default(), Histograms::Classic);
    let style = Style { format: Exposition::OpenMetrics, with_created: false };
    page(&families.into_vec(), style)
}
