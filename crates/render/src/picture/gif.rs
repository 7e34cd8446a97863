//! GIF.

use super::raster;
use super::scene::Scene;

/// Draws a scene.
///
/// # Errors
/// When the picture is too large for the format.
pub fn gif(scene: &Scene) -> Result<Vec<u8>, String> {
    let pixels = raster::draw(scene).ok_or("the picture is too large")?;
    let side = |length: u32| u16::try_from(length).map_err(|_| "too large for a GIF; use PNG");
    let (width, height) = (side(pixels.width())?, side(pixels.height())?);
    // Every pixel is opaque, so the premultiplied bytes are plain ones.
    let mut bytes = pixels.data().to_vec();
    let frame = gif::Frame::from_rgba_speed(width, height, &mut bytes, 10);
    let mut out = Vec::new();
    let failed = |error: gif::EncodingError| error.to_string();
    let mut encoder = gif::Encoder::new(&mut out, width, height, &[]).map_err(failed)?;
    encoder.write_frame(&frame).map_err(failed)?;
    drop(encoder);
    Ok(out)
}
