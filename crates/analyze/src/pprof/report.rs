//! From a profile and options to what a report is drawn from
//! (internal/driver: generateRawReport, applyFocus; internal/report: New, reportLabels).

use model::{Profile, SampleId, StrId};

use super::config::{Config, Granularity};
use super::filter::{self, Detail};
use super::graph::{Graph, Limits, NodeInfo, Nodes, Trimmed, Weight, go_int, mean};
use super::labels::{self, LabelUnits};
use super::measure::{label, percentage, scale, scaled_label};
use super::paths;
use super::regexp::Pattern;
use super::tagfilter::{self, TagFilter};

/// What is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the commands")]
pub enum Format {
    Callgrind,
    Comments,
    Disasm,
    Dot,
    List,
    Proto,
    Raw,
    Tags,
    Text,
    TopProto,
    Traces,
    Tree,
    WebList,
}

/// The time a profile was taken, as texts: rendering has no time zones.
#[derive(Clone, Debug, Default)]
pub struct TimeTexts {
    /// `2006-01-02 15:04:05 MST`.
    pub short: String,
    /// `2006-01-02 15:04:05.999999999 -0700 MST`.
    pub long: String,
}

/// A report that is ready to be drawn.
#[derive(Debug)]
pub struct Report {
    /// The filtered profile.
    pub profile: Profile,
    /// Options, as the command changes them.
    pub config: Config,
    /// What is drawn.
    pub format: Format,
    /// Name of the command.
    pub command: String,
    /// What functions the command asks for.
    pub symbol: Option<Pattern>,
    /// Sum of all values before the filters, or of the base of a difference.
    pub total: i64,
    /// Units of numeric labels.
    pub label_units: LabelUnits,
    /// Unit of output, once it is chosen.
    pub output_unit: String,
    /// Name of the value.
    pub sample_type: String,
    /// Unit of the value.
    pub sample_unit: String,
    /// Name of the program.
    pub title: String,
    /// When the profile was taken.
    pub time: TimeTexts,
    column: usize,
}

/// A command and its argument.
#[derive(Clone, Debug)]
pub struct Command {
    /// Its name.
    pub name: String,
    /// What it draws.
    pub format: Format,
    /// The expression that it takes.
    pub argument: Option<String>,
}

impl Report {
    /// Applies the options to a profile. `notes` collects what the user should know.
    ///
    /// # Errors
    /// When an option does not fit the profile.
    pub fn prepare(
        mut profile: Profile,
        command: &Command,
        config: &Config,
        time: TimeTexts,
        notes: &mut Vec<String>,
    ) -> Result<Report, String> {
        let (label_units, unit_notes) = LabelUnits::of(&profile);
        notes.extend(unit_notes);
        let config = overridden(config.clone(), command);
        add_label_frames(&mut profile, &config, notes);
        if config.relative_percentages {
            apply_filters(&mut profile, &label_units, &config, notes)?;
        }
        let column = sample_index(&profile, &config.sample_index)?;
        if config.divide_by == 0.0 {
            return Err("zero divisor specified".to_owned());
        }
        let symbol = command.argument.as_ref().map(|text| {
            let failed = |error| format!("parsing argument regexp {text}: {error}");
            Pattern::new(text).map_err(failed)
        });
        let value_type = profile.sample_types.get(column).ok_or("profile has no samples")?;
        let kind = profile.str(value_type.kind);
        let first_file = profile.mappings.first().map_or(StrId(0), |mapping| mapping.filename);
        let title = match profile.str(first_file) {
            "" => String::new(),
            file => paths::base(file).to_owned(),
        };
        let mut report = Report {
            sample_type: if config.mean { format!("mean_{kind}") } else { kind.to_owned() },
            sample_unit: profile.str(value_type.unit).to_owned(),
            output_unit: config.unit.clone(),
            format: command.format,
            command: command.name.clone(),
            symbol: symbol.transpose()?,
            total: 0,
            label_units,
            title,
            time,
            column,
            config,
            profile,
        };
        report.total = report.sum();
        let Report { profile, config, label_units, .. } = &mut report;
        if !config.relative_percentages {
            apply_filters(profile, label_units, config, notes)?;
        }
        if let Some(detail) = detail(config) {
            filter::aggregate(profile, detail);
        }
        Ok(report)
    }

