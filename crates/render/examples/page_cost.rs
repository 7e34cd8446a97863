//! What `/metrics` costs, by targets.
//!
//!     cargo run --release -p memsight-render --example page_cost [TARGETS]

use std::time::Instant;

use analyze::families::{Families, Histograms, Subject};
use model::metrics::{Histogram, METRICS, MetricKind, MetricValue};
use model::series::Exposition;
use model::{Labels, Observation, RuntimeMetrics};
use render::exposition::{Style, page};

/// All metrics, with distributions as large as the runtime's.
fn metrics() -> RuntimeMetrics {
    let mut metrics = RuntimeMetrics::default();
    for metric in &METRICS {
        let value = match metric.kind {
            MetricKind::Unsigned => MetricValue::Unsigned(123_456_789),
            MetricKind::Float => MetricValue::Float(1234.567),
            MetricKind::Histogram => {
                let bounds = (0..160).map(|step| f64::from(step / 4).exp2() * 1e-9).collect();
                MetricValue::Histogram(Histogram { bounds, counts: vec![3; 159] })
            }
        };
        metrics.push(metric.name, value);
    }
    metrics
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let targets: u32 = std::env::args().nth(1).map_or(Ok(200), |text| text.parse())?;
    let (metrics, mut observation) = (metrics(), Observation::default());
    observation.process.rss_bytes = Some(1 << 30);
    for form in [Histograms::Classic, Histograms::Native] {
        let begun = Instant::now();
        let mut families = Families::default();
        for pid in 0..targets {
            let pid = pid.to_string();
            let labels = Labels::new([("service", "checkout"), ("pid", &pid)]);
            let subject = Subject::new(labels, None);
            families.process(&observation, &subject);
            families.runtime(&metrics, &subject, form);
        }
        let families = families.into_vec();
        let gathered = begun.elapsed();
        let points: usize = families.iter().map(|family| family.points.len()).sum();
        let text = page(&families, Style { format: Exposition::OpenMetrics, with_created: false });
        let written = begun.elapsed() - gathered;
        println!(
            "{form:?}: {targets} targets, {points} series, {} bytes: {gathered:.1?} to gather, {written:.1?} to write",
            text.len()
        );
    }
    Ok(())
}
