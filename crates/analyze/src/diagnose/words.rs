//! Numbers as a tired person reads them.

use model::{Bytes, Frame, Interval};

use super::Context;
use crate::level::last;

/// `1.2 MiB/s (1.0 to 1.4)`.
pub(super) fn rate(rate: Interval) -> String {
    let signed = |value: f64| {
        let bytes = Bytes(value.abs() as u64);
        if value < 0.0 { format!("-{bytes}") } else { bytes.to_string() }
    };
    format!("{}/s ({} to {})", signed(rate.estimate), signed(rate.low), signed(rate.high))
}

/// `45 s`, `6 min`, `3.2 h`, `12 d`.
pub(super) fn duration(seconds: f64) -> String {
    match seconds {
        s if !s.is_finite() => "never".to_owned(),
        s if s < 100.0 => format!("{s:.0} s"),
        s if s < 100.0 * 60.0 => format!("{:.0} min", s / 60.0),
        s if s < 48.0 * 3600.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.0} d", s / 86_400.0),
    }
}

/// `6 min (5 min to 8 min)`.
pub(super) fn time(time: Interval) -> String {
    format!("{} ({} to {})", duration(time.estimate), duration(time.low), duration(time.high))
}

/// `main.remember (main.go:42)`.
pub(super) fn place(frame: &Frame) -> String {
    let file = frame.file.rsplit('/').next().unwrap_or(&frame.file);
    match frame.line {
        0 => frame.function.clone(),
        line => format!("{} ({file}:{line})", frame.function),
    }
}

/// `12 MiB`.
pub(super) fn bytes(value: f64) -> String {
    Bytes(value.max(0.0) as u64).to_string()
}

/// `97 %`, `less than 1 %`.
pub(super) fn share(share: f64) -> String {
    match share * 100.0 {
        percent if percent < 1.0 => "less than 1 %".to_owned(),
        percent => format!("{percent:.0} %"),
    }
}

/// The levels now, one sentence each.
pub(super) fn levels(context: &Context<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    let levels = &context.levels;
    if let Some(rss) = last(&levels.rss) {
        let mut parts = Vec::new();
        let mut part = |name: &str, series: &[(f64, f64)]| {
            if let Some(value) = last(series) {
                parts.push(format!("{name} {}", bytes(value)));
            }
        };
        part("heap in use", &levels.in_use);
        part("idle, not returned", &levels.unreturned);
        part("stacks", &levels.stacks);
        let parts = parts.join(", ");
        lines.push(format!("resident {} ({parts})", bytes(rss)));
    }
    if let Some(live) = context.live {
        let slope = live.trend.slope;
        lines.push(format!(
            "live heap after GC moves by {} over {} collections",
            rate(slope),
            levels.gc_cycles
        ));
    }
    if let Some(limit) = &context.limit {
        lines.push(format!("{} used of {}", Bytes(limit.used_bytes), limit.name));
    }
    lines
}

/// A p-value after "p"; what underflowed is not zero.
pub(super) fn probability(p: f64) -> String {
    if p < 1e-300 { "< 1e-300".to_owned() } else { format!("= {p:.1e}") }
}
