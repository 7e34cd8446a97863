//! Pages that others show for Prometheus: read, and forwarded to the store and to remote write.

mod config;
mod discovery;
mod page;

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use httpclient::Client;
use model::{Family, Timestamp};

use crate::failures::Part;
pub use config::{FileSdConfig, HttpSdConfig, Scheme, ScrapeConfig, StaticConfig, check};
use discovery::Discovery;
pub use discovery::parse_targets;
use page::{Kept, Scrape, Target, about, target};

/// OpenMetrics has more to say; the text format is understood by all.
const ACCEPT: &str =
    "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
/// Protocol buffers have native histograms.
const ACCEPT_NATIVE: &str = "application/vnd.google.protobuf;\
     proto=io.prometheus.client.MetricFamily;encoding=delimited,\
     application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
const TIMEOUT_MAX: Duration = Duration::from_secs(10);
/// How soon a thread notices that it should end.
const STEP: Duration = Duration::from_millis(200);

/// Takes what was read: the source, the time, the families. An empty list ends the source.
pub type Sink = Arc<dyn Fn(&str, Timestamp, &[Family]) + Send + Sync>;

/// Told when a page fails, and when it works again: the source, and why.
pub type Report = Arc<dyn Fn(&str, Option<&str>) + Send + Sync>;

/// Threads that read pages; they end when it is dropped.
#[derive(Default)]
pub struct Scrapes {
    jobs: Vec<Running>,
    /// Pages that are read by all jobs.
    pages: Arc<AtomicUsize>,
}

impl Scrapes {
    /// Reads these pages from now on; those of jobs that stay the same are not disturbed. Pages are
    /// spread over the interval, each at its own fixed offset.
    ///
    /// # Errors
    /// When a client cannot be made of the options, or a thread not started.
    pub fn change(
        &mut self,
        configs: &[ScrapeConfig],
        default_interval: Duration,
        sink: &Sink,
        report: &Report,
    ) -> Result<(), String> {
        check(configs)?;
        let jobs = configs.iter().map(|config| Job::new(config, default_interval, sink, report));
        let mut jobs = jobs.collect::<Result<Vec<_>, _>>()?;
        let before = std::mem::take(&mut self.jobs).into_iter();
        let (stay, over) = before.partition(|running| jobs.iter().any(|job| running.is_of(job)));
        // The old ones end first: two of one page would be twice its samples.
        self.end(over);
        self.jobs = stay;
        jobs.retain(|job| !self.jobs.iter().any(|running| running.is_of(job)));
        let failed = |error: std::io::Error| error.to_string();
        let first = self.jobs.len();
        for job in &jobs {
            let mut running = Running::new(job);
            let started = running.start_pages(job, &self.pages).map_err(failed);
            self.jobs.push(running);
            started?;
        }
        // What is listed elsewhere gets what is left.
        for (job, running) in jobs.into_iter().zip(self.jobs.iter_mut().skip(first)) {
            running.start_lists(job, &self.pages)?;
        }
        Ok(())
    }

    /// Ends them, all at once.
    fn end(&self, jobs: Vec<Running>) {
        jobs.iter().for_each(|job| job.stop.store(true, Ordering::Relaxed));
        for job in jobs {
            for thread in job.threads {
                // One that panicked has nothing more to say.
                let _ = thread.join();
            }
            self.pages.fetch_sub(job.pages, Ordering::Relaxed);
        }
    }
}

impl Drop for Scrapes {
    fn drop(&mut self) {
        let jobs = std::mem::take(&mut self.jobs);
        self.end(jobs);
    }
}

/// The threads of a job.
struct Running {
    config: Arc<ScrapeConfig>,
    interval: Duration,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    /// Of its own targets; those of its lists are counted where they are read.
    pages: usize,
}

impl Running {
    fn new(job: &Job) -> Running {
        let (config, interval) = (Arc::clone(&job.config), job.interval);
        Running { config, interval, stop: Arc::default(), threads: Vec::new(), pages: 0 }
    }

    fn is_of(&self, job: &Job) -> bool {
        (&self.config, self.interval) == (&job.config, job.interval)
    }

