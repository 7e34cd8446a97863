//! Labels on nodes: the small boxes of a picture.

use std::collections::{BTreeMap, HashMap};

use ahash::AHashMap;
use model::{Label, LabelValue, StackId};

use super::{Graph, NodeId, Nodes, Weight, mean};
use crate::pprof::labels::BASE_LABEL;
use crate::pprof::measure::scaled_label;
use crate::pprof::report::Report;

/// Boxes drawn for one node at most.
pub const NODELETS_MAX: usize = 4;

/// A label and its share of a node.
#[derive(Clone, Debug, Default)]
pub struct Tag {
    /// As it is shown.
    pub name: String,
    /// Unit of `value`; empty for a text.
    pub unit: String,
    /// The number.
    pub value: i64,
    /// Own value of the node's samples with it.
    pub flat: i64,
    /// What divides it when means are shown.
    pub flat_div: i64,
    /// Value of all samples through the node with it.
    pub cum: i64,
    /// What divides it when means are shown.
    pub cum_div: i64,
}

impl Tag {
    fn add(&mut self, weight: Weight, is_flat: bool) {
        let (sum, div) = match is_flat {
            true => (&mut self.flat, &mut self.flat_div),
            false => (&mut self.cum, &mut self.cum_div),
        };
        *sum = sum.wrapping_add(weight.value);
        *div = div.wrapping_add(weight.div);
    }

    /// Own value, the mean where there is a divisor.
    pub fn flat_value(&self) -> i64 {
        mean(self.flat, self.flat_div)
    }

    /// Value with all that is called, the mean where there is a divisor.
    pub fn cum_value(&self) -> i64 {
        mean(self.cum, self.cum_div)
    }
}

/// Sorts tags by weight, then name.
pub fn sort_tags(tags: &mut [Tag], by_flat: bool) {
    tags.sort_by(|a, b| {
        let abs = i64::wrapping_abs;
        let by_cum = match by_flat || a.cum == b.cum {
            true => std::cmp::Ordering::Equal,
            false => abs(b.cum).cmp(&abs(a.cum)),
        };
        by_cum.then_with(|| abs(b.flat).cmp(&abs(a.flat))).then_with(|| a.name.cmp(&b.name))
    });
}

/// The tags of a node.
#[derive(Clone, Debug, Default)]
pub struct NodeTags {
    /// Texts of whole label sets.
    pub labels: BTreeMap<String, Tag>,
    /// Numbers, by the label set that they come with.
    pub numbers: BTreeMap<String, BTreeMap<String, Tag>>,
}

impl NodeTags {
    /// Drops tags below `cutoff`.
    pub(super) fn trim(&mut self, cutoff: i64) {
        let is_heavy =
            |tag: &Tag| tag.flat.wrapping_abs() >= cutoff || tag.cum.wrapping_abs() >= cutoff;
        self.labels.retain(|_, tag| is_heavy(tag));
        self.numbers.values_mut().for_each(|tags| tags.retain(|_, tag| is_heavy(tag)));
    }

    /// Number of tags with an own value.
    pub(super) fn count(&self) -> usize {
        let all = self.labels.values().chain(self.numbers.values().flat_map(BTreeMap::values));
        all.filter(|tag| tag.flat != 0).count()
    }
}

/// A label set as nodes show it.
struct TagSet {
    text: String,
    /// Shown text, unit and value of each number.
    numbers: Vec<(String, String, i64)>,
}

