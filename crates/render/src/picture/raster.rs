//! Pixels.

use ab_glyph::{Font, OutlineCurve};
use tiny_skia::{
    Color, FillRule, Paint, Path, PathBuilder, Pixmap, Rect, Stroke, StrokeDash, Transform,
};

use super::font;
use super::scene::{Curve, Scene, Shape, Text, rgb};

/// Pixels of a picture at most; larger ones are drawn smaller.
const PIXELS_MAX: f64 = 60e6;

/// Draws a scene; `None` when there is nothing to draw.
pub(super) fn draw(scene: &Scene) -> Option<Pixmap> {
    let area = scene.size.width * scene.size.height;
    let scale = (PIXELS_MAX / area.max(1.0)).sqrt().min(1.5) as f32;
    let size = |length: f64| ((length as f32 * scale).ceil() as u32).max(1);
    let mut canvas = Canvas {
        pixels: Pixmap::new(size(scene.size.width), size(scene.size.height))?,
        transform: Transform::from_scale(scale, scale),
    };
    canvas.pixels.fill(Color::WHITE);
    scene.curves.iter().for_each(|curve| canvas.curve(curve));
    scene.shapes.iter().for_each(|shape| canvas.shape(shape));
    Some(canvas.pixels)
}

struct Canvas {
    pixels: Pixmap,
    transform: Transform,
}

fn paint(color: &str) -> Paint<'static> {
    let [red, green, blue] = rgb(color);
    let mut paint = Paint::default();
    paint.set_color_rgba8(red, green, blue, 255);
    paint.anti_alias = true;
    paint
}

impl Canvas {
    fn fill(&mut self, path: &Path, color: &str) {
        self.pixels.fill_path(path, &paint(color), FillRule::Winding, self.transform, None);
    }

    fn stroke(&mut self, path: &Path, color: &str, width: f64, is_dotted: bool) {
        let dash = if is_dotted { StrokeDash::new(vec![2.0, 3.0], 0.0) } else { None };
        let stroke = Stroke { width: width as f32, dash, ..Stroke::default() };
        self.pixels.stroke_path(path, &paint(color), &stroke, self.transform, None);
    }

    fn curve(&mut self, curve: &Curve) {
        let mut path = PathBuilder::new();
        for (index, [a, b, c, d]) in curve.pieces().into_iter().enumerate() {
            let [a, b, c, d] = [a, b, c, d].map(|point| (point.x as f32, point.y as f32));
            if index == 0 {
                path.move_to(a.0, a.1);
            }
            path.cubic_to(b.0, b.1, c.0, c.1, d.0, d.1);
        }
        if let Some(path) = path.finish() {
            self.stroke(&path, &curve.color, curve.width, curve.is_dotted);
        }
        if let Some([tip, left, right]) = curve.arrow() {
            let mut head = PathBuilder::new();
            head.move_to(tip.x as f32, tip.y as f32);
            head.line_to(left.x as f32, left.y as f32);
            head.line_to(right.x as f32, right.y as f32);
            head.close();
            if let Some(head) = head.finish() {
                self.fill(&head, &curve.color);
            }
        }
        curve.texts.iter().for_each(|text| self.text(text, true));
    }

    fn shape(&mut self, shape: &Shape) {
        let (width, height) = (shape.size.width as f32, shape.size.height as f32);
        let left = shape.center.x as f32 - width / 2.0;
        let top = shape.center.y as f32 - height / 2.0;
        if let Some(area) = Rect::from_xywh(left, top, width, height) {
            let path = PathBuilder::from_rect(area);
            self.fill(&path, &shape.fill);
            self.stroke(&path, &shape.color, 1.0, false);
        }
        shape.texts.iter().for_each(|text| self.text(text, false));
    }

    fn text(&mut self, text: &Text, has_halo: bool) {
        let Some(path) = outline(text) else { return };
        if has_halo {
            self.stroke(&path, "#ffffff", 3.0, false);
        }
        self.fill(&path, "#000000");
    }
}

/// The letters of a text as a path.
fn outline(text: &Text) -> Option<Path> {
    let font = font::font()?;
    let units = f64::from(font.units_per_em().unwrap_or(2048.0));
    let mut x = match text.is_left {
        true => text.at.x,
        false => text.at.x - font::width(&text.text, text.size) / 2.0,
    };
    let mut path = PathBuilder::new();
    for letter in text.text.chars() {
        let glyph = font.outline(font.glyph_id(font::shown(letter)));
        let place = |point: ab_glyph::Point| {
            let scale = text.size / units;
            (
                (x + f64::from(point.x) * scale) as f32,
                (text.at.y - f64::from(point.y) * scale) as f32,
            )
        };
        let mut last = None;
        for curve in glyph.into_iter().flat_map(|glyph| glyph.curves) {
            let (start, end) = match &curve {
                OutlineCurve::Line(a, b)
                | OutlineCurve::Quad(a, _, b)
                | OutlineCurve::Cubic(a, _, _, b) => (*a, *b),
            };
            if last != Some(start) {
                let (x, y) = place(start);
                path.move_to(x, y);
            }
            let (ex, ey) = place(end);
            match curve {
                OutlineCurve::Line(..) => path.line_to(ex, ey),
                OutlineCurve::Quad(_, control, _) => {
                    let (cx, cy) = place(control);
                    path.quad_to(cx, cy, ex, ey);
                }
                OutlineCurve::Cubic(_, first, second, _) => {
                    let ((ax, ay), (bx, by)) = (place(first), place(second));
                    path.cubic_to(ax, ay, bx, by, ex, ey);
                }
            }
            last = Some(end);
        }
        x += font::advance(letter) * text.size;
    }
    path.finish()
}
