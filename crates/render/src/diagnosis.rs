//! The verdict: about ten lines for people, complete JSON for programs.

use model::{Diagnosis, Finding, FindingKind};
use serde_json::{Value, json};

use crate::json;
use crate::paint::Paint;

/// The verdict as text.
pub fn text(diagnosis: &Diagnosis, paint: Paint) -> String {
    let mut out = String::new();
    let target = &diagnosis.target;
    let pid = target.pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
    let head = format!("{}{pid}, {:.0} s of evidence", target.name, diagnosis.span_seconds);
    out += &format!("{}\n", paint.dim(&head));
    for (index, finding) in diagnosis.findings.iter().enumerate() {
        if index > 0 && finding.confidence.0 < 0.5 {
            continue;
        }
        out += &finding_text(finding, paint, index == 0);
    }
    for warning in &diagnosis.warnings {
        out += &format!("{} {warning}\n", paint.warn("warning:"));
    }
    out
}

fn finding_text(finding: &Finding, paint: Paint, is_verdict: bool) -> String {
    let kind = finding.kind.as_str().to_uppercase().replace('-', " ");
    let kind = match finding.kind {
        kind_value if kind_value.is_leak() => paint.bad(&kind),
        FindingKind::Healthy => paint.good(&kind),
        _ => paint.warn(&kind),
    };
    let sure = match finding.kind {
        FindingKind::InsufficientEvidence => String::new(),
        _ => paint.dim(&format!(" ({:.0} % sure)", finding.confidence.0 * 100.0)),
    };
    let mut out = format!("{kind}{sure}\n  {}\n", paint.bold(&finding.summary));
    if is_verdict {
        for line in &finding.evidence {
            out += &format!("  - {line}\n");
        }
    }
    if let Some(site) = finding.sites.first().filter(|_| is_verdict) {
        let place =
            |frame: &model::Frame| format!("{} {}:{}", frame.function, frame.file, frame.line);
        out += &format!("  {}\n", paint.dim("allocation stack:"));
        for frame in site.stack.iter().take(6) {
            out += &format!("      {}\n", place(frame));
        }
        if site.stack.len() > 6 {
            out += &format!("      ... {} frames more\n", site.stack.len() - 6);
        }
    }
    for retainer in finding.retainers.iter().filter(|_| is_verdict) {
        out += &format!("  {}\n", paint.dim("kept alive by:"));
        let mut steps = retainer.path.iter();
        out += &steps.next().map(|root| format!("      {root}\n")).unwrap_or_default();
        out += &steps.map(|step| format!("        -> {step}\n")).collect::<String>();
    }
    out + &format!("  next: {}\n", finding.next)
}

/// The verdict as the documented `diagnose --json` object.
pub fn value(diagnosis: &Diagnosis) -> Value {
    json!({
        "target": json::target(&diagnosis.target),
        "verdict": diagnosis.verdict().as_str(),
        "time_ms": diagnosis.time.0,
        "span_seconds": json::number(diagnosis.span_seconds),
        "findings": diagnosis.findings.iter().map(finding_value).collect::<Vec<_>>(),
        "warnings": diagnosis.warnings,
    })
}

fn finding_value(finding: &Finding) -> Value {
    let is_goroutines = finding.kind == FindingKind::GoroutineLeak;
    let sites: Vec<Value> = finding
        .sites
        .iter()
        .map(|site| {
            let mut value = json::frame(&site.frame);
            let rate = if is_goroutines { "rate_per_second" } else { "rate_bytes_per_second" };
            value["share"] = json::number(site.share);
            value[rate] = json::interval(site.rate);
            value["stack"] = site.stack.iter().map(json::frame).collect();
            value
        })
        .collect();
    let retainers: Vec<Value> =
        finding.retainers.iter().map(|retainer| json!({ "path": retainer.path })).collect();
    json!({
        "kind": finding.kind.as_str(),
        "leak": finding.kind.is_leak(),
        "confidence": json::number(finding.confidence.0),
        "summary": finding.summary,
        "rate_bytes_per_second": finding.rate.map(json::interval),
        "time_to_limit_seconds": finding.time_to_limit_seconds.map(json::interval),
        "sites": sites,
        "retainers": retainers,
        "evidence": finding.evidence,
        "captures": finding.captures.iter().map(|id| id.0).collect::<Vec<_>>(),
        "next": finding.next,
    })
}