    /// Value and divisor of a sample.
    pub fn value(&self, sample: SampleId) -> (i64, i64) {
        let at = |column: usize| {
            let column = self.profile.samples.values.get(column);
            column.and_then(|column| column.get(sample.0 as usize)).copied().unwrap_or(0)
        };
        (at(self.column), if self.config.mean { at(0) } else { 0 })
    }

    /// Sum of absolute values, of the base's alone where there is one.
    fn sum(&self) -> i64 {
        let (mut all, mut base) = (Weight::default(), Weight::default());
        let is_unlabelled = self.profile.samples.are_unlabelled();
        for sample in self.profile.samples.ids() {
            let (value, div) = self.value(sample);
            all.add(value.wrapping_abs(), div);
            let labels = self.profile.samples.labels(sample);
            if !is_unlabelled && labels::is_base(&self.profile, labels) {
                base.add(value.wrapping_abs(), div);
            }
        }
        let chosen = if base.value > 0 { base } else { all };
        mean(chosen.value, chosen.div)
    }

    /// A value in the unit of the report.
    pub fn format_value(&self, value: i64) -> String {
        scaled_label(self.divided(value), &self.sample_unit, &self.output_unit)
    }

    /// A value after `divide_by`.
    pub fn divided(&self, value: i64) -> i64 {
        let ratio = 1.0 / self.config.divide_by;
        match ratio > 0.0 && ratio != 1.0 {
            true => go_int(value as f64 * ratio),
            false => value,
        }
    }

    /// What every stack weighs.
    pub fn weights(&self) -> Vec<Weight> {
        let mut weights = vec![Weight::default(); self.profile.stacks.len()];
        let samples = &self.profile.samples;
        for (sample, stack) in samples.ids().zip(&samples.stacks) {
            if let Some(weight) = weights.get_mut(stack.0 as usize) {
                let (value, div) = self.value(sample);
                weight.add(value, div);
            }
        }
        weights
    }

    fn nodes(&mut self) -> Nodes {
        let object_names = matches!(
            self.format,
            Format::Raw | Format::List | Format::WebList | Format::Disasm | Format::Callgrind
        );
        let Report { profile, config, .. } = self;
        let trim = Some((config.trim_path.as_str(), config.source_path.as_str()));
        Nodes::of(profile, super::graph::Naming { object_names, trim })
    }

    /// The graph with all its nodes and values, without edges.
    pub fn whole_graph(&mut self) -> Graph {
        let nodes = self.nodes();
        let weights = self.weights();
        Graph::of(&self.profile, &nodes, &weights, self.config.drop_negative)
    }

    /// The graph within the limits of the report; chooses the output unit.
    pub fn trimmed_graph(&mut self) -> Trimmed {
        let nodes = self.nodes();
        let weights = self.weights();
        let limits = match self.format {
            Format::Callgrind => Limits { nodes: 0, node_fraction: 0.0, edge_fraction: 0.0 },
            _ => Limits {
                nodes: self.config.nodecount,
                node_fraction: self.config.nodefraction,
                edge_fraction: self.config.edgefraction,
            },
        };
        let can_be_tree = matches!(self.format, Format::Dot | Format::Callgrind);
        let style = super::graph::Style {
            is_tree: self.config.call_tree && can_be_tree,
            for_picture: self.format == Format::Dot,
            by_cum: self.config.sort_by_cum,
            drop_negative: self.config.drop_negative,
            // A table shows of its edges only whether they were inlined.
            without_edges: matches!(self.format, Format::Text | Format::TopProto)
                && !nodes.has_inlines,
        };
        let trimmed = Trimmed::of(self, &nodes, &weights, limits, style);
        self.choose_unit(&trimmed.graph);
        trimmed
    }

