//! What looking for Go processes costs with the processes there are: `scan_cost [SCANS]`.

use capture::cpu_time;
use capture::find::{GoPids, pids};

fn main() {
    let scans: u32 = std::env::args().nth(1).map_or(20, |text| text.parse().unwrap());
    let mut go_pids = GoPids::default();
    let started = cpu_time();
    let found = go_pids.scan().len();
    println!(
        "{} processes, {found} run Go; the first scan {:?}",
        pids().len(),
        cpu_time() - started
    );
    let started = cpu_time();
    for _ in 0..scans {
        go_pids.scan();
    }
    println!("later ones {:?} each", (cpu_time() - started) / scans);
}
