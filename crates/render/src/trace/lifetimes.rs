//! How long objects lived, by type.

use analyze::trace::lifetimes::{
    COLLECTION_CLASSES, Count, Ends, FunctionLifetimes, Lifetimes, Options, TIME_CLASSES,
    TypeLifetimes,
};
use model::Bytes;
use serde_json::{Value, json};

use super::nanos;
use crate::json;
use crate::paint::Paint;
use crate::quantity::count;
use crate::table::{Align, Table};

/// What to show of them.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Types in their order; the result may have others.
    pub types: &'a [&'a TypeLifetimes],
    /// How many types and functions; 0 for all.
    pub limit: usize,
    /// Shows each type with all that is known of it.
    pub is_detailed: bool,
    /// What was looked for.
    pub options: Options,
    /// A snapshot was given.
    pub has_snapshot: bool,
    /// Why the trace was not read to its end.
    pub warning: Option<&'a str>,
}

impl View<'_> {
    fn shown<'t, T>(&self, all: &'t [T]) -> &'t [T] {
        let limit = if self.limit == 0 { all.len() } else { self.limit.min(all.len()) };
        &all[..limit]
    }
}

/// The lifetimes as text.
pub fn text(all: &Lifetimes, view: &View<'_>, paint: Paint) -> String {
    let collections = count(all.collections.into());
    let duration = nanos(all.duration_nanos);
    let headline = format!("lifetimes of objects in {duration} with {collections} collections");
    let mut out = format!("{}\n\n{}", paint.bold(&headline), totals(all));
    if view.is_detailed {
        for of in view.shown(view.types) {
            out += &format!("\n{}", details(of, &view.options, paint));
        }
    } else {
        out += &format!("\n{}", table(view).text());
    }
    let hidden = view.types.len() - view.shown(view.types).len();
    if hidden > 0 {
        out += &format!("{}\n", paint.dim(&format!("{hidden} more types; -n 0 shows all")));
    }
    if !view.is_detailed && !all.functions.is_empty() {
        out += &format!("\n{}", functions(view.shown(&all.functions)).text());
    }
    for text in notes(all, view) {
        out += &format!("\n{} {text}\n", paint.warn("note:"));
    }
    out + &super::warning(view.warning, paint)
}

fn totals(all: &Lifetimes) -> String {
    let (totals, named) = (&all.totals, &all.named);
    let mut out = String::new();
    let mut line = |name: &str, text: String| out += &format!("{name:<12} {text}\n");
    let known = named.existed_by_trace + named.existed_by_snapshot;
    let known = percent(known, totals.existed.objects);
    let living = percent(named.existed_living_named, named.existed_living);
    line("existed", counted(totals.existed));
    let agree = match named.compared {
        0 => String::new(),
        all => format!(
            "; trace and snapshot agree on {} of {}",
            percent(all - named.differing.min(all), all),
            count(all)
        ),
    };
    line("", format!("types known of {known}, of those that live at the end {living}{agree}"));
    let packed = match totals.packed {
        0 => String::new(),
        packed => format!(", and {} tiny objects in slots of others", count(packed)),
    };
    line("allocated", format!("{}{packed}", counted(totals.allocated)));
    let share = |part| percent(part, totals.allocated.objects);
    let (types, bytes) = (share(named.allocated), share(named.allocated_bytes));
    line("", format!("types known of {types}; {bytes} are strings and other plain bytes"));
    line("freed", counted(totals.freed));
    line("living", counted(totals.living));
    out
}

fn counted(of: Count) -> String {
    format!("{} ({})", count(of.objects), Bytes(of.bytes))
}

fn percent(part: u64, whole: u64) -> String {
    match whole {
        0 => "-".to_owned(),
        whole => format!("{:.1}%", part as f64 * 100.0 / whole as f64),
    }
}

/// One row for each type.
pub fn table(view: &View<'_>) -> Table {
    let right = Align::Right;
    let shown = view.shown(view.types);
    let (first, last) = classes(shown);
    let (survive, within) = (
        format!("SURVIVE {}", view.options.gcs),
        format!("IN {}", nanos(view.options.within_nanos).to_uppercase()),
    );
    let lifetimes = format!("{} TO {}", nanos(1 << first), nanos(2 << last)).to_uppercase();
    let mut table = Table::new(&[
        ("OBJECTS", right),
        ("BYTES", right),
        ("FREED", right),
        ("YOUNG", right),
        (&within, right),
        (&survive, right),
        ("LIVING", right),
        (&lifetimes, Align::Left),
        ("TYPE", Align::Left),
    ]);
    for of in shown {
        table.push(vec![
            count(of.allocated.objects),
            Bytes(of.allocated.bytes).to_string(),
            count(of.freed.objects),
            percent(of.young.objects, of.allocated.objects),
            percent(of.within.objects, of.allocated.objects),
            survival(of.survival),
            count(of.living().objects),
            sparkline(of.by_time.ended.get(first..=last).unwrap_or_default()),
            of.name.clone(),
        ]);
    }
    table
}

