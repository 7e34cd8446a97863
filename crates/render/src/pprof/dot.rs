//! The call graph as a picture, and `dot`: that picture for graphviz, as pprof writes it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::LazyLock;

use analyze::pprof::graph::{
    Edge, Graph, NODELETS_MAX, NodeId, NodeTags, Tag, Trimmed, go_int, mean, name_parts, sort_tags,
};
use analyze::pprof::measure::{label, percentage, scale};
use analyze::pprof::{Report, paths};
use regex::Regex;

pub(super) fn write(report: &mut Report, out: &mut dyn Write) -> io::Result<()> {
    Picture::of(report).write_dot(out)
}

/// A call graph with its texts and colours, not yet laid out.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// Name of the program; empty when unknown.
    pub title: String,
    /// Lines of the legend.
    pub legend: Vec<String>,
    /// Functions, most important first.
    pub nodes: Vec<PictureNode>,
    /// Calls, heaviest first.
    pub edges: Vec<PictureEdge>,
}

/// A box with a function.
#[derive(Clone, Debug, Default)]
pub struct PictureNode {
    /// The function it stands for.
    pub function: String,
    /// Lines of text.
    pub lines: Vec<String>,
    /// Size of the text in points.
    pub font_size: i64,
    /// Full name and value.
    pub tooltip: String,
    /// Colour of the border, `#rrggbb`.
    pub color: String,
    /// Colour inside.
    pub fill: String,
    /// Labels that hang on it.
    pub tags: Vec<PictureTag>,
}

/// A label that hangs on a node.
#[derive(Clone, Debug, Default)]
pub struct PictureTag {
    /// Its name in dot.
    id: String,
    /// The name in dot of what it hangs on.
    source: String,
    /// Its lines.
    pub text: String,
    /// What it weighs.
    pub weight: String,
    /// The weight is not the node's alone.
    pub is_dotted: bool,
    /// It hangs on the tag with this position, not on the node itself.
    pub parent: Option<usize>,
}

/// A call.
#[derive(Clone, Debug, Default)]
pub struct PictureEdge {
    /// Position of the caller plus one; 0 when it is not shown.
    pub from: usize,
    /// Position of the callee plus one; 0 when it is not shown.
    pub to: usize,
    /// The weight.
    pub label: String,
    /// The call was inlined.
    pub is_inline: bool,
    /// It leads over functions that are not shown.
    pub is_residual: bool,
    /// Share of the total in percent, plus one, where there is a total.
    pub weight: Option<i64>,
    /// Width of the line.
    pub pen_width: i64,
    /// Colour, where there is a total.
    pub color: Option<String>,
    /// Caller, callee and weight.
    pub tooltip: String,
    /// Ranks between its ends at least.
    pub min_ranks: usize,
}

impl Picture {
    /// The picture of a report's graph.
    pub fn of(report: &mut Report) -> Picture {
        let trimmed = report.trimmed_graph();
        Drawing { report, trimmed: &trimmed }.picture()
    }

    /// Writes the picture for graphviz.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn write_dot(&self, out: &mut dyn Write) -> io::Result<()> {
        let title = if self.title.is_empty() { "unnamed" } else { &self.title };
        writeln!(out, "digraph \"{title}\" {{")?;
        writeln!(out, "node [style=filled fillcolor=\"#f8f8f8\"]")?;
        let legend: Vec<String> = self.legend.iter().map(|text| escape(text)).collect();
        if let Some(first) = legend.first() {
            write!(out, "subgraph cluster_L {{ \"{first}\" [shape=box fontsize=16")?;
            write!(out, " label=\"{}\\l\"", legend.join("\\l"))?;
            if !self.title.is_empty() {
                write!(out, " tooltip=\"{}\"", self.title)?;
            }
            writeln!(out, "] }}")?;
        }
        for (node, number) in self.nodes.iter().zip(1..) {
            node.write_dot(number, out)?;
        }
        self.edges.iter().try_for_each(|edge| edge.write_dot(out))?;
        writeln!(out, "}}")
    }
}

impl PictureNode {
    fn write_dot(&self, number: usize, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "N{number} [label=\"{}\" id=\"node{number}\" fontsize={} shape=box tooltip=\"{}\" \
             color=\"{}\" fillcolor=\"{}\"]",
            self.lines.join("\\n"),
            self.font_size,
            escape(&self.tooltip),
            self.color,
            self.fill
        )?;
        for PictureTag { id, source, text, weight, is_dotted, .. } in &self.tags {
            let style = if *is_dotted { " style=\"dotted\"" } else { "" };
            writeln!(
                out,
                "{id} [label = \"{text}\" id=\"{id}\" fontsize=8 shape=box3d tooltip=\"{weight}\"]"
            )?;
            writeln!(
                out,
                "{source} -> {id} [label=\" {weight}\" weight=100 tooltip=\"{weight}\" \
                 labeltooltip=\"{weight}\"{style}]"
            )?;
        }
        Ok(())
    }
}

