//! A running Go program, attached once and read again and again.
//!
//! Attaching maps the executable and finds the runtime's variables; after that an
//! observation costs a few file reads and a heap profile one walk over the
//! profiling buckets. The target is never stopped.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use decode::goruntime::{
    Attached, Bias, Binary, HeapBuckets, Memory, ProbePoint, Process, ProfilePlace, RuntimeError,
};
use decode::procfs;
use decode::resident::{Areas, GoTables};
use model::profile::{Location, Mapping};
use model::{
    Addr, GoroutineSnapshot, MappingId, Observation, Profile, Rss, RuntimeMetrics, Target,
    TargetSpec, Timestamp,
};

use crate::error::CaptureError;
use crate::executable::{Executable, FileId};
use crate::http::HttpTarget;
use crate::memory::ProcessMemoryReader;
use crate::program::Program;
use crate::resident::{self, NO_PROCESS};
use crate::snapshot::{self, Frozen};
use crate::switch::{Width, Word};
use crate::{find, signals};

/// A heap profile and how it was got.
#[derive(Clone, Debug)]
pub struct HeapCapture {
    /// The profile; see `decode::goruntime` for its columns.
    pub profile: Profile,
    /// When the walk ended.
    pub time: Timestamp,
    /// The runtime published nothing while it was read.
    pub is_consistent: bool,
    /// CPU time it cost us.
    pub cost: Duration,
}

/// A target that can be read.
#[derive(Debug)]
pub enum LiveTarget {
    /// A process on this machine.
    Process(Box<ProcessTarget>),
    /// A pprof endpoint.
    Http(HttpTarget),
}

impl LiveTarget {
    /// Attaches to a target.
    ///
    /// # Errors
    /// When it is not there, not a Go program, or may not be read.
    pub fn attach(spec: &TargetSpec) -> Result<LiveTarget, CaptureError> {
        match spec {
            TargetSpec::Pid(pid) => LiveTarget::attach_pid(*pid),
            TargetSpec::Name(pattern) => LiveTarget::attach_pid(find::one_by_name(pattern)?),
            TargetSpec::Url(url) => HttpTarget::attach(url).map(LiveTarget::Http),
            TargetSpec::Core { .. } => Err(CaptureError::Unsupported(
                "core files hold no running program; give a PID, name:REGEX or URL".to_owned(),
            )),
        }
    }

    /// Attaches to a target of which only [`runtime_metrics`](Self::runtime_metrics) is wanted:
    /// a URL may then also be that of a page with metrics, on a program without pprof.
    ///
    /// # Errors
    /// As [`attach`](Self::attach).
    pub fn attach_for_metrics(spec: &TargetSpec) -> Result<LiveTarget, CaptureError> {
        match spec {
            TargetSpec::Url(url) => Ok(LiveTarget::Http(HttpTarget::new(url))),
            spec => LiveTarget::attach(spec),
        }
    }

    fn attach_pid(pid: u32) -> Result<LiveTarget, CaptureError> {
        ProcessTarget::attach(pid).map(|process| LiveTarget::Process(Box::new(process)))
    }

    /// What the target is.
    pub fn target(&self) -> &Target {
        match self {
            LiveTarget::Process(process) => &process.target,
            LiveTarget::Http(http) => http.target(),
        }
    }

    /// Level signals now.
    ///
    /// # Errors
    /// When the target has ended or does not answer.
    pub fn observe(&self) -> Result<Observation, CaptureError> {
        match self {
            LiveTarget::Process(process) => process.observe(),
            LiveTarget::Http(http) => http.observe(),
        }
    }

    /// The heap profile now.
    ///
    /// # Errors
    /// When the target has ended, or sampling is off in it.
    pub fn heap_profile(&self) -> Result<HeapCapture, CaptureError> {
        let started = cpu_time();
        let (mut profile, is_consistent) = match self {
            LiveTarget::Process(process) => process.heap_profile()?,
            LiveTarget::Http(http) => (http.heap_profile()?, true),
        };
        let time = now();
        let shows = match self {
            LiveTarget::Process(process) => process.heap_profile_time(),
            LiveTarget::Http(http) => http.heap_profile_time(),
        };
        // The profile is of the GC cycle before the last, not of this moment; growth
        // divided by the wrong time is a wrong rate.
        profile.time_nanos = shows.unwrap_or(time).0.saturating_mul(1_000_000);
        let cost = cpu_time().saturating_sub(started);
        Ok(HeapCapture { profile, time, is_consistent, cost })
    }