    fn start_pages(&mut self, job: &Job, pages: &AtomicUsize) -> std::io::Result<()> {
        let parts = job.config.static_configs.iter();
        let addresses = parts.flat_map(|part| part.targets.iter().map(|at| (at, &part.labels)));
        for target in addresses.filter_map(|(at, labels)| target(&job.config, at, labels)) {
            self.threads.push(job.start(target, Arc::clone(&self.stop))?);
            self.pages += 1;
            pages.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn start_lists(&mut self, job: Job, pages: &Arc<AtomicUsize>) -> Result<(), String> {
        if !job.config.has_lists() {
            return Ok(());
        }
        let name = format!("lists of {}", job.config.job_name);
        let discovery = Discovery::new(job, Arc::clone(pages), Arc::clone(&self.stop))?;
        let thread = std::thread::Builder::new().name(name).stack_size(1 << 20);
        let thread = thread.spawn(move || discovery.run()).map_err(|error| error.to_string())?;
        self.threads.push(thread);
        Ok(())
    }
}

/// What the pages of a block have in common.
struct Job {
    config: Arc<ScrapeConfig>,
    client: Arc<Client>,
    interval: Duration,
    timeout: Duration,
    sink: Sink,
    report: Report,
}

impl Job {
    fn new(
        config: &ScrapeConfig,
        default_interval: Duration,
        sink: &Sink,
        report: &Report,
    ) -> Result<Job, String> {
        let interval = config.scrape_interval.unwrap_or(default_interval);
        let timeout = config.scrape_timeout.unwrap_or(interval.min(TIMEOUT_MAX));
        let client = Client::new(&config.http_options(), timeout);
        let client = client.map_err(|error| format!("{}: {error}", config.job_name))?;
        let client = match config.body_size_limit {
            0 => client,
            limit => client.with_body_max(limit),
        };
        let (config, client) = (Arc::new(config.clone()), Arc::new(client));
        let (sink, report) = (Arc::clone(sink), Arc::clone(report));
        Ok(Job { config, client, interval, timeout, sink, report })
    }

    /// Starts the thread that reads a page.
    fn start(&self, target: Target, stop: Arc<AtomicBool>) -> std::io::Result<JoinHandle<()>> {
        let reader = Reader {
            config: Arc::clone(&self.config),
            client: Arc::clone(&self.client),
            target,
            interval: self.interval,
            timeout: self.timeout,
            sink: Arc::clone(&self.sink),
            report: Arc::clone(&self.report),
            stop,
        };
        let name = format!("scrape {}", self.config.job_name);
        let thread = std::thread::Builder::new().name(name).stack_size(1 << 20);
        thread.spawn(move || reader.run())
    }

    fn failed(&self, source: &str, why: &str) {
        Part::Scrape.failed();
        (self.report)(source, Some(why));
    }
}

/// Reads one page again and again.
struct Reader {
    config: Arc<ScrapeConfig>,
    client: Arc<Client>,
    target: Target,
    interval: Duration,
    timeout: Duration,
    sink: Sink,
    report: Report,
    stop: Arc<AtomicBool>,
}

impl Reader {
    fn run(&self) {
        let source = format!("scrape {} {}", self.config.job_name, self.target.url);
        let (mut kept, mut has_failed) = (Kept::default(), false);
        let mut next = Instant::now() + offset(&self.target.url, self.interval);
        while self.pause(next) {
            let (time, started) = (capture::now(), Instant::now());
            let read = self.read(&mut kept);
            let seconds = started.elapsed().as_secs_f64();
            if read.is_err() {
                Part::Scrape.failed();
            }
            if read.is_err() != has_failed {
                (self.report)(&source, read.as_ref().err().map(String::as_str));
            }
            has_failed = read.is_err();
            let (mut families, scrape) = read.unwrap_or_default();
            let scrape = Scrape { seconds, ..scrape };
            families.extend(about(&self.target.labels, &scrape));
            (self.sink)(&source, time, &families);
            next += self.interval;
            // After a long stall what was missed is not made up for.
            if next < Instant::now() {
                next = Instant::now() + self.interval;
            }
        }
        (self.sink)(&source, capture::now(), &[]);
    }

    /// The families that are kept, and what the scrape came to.
    fn read(&self, kept: &mut Kept) -> Result<(Vec<Family>, Scrape), String> {
        let timeout = format!("{}", self.timeout.as_secs_f64());
        let accept = if self.config.scrape_native_histograms { ACCEPT_NATIVE } else { ACCEPT };
        let headers = [("Accept", accept), ("X-Prometheus-Scrape-Timeout-Seconds", &timeout)];
        let answer = self.client.send("GET", &self.target.url, &headers, &[]);
        let answer = answer.map_err(|error| error.to_string())?;
        if answer.status != 200 {
            return Err(format!("status {}: {}", answer.status, answer.first_line()));
        }
        let kind = answer.header("Content-Type").unwrap_or_default().to_owned();
        kept.read(&self.config, &self.target.labels, answer.body, &kind)
    }

    /// Waits until then; false when it is time to end.
    fn pause(&self, until: Instant) -> bool {
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return false;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(STEP));
        }
    }
}

/// Where in the interval a page has its turn: always the same, and spread.
fn offset(url: &str, interval: Duration) -> Duration {
    let mut hasher = std::hash::DefaultHasher::new();
    url.hash(&mut hasher);
    let share = (hasher.finish() >> 11) as f64 / (1_u64 << 53) as f64;
    // The first read comes soon, also where the interval is long.
    interval.min(Duration::from_secs(15)).mul_f64(share)
}

#[cfg(test)]
mod tests;
