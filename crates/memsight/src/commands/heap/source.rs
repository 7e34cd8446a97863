//! Where a heap comes from: a file, told by its content, or a running program.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Deref;
use std::path::Path;

use anyhow::Context;
use capture::core::Core;
use capture::snapshot::{Method, Options};
use capture::{Image, LiveTarget, ScratchColumns};
use decode::goheap::Keep;
use decode::heapfile::{self, Verify};
use decode::{compress, heapdump, hprof};
use model::{Bytes, HeapGraph, TargetSpec};

use crate::args::heap::{SourceArgs, TakingArgs};
use crate::failure::Failure;
use crate::terminal::Progress;

/// Bytes at the front of a file that tell its kind.
const HEAD_BYTES: u64 = 64;

/// A heap at hand.
pub(crate) enum Heap {
    /// A snapshot file, whose columns are used where they lie.
    Mapped {
        /// As it was named.
        name: String,
        /// Its bytes.
        image: Image,
    },
    /// A graph made from something else.
    Read(Box<HeapGraph<'static>>),
}

/// The graph of a heap, for as long as that is open.
pub(crate) struct Opened<'h> {
    graph: &'h HeapGraph<'h>,
    /// The file the graph lies in.
    image: Option<&'h Image>,
}

impl Opened<'_> {
    /// Gives the file's pages back; what is looked at again is read again.
    pub(crate) fn release(&self) {
        self.image.inspect(|image| image.release());
    }
}

impl<'h> Deref for Opened<'h> {
    type Target = HeapGraph<'h>;

    fn deref(&self) -> &HeapGraph<'h> {
        self.graph
    }
}

/// Kinds of files that hold a heap, or are taken for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileKind {
    Snapshot,
    Hprof,
    HeapDump,
    Core,
    Other,
}

impl FileKind {
    fn of(head: &[u8]) -> FileKind {
        const ELF: &[u8] = b"\x7fELF";
        /// ET_CORE, little-endian, at offset 16.
        const CORE: &[u8] = &[4, 0];
        match head {
            head if heapfile::is_heap_file(head) => FileKind::Snapshot,
            head if head.starts_with(b"JAVA PROFILE ") => FileKind::Hprof,
            head if head.starts_with(b"go1.7 heap dump\n") => FileKind::HeapDump,
            head if head.starts_with(ELF) && head.get(16..18) == Some(CORE) => FileKind::Core,
            _ => FileKind::Other,
        }
    }
}

impl Heap {
    /// Opens what the arguments name, without contents.
    pub(crate) fn open(args: &SourceArgs) -> Result<Heap, Failure> {
        Heap::open_with(args, Keep::Nothing)
    }

    /// Opens what is named; a running program is taken in the usual way.
    pub(crate) fn open_named(source: &str) -> Result<Heap, Failure> {
        let taking = TakingArgs::default();
        Heap::open(&SourceArgs { source: source.to_owned(), taking })
    }

    /// Opens what the arguments name; of a Go program these contents are kept.
    pub(crate) fn open_with(args: &SourceArgs, contents: Keep) -> Result<Heap, Failure> {
        let source = args.source.as_str();
        if Path::new(source).exists() && source.parse::<u32>().is_err() {
            return Heap::from_file(source, &args.taking, contents);
        }
        let spec = TargetSpec::parse(source).map_err(|message| {
            let is_path = source.contains('/') || source.contains('.');
            Failure::usage(if is_path { format!("{source}: no such file") } else { message })
                .next(KINDS)
        })?;
        match &spec {
            TargetSpec::Url(_) => Err(Failure::usage("no heap can be taken through HTTP")
                .next("give the PID or name:REGEX on the program's machine")),
            TargetSpec::Core { file, exe } => {
                from_core(Path::new(file), exe.as_deref().map(Path::new), &args.taking, contents)
            }
            TargetSpec::Pid(_) | TargetSpec::Name(_) => from_program(&spec, &args.taking, contents),
        }
    }

    /// Opens a file that somebody sent: no core, which names another file to be read, and
    /// nothing that grows without bounds when it is unpacked.
    pub(crate) fn sent(source: &str) -> Result<Heap, Failure> {
        let map = || Image::open(source).with_context(|| source.to_owned());
        match file_kind(source).with_context(|| source.to_owned())? {
            (FileKind::Core, _) => {
                let failure = Failure::usage(format!("{source}: a core file"));
                Err(failure.next("`memsight heap snapshot` makes a snapshot of it first"))
            }
            (FileKind::Hprof, true) => from_hprof(source, &map()?, SENT_BYTES_MAX),
            _ => Heap::from_file(source, &TakingArgs::default(), Keep::Nothing),
        }
    }

    fn from_file(source: &str, taking: &TakingArgs, contents: Keep) -> Result<Heap, Failure> {
        let (kind, is_packed) = file_kind(source).with_context(|| source.to_owned())?;
        let map = || Image::open(source).with_context(|| source.to_owned());
        match (kind, is_packed) {
            (FileKind::Snapshot, false) => {
                Ok(Heap::Mapped { name: source.to_owned(), image: map()? })
            }
            (FileKind::Hprof, _) => {
                from_hprof(source, &map()?, hprof::Options::default().inflated_bytes_max)
            }
            (FileKind::Core, _) => from_core(Path::new(source), None, taking, contents),
            (FileKind::HeapDump, false) => from_heap_dump(source, &map()?),
            (FileKind::Snapshot | FileKind::HeapDump, true) => {
                Err(Failure::usage(format!("{source}: compressed; unpack it first")))
            }
            (FileKind::Other, is_packed) => {
                let failure = Failure::usage(format!("{source}: not a heap file"));
                Err(failure.next(if is_packed {
                    "if it is a heap profile of pprof: `memsight top` reads those"
                } else {
                    KINDS
                }))
            }
        }
    }

