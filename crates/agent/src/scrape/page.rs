//! One page: its labels, its samples as they are kept, and what is said about the scrape itself.

use decode::exposition::{Classic, Page, Pages, is_protobuf};
use model::series::{Exposition, NAME};
use model::{Family, FamilyKind, Labels, Point};
use remotewrite::relabel::relabel;

use super::config::ScrapeConfig;

/// Where a page is, and what its series carry.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Target {
    pub(super) url: String,
    pub(super) labels: Labels,
}

/// The target of an address, unless relabelling drops it.
pub(super) fn target(config: &ScrapeConfig, address: &str, labels: &Labels) -> Option<Target> {
    let params: Vec<(String, &str)> = config
        .params
        .iter()
        .filter_map(|(name, values)| Some((format!("__param_{name}"), values.first()?.as_str())))
        .collect();
    let given = [
        ("__scheme__", config.scheme.as_str()),
        ("__metrics_path__", config.metrics_path.as_str()),
        ("job", config.job_name.as_str()),
    ];
    let params = params.iter().map(|(name, value)| (name.as_str(), *value));
    // The labels of a target may say otherwise, its address is its own.
    let given = Labels::new(given.into_iter().chain(params));
    let labels = given.with(labels.iter().chain([("__address__", address)]));
    let labels = relabel(&config.relabel_configs, &labels)?;
    let of = |name: &str| labels.get(name).unwrap_or_default().to_owned();
    let (scheme, address, path) = (of("__scheme__"), of("__address__"), of("__metrics_path__"));
    if address.is_empty() {
        return None;
    }
    let url = format!("{scheme}://{address}{path}{}", query(config, &labels));
    let instance = labels.get("instance").is_none().then_some(("instance", address.as_str()));
    let labels = labels.filtered(|name| !name.starts_with("__"));
    Some(Target { url, labels: labels.with(instance) })
}

/// The query: parameters as they are configured, the first of each as relabelling left it.
fn query(config: &ScrapeConfig, labels: &Labels) -> String {
    let mut pairs = Vec::new();
    let relabelled = labels.iter().filter_map(|(name, value)| {
        name.strip_prefix("__param_").map(|name| (name.to_owned(), value.to_owned()))
    });
    for (name, first) in relabelled {
        let more = config.params.get(&name).into_iter().flatten().skip(1).cloned();
        pairs.extend(std::iter::once(first).chain(more).map(|value| (name.clone(), value)));
    }
    let escaped: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
    if escaped.is_empty() { String::new() } else { format!("?{}", escaped.join("&")) }
}

fn escape(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(byte.into());
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// What a scrape came to, for the series about it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scrape {
    pub(super) is_up: bool,
    pub(super) seconds: f64,
    pub(super) samples: usize,
    pub(super) kept: usize,
    pub(super) added: usize,
}

/// What is kept of the pages of a target.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pages: Pages,
}

impl Kept {
    /// The page's families with the target's labels, relabelled, and what they came to.
    ///
    /// # Errors
    /// When there is a fault in it, or a limit is passed: the page counts as failed then, as
    /// Prometheus has it.
    pub(super) fn read(
        &mut self,
        config: &ScrapeConfig,
        target: &Labels,
        page: Vec<u8>,
        content_type: &str,
    ) -> Result<(Vec<Family>, Scrape), String> {
        let mut fault = None;
        let mut change = |labels: Labels| {
            let labels = joined(&labels, target, config.honor_labels);
            let labels = relabel(&config.metric_relabel_configs, &labels)?;
            let (count, limit) = (labels.len(), config.label_limit);
            let name = labels.name();
            if limit > 0 && count > limit {
                fault = Some(format!("{name} has {count} labels, label_limit is {limit}"));
            }
            (!name.is_empty()).then_some(labels)
        };
        let read = match config.scrape_native_histograms && is_protobuf(content_type) {
            true => {
                let has_both = config.always_scrape_classic_histograms;
                let classic = if has_both { Classic::Too } else { Classic::Instead };
                self.pages.read_protobuf(&page, classic, &mut change)
            }
            false => {
                let format = Exposition::of_content_type(content_type);
                self.pages.read(page, format, &mut change)
            }
        };
        let Page { mut families, warnings, faults, samples, added } = read;
        if faults > 0 {
            return Err(warnings.into_iter().next().unwrap_or_default());
        }
        if let Some(fault) = fault {
            // The next page is asked again for what this one must not have.
            self.pages = Pages::default();
            return Err(fault);
        }
        let kept = families.iter().map(|family| family.points.len()).sum();
        if config.sample_limit > 0 && kept > config.sample_limit {
            return Err(format!("{kept} samples, sample_limit is {}", config.sample_limit));
        }
        if !config.honor_timestamps {
            let points = families.iter_mut().flat_map(|family| &mut family.points);
            points.for_each(|point| point.time = None);
        }
        Ok((families, Scrape { is_up: true, samples, kept, added, ..Scrape::default() }))
    }
}

