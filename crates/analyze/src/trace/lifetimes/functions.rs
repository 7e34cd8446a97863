//! What goroutines started with, and what they allocated.
//!
//! Of a goroutine that was there before the trace, the function is known only when it first
//! stops somewhere: until then it goes by a label of its own, which is named later.

use std::collections::BTreeMap;

use ahash::AHashMap;
use model::trace::{GoId, GoState, GoTransition, Tables};

use super::{Count, FunctionLifetimes};
use crate::trace::intern::{Name, Names};

/// Stands for a function, or for one goroutine whose function is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Label(u32);

impl Label {
    /// Of what no goroutine allocates.
    pub(super) const NONE: Label = Label(0);
}

#[derive(Debug)]
pub(super) struct Functions {
    names: Names,
    labels: AHashMap<Name, Label>,
    of: AHashMap<GoId, Label>,
    last: (GoId, Label),
    /// By label.
    figures: Vec<(Option<Name>, FunctionLifetimes)>,
}

impl Default for Functions {
    fn default() -> Functions {
        Functions {
            names: Names::default(),
            labels: AHashMap::new(),
            of: AHashMap::new(),
            last: (GoId::NONE, Label::NONE),
            figures: vec![(None, FunctionLifetimes::default())],
        }
    }
}

impl Functions {
    /// Ids mean something else from here on.
    pub(super) fn forget_ids(&mut self) {
        self.names.forget_ids();
    }

    /// What a goroutine started with.
    #[inline]
    pub(super) fn of(&mut self, goroutine: GoId) -> Label {
        if self.last.0 != goroutine {
            let label = match self.of.get(&goroutine) {
                Some(label) => *label,
                None => {
                    let label = self.add(None);
                    self.of.insert(goroutine, label);
                    label
                }
            };
            self.last = (goroutine, label);
        }
        self.last.1
    }

    pub(super) fn figures(&mut self, label: Label) -> &mut FunctionLifetimes {
        #[expect(clippy::indexing_slicing, reason = "labels are made by `add` only")]
        &mut self.figures[label.0 as usize].1
    }

    pub(super) fn change(&mut self, change: &GoTransition, tables: &Tables<'_>) {
        let id = change.goroutine;
        if change.to == GoState::NotExist {
            self.of.remove(&id);
            self.last = (GoId::NONE, Label::NONE);
            return;
        }
        let known = self.of.get(&id).copied();
        let name_of = |label: Label| self.figures.get(label.0 as usize).and_then(|it| it.0);
        if known.and_then(name_of).is_some() {
            return;
        }
        let Some(function) = tables.started_with(change.stack) else { return };
        let name = self.names.of(function, tables);
        match known.and_then(|label| self.figures.get_mut(label.0 as usize)) {
            Some(figures) => figures.0 = Some(name),
            None => {
                let label = match self.labels.get(&name) {
                    Some(label) => *label,
                    None => self.add(Some(name)),
                };
                self.labels.insert(name, label);
                self.of.insert(id, label);
            }
        }
    }

    fn add(&mut self, name: Option<Name>) -> Label {
        self.figures.push((name, FunctionLifetimes::default()));
        Label((self.figures.len() - 1) as u32)
    }

    /// Ends: those that allocated most bytes first.
    pub(super) fn finish(self) -> Vec<FunctionLifetimes> {
        let mut by_name: BTreeMap<Option<Name>, FunctionLifetimes> = BTreeMap::new();
        for (name, figures) in &self.figures {
            let sum = by_name.entry(*name).or_default();
            for (to, from) in [
                (&mut sum.allocated, figures.allocated),
                (&mut sum.freed, figures.freed),
                (&mut sum.young, figures.young),
            ] {
                to.objects += from.objects;
                to.bytes = to.bytes.saturating_add(from.bytes);
            }
        }
        let named = by_name.into_iter().map(|(name, figures)| {
            let function = name.map_or("", |name| self.names.text(name)).to_owned();
            FunctionLifetimes { function, ..figures }
        });
        let mut all: Vec<_> = named.filter(|it| it.allocated != Count::default()).collect();
        let weight = |it: &FunctionLifetimes| it.allocated.bytes;
        all.sort_by(|a, b| weight(b).cmp(&weight(a)).then_with(|| a.function.cmp(&b.function)));
        all
    }
}