impl PictureEdge {
    fn write_dot(&self, out: &mut dyn Write) -> io::Result<()> {
        let inline = if self.is_inline { "\\n (inline)" } else { "" };
        let mut text = format!("label=\" {}{inline}\"", self.label);
        if let Some(weight) = self.weight.filter(|weight| *weight > 1) {
            text.push_str(&format!(" weight={weight}"));
        }
        if self.pen_width > 1 {
            text.push_str(&format!(" penwidth={}", self.pen_width));
        }
        if let Some(color) = &self.color {
            text.push_str(&format!(" color=\"{color}\""));
        }
        let tip = escape(&self.tooltip);
        text.push_str(&format!(" tooltip=\"{tip}\" labeltooltip=\"{tip}\""));
        if self.is_residual {
            text.push_str(" style=\"dotted\"");
        }
        if self.min_ranks > 1 {
            text.push_str(&format!(" minlen={}", self.min_ranks));
        }
        writeln!(out, "N{} -> N{} [{text}]", self.from, self.to)
    }
}

/// Makes a picture of a graph.
struct Drawing<'a> {
    report: &'a Report,
    trimmed: &'a Trimmed,
}

impl Drawing<'_> {
    fn graph(&self) -> &Graph {
        &self.trimmed.graph
    }

    fn picture(&self) -> Picture {
        let graph = self.graph();
        let flats = graph.order.iter().map(|id| graph.node(*id).flat_value().wrapping_abs());
        let largest = flats.max().unwrap_or(0) as f64;
        let mut numbers = vec![0; graph.nodes.len()];
        let mut nodes = Vec::with_capacity(graph.order.len());
        for (number, id) in (1..).zip(&graph.order) {
            numbers.iter_mut().skip(id.0 as usize).take(1).for_each(|slot| *slot = number);
            let tags = self.tags(*id, number);
            nodes.push(PictureNode { tags, ..self.node(*id, largest) });
        }
        let number = |id: NodeId| numbers.get(id.0 as usize).copied().unwrap_or(0);
        let edges = graph.order.iter().flat_map(|id| graph.outs(*id));
        let edges = graph.sorted_edges(&self.report.profile.strings, edges);
        let edges = edges.into_iter().map(|edge| {
            let (from, to) = (number(edge.src), number(edge.dest));
            let node: Option<&PictureNode> = from.checked_sub(1).and_then(|from| nodes.get(from));
            // Callees stand further off where labels hang between.
            let has_tags = node.is_some_and(|node| !node.tags.is_empty());
            let min_ranks = if has_tags { 2 } else { 1 };
            PictureEdge { from, to, min_ranks, ..self.edge(edge) }
        });
        let edges = edges.collect();
        let legend = self.report.labels(self.trimmed, true);
        Picture { title: self.report.title.clone(), legend, nodes, edges }
    }

    fn share(&self, value: i64) -> String {
        percentage(value, self.report.total).trim().to_owned()
    }

    fn node(&self, id: NodeId, largest: f64) -> PictureNode {
        let node = self.graph().node(id);
        let (flat, cum) = (node.flat_value(), node.cum_value());
        let flat_text = self.report.format_value(flat);
        let mut lines = self.lines_of_name(id);
        let own = match flat {
            0 => "0".to_owned(),
            _ => format!("{flat_text} ({})", self.share(flat)),
        };
        let mut cum_text = flat_text;
        if cum == flat {
            lines.push(own);
        } else {
            cum_text = self.report.format_value(cum);
            let all = format!("of {cum_text} ({})", self.share(cum));
            match flat {
                0 => lines.push(format!("{own} {all}")),
                _ => lines.extend([own, all]),
            }
        }
        let size = flat.wrapping_abs() as f64;
        let font_size = match largest != 0.0 && flat != 0 && size <= largest {
            true => 8 + (16.0 * (size / largest).sqrt()).ceil() as i64,
            false => 8,
        };
        let score = cum as f64 / self.report.total.wrapping_abs() as f64;
        let name = self.graph().name(&self.report.profile.strings, id);
        let function = match self.report.profile.str(node.info.name) {
            "" => name,
            function => function,
        };
        PictureNode {
            function: function.to_owned(),
            lines,
            font_size,
            tooltip: format!("{name} ({cum_text})"),
            color: color(score, false),
            fill: color(score, true),
            tags: Vec::new(),
        }
    }

    /// The name with a line for each part, as dot escapes them.
    fn lines_of_name(&self, id: NodeId) -> Vec<String> {
        let info = &self.graph().node(id).info;
        let text = |id| self.report.profile.str(id);
        let name = escape(&shorten(text(info.name)));
        let name = name.replace("::", "\\n").replace("[...]", "[…]").replace('.', "\\n");
        let file = match text(info.file) {
            "" => "",
            file => paths::base(file),
        };
        let parts = name_parts(info, &name, file, text(info.objfile));
        parts.iter().flat_map(|part| part.split("\\n")).map(str::to_owned).collect()
    }

    /// The small boxes of a node's labels.
    fn tags(&self, id: NodeId, number: usize) -> Vec<PictureTag> {
        let Some(tags) = self.trimmed.tags.get(&id) else { return Vec::new() };
        // Leaves show what they stand for, callees that were removed included.
        let by_flat = self.graph().outs(id).next().is_some();
        let mut boxes = Vec::new();
        let mut labels: Vec<Tag> = tags.labels.values().cloned().collect();
        sort_tags(&mut labels, by_flat);
        labels.truncate(NODELETS_MAX);
        for (index, tag) in labels.iter().enumerate() {
            let weight = if by_flat { tag.flat_value() } else { tag.cum_value() };
            if weight == 0 {
                continue;
            }
            let id = format!("N{number}_{index}");
            let parent = boxes.len();
            boxes.push(PictureTag {
                id: id.clone(),
                source: format!("N{number}"),
                text: tag.name.clone(),
                weight: self.report.format_value(weight),
                is_dotted: false,
                parent: None,
            });
            boxes.extend(self.numbers(tags, &tag.name, by_flat, &id, Some(parent)));
        }
        boxes.extend(self.numbers(tags, "", by_flat, &format!("N{number}"), None));
        boxes
    }

    fn numbers(
        &self,
        tags: &NodeTags,
        set: &str,
        by_flat: bool,
        source: &str,
        parent: Option<usize>,
    ) -> Vec<PictureTag> {
        let Some(numbers) = tags.numbers.get(set) else { return Vec::new() };
        let mut boxes = Vec::new();
        for (index, tag) in collapsed(numbers, by_flat).into_iter().enumerate() {
            let is_own = by_flat || tag.flat_value() == tag.cum_value();
            let weight = if is_own { tag.flat_value() } else { tag.cum_value() };
            if weight != 0 {
                boxes.push(PictureTag {
                    id: format!("N{source}_{index}"),
                    source: source.to_owned(),
                    text: tag.name,
                    weight: self.report.format_value(weight),
                    is_dotted: !is_own,
                    parent,
                });
            }
        }
        boxes
    }

    fn edge(&self, edge: &Edge) -> PictureEdge {
        let value = edge.weight_value();
        let label = self.report.format_value(value);
        let total = self.report.total;
        let share = |scale: i64| {
            let scaled = value.wrapping_mul(scale).checked_div(total);
            scaled.map(|share| share.wrapping_abs().min(scale) + 1)
        };
        let score = value as f64 / total.wrapping_abs() as f64;
        let arrow = if edge.is_residual { "..." } else { "->" };
        let name = |id| self.graph().name(&self.report.profile.strings, id);
        PictureEdge {
            tooltip: format!("{} {arrow} {} ({label})", name(edge.src), name(edge.dest)),
            label,
            is_inline: edge.is_inline,
            is_residual: edge.is_residual,
            weight: share(100),
            pen_width: share(5).unwrap_or(1),
            color: (total != 0).then(|| color(score, false)),
            ..PictureEdge::default()
        }
    }
}

