//! How far a sampled heap value may be from the truth.
//!
//! Go samples an allocation of S bytes with probability p = 1 - exp(-S/R), R being
//! the profile's period, and writes every sampled object as 1/p objects. So n sampled
//! objects of one size stand for n/p objects with the variance n(1-p)/p^2: a relative
//! error of about 1/sqrt(n) for small objects, and none for those much larger than R.
//! Variances of independent samples add up, which is how functions get theirs.

use model::{Profile, SampleId, StrId};

/// Uncertainty of a value; that of a sum is the sum.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Noise {
    /// How many objects were sampled.
    pub sampled: f64,
    /// Variance of the value.
    pub variance: f64,
}

impl Noise {
    /// Adds an independent value's.
    pub fn add(&mut self, other: Noise) {
        self.sampled += other.sampled;
        self.variance += other.variance;
    }

    /// The standard error as a share of the value; `None` without a value.
    pub fn relative_error(self, value: i64) -> Option<f64> {
        (value != 0).then(|| self.variance.sqrt() / value.unsigned_abs() as f64)
    }
}

/// The sampling of one column of a heap profile.
pub(super) struct Sampling<'a> {
    /// Bytes between samples.
    pub(super) period: i64,
    profile: &'a Profile,
    bytes: &'a [i64],
    objects: &'a [i64],
    counts_bytes: bool,
    size_label: Option<StrId>,
}

impl<'a> Sampling<'a> {
    /// `None` where the column does not count allocations, or where the period is not
    /// known to be in bytes, or where everything was recorded.
    pub(super) fn of(profile: &'a Profile, column: usize) -> Option<Sampling<'a>> {
        let period_type = profile.period_type?;
        let is_in_bytes = profile.str(period_type.unit) == "bytes";
        let kind = profile.str(profile.sample_types.get(column)?.kind);
        let counts_bytes = kind.ends_with("space");
        let partner = match counts_bytes {
            true => kind.strip_suffix("space").map(|start| format!("{start}objects")),
            false => kind.strip_suffix("objects").map(|start| format!("{start}space")),
        };
        let partner = profile.column(&partner?)?;
        let (bytes, objects) = if counts_bytes { (column, partner) } else { (partner, column) };
        let values = |index: usize| profile.samples.values.get(index).map(Vec::as_slice);
        (is_in_bytes && profile.period > 1).then_some(Sampling {
            period: profile.period,
            profile,
            bytes: values(bytes)?,
            objects: values(objects)?,
            counts_bytes,
            size_label: profile.strings.lookup("bytes"),
        })
    }

    /// Noise of one sample.
    pub(super) fn noise(&self, sample: SampleId) -> Noise {
        let at = |column: &[i64]| column.get(sample.0 as usize).map_or(0.0, |v| v.abs() as f64);
        let (bytes, objects) = (at(self.bytes), at(self.objects));
        let size = self.size(sample).unwrap_or(bytes / objects);
        if !size.is_finite() || size <= 0.0 || objects == 0.0 {
            return Noise::default();
        }
        let chance = -(-size / self.period as f64).exp_m1();
        let missed = (1.0 - chance) / chance;
        let variance = match self.counts_bytes {
            true => bytes * size * missed,
            false => objects * missed,
        };
        Noise { sampled: objects * chance, variance }
    }

    /// Go notes the size of the sampled objects as a label.
    fn size(&self, sample: SampleId) -> Option<f64> {
        let wanted = self.size_label?;
        let labels = self.profile.samples.labels(sample);
        labels.iter().find_map(|label| match label.value {
            model::LabelValue::Num(size, _) if label.key == wanted && size > 0 => Some(size as f64),
            _ => None,
        })
    }
}
