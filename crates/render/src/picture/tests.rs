//! Every format opens with its own mark and shows every text.

use super::{Scene, gif, pdf, png, ps, svg, svg_for_page};
use crate::pprof::dot::{Picture, PictureEdge, PictureNode};

fn picture() -> Picture {
    let node = |name: &str| PictureNode {
        function: format!("main.{name}<\"\u{1}>"),
        lines: vec![name.to_owned(), "1kB (50%)".to_owned()],
        font_size: 12,
        tooltip: format!("main.{name} <&>"),
        color: "#b20000".to_owned(),
        fill: "#edd5d5".to_owned(),
        tags: Vec::new(),
    };
    let edge = PictureEdge {
        from: 1,
        to: 2,
        label: "1kB".to_owned(),
        weight: Some(50),
        pen_width: 3,
        min_ranks: 1,
        ..PictureEdge::default()
    };
    Picture {
        title: "app".to_owned(),
        legend: vec!["File: app".to_owned()],
        nodes: vec![node("caller"), node("callee")],
        edges: vec![edge],
    }
}

#[test]
fn formats_open_with_their_marks() {
    let scene = Scene::of(&picture());
    let image = svg(&scene);
    assert!(image.starts_with("<?xml") && image.ends_with("</svg>\n"));
    assert!(image.contains(">callee</text>") && image.contains("&lt;&amp;&gt;"));
    assert!(pdf(&scene).starts_with(b"%PDF-1.4") && pdf(&scene).ends_with(b"%%EOF\n"));
    assert!(ps(&scene).starts_with("%!PS-Adobe") && ps(&scene).contains("(callee) ctext"));
    assert!(png(&scene).unwrap().starts_with(b"\x89PNG"));
    assert!(gif(&scene).unwrap().starts_with(b"GIF89a"));
}

#[test]
fn a_page_finds_nodes_and_edges() {
    let image = svg_for_page(&Scene::of(&picture()));
    assert!(image.starts_with("<svg ") && image.ends_with("</svg>\n"));
    assert!(!image.contains("<script") && !image.contains("<style"));
    let node = "<g class=\"node\" data-function=\"main.callee&lt;&quot;\u{fffd}&gt;\">";
    assert_eq!(image.matches(node).count(), 1, "{image}");
    assert_eq!(image.matches("<g class=\"edge\">").count(), 1);
}

#[test]
fn an_empty_picture_has_a_legend() {
    let scene = Scene::of(&Picture { legend: vec!["nothing".to_owned()], ..Picture::default() });
    assert!(svg(&scene).contains(">nothing</text>"));
    assert!(png(&scene).is_ok());
}
