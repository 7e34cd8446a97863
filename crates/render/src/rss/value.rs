//! What resident memory consists of, as JSON: the contract is in docs/api.md.

use analyze::rss::{Advice, Cause, returnable_bytes};
use model::Target;
use model::rss::{Rss, RssClass, RssGroup, RssKind, RssMap};
use serde_json::{Map, Value, json};

use crate::json;

/// Everything for programs.
pub fn value(target: &Target, rss: &Rss, causes: &[Cause], advice: &[Advice]) -> Value {
    let total = rss.tally.total();
    let optional = |bytes: Option<u64>| bytes.map_or(Value::Null, json::unsigned);
    let groups = RssGroup::ALL.iter().map(|group| {
        let of = rss.tally.group(*group);
        json!({
            "group": group.as_str(),
            "bytes": json::unsigned(of.bytes),
            "huge_bytes": json::unsigned(of.huge_bytes),
        })
    });
    let cgroup = &rss.cgroup;
    json!({
        "target": json::target(target),
        "time_ms": rss.time.0,
        "rss_bytes": json::unsigned(total.bytes),
        "huge_bytes": json::unsigned(total.huge_bytes),
        "status_rss_bytes": optional(rss.process.rss_bytes),
        "smaps_rss_bytes": json::unsigned(rss.smaps_bytes),
        "pss_bytes": optional(rss.process.pss_bytes),
        "swap_bytes": optional(rss.process.swap_bytes),
        "unattributed_bytes": json::unsigned(rss.tally.of(RssKind::Unattributed).bytes),
        "has_runtime": rss.has_runtime,
        "groups": groups.collect::<Vec<Value>>(),
        "kinds": RssKind::all().map(|kind| kind_value(rss, kind)).collect::<Vec<Value>>(),
        "released_bytes": json::unsigned(rss.released_bytes),
        "lazy_free_bytes": json::unsigned(rss.lazy_free_bytes),
        "goroutines": rss.stacks.map(|stacks| json!({
            "count": stacks.goroutines,
            "stack_bytes": json::unsigned(stacks.bytes),
            "largest_stack_bytes": json::unsigned(stacks.largest_bytes),
        })),
        "threads": rss.threads,
        "malloc_arenas": rss.malloc_arenas,
        "transparent_huge_pages": {
            "enabled": rss.huge_pages.enabled,
            "max_ptes_none": rss.huge_pages.max_ptes_none,
        },
        "size_classes": rss.classes.iter().map(class_value).collect::<Vec<Value>>(),
        "maps": rss.maps.iter().map(map_value).collect::<Vec<Value>>(),
        "cgroup": {
            "usage_bytes": optional(cgroup.usage_bytes),
            "limit_bytes": optional(cgroup.limit_bytes),
            "page_cache_bytes": optional(cgroup.file_bytes),
            "kernel_bytes": optional(cgroup.kernel_bytes),
            "slab_bytes": optional(cgroup.slab_bytes),
            "sock_bytes": optional(cgroup.sock_bytes),
            "kernel_stack_bytes": optional(cgroup.kernel_stack_bytes),
            "page_table_bytes": optional(cgroup.page_table_bytes),
        },
        "page_table_bytes": optional(rss.process.page_table_bytes),
        "causes": causes.iter().map(cause_value).collect::<Vec<Value>>(),
        "advice": advice.iter().map(advice_value).collect::<Vec<Value>>(),
        "cpu_micros": rss.cost_micros,
        "warnings": rss.warnings,
    })
}

fn kind_value(rss: &Rss, kind: RssKind) -> Value {
    let of = rss.tally.of(kind);
    json!({
        "kind": kind.as_str(),
        "group": kind.group().as_str(),
        "label": kind.label(),
        "bytes": json::unsigned(of.bytes),
        "huge_bytes": json::unsigned(of.huge_bytes),
    })
}

fn class_value(class: &RssClass) -> Value {
    json!({
        "slot_bytes": class.slot_bytes,
        "has_pointers": !class.is_noscan,
        "spans": class.spans,
        "span_bytes": json::unsigned(class.span_bytes),
        "marked_bytes": json::unsigned(class.marked_bytes),
        "new_bytes": json::unsigned(class.new_bytes),
        "dead_bytes": json::unsigned(class.dead_bytes),
        "free_bytes": json::unsigned(class.free_bytes),
        "tail_bytes": json::unsigned(class.tail_bytes),
        "slots": class.slots,
        "objects": class.objects,
        "sparse_spans": class.sparse_spans,
        "sparse_span_bytes": json::unsigned(class.sparse_bytes),
        "sparse_objects": class.sparse_objects,
        "returnable_bytes": json::unsigned(returnable_bytes(class)),
    })
}

fn map_value(map: &RssMap) -> Value {
    let kinds = RssKind::all().filter(|kind| map.tally.of(*kind).bytes > 0);
    let kinds: Map<String, Value> = kinds
        .map(|kind| (kind.as_str().to_owned(), json::unsigned(map.tally.of(kind).bytes)))
        .collect();
    json!({
        "start": format!("{:#x}", map.range.start),
        "end": format!("{:#x}", map.range.end),
        "permissions": map.permissions,
        "path": map.path,
        "rss_bytes": json::unsigned(map.tally.total().bytes),
        "huge_bytes": json::unsigned(map.tally.total().huge_bytes),
        "swap_bytes": json::unsigned(map.swap_bytes),
        "kinds": kinds,
    })
}

fn cause_value(cause: &Cause) -> Value {
    json!({
        "cause": cause.kind.as_str(),
        "bytes": json::unsigned(cause.bytes),
        "meaning": cause.kind.meaning(),
        "detail": cause.detail,
        "next": cause.kind.next(),
    })
}

fn advice_value(advice: &Advice) -> Value {
    json!({
        "setting": advice.setting,
        "reason": advice.reason,
        "saves_bytes": {
            "low": json::unsigned(advice.saves.0),
            "high": json::unsigned(advice.saves.1),
        },
        "risk": advice.risk,
    })
}
