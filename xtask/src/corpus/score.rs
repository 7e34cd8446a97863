//! Right and wrong verdicts, counted.

use serde_json::Value;

use super::truth::Truth;

/// At least so much precision and recall, or the check fails.
const SCORE_MIN: f64 = 0.9;
/// A healthy program called a leak with this confidence fails the check.
const HIGH_CONFIDENCE: f64 = 0.8;

/// One program's answers.
pub(super) struct Outcome {
    truth: Truth,
    verdict: String,
    is_leak: bool,
    confidence: f64,
    place: String,
    is_site_right: bool,
    right_since: Option<u64>,
}

impl Outcome {
    pub(super) fn new(truth: Truth) -> Outcome {
        Outcome {
            truth,
            verdict: "none".to_owned(),
            is_leak: false,
            confidence: 0.0,
            place: String::new(),
            is_site_right: false,
            right_since: None,
        }
    }

    /// Takes the verdict of this second.
    pub(super) fn note(&mut self, second: u64, diagnosis: &Value) {
        let Some(first) = diagnosis["findings"].get(0) else { return };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.verdict = text(&first["kind"]);
        self.confidence = first["confidence"].as_f64().unwrap_or_default();
        self.is_leak = first["leak"] == true && self.confidence >= 0.5;
        let site = &first["sites"][0];
        let line = site["line"].as_u64().unwrap_or_default();
        self.place = format!("{}:{line}", text(&site["function"]));
        let function = &self.truth.function;
        self.is_site_right = function.is_empty()
            || (text(&site["function"]) == *function && self.truth.line == Some(line));
        self.right_since = if self.is_right() { self.right_since.or(Some(second)) } else { None };
    }

    fn is_right(&self) -> bool {
        match self.truth.is_leak() {
            true => self.is_leak && self.verdict == self.truth.verdict && self.is_site_right,
            false => !self.is_leak,
        }
    }
}

/// Prints the table and the scores; true when they are good enough.
pub(super) fn report(outcomes: &[Outcome]) -> bool {
    println!(
        "{:<18} {:<15} {:<22} {:>5}  {:>5}  place",
        "program", "truth", "verdict", "sure", "after"
    );
    for outcome in outcomes {
        let after = outcome.right_since.map_or("-".to_owned(), |second| format!("{second} s"));
        let mark = if outcome.is_right() { "" } else { "  <- wrong" };
        println!(
            "{:<18} {:<15} {:<22} {:>4.0}%  {after:>5}  {}{mark}",
            outcome.truth.name,
            outcome.truth.verdict,
            outcome.verdict,
            outcome.confidence * 100.0,
            if outcome.is_leak { &outcome.place } else { "" },
        );
    }
    let count = |test: &dyn Fn(&Outcome) -> bool| outcomes.iter().filter(|o| test(o)).count();
    let found = count(&|o| o.truth.is_leak() && o.is_leak);
    let missed = count(&|o| o.truth.is_leak() && !o.is_leak);
    let false_alarms = count(&|o| !o.truth.is_leak() && o.is_leak);
    let quiet = count(&|o| !o.truth.is_leak() && !o.is_leak);
    let ratio =
        |part: usize, whole: usize| if whole == 0 { 1.0 } else { part as f64 / whole as f64 };
    let precision = ratio(found, found + false_alarms);
    let recall = ratio(found, found + missed);
    let mut times: Vec<u64> =
        outcomes.iter().filter(|o| o.truth.is_leak()).filter_map(|o| o.right_since).collect();
    times.sort_unstable();
    println!("\n                 called a leak   not called a leak");
    println!("leaks            {found:>13}   {missed:>17}");
    println!("healthy          {false_alarms:>13}   {quiet:>17}");
    println!("\nprecision {precision:.2}, recall {recall:.2}");
    let wrong_place = count(&|o| o.truth.is_leak() && o.is_leak && !o.is_right());
    println!("leaks found with the wrong kind or place: {wrong_place}");
    if let Some(median) = times.get(times.len() / 2) {
        println!("median time to verdict: {median} s");
    }
    let loud = count(&|o| !o.truth.is_leak() && o.is_leak && o.confidence >= HIGH_CONFIDENCE);
    println!("healthy programs called a leak with high confidence: {loud}");
    precision >= SCORE_MIN && recall >= SCORE_MIN && loud == 0 && wrong_place == 0
}
