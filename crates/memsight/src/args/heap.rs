//! The command line of `memsight heap`, as clap types.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::TableArgs;

/// The first steps.
pub(crate) const EXAMPLES: &str = "\
Examples:
  memsight heap snapshot name:shop -o shop.heap   take a running program's heap
  memsight heap summary shop.heap                 how much lives, and what holds it
  memsight heap leaks shop.heap                   what retains unusually much
  memsight heap why shop.heap main.Order          what keeps the orders alive
  memsight heap diff earlier.heap shop.heap       what came and went in between

Every command opens snapshots, cores, Java dumps (HPROF), files of debug.WriteHeapDump, and
running programs by PID or name:REGEX.";

/// Where a heap comes from, as every command says it.
const SOURCE: &str = "\
A heap is a file or a running program; files are told by their content:
  shop.heap                a snapshot that `memsight heap snapshot` wrote
  dump.hprof, dump.hprof.gz  a Java heap dump (HPROF)
  dump.heapdump            what debug.WriteHeapDump wrote
  core.4242, core:FILE@EXE a core file of a Go program, with its executable where needed
  4242, name:REGEX         a running Go program: it is stopped for milliseconds, copied, and goes on";

/// Subcommands of `heap`.
#[derive(Debug, Subcommand)]
pub(crate) enum HeapCommand {
    /// Takes a snapshot of a running program's heap, or turns another heap file into one.
    #[command(after_help = SNAPSHOT_EXAMPLES)]
    Snapshot(SnapshotArgs),
    /// How much lives, of how many types, held by what.
    #[command(after_help = SOURCE)]
    Summary(SummaryArgs),
    /// Objects and bytes by type, package or size, with what they retain.
    #[command(after_help = HISTOGRAM_EXAMPLES)]
    Histogram(HistogramArgs),
    /// Which objects keep the most others alive, as a tree.
    #[command(after_help = DOMINATORS_EXAMPLES)]
    Dominators(DominatorsArgs),
    /// What keeps an object, a type, or what a function allocated alive.
    #[command(after_help = WHY_EXAMPLES)]
    Why(WhyArgs),
    /// Variables, goroutines and the like, by what they retain.
    #[command(after_help = SOURCE)]
    Roots(RootsArgs),
    /// Suspects: what retains unusually much, or grew since an earlier snapshot.
    #[command(after_help = LEAKS_EXAMPLES)]
    Leaks(LeaksArgs),
    /// Bytes that hold nothing: equal strings, spare capacity, pinned arrays, sparse maps.
    #[command(after_help = SOURCE)]
    Waste(WasteArgs),
    /// What is new, gone or grown between two heaps.
    #[command(after_help = DIFF_EXAMPLES)]
    Diff(HeapDiffArgs),
    /// Answers a query in a small SQL-like language.
    #[command(after_help = QUERY_EXAMPLES)]
    Query(QueryArgs),
    /// Writes a heap in a format that other tools read.
    #[command(after_help = EXPORT_EXAMPLES)]
    Export(ExportArgs),
    /// Shows the pages on a heap in a browser, on this machine only.
    #[command(after_help = VIEW_EXAMPLES)]
    View(ViewArgs),
    /// Checks a heap file: checksums, the graph, and the proof of its dominators.
    #[command(after_help = SOURCE)]
    Verify(VerifyArgs),
}

const SNAPSHOT_EXAMPLES: &str = "\
Examples:
  memsight heap snapshot 4242 -o shop.heap            the program stands still for milliseconds
  memsight heap snapshot name:checkout -o shop.heap
  memsight heap snapshot core.4242 -o shop.heap       keeps only what questions need
  memsight heap snapshot 4242 --stop -o shop.heap     no clone: it stands still while it is copied

Contents are left out unless asked for: memory holds secrets.";

const HISTOGRAM_EXAMPLES: &str = "\
Examples:
  memsight heap histogram shop.heap
  memsight heap histogram shop.heap --by package --sort retained
  memsight heap histogram shop.heap --filter 'main\\.' -n 0 --csv";

const DOMINATORS_EXAMPLES: &str = "\
Examples:
  memsight heap dominators shop.heap                  the largest, three levels deep
  memsight heap dominators shop.heap --by type        grouped by type on every level
  memsight heap dominators shop.heap --under 0xc000123400
  memsight heap dominators shop.heap --under main.cache --depth 5";

const WHY_EXAMPLES: &str = "\
Examples:
  memsight heap why shop.heap 0xc000123400            the object at (or around) an address
  memsight heap why shop.heap id:1234                 by its number
  memsight heap why shop.heap '*main.Order'           all objects of a type, paths merged
  memsight heap why shop.heap 'main\\.Order.*'         types that match a regular expression
  memsight heap why shop.heap main.load               what the function allocated (sampled objects)";

const LEAKS_EXAMPLES: &str = "\
Examples:
  memsight heap leaks shop.heap
  memsight heap leaks later.heap --base earlier.heap  what grew in between counts most
  memsight heap leaks shop.heap --check               exits with 1 when there is a suspect";