/// Numbers in at most [`NODELETS_MAX`] ranges: each joins the nearest of the heaviest.
fn collapsed(tags: &BTreeMap<String, Tag>, by_flat: bool) -> Vec<Tag> {
    let mut tags: Vec<Tag> = tags.values().cloned().collect();
    sort_tags(&mut tags, by_flat);
    if tags.len() <= NODELETS_MAX {
        return tags;
    }
    let rest = tags.split_off(NODELETS_MAX);
    let mut groups: Vec<Vec<Tag>> = tags.into_iter().map(|tag| vec![tag]).collect();
    for tag in rest {
        let mut nearest: Option<(f64, &mut Vec<Tag>)> = None;
        for group in &mut groups {
            let distance = group.first().map_or(f64::MAX, |first| distance(&tag, first));
            if nearest.as_ref().is_none_or(|(known, _)| distance < *known) {
                nearest = Some((distance, group));
            }
        }
        if let Some((_, group)) = nearest {
            group.push(tag);
        }
    }
    let mut ranges: Vec<Tag> = groups.iter().map(|group| range(group)).collect();
    sort_tags(&mut ranges, by_flat);
    ranges
}

fn distance(a: &Tag, b: &Tag) -> f64 {
    (scale(b.value, &b.unit, &a.unit).0 - a.value as f64).abs()
}

