//! PDF 1.4, one page, the font inside.

use std::fmt::Write;

use super::font;
use super::scene::{Scene, Text, rgb};

/// Draws a scene.
pub fn pdf(scene: &Scene) -> Vec<u8> {
    let (width, height) = (scene.size.width.ceil(), scene.size.height.ceil());
    let content = content(scene, height);
    let widths: Vec<String> = (32..127_u8)
        .map(|code| format!("{:.0}", font::advance(char::from(code)) * 1000.0))
        .collect();
    // Readers refuse pages above 200 inches; a unit may be larger than a point.
    let unit = (width.max(height) / 14_400.0).max(1.0).ceil();
    let mut file = File::default();
    file.object("<< /Type /Catalog /Pages 2 0 R >>");
    file.object("<< /Type /Pages /Kids [3 0 R] /Count 1 >>");
    file.object(&format!(
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width} {height}] /UserUnit {unit} \
         /Contents 4 0 R /Resources << /Font << /F 5 0 R >> >> >>"
    ));
    file.stream("", content.as_bytes());
    file.object(&format!(
        "<< /Type /Font /Subtype /TrueType /BaseFont /DejaVuSans /FirstChar 32 /LastChar 126 \
         /Widths [{}] /Encoding /WinAnsiEncoding /FontDescriptor 6 0 R >>",
        widths.join(" ")
    ));
    file.object(
        "<< /Type /FontDescriptor /FontName /DejaVuSans /Flags 32 /FontBBox [-1021 -463 1793 1232] \
         /ItalicAngle 0 /Ascent 928 /Descent -236 /CapHeight 729 /StemV 80 /FontFile2 7 0 R >>",
    );
    file.stream(&format!(" /Length1 {}", font::FILE.len()), font::FILE);
    file.finish()
}

/// A file with its table of offsets.
#[derive(Default)]
struct File {
    bytes: Vec<u8>,
    offsets: Vec<usize>,
}

impl File {
    fn begin(&mut self) {
        if self.bytes.is_empty() {
            self.bytes.extend_from_slice(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n");
        }
        self.offsets.push(self.bytes.len());
        self.bytes.extend_from_slice(format!("{} 0 obj\n", self.offsets.len()).as_bytes());
    }

    fn object(&mut self, text: &str) {
        self.begin();
        self.bytes.extend_from_slice(format!("{text}\nendobj\n").as_bytes());
    }

    fn stream(&mut self, more: &str, content: &[u8]) {
        self.begin();
        let head = format!("<< /Length {}{more} >>\nstream\n", content.len());
        self.bytes.extend_from_slice(head.as_bytes());
        self.bytes.extend_from_slice(content);
        self.bytes.extend_from_slice(b"\nendstream\nendobj\n");
    }

    fn finish(mut self) -> Vec<u8> {
        let start = self.bytes.len();
        let count = self.offsets.len() + 1;
        let mut text = format!("xref\n0 {count}\n0000000000 65535 f \n");
        for offset in &self.offsets {
            let _ = writeln!(text, "{offset:010} 00000 n ");
        }
        let _ =
            write!(text, "trailer\n<< /Size {count} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n");
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes
    }
}

fn content(scene: &Scene, height: f64) -> String {
    let mut out = String::new();
    let y = |value: f64| height - value;
    for curve in &scene.curves {
        let dash = if curve.is_dotted { "[2 3] 0 d" } else { "[] 0 d" };
        let _ = write!(out, "{} RG {} rg ", color(&curve.color), color(&curve.color));
        let _ = write!(out, "{} w {dash} ", curve.width);
        for (index, [a, b, c, d]) in curve.pieces().into_iter().enumerate() {
            if index == 0 {
                let _ = write!(out, "{:.1} {:.1} m ", a.x, y(a.y));
            }
            let _ = write!(
                out,
                "{:.1} {:.1} {:.1} {:.1} {:.1} {:.1} c ",
                b.x,
                y(b.y),
                c.x,
                y(c.y),
                d.x,
                y(d.y)
            );
        }
        out.push_str("S\n");
        if let Some([tip, left, right]) = curve.arrow() {
            let _ = writeln!(
                out,
                "{:.1} {:.1} m {:.1} {:.1} l {:.1} {:.1} l f",
                tip.x,
                y(tip.y),
                left.x,
                y(left.y),
                right.x,
                y(right.y)
            );
        }
        curve.texts.iter().for_each(|text| write_text(&mut out, text, height));
    }
    out.push_str("[] 0 d 1 w\n");
    for shape in &scene.shapes {
        let (w, h) = (shape.size.width, shape.size.height);
        let (left, bottom) = (shape.center.x - w / 2.0, y(shape.center.y + h / 2.0));
        let _ = writeln!(
            out,
            "{} rg {} RG {left:.1} {bottom:.1} {w:.1} {h:.1} re B",
            color(&shape.fill),
            color(&shape.color)
        );
        shape.texts.iter().for_each(|text| write_text(&mut out, text, height));
    }
    out
}

fn color(text: &str) -> String {
    let [red, green, blue] = rgb(text).map(|part| f64::from(part) / 255.0);
    format!("{red:.3} {green:.3} {blue:.3}")
}

fn write_text(out: &mut String, text: &Text, height: f64) {
    let shown: String = text.text.chars().map(|c| if c.is_ascii() { c } else { '.' }).collect();
    let left = match text.is_left {
        true => text.at.x,
        false => text.at.x - font::width(&shown, text.size) / 2.0,
    };
    let shown = shown.replace('\\', "\\\\").replace('(', "\\(").replace(')', "\\)");
    let _ = writeln!(
        out,
        "BT 0 g /F {} Tf {left:.1} {:.1} Td ({shown}) Tj ET",
        text.size,
        height - text.at.y
    );
}