const DIFF_EXAMPLES: &str = "\
Examples:
  memsight heap diff earlier.heap later.heap
  memsight heap diff earlier.heap later.heap --by root";

const QUERY_EXAMPLES: &str = "\
Examples:
  memsight heap query shop.heap 'select type, count(*), sum(bytes) from objects group by type order by 3 desc limit 10'
  memsight heap query shop.heap 'select address, retained from objects where type ~ \"main\\\\..*\" and retained > 1048576'

docs/heap.md describes the language.";

const EXPORT_EXAMPLES: &str = "\
Examples:
  memsight heap export shop.heap --to hprof -o shop.hprof   for Eclipse MAT, VisualVM, hprof-analyzer
  memsight heap export shop.heap --to dot --around 0xc000123400 -o around.dot
  memsight heap export shop.heap --to pprof -o retained.pb.gz";

const VIEW_EXAMPLES: &str = "\
Examples:
  memsight heap view shop.heap                        types, dominators, why is this alive
  memsight heap view later.heap --base earlier.heap   with what changed
  memsight heap view 4242 --no-browser                takes a snapshot first; prints the address";

/// Arguments of `heap view`.
#[derive(Debug, Args)]
pub(crate) struct ViewArgs {
    /// Which heap.
    #[command(flatten)]
    pub heap: SourceArgs,
    /// An earlier heap to compare with.
    #[arg(long, value_name = "FILE")]
    pub base: Option<String>,
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    pub listen: String,
    /// Starts no browser.
    #[arg(long)]
    pub no_browser: bool,
}

/// Arguments of `heap snapshot`.
#[derive(Debug, Args)]
pub(crate) struct SnapshotArgs {
    /// Which heap.
    #[command(flatten)]
    pub heap: SourceArgs,
    /// The file to write.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Which contents of objects the file keeps; of a snapshot none, or what it has.
    #[arg(long, value_enum, default_value_t = KeptContents::None)]
    pub contents: KeptContents,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}

/// How a running program is taken.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Running programs")]
pub(crate) struct TakingArgs {
    /// Stops the program while its memory is copied, instead of cloning it.
    #[arg(long, conflicts_with = "no_fork")]
    pub stop: bool,
    /// Neither clones nor stops it: no pause, but objects and pointers of different moments.
    #[arg(long)]
    pub no_fork: bool,
    /// Stops the program for the copy where cloning it is refused.
    #[arg(long, conflicts_with_all = ["stop", "no_fork"])]
    pub may_stop: bool,
    /// Clones it even where its memory limit leaves little room: the kernel may kill it.
    #[arg(long, conflicts_with_all = ["stop", "no_fork"])]
    pub ignore_headroom: bool,
    /// Where the copy of its memory lies meanwhile; the system's folder for temporary files
    /// when missing.
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
}

/// Which contents of objects a snapshot keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeptContents {
    /// None: types, sizes and pointers only.
    #[default]
    None,
    /// Texts.
    Strings,
    /// Texts and small objects.
    All,
}

/// Which heap.
#[derive(Debug, Args)]
pub(crate) struct SourceArgs {
    /// A heap file, core:FILE@EXE, PID or name:REGEX.
    pub source: String,
    /// How a running program is taken.
    #[command(flatten)]
    pub taking: TakingArgs,
}

/// Arguments of `heap summary`.
#[derive(Debug, Args)]
pub(crate) struct SummaryArgs {
    /// Which heap.
    #[command(flatten)]
    pub heap: SourceArgs,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `heap histogram`.
#[derive(Debug, Args)]
pub(crate) struct HistogramArgs {
    /// Which heap.
    #[command(flatten)]
    pub heap: SourceArgs,
    /// What makes a row.
    #[arg(long, value_enum, default_value_t = HistogramBy::Type)]
    pub by: HistogramBy,
    /// What comes first.
    #[arg(long, value_enum, default_value_t = HistogramSort::Bytes)]
    pub sort: HistogramSort,
    /// Keeps only rows whose name matches.
    #[arg(long, value_name = "REGEX")]
    pub filter: Option<String>,
    /// Counts what nothing holds, instead of what lives.
    #[arg(long)]
    pub unreachable: bool,
    /// How many rows; 0 for all.
    #[arg(short, long, default_value_t = 20)]
    pub n: usize,
    /// How to print it.
    #[command(flatten)]
    pub table: TableArgs,
}

/// What makes a row of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum HistogramBy {
    /// The type.
    Type,
    /// The package that declares the type.
    Package,
    /// The size objects occupy.
    Size,
}

/// What a histogram is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum HistogramSort {
    /// Bytes of the objects.
    Bytes,
    /// How many they are.
    Objects,
    /// Bytes that would go with them.
    Retained,
    /// The name.
    Name,
}

