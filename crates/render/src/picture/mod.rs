//! Call graphs as pictures, without graphviz: laid out by `analyze::layout`, drawn as
//! shapes, written as SVG, PDF, PostScript, PNG or GIF.

mod font;
mod gif;
mod pdf;
mod png;
mod ps;
mod raster;
mod scene;
mod svg;

pub use gif::gif;
pub use pdf::pdf;
pub use png::png;
pub use ps::ps;
pub use scene::Scene;
pub use svg::{svg, svg_for_page};

#[cfg(test)]
mod tests;
