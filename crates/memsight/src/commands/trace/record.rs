//! `memsight trace record`.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::Context;
use capture::http::HttpTarget;
use capture::snapshot::{Frozen, Options};
use capture::{CaptureError, LiveTarget, ProcessTarget, ScratchColumns, find, pprof_of};
use decode::goheap::Keep;
use decode::gotrace::Whole;
use decode::heapfile;
use model::{Bytes, TargetSpec};
use serde_json::json;

use crate::args::record::RecordArgs;
use crate::failure::Failure;
use crate::switch::SwitchedOn;
use crate::terminal::{Progress, print};
use crate::{atomic, interrupt};

/// What the program may take longer than it was asked to record.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is known of it, and what helps.
const DAMAGED: &str = "what is before it can be read; the Go runtime breaks some traces of objects \
                       (docs/lifetimes.md): record again";

/// How often Ctrl-C is looked for.
const STEP: Duration = Duration::from_millis(100);

/// Pieces that are read at once, and how many may wait to be written.
const PIECE_BYTES: usize = 64 << 10;
const PIECES: usize = 64;

/// Records a trace and writes it.
pub(crate) fn run(args: &RecordArgs) -> Result<ExitCode, Failure> {
    let source = Source::open(args)?;
    let output = args.output.clone().unwrap_or_else(|| source.default_output());
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build();
    let runtime = runtime.context("cannot handle signals")?;
    let signalled = interrupt::flag(&runtime).context("cannot handle signals")?;
    let _switched_on = match &source.process {
        Some(process) if args.allocfree => switch_on(process, args.may_crash)?,
        _ => None,
    };
    let frozen = match &source.process {
        Some(process) if args.snapshot => Some((process, freeze(process)?)),
        _ => None,
    };
    let pieces = start(source.pprof, args.seconds);
    let heap = with_ending(&output, ".heap");
    let (recorded, written) = std::thread::scope(|scope| {
        // The graph is read meanwhile: what lies between the two has no type.
        let written = frozen.as_ref().map(|(process, frozen)| {
            let heap = &heap;
            scope.spawn(move || write_snapshot(process, frozen, heap))
        });
        let recorded = record(&pieces, &output, args, &signalled);
        let written = written.map(|thread| {
            thread.join().unwrap_or_else(|_| Err(Failure::usage("reading the heap panicked")))
        });
        (recorded, written)
    });
    if let Some(process) = &source.process
        && capture::signals::start_ticks(process.pid()).is_none()
    {
        eprintln!("memsight: process {} ended while it was recorded", process.pid());
    }
    let recorded = recorded?;
    let snapshot = written.transpose()?.map(|objects| (heap, objects));
    report(args, &output, &recorded, snapshot)?;
    Ok(ExitCode::SUCCESS)
}

/// Whom to record.
struct Source {
    name: String,
    /// Where its pprof endpoint is.
    pprof: HttpTarget,
    /// The process, where more is wanted of it.
    process: Option<Box<ProcessTarget>>,
}

impl Source {
    fn open(args: &RecordArgs) -> Result<Source, Failure> {
        let spec = TargetSpec::parse(&args.target).map_err(Failure::usage)?;
        let pid = match &spec {
            TargetSpec::Pid(pid) => *pid,
            TargetSpec::Name(pattern) => find::one_by_name(pattern)?,
            _ if args.allocfree || args.snapshot => {
                let failure =
                    Failure::usage("--allocfree and --snapshot need a process on this machine");
                return Err(failure.next("give its PID or name:REGEX, and the URL as --pprof"));
            }
            _ => {
                let LiveTarget::Http(pprof) = LiveTarget::attach(&spec)? else {
                    return Err(Failure::usage("only a running program can be recorded"));
                };
                return Ok(Source { name: "program".to_owned(), pprof, process: None });
            }
        };
        let process = match args.allocfree || args.snapshot {
            true => Some(Box::new(ProcessTarget::attach(pid)?)),
            false => None,
        };
        let pprof = match &args.pprof {
            Some(url) => HttpTarget::attach(url)?,
            None => pprof_of(pid)?,
        };
        let exe = find::exe_path(pid).unwrap_or_default();
        Ok(Source { name: find::binary_name(pid, &exe), pprof, process })
    }