/// Arguments of `heap dominators`.
#[derive(Debug, Args)]
pub(crate) struct DominatorsArgs {
    /// Which heap.
    #[command(flatten)]
    pub heap: SourceArgs,
    /// Whether each object is a line, or all of a type under the same parent.
    #[arg(long, value_enum, default_value_t = DominatorsBy::Object)]
    pub by: DominatorsBy,
    /// Begins here: an address, id:N, or a root such as main.cache.
    #[arg(long, value_name = "OBJECT")]
    pub under: Option<String>,
    /// How many levels.
    #[arg(long, default_value_t = 3)]
    pub depth: usize,
    /// How many lines on each level; 0 for all.
    #[arg(short, long, default_value_t = 10)]
    pub n: usize,
    /// Leaves out what retains less than this share of the heap, in percent.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.1)]
    pub min: f64,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}

/// What a line of the dominator tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DominatorsBy {
    /// One object.
    Object,
    /// All objects of a type under the same parent.
    Type,
}

/// Arguments of `heap why`.
#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// Which heap.
    #[command(flatten)]
    pub heap: SourceArgs,
    /// An address, id:N, a type, a regular expression on types, or a function that allocates.
    #[arg(value_name = "OBJECT|TYPE|SITE")]
    pub what: String,
    /// How many paths; 0 for all.
    #[arg(short, long, default_value_t = 5)]
    pub n: usize,
    /// Shows weak references to it too.
    #[arg(long)]
    pub weak: bool,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `heap roots`.
#[derive(Debug, Args)]
pub(crate) struct RootsArgs {
    /// Which heap.
    #[command(flatten)]
    pub heap: SourceArgs,
    /// Keeps only roots whose kind or name matches.
    #[arg(long, value_name = "REGEX")]
    pub filter: Option<String>,
    /// How many rows; 0 for all.
    #[arg(short, long, default_value_t = 20)]
    pub n: usize,
    /// How to print it.
    #[command(flatten)]
    pub table: TableArgs,
}

/// Arguments of `heap leaks`.
#[derive(Debug, Args)]
pub(crate) struct LeaksArgs {
    /// Which heap.
    #[command(flatten)]
    pub heap: SourceArgs,
    /// An earlier heap of the same program.
    #[arg(long, value_name = "HEAP")]
    pub base: Option<String>,
    /// What a suspect retains at least, in percent of the heap.
    #[arg(long, value_name = "PERCENT", default_value_t = 10.0)]
    pub min: f64,
    /// How many suspects; 0 for all.
    #[arg(short, long, default_value_t = 10)]
    pub n: usize,
    /// Exits with 1 when there is a suspect.
    #[arg(long)]
    pub check: bool,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `heap waste`.
#[derive(Debug, Args)]
pub(crate) struct WasteArgs {
    /// Which heap.
    #[command(flatten)]
    pub heap: SourceArgs,
    /// How many rows of each kind; 0 for all.
    #[arg(short, long, default_value_t = 5)]
    pub n: usize,
    /// Prints JSON.
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Prints CSV.
    #[arg(long)]
    pub csv: bool,
}

/// Arguments of `heap diff`.
#[derive(Debug, Args)]
pub(crate) struct HeapDiffArgs {
    /// The earlier heap.
    pub base: String,
    /// The later heap.
    pub new: String,
    /// What makes a row.
    #[arg(long, value_enum, default_value_t = HeapDiffBy::Type)]
    pub by: HeapDiffBy,
    /// How many rows; 0 for all.
    #[arg(short, long, default_value_t = 20)]
    pub n: usize,
    /// How to print it.
    #[command(flatten)]
    pub table: TableArgs,
}

/// What makes a row of a comparison of heaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum HeapDiffBy {
    /// The type.
    Type,
    /// The root that retains it.
    Root,
}

/// Arguments of `heap query`.
#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    /// Which heap.
    #[command(flatten)]
    pub heap: SourceArgs,
    /// The query.
    pub query: String,
    /// How to print it.
    #[command(flatten)]
    pub table: TableArgs,
}

/// Arguments of `heap export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Which heap.
    #[command(flatten)]
    pub heap: SourceArgs,
    /// The format to write.
    #[arg(long, value_enum)]
    pub to: ExportTo,
    /// The file to write; standard output when missing.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The object in the middle of a DOT picture: an address or id:N.
    #[arg(long, value_name = "OBJECT", required_if_eq("to", "dot"))]
    pub around: Option<String>,
    /// How many steps around it.
    #[arg(long, default_value_t = 3)]
    pub depth: usize,
}

/// Formats `heap export` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportTo {
    /// A Java heap dump, which Eclipse MAT and VisualVM open.
    Hprof,
    /// profile.proto: retained bytes by retaining path.
    Pprof,
    /// Objects and pointers, one JSON value a line.
    Json,
    /// The neighbourhood of an object for graphviz.
    Dot,
}

/// Arguments of `heap verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Which heap.
    #[command(flatten)]
    pub heap: SourceArgs,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}
