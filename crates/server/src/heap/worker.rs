//! The graphs that were asked about last, each with its analysis.
//!
//! A graph borrows the file it is mapped from, and its analysis the graph. All of them
//! live on the stack of a thread of their own, which answers questions one after the other
//! until nobody has asked for a while. So nothing is copied, and nothing refers to itself.
//!
//! Beside the mapped file an object costs about 20 bytes, 40 once it was asked what keeps
//! objects alive. Two graphs are kept, for five minutes, while they fit.

use std::cell::OnceCell;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use analyze::heap::Dominators;
use analyze::heap::histogram::{Grouping, Row, histogram};
use analyze::heap::paths::{Paths, Referrers};
use axum::http::StatusCode;
use model::{Bytes, CaptureId, CaptureKind, HeapGraph};
use store::Store;

use crate::error::ApiError;
use crate::files::{FilesError, HeapFiles};

const KEPT: usize = 2;
const KEEP: Duration = Duration::from_secs(300);
/// What the analyses may take together.
const BYTES_MAX: u64 = 4 << 30;

/// A graph with all that was computed of it.
pub(super) struct Analysed<'g> {
    pub(super) graph: &'g HeapGraph<'g>,
    pub(super) dominators: Dominators,
    types: OnceCell<Vec<Row>>,
    paths: OnceCell<Paths<'g>>,
    referrers: OnceCell<Referrers<'g>>,
}

impl<'g> Analysed<'g> {
    pub(super) fn new(graph: &'g HeapGraph<'g>) -> Analysed<'g> {
        Analysed {
            graph,
            dominators: Dominators::of(graph),
            types: OnceCell::new(),
            paths: OnceCell::new(),
            referrers: OnceCell::new(),
        }
    }

    /// Objects by type, largest retained size first.
    pub(super) fn types(&self) -> &[Row] {
        self.types.get_or_init(|| histogram(self.graph, &self.dominators, Grouping::Type))
    }

    pub(super) fn paths(&self) -> &Paths<'g> {
        self.paths.get_or_init(|| Paths::of(self.graph))
    }

    pub(super) fn referrers(&self) -> &Referrers<'g> {
        self.referrers.get_or_init(|| Referrers::of(self.graph))
    }
}

/// What the analysis of a graph takes at most.
fn analysis_bytes(graph: &HeapGraph<'_>) -> u64 {
    let (objects, pointers) = (graph.len() as u64, graph.edges.len() as u64);
    // Dominators, while they are made; paths and referrers.
    20 * objects + 8 * pointers + 16 * objects + 4 * pointers
}

type Job = Box<dyn FnOnce(&Analysed<'_>) + Send>;

/// A thread with a graph.
#[derive(Debug)]
struct Worker {
    jobs: mpsc::Sender<Job>,
    bytes: u64,
}

impl Worker {
    fn start(files: Arc<dyn HeapFiles>, path: PathBuf) -> Result<Worker, ApiError> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (opened, is_open) = mpsc::channel();
        let work = move || {
            let result = files.with_file(&path, &mut |graph| {
                let bytes = analysis_bytes(graph);
                if bytes > BYTES_MAX {
                    let _ = opened.send(Err(too_large(bytes)));
                    return;
                }
                let analysed = Analysed::new(graph);
                let _ = opened.send(Ok(bytes));
                // Ends when the graph is forgotten: that drops the sender.
                queue.iter().for_each(|job| job(&analysed));
            });
            if let Err(error) = result {
                let _ = opened.send(Err(error));
            }
        };
        let thread = thread::Builder::new().name("heap".to_owned()).stack_size(8 << 20);
        thread.spawn(work).map_err(|error| ApiError::internal(&error))?;
        let bytes = is_open.recv().map_err(|_| ended())?.map_err(|error| {
            ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, error.message, error.next)
        })?;
        Ok(Worker { jobs, bytes })
    }

    fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Analysed<'_>) -> T + Send + 'static,
    ) -> Result<mpsc::Receiver<T>, ApiError> {
        let (reply, answer) = mpsc::channel();
        let job = Box::new(move |analysed: &Analysed<'_>| {
            let _ = reply.send(work(analysed));
        });
        self.jobs.send(job).map_err(|_| ended())?;
        Ok(answer)
    }
}

