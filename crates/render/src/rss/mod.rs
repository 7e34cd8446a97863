//! What resident memory consists of, as a table with bars and as JSON.

mod value;

use analyze::rss::{Advice, Cause, returnable_bytes};
use model::rss::{Rss, RssClass, RssGroup, RssKind, RssMap};
use model::{Bytes, Target};

use crate::paint::Paint;
use crate::quantity::{count, percent};
use crate::table::{Align, Table};

pub use value::value;

/// Width of the bar of everything.
const BAR: u64 = 30;
/// Size classes and mappings below this share are left out of the first table.
const CLASS_PART: u64 = 100;
const CLASSES: usize = 3;

/// Everything for people. `has_sizes` and `has_maps` add the tables of size classes and of
/// mappings.
pub fn text(
    target: &Target,
    rss: &Rss,
    causes: &[Cause],
    advice: &[Advice],
    (has_sizes, has_maps): (bool, bool),
    paint: Paint,
) -> String {
    let total = rss.tally.total().bytes;
    let pid = target.pid.map_or_else(String::new, |pid| format!(" (pid {pid})"));
    let headline = format!("{}{pid}: {} resident", target.name, Bytes(total));
    let mut out = format!("{}\n\n", paint.bold(&headline));
    out += &kinds(rss, paint);
    out += &checks(rss, paint);
    out += &beside(rss, paint);
    if let Some(main) = causes.first() {
        out += &format!("\n{}", main_cause(main, total, paint));
    }
    for one in advice {
        out += &format!("\n{}", advice_text(one, paint));
    }
    if has_sizes {
        out += &format!("\n{}\n{}", paint.bold("size classes"), sizes(&rss.classes).text());
    }
    if has_maps {
        out += &format!("\n{}\n{}", paint.bold("mappings"), maps(&rss.maps).text());
    }
    out
}

/// Groups, and the kinds in each, with bars.
fn kinds(rss: &Rss, paint: Paint) -> String {
    let total = rss.tally.total();
    let has_huge = total.huge_bytes > 0;
    let mut out = String::new();
    for group in RssGroup::ALL {
        let of = rss.tally.group(group);
        if of.bytes == 0 && group != RssGroup::Unattributed {
            continue;
        }
        let line = row(group.as_str(), of.bytes, total.bytes, has_huge.then_some(of.huge_bytes));
        out += &format!("{}\n", paint.bold(&line));
        if group == RssGroup::Unattributed {
            continue;
        }
        let kinds = RssKind::all().filter(|kind| kind.group() == group);
        for kind in kinds.filter(|kind| rss.tally.of(*kind).bytes > 0) {
            let of = rss.tally.of(kind);
            let huge = has_huge.then_some(of.huge_bytes);
            out += &row(&format!("  {}", kind.label()), of.bytes, total.bytes, huge);
            out.push('\n');
            if kind == RssKind::HeapFree {
                out += &free_slots(&rss.classes, total.bytes, paint);
            }
        }
    }
    out
}

fn row(name: &str, bytes: u64, total: u64, huge: Option<u64>) -> String {
    // Half a mark counts, so that small shares are seen.
    let marks = (u128::from(bytes) * u128::from(BAR * 2) / u128::from(total.max(1))).div_ceil(2);
    let bar = "#".repeat(usize::try_from(marks).unwrap_or(0));
    let share = share(bytes, total);
    let huge = match huge {
        Some(0) => format!("{:14}", ""),
        Some(huge) => format!("{:>9} huge", Bytes(huge).to_string()),
        None => String::new(),
    };
    let size = Bytes(bytes).to_string();
    format!("{name:<38} {size:>10} {share:>6} {huge} {bar}").trim_end().to_owned()
}

fn share(bytes: u64, total: u64) -> String {
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    percent(signed(bytes), signed(total))
}

/// The size classes with the most free memory.
fn free_slots(classes: &[RssClass], total: u64, paint: Paint) -> String {
    let mut by_size: Vec<(Option<u64>, u64)> = Vec::new();
    for class in classes {
        match by_size.iter_mut().find(|(size, _)| *size == class.slot_bytes) {
            Some((_, free)) => *free += class.free_bytes,
            None => by_size.push((class.slot_bytes, class.free_bytes)),
        }
    }
    by_size.sort_by_key(|(size, free)| (std::cmp::Reverse(*free), *size));
    let shown = by_size.iter().filter(|(_, free)| *free > total / CLASS_PART).take(CLASSES);
    let line = |(size, free): &(Option<u64>, u64)| {
        let name = size.map_or("large".to_owned(), |size| format!("{} bytes", count(size)));
        format!("{}\n", paint.dim(&row(&format!("    of {name}"), *free, total, None)))
    };
    shown.map(line).collect()
}