/// The classes of lifetimes that there are.
fn classes(types: &[&TypeLifetimes]) -> (usize, usize) {
    let has = |class: &usize| types.iter().any(|of| of.by_time.ended[*class] > 0);
    let first = (0..TIME_CLASSES).find(has).unwrap_or(0);
    (first, (0..TIME_CLASSES).rfind(has).unwrap_or(first))
}

/// A column for each number; those that are 0 are dots.
fn sparkline(numbers: &[u64]) -> String {
    const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let max = numbers.iter().copied().max().unwrap_or(0).max(1);
    let step = |number: &u64| match *number {
        0 => '·',
        number => STEPS[((number as f64 / max as f64 * 8.0).ceil() as usize).clamp(1, 8) - 1],
    };
    numbers.iter().map(step).collect()
}

fn survival(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.1}%", share * 100.0))
}

fn functions(all: &[FunctionLifetimes]) -> Table {
    let right = Align::Right;
    let mut table = Table::new(&[
        ("OBJECTS", right),
        ("BYTES", right),
        ("FREED", right),
        ("YOUNG", right),
        ("ALLOCATED BY GOROUTINES OF", Align::Left),
    ]);
    for it in all {
        let name = if it.function.is_empty() { "(unknown)" } else { &it.function };
        table.push(vec![
            count(it.allocated.objects),
            Bytes(it.allocated.bytes).to_string(),
            count(it.freed.objects),
            percent(it.young.objects, it.allocated.objects),
            name.to_owned(),
        ]);
    }
    table
}

/// All of a type: its counts, and both histograms.
fn details(of: &TypeLifetimes, options: &Options, paint: Paint) -> String {
    let mut out = format!("{}\n", paint.bold(&of.name));
    let mut line = |name: &str, text: String| out += &format!("  {name:<12} {text}\n");
    line("existed", format!("{}, {} freed", counted(of.existed), count(of.existed_freed.objects)));
    line("allocated", counted(of.allocated));
    if of.packed > 0 {
        line("packed", format!("{} in slots of others", count(of.packed)));
    }
    line("freed", counted(of.freed));
    line("young", format!("{} freed by the first collection", counted(of.young)));
    let within = nanos(options.within_nanos);
    line("short-lived", format!("{} freed in {within}", counted(of.within)));
    let gcs = options.gcs;
    let share = survival(of.survival);
    line("survivors", format!("{} known to survive {gcs} collections; {share} do", of.survivors));
    line("living", counted(of.living()));
    let times =
        rows(&of.by_time, |class| format!("{} to {}", nanos(1 << class), nanos(2 << class)));
    let collections = rows(&of.by_collections, |class| match class + 1 {
        COLLECTION_CLASSES => format!("{class} or more"),
        _ => class.to_string(),
    });
    for (name, rows) in [("LIFETIME", times), ("COLLECTIONS SURVIVED", collections)] {
        if !rows.is_empty() {
            out += &format!("\n{}", histogram(name, rows).text());
        }
    }
    out
}

struct Row {
    class: String,
    ended: u64,
    left: u64,
    survival: Option<f64>,
}

/// From the first class that has something to the last.
fn rows<const N: usize>(ends: &Ends<N>, name: impl Fn(usize) -> String) -> Vec<Row> {
    let has = |class: &usize| ends.ended[*class] + ends.left[*class] > 0;
    let Some(first) = (0..N).find(has) else { return Vec::new() };
    let last = (0..N).rfind(has).unwrap_or(first);
    let row = |class: usize| Row {
        class: name(class),
        ended: ends.ended[class],
        left: ends.left[class],
        survival: ends.survive(class),
    };
    (first..=last).map(row).collect()
}

fn histogram(name: &str, rows: Vec<Row>) -> Table {
    const WIDTH: f64 = 40.0;
    let right = Align::Right;
    let columns = [(name, right), ("FREED", right), ("LIVING", right), ("SURVIVE", right)];
    let mut table = Table::new(&[&columns[..], &[("", Align::Left)]].concat());
    let max = rows.iter().map(|row| row.ended).max().unwrap_or(0).max(1);
    for row in rows {
        let bar = (row.ended as f64 / max as f64 * WIDTH).ceil() as usize;
        let (ended, left) = (count(row.ended), count(row.left));
        table.push(vec![row.class, ended, left, survival(row.survival), "█".repeat(bar)]);
    }
    table
}

