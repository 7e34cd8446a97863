//! A picture as shapes with places.

use analyze::layout::{EdgeSpec, Layout, Point, Size, layout};

use super::font;
use crate::pprof::dot::{Picture, PictureEdge, PictureNode, PictureTag};

/// Room around the picture.
const MARGIN: f64 = 12.0;
const LEGEND_FONT: f64 = 12.0;
const EDGE_FONT: f64 = 10.0;
const TAG_FONT: f64 = 8.0;

/// A line of text, centred on its place.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) at: Point,
    pub(super) size: f64,
    pub(super) text: String,
    pub(super) is_left: bool,
}

/// A box.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) center: Point,
    pub(super) size: Size,
    pub(super) color: String,
    pub(super) fill: String,
    pub(super) tooltip: String,
    pub(super) texts: Vec<Text>,
    /// Drawn with a folded corner, as labels are.
    pub(super) is_tag: bool,
    /// The function that it stands for.
    pub(super) function: Option<String>,
}

/// A curve with an arrow at its end.
#[derive(Clone, Debug)]
pub(super) struct Curve {
    pub(super) points: Vec<Point>,
    pub(super) width: f64,
    pub(super) color: String,
    pub(super) is_dotted: bool,
    pub(super) tooltip: String,
    pub(super) texts: Vec<Text>,
}

/// Everything that is drawn.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    pub(super) title: String,
    pub(super) size: Size,
    pub(super) curves: Vec<Curve>,
    pub(super) shapes: Vec<Shape>,
}

fn node_size(lines: &[String], font_size: f64) -> Size {
    let widths = lines.iter().map(|line| font::width(line, font_size));
    Size {
        width: widths.fold(0.0, f64::max) + font_size,
        height: lines.len() as f64 * font_size * font::LINE_HEIGHT + font_size * 0.7,
    }
}

/// The lines of a text, one below the other around its place.
fn stacked(center: Point, lines: &[String], size: f64) -> Vec<Text> {
    let height = size * font::LINE_HEIGHT;
    let top = center.y - height * lines.len() as f64 / 2.0;
    let line = |(index, text): (usize, &String)| {
        let y = top + height * index as f64 + size * font::ASCENT + size * 0.15;
        Text { at: Point { x: center.x, y }, size, text: text.clone(), is_left: false }
    };
    lines.iter().enumerate().map(line).collect()
}

fn plain(text: &str) -> String {
    text.replace("\\\"", "\"").replace("\\\\", "\\")
}

/// A node of the layout: a function or one of its tags.
struct Item<'a> {
    lines: Vec<String>,
    font_size: f64,
    node: Option<&'a PictureNode>,
    tag: Option<&'a PictureTag>,
}

