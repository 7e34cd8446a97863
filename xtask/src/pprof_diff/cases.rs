//! The flags that are tried.

use super::peer::Case;

/// Reports, and a name that some profiles have for those that need one.
const REPORTS: [&str; 10] = [
    "-top",
    "-text",
    "-tree",
    "-traces",
    "-tags",
    "-raw",
    "-callgrind",
    "-dot",
    "-proto",
    "-topproto",
];

/// Flags tried with every one of [`CROSSED_REPORTS`] on [`CROSSED_PROFILES`].
const OPTIONS: [&str; 50] = [
    "-cum",
    "-flat",
    "-functions",
    "-filefunctions",
    "-files",
    "-lines",
    "-addresses",
    "-lines -showcolumns",
    "-noinlines",
    "-addresses -noinlines",
    "-lines -noinlines -cum",
    "-nodecount=5",
    "-nodecount=0",
    "-nodecount=12 -cum",
    "-nodefraction=0.05",
    "-edgefraction=0.05",
    "-trim=false",
    "-trim=false -nodecount=3",
    "-focus=main",
    "-ignore=runtime",
    "-focus=main -ignore=func1|descend",
    "-hide=runtime\\.|std::",
    "-show=main|Server",
    "-show_from=main\\.",
    "-prune_from=main\\.",
    "-focus=Do|server -hide=even",
    "-relative_percentages -focus=main",
    "-relative_percentages -ignore=main -cum",
    "-tagfocus=route=/",
    "-tagfocus=route:/api/v1",
    "-tagignore=tenant",
    "-tagfocus=bytes=1kb:64kb",
    "-tagfocus=:100b",
    "-tagignore=64b:",
    "-tagfocus=128b",
    "-tagshow=route|bytes",
    "-taghide=bytes",
    "-tagroot=route",
    "-tagleaf=tenant,bytes",
    "-tagroot=route,tenant -tagleaf=latency -focus=main",
    "-unit=auto",
    "-unit=B",
    "-unit=ms",
    "-divide_by=3",
    "-mean",
    "-sample_index=0",
    "-sample_index=1 -mean -cum",
    "-drop_negative",
    "-compact_labels",
    "-call_tree",
];

const CROSSED_REPORTS: [&str; 6] = ["-top", "-tree", "-dot", "-traces", "-tags", "-callgrind"];
const CROSSED_PROFILES: [&str; 3] = ["heap.pb.gz", "cpu.pb.gz", "synth.pb.gz"];

const PROFILES: [&str; 9] = [
    "heap.pb.gz",
    "allocs.pb.gz",
    "cpu.pb.gz",
    "goroutine.pb.gz",
    "mutex.pb.gz",
    "block.pb.gz",
    "threadcreate.pb.gz",
    "synth.pb.gz",
    "foreign.pb.gz",
];

const BASES: [&str; 8] = [
    "-diff_base=heap.pb.gz heap2.pb.gz",
    "-base=heap.pb.gz heap2.pb.gz",
    "-diff_base=heap2.pb.gz heap.pb.gz",
    "-base=heap2.pb.gz -normalize heap.pb.gz",
    "-diff_base=synth.pb.gz synth2.pb.gz",
    "-base=synth.pb.gz synth2.pb.gz",
    "-diff_base=foreign.pb.gz -normalize synth.pb.gz",
    "-base=cpu.pb.gz cpu.pb.gz",
];

const MERGES: [&str; 3] =
    ["heap.pb.gz heap2.pb.gz", "synth.pb.gz synth2.pb.gz foreign.pb.gz", "heap.pb.gz allocs.pb.gz"];

const OTHERS: [&str; 27] = [
    "-disasm=main\\.(even|odd|leaf|descend) heap.pb.gz",
    "-disasm=main\\.(even|leaf) -cum -unit=B heap2.pb.gz",
    "-disasm=handle cpu.pb.gz",
    "-disasm=nothing.like.this cpu.pb.gz",
    "-list=main\\.(even|burn) heap.pb.gz",
    "-peek=main -cum heap.pb.gz",
    "-peek=nothing.like.this heap.pb.gz",
    "-peek=Server|Do synth.pb.gz",
    "-list=main\\.nothing heap.pb.gz",
    "-comments -add_comment=hello synth.pb.gz",
    "-top -add_comment=hello heap.pb.gz",
    "-inuse_objects -top heap.pb.gz",
    "-alloc_space -top -cum heap.pb.gz",
    "-alloc_objects -tree heap.pb.gz",
    "-total_delay -top mutex.pb.gz",
    "-contentions -top mutex.pb.gz",
    "-mean_delay -top mutex.pb.gz",
    "-top -symbolize=none synth.pb.gz",
    "-top -symbolize=demangle=templates synth.pb.gz",
    "-top -symbolize=demangle=full synth.pb.gz",
    "-raw -symbolize=demangle=none synth.pb.gz",
    "-top --nodecount 7 --cum heap.pb.gz",
    "-top -sample_index=nothing heap.pb.gz",
    "-top -focus=( heap.pb.gz",
    "-top -tree heap.pb.gz",
    "-top missing.pb.gz",
    "-top missing.pb.gz heap.pb.gz",
];