/// What a reader of the figures has to know.
fn notes(all: &Lifetimes, view: &View<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    let of = &all.unmatched;
    if of.without_span > 0 {
        notes.push(format!(
            "{} events are about objects in memory that the trace does not describe: it lacks its \
             beginning",
            count(of.without_span)
        ));
    }
    let unmatched = of.frees + of.early_unresolved + of.lost_with_span;
    if unmatched > 0 {
        notes.push(format!(
            "{} frees of slots without a known object, {} objects without the free of the one \
             before them, {} without a free of their own",
            count(of.frees),
            count(of.early_unresolved),
            count(of.lost_with_span)
        ));
    }
    if all.collections < 2 {
        notes.push("survival needs two collections or more: a longer trace tells more".to_owned());
    }
    if !view.has_snapshot && all.totals.existed.objects > all.named.existed_by_trace {
        notes.push(
            "types of objects that existed before are in a snapshot: `memsight trace record \
             --allocfree --snapshot` takes one, --snapshot FILE names it here"
                .to_owned(),
        );
    }
    notes
}

/// The lifetimes as the contract has them.
pub fn value(all: &Lifetimes, view: &View<'_>) -> Value {
    let types: Vec<Value> = view.shown(view.types).iter().map(|of| type_value(of)).collect();
    let functions: Vec<Value> = view.shown(&all.functions).iter().map(function_value).collect();
    let (named, unmatched) = (&all.named, &all.unmatched);
    json!({
        "duration_nanos": json::unsigned(all.duration_nanos),
        "collections": all.collections,
        "gcs": view.options.gcs,
        "within_nanos": json::unsigned(view.options.within_nanos),
        "existed": count_value(all.totals.existed),
        "allocated": count_value(all.totals.allocated),
        "packed_objects": json::unsigned(all.totals.packed),
        "freed": count_value(all.totals.freed),
        "living": count_value(all.totals.living),
        "named": {
            "existed_by_trace": json::unsigned(named.existed_by_trace),
            "existed_by_snapshot": json::unsigned(named.existed_by_snapshot),
            "compared": json::unsigned(named.compared),
            "differing": json::unsigned(named.differing),
            "existed_living": json::unsigned(named.existed_living),
            "existed_living_named": json::unsigned(named.existed_living_named),
            "allocated": json::unsigned(named.allocated),
            "allocated_plain_bytes": json::unsigned(named.allocated_bytes),
        },
        "unmatched": {
            "frees": json::unsigned(unmatched.frees),
            "without_span": json::unsigned(unmatched.without_span),
            "early": json::unsigned(unmatched.early),
            "early_unresolved": json::unsigned(unmatched.early_unresolved),
            "lost_with_span": json::unsigned(unmatched.lost_with_span),
        },
        "types": types,
        "functions": functions,
        "warning": view.warning,
    })
}

fn count_value(of: Count) -> Value {
    json!({ "objects": json::unsigned(of.objects), "bytes": json::unsigned(of.bytes) })
}

fn type_value(of: &TypeLifetimes) -> Value {
    json!({
        "type": of.name,
        "existed": count_value(of.existed),
        "existed_freed": count_value(of.existed_freed),
        "allocated": count_value(of.allocated),
        "packed_objects": json::unsigned(of.packed),
        "freed": count_value(of.freed),
        "young": count_value(of.young),
        "within": count_value(of.within),
        "living": count_value(of.living()),
        "survivors": json::unsigned(of.survivors),
        "survival": of.survival.map(json::number),
        "by_log2_nanos": ends_value(&of.by_time),
        "by_collections": ends_value(&of.by_collections),
    })
}

/// Three columns, each up to the last class that has something.
fn ends_value<const N: usize>(ends: &Ends<N>) -> Value {
    let has = |class: &usize| ends.ended[*class] + ends.left[*class] > 0;
    let len = (0..N).rfind(has).map_or(0, |last| last + 1);
    let column = |of: &[u64; N]| of[..len].iter().map(|it| json::unsigned(*it)).collect::<Vec<_>>();
    let survival: Vec<_> = (0..len).map(|class| ends.survive(class).map(json::number)).collect();
    json!({ "freed": column(&ends.ended), "living": column(&ends.left), "survival": survival })
}

fn function_value(of: &FunctionLifetimes) -> Value {
    json!({
        "function": of.function,
        "allocated": count_value(of.allocated),
        "freed": count_value(of.freed),
        "young": count_value(of.young),
    })
}