    /// The heap profile of everything allocated up to this moment, for when memory is about to
    /// run out: the published one is up to two collections old, and a program that fills its
    /// memory within a second is killed before it shows. See
    /// `decode::goruntime::Process::heap_profile_now`. Of a URL it is the profile that the
    /// program publishes.
    ///
    /// # Errors
    /// As [`heap_profile`](Self::heap_profile).
    pub fn heap_profile_now(&self) -> Result<HeapCapture, CaptureError> {
        let LiveTarget::Process(process) = self else { return self.heap_profile() };
        let started = cpu_time();
        let (buckets, mut profile) = process.with_runtime(|it| it.heap_profile_now())?;
        process.name_binary(&mut profile);
        let time = now();
        profile.time_nanos = time.0.saturating_mul(1_000_000);
        let cost = cpu_time().saturating_sub(started);
        Ok(HeapCapture { profile, time, is_consistent: buckets.is_consistent, cost })
    }

    /// All goroutines now.
    ///
    /// # Errors
    /// When the target has ended or its goroutines cannot be read.
    pub fn goroutines(&self) -> Result<GoroutineSnapshot, CaptureError> {
        match self {
            LiveTarget::Process(process) => process.goroutines(),
            LiveTarget::Http(http) => http.goroutines(),
        }
    }

    /// The runtime's metrics now.
    ///
    /// # Errors
    /// When the target has ended, or shows no metrics.
    pub fn runtime_metrics(&self) -> Result<RuntimeMetrics, CaptureError> {
        match self {
            LiveTarget::Process(process) => process.runtime_metrics(),
            LiveTarget::Http(http) => http.runtime_metrics(),
        }
    }

    /// What its resident memory consists of. Of a process whose memory may not be read only the
    /// mappings are told apart.
    ///
    /// # Errors
    /// When the target has ended, or is known only by a URL.
    pub fn rss(&self) -> Result<Rss, CaptureError> {
        match self {
            LiveTarget::Process(process) => process.rss(),
            LiveTarget::Http(_) => Err(CaptureError::Unsupported(NO_PROCESS.to_owned())),
        }
    }

    /// Reports whether the same process still runs.
    pub fn is_alive(&self) -> bool {
        match self {
            LiveTarget::Process(process) => process.is_alive(),
            LiveTarget::Http(_) => true,
        }
    }
}

/// A Go process on this machine.
#[derive(Debug)]
pub struct ProcessTarget {
    pid: u32,
    start_ticks: u64,
    started: Option<Timestamp>,
    target: Target,
    exe: Arc<Executable>,
    exe_id: Option<FileId>,
    attached: Attached,
    code: OnceLock<Option<Code>>,
}

/// Where the code of an executable is mapped.
#[derive(Clone, Debug)]
struct Code {
    path: String,
    start: Addr,
    limit: Addr,
    file_offset: u64,
}

