//! The font of pictures: DejaVu Sans, its Latin letters. Everything is measured with it,
//! whatever the viewer shows, so that texts fit their boxes.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef};

/// The font file (assets/DejaVuSans-subset.ttf; licence beside it).
pub(super) const FILE: &[u8] = include_bytes!("../../assets/DejaVuSans-subset.ttf");

/// Height of a line in units of the font size.
pub(super) const LINE_HEIGHT: f64 = 1.17;
/// How far the letters reach above the base line.
pub(super) const ASCENT: f64 = 0.76;

static FONT: LazyLock<Option<FontRef<'static>>> =
    LazyLock::new(|| FontRef::try_from_slice(FILE).ok());

/// The font.
pub(super) fn font() -> Option<&'static FontRef<'static>> {
    FONT.as_ref()
}

/// The letter that stands for one the font does not have.
pub(super) fn shown(letter: char) -> char {
    let is_known = font().is_some_and(|font| font.glyph_id(letter).0 != 0);
    if is_known { letter } else { '?' }
}

/// Width of a letter in units of the font size.
pub(super) fn advance(letter: char) -> f64 {
    let Some(font) = font() else { return 0.6 };
    let units = f64::from(font.units_per_em().unwrap_or(2048.0));
    f64::from(font.h_advance_unscaled(font.glyph_id(shown(letter)))) / units
}

/// Width of a text.
pub(super) fn width(text: &str, size: f64) -> f64 {
    text.chars().map(advance).sum::<f64>() * size
}