    /// Picks one unit for the whole report: that of the smallest value, larger where the
    /// largest is far from it.
    fn choose_unit(&mut self, graph: &Graph) {
        if self.output_unit != "minimum" || graph.order.is_empty() {
            return;
        }
        let size = |value: i64| value.wrapping_abs();
        let values = graph.order.iter().map(|id| graph.node(*id));
        let values = values.map(|node| match size(node.flat_value()) {
            0 => size(node.cum_value()),
            flat => flat,
        });
        let smallest = values.filter(|value| *value > 0).min();
        let smallest = self.divided(smallest.unwrap_or(self.total));
        let largest = self.divided(self.total);
        let unit_of = |value| scale(value, &self.sample_unit, "minimum").1;
        let mut unit = unit_of(smallest);
        let is_far = smallest.wrapping_mul(100) < largest && self.format != Format::Callgrind;
        if unit != unit_of(largest) && is_far {
            unit = unit_of(smallest.wrapping_mul(100));
        }
        self.output_unit = if unit.is_empty() { &self.sample_unit } else { unit }.to_owned();
    }

    /// Lines that say what the profile is.
    pub fn profile_labels(&self) -> Vec<String> {
        let profile = &self.profile;
        let mut lines = Vec::new();
        if let Some(mapping) = profile.mappings.first() {
            let file = profile.str(mapping.filename);
            if !file.is_empty() {
                lines.push(format!("File: {}", paths::base(file)));
            }
            if mapping.build_id != StrId(0) {
                lines.push(format!("Build ID: {}", profile.str(mapping.build_id)));
            }
        }
        let comments = profile.comments.iter().map(|comment| profile.str(*comment));
        lines.extend(comments.filter(|text| !text.starts_with('#')).map(str::to_owned));
        if !self.sample_type.is_empty() {
            lines.push(format!("Type: {}", self.sample_type));
        }
        if profile.doc_url != StrId(0) {
            lines.push(format!("Doc: {}", profile.str(profile.doc_url)));
        }
        if profile.time_nanos != 0 {
            lines.push(format!("Time: {}", self.time.short));
        }
        if profile.duration_nanos != 0 {
            let duration = label(profile.duration_nanos, "nanoseconds");
            let (nanos, unit) = scale(self.total, &self.sample_unit, "nanoseconds");
            let share = match unit == "ns" && nanos != 0.0 {
                true => format!("({})", percentage(go_int(nanos), profile.duration_nanos)),
                false => String::new(),
            };
            let total = self.format_value(self.total);
            lines.push(format!("Duration: {duration}, Total samples = {total} {share}"));
        }
        lines
    }

    /// Lines above a report: what the profile is, which filters are active, what is
    /// shown of it. `for_picture` has them in full.
    pub fn labels(&self, trimmed: &Trimmed, for_picture: bool) -> Vec<String> {
        let mut lines = Vec::new();
        if for_picture || !self.config.compact_labels {
            lines = self.profile_labels();
        }
        let filters = active_filters(&self.config);
        if !filters.is_empty() {
            lines.push("Active filters:".to_owned());
            lines.extend(filters.into_iter().map(|filter| format!("   {}", shortened(filter))));
        }
        let graph = &trimmed.graph;
        let flats = graph.order.iter().map(|id| graph.node(*id).flat_value());
        let shown = flats.fold(0_i64, i64::wrapping_add);
        lines.push(format!(
            "Showing nodes accounting for {}, {} of {} total",
            self.format_value(shown),
            percentage(shown, self.total).trim(),
            self.format_value(self.total)
        ));
        if self.total != 0 {
            let cutoff =
                |share: f64| self.format_value(go_int(self.total as f64 * share).wrapping_abs());
            let dropped = |count: usize, what: &str, by: &str, share: f64| {
                let plural = if count > 1 { "s" } else { "" };
                format!("Dropped {count} {what}{plural} ({by} <= {})", cutoff(share))
            };
            if trimmed.dropped_nodes > 0 {
                let share = self.config.nodefraction;
                lines.push(dropped(trimmed.dropped_nodes, "node", "cum", share));
            }
            if for_picture && trimmed.dropped_edges > 0 {
                let share = self.config.edgefraction;
                lines.push(dropped(trimmed.dropped_edges, "edge", "freq", share));
            }
            let nodes = graph.order.len();
            if nodes > 0 && nodes < trimmed.heavy_nodes {
                lines.push(format!("Showing top {nodes} nodes out of {}", trimmed.heavy_nodes));
            }
        }
        if for_picture {
            lines.push("\nSee https://git.io/JfYMW for how to read the graph".to_owned());
        }
        lines
    }

