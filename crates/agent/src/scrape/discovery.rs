//! Targets of pages that files and HTTP servers list: `file_sd_configs` and `http_sd_configs`.
//!
//! What could not be read leaves the last good list in force.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use httpclient::Client;

use super::config::{HttpSdConfig, StaticConfig, TARGETS_MAX};
use super::page::{Target, target};
use super::{Job, STEP};
use crate::config::matching;
use crate::failures::Part;

/// Files are looked at so often: one that was changed is read at once.
const LOOK: Duration = Duration::from_secs(1);
/// Files and answers may be this large.
const LIST_BYTES_MAX: u64 = 16 << 20;
/// Files that one pattern may mean.
const FILES_MAX: usize = 1000;
/// An answer may take this long.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Reads a list of targets: JSON or YAML, as Prometheus has it.
///
/// # Errors
/// What is wrong with it, with its place.
pub fn parse_targets(text: &str) -> Result<Vec<StaticConfig>, String> {
    if text.trim().is_empty() {
        // Some empty a file before they write to it.
        return Err("is empty: write [] for no targets".to_owned());
    }
    // JSON is YAML, but for what neither people nor programs write.
    let groups: Vec<StaticConfig> =
        serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    let count: usize = groups.iter().map(|group| group.targets.len()).sum();
    if count > TARGETS_MAX {
        return Err(format!("{count} targets, {TARGETS_MAX} are read at most"));
    }
    Ok(groups)
}

/// Keeps to what the lists of a job say.
pub(super) struct Discovery {
    job: Job,
    /// Pages that are read by all jobs.
    pages: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    files: Files,
    servers: Vec<Server>,
    running: BTreeMap<String, Running>,
    /// Not all of the targets are read.
    is_full: bool,
}

struct Running {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Discovery {
    /// Of this job.
    ///
    /// # Errors
    /// When a client cannot be made of the options.
    pub(super) fn new(
        job: Job,
        pages: Arc<AtomicUsize>,
        stop: Arc<AtomicBool>,
    ) -> Result<Discovery, String> {
        let servers = job.config.http_sd_configs.iter().map(Server::new);
        let servers = servers.collect::<Result<_, _>>()?;
        let (files, running) = (Files::default(), BTreeMap::new());
        Ok(Discovery { job, pages, stop, files, servers, running, is_full: false })
    }

    /// Reads lists, and the pages of their targets, until it is told to end.
    pub(super) fn run(mut self) {
        let mut looked = None::<Instant>;
        while !self.stop.load(Ordering::Relaxed) {
            let mut is_new = false;
            if looked.is_none_or(|at| at.elapsed() >= LOOK) {
                looked = Some(Instant::now());
                is_new = self.files.look(&self.job) || self.is_full;
            }
            for server in &mut self.servers {
                is_new |= server.look(&self.job);
            }
            if is_new {
                self.keep_to(self.wanted());
            }
            std::thread::sleep(STEP);
        }
        end(std::mem::take(&mut self.running), &self.pages);
    }

    /// All targets after relabelling, by address and labels.
    fn wanted(&self) -> BTreeMap<String, Target> {
        let lists = self.files.lists().chain(self.servers.iter().flat_map(Server::lists));
        let mut wanted = BTreeMap::new();
        for (meta, group) in lists {
            let labels = group.labels.with([meta]);
            let found = group.targets.iter().filter_map(|at| target(&self.job.config, at, &labels));
            wanted
                .extend(found.map(|target| (format!("{} {}", target.url, target.labels), target)));
        }
        wanted
    }