    fn default_output(&self) -> PathBuf {
        PathBuf::from(format!("{}.trace", self.name))
    }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// The first minor version that can crash.
const UNSAFE_MINOR_MIN: u16 = 24;

fn switch_on(process: &ProcessTarget, may_crash: bool) -> Result<Option<SwitchedOn>, Failure> {
    let word = process.trace_objects_word()?;
    if word.original != 0 {
        eprintln!("memsight: its traces have objects already (GODEBUG=traceallocfree=1)");
        return Ok(None);
    }
    if process.binary().version.minor >= UNSAFE_MINOR_MIN && !may_crash {
        let version = &process.binary().info.version;
        let failure = Failure::usage(format!(
            "a bug of {version} can crash a program while its objects are traced, when stacks of \
             its goroutines grow"
        ));
        return Err(failure.next(
            "add --may-crash where that can be borne; docs/lifetimes.md says how often it happens",
        ));
    }
    SwitchedOn::trace_objects(&word).map(Some)
}

/// Takes the memory of the program, which goes on afterwards.
fn freeze(process: &ProcessTarget) -> Result<Frozen, Failure> {
    let name = &process.target().name;
    let mut progress = Progress::new();
    let frozen = process.freeze(&Options::default(), &mut |done, all| {
        progress.show(&format!("{name}: {} of {} copied", Bytes(done), Bytes(all)));
    })?;
    drop(progress);
    let millis = frozen.pause.as_secs_f64() * 1e3;
    eprintln!("memsight: {name} stood still for {millis:.1} ms ({})", frozen.method.name());
    Ok(frozen)
}

/// Reads the object graph of what was taken and writes it; how many objects it has.
fn write_snapshot(process: &ProcessTarget, frozen: &Frozen, path: &Path) -> Result<usize, Failure> {
    let columns = ScratchColumns::new(std::env::temp_dir());
    let graph = process.graph_of(frozen, Keep::Nothing, &columns)?;
    let name = || path.display().to_string();
    atomic::create(path, |out| heapfile::write(&graph, out)).with_context(name)?;
    Ok(graph.len())
}

/// What comes of a trace; the end of the channel is its end.
type Piece = Result<Vec<u8>, CaptureError>;

/// Has the program begin. Whoever ends first, the other notices: when nobody takes the
/// pieces the connection closes, and the program stops tracing.
fn start(pprof: HttpTarget, seconds: u32) -> Receiver<Piece> {
    let (sender, receiver) = sync_channel(PIECES);
    std::thread::spawn(move || {
        let timeout = Duration::from_secs(seconds.into()) + PATIENCE;
        let sent = pprof.stream(&format!("trace?seconds={seconds}"), timeout);
        let sent = sent.map(|body| forward(body, &sender, pprof.base()));
        if let Ok(Err(error)) | Err(error) = sent {
            // Nobody listens any more: then nobody needs to know.
            let _ = sender.send(Err(error));
        }
    });
    receiver
}

fn forward(
    mut body: impl Read,
    sender: &SyncSender<Piece>,
    base: &str,
) -> Result<(), CaptureError> {
    loop {
        let mut piece = vec![0; PIECE_BYTES];
        let read = body.read(&mut piece).map_err(|error| CaptureError::Http {
            url: base.to_owned(),
            message: error.to_string(),
            is_unreachable: true,
        })?;
        piece.truncate(read);
        if read == 0 || sender.send(Ok(piece)).is_err() {
            return Ok(());
        }
    }
}

/// A trace that was written.
struct Recorded {
    bytes: u64,
    took: Duration,
    /// Why it is shorter than asked for.
    cut: Option<String>,
    /// What the program wrote wrongly.
    damage: Option<String>,
}

fn record(
    pieces: &Receiver<Piece>,
    output: &Path,
    args: &RecordArgs,
    signalled: &AtomicBool,
) -> Result<Recorded, Failure> {
    let mut refused = None;
    let recorded = atomic::create(output, |out| {
        receive(pieces, out, args, signalled).map_err(|failure| {
            let error = io::Error::other("not recorded");
            refused = Some(failure);
            error
        })
    });
    match refused {
        Some(failure) => Err(failure),
        None => Ok(recorded.with_context(|| output.display().to_string())?),
    }
}

/// Writes what comes until it ends, or has to; then only what is whole of it stays.
fn receive(
    pieces: &Receiver<Piece>,
    out: &mut BufWriter<File>,
    args: &RecordArgs,
    signalled: &AtomicBool,
) -> Result<Recorded, Failure> {
    let (started, mut whole, mut bytes) = (Instant::now(), Whole::default(), 0_u64);
    let mut progress = Progress::new();
    let cut = loop {
        if signalled.load(Ordering::Relaxed) {
            break "interrupted".to_owned();
        }
        let seconds = started.elapsed().as_secs().min(args.seconds.into());
        progress.show(&format!("{seconds} of {} s, {}", args.seconds, Bytes(bytes)));
        match pieces.recv_timeout(STEP) {
            Ok(Ok(piece)) if bytes + piece.len() as u64 > args.max_size => {
                break format!("--max-size {} is reached", Bytes(args.max_size));
            }
            Ok(Ok(piece)) => {
                whole.push(&piece);
                out.write_all(&piece)?;
                bytes += piece.len() as u64;
            }
            Ok(Err(error)) if bytes == 0 => return Err(error.into()),
            Ok(Err(error)) => break error.to_string(),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                let damage = whole.damage().map(ToString::to_string);
                return Ok(Recorded { bytes, took: started.elapsed(), cut: None, damage });
            }
        }
    };
    drop(progress);
    if whole.is_empty() {
        let failure = Failure::usage(format!("{cut}; no part of the trace is whole yet"));
        return Err(failure.next("parts are whole after about a second, of Go 1.22 and later"));
    }
    out.flush()?;
    out.get_ref().set_len(whole.len())?;
    let (bytes, took, cut) = (whole.len(), started.elapsed(), Some(cut));
    Ok(Recorded { bytes, took, cut, damage: None })
}

fn report(
    args: &RecordArgs,
    output: &Path,
    recorded: &Recorded,
    snapshot: Option<(PathBuf, usize)>,
) -> Result<(), Failure> {
    if let Some(cut) = &recorded.cut {
        eprintln!("memsight: {cut}; the parts that are whole are kept");
    }
    if let Some(damage) = &recorded.damage {
        eprintln!("memsight: the program wrote a {damage}\n  {DAMAGED}");
    }
    if args.json {
        let snapshot = snapshot.map(
            |(file, objects)| json!({ "file": file.display().to_string(), "objects": objects }),
        );
        let value = json!({
            "file": output.display().to_string(),
            "bytes": recorded.bytes,
            "took_seconds": recorded.took.as_secs_f64(),
            "cut": recorded.cut,
            "damage": recorded.damage,
            "snapshot": snapshot,
        });
        print(format!("{value:#}\n"))?;
        return Ok(());
    }
    let (bytes, seconds) = (Bytes(recorded.bytes), recorded.took.as_secs_f64());
    print(format!("{}: {bytes} in {seconds:.1} s\n", output.display()))?;
    if let Some((file, objects)) = snapshot {
        print(format!("{}: {objects} objects\n", file.display()))?;
    }
    Ok(())
}
