//! PNG.

use super::raster;
use super::scene::Scene;

/// Draws a scene.
///
/// # Errors
/// When the picture is too large to be drawn.
pub fn png(scene: &Scene) -> Result<Vec<u8>, String> {
    let pixels = raster::draw(scene).ok_or("the picture is too large")?;
    pixels.encode_png().map_err(|error| error.to_string())
}