impl ProcessTarget {
    /// Attaches to a process.
    ///
    /// # Errors
    /// As [`LiveTarget::attach`].
    pub fn attach(pid: u32) -> Result<ProcessTarget, CaptureError> {
        let start_ticks = signals::start_ticks(pid).ok_or(CaptureError::NoProcess(pid))?;
        let exe_id = FileId::of_process(pid);
        let exe = Executable::of_process(pid)?;
        let bias = load_bias(pid, &format!("/proc/{pid}/exe"), &exe.binary)?;
        let memory = ProcessMemoryReader::new(pid);
        let attached = exe.binary.attach(exe.image.as_ref(), bias, &memory);
        let attached = attached.map_err(|source| CaptureError::from_runtime(pid, source))?;
        let target = describe(pid, start_ticks, &exe.binary);
        let started = start_time(start_ticks);
        exe.release();
        let code = OnceLock::new();
        Ok(ProcessTarget { pid, start_ticks, started, target, exe, exe_id, attached, code })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// When the process started.
    pub fn started(&self) -> Option<Timestamp> {
        self.started
    }

    /// What the executable tells.
    pub fn binary(&self) -> &Binary {
        &self.exe.binary
    }

    /// What the process is.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Where runtime.MemProfileRate lies and what it holds.
    ///
    /// # Errors
    /// When it was not found or cannot be read.
    pub fn profile_rate_word(&self) -> Result<Word, CaptureError> {
        let (address, original) = self.with_runtime(|process| {
            Ok((process.profile_rate_address()?, process.profile_rate()?))
        })?;
        let (pid, start_ticks, width) = (self.pid, self.start_ticks, Width::Eight);
        Ok(Word { pid, start_ticks, address, width, original })
    }

    /// Where runtime.debug.traceallocfree lies and what it holds: with 1, execution traces
    /// have events about heap objects.
    ///
    /// # Errors
    /// When the release has none, or it was not found or cannot be read.
    pub fn trace_objects_word(&self) -> Result<Word, CaptureError> {
        /// The first minor version with those events.
        const MINOR_MIN: u16 = 23;
        let refuse = |reason: String| {
            let advice = Some("execution traces without objects can be recorded of any release");
            CaptureError::Refused { pid: self.pid, reason, advice }
        };
        if self.exe.binary.version.minor < MINOR_MIN {
            let version = &self.exe.binary.info.version;
            let reason =
                format!("{version} has no events about heap objects, Go 1.23 and later do");
            return Err(refuse(reason));
        }
        let found = self.with_runtime(|process| process.debug_variable("traceallocfree"))?;
        // One that is not atomic would be read only when the program starts.
        let found = found.filter(|variable| variable.is_atomic).ok_or_else(|| {
            refuse("runtime.debug.traceallocfree was not found in its memory".to_owned())
        })?;
        let (pid, start_ticks, width) = (self.pid, self.start_ticks, Width::Four);
        let (address, original) = (found.address, found.value.into());
        Ok(Word { pid, start_ticks, address, width, original })
    }

    /// Takes the memory of the process; see [`snapshot::take`].
    ///
    /// # Errors
    /// As [`snapshot::take`], and when the pid is another process's by now.
    pub fn freeze(
        &self,
        options: &snapshot::Options,
        progress: &mut snapshot::Progress<'_>,
    ) -> Result<Frozen, CaptureError> {
        self.check_alive()?;
        let marks_in_pages = options.marks_in_pages && marks_in_pages(&self.exe.binary);
        let options = snapshot::Options { marks_in_pages, ..options.clone() };
        let frozen = snapshot::take(self.pid, &options, progress)?;
        self.check_alive()?;
        Ok(frozen)
    }

    /// Joins the executable with the memory that was taken of the process.
    pub fn program<'a>(&'a self, frozen: &'a Frozen) -> Program<'a> {
        Program {
            binary: &self.exe.binary,
            attached: &self.attached,
            exe: self.exe.image.as_ref(),
            libraries: frozen.libraries(),
            image: frozen.image(),
            threads: &frozen.threads,
            mappings: &frozen.mappings,
        }
    }

    /// Whether it still runs: the pid may be another process's by now.
    pub fn is_alive(&self) -> bool {
        self.check_alive().is_ok()
    }

    /// Whether it still runs, and has not become another program.
    pub fn runs_its_program(&self) -> bool {
        let now = FileId::of_process(self.pid);
        self.is_alive() && now.zip(self.exe_id).is_some_and(|(now, then)| now.is_same_file(then))
    }

    fn check_alive(&self) -> Result<(), CaptureError> {
        match signals::start_ticks(self.pid) {
            Some(ticks) if ticks == self.start_ticks => Ok(()),
            _ => Err(CaptureError::Ended(self.pid)),
        }
    }

    /// Runs `read` on the process's runtime, and makes sure afterwards that the
    /// pid still meant the same process.
    fn with_runtime<T>(
        &self,
        read: impl FnOnce(&Process<'_, ProcessMemoryReader>) -> Result<T, RuntimeError>,
    ) -> Result<T, CaptureError> {
        let memory = ProcessMemoryReader::new(self.pid);
        let file = self.exe.image.as_ref();
        let result = Process::new(&self.exe.binary, &self.attached, file, &memory)
            .and_then(|process| read(&process));
        self.exe.release();
        self.check_alive()?;
        result.map_err(|source| CaptureError::from_runtime(self.pid, source))
    }

    fn observe(&self) -> Result<Observation, CaptureError> {
        self.check_alive()?;
        let runtime = self.with_runtime(|process| Ok(process.runtime_memory()))?;
        let (host, pressure) = signals::machine();
        Ok(Observation {
            time: now(),
            process: signals::process(self.pid, false),
            cgroup: signals::cgroup(self.pid),
            runtime,
            host,
            pressure,
        })
    }

    fn runtime_metrics(&self) -> Result<RuntimeMetrics, CaptureError> {
        self.check_alive()?;
        self.with_runtime(|process| process.runtime_metrics())
    }

    fn heap_profile(&self) -> Result<(Profile, bool), CaptureError> {
        let (buckets, mut profile) = self.with_runtime(|process| process.heap_profile())?;
        self.name_binary(&mut profile);
        Ok((profile, buckets.is_consistent))
    }

    /// Says in a profile which binary its code is in and where that is mapped, so that
    /// source and code can be shown later. Without it the profile is only poorer.
    fn name_binary(&self, profile: &mut Profile) {
        let Some(code) = self.code.get_or_init(|| self.find_code()) else { return };
        let build_id = self.exe.binary.build_id.as_deref().unwrap_or_default();
        profile.mappings.push(Mapping {
            id: 0,
            start: code.start,
            limit: code.limit,
            file_offset: code.file_offset,
            filename: profile.strings.intern(&code.path),
            build_id: profile.strings.intern(build_id),
            has_functions: true,
            has_filenames: true,
            has_line_numbers: true,
            has_inline_frames: true,
        });
        let within =
            |location: &&mut Location| (code.start..code.limit).contains(&location.address);
        for location in profile.locations.iter_mut().filter(within) {
            location.mapping = Some(MappingId(0));
        }
    }

    fn find_code(&self) -> Option<Code> {
        let exe = format!("/proc/{}/exe", self.pid);
        let path = fs::read_link(&exe).ok()?;
        let path = path.to_string_lossy();
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.pid)).ok()?;
        let inode = inode(&exe).ok()?;
        let code = procfs::maps(&maps)
            .into_iter()
            .find(|mapping| mapping.inode == inode && mapping.permissions.contains('x'))?;
        Some(Code {
            path: path.strip_suffix(" (deleted)").unwrap_or(&path).to_owned(),
            start: Addr(code.start),
            limit: Addr(code.end),
            file_offset: code.offset,
        })
    }