/// Listings, with sources and without, by name, file and address. The generator's sources lie
/// where `{s}` says.
const LISTINGS: [&str; 26] = [
    "-list=main\\.(even|odd|leaf) {s} heap.pb.gz",
    "-list=main {s} cpu.pb.gz",
    "-list=^main -unit=B -cum {s} allocs.pb.gz",
    "-list=^main -source_path=/nowhere heap.pb.gz",
    "-list=^main -trim_path=/nowhere heap.pb.gz",
    "-list=^main -diff_base=heap.pb.gz -focus=main {s} heap2.pb.gz",
    "-list=. synth.pb.gz",
    "-list=Server|Do foreign.pb.gz",
    "-list=0x4f3068 {s} cpu.pb.gz",
    "-disasm=main\\.(burn|push|handle) cpu.pb.gz",
    "-disasm=main\\.leaf -diff_base=heap.pb.gz heap2.pb.gz",
    "-disasm=0x1 cpu.pb.gz",
    "-weblist=main\\.(even|odd|leaf) {s} {o} heap.pb.gz",
    "-weblist=main\\.(burn|handle|push) {s} {o} cpu.pb.gz",
    "-weblist=main\\.(burn|handle|push) {o} cpu.pb.gz",
    "-weblist=main\\.leaf -unit=B -divide_by=3 {o} heap.pb.gz",
    "-weblist=main\\.leaf -diff_base=heap.pb.gz {s} {o} heap2.pb.gz",
    "-weblist=main\\.leaf -base=heap.pb.gz {o} heap2.pb.gz",
    "-weblist=main\\.leaf -mean -sample_index=1 {s} {o} heap.pb.gz",
    "-weblist=main\\.leaf -tagroot=bytes -focus=main {s} {o} heap.pb.gz",
    "-weblist=main\\.(even|descend|odd)$ -noinlines -functions {s} {o} heap.pb.gz",
    "-weblist=main\\.even -ignore=odd {s} {o} heap.pb.gz",
    "-weblist=main\\.leaf -relative_percentages -focus=even {o} allocs.pb.gz",
    "-weblist=Server {o} foreign.pb.gz",
    "-weblist=nothing.like.this {o} heap.pb.gz",
    "-weblist=main -intel_syntax {o} heap.pb.gz",
];

/// Formats of before profile.proto; without symbols, since addresses are made up.
const LEGACY: [&str; 27] = [
    "heap.debug1.txt",
    "allocs.debug1.txt",
    "goroutine.debug1.txt",
    "mutex.debug1.txt",
    "block.debug1.txt",
    "threadcreate.debug1.txt",
    "tcmalloc.heap",
    "tcmalloc2.heap",
    "heapz.heap",
    "growthz.heap",
    "fragmentationz.heap",
    "alloc-tcmalloc.heap",
    "alloc-tcmalloc2.heap",
    "alloc-heapz.heap",
    "alloc-growthz.heap",
    "alloc-fragmentationz.heap",
    "cpp.contention",
    "cpp.thread",
    "java.heap",
    "java.contention",
    "cpu32le.prof",
    "cpu32be.prof",
    "cpu64le.prof",
    "cpu64be.prof",
    "java-cpu32le.prof",
    "java-cpu64be.prof",
    "java-cpu64le.prof",
];

/// All cases.
pub(super) fn all() -> Vec<Case> {
    let mut lines: Vec<String> = OTHERS.iter().map(|line| (*line).to_owned()).collect();
    let sources = "-source_path=../../fixtures/pprofgen -trim_path=example.com/pprofgen";
    let listing = |case: &&str| case.replace("{s}", sources).replace("{o}", "-output=/dev/stdout");
    lines.extend(LISTINGS.iter().map(listing));
    for profile in PROFILES {
        lines.extend(REPORTS.iter().map(|report| format!("{report} {profile}")));
    }
    for report in CROSSED_REPORTS {
        for option in OPTIONS {
            lines.extend(CROSSED_PROFILES.map(|profile| format!("{report} {option} {profile}")));
        }
    }
    for report in REPORTS {
        for sources in BASES.iter().chain(&MERGES) {
            lines.push(format!("{report} {sources}"));
            lines.push(format!("{report} -cum -lines -nodecount=20 {sources}"));
        }
    }
    for report in ["-raw", "-top", "-traces", "-proto", "-tree -addresses"] {
        lines.extend(LEGACY.map(|profile| format!("{report} -symbolize=none {profile}")));
    }
    lines.extend(LEGACY.iter().skip(6).map(|profile| format!("-raw {profile}")));
    let words = |line: &String| line.split(' ').map(str::to_owned).collect();
    lines.iter().map(|line| Case::of(words(line))).collect()
}