/// `1kB..4kB` for a group of numbers.
fn range(group: &[Tag]) -> Tag {
    let text = |tag: &Tag| label(tag.value, &tag.unit);
    let (Some(first), [_, others @ ..]) = (group.first(), group) else { return Tag::default() };
    if others.is_empty() {
        let (flat, cum) = (first.flat_value(), first.cum_value());
        return Tag { name: text(first), flat, cum, ..Tag::default() };
    }
    let (mut low, mut high) = (first, first);
    let mut sums = (0_i64, 0_i64, 0_i64, 0_i64);
    for tag in group {
        if go_int(scale(tag.value, &tag.unit, &low.unit).0) < low.value {
            low = tag;
        }
        if go_int(scale(tag.value, &tag.unit, &high.unit).0) > high.value {
            high = tag;
        }
        sums.0 = sums.0.wrapping_add(tag.flat);
        sums.1 = sums.1.wrapping_add(tag.flat_div);
        sums.2 = sums.2.wrapping_add(tag.cum);
        sums.3 = sums.3.wrapping_add(tag.cum_div);
    }
    Tag {
        name: format!("{}..{}", text(low), text(high)),
        flat: mean(sums.0, sums.1),
        cum: mean(sums.2, sums.3),
        ..Tag::default()
    }
}

/// A colour from green (-1) over grey (0) to red (1); light ones for backgrounds.
pub fn color(score: f64, is_background: bool) -> String {
    // Moves colours away from grey, so that small shares differ.
    const SHIFT: f64 = 0.7;
    let (mut saturation, value) = if is_background { (0.1, 0.93) } else { (1.0, 0.7) };
    let mut score = if score.is_nan() { score } else { score.clamp(-1.0, 1.0) };
    if score.abs() < 0.2 {
        saturation *= score.abs() / 0.2;
    }
    if score > 0.0 {
        score = score.powf(1.0 - SHIFT);
    }
    if score < 0.0 {
        score = -(-score).powf(1.0 - SHIFT);
    }
    let (red, green) = match score < 0.0 {
        true => (value * (1.0 + saturation * score), value),
        false => (value, value * (1.0 - saturation * score)),
    };
    let blue = value * (1.0 - saturation);
    let byte = |part: f64| (part * 255.0) as u8;
    format!("#{:02x}{:02x}{:02x}", byte(red), byte(green), byte(blue))
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\l")
}

/// A function's name without package path (Go), package (Java) or namespace (C++).
pub fn shorten(name: &str) -> String {
    static RULES: LazyLock<[Option<Regex>; 5]> = LazyLock::new(|| {
        [
            r"^\(anonymous namespace\)::",
            r"^(.*?)/v(?:[2-9]|[1-9][0-9]+)([./].*)$",
            r"^(?:[0-9A-Za-z_\-\.]+/)+([^.]+\..+)",
            r"^(?:[a-z][0-9A-Za-z_]*\.)*([A-Z][0-9A-Za-z_$]*\.(?:<init>|[a-z][0-9A-Za-z_$]*(?:\$[0-9]+)?))(?:(?:\()|$)",
            r"^(?:[_a-zA-Z][0-9A-Za-z_]*::)+(_*[A-Z][0-9A-Za-z_]*::~?[_a-zA-Z][0-9A-Za-z_]*(?:<.*>)?)",
        ]
        .map(|text| Regex::new(text).ok())
    });
    let [anonymous, version, go, java, cpp] = &*RULES;
    let without = |rule: &Option<Regex>, text: &str, by: &str| match rule {
        Some(rule) => rule.replace(text, by).into_owned(),
        None => text.to_owned(),
    };
    let name = without(anonymous, name, "");
    let name = without(version, &name, "${1}${2}");
    for rule in [go, java, cpp].into_iter().flatten() {
        if let Some(part) = rule.captures(&name).and_then(|found| found.get(1)) {
            return part.as_str().to_owned();
        }
    }
    name
}