    /// Where its heap profile lies. Also finds out what naming its code takes, which cannot be
    /// found any more when it has ended.
    ///
    /// # Errors
    /// When it was not found, or the process has ended.
    pub fn profile_place(&self) -> Result<ProfilePlace, CaptureError> {
        self.code.get_or_init(|| self.find_code());
        self.with_runtime(|process| process.profile_place())
    }

    /// The heap profile in memory that was copied of it, also when it has ended; as of the moment
    /// of the copy.
    ///
    /// # Errors
    /// When the copy lacks something, or shows that profiling was off.
    pub fn heap_profile_in(&self, memory: &impl Memory) -> Result<Profile, CaptureError> {
        let process =
            Process::new(&self.exe.binary, &self.attached, self.exe.image.as_ref(), memory);
        let profile = process.and_then(|process| process.heap_profile_now());
        self.exe.release();
        let (_, mut profile) =
            profile.map_err(|source| CaptureError::from_runtime(self.pid, source))?;
        self.name_binary(&mut profile);
        Ok(profile)
    }

    /// A heap profile of samples that were seen as they were taken, also when the process has ended;
    /// see [`Process::profile_of_samples`].
    ///
    /// # Errors
    /// When the executable is damaged.
    pub fn profile_of_samples(&self, samples: &HeapBuckets) -> Result<Profile, CaptureError> {
        let memory = ProcessMemoryReader::new(self.pid);
        let file = self.exe.image.as_ref();
        let process = Process::new(&self.exe.binary, &self.attached, file, &memory);
        let profile = process.map(|process| process.profile_of_samples(samples));
        self.exe.release();
        let mut profile = profile.map_err(|source| CaptureError::from_runtime(self.pid, source))?;
        self.name_binary(&mut profile);
        Ok(profile)
    }

    /// Where to probe functions of its executable; see [`Binary::probe_points`].
    ///
    /// # Errors
    /// When the executable is damaged or the process has ended.
    pub(crate) fn probe_points(
        &self,
        functions: &[&str],
    ) -> Result<Vec<Option<ProbePoint>>, CaptureError> {
        self.check_alive()?;
        let file = self.exe.image.as_ref();
        let points = self.exe.binary.probe_points(file, &self.attached, functions);
        self.exe.release();
        points.map_err(|source| CaptureError::from_runtime(self.pid, source))
    }

    /// The mean number of bytes between two samples of its heap.
    ///
    /// # Errors
    /// When it takes none, it was not found, or the process has ended.
    pub fn sampling_rate(&self) -> Result<i64, CaptureError> {
        self.with_runtime(|process| match process.profile_rate()? {
            rate if rate > 0 => Ok(rate),
            _ => Err(RuntimeError::ProfilingDisabled),
        })
    }

    fn heap_profile_time(&self) -> Option<Timestamp> {
        let runtime = self.with_runtime(|process| Ok(process.runtime_memory())).ok()?;
        runtime.heap_profile_time
    }

