//! Names a node of a call tree by the frames that lead to it, in 64 bits.
//!
//! The name is the same in every tree that has the node, however the tree was cut or
//! filtered and whichever capture it shows, so it can stand in a link. Two lanes of 32
//! bits: clients that draw trees compute it too, and 64-bit products are slow there.

use super::stacks::{FrameName, Stacks};

/// The path to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PathId([u32; 2]);

/// What a frame adds to a path.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameHash([u32; 2]);

const LANES: [u32; 2] = [0x811c_9dc5, 0x050c_5d1f];

impl PathId {
    /// The root of every tree.
    pub const ROOT: PathId = PathId(LANES);

    /// Reads 16 hexadecimal digits.
    pub fn parse(text: &str) -> Option<PathId> {
        let is_hex = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let both = u64::from_str_radix(text, 16).ok().filter(|_| is_hex)?;
        Some(PathId([(both >> 32) as u32, both as u32]))
    }

    /// The node that `frame` leads to.
    #[must_use]
    pub(super) fn child(self, frame: FrameHash) -> PathId {
        let PathId([a, b]) = self;
        let FrameHash([x, y]) = frame;
        PathId([mix(a, x), mix(b, y)])
    }
}

impl std::fmt::Display for PathId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let PathId([a, b]) = self;
        write!(f, "{a:08x}{b:08x}")
    }
}

/// The hashes of [`Stacks::frames`].
pub(super) fn frame_hashes(stacks: &Stacks) -> Vec<FrameHash> {
    stacks.frames.iter().map(|frame| frame_hash(stacks, *frame)).collect()
}

fn frame_hash(stacks: &Stacks, frame: FrameName) -> FrameHash {
    let (function, file) = (stacks.strings.get(frame.function), stacks.strings.get(frame.file));
    FrameHash(LANES.map(|lane| mix(mix(fnv(lane, function), fnv(lane, file)), frame.line)))
}

fn fnv(start: u32, text: &str) -> u32 {
    text.bytes().fold(start, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

fn mix(a: u32, b: u32) -> u32 {
    let product = (a.rotate_left(13) ^ b).wrapping_mul(0x9e37_79b1);
    product ^ (product >> 15)
}
