//! Dashboards for Grafana (JSON model, schema 39), one for services, one for memsight itself.

use serde_json::{Value, json};

/// A dashboard.
pub struct Dashboard {
    /// File name without `.json`, and the dashboard's uid.
    pub name: &'static str,
    title: &'static str,
    description: &'static str,
    rows: &'static [Row],
    has_service: bool,
}

struct Row {
    title: &'static str,
    panels: &'static [Panel],
}

struct Panel {
    title: &'static str,
    /// Grafana's unit.
    unit: &'static str,
    description: &'static str,
    /// Expressions with their legends.
    queries: &'static [(&'static str, &'static str)],
}

const fn panel(
    title: &'static str,
    unit: &'static str,
    description: &'static str,
    queries: &'static [(&'static str, &'static str)],
) -> Panel {
    Panel { title, unit, description, queries }
}

const PROCESS: &str = r#"service=~"$service",pid=~"$pid""#;

/// All dashboards.
pub const DASHBOARDS: [Dashboard; 2] = [
    Dashboard {
        name: "memsight-services",
        title: "memsight / services",
        description: "What Go services use memory for, whether it grows, and until when it lasts.",
        rows: &SERVICES,
        has_service: true,
    },
    Dashboard {
        name: "memsight-agent",
        title: "memsight / agent",
        description: "What memsight watches, sends and costs.",
        rows: &AGENT,
        has_service: false,
    },
];

const SERVICES: [Row; 5] = [
    Row {
        title: "Limit",
        panels: &[
            panel(
                "Resident memory and its limit",
                "bytes",
                "At the limit the kernel kills.",
                &[
                    ("process_resident_memory_bytes{$P}", "{{service}} {{pid}}"),
                    ("memsight_process_limit_bytes{$P}", "limit of {{service}} {{pid}}"),
                ],
            ),
            panel(
                "Share of the limit",
                "percentunit",
                "",
                &[(
                    "process_resident_memory_bytes{$P} / memsight_process_limit_bytes{$P}",
                    "{{service}} {{pid}}",
                )],
            ),
            panel(
                "Time to the limit",
                "s",
                "memsight's forecast, where something grows.",
                &[
                    ("memsight_time_to_limit_seconds{$P}", "{{service}} {{pid}} {{kind}}"),
                    ("memsight_time_to_limit_low_seconds{$P}", "at the earliest"),
                ],
            ),
        ],
    },
    Row {
        title: "Growth",
        panels: &[
            panel(
                "Verdicts",
                "percentunit",
                "How sure memsight is of each finding.",
                &[("memsight_finding{$P}", "{{service}} {{pid}} {{kind}}")],
            ),
            panel(
                "Growth behind the verdicts",
                "Bps",
                "",
                &[("memsight_growth_bytes_per_second{$P}", "{{service}} {{pid}} {{kind}}")],
            ),
            panel(
                "Sites that grow",
                "percentunit",
                "Share of the growth by function.",
                &[("memsight_growth_site_share{$P}", "{{site}}")],
            ),
        ],
    },
    Row {
        title: "Heap",
        panels: &[
            panel(
                "Heap",
                "bytes",
                "Live after the last collection, goal of the next, limit of the runtime.",
                &[
                    ("go_gc_heap_live_bytes{$P}", "live {{service}} {{pid}}"),
                    ("go_gc_heap_goal_bytes{$P}", "goal {{service}} {{pid}}"),
                    ("go_gc_gomemlimit_bytes{$P} < 2^60", "GOMEMLIMIT {{service}} {{pid}}"),
                ],
            ),
            panel(
                "What the heap's memory is",
                "bytes",
                "Objects, free slots in spans in use, idle, returned.",
                &[
                    ("sum(go_memory_classes_heap_objects_bytes{$P})", "objects"),
                    ("sum(go_memory_classes_heap_unused_bytes{$P})", "free slots"),
                    ("sum(go_memory_classes_heap_free_bytes{$P})", "idle"),
                    ("sum(go_memory_classes_heap_stacks_bytes{$P})", "stacks"),
                ],
            ),
            panel(
                "Allocated",
                "Bps",
                "",
                &[("rate(go_gc_heap_allocs_bytes_total{$P}[5m])", "{{service}} {{pid}}")],
            ),
        ],
    },
    Row {
        title: "Runtime",
        panels: &[
            panel("Goroutines", "short", "", &[("go_goroutines{$P}", "{{service}} {{pid}}")]),
            panel(
                "Collections",
                "cpm",
                "Per minute.",
                &[("60 * rate(go_gc_cycles_total_gc_cycles_total{$P}[5m])", "{{service}} {{pid}}")],
            ),
            panel(
                "CPU time for collections",
                "percentunit",
                "",
                &[(
                    "rate(go_cpu_classes_gc_total_cpu_seconds_total{$P}[5m]) / \
                     rate(go_cpu_classes_total_cpu_seconds_total{$P}[5m])",
                    "{{service}} {{pid}}",
                )],
            ),
        ],
    },
    Row {
        title: "Machine",
        panels: &[
            panel(
                "Waiting for memory",
                "percentunit",
                "Share of the time in which some tasks, or all, waited for memory (PSI).",
                &[
                    ("rate(node_pressure_memory_waiting_seconds_total[5m])", "some {{instance}}"),
                    ("rate(node_pressure_memory_stalled_seconds_total[5m])", "all {{instance}}"),
                ],
            ),
            panel(
                "Pages that cost time",
                "short",
                "Per second: read again after they were evicted, from swap, and faults that had to read.",
                &[
                    ("rate(node_vmstat_workingset_refault[5m])", "refaults {{instance}}"),
                    ("rate(node_vmstat_pswpin[5m])", "swapped in {{instance}}"),
                    ("rate(node_vmstat_pgmajfault[5m])", "major faults {{instance}}"),
                ],
            ),
            panel(
                "Allocations that freed memory first",
                "short",
                "Per second, and kills.",
                &[
                    ("rate(node_vmstat_allocstall[5m])", "stalls {{instance}}"),
                    ("increase(node_vmstat_oom_kill[10m])", "kills in 10 minutes {{instance}}"),
                ],
            ),
        ],
    },
];

