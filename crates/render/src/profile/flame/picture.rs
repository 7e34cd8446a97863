//! The SVG picture. Without scripts it is a still picture of the whole tree.

use analyze::report::{CallTree, Node, Stacks};

use super::{View, change, escape, is_signed};
use crate::profile::report;
use crate::quantity;

const WIDTH: f64 = 1200.0;
const MARGIN: f64 = 10.0;
const ROW: f64 = 17.0;
/// Room for the title.
const TOP: f64 = 34.0;
/// Height of a line of the heading.
const LINE: f64 = 16.0;
/// Width of a letter.
const LETTER: f64 = 6.7;
/// Narrower frames cannot be seen; zooming makes them ten times as wide.
const PIXELS_MIN: f64 = 0.1;

const STYLE: &str = "\
.bg{fill:#fff}.h{fill:#1b1f24;font-family:sans-serif}.h.s{fill:#5d656d}.b{cursor:pointer;fill:#0b62c4}
.f{cursor:pointer;fill:#16191c}.f:hover rect{stroke:#000;stroke-width:.6}.caller{opacity:.55}.m rect{fill:#c77dff}
@media(prefers-color-scheme:dark){.bg{fill:#15181c}.h{fill:#e4e7ea}.h.s{fill:#9aa2aa}.b{fill:#6cb2ff}.f:hover rect{stroke:#fff}}";

/// The tree as SVG.
pub fn svg(stacks: &Stacks, tree: &CallTree, title: &str, view: View) -> String {
    let total = tree.nodes.first().map_or(1, |root| root.width.max(1));
    let scale = (WIDTH - 2.0 * MARGIN) / total as f64;
    let is_visible = |node: &&Node| node.width as f64 * scale >= PIXELS_MIN;
    let deepest = tree.nodes.iter().filter(is_visible).map(|node| node.depth).max().unwrap_or(0);
    let (heading, top) = heading(stacks, tree, title);
    let painter = Painter { stacks, scale, top, deepest, view, is_signed: is_signed(stacks, tree) };
    // Where the next child of each node starts, in units of value.
    let mut next: Vec<u64> = Vec::with_capacity(tree.nodes.len());
    let mut body = String::new();
    for node in &tree.nodes {
        let parent = node.parent.and_then(|parent| next.get_mut(parent as usize));
        let x = parent.map_or(0, |at| std::mem::replace(at, at.saturating_add(node.width)));
        next.push(x);
        if is_visible(&node) {
            body += &painter.frame(node, x);
        }
    }
    let height = top + f64::from(deepest + 1) * ROW + MARGIN;
    // `]]>` would end the script's section; the script has none.
    let script = include_str!("picture.js").trim_end();
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" \
         height=\"{height:.0}\" font-family=\"ui-monospace,Menlo,Consolas,monospace\" font-size=\"11\">\n\
         <style>{STYLE}</style>\n<rect class=\"bg\" width=\"100%\" height=\"100%\"/>\n{heading}{body}\
         <script><![CDATA[\n{script}\n]]></script>\n</svg>\n"
    )
}

/// Title, what is said about the profile, and the buttons; and where they end.
fn heading(stacks: &Stacks, tree: &CallTree, title: &str) -> (String, f64) {
    let mut out = format!(
        "<text class=\"h\" x=\"{MARGIN}\" y=\"20\" font-size=\"14\">{}</text>\n",
        escape(title)
    );
    let mut about = report::headline(stacks);
    if is_signed(stacks, tree) {
        about += "red has grown, blue has shrunk; width is the larger of before and now\n";
    }
    let mut y = TOP;
    for line in about.lines() {
        let line = escape(line);
        out += &format!("<text class=\"h s\" x=\"{MARGIN}\" y=\"{:.0}\">{line}</text>\n", y + 4.0);
        y += LINE;
    }
    let button = |id, x, text| {
        let place = format!("x=\"{x}\" y=\"20\" text-anchor=\"end\"");
        format!("<text class=\"h b\" id=\"{id}\" {place} style=\"display:none\">{text}</text>\n")
    };
    out += &button("search", WIDTH - MARGIN, "search");
    out += &button("reset", WIDTH - MARGIN - 60.0, "whole graph");
    let found = format!("x=\"{}\" y=\"{:.0}\" text-anchor=\"end\"", WIDTH - MARGIN, TOP + 4.0);
    out += &format!("<text class=\"h s\" id=\"found\" {found}></text>\n");
    (out, y)
}

/// What all frames share.
struct Painter<'a> {
    stacks: &'a Stacks,
    scale: f64,
    top: f64,
    deepest: u32,
    view: View,
    is_signed: bool,
}

impl Painter<'_> {
    fn frame(&self, node: &Node, at: u64) -> String {
        let name = self.stacks.strings.get(node.frame.function);
        let (left, pixels) = (at as f64 * self.scale, node.width as f64 * self.scale);
        let x = MARGIN + left;
        let row = if self.view.inverted { self.deepest - node.depth } else { node.depth };
        let y = self.top + f64::from(row) * ROW;
        let room = ((pixels - 4.0).max(0.0) / LETTER) as usize;
        let label: String = match name.chars().count() {
            _ if room < 3 => String::new(),
            length if length <= room => name.to_owned(),
            _ => name.chars().take(room - 1).chain(['…']).collect(),
        };
        let text = match label.is_empty() {
            true => String::new(),
            false => {
                let label = escape(&label);
                format!("<text x=\"{:.1}\" y=\"{:.1}\">{label}</text>", x + 3.0, y + 12.0)
            }
        };
        format!(
            "<g class=\"f\" data-x=\"{left:.4}\" data-w=\"{pixels:.4}\" data-d=\"{}\"><title>{}</title>\
             <rect x=\"{x:.2}\" y=\"{y:.0}\" width=\"{:.2}\" height=\"16\" rx=\"1\" fill=\"{}\"/>{text}</g>\n",
            node.depth,
            escape(&self.tip(node, name)),
            (pixels - 0.4).max(0.1),
            self.colour(name, node),
        )
    }

    fn tip(&self, node: &Node, name: &str) -> String {
        let Stacks { unit, total, is_diff, strings, .. } = self.stacks;
        let share = quantity::percent(node.total.value, total.value);
        let mut tip = format!("{name}\n{} ({share})", quantity::text(node.total.value, unit));
        if *is_diff {
            let (before, change) = (node.total.base, node.total.delta());
            let before = quantity::text(before, unit);
            tip += &format!("\n{before} before, {}", quantity::change(change, unit));
        }
        let file = strings.get(node.frame.file);
        if !file.is_empty() {
            tip += &format!("\n{file}:{}", node.frame.line);
        }
        tip
    }

    /// One hue a package, so that a package's frames belong together; or the change.
    fn colour(&self, name: &str, node: &Node) -> String {
        if self.is_signed {
            let change = change(node);
            let (saturation, light) = (40.0 + 30.0 * change.abs(), 92.0 - 30.0 * change.abs());
            return match change {
                0.0 => "hsl(215,8%,88%)".to_owned(),
                _ if change > 0.0 => format!("hsl(5,{saturation:.0}%,{light:.0}%)"),
                _ => format!("hsl(215,{saturation:.0}%,{light:.0}%)"),
            };
        }
        if node.depth == 0 {
            return "hsl(215,8%,88%)".to_owned();
        }
        let package = analyze::code::package(name);
        let step = |hash: u32, byte: u8| hash.wrapping_mul(33) ^ u32::from(byte);
        format!("hsl({},58%,78%)", package.bytes().fold(5381, step) % 360)
    }
}
