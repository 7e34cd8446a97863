//! Flame graphs as files: an SVG picture and one self-contained HTML page, both
//! interactive, neither of which fetches anything.
//!
//! Widths never overlap, whatever the signs: see [`analyze::report::CallTree`]. Colour
//! says whose code it is; where there is a base or a negative value, it is the change
//! as a share of the width: red has grown, blue has shrunk, grey has not changed. The
//! page carries its tree in the pages' own binary form (see [`super::msf`]).

use analyze::report::{CallTree, Node, Stacks};

use super::{msf, report};

mod picture;

pub use picture::svg;

/// How a graph is first seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct View {
    /// The root is at the bottom.
    pub inverted: bool,
    /// The tree begins with the leaves. A picture must be given such a tree; the page
    /// turns its tree round by itself.
    pub reverse: bool,
}

/// The tree as one interactive HTML page.
pub fn html(stacks: &Stacks, tree: &CallTree, title: &str, view: View) -> String {
    let head = serde_json::json!({
        "about": report::headline(stacks).trim_end(),
        "unit": stacks.unit,
        "inverted": view.inverted,
        "reverse": view.reverse,
    });
    // `</script>` in a title would end the script.
    let head = head.to_string().replace('<', "\\u003c");
    include_str!("page.html")
        .replace("{{script}}", include_str!("page.js").trim_end())
        .replace("{{head}}", &head)
        .replace("{{tree}}", &base64(&msf::write(stacks, tree)))
        .replace("{{title}}", &escape(title))
}

/// Whether colours tell a change: there is a base, or a value is negative.
fn is_signed(stacks: &Stacks, tree: &CallTree) -> bool {
    stacks.is_diff || tree.nodes.iter().any(|node| node.own.value < 0)
}

/// The change as a share of the width, from -1 to 1.
fn change(node: &Node) -> f64 {
    let delta = node.total.value as f64 - node.total.base as f64;
    (delta / node.width.max(1) as f64).clamp(-1.0, 1.0)
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML allows no other control characters.
            letter if letter.is_control() && letter != '\n' => out.push('?'),
            letter => out.push(letter),
        }
    }
    out
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) & 63;
            out.push(if digit <= chunk.len() { DIGITS[index as usize] as char } else { '=' });
        }
    }
    out
}