fn too_large(bytes: u64) -> FilesError {
    FilesError {
        message: format!(
            "the graph needs {} of memory, more than the {} that are allowed",
            Bytes(bytes),
            Bytes(BYTES_MAX)
        ),
        next: "`memsight heap` answers questions about graphs of any size".to_owned(),
    }
}

/// Only a panic ends a thread that has a question.
fn ended() -> ApiError {
    ApiError::internal(&"the graph could not be analysed; please report this")
}

#[derive(Debug)]
struct Slot {
    id: i64,
    used: Instant,
    /// Filled by whoever asked first.
    worker: Arc<Mutex<Option<Worker>>>,
    bytes: u64,
}

/// Graphs that are open, and how they are opened.
pub struct Heaps {
    pub(super) files: Arc<dyn HeapFiles>,
    /// Whether the heap of a running program may be taken.
    may_take: bool,
    /// Held while a heap is taken: one at a time.
    pub(super) taking: Mutex<()>,
    slots: Mutex<Vec<Slot>>,
}

impl std::fmt::Debug for Heaps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Heaps").field("may_take", &self.may_take).finish_non_exhaustive()
    }
}

impl Heaps {
    /// Nothing is open yet. `may_take` allows clients to have heaps of running programs
    /// taken.
    pub fn new(files: Arc<dyn HeapFiles>, may_take: bool) -> Heaps {
        Heaps { files, may_take, taking: Mutex::default(), slots: Mutex::default() }
    }

    /// Whether clients may have heaps of running programs taken.
    pub(crate) fn may_take(&self) -> bool {
        self.may_take
    }

    /// Opens a graph that will be asked about. What is wrong with it is said then.
    pub fn warm(&self, store: &Store, id: i64) {
        let _ = self.ask(store, id, |_| Ok(()));
    }

    /// Asks the graph of a capture.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        store: &Store,
        id: i64,
        work: impl FnOnce(&Analysed<'_>) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let path = graph_path(store, id)?;
        let worker = self.slot(id);
        let answer = {
            let mut worker = worker.lock().unwrap_or_else(PoisonError::into_inner);
            let open = match worker.take() {
                Some(open) => open,
                None => Worker::start(Arc::clone(&self.files), path)?,
            };
            let answer = open.ask(work)?;
            self.note_size(id, open.bytes);
            *worker = Some(open);
            answer
        };
        match answer.recv() {
            Ok(result) => result,
            Err(_) => {
                // The next question opens the graph anew.
                *worker.lock().unwrap_or_else(PoisonError::into_inner) = None;
                Err(ended())
            }
        }
    }

    /// Forgets what nobody has asked about lately.
    pub(crate) fn forget_old(&self) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|slot| slot.used.elapsed() < KEEP);
    }

    fn slot(&self, id: i64) -> Arc<Mutex<Option<Worker>>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let mut slot = match slots.iter().position(|slot| slot.id == id) {
            Some(at) => slots.remove(at),
            None => Slot { id, used: Instant::now(), worker: Arc::default(), bytes: 0 },
        };
        slot.used = Instant::now();
        let worker = Arc::clone(&slot.worker);
        // The one that was used last comes last.
        slots.push(slot);
        let excess = slots.len().saturating_sub(KEPT);
        slots.drain(..excess);
        worker
    }

    /// Forgets others while they do not fit beside this one.
    fn note_size(&self, id: i64, bytes: u64) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        for slot in slots.iter_mut().filter(|slot| slot.id == id) {
            slot.bytes = bytes;
        }
        while slots.iter().map(|slot| slot.bytes).sum::<u64>() > BYTES_MAX
            && let Some(at) = slots.iter().position(|slot| slot.id != id)
        {
            slots.remove(at);
        }
    }
}