    /// The whole function that a node is a place in, within its caller in a tree.
    pub fn function_key(graph: &Graph, id: super::graph::NodeId) -> (Option<u32>, NodeInfo) {
        let node = graph.node(id);
        (node.parent.map(|parent| parent.0), node.info.function())
    }
}

fn shortened(filter: String) -> String {
    if filter.len() <= 80 {
        return filter;
    }
    // Go cuts bytes; we cut before a letter that would break.
    let end = (0..=80).rev().find(|end| filter.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", filter.get(..end).unwrap_or(""))
}

fn active_filters(config: &Config) -> Vec<String> {
    let filters = [
        ("focus", &config.focus),
        ("ignore", &config.ignore),
        ("hide", &config.hide),
        ("show", &config.show),
        ("show_from", &config.show_from),
        ("tagfocus", &config.tagfocus),
        ("tagignore", &config.tagignore),
        ("tagshow", &config.tagshow),
        ("taghide", &config.taghide),
    ];
    let active = filters.into_iter().filter(|(_, value)| !value.is_empty());
    active.map(|(name, value)| format!("{name}={value}")).collect()
}

/// Options as a command needs them: listings are never trimmed, and so on.
fn overridden(mut config: Config, command: &Command) -> Config {
    let mut trim = config.trim;
    match command.name.as_str() {
        "disasm" => {
            trim = false;
            config.granularity = Granularity::Addresses;
            // One place an address, or values of inlined calls would count twice.
            config.noinlines = true;
        }
        "weblist" => {
            trim = false;
            config.granularity = Granularity::Addresses;
            config.noinlines = false;
        }
        "peek" => trim = false,
        "list" => {
            trim = false;
            config.granularity = Granularity::Lines;
        }
        "text" | "top" | "topproto" if config.nodecount == -1 => config.nodecount = 0,
        "text" | "top" | "topproto" => {}
        _ if config.nodecount == -1 => config.nodecount = 80,
        _ => {}
    }
    if matches!(command.format, Format::Proto | Format::Raw | Format::Callgrind) {
        trim = false;
        config.granularity = Granularity::Addresses;
    }
    if !trim {
        config.nodecount = 0;
        config.nodefraction = 0.0;
        config.edgefraction = 0.0;
    }
    config
}

fn detail(config: &Config) -> Option<Detail> {
    let inlines = !config.noinlines;
    let granularity = config.granularity;
    if granularity == Granularity::Addresses && inlines {
        return None;
    }
    use Granularity::{Addresses, Default, FileFunctions, Files, Functions, Lines};
    Some(Detail {
        inlines,
        functions: granularity != Files,
        files: !matches!(granularity, Default | Functions),
        lines: matches!(granularity, Lines | Addresses),
        columns: config.showcolumns,
        addresses: granularity == Addresses,
    })
    .filter(|_| {
        matches!(granularity, Default | Functions | FileFunctions | Files | Lines | Addresses)
    })
}

fn add_label_frames(profile: &mut Profile, config: &Config, notes: &mut Vec<String>) {
    let keys = |list: &'_ str| -> Vec<String> {
        list.split(',').filter(|key| !key.is_empty()).map(str::to_owned).collect()
    };
    let (roots, leaves) = (keys(&config.tagroot), keys(&config.tagleaf));
    let mut matched = (false, false);
    if !roots.is_empty() || !leaves.is_empty() {
        let roots: Vec<&str> = roots.iter().map(String::as_str).collect();
        let leaves: Vec<&str> = leaves.iter().map(String::as_str).collect();
        matched = labels::add_frames(profile, &roots, &leaves, &config.unit);
    }
    note(notes, config.tagroot.is_empty() || matched.0, "TagRoot");
    note(notes, config.tagleaf.is_empty() || matched.1, "TagLeaf");
}