impl Graph {
    /// The tags of `wanted` nodes.
    pub(super) fn tags(
        &self,
        report: &Report,
        nodes: &Nodes,
        wanted: &[NodeId],
    ) -> HashMap<NodeId, NodeTags> {
        let mut tags: HashMap<NodeId, NodeTags> =
            wanted.iter().map(|id| (*id, NodeTags::default())).collect();
        if report.profile.samples.are_unlabelled() {
            return tags;
        }
        let mut is_wanted = vec![false; self.nodes.len()];
        for id in wanted {
            is_wanted.iter_mut().skip(id.0 as usize).take(1).for_each(|flag| *flag = true);
        }
        let is_wanted = |id: &NodeId| is_wanted.get(id.0 as usize) == Some(&true);
        let (sets, weights) = weigh(report);
        // By node and set first: names are compared once a set, not once a sample.
        let mut sums: AHashMap<(NodeId, u32), (Weight, Weight)> = AHashMap::new();
        let mut path = Vec::new();
        let mut leaf = None;
        let mut last_stack = None;
        for ((stack, set), weight) in weights {
            if last_stack != Some(stack) {
                self.path(&report.profile, nodes, stack, &mut path);
                leaf = path.last().copied().filter(is_wanted);
                path.retain(is_wanted);
                path.sort_unstable();
                path.dedup();
                last_stack = Some(stack);
            }
            for id in &path {
                let (_, cum) = sums.entry((*id, set)).or_default();
                cum.add(weight.value, weight.div);
            }
            if let Some(id) = leaf {
                let (flat, _) = sums.entry((id, set)).or_default();
                flat.add(weight.value, weight.div);
            }
        }
        for ((id, set), (flat, cum)) in sums {
            if let Some((node, set)) = tags.get_mut(&id).zip(sets.get(set as usize)) {
                add(node, set, flat, cum);
            }
        }
        tags
    }
}

fn add(node: &mut NodeTags, set: &TagSet, flat: Weight, cum: Weight) {
    let add_to = |tag: &mut Tag| {
        tag.add(flat, true);
        tag.add(cum, false);
    };
    if !set.text.is_empty() {
        add_to(
            node.labels
                .entry(set.text.clone())
                .or_insert_with(|| Tag { name: set.text.clone(), ..Tag::default() }),
        );
    }
    if set.numbers.is_empty() {
        return;
    }
    let numbers = node.numbers.entry(set.text.clone()).or_default();
    for (name, unit, value) in &set.numbers {
        add_to(numbers.entry(name.clone()).or_insert_with(|| Tag {
            name: name.clone(),
            unit: unit.clone(),
            value: *value,
            ..Tag::default()
        }));
    }
}

/// A stack, a label set, and what their samples weigh.
type Weighed = ((StackId, u32), Weight);

/// Label sets, and weights by stack and set, sorted.
fn weigh(report: &Report) -> (Vec<TagSet>, Vec<Weighed>) {
    let profile = &report.profile;
    let mut index: AHashMap<Vec<Label>, u32> = AHashMap::new();
    let mut sets = Vec::new();
    let mut weights: AHashMap<(StackId, u32), Weight> = AHashMap::new();
    let mut shown = Vec::new();
    for (sample, stack) in profile.samples.ids().zip(&profile.samples.stacks) {
        let (value, div) = report.value(sample);
        if value == 0 && div == 0 {
            continue;
        }
        shown.clear();
        let labels = profile.samples.labels(sample).iter();
        shown.extend(labels.copied().filter(|label| match label.value {
            LabelValue::Str(_) => profile.str(label.key) != BASE_LABEL,
            LabelValue::Num(..) => profile.str(label.key) == "bytes",
        }));
        let set = match index.get(&shown) {
            Some(set) => *set,
            None => {
                sets.push(tag_set(report, &shown));
                index.insert(shown.clone(), sets.len() as u32 - 1);
                sets.len() as u32 - 1
            }
        };
        weights.entry((*stack, set)).or_default().add(value, div);
    }
    let mut weights: Vec<_> = weights.into_iter().collect();
    weights.sort_unstable_by_key(|(key, _)| *key);
    (sets, weights)
}

fn tag_set(report: &Report, labels: &[Label]) -> TagSet {
    let profile = &report.profile;
    let mut texts = Vec::new();
    let mut numbers = Vec::new();
    for label in labels {
        match label.value {
            LabelValue::Str(text) => {
                texts.push(format!("{}:{}", profile.str(label.key), profile.str(text)));
            }
            LabelValue::Num(number, _) => {
                let unit = report.label_units.get(label.key);
                let name = scaled_label(number, unit, &report.output_unit);
                numbers.push((name, unit.to_owned(), number));
            }
        }
    }
    texts.sort();
    TagSet { text: texts.join("\\n"), numbers }
}
