//! The one list of what is computed from the series, what is alerted on, and what is drawn.

/// A series computed from others.
pub(super) struct Recording {
    pub(super) name: &'static str,
    pub(super) expr: &'static str,
}

/// A condition that somebody should know of.
pub(super) struct Alert {
    pub(super) name: &'static str,
    pub(super) expr: &'static str,
    /// How long it must hold.
    pub(super) held: &'static str,
    pub(super) keep_firing: &'static str,
    pub(super) severity: &'static str,
    pub(super) summary: &'static str,
    pub(super) description: &'static str,
    /// What to do.
    pub(super) next: &'static str,
    /// Series, a sample a minute, with which it fires within three hours.
    pub(super) fires: &'static [(&'static str, &'static str)],
    /// Series with which it does not.
    pub(super) quiet: &'static [(&'static str, &'static str)],
}

/// A group of rules.
pub(super) struct Group {
    pub(super) name: &'static str,
    pub(super) recordings: &'static [Recording],
    pub(super) alerts: &'static [Alert],
}

pub(super) const GROUPS: [Group; 4] = [
    Group { name: "memsight.series", recordings: &RECORDINGS, alerts: &[] },
    Group { name: "memsight.limits", recordings: &[], alerts: &LIMITS },
    Group { name: "memsight.growth", recordings: &[], alerts: &GROWTH },
    Group { name: "memsight.health", recordings: &[], alerts: &HEALTH },
];

const fn record(name: &'static str, expr: &'static str) -> Recording {
    Recording { name, expr }
}

const RECORDINGS: [Recording; 10] = [
    record(
        "memsight:memory_used:ratio",
        "process_resident_memory_bytes / memsight_process_limit_bytes",
    ),
    record(
        "memsight:cgroup_used:ratio",
        "container_memory_working_set_bytes / container_spec_memory_limit_bytes",
    ),
    record("memsight:resident_bytes:deriv30m", "deriv(process_resident_memory_bytes[30m])"),
    record(
        "memsight:resident_bytes:predicted",
        "predict_linear(process_resident_memory_bytes[1h], $horizon_seconds)",
    ),
    record("memsight:heap_live_bytes:deriv30m", "deriv(go_gc_heap_live_bytes[30m])"),
    record("memsight:goroutines:deriv30m", "deriv(go_goroutines[30m])"),
    record("memsight:allocated_bytes:rate5m", "rate(go_gc_heap_allocs_bytes_total[5m])"),
    record(
        "memsight:heap_fragmented:ratio",
        "go_memory_classes_heap_unused_bytes / \
         (go_memory_classes_heap_unused_bytes + go_memory_classes_heap_objects_bytes)",
    ),
    record(
        "memsight:heap_unreturned:ratio",
        "go_memory_classes_heap_free_bytes / process_resident_memory_bytes",
    ),
    record(
        "memsight:gc_cpu:ratio",
        "rate(go_cpu_classes_gc_total_cpu_seconds_total[5m]) / \
         rate(go_cpu_classes_total_cpu_seconds_total[5m])",
    ),
];

