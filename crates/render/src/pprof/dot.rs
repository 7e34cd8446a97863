//! `dot`: the call graph for graphviz, as pprof writes it.

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
    let trimmed = report.trimmed_graph();
    Dot { report, trimmed: &trimmed }.write(out)
}

struct Dot<'a> {
    report: &'a Report,
    trimmed: &'a Trimmed,
}

impl Dot<'_> {
    fn graph(&self) -> &Graph {
        &self.trimmed.graph
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let title = match self.report.title.as_str() {
            "" => "unnamed",
            title => title,
        };
        writeln!(out, "digraph \"{title}\" {{")?;
        writeln!(out, "node [style=filled fillcolor=\"#f8f8f8\"]")?;
        self.write_legend(out)?;
        let graph = self.graph();
        let flats = graph.order.iter().map(|id| graph.node(*id).flat_value().wrapping_abs());
        let largest = flats.max().unwrap_or(0) as f64;
        let mut numbers = vec![0; graph.nodes.len()];
        for (number, id) in (1..).zip(&graph.order) {
            numbers.iter_mut().skip(id.0 as usize).take(1).for_each(|slot| *slot = number);
        }
        let number = |id: NodeId| numbers.get(id.0 as usize).copied().unwrap_or(0);
        let mut has_nodelets = vec![false; graph.nodes.len()];
        for id in &graph.order {
            self.write_node(*id, number(*id), largest, out)?;
            let nodelets = self.nodelets(*id, number(*id));
            out.write_all(nodelets.as_bytes())?;
            let flag = has_nodelets.iter_mut().skip(id.0 as usize).take(1);
            flag.for_each(|flag| *flag = !nodelets.is_empty());
        }
        let edges = graph.order.iter().flat_map(|id| graph.outs(*id));
        for edge in graph.sorted_edges(&self.report.profile.strings, edges) {
            let has_nodelets = has_nodelets.get(edge.src.0 as usize) == Some(&true);
            self.write_edge(edge, number(edge.src), number(edge.dest), has_nodelets, out)?;
        }
        writeln!(out, "}}")
    }

    fn write_legend(&self, out: &mut dyn Write) -> io::Result<()> {
        let labels = self.report.labels(self.trimmed, true);
        let labels: Vec<String> = labels.iter().map(|text| escape(text)).collect();
        let Some(first) = labels.first() else { return Ok(()) };
        write!(out, "subgraph cluster_L {{ \"{first}\" [shape=box fontsize=16")?;
        write!(out, " label=\"{}\\l\"", labels.join("\\l"))?;
        if !self.report.title.is_empty() {
            write!(out, " tooltip=\"{}\"", self.report.title)?;
        }
        writeln!(out, "] }}")
    }

    fn share(&self, value: i64) -> String {
        percentage(value, self.report.total).trim().to_owned()
    }

    fn write_node(
        &self,
        id: NodeId,
        number: usize,
        largest: f64,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let node = self.graph().node(id);
        let (flat, cum) = (node.flat_value(), node.cum_value());
        let flat_text = self.report.format_value(flat);
        let mut text = self.lines_of_name(id);
        match flat {
            0 => text.push('0'),
            _ => text.push_str(&format!("{flat_text} ({})", self.share(flat))),
        }
        let mut cum_text = flat_text;
        if cum != flat {
            text.push_str(if flat == 0 { " " } else { "\\n" });
            cum_text = self.report.format_value(cum);
            text.push_str(&format!("of {cum_text} ({})", self.share(cum)));
        }
        let size = flat.wrapping_abs() as f64;
        let font = match largest != 0.0 && flat != 0 && size <= largest {
            true => 8 + (16.0 * (size / largest).sqrt()).ceil() as i64,
            false => 8,
        };
        let score = cum as f64 / self.report.total.wrapping_abs() as f64;
        let name = self.graph().name(&self.report.profile.strings, id);
        writeln!(
            out,
            "N{number} [label=\"{text}\" id=\"node{number}\" fontsize={font} shape=box \
             tooltip=\"{} ({cum_text})\" color=\"{}\" fillcolor=\"{}\"]",
            escape(name),
            color(score, false),
            color(score, true)
        )
    }

    /// The name with a line for each part.
    fn lines_of_name(&self, id: NodeId) -> String {
        let info = &self.graph().node(id).info;
        let text = |id| self.report.profile.str(id);
        let name = escape(&shorten(text(info.name)));
        let name = name.replace("::", "\\n").replace("[...]", "[…]").replace('.', "\\n");
        let file = match text(info.file) {
            "" => "",
            file => paths::base(file),
        };
        name_parts(info, &name, file, text(info.objfile)).join("\\n") + "\\n"
    }

    /// The small boxes of a node's labels.
    fn nodelets(&self, id: NodeId, number: usize) -> String {
        let Some(tags) = self.trimmed.tags.get(&id) else { return String::new() };
        // Leaves show what they stand for, callees that were removed included.
        let by_flat = self.graph().outs(id).next().is_some();
        let mut boxes = String::new();
        let mut labels: Vec<Tag> = tags.labels.values().cloned().collect();
        sort_tags(&mut labels, by_flat);
        labels.truncate(NODELETS_MAX);
        for (index, tag) in labels.iter().enumerate() {
            let weight = if by_flat { tag.flat_value() } else { tag.cum_value() };
            if weight == 0 {
                continue;
            }
            let weight = self.report.format_value(weight);
            let name = &tag.name;
            boxes.push_str(&format!(
                "N{number}_{index} [label = \"{name}\" id=\"N{number}_{index}\" fontsize=8 \
                 shape=box3d tooltip=\"{weight}\"]\n\
                 N{number} -> N{number}_{index} [label=\" {weight}\" weight=100 \
                 tooltip=\"{weight}\" labeltooltip=\"{weight}\"]\n"
            ));
            boxes.push_str(&self.number_boxes(tags, name, by_flat, &format!("N{number}_{index}")));
        }
        boxes.push_str(&self.number_boxes(tags, "", by_flat, &format!("N{number}")));
        boxes
    }

    fn number_boxes(&self, tags: &NodeTags, set: &str, by_flat: bool, source: &str) -> String {
        let mut boxes = String::new();
        let Some(numbers) = tags.numbers.get(set) else { return boxes };
        for (index, tag) in collapsed(numbers, by_flat).iter().enumerate() {
            let (mut weight, mut style) = (tag.cum_value(), " style=\"dotted\"");
            if by_flat || tag.flat_value() == tag.cum_value() {
                (weight, style) = (tag.flat_value(), "");
            }
            if weight == 0 {
                continue;
            }
            let weight = self.report.format_value(weight);
            boxes.push_str(&format!(
                "N{source}_{index} [label = \"{}\" id=\"N{source}_{index}\" fontsize=8 \
                 shape=box3d tooltip=\"{weight}\"]\n\
                 {source} -> N{source}_{index} [label=\" {weight}\" weight=100 \
                 tooltip=\"{weight}\" labeltooltip=\"{weight}\"{style}]\n",
                tag.name
            ));
        }
        boxes
    }

    fn write_edge(
        &self,
        edge: &Edge,
        from: usize,
        to: usize,
        has_nodelets: bool,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let value = edge.weight_value();
        let weight = self.report.format_value(value);
        let inline = if edge.is_inline { "\\n (inline)" } else { "" };
        let mut text = format!("label=\" {weight}{inline}\"");
        let total = self.report.total;
        if total != 0 {
            let share = |scale: i64| {
                value.wrapping_mul(scale).wrapping_div(total).wrapping_abs().min(scale) + 1
            };
            if share(100) > 1 {
                text.push_str(&format!(" weight={}", share(100)));
            }
            if share(5) > 1 {
                text.push_str(&format!(" penwidth={}", share(5)));
            }
            let score = value as f64 / total.wrapping_abs() as f64;
            text.push_str(&format!(" color=\"{}\"", color(score, false)));
        }
        let arrow = if edge.is_residual { "..." } else { "->" };
        let name = |id| escape(self.graph().name(&self.report.profile.strings, id));
        let tip = format!("\"{} {arrow} {} ({weight})\"", name(edge.src), name(edge.dest));
        text.push_str(&format!(" tooltip={tip} labeltooltip={tip}"));
        if edge.is_residual {
            text.push_str(" style=\"dotted\"");
        }
        if has_nodelets {
            // Callees stand further off where labels hang between.
            text.push_str(" minlen=2");
        }
        writeln!(out, "N{from} -> N{to} [{text}]")
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
