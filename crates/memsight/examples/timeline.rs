//! What building a timeline costs, and asking it: `timeline FILE`.

use std::path::Path;
use std::time::Instant;

use analyze::trace::Analysis;
use analyze::trace::timeline::{Builder, Figure, Slot, Track};
use decode::gotrace::Reader;
use model::trace::Time;

fn main() -> anyhow::Result<()> {
    let path = std::env::args_os().nth(1).ok_or_else(|| anyhow::anyhow!("timeline FILE"))?;
    let image = capture::Image::open(Path::new(&path))?;
    let began = Instant::now();
    let mut reader = Reader::new(image.as_ref())?;
    let mut builder = Builder::default();
    while let Some(event) = reader.next()? {
        builder.event(&event, reader.tables());
    }
    drop(reader);
    let timeline = builder.finish();
    println!(
        "built in {:.2} s: {} changes, {} goroutines, {:.1} MB of {:.1} MB",
        began.elapsed().as_secs_f64(),
        timeline.changes(),
        timeline.goroutines().len(),
        timeline.size_bytes() as f64 / 1e6,
        image.as_ref().len() as f64 / 1e6,
    );
    let (start, end) = timeline.span();
    let whole = end.nanos_since(start);
    for part in [1, 2, 4, 8, 16, 64, 1024] {
        let to = Time(start.0.saturating_add_unsigned(whole / part));
        ask("all rows", part, || {
            timeline.views(&timeline.tracks(), start, to, 1500);
        });
        ask("a goroutine", part, || {
            timeline.views(&[Track::Goroutine(Slot(9))], start, to, 1500);
        });
        ask("running", part, || {
            timeline.series(Figure::Running, start, to, 1500);
        });
        ask("heap", part, || {
            timeline.series(Figure::HeapBytes, start, to, 1500);
        });
    }
    Ok(())
}

fn ask(what: &str, part: u64, question: impl FnOnce()) {
    let began = Instant::now();
    question();
    println!("  1/{part:<5} {what:<12} {:8.2} ms", began.elapsed().as_secs_f64() * 1e3);
}