/// An edge of the layout: a call, or what a tag hangs on.
enum Link<'a> {
    Call(&'a PictureEdge),
    Tag(&'a PictureTag),
}

impl Scene {
    /// Lays a picture out.
    pub fn of(picture: &Picture) -> Scene {
        let mut items: Vec<Item<'_>> = picture
            .nodes
            .iter()
            .map(|node| Item {
                lines: node.lines.iter().map(|line| plain(line)).collect(),
                font_size: node.font_size as f64,
                node: Some(node),
                tag: None,
            })
            .collect();
        let mut links = Vec::new();
        let mut specs = Vec::new();
        for edge in &picture.edges {
            let (Some(from), Some(to)) = (edge.from.checked_sub(1), edge.to.checked_sub(1)) else {
                continue;
            };
            let width = font::width(&edge.label, EDGE_FONT) + 6.0;
            let lines = if edge.is_inline { 2.0 } else { 1.0 };
            let label = Size { width, height: lines * EDGE_FONT * font::LINE_HEIGHT };
            let weight = edge.weight.unwrap_or(1).max(1) as f64;
            specs.push(EdgeSpec { from, to, weight, min_ranks: edge.min_ranks, label });
            links.push(Link::Call(edge));
        }
        for (number, node) in picture.nodes.iter().enumerate() {
            let first = items.len();
            for tag in &node.tags {
                let lines = tag.text.split("\\n").map(plain).collect();
                items.push(Item { lines, font_size: TAG_FONT, node: None, tag: Some(tag) });
                let from = tag.parent.map_or(number, |parent| first + parent);
                let width = font::width(&tag.weight, TAG_FONT) + 4.0;
                let label = Size { width, height: TAG_FONT * font::LINE_HEIGHT };
                let to = items.len() - 1;
                specs.push(EdgeSpec { from, to, weight: 100.0, min_ranks: 1, label });
                links.push(Link::Tag(tag));
            }
        }
        let sizes: Vec<Size> =
            items.iter().map(|item| node_size(&item.lines, item.font_size)).collect();
        let drawing = layout(&sizes, &specs);
        let mut scene = Scene { title: picture.title.clone(), ..Scene::default() };
        let legend = scene.add_legend(&picture.legend);
        let origin = Point { x: MARGIN, y: MARGIN + legend.height + MARGIN };
        scene.add_links(&links, &drawing, origin);
        scene.add_items(&items, &sizes, &drawing, origin);
        scene.size = Size {
            width: drawing.size.width.max(legend.width) + 2.0 * MARGIN,
            height: origin.y + drawing.size.height + MARGIN,
        };
        scene
    }

    fn add_legend(&mut self, lines: &[String]) -> Size {
        let lines: Vec<String> = lines.iter().map(|line| line.trim().to_owned()).collect();
        let size = node_size(&lines, LEGEND_FONT);
        let center = Point { x: MARGIN + size.width / 2.0, y: MARGIN + size.height / 2.0 };
        let mut texts = stacked(center, &lines, LEGEND_FONT);
        for text in &mut texts {
            text.at.x = MARGIN + LEGEND_FONT / 2.0;
            text.is_left = true;
        }
        self.shapes.push(Shape {
            center,
            size,
            color: "#888888".to_owned(),
            fill: "#f8f8f8".to_owned(),
            tooltip: self.title.clone(),
            texts,
            is_tag: false,
            function: None,
        });
        size
    }

    fn add_links(&mut self, links: &[Link<'_>], drawing: &Layout, origin: Point) {
        let moved = |point: &Point| Point { x: point.x + origin.x, y: point.y + origin.y };
        for ((link, route), label) in links.iter().zip(&drawing.routes).zip(&drawing.labels) {
            let points = route.iter().map(moved).collect();
            let at = moved(label);
            self.curves.push(match link {
                Link::Call(edge) => {
                    let mut lines = vec![edge.label.clone()];
                    lines.extend(edge.is_inline.then(|| "(inline)".to_owned()));
                    Curve {
                        points,
                        width: edge.pen_width as f64,
                        color: edge.color.clone().unwrap_or_else(|| "#444444".to_owned()),
                        is_dotted: edge.is_residual,
                        tooltip: edge.tooltip.clone(),
                        texts: stacked(at, &lines, EDGE_FONT),
                    }
                }
                Link::Tag(tag) => Curve {
                    points,
                    width: 1.0,
                    color: "#444444".to_owned(),
                    is_dotted: tag.is_dotted,
                    tooltip: tag.weight.clone(),
                    texts: stacked(at, std::slice::from_ref(&tag.weight), TAG_FONT),
                },
            });
        }
    }

    fn add_items(&mut self, items: &[Item<'_>], sizes: &[Size], drawing: &Layout, origin: Point) {
        for ((item, size), place) in items.iter().zip(sizes).zip(&drawing.nodes) {
            let center = Point { x: place.x + origin.x, y: place.y + origin.y };
            let (color, fill, tooltip) = match (item.node, item.tag) {
                (Some(node), _) => (node.color.as_str(), node.fill.as_str(), &node.tooltip),
                (None, Some(tag)) => ("#666666", "#f8f8f8", &tag.weight),
                (None, None) => continue,
            };
            self.shapes.push(Shape {
                center,
                size: *size,
                color: color.to_owned(),
                fill: fill.to_owned(),
                tooltip: tooltip.clone(),
                texts: stacked(center, &item.lines, item.font_size),
                is_tag: item.tag.is_some(),
                function: item.node.map(|node| node.function.clone()),
            });
        }
    }
}

impl Curve {
    /// Bézier pieces: start, two controls, end. They leave and arrive vertically.
    pub(super) fn pieces(&self) -> Vec<[Point; 4]> {
        let bend = |pair: &[Point]| {
            let &[a, b] = pair else { return None };
            let middle = f64::midpoint(a.y, b.y);
            Some([a, Point { x: a.x, y: middle }, Point { x: b.x, y: middle }, b])
        };
        self.points.windows(2).filter_map(bend).collect()
    }

    /// The corners of the arrow head.
    pub(super) fn arrow(&self) -> Option<[Point; 3]> {
        let (end, before) = match self.points.as_slice() {
            [.., before, end] => (*end, *before),
            _ => return None,
        };
        let length = 6.0 + self.width;
        let back = if end.y >= before.y { -length } else { length };
        let half = length * 0.4;
        let left = Point { x: end.x - half, y: end.y + back };
        let right = Point { x: end.x + half, y: end.y + back };
        Some([end, left, right])
    }
}

/// The parts of a colour `#rrggbb`.
pub(super) fn rgb(color: &str) -> [u8; 3] {
    let part = |from: usize| {
        let digits = color.get(from..from + 2).unwrap_or("0");
        u8::from_str_radix(digits, 16).unwrap_or(0)
    };
    [part(1), part(3), part(5)]
}
