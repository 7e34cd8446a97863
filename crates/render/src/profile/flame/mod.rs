//! Flame graphs as files: a static SVG and one self-contained interactive HTML page.
//!
//! Root on top (an icicle), width is value. In a difference, width is the larger of
//! before and now, red has grown and blue has shrunk. The page carries its tree in
//! the pages' own binary form (see [`super::msf`]) and fetches nothing.

use analyze::report::{CallTree, Node, Stacks};

use super::msf;
use crate::quantity;

const WIDTH: f64 = 1200.0;
const ROW: f64 = 17.0;
const TOP: f64 = 34.0;
/// Narrower frames cannot be seen.
const PIXELS_MIN: f64 = 0.3;

/// The tree as SVG.
pub fn svg(stacks: &Stacks, tree: &CallTree, title: &str) -> String {
    let total = tree.nodes.first().map_or(0.0, width).max(1.0);
    let scale = (WIDTH - 20.0) / total;
    // Where the next child of each node starts.
    let mut next: Vec<f64> = Vec::with_capacity(tree.nodes.len());
    let mut body = String::new();
    let mut depth_max = 0;
    for node in &tree.nodes {
        let x = match node.parent {
            None => 10.0,
            Some(parent) => {
                let at = next.get_mut(parent as usize);
                at.map_or(10.0, |at| std::mem::replace(at, *at + width(node) * scale))
            }
        };
        next.push(x);
        if width(node) * scale >= PIXELS_MIN {
            body += &frame(stacks, node, x, width(node) * scale);
            depth_max = depth_max.max(node.depth);
        }
    }
    let height = TOP + f64::from(depth_max + 1) * ROW + 10.0;
    let total = quantity::text(stacks.total.value, &stacks.unit);
    let heading = escape(&format!("{title}: {} {total}", stacks.kind));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" \
         height=\"{height:.0}\" font-family=\"ui-monospace,Menlo,Consolas,monospace\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"10\" y=\"20\" font-size=\"14\" font-family=\"sans-serif\">{heading}</text>\n{body}</svg>\n"
    )
}

fn width(node: &Node) -> f64 {
    node.total.value.unsigned_abs().max(node.total.base.unsigned_abs()) as f64
}

fn frame(stacks: &Stacks, node: &Node, x: f64, pixels: f64) -> String {
    let name = stacks.strings.get(node.frame.function);
    let share = quantity::percent(node.total.value, stacks.total.value);
    let mut tip = format!("{name}\n{} ({share})", quantity::text(node.total.value, &stacks.unit));
    if stacks.is_diff {
        tip +=
            &format!("\n{} against the base", quantity::change(node.total.delta(), &stacks.unit));
    }
    let file = stacks.strings.get(node.frame.file);
    if !file.is_empty() {
        tip += &format!("\n{file}:{}", node.frame.line);
    }
    let y = TOP + f64::from(node.depth) * ROW;
    let room = (pixels / 6.7) as usize;
    let label: String = match name.chars().count() {
        _ if room < 3 => String::new(),
        length if length <= room => name.to_owned(),
        _ => name.chars().take(room - 1).chain(['…']).collect(),
    };
    let text = match label.is_empty() {
        true => String::new(),
        false => {
            format!("<text x=\"{:.1}\" y=\"{:.1}\">{}</text>", x + 3.0, y + 12.0, escape(&label))
        }
    };
    format!(
        "<g><title>{}</title><rect x=\"{x:.2}\" y=\"{y:.0}\" width=\"{:.2}\" height=\"16\" rx=\"1\" fill=\"{}\"/>{text}</g>\n",
        escape(&tip),
        (pixels - 0.4).max(0.2),
        colour(name, node, stacks.is_diff),
    )
}

/// One hue a package, so that a package's frames belong together; in a difference
/// red for growth and blue for shrinking.
fn colour(name: &str, node: &Node, is_diff: bool) -> String {
    if is_diff {
        let delta = node.total.delta() as f64 / width(node).max(1.0);
        let light = 94.0 - 34.0 * delta.abs();
        return format!("hsl({},70%,{light:.0}%)", if delta >= 0.0 { 5 } else { 215 });
    }
    let package = analyze::code::package(name);
    let hash = package.bytes().fold(5381_u32, |hash, byte| hash.wrapping_mul(33) ^ u32::from(byte));
    format!("hsl({},55%,72%)", hash % 360)
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

/// The tree as one interactive HTML page.
pub fn html(stacks: &Stacks, tree: &CallTree, title: &str) -> String {
    let head = serde_json::json!({ "title": title, "kind": stacks.kind, "unit": stacks.unit });
    // `</script>` in a title would end the script.
    let head = head.to_string().replace('<', "\\u003c");
    include_str!("page.html")
        .replace("{{title}}", &escape(title))
        .replace("{{head}}", &head)
        .replace("{{tree}}", &base64(&msf::write(stacks, tree)))
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