/// Where the graph of a capture lies.
pub(super) fn graph_path(store: &Store, id: i64) -> Result<PathBuf, ApiError> {
    let capture = store.capture(CaptureId(id))?;
    if capture.kind != CaptureKind::Graph {
        return Err(ApiError::other_kind(&capture));
    }
    Ok(store.capture_path(capture.id)?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Write;
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use model::heap::Edges;
    use model::{HeapGraph, Target, TargetSpec, Timestamp};
    use store::{NewCapture, Options, Store};

    use super::{CaptureKind, FilesError, HeapFiles, Heaps};

    /// Files that all hold an empty heap, but for those that say what is wrong with them.
    #[derive(Default)]
    struct Empty(AtomicUsize);

    impl HeapFiles for Empty {
        fn with_file(
            &self,
            path: &Path,
            work: &mut dyn FnMut(&HeapGraph<'_>),
        ) -> Result<(), FilesError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            let text = std::fs::read_to_string(path).unwrap();
            if text.starts_with("bad") {
                return Err(FilesError { message: text, next: String::new() });
            }
            work(&HeapGraph { edges: Edges::empty(), ..HeapGraph::default() });
            Ok(())
        }

        fn with_target(
            &self,
            _: &TargetSpec,
            _: &mut dyn FnMut(&HeapGraph<'_>, &dyn Fn() -> u64),
        ) -> Result<(), FilesError> {
            Err(FilesError { message: String::new(), next: String::new() })
        }
    }

    fn store_with(dir: &Path, files: &[&str]) -> (Store, Vec<i64>) {
        let store = Store::open(dir, Options::default()).unwrap();
        let (spec, name) = (TargetSpec::Pid(1), "shop".to_owned());
        let target = Target { spec, name, pid: Some(1), labels: BTreeMap::new() };
        let target = store.put_target(&target, Timestamp(0)).unwrap();
        let put = |(time, text): (usize, &&str)| {
            let mut begun =
                store.begin_file(target, CaptureKind::Graph, Timestamp(time as i64)).unwrap();
            begun.write_all(text.as_bytes()).unwrap();
            store.put_file(begun, "manual", 0).unwrap().id.0
        };
        let ids = files.iter().enumerate().map(put).collect();
        (store, ids)
    }

    #[test]
    fn a_graph_is_opened_once_while_it_is_among_the_last() {
        let dir = tempfile::tempdir().unwrap();
        let (store, ids) = store_with(dir.path(), &["a", "b", "c"]);
        let files = Arc::new(Empty::default());
        let heaps = Heaps::new(files.clone(), false);
        let opened = |id: i64| {
            assert_eq!(heaps.ask(&store, id, |heap| Ok(heap.graph.len())).unwrap(), 0);
            files.0.load(Ordering::Relaxed)
        };
        let counts: Vec<usize> =
            [0, 0, 1, 0, 1, 2, 1, 0].into_iter().map(|at: usize| opened(ids[at])).collect();
        // The first one was forgotten for the third, and is opened anew.
        assert_eq!(counts, [1, 1, 2, 2, 2, 3, 3, 4]);
    }

    #[test]
    fn what_is_wrong_is_said_and_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let (store, ids) = store_with(dir.path(), &["bad: no heap", "good"]);
        let heaps = Heaps::new(Arc::new(Empty::default()), false);
        let ask = |id| heaps.ask(&store, id, |heap| Ok(heap.graph.len()));
        for _ in 0..2 {
            assert!(format!("{:?}", ask(ids[0]).unwrap_err()).contains("bad: no heap"));
        }
        // A question that fails in an unforeseen way costs that one answer.
        let panicked = heaps.ask(&store, ids[1], |_| -> Result<(), _> { panic!("as intended") });
        assert!(format!("{:?}", panicked.unwrap_err()).contains("please report"));
        assert_eq!(ask(ids[1]).unwrap(), 0);
    }

    #[test]
    fn profiles_are_no_graphs() {
        let dir = tempfile::tempdir().unwrap();
        let (store, ids) = store_with(dir.path(), &["good"]);
        let target = store.capture(model::CaptureId(ids[0])).unwrap().target;
        let (kind, time, reason) = (CaptureKind::Heap, Timestamp(9), "manual");
        let new = NewCapture { target, kind, time, reason, cost_micros: 0, bytes: b"profile" };
        let profile = store.put_capture(&new).unwrap().id.0;
        let heaps = Heaps::new(Arc::new(Empty::default()), false);
        let error = heaps.ask(&store, profile, |_| Ok(())).unwrap_err();
        assert!(format!("{error:?}").contains("of another kind: heap"));
    }
}
