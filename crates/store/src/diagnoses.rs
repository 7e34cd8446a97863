//! The latest diagnosis of each target, as a document of our own.

use model::{
    CaptureId, Confidence, Diagnosis, Finding, FindingKind, Frame, Interval, Retainer, Site,
    TargetId, Timestamp,
};
use rusqlite::{OptionalExtension, params};
use serde::{Deserialize, Serialize};

use crate::catalog::Store;
use crate::error::StoreError;

#[derive(Serialize, Deserialize)]
struct Document {
    span_seconds: f64,
    findings: Vec<FindingDoc>,
    warnings: Vec<String>,
}

/// JSON has no infinity: an unbounded end is `None`.
type IntervalDoc = [Option<f64>; 3];

#[derive(Serialize, Deserialize)]
struct FindingDoc {
    kind: String,
    confidence: f64,
    summary: String,
    rate: Option<IntervalDoc>,
    time_to_limit: Option<IntervalDoc>,
    sites: Vec<SiteDoc>,
    retainers: Vec<Vec<String>>,
    evidence: Vec<String>,
    /// Documents of earlier versions have none.
    #[serde(default)]
    captures: Vec<i64>,
    next: String,
}

#[derive(Serialize, Deserialize)]
struct SiteDoc {
    frame: FrameDoc,
    share: f64,
    rate: IntervalDoc,
    stack: Vec<FrameDoc>,
}

type FrameDoc = (String, String, u32);

impl Store {
    /// Replaces the diagnosis of a target.
    ///
    /// # Errors
    /// When the catalog cannot be written.
    pub fn put_diagnosis(&self, id: TargetId, diagnosis: &Diagnosis) -> Result<(), StoreError> {
        let document = Document {
            span_seconds: diagnosis.span_seconds,
            findings: diagnosis.findings.iter().map(to_doc).collect(),
            warnings: diagnosis.warnings.clone(),
        };
        let text = serde_json::to_string(&document).unwrap_or_default();
        let sql = "INSERT OR REPLACE INTO diagnoses (target, time, document) VALUES (?1, ?2, ?3)";
        self.catalog().execute(sql, params![id.0, diagnosis.time.0, text])?;
        Ok(())
    }

    /// The latest diagnosis of a target, if there is one.
    ///
    /// # Errors
    /// When there is no such target or the catalog cannot be read.
    pub fn diagnosis(&self, id: TargetId) -> Result<Option<Diagnosis>, StoreError> {
        let target = self.target(id)?.target;
        let sql = "SELECT time, document FROM diagnoses WHERE target = ?1";
        let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?));
        let found = self.catalog().query_row(sql, [id.0], row).optional()?;
        Ok(found.and_then(|(time, text)| {
            let document: Document = serde_json::from_str(&text).ok()?;
            Some(Diagnosis {
                target,
                time: Timestamp(time),
                span_seconds: document.span_seconds,
                findings: document.findings.into_iter().filter_map(from_doc).collect(),
                warnings: document.warnings,
            })
        }))
    }
}

fn interval_doc(interval: Interval) -> IntervalDoc {
    [interval.estimate, interval.low, interval.high].map(|v| v.is_finite().then_some(v))
}

fn interval(doc: IntervalDoc) -> Interval {
    let [estimate, low, high] = doc.map(|value| value.unwrap_or(f64::INFINITY));
    Interval { estimate, low, high }
}

fn frame_doc(frame: &Frame) -> FrameDoc {
    (frame.function.clone(), frame.file.clone(), frame.line)
}

fn frame((function, file, line): FrameDoc) -> Frame {
    Frame { function, file, line }
}

fn to_doc(finding: &Finding) -> FindingDoc {
    FindingDoc {
        kind: finding.kind.as_str().to_owned(),
        confidence: finding.confidence.0,
        summary: finding.summary.clone(),
        rate: finding.rate.map(interval_doc),
        time_to_limit: finding.time_to_limit_seconds.map(interval_doc),
        sites: finding
            .sites
            .iter()
            .map(|site| SiteDoc {
                frame: frame_doc(&site.frame),
                share: site.share,
                rate: interval_doc(site.rate),
                stack: site.stack.iter().map(frame_doc).collect(),
            })
            .collect(),
        retainers: finding.retainers.iter().map(|retainer| retainer.path.clone()).collect(),
        evidence: finding.evidence.clone(),
        captures: finding.captures.iter().map(|id| id.0).collect(),
        next: finding.next.clone(),
    }
}

fn from_doc(doc: FindingDoc) -> Option<Finding> {
    Some(Finding {
        kind: FindingKind::parse(&doc.kind)?,
        confidence: Confidence(doc.confidence),
        summary: doc.summary,
        rate: doc.rate.map(interval),
        time_to_limit_seconds: doc.time_to_limit.map(interval),
        sites: doc
            .sites
            .into_iter()
            .map(|site| Site {
                frame: frame(site.frame),
                share: site.share,
                rate: interval(site.rate),
                stack: site.stack.into_iter().map(frame).collect(),
            })
            .collect(),
        retainers: doc.retainers.into_iter().map(|path| Retainer { path }).collect(),
        evidence: doc.evidence,
        captures: doc.captures.into_iter().map(CaptureId).collect(),
        next: doc.next,
    })
}