/// A series' labels and the target's. Of two with one name the target's wins, and the series' goes
/// on as `exported_`; with `honor` the series' wins.
fn joined(series: &Labels, target: &Labels, honor: bool) -> Labels {
    if honor {
        let missing = target.iter().filter(|(name, _)| series.get(name).is_none());
        return series.with(missing);
    }
    let renamed: Vec<(String, &str)> = series
        .iter()
        .map(|(name, value)| {
            let mut name = name.to_owned();
            let is_taken = target.get(&name).is_some();
            while is_taken && (target.get(&name).is_some() || series.get(&name).is_some()) {
                name.insert_str(0, "exported_");
            }
            (name, value)
        })
        .collect();
    let pairs = renamed.iter().map(|(name, value)| (name.as_str(), *value));
    Labels::new(pairs.chain(target.iter()))
}

/// The series that Prometheus adds to each scrape.
pub(super) fn about(target: &Labels, scrape: &Scrape) -> Vec<Family> {
    let family = |name: &str, help: &str, value: f64| {
        let labels = target.with([(NAME, name)]);
        let points = vec![Point::new(labels, value)];
        let (name, help, unit) = (name.to_owned(), help.to_owned(), String::new());
        Family { name, kind: FamilyKind::Gauge, help, unit, points }
    };
    vec![
        family("up", "1 if the page could be read.", f64::from(u8::from(scrape.is_up))),
        family("scrape_duration_seconds", "How long reading the page took.", scrape.seconds),
        family("scrape_samples_scraped", "Samples on the page.", scrape.samples as f64),
        family(
            "scrape_samples_post_metric_relabeling",
            "Samples after relabelling.",
            scrape.kept as f64,
        ),
        family(
            "scrape_series_added",
            "Series that the last page did not have.",
            scrape.added as f64,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(yaml: &str) -> ScrapeConfig {
        serde_saphyr::from_str(&format!("job_name: j\n{yaml}")).unwrap()
    }

    #[test]
    fn targets_are_those_of_prometheus() {
        let yaml = "scheme: https\nmetrics_path: /m\nparams: {a: ['1 2', '3']}\nrelabel_configs:\n\
                    - {source_labels: [zone], target_label: __param_z, replacement: 'x$1'}\n";
        let found = target(&config(yaml), "h:1", &Labels::new([("zone", "é")])).unwrap();
        assert_eq!(found.url, "https://h:1/m?a=1%202&a=3&z=x%C3%A9");
        assert_eq!(found.labels.to_string(), r#"{instance="h:1", job="j", zone="é"}"#);
        let yaml = "relabel_configs: [{source_labels: [__address__], regex: 'h.*', action: drop}]";
        assert_eq!(target(&config(yaml), "h:1", &Labels::empty()), None);
    }

    #[test]
    fn labels_of_both_are_joined() {
        let target = Labels::new([("job", "j"), ("instance", "i")]);
        let check = |series: &[(&str, &str)], honor: bool, expected: &str| {
            let series = Labels::new(series.iter().copied());
            assert_eq!(joined(&series, &target, honor).to_string(), expected);
        };
        check(&[(NAME, "a"), ("b", "c")], false, r#"a{b="c", instance="i", job="j"}"#);
        check(&[("job", "x")], false, r#"{exported_job="x", instance="i", job="j"}"#);
        check(
            &[("job", "x"), ("exported_job", "y")],
            false,
            r#"{exported_exported_job="x", exported_job="y", instance="i", job="j"}"#,
        );
        check(&[("job", "x")], true, r#"{instance="i", job="x"}"#);
    }

    #[test]
    fn pages_are_kept_as_they_are_configured() {
        let yaml = "sample_limit: 3\nlabel_limit: 4\nhonor_timestamps: false\n\
                    metric_relabel_configs: [{source_labels: [x], regex: no, action: drop}]\n";
        let (config, target) = (config(yaml), Labels::new([("job", "j"), ("instance", "i")]));
        let mut kept = Kept::default();
        let mut check = |page: &str, expected: Result<[usize; 3], &str>| {
            let read = kept.read(&config, &target, page.into(), "text/plain");
            let counts = read.map(|(families, scrape)| {
                let mut points = families.iter().flat_map(|family| &family.points);
                assert!(points.all(|p| p.time.is_none() && p.labels.get("job") == Some("j")));
                [scrape.samples, scrape.kept, scrape.added]
            });
            assert_eq!(counts, expected.map_err(str::to_owned), "{page}");
        };
        check("a 1 7\nb{x=\"no\"} 1\n", Ok([2, 1, 1]));
        check("a 1 7\nb{x=\"no\"} 1\nc 2\nd 3\n", Ok([4, 3, 2]));
        check("a 1\nb 1\nc 1\nd 1\n", Err("4 samples, sample_limit is 3"));
        check("c 1\n", Ok([1, 1, 0]));
        check("a 1\n", Ok([1, 1, 1]));
        for _ in 0..2 {
            check("a{x=\"1\",y=\"2\"} 1\n", Err("a has 5 labels, label_limit is 4"));
        }
        check("a one\n", Err("line 1: a value that is no number"));
    }
}