fn note(notes: &mut Vec<String>, matched: bool, option: &str) {
    if !matched {
        notes.push(format!("{option} expression matched no samples"));
    }
}

fn apply_filters(
    profile: &mut Profile,
    units: &LabelUnits,
    config: &Config,
    notes: &mut Vec<String>,
) -> Result<(), String> {
    let pattern = |name: &str, value: &str| -> Result<Option<Pattern>, String> {
        let failed = |error| format!("parsing {name} regexp: {error}");
        (!value.is_empty()).then(|| Pattern::new(value).map_err(failed)).transpose()
    };
    let focus = pattern("focus", &config.focus)?;
    let ignore = pattern("ignore", &config.ignore)?;
    let hide = pattern("hide", &config.hide)?;
    let show = pattern("show", &config.show)?;
    let show_from = pattern("show_from", &config.show_from)?;
    let mut tag_filter = |name: &str, value: &str| -> Result<Option<TagFilter>, String> {
        if value.is_empty() {
            return Ok(None);
        }
        let (filter, note) = TagFilter::compile(name, value)?;
        notes.extend(note);
        Ok(Some(filter))
    };
    let tagfocus = tag_filter("tagfocus", &config.tagfocus)?;
    let tagignore = tag_filter("tagignore", &config.tagignore)?;
    let prune_from = pattern("prune_from", &config.prune_from)?;

    let matches =
        filter::by_name(profile, focus.as_ref(), ignore.as_ref(), hide.as_ref(), show.as_ref());
    note(notes, focus.is_none() || matches.focus, "Focus");
    note(notes, ignore.is_none() || matches.ignore, "Ignore");
    note(notes, hide.is_none() || matches.hide, "Hide");
    note(notes, show.is_none() || matches.show, "Show");
    let matched = filter::show_from(profile, show_from.as_ref());
    note(notes, show_from.is_none() || matched, "ShowFrom");
    let matched = tagfilter::filter_samples(profile, tagfocus.as_ref(), tagignore.as_ref(), units);
    note(notes, tagfocus.is_none() || matched.0, "TagFocus");
    note(notes, tagignore.is_none() || matched.1, "TagIgnore");
    let tagshow = pattern("tagshow", &config.tagshow)?;
    let taghide = pattern("taghide", &config.taghide)?;
    let matched = tagfilter::filter_labels(profile, tagshow.as_ref(), taghide.as_ref());
    note(notes, tagshow.is_none() || matched.0, "TagShow");
    note(notes, taghide.is_none() || matched.1, "TagHide");
    if let Some(pattern) = &prune_from {
        filter::prune_from(profile, pattern);
    }
    Ok(())
}

/// The column that `sample_index` asks for by number or name.
///
/// # Errors
/// When there is no such column.
pub fn sample_index(profile: &Profile, asked: &str) -> Result<usize, String> {
    let count = profile.sample_types.len();
    if count == 0 {
        return Err("profile has no samples".to_owned());
    }
    if asked.is_empty() {
        return Ok(profile.default_column().unwrap_or(count - 1));
    }
    if let Ok(index) = asked.parse::<i64>() {
        let known = usize::try_from(index).ok().filter(|index| *index < count);
        let outside = || format!("sample_index {asked} is outside the range [0..{}]", count - 1);
        return known.ok_or_else(outside);
    }
    let kinds: Vec<&str> = profile.sample_types.iter().map(|t| profile.str(t.kind)).collect();
    let legacy = asked.strip_prefix("inuse_").unwrap_or(asked);
    let found = kinds.iter().position(|kind| *kind == asked || *kind == legacy);
    found.ok_or_else(|| format!("sample_index {asked:?} must be one of: [{}]", kinds.join(" ")))
}
