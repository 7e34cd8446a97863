//! What reading a page for Prometheus costs, by lines.
//!
//!     cargo run --release -p memsight-decode --example exposition_cost [LINES]

use std::fmt::Write;
use std::time::Instant;

use model::series::Exposition;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let lines: usize = std::env::args().nth(1).map_or(Ok(100_000), |text| text.parse())?;
    let mut page = String::new();
    for line in 0..lines {
        if line % 100 == 0 {
            let _ = writeln!(
                page,
                "# HELP metric_{line}_bytes Some bytes.\n# TYPE metric_{line}_bytes gauge"
            );
        }
        let family = line - line % 100;
        let _ = writeln!(
            page,
            "metric_{family}_bytes{{instance=\"10.0.0.{}:9100\",job=\"node\",device=\"sd{line}\",mode=\"idle\"}} {}.25",
            line % 256,
            line * 37
        );
    }
    let begun = Instant::now();
    let read = decode::exposition::read(page.as_bytes(), Exposition::Text);
    let millis = begun.elapsed().as_secs_f64() * 1e3;
    println!(
        "{} samples, {} bytes, {} warnings: {millis:.1} ms",
        read.samples,
        page.len(),
        read.warnings.len()
    );
    Ok(())
}