/// The sum, beside what the kernel says, and what it cost to find out.
fn checks(rss: &Rss, paint: Paint) -> String {
    let total = rss.tally.total().bytes;
    let mut out = format!("\nsum {}", Bytes(total));
    if let Some(status) = rss.process.rss_bytes {
        out += &format!(", by /proc/PID/status {}", Bytes(status));
        let off = status.abs_diff(total);
        if off > 0 {
            let word = if status > total { "more" } else { "less" };
            out += &format!(
                " ({} {word}: memory came and went meanwhile, and some kernels count in steps)",
                Bytes(off)
            );
        }
    }
    let millis = rss.cost_micros.div_ceil(1000);
    out += &format!("; read in {millis} ms of CPU, while the process ran\n");
    let parts = [
        ("given back and not resident", rss.has_runtime.then_some(rss.released_bytes)),
        ("swapped out", rss.process.swap_bytes.filter(|bytes| *bytes > 0)),
        (
            "shared with others (RSS less PSS)",
            rss.process.pss_bytes.map(|pss| total.saturating_sub(pss)),
        ),
        ("freed by MADV_FREE", Some(rss.lazy_free_bytes).filter(|bytes| *bytes > 0)),
    ];
    let parts =
        parts.iter().filter_map(|(name, bytes)| Some(format!("{name} {}", Bytes((*bytes)?))));
    let parts: Vec<String> = parts.collect();
    if !parts.is_empty() {
        out += &format!("{}\n", paint.dim(&parts.join(", ")));
    }
    let huge = rss.tally.total().huge_bytes;
    if huge > 0 {
        let empty = [RssKind::HeapFree, RssKind::HeapIdle, RssKind::HeapReturned];
        let empty: u64 = empty.iter().map(|kind| rss.tally.of(*kind).huge_bytes).sum();
        let line = format!("in huge pages {}, of which {} hold nothing", Bytes(huge), Bytes(empty));
        out += &format!("{}\n", paint.dim(&line));
    }
    out
}

/// What the kernel keeps beside resident memory.
fn beside(rss: &Rss, paint: Paint) -> String {
    let cgroup = &rss.cgroup;
    let rows = [
        ("page cache", cgroup.file_bytes),
        ("kernel", cgroup.kernel_bytes),
        ("slab", cgroup.slab_bytes),
        ("sockets", cgroup.sock_bytes),
        ("kernel stacks", cgroup.kernel_stack_bytes),
        ("page tables", cgroup.page_table_bytes),
    ];
    let known =
        rows.iter().filter_map(|(name, bytes)| Some(format!("{name} {}", Bytes((*bytes)?))));
    let known: Vec<String> = known.collect();
    let mut out = String::new();
    if let Some(usage) = cgroup.usage_bytes {
        let limit = cgroup
            .limit_bytes
            .map_or_else(|| "no limit".to_owned(), |limit| format!("limit {}", Bytes(limit)));
        out = format!("cgroup {} ({limit})", Bytes(usage));
        if !known.is_empty() {
            out += &format!(": {}", known.join(", "));
        }
        out.push('\n');
    }
    if let Some(tables) = rss.process.page_table_bytes {
        out += &format!("page tables of the process {}\n", Bytes(tables));
    }
    paint_lines(&out, paint)
}

fn paint_lines(text: &str, paint: Paint) -> String {
    text.lines().map(|line| format!("{}\n", paint.dim(line))).collect()
}

fn main_cause(cause: &Cause, total: u64, paint: Paint) -> String {
    let kind = cause.kind;
    let name = paint.bold(&format!("main cause: {}", kind.as_str()));
    let (bytes, share) = (Bytes(cause.bytes), share(cause.bytes, total));
    let detail = cause.detail.as_ref().map_or_else(String::new, |part| format!("; {part}"));
    let mut out = format!("{name}, {bytes} ({share}): {}{detail}\n", kind.meaning());
    if let Some(next) = kind.next() {
        out += &format!("  {next}\n");
    }
    out
}

fn advice_text(advice: &Advice, paint: Paint) -> String {
    let (low, high) = advice.saves;
    let saves = match low {
        0 => format!("up to {}", Bytes(high)),
        low if low == high => Bytes(low).to_string(),
        low => format!("{} to {}", Bytes(low), Bytes(high)),
    };
    format!(
        "{} {}\n   why: {}\n   saves {saves}; costs: {}\n",
        paint.warn("->"),
        advice.setting,
        advice.reason,
        advice.risk
    )
}

/// Spans by size class.
pub fn sizes(classes: &[RssClass]) -> Table {
    let right = Align::Right;
    let heads = [
        "SLOT",
        "POINTERS",
        "SPANS",
        "RESIDENT",
        "MARKED",
        "NEW",
        "DEAD",
        "FREE",
        "TAILS",
        "FULL",
        "SPARSE",
        "RETURNABLE",
    ];
    let mut table = Table::new(&heads.map(|head| (head, right)));
    let mut sorted: Vec<&RssClass> = classes.iter().collect();
    sorted.sort_by_key(|class| (std::cmp::Reverse(class.span_bytes), class.slot_bytes));
    for class in sorted {
        let bytes = |bytes: u64| Bytes(bytes).to_string();
        table.push(vec![
            class.slot_bytes.map_or("large".to_owned(), count),
            if class.is_noscan { "no" } else { "yes" }.to_owned(),
            count(class.spans),
            bytes(class.span_bytes),
            bytes(class.marked_bytes),
            bytes(class.new_bytes),
            bytes(class.dead_bytes),
            bytes(class.free_bytes),
            bytes(class.tail_bytes),
            share(class.objects, class.slots),
            count(class.sparse_spans),
            bytes(returnable_bytes(class)),
        ]);
    }
    table
}

/// Mappings with what is most of each.
pub fn maps(maps: &[RssMap]) -> Table {
    let (left, right) = (Align::Left, Align::Right);
    let mut table = Table::new(&[
        ("MAPPING", left),
        ("MODE", left),
        ("SIZE", right),
        ("RESIDENT", right),
        ("HUGE", right),
        ("MOSTLY", left),
        ("PATH", left),
    ]);
    for map in maps {
        let total = map.tally.total();
        let most = RssKind::all().max_by_key(|kind| map.tally.of(*kind).bytes);
        table.push(vec![
            format!("{:x}-{:x}", map.range.start, map.range.end),
            map.permissions.clone(),
            Bytes(map.range.end - map.range.start).to_string(),
            Bytes(total.bytes).to_string(),
            Bytes(total.huge_bytes).to_string(),
            most.map_or("", RssKind::as_str).to_owned(),
            map.path.clone(),
        ]);
    }
    table
}