const AGENT: [Row; 2] = [
    Row {
        title: "Watch",
        panels: &[
            panel("Targets", "short", "", &[("memsight_targets", "{{instance}}")]),
            panel(
                "Captures",
                "cpm",
                "Per minute.",
                &[("60 * sum by (kind) (rate(memsight_captures_total[10m]))", "{{kind}}")],
            ),
            panel(
                "Errors",
                "cpm",
                "Per minute.",
                &[("60 * sum by (part) (rate(memsight_errors_total[10m]))", "{{part}}")],
            ),
        ],
    },
    Row {
        title: "Cost",
        panels: &[
            panel(
                "CPU",
                "percentunit",
                "Of one core.",
                &[("rate(memsight_self_cpu_seconds_total[5m])", "{{instance}}")],
            ),
            panel(
                "Memory",
                "bytes",
                "",
                &[("memsight_self_resident_memory_bytes", "{{instance}}")],
            ),
            panel("Store", "bytes", "", &[("memsight_store_bytes", "captures")]),
        ],
    },
];

const WIDTH: usize = 24;
const HEIGHT: usize = 8;

/// The dashboard's JSON, to be imported or provisioned.
pub fn dashboard(dashboard: &Dashboard) -> Value {
    let (mut panels, mut y, mut id) = (Vec::new(), 0, 0);
    for row in dashboard.rows {
        id += 1;
        panels.push(json!({
            "id": id, "type": "row", "title": row.title, "collapsed": false, "panels": [],
            "gridPos": { "h": 1, "w": WIDTH, "x": 0, "y": y },
        }));
        let width = WIDTH / row.panels.len().max(1);
        for (column, panel) in row.panels.iter().enumerate() {
            id += 1;
            let place = json!({ "h": HEIGHT, "w": width, "x": column * width, "y": y + 1 });
            panels.push(drawn(panel, id, &place));
        }
        y += 1 + HEIGHT;
    }
    json!({
        "uid": dashboard.name,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["memsight", "go", "memory"],
        "editable": true,
        "graphTooltip": 1,
        "schemaVersion": 39,
        "version": 1,
        "refresh": "30s",
        "time": { "from": "now-3h", "to": "now" },
        "templating": { "list": variables(dashboard.has_service) },
        "panels": panels,
    })
}

fn drawn(panel: &Panel, id: usize, place: &Value) -> Value {
    let source = json!({ "type": "prometheus", "uid": "${datasource}" });
    let queries = panel.queries.iter().enumerate().map(|(index, (expr, legend))| {
        let letter = char::from(b'A' + u8::try_from(index).unwrap_or(25));
        json!({
            "refId": letter.to_string(), "datasource": source, "expr": query(expr),
            "legendFormat": legend, "editorMode": "code", "range": true,
        })
    });
    json!({
        "id": id,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": source,
        "gridPos": place,
        "targets": queries.collect::<Vec<_>>(),
        "fieldConfig": { "defaults": { "unit": panel.unit, "min": 0 }, "overrides": [] },
        "options": { "legend": { "displayMode": "list" }, "tooltip": { "mode": "multi" } },
    })
}

fn query(expr: &str) -> String {
    expr.replace("$P", PROCESS)
}

fn variables(has_service: bool) -> Vec<Value> {
    let mut variables = vec![json!({
        "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus",
    })];
    let of = |name: &str, label: &str, of: &str| {
        json!({
            "name": name, "label": label, "type": "query", "query": of, "refresh": 2, "sort": 1,
            "datasource": { "type": "prometheus", "uid": "${datasource}" },
            "includeAll": true, "multi": true, "allValue": ".*",
            "current": { "text": "All", "value": "$__all" },
        })
    };
    if has_service {
        let services = "label_values(memsight_target_info, service)";
        variables.push(of("service", "Service", services));
        let pids = r#"label_values(memsight_target_info{service=~"$service"}, pid)"#;
        variables.push(of("pid", "Process", pids));
    }
    variables
}