    /// Calls `work` with the graph.
    pub(crate) fn with<T>(
        &self,
        work: impl FnOnce(&Opened<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        match self {
            Heap::Read(graph) => work(&Opened { graph, image: None }),
            Heap::Mapped { name, image } => {
                let mut progress = Progress::new();
                progress.show(&format!("{name}: comparing checksums"));
                let graph =
                    heapfile::read(image.as_ref(), Verify::All).with_context(|| name.clone())?;
                // Checksums want every byte once; questions want few of them.
                image.release();
                drop(progress);
                work(&Opened { graph: &graph, image: Some(image) })
            }
        }
    }
}

/// What a compressed dump that somebody sent may unpack to, in memory.
const SENT_BYTES_MAX: u64 = 2 << 30;

/// What can be given instead.
const KINDS: &str = "a heap is a snapshot of memsight, a Java HPROF dump, a file of \
                     debug.WriteHeapDump, a core file, a PID or name:REGEX";

/// Where the columns of a graph lie that was read from memory. A command opens one heap or
/// two and then ends, and only then are they given back.
fn columns(scratch: &Path) -> &'static ScratchColumns {
    Box::leak(Box::new(ScratchColumns::new(scratch)))
}

/// Takes the heap of a running program.
fn from_program(spec: &TargetSpec, taking: &TakingArgs, contents: Keep) -> Result<Heap, Failure> {
    let LiveTarget::Process(process) = LiveTarget::attach(spec)? else {
        return Err(Failure::usage("only a process on this machine has a heap to take"));
    };
    let method = match taking {
        TakingArgs { stop: true, .. } => Method::Stop,
        TakingArgs { no_fork: true, .. } => Method::ReadOnly,
        _ => Method::Fork,
    };
    let defaults = Options::default();
    let options = Options {
        method,
        may_stop: taking.may_stop,
        ignore_headroom: taking.ignore_headroom,
        scratch_dir: taking.scratch.clone().unwrap_or(defaults.scratch_dir),
        ..defaults
    };
    let name = process.target().name.clone();
    let mut progress = Progress::new();
    let mut copied = |done: u64, all: u64| {
        progress.show(&format!("{name}: {} of {} copied", Bytes(done), Bytes(all)));
    };
    let columns = columns(&options.scratch_dir);
    let graph = process.object_graph(&options, contents, columns, &mut copied)?;
    drop(progress);
    let method = &graph.source.method;
    match graph.source.pause_nanos {
        Some(nanos) => {
            let millis = nanos as f64 / 1e6;
            eprintln!("memsight: {name} stood still for {millis:.1} ms ({method})");
        }
        None => eprintln!("memsight: {name} was read while it ran; parts may not fit together"),
    }
    Ok(Heap::Read(Box::new(graph)))
}

/// What a file holds, and whether it is compressed.
fn file_kind(source: &str) -> io::Result<(FileKind, bool)> {
    let mut head = Vec::new();
    File::open(source)?.take(HEAD_BYTES).read_to_end(&mut head)?;
    if !compress::is_compressed(&head) {
        return Ok((FileKind::of(&head), false));
    }
    let mut inner = Vec::new();
    compress::reader(File::open(source)?)?.take(HEAD_BYTES).read_to_end(&mut inner)?;
    Ok((FileKind::of(&inner), true))
}

fn from_hprof(source: &str, image: &Image, inflated_bytes_max: u64) -> Result<Heap, Failure> {
    let mut progress = Progress::new();
    progress.show(&format!("{source}: reading"));
    let options = hprof::Options { inflated_bytes_max, ..hprof::Options::default() };
    let graph = hprof::read(image.as_ref(), &options).with_context(|| source.to_owned())?;
    drop(progress);
    Ok(Heap::Read(Box::new(graph)))
}

fn from_heap_dump(source: &str, image: &Image) -> Result<Heap, Failure> {
    let mut progress = Progress::new();
    progress.show(&format!("{source}: reading"));
    let dump = heapdump::read(image.as_ref()).with_context(|| source.to_owned())?;
    drop(progress);
    Ok(Heap::Read(Box::new(dump.graph)))
}

/// Reads a core file; without `exe` the executable is where the core says.
fn from_core(
    file: &Path,
    exe: Option<&Path>,
    taking: &TakingArgs,
    contents: Keep,
) -> Result<Heap, Failure> {
    let scratch = taking.scratch.clone().unwrap_or_else(std::env::temp_dir);
    let mut progress = Progress::new();
    progress.show(&format!("{}: reading", file.display()));
    let graph = Core::open(file, exe, &scratch)?.object_graph(contents, columns(&scratch))?;
    Ok(Heap::Read(Box::new(graph)))
}
