//! MSF1, the binary call tree that the pages draw: columns of numbers that a browser
//! maps as typed arrays, without parsing.
//!
//! Little endian: `"MSF1"`, then u32 version = 1, nodes N, strings S, string bytes B,
//! flags (bit 0: difference, the base column follows); f64 total, f64 base total;
//! u32 parent\[N\] (0xffffffff for the root), name\[N\], file\[N\], line\[N\]; padding to
//! 8; f64 self\[N\], total\[N\], with bit 0 base\[N\]; u32 string_end\[S\]; B bytes of
//! UTF-8. Nodes are in preorder, siblings largest first.

use std::collections::HashMap;

use analyze::report::{CallTree, Stacks};
use model::StrId;

/// Writes a call tree.
pub fn write(stacks: &Stacks, tree: &CallTree) -> Vec<u8> {
    let mut names = Names::default();
    let ids: Vec<(u32, u32)> = tree
        .nodes
        .iter()
        .map(|node| (names.id(stacks, node.frame.function), names.id(stacks, node.frame.file)))
        .collect();
    let count = tree.nodes.len() as u32;
    let mut out = Vec::with_capacity(48 + tree.nodes.len() * 40 + names.text.len());
    out.extend_from_slice(b"MSF1");
    let header =
        [1, count, names.ends.len() as u32, names.text.len() as u32, stacks.is_diff.into()];
    header.iter().for_each(|word| put(&mut out, *word));
    put_float(&mut out, stacks.total.value);
    put_float(&mut out, stacks.total.base);
    tree.nodes.iter().for_each(|node| put(&mut out, node.parent.unwrap_or(u32::MAX)));
    ids.iter().for_each(|(name, _)| put(&mut out, *name));
    ids.iter().for_each(|(_, file)| put(&mut out, *file));
    tree.nodes.iter().for_each(|node| put(&mut out, node.frame.line));
    out.resize(out.len().next_multiple_of(8), 0);
    tree.nodes.iter().for_each(|node| put_float(&mut out, node.own.value));
    tree.nodes.iter().for_each(|node| put_float(&mut out, node.total.value));
    if stacks.is_diff {
        tree.nodes.iter().for_each(|node| put_float(&mut out, node.total.base));
    }
    names.ends.iter().for_each(|end| put(&mut out, *end));
    out.extend_from_slice(names.text.as_bytes());
    out
}

/// Only the strings the tree uses.
#[derive(Default)]
struct Names {
    ids: HashMap<StrId, u32>,
    ends: Vec<u32>,
    text: String,
}

impl Names {
    fn id(&mut self, stacks: &Stacks, string: StrId) -> u32 {
        *self.ids.entry(string).or_insert_with(|| {
            self.text.push_str(stacks.strings.get(string));
            self.ends.push(self.text.len() as u32);
            self.ends.len() as u32 - 1
        })
    }
}

fn put(out: &mut Vec<u8>, word: u32) {
    out.extend_from_slice(&word.to_le_bytes());
}

fn put_float(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&(value as f64).to_le_bytes());
}