    fn keep_to(&mut self, wanted: BTreeMap<String, Target>) {
        let before = std::mem::take(&mut self.running);
        let (kept, gone) = before.into_iter().partition(|(key, _)| wanted.contains_key(key));
        self.running = kept;
        // First the old ones: two of one page would be twice its samples.
        end(gone, &self.pages);
        let was_full = std::mem::take(&mut self.is_full);
        for (key, target) in wanted {
            if self.running.contains_key(&key) {
                continue;
            }
            if self.pages.fetch_add(1, Ordering::Relaxed) >= TARGETS_MAX {
                self.pages.fetch_sub(1, Ordering::Relaxed);
                self.is_full = true;
                break;
            }
            let stop = Arc::default();
            match self.job.start(target, Arc::clone(&stop)) {
                Ok(thread) => _ = self.running.insert(key, Running { stop, thread }),
                Err(_) => {
                    self.pages.fetch_sub(1, Ordering::Relaxed);
                    self.is_full = true;
                    break;
                }
            }
        }
        if self.is_full && !was_full {
            let why = format!("not all of its targets are read: {TARGETS_MAX} pages are the most");
            self.job.failed(&format!("scrape {}", self.job.config.job_name), &why);
        }
    }
}

/// Ends what reads pages, all at once.
fn end(running: BTreeMap<String, Running>, pages: &AtomicUsize) {
    running.values().for_each(|running| running.stop.store(true, Ordering::Relaxed));
    for running in running.into_values() {
        // One that panicked has nothing more to say.
        let _ = running.thread.join();
        pages.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Targets with the label that says where they are from.
type Listed<'a> = ((&'static str, &'a str), &'a StaticConfig);

/// The files of a job.
#[derive(Default)]
struct Files {
    known: BTreeMap<PathBuf, File>,
    refreshed: Option<Instant>,
}

#[derive(Default)]
struct File {
    /// When it was changed, and its length, as it was read.
    state: Option<(SystemTime, u64)>,
    name: String,
    groups: Vec<StaticConfig>,
    is_failing: bool,
}

impl Files {
    /// Reads what has changed, and all of it each `refresh_interval`; reports whether a list is new.
    fn look(&mut self, job: &Job) -> bool {
        let configs = &job.config.file_sd_configs;
        let interval = configs.iter().map(|config| config.refresh_interval).min();
        let Some(interval) = interval else { return false };
        let is_due = self.refreshed.is_none_or(|at| at.elapsed() >= interval);
        if is_due {
            self.refreshed = Some(Instant::now());
        }
        let patterns = configs.iter().flat_map(|config| &config.files);
        let paths: Vec<PathBuf> =
            patterns.flat_map(|pattern| matching(pattern).into_iter().take(FILES_MAX)).collect();
        let count = self.known.len();
        self.known.retain(|path, _| paths.contains(path));
        let mut is_new = self.known.len() != count;
        for path in paths {
            let file = self.known.entry(path.clone()).or_default();
            file.name = path.display().to_string();
            is_new |= file.look(&path, is_due, job);
        }
        is_new
    }

    fn lists(&self) -> impl Iterator<Item = Listed<'_>> {
        self.known.values().flat_map(|file| {
            file.groups.iter().map(|group| (("__meta_filepath", file.name.as_str()), group))
        })
    }
}

impl File {
    fn look(&mut self, path: &Path, is_due: bool, job: &Job) -> bool {
        let state =
            std::fs::metadata(path).ok().and_then(|meta| Some((meta.modified().ok()?, meta.len())));
        if state.is_none() && self.state.is_some() {
            // It was removed, and its targets with it.
            *self = File { name: std::mem::take(&mut self.name), ..File::default() };
            return true;
        }
        if state == self.state && !is_due {
            return false;
        }
        let read = read(path).and_then(|text| parse_targets(&text));
        self.state = state;
        take(job, &self.name, read, &mut self.groups, &mut self.is_failing)
    }
}

/// A file's text. What is being written may be empty or half: it is read again when it changes.
fn read(path: &Path) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    let length = file.take(LIST_BYTES_MAX + 1).read_to_string(&mut text);
    match length.map_err(|error| error.to_string())? as u64 {
        0..=LIST_BYTES_MAX => Ok(text),
        _ => Err(format!("is larger than {LIST_BYTES_MAX} bytes")),
    }
}

/// Puts a new list in the place of the last good one; reports whether it differs.
fn take(
    job: &Job,
    source: &str,
    read: Result<Vec<StaticConfig>, String>,
    groups: &mut Vec<StaticConfig>,
    is_failing: &mut bool,
) -> bool {
    let was_failing = std::mem::replace(is_failing, read.is_err());
    match read {
        Ok(new) => {
            if was_failing {
                (job.report)(source, None);
            }
            let is_new = *groups != new;
            *groups = new;
            is_new
        }
        Err(why) if !was_failing => {
            job.failed(source, &format!("{why}; the last good list stays in force"));
            false
        }
        Err(_) => {
            Part::Scrape.failed();
            false
        }
    }
}

/// A server that lists targets.
struct Server {
    url: String,
    /// The address without its password.
    name: String,
    client: Client,
    interval: Duration,
    asked: Option<Instant>,
    groups: Vec<StaticConfig>,
    is_failing: bool,
}

impl Server {
    fn new(config: &HttpSdConfig) -> Result<Server, String> {
        let name = config.url.to_string();
        let timeout = config.refresh_interval.min(ANSWER_MAX);
        let client = Client::new(&config.http_options(), timeout);
        let client = client.map_err(|error| format!("{name}: {error}"))?;
        Ok(Server {
            url: config.url.as_str().to_owned(),
            name,
            client: client.with_body_max(LIST_BYTES_MAX),
            interval: config.refresh_interval,
            asked: None,
            groups: Vec::new(),
            is_failing: false,
        })
    }

    fn look(&mut self, job: &Job) -> bool {
        if self.asked.is_some_and(|at| at.elapsed() < self.interval) {
            return false;
        }
        self.asked = Some(Instant::now());
        let read = self.ask();
        take(job, &self.name, read, &mut self.groups, &mut self.is_failing)
    }

    fn ask(&self) -> Result<Vec<StaticConfig>, String> {
        let seconds = self.interval.as_secs_f64().to_string();
        let headers = [
            ("Accept", "application/json"),
            ("X-Prometheus-Refresh-Interval-Seconds", seconds.as_str()),
        ];
        let answer = self.client.send("GET", &self.url, &headers, &[]);
        let answer = answer.map_err(|error| error.to_string())?;
        if answer.status != 200 {
            return Err(format!("status {}: {}", answer.status, answer.first_line()));
        }
        let text = std::str::from_utf8(&answer.body).map_err(|error| error.to_string())?;
        parse_targets(text)
    }

    fn lists(&self) -> impl Iterator<Item = Listed<'_>> {
        self.groups.iter().map(|group| (("__meta_url", self.name.as_str()), group))
    }
}
