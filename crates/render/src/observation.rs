//! One observation's figures by name, with what each means.

use model::Observation;

/// A figure of an observation.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// Name, with its unit at the end.
    pub name: &'static str,
    /// `None` is unknown.
    pub value: Option<i64>,
    /// It counts bytes.
    pub is_bytes: bool,
    /// One line for people.
    pub meaning: &'static str,
}

/// All figures, the runtime's first.
pub fn figures(observation: &Observation) -> Vec<Figure> {
    let Observation { runtime, process, cgroup, .. } = observation;
    let bytes = |name, value: Option<u64>, meaning| Figure {
        name,
        value: value.map(|value| i64::try_from(value).unwrap_or(i64::MAX)),
        is_bytes: true,
        meaning,
    };
    let count = |name, value: Option<u64>, meaning| Figure {
        is_bytes: false,
        ..bytes(name, value, meaning)
    };
    // i64::MAX is the runtime's "no limit".
    let limit = runtime.gomemlimit_bytes.filter(|limit| *limit != i64::MAX);
    vec![
        bytes("heap_live_bytes", runtime.heap_live_bytes, "marked by the last GC"),
        bytes("heap_in_use_bytes", runtime.heap_in_use_bytes, "in spans that hold objects"),
        bytes(
            "heap_alloc_bytes",
            runtime.heap_alloc_bytes,
            "objects, dead ones not yet swept included",
        ),
        bytes(
            "heap_idle_bytes",
            runtime.heap_idle_bytes,
            "in spans without objects, released included",
        ),
        bytes(
            "heap_released_bytes",
            runtime.heap_released_bytes,
            "returned to the operating system",
        ),
        bytes("heap_goal_bytes", runtime.heap_goal_bytes, "heap size at which the next GC starts"),
        bytes("stacks_bytes", runtime.stacks_bytes, "goroutine stacks"),
        bytes("metadata_bytes", runtime.metadata_bytes, "the runtime's own structures"),
        bytes("sys_bytes", runtime.sys_bytes, "all the runtime has from the operating system"),
        bytes("total_alloc_bytes", runtime.total_alloc_bytes, "allocated since the start"),
        count("heap_objects", runtime.heap_objects, "objects, dead ones not yet swept included"),
        count("gc_cycles", runtime.gc_cycles, "completed garbage collections"),
        count("goroutines", runtime.goroutines, "goroutines"),
        Figure {
            name: "gogc_percent",
            value: runtime.gogc_percent.map(i64::from),
            is_bytes: false,
            meaning: "GOGC; -1 is off",
        },
        Figure {
            name: "gomemlimit_bytes",
            value: limit,
            is_bytes: true,
            meaning: "GOMEMLIMIT; unknown when unset",
        },
        Figure {
            name: "mem_profile_rate",
            value: runtime.mem_profile_rate,
            is_bytes: false,
            meaning: "bytes between heap samples",
        },
        bytes("rss_bytes", process.rss_bytes, "resident memory of the process"),
        bytes("rss_anon_bytes", process.rss_anon_bytes, "of that anonymous"),
        bytes("rss_peak_bytes", process.rss_peak_bytes, "highest resident memory so far"),
        bytes("limit_bytes", cgroup.limit_bytes, "tightest cgroup limit"),
        bytes("cgroup_usage_bytes", cgroup.usage_bytes, "used in that cgroup"),
    ]
}
