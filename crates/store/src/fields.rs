//! The columns of an observation. One list makes the schema, the writes, the reads
//! and the series the API offers.

use model::Observation;

/// A column of observations: a series of the API.
#[derive(Debug)]
pub struct Field {
    /// Its name in the API.
    pub name: &'static str,
    /// Its value in an observation; `None` is unknown.
    pub get: fn(&Observation) -> Option<i64>,
    /// Sets it.
    pub set: fn(&mut Observation, i64),
}

macro_rules! fields {
    ($($name:ident = $($part:ident).+),* $(,)?) => {
        &[$(Field {
            name: stringify!($name),
            get: |observation| observation.$($part).+.and_then(|value| i64::try_from(value).ok()),
            set: |observation, value| observation.$($part).+ = value.try_into().ok(),
        }),*]
    };
}

/// All columns, in schema order. Names are those of the API's series.
pub(crate) const FIELDS: &[Field] = fields![
    rss_bytes = process.rss_bytes,
    rss_anon_bytes = process.rss_anon_bytes,
    rss_file_bytes = process.rss_file_bytes,
    rss_shmem_bytes = process.rss_shmem_bytes,
    rss_peak_bytes = process.rss_peak_bytes,
    swap_bytes = process.swap_bytes,
    lazy_free_bytes = process.lazy_free_bytes,
    threads = process.threads,
    cgroup_usage_bytes = cgroup.usage_bytes,
    cgroup_working_set_bytes = cgroup.working_set_bytes,
    cgroup_anon_bytes = cgroup.anon_bytes,
    cgroup_file_bytes = cgroup.file_bytes,
    limit_bytes = cgroup.limit_bytes,
    oom_kills = cgroup.oom_kills,
    heap_live_bytes = runtime.heap_live_bytes,
    heap_in_use_bytes = runtime.heap_in_use_bytes,
    heap_idle_bytes = runtime.heap_idle_bytes,
    heap_released_bytes = runtime.heap_released_bytes,
    heap_alloc_bytes = runtime.heap_alloc_bytes,
    heap_goal_bytes = runtime.heap_goal_bytes,
    heap_objects = runtime.heap_objects,
    total_alloc_bytes = runtime.total_alloc_bytes,
    stacks_bytes = runtime.stacks_bytes,
    metadata_bytes = runtime.metadata_bytes,
    sys_bytes = runtime.sys_bytes,
    gc_cycles = runtime.gc_cycles,
    gogc_percent = runtime.gogc_percent,
    gomemlimit_bytes = runtime.gomemlimit_bytes,
    goroutines = runtime.goroutines,
    host_total_bytes = host.total_bytes,
    host_available_bytes = host.available_bytes,
];

/// All columns, in order.
pub fn fields() -> &'static [Field] {
    FIELDS
}

/// Names of all series, in column order.
pub fn series_names() -> Vec<&'static str> {
    FIELDS.iter().map(|field| field.name).collect()
}

/// `a<suffix>, b<suffix>, ...`
pub(crate) fn columns(suffix: &str) -> String {
    let names: Vec<String> = FIELDS.iter().map(|field| format!("{}{suffix}", field.name)).collect();
    names.join(", ")
}