    /// What its resident memory consists of; see [`LiveTarget::rss`].
    ///
    /// # Errors
    /// When the process has ended or its mappings may not be read.
    pub fn rss(&self) -> Result<Rss, CaptureError> {
        self.with_tables(resident::of_go)
    }

    /// What the parts of its address space are used for.
    ///
    /// # Errors
    /// When the process has ended or its mappings may not be read.
    pub fn areas(&self) -> Result<Areas, CaptureError> {
        self.with_tables(resident::areas_of_go)
    }

    fn with_tables<T>(
        &self,
        take: impl FnOnce(u32, &resident::ReadTables<'_>) -> Result<T, CaptureError>,
    ) -> Result<T, CaptureError> {
        self.check_alive()?;
        let memory = ProcessMemoryReader::new(self.pid);
        let file = self.exe.image.as_ref();
        let taken = take(self.pid, &|| {
            let process = Process::new(&self.exe.binary, &self.attached, file, &memory)?;
            GoTables::read(&process, file)
        });
        self.exe.release();
        self.check_alive()?;
        taken
    }

    fn goroutines(&self) -> Result<GoroutineSnapshot, CaptureError> {
        self.with_runtime(|process| process.goroutines(monotonic_nanos()))
    }
}

/// The garbage collector of this program keeps its marks within the pages of the heap.
fn marks_in_pages(binary: &Binary) -> bool {
    let has = |name| {
        let experiments = binary.info.setting("GOEXPERIMENT").unwrap_or_default();
        experiments.split(',').any(|experiment| experiment == name)
    };
    match binary.version.minor {
        ..=25 => has("greenteagc"),
        _ => !has("nogreenteagc"),
    }
}

pub(crate) fn inode(path: &str) -> std::io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    Ok(fs::metadata(path)?.ino())
}

/// Where the kernel loaded the executable: the mapping of its first page less the
/// address it was linked for.
fn load_bias(pid: u32, exe: &str, binary: &Binary) -> Result<Bias, CaptureError> {
    if !binary.is_position_independent {
        return Ok(Bias(0));
    }
    let path = format!("/proc/{pid}/maps");
    let text = fs::read_to_string(&path)
        .map_err(|source| CaptureError::from_io(pid, path.clone(), source))?;
    // The file's inode identifies the mapping even when the path is of another
    // mount namespace or deleted.
    let inode = inode(exe).map_err(|source| CaptureError::from_io(pid, exe.to_owned(), source))?;
    let mapping = procfs::maps(&text)
        .into_iter()
        .find(|mapping| mapping.inode == inode && mapping.offset == 0)
        .ok_or(CaptureError::Denied { pid, what: "finding its executable in /proc/PID/maps" })?;
    Ok(Bias(mapping.start.wrapping_sub(binary.first_load.0)))
}

fn describe(pid: u32, start_ticks: u64, binary: &Binary) -> Target {
    let mut labels = BTreeMap::new();
    let mut label = |key: &str, value: &str| {
        if !value.is_empty() {
            labels.insert(key.to_owned(), value.to_owned());
        }
    };
    let exe = find::exe_path(pid).unwrap_or_default();
    let name = find::binary_name(pid, &exe);
    let cgroup = find::cgroup_identity(pid);
    label("cgroup", cgroup.path.as_deref().unwrap_or_default());
    label("command", &find::command_line(pid));
    label("container", cgroup.container.as_deref().unwrap_or_default());
    label("exe", &exe);
    label("go_version", &binary.info.version);
    label("module", &binary.info.module);
    label("package", &binary.info.path);
    label("pod_uid", cgroup.pod_uid.as_deref().unwrap_or_default());
    label("service", &name);
    // Tells two processes of one pid apart.
    label("start_ticks", &start_ticks.to_string());
    label("unit", cgroup.unit.as_deref().unwrap_or_default());
    label("version", binary.info.setting("vcs.revision").unwrap_or(&binary.info.module_version));
    Target { name, spec: TargetSpec::Pid(pid), pid: Some(pid), labels }
}

fn start_time(start_ticks: u64) -> Option<Timestamp> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let boot_seconds = procfs::flat_field(&stat, "btime")?;
    let after_boot = start_ticks as f64 / signals::ticks_per_second() * 1000.0;
    Some(Timestamp(boot_seconds as i64 * 1000 + after_boot as i64))
}

/// The wall clock.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(since.as_millis() as i64)
}

/// CPU time this thread has used.
pub fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// The clock the Go runtime notes waits with (nanotime).
/// Nanoseconds since the machine started, on the clock that does not jump.
pub fn monotonic_nanos() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}
