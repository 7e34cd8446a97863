//! Properties every drawing has.

use super::{EdgeSpec, Layout, Size, layout};

fn edge(from: usize, to: usize) -> EdgeSpec {
    EdgeSpec { from, to, weight: 1.0, min_ranks: 1, label: Size { width: 30.0, height: 10.0 } }
}

fn overlaps(drawing: &Layout, sizes: &[Size]) -> usize {
    let boxes: Vec<_> = drawing.nodes.iter().zip(sizes).collect();
    let mut count = 0;
    for (i, (a, size_a)) in boxes.iter().enumerate() {
        for (b, size_b) in boxes.iter().skip(i + 1) {
            let is_apart = (a.x - b.x).abs() * 2.0 >= size_a.width + size_b.width
                || (a.y - b.y).abs() * 2.0 >= size_a.height + size_b.height;
            count += usize::from(!is_apart);
        }
    }
    count
}

#[test]
fn callees_lie_below_and_nothing_overlaps() {
    let sizes: Vec<Size> =
        (0..60_u8).map(|i| Size { width: 40.0 + f64::from(i % 7) * 20.0, height: 30.0 }).collect();
    let edges: Vec<EdgeSpec> = (1..60).flat_map(|i| [edge(i / 2, i), edge(i / 3, i)]).collect();
    let drawing = layout(&sizes, &edges);
    assert_eq!(overlaps(&drawing, &sizes), 0);
    for (edge, route) in edges.iter().zip(&drawing.routes).filter(|(edge, _)| edge.from != edge.to)
    {
        assert!(drawing.nodes[edge.from].y < drawing.nodes[edge.to].y);
        assert!(route.windows(2).all(|pair| pair[0].y <= pair[1].y));
    }
    let inside = |x: f64, y: f64| {
        (0.0..=drawing.size.width).contains(&x) && (0.0..=drawing.size.height).contains(&y)
    };
    assert!(drawing.nodes.iter().all(|point| inside(point.x, point.y)));
    assert_eq!(drawing, layout(&sizes, &edges), "the same input gives the same drawing");
}

#[test]
fn cycles_are_drawn_with_an_edge_that_points_up() {
    let sizes = [Size { width: 10.0, height: 10.0 }; 3];
    let edges = [edge(0, 1), edge(1, 2), edge(2, 0)];
    let drawing = layout(&sizes, &edges);
    let back = &drawing.routes[2];
    assert!(back.first().unwrap().y > back.last().unwrap().y);
}

#[test]
fn a_chain_is_straight() {
    let sizes = [Size { width: 50.0, height: 10.0 }; 4];
    let drawing = layout(&sizes, &[edge(0, 1), edge(1, 2), edge(2, 3)]);
    assert!(drawing.nodes.windows(2).all(|pair| (pair[0].x - pair[1].x).abs() < 0.5));
}

#[test]
fn nothing_gives_nothing() {
    assert!(layout(&[], &[]).nodes.is_empty());
}
