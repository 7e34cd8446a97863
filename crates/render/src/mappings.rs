//! What a process maps and unmaps, as text and as JSON; the contract of the latter is in
//! docs/api.md.

use analyze::mappings::SiteMappings;
use model::probe::ProbeCounts;
use model::{Bytes, Frame, Target};
use serde_json::{Value, json};

use crate::json;
use crate::paint::Paint;
use crate::probe::{losses, printable, whose};
use crate::table::{Align, Table};

/// A stack that maps memory.
#[derive(Clone, Debug)]
pub struct MappingSite {
    /// What became of it.
    pub site: SiteMappings,
    /// Its calls, innermost first.
    pub stack: Vec<Frame>,
    /// The one that is responsible.
    pub responsible: Option<Frame>,
}

/// What `probe mmap` saw.
#[derive(Clone, Debug)]
pub struct MappingsReport<'a> {
    /// Of which process.
    pub target: &'a Target,
    /// For how long.
    pub seconds: f64,
    /// What was mapped before.
    pub before: SiteMappings,
    /// The stacks, that of which most is mapped first.
    pub sites: Vec<MappingSite>,
    /// What was lost.
    pub counts: ProbeCounts,
}

impl MappingsReport<'_> {
    fn sum(&self, of: impl Fn(&SiteMappings) -> u64) -> u64 {
        self.sites.iter().map(|site| of(&site.site)).sum()
    }
}

/// A table for people.
pub fn mappings_text(report: &MappingsReport<'_>, limit: usize, paint: Paint) -> String {
    let (mapped, net) = (report.sum(|it| it.mapped_bytes), report.sum(SiteMappings::net_bytes));
    let mut out = format!(
        "{} (pid {}), {:.1} s: mapped {} in {} calls, of which {} are mapped still\n",
        paint.bold(&printable(&report.target.name)),
        report.target.pid.unwrap_or(0),
        report.seconds,
        Bytes(mapped),
        report.sum(|it| it.calls),
        Bytes(net),
    );
    let before = &report.before;
    out += &format!(
        "of {} that were mapped before, {} were unmapped and {} given back (madvise)\n",
        Bytes(before.mapped_bytes),
        Bytes(before.unmapped_bytes),
        Bytes(before.given_back_bytes),
    );
    if report.sites.is_empty() {
        return out;
    }
    let (left, right) = (Align::Left, Align::Right);
    let mut table = Table::new(&[
        ("NET", right),
        ("RESERVED", right),
        ("MAPPED", right),
        ("UNMAPPED", right),
        ("GIVEN BACK", right),
        ("CALLS", right),
        ("BY", left),
        ("SITE", left),
    ]);
    for named in report.sites.iter().take(limit) {
        let site = &named.site;
        table.push(vec![
            Bytes(site.net_bytes()).to_string(),
            Bytes(site.reserved_bytes).to_string(),
            Bytes(site.mapped_bytes).to_string(),
            Bytes(site.unmapped_bytes).to_string(),
            Bytes(site.given_back_bytes).to_string(),
            site.calls.to_string(),
            site.by.as_str().to_owned(),
            whose(named.responsible.as_ref(), &named.stack),
        ]);
    }
    out += &format!("\n{}", table.text());
    let left_out = report.sites.len().saturating_sub(limit);
    if left_out > 0 {
        out += &paint.dim(&format!("and {left_out} more stacks (-n)\n"));
    }
    out
}

/// The same for programs, all stacks included.
pub fn mappings_value(report: &MappingsReport<'_>) -> Value {
    let site = |named: &MappingSite| {
        let mut value = site_value(&named.site);
        if let Value::Object(value) = &mut value {
            value.insert("call".to_owned(), named.site.by.as_str().into());
            value.insert("site".to_owned(), named.responsible.as_ref().map(json::frame).into());
            let stack: Vec<Value> = named.stack.iter().map(json::frame).collect();
            value.insert("stack".to_owned(), stack.into());
        }
        value
    };
    json!({
        "target": json::target(report.target),
        "seconds": json::number(report.seconds),
        "before": site_value(&report.before),
        "sites": report.sites.iter().map(site).collect::<Vec<Value>>(),
        "losses": losses(&report.counts),
    })
}

fn site_value(site: &SiteMappings) -> Value {
    json!({
        "net_bytes": json::unsigned(site.net_bytes()),
        "reserved_bytes": json::unsigned(site.reserved_bytes),
        "mapped_bytes": json::unsigned(site.mapped_bytes),
        "unmapped_bytes": json::unsigned(site.unmapped_bytes),
        "given_back_bytes": json::unsigned(site.given_back_bytes),
        "calls": site.calls,
    })
}