const LIMITS: [Alert; 5] = [
    Alert {
        name: "MemsightProcessNearLimit",
        expr: "memsight:memory_used:ratio > $near",
        held: "5m",
        keep_firing: "5m",
        severity: "critical",
        summary: "{{ $labels.service }} (pid {{ $labels.pid }}) uses {{ $value | humanizePercentage }} of its memory limit",
        description: "Beyond the limit the kernel kills the process.",
        next: "memsight diagnose {{ $labels.pid }} says what grows; memsight heap why says what keeps it alive",
        fires: &[
            (r#"process_resident_memory_bytes{service="shop",pid="7"}"#, "950+0x180"),
            (r#"memsight_process_limit_bytes{service="shop",pid="7"}"#, "1000+0x180"),
        ],
        quiet: &[
            (r#"process_resident_memory_bytes{service="shop",pid="7"}"#, "500+0x180"),
            (r#"memsight_process_limit_bytes{service="shop",pid="7"}"#, "1000+0x180"),
        ],
    },
    Alert {
        name: "MemsightCgroupNearLimit",
        expr: "memsight:cgroup_used:ratio > $near",
        held: "5m",
        keep_firing: "5m",
        severity: "critical",
        summary: "the cgroup {{ $labels.id }} uses {{ $value | humanizePercentage }} of its limit",
        description: "Its working set is what the kernel cannot easily drop; at the limit something in it is killed.",
        next: "memsight ps lists the processes in it; memsight rss PID says what their memory is used for",
        fires: &[
            (r#"container_memory_working_set_bytes{id="/shop"}"#, "950+0x180"),
            (r#"container_spec_memory_limit_bytes{id="/shop"}"#, "1000+0x180"),
        ],
        quiet: &[
            (r#"container_memory_working_set_bytes{id="/shop"}"#, "500+0x180"),
            (r#"container_spec_memory_limit_bytes{id="/shop"}"#, "1000+0x180"),
        ],
    },
    Alert {
        name: "MemsightLimitForecast",
        expr: "memsight:resident_bytes:predicted > memsight_process_limit_bytes \
               and memsight:resident_bytes:deriv30m > 0 and memsight:memory_used:ratio > 0.3",
        held: "15m",
        keep_firing: "15m",
        severity: "warning",
        summary: "{{ $labels.service }} (pid {{ $labels.pid }}) reaches its memory limit within $horizon",
        description: "The last hour's growth, gone on with, gives {{ $value | humanize1024 }}B.",
        next: "memsight diagnose {{ $labels.pid }} says which code allocates it",
        fires: &[
            (r#"process_resident_memory_bytes{service="shop",pid="7"}"#, "10000+1x180"),
            (r#"memsight_process_limit_bytes{service="shop",pid="7"}"#, "$forecast_limit+0x180"),
        ],
        // A saw-tooth: it falls as much as it climbs.
        quiet: &[
            (
                r#"process_resident_memory_bytes{service="shop",pid="7"}"#,
                "400+10x20 400+10x20 400+10x20 400+10x20 400+10x20 400+10x20 400+10x20 400+10x20",
            ),
            (r#"memsight_process_limit_bytes{service="shop",pid="7"}"#, "1000+0x180"),
        ],
    },
    Alert {
        name: "MemsightOOMKill",
        expr: "increase(container_oom_events_total[10m]) > 0",
        held: "0s",
        keep_firing: "15m",
        severity: "critical",
        summary: "the kernel killed a process in {{ $labels.id }}, as its memory limit was reached",
        description: "What was captured before is in memsight's store.",
        next: "the Watch page lists the captures that were taken before the kill",
        fires: &[(r#"container_oom_events_total{id="/shop"}"#, "0+0x170 1+0x9")],
        quiet: &[(r#"container_oom_events_total{id="/shop"}"#, "3+0x180")],
    },
    Alert {
        name: "MemsightMemoryPressure",
        expr: "rate(node_pressure_memory_stalled_seconds_total[5m]) > 0.05",
        held: "5m",
        keep_firing: "5m",
        severity: "warning",
        summary: "all processes wait {{ $value | humanizePercentage }} of the time for memory",
        description: "The machine reclaims memory while its programs stand still.",
        next: "memsight ps shows who uses how much",
        fires: &[("node_pressure_memory_stalled_seconds_total", "0+6x180")],
        quiet: &[("node_pressure_memory_stalled_seconds_total", "0+1x180")],
    },
];

const GROWTH: [Alert; 5] = [
    Alert {
        name: "MemsightLeak",
        expr: r#"memsight_finding{kind=~"heap-leak|goroutine-leak|native-growth"} > 0.8"#,
        held: "10m",
        keep_firing: "10m",
        severity: "warning",
        summary: "{{ $labels.service }} (pid {{ $labels.pid }}): {{ $labels.kind }}, {{ $value | humanizePercentage }} sure",
        description: "memsight's verdict has held for ten minutes.",
        next: "memsight diagnose {{ $labels.pid }} names the code; memsight heap why what keeps it alive",
        fires: &[(r#"memsight_finding{service="shop",pid="7",kind="heap-leak"}"#, "0.97+0x180")],
        quiet: &[(r#"memsight_finding{service="shop",pid="7",kind="cache-growth"}"#, "0.97+0x180")],
    },
    Alert {
        name: "MemsightGoroutinesGrow",
        expr: "memsight:goroutines:deriv30m * 7200 > go_goroutines and go_goroutines > 1000",
        held: "30m",
        keep_firing: "15m",
        severity: "warning",
        summary: "{{ $labels.service }} (pid {{ $labels.pid }}): its goroutines double within two hours",
        description: "Goroutines that never end keep their stacks and what these refer to.",
        next: "memsight goroutines {{ $labels.pid }} groups them by where they wait",
        fires: &[(r#"go_goroutines{service="shop",pid="7"}"#, "1100+0x120 1100+60x60")],
        quiet: &[(r#"go_goroutines{service="shop",pid="7"}"#, "5000+0x180")],
    },
    Alert {
        name: "MemsightFragmentation",
        expr: "memsight:heap_fragmented:ratio > 0.5 and go_memory_classes_heap_unused_bytes > 268435456",
        held: "30m",
        keep_firing: "15m",
        severity: "info",
        summary: "{{ $labels.service }} (pid {{ $labels.pid }}): {{ $value | humanizePercentage }} of its heap in use is free slots",
        description: "Spans that hold few objects cannot be given back.",
        next: "memsight heap waste {{ $labels.pid }} names the types that pin them",
        fires: &[
            (r#"go_memory_classes_heap_unused_bytes{service="shop",pid="7"}"#, "400000000+0x180"),
            (r#"go_memory_classes_heap_objects_bytes{service="shop",pid="7"}"#, "300000000+0x180"),
        ],
        quiet: &[
            (r#"go_memory_classes_heap_unused_bytes{service="shop",pid="7"}"#, "400000000+0x180"),
            (r#"go_memory_classes_heap_objects_bytes{service="shop",pid="7"}"#, "900000000+0x180"),
        ],
    },
    Alert {
        name: "MemsightUnreturnedMemory",
        expr: "memsight:heap_unreturned:ratio > 0.5 and go_memory_classes_heap_free_bytes > 536870912",
        held: "1h",
        keep_firing: "15m",
        severity: "info",
        summary: "{{ $labels.service }} (pid {{ $labels.pid }}): {{ $value | humanizePercentage }} of its memory is idle heap that was not returned",
        description: "A peak is over and the runtime keeps its memory.",
        next: "memsight rss {{ $labels.pid }} says what GOMEMLIMIT or GOGC would save",
        fires: &[
            (r#"go_memory_classes_heap_free_bytes{service="shop",pid="7"}"#, "700000000+0x180"),
            (r#"process_resident_memory_bytes{service="shop",pid="7"}"#, "900000000+0x180"),
        ],
        quiet: &[
            (r#"go_memory_classes_heap_free_bytes{service="shop",pid="7"}"#, "100000000+0x180"),
            (r#"process_resident_memory_bytes{service="shop",pid="7"}"#, "900000000+0x180"),
        ],
    },
    Alert {
        name: "MemsightGCBusy",
        expr: "memsight:gc_cpu:ratio > 0.25",
        held: "15m",
        keep_firing: "10m",
        severity: "warning",
        summary: "{{ $labels.service }} (pid {{ $labels.pid }}) spends {{ $value | humanizePercentage }} of its CPU time on garbage collection",
        description: "Near a memory limit the collector runs ever more often.",
        next: "memsight metrics {{ $labels.pid }} shows the goal and the limit; memsight top -sample_index=alloc_space who allocates",
        fires: &[
            (r#"go_cpu_classes_gc_total_cpu_seconds_total{service="shop",pid="7"}"#, "0+30x180"),
            (r#"go_cpu_classes_total_cpu_seconds_total{service="shop",pid="7"}"#, "0+60x180"),
        ],
        quiet: &[
            (r#"go_cpu_classes_gc_total_cpu_seconds_total{service="shop",pid="7"}"#, "0+3x180"),
            (r#"go_cpu_classes_total_cpu_seconds_total{service="shop",pid="7"}"#, "0+60x180"),
        ],
    },
];

const HEALTH: [Alert; 4] = [
    Alert {
        name: "MemsightAbsent",
        expr: "absent(memsight_build_info)",
        held: "10m",
        keep_firing: "0s",
        severity: "critical",
        summary: "no memsight reports",
        description: "Nothing is captured when memory runs out.",
        next: "journalctl -u memsight, or the pod's log",
        fires: &[("up", "1+0x180")],
        quiet: &[(r#"memsight_build_info{version="0.1.0"}"#, "1+0x180")],
    },
    Alert {
        name: "MemsightFails",
        expr: "increase(memsight_errors_total[15m]) > 3",
        held: "0s",
        keep_firing: "15m",
        severity: "warning",
        summary: "memsight: {{ $labels.part }} fails",
        description: "{{ $value | humanize }} times in a quarter of an hour.",
        next: "the Watch page and memsight's log say why",
        fires: &[(r#"memsight_errors_total{part="capture"}"#, "0+1x180")],
        quiet: &[(r#"memsight_errors_total{part="capture"}"#, "5+0x180")],
    },
    Alert {
        name: "MemsightRemoteWriteBehind",
        expr: "max_over_time(prometheus_remote_storage_highest_timestamp_in_seconds[5m]) \
               - ignoring(remote_name, url) group_right \
               max_over_time(prometheus_remote_storage_queue_highest_sent_timestamp_seconds[5m]) > 120",
        held: "15m",
        keep_firing: "5m",
        severity: "warning",
        summary: "remote write to {{ $labels.remote_name }} is {{ $value | humanizeDuration }} behind",
        description: "What is not sent is kept on disk up to the limit of the queue.",
        next: "memsight's log has what the receiver answers",
        fires: &[
            ("prometheus_remote_storage_highest_timestamp_in_seconds", "0+60x180"),
            (
                r#"prometheus_remote_storage_queue_highest_sent_timestamp_seconds{remote_name="a",url="b"}"#,
                "0+30x180",
            ),
        ],
        quiet: &[
            ("prometheus_remote_storage_highest_timestamp_in_seconds", "0+60x180"),
            (
                r#"prometheus_remote_storage_queue_highest_sent_timestamp_seconds{remote_name="a",url="b"}"#,
                "0+60x180",
            ),
        ],
    },
    Alert {
        name: "MemsightExpensive",
        expr: "rate(memsight_self_cpu_seconds_total[10m]) > 0.2",
        held: "20m",
        keep_firing: "10m",
        severity: "warning",
        summary: "memsight uses {{ $value | humanizePercentage }} of a core",
        description: "More than its budget should allow.",
        next: "memsight_capture_cpu_seconds_total says for what; budget: in the configuration bounds it",
        fires: &[("memsight_self_cpu_seconds_total", "0+30x180")],
        quiet: &[("memsight_self_cpu_seconds_total", "0+1x180")],
    },
];
