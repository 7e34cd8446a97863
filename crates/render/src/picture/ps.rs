//! PostScript, one page.

use std::fmt::Write;

use super::scene::{Scene, Text, rgb};

/// Draws a scene.
pub fn ps(scene: &Scene) -> String {
    let (width, height) = (scene.size.width.ceil(), scene.size.height.ceil());
    let mut out = format!(
        "%!PS-Adobe-3.0\n%%BoundingBox: 0 0 {width} {height}\n%%Pages: 1\n%%EndComments\n\
         %%Page: 1 1\n<< /PageSize [{width} {height}] >> setpagedevice\n\
         /ctext {{ dup stringwidth pop 2 div neg 0 rmoveto show }} bind def\n"
    );
    let y = |value: f64| height - value;
    for curve in &scene.curves {
        let _ = write!(out, "{} {} setlinewidth ", color(&curve.color), curve.width);
        out.push_str(if curve.is_dotted {
            "[2 3] 0 setdash newpath "
        } else {
            "[] 0 setdash newpath "
        });
        for (index, [a, b, c, d]) in curve.pieces().into_iter().enumerate() {
            if index == 0 {
                let _ = write!(out, "{:.1} {:.1} moveto ", a.x, y(a.y));
            }
            let _ = write!(
                out,
                "{:.1} {:.1} {:.1} {:.1} {:.1} {:.1} curveto ",
                b.x,
                y(b.y),
                c.x,
                y(c.y),
                d.x,
                y(d.y)
            );
        }
        out.push_str("stroke\n");
        if let Some([tip, left, right]) = curve.arrow() {
            let _ = writeln!(
                out,
                "newpath {:.1} {:.1} moveto {:.1} {:.1} lineto {:.1} {:.1} lineto closepath fill",
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
    out.push_str("[] 0 setdash 1 setlinewidth\n");
    for shape in &scene.shapes {
        let (w, h) = (shape.size.width, shape.size.height);
        let (left, bottom) = (shape.center.x - w / 2.0, y(shape.center.y + h / 2.0));
        let _ = writeln!(
            out,
            "{}{left:.1} {bottom:.1} {w:.1} {h:.1} rectfill\n\
             {}{left:.1} {bottom:.1} {w:.1} {h:.1} rectstroke",
            color(&shape.fill),
            color(&shape.color)
        );
        shape.texts.iter().for_each(|text| write_text(&mut out, text, height));
    }
    out.push_str("showpage\n%%EOF\n");
    out
}

fn color(text: &str) -> String {
    let [red, green, blue] = rgb(text).map(|part| f64::from(part) / 255.0);
    format!("{red:.3} {green:.3} {blue:.3} setrgbcolor ")
}

fn write_text(out: &mut String, text: &Text, height: f64) {
    let shown: String = text.text.chars().map(|c| if c.is_ascii() { c } else { '.' }).collect();
    let shown = shown.replace('\\', "\\\\").replace('(', "\\(").replace(')', "\\)");
    let show = if text.is_left { "show" } else { "ctext" };
    let _ = writeln!(
        out,
        "0 setgray /Helvetica {} selectfont {:.1} {:.1} moveto ({shown}) {show}",
        text.size,
        text.at.x,
        height - text.at.y
    );
}
