//! SVG. Nodes have the class `node` and the attribute `data-function`, edges the class
//! `edge`, so that a page can make something of them. As a file of its own it has dragging,
//! zooming and a highlight of what hangs together.

use std::fmt::Write;

use super::scene::{Scene, Shape, Text};

/// Text for XML, which some characters must not appear in at all.
fn escape(text: &str) -> String {
    let is_refused = |c: char| c.is_control() && c != '\t' || matches!(c, '\u{fffe}' | '\u{ffff}');
    let text = text.replace(is_refused, "\u{fffd}");
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;")
}

/// Drag moves, the wheel zooms, a double click shows all again.
const SCRIPT: &str = r#"
(function () {
  var svg = document.documentElement, view = svg.viewBox.baseVal;
  var all = [view.x, view.y, view.width, view.height], drag = null;
  function at(e) {
    var p = svg.createSVGPoint(); p.x = e.clientX; p.y = e.clientY;
    return p.matrixTransform(svg.getScreenCTM().inverse());
  }
  svg.addEventListener('wheel', function (e) {
    e.preventDefault();
    var p = at(e), k = Math.exp(Math.max(-60, Math.min(60, e.deltaY)) / 300);
    view.x = p.x - (p.x - view.x) * k; view.y = p.y - (p.y - view.y) * k;
    view.width *= k; view.height *= k;
  }, { passive: false });
  svg.addEventListener('mousedown', function (e) { drag = at(e); });
  svg.addEventListener('mousemove', function (e) {
    if (!drag) return;
    var p = at(e); view.x += drag.x - p.x; view.y += drag.y - p.y;
  });
  window.addEventListener('mouseup', function () { drag = null; });
  svg.addEventListener('dblclick', function () {
    view.x = all[0]; view.y = all[1]; view.width = all[2]; view.height = all[3];
  });
})();
"#;

const STYLE: &str =
    "<style>g:hover path { stroke-width: 3 } svg { background: white; cursor: grab }</style>\n";

/// Draws a scene as a file of its own.
pub fn svg(scene: &Scene) -> String {
    let xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
    let drawing = drawing(scene);
    format!("{xml}{drawing}{STYLE}<script><![CDATA[{SCRIPT}]]></script>\n</svg>\n")
}

/// Draws a scene for a page that has its own style and script.
pub fn svg_for_page(scene: &Scene) -> String {
    drawing(scene) + "</svg>\n"
}

/// Everything but the end of the picture.
fn drawing(scene: &Scene) -> String {
    let (width, height) = (scene.size.width.ceil(), scene.size.height.ceil());
    let mut out = String::new();
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"DejaVu Sans, Verdana, sans-serif\">\n\
         <title>{}</title>\n",
        escape(&scene.title)
    );
    for curve in &scene.curves {
        let dash = if curve.is_dotted { " stroke-dasharray=\"2 3\"" } else { "" };
        let _ =
            write!(out, "<g class=\"edge\"><title>{}</title><path d=\"", escape(&curve.tooltip));
        for (index, [a, b, c, d]) in curve.pieces().into_iter().enumerate() {
            if index == 0 {
                let _ = write!(out, "M{:.1} {:.1}", a.x, a.y);
            }
            let _ =
                write!(out, "C{:.1} {:.1} {:.1} {:.1} {:.1} {:.1}", b.x, b.y, c.x, c.y, d.x, d.y);
        }
        let _ = write!(
            out,
            "\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\"{dash}/>",
            curve.color, curve.width
        );
        if let Some([tip, left, right]) = curve.arrow() {
            let _ = write!(
                out,
                "<polygon points=\"{:.1},{:.1} {:.1},{:.1} {:.1},{:.1}\" fill=\"{}\"/>",
                tip.x, tip.y, left.x, left.y, right.x, right.y, curve.color
            );
        }
        curve.texts.iter().for_each(|text| write_text(&mut out, text, true));
        out.push_str("</g>\n");
    }
    scene.shapes.iter().for_each(|shape| write_shape(&mut out, shape));
    out
}

fn write_shape(out: &mut String, shape: &Shape) {
    let (left, top) =
        (shape.center.x - shape.size.width / 2.0, shape.center.y - shape.size.height / 2.0);
    let class = match &shape.function {
        Some(function) => format!(" class=\"node\" data-function=\"{}\"", escape(function)),
        None => String::new(),
    };
    let _ = write!(
        out,
        "<g{class}><title>{}</title><rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" \
         rx=\"{}\" fill=\"{}\" stroke=\"{}\"/>",
        escape(&shape.tooltip),
        shape.size.width,
        shape.size.height,
        if shape.is_tag { 4 } else { 0 },
        shape.fill,
        shape.color
    );
    shape.texts.iter().for_each(|text| write_text(out, text, false));
    out.push_str("</g>\n");
}

fn write_text(out: &mut String, text: &Text, has_halo: bool) {
    let anchor = if text.is_left { "start" } else { "middle" };
    // A white rim keeps numbers readable where lines pass.
    let halo = match has_halo {
        true => " paint-order=\"stroke\" stroke=\"white\" stroke-width=\"3\"",
        false => "",
    };
    let _ = write!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"{}\" text-anchor=\"{anchor}\"{halo}>{}</text>",
        text.at.x,
        text.at.y,
        text.size,
        escape(&text.text)
    );
}
