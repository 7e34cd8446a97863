//! Queries: answers against what was worked out otherwise, and errors with their place.

use model::heap::{Contents, HeapGraph, HolderKind, TypeKind};

use super::{Chance, Drawing, random_graph};
use crate::heap::Dominators;
use crate::heap::histogram::{Grouping, histogram};
use crate::heap::query::{Answer, QueryError, QueryOptions, Value, query};

fn ask(graph: &HeapGraph<'_>, text: &str) -> Result<Answer, QueryError> {
    query(graph, &Dominators::of(graph), text, &QueryOptions::default())
}

/// The rows as text, cells apart by a blank and a bar.
fn check(graph: &HeapGraph<'_>, text: &str, expected: &[&str]) {
    let answer = ask(graph, text).unwrap();
    let rows: Vec<String> = answer
        .rows
        .iter()
        .map(|row| row.iter().map(Value::to_string).collect::<Vec<_>>().join(" | "))
        .collect();
    assert_eq!(rows, expected, "{text}");
}

/// Three orders of which two are in a cache, with a note each; contents are kept.
fn shop() -> HeapGraph<'static> {
    let mut drawing = Drawing::new();
    let order = drawing.type_of(
        "main.Order",
        40,
        &[(0, "note", None), (16, "next", None), (24, "id", None), (32, "open", None)],
    );
    let text = drawing.type_of("string", 1, &[]);
    drawing.graph.types.last_mut().unwrap().kind = TypeKind::Text;
    for _ in 0..3 {
        drawing.object(order, 40);
    }
    for _ in 3..6 {
        drawing.object(text, 16);
    }
    for order in 0..3 {
        drawing.point_at(order, 0, order + 3);
    }
    drawing.point_at(0, 2, 1);
    drawing.holder(HolderKind::Global, "main.cache", &[0]);
    let mut bytes = Vec::new();
    for order in 0..3_u64 {
        // note: pointer, length; next; id; open.
        for word in [0x1078 + order * 16, 2 + order, 0, order * 1000 + 7, order % 2] {
            bytes.extend(word.to_le_bytes());
        }
    }
    for note in ["ok", "new", "late"] {
        bytes.extend(note.bytes().chain(std::iter::repeat(0)).take(16));
    }
    drawing.graph.contents = Contents {
        object: (0..6).collect::<Vec<u32>>().into(),
        start: vec![0, 40, 80, 120, 136, 152, 168].into(),
        bytes: bytes.into(),
    };
    drawing.done()
}

#[test]
fn columns_and_fields() {
    let graph = shop();
    check(
        &graph,
        "select address, type, bytes, retained, reachable, depth, refs, referrers from objects \
         where type = 'main.Order'",
        &[
            "0x1000 | main.Order | 40 | 112 | true | 1 | 2 | 1",
            "0x1028 | main.Order | 40 | 56 | true | 2 | 1 | 1",
            "0x1050 | main.Order | 40 | 0 | false | null | 1 | 0",
        ],
    );
    check(
        &graph,
        "SELECT .id, .note, .next, .open, .none FROM objects WHERE .id > 5",
        &["7 | ok | 0x1028 | 0 | null", "1007 | new | 0 | 1 | null", "2007 | late | 0 | 0 | null"],
    );
    check(
        &graph,
        "select root, dominator, dominator_type, package, kind from objects where address = 0x1028",
        &["main.cache (global) | main.Order 0x1000 | main.Order | main | struct"],
    );
    check(&graph, "select * from objects limit 1", &["0x1000 | main.Order | 40 | 112"]);
}

#[test]
fn operators() {
    let graph = shop();
    let check_where = |filter: &str, expected: &[&str]| {
        check(
            &graph,
            &format!("select .id from objects where kind = 'struct' and ({filter})"),
            expected,
        );
    };
    check_where(".id in (7, 2007)", &["7", "2007"]);
    check_where(".id not in (7, 2007)", &["1007"]);
    check_where("not (.id = 7 or .note ~ '^l')", &["1007"]);
    check_where(".note !~ \"e\" ", &["7"]);
    check_where(".none is null and .note is not null and .id >= 1k - 17", &["1007", "2007"]);
    check_where(".none = 1 or true", &["7", "1007", "2007"]);
    check_where(".none = 1", &[]);
    check_where("not .none = 1", &[]);
    check_where("bytes * 2 + 1 = 81 and -.id < -2000 and 7 / 2 > 3.4 and 7 % 4 = 3", &["2007"]);
    check_where("bytes / 0 is null and bytes < 1.5kb", &["7", "1007", "2007"]);
    check(
        &graph,
        "select 'it''s', \"a\\\"b\", 0x10, 1MiB from objects limit 1",
        &["it's | a\"b | 16 | 1048576"],
    );
}

#[test]
fn groups_and_order() {
    let graph = shop();
    check(
        &graph,
        "select type, count(*), sum(bytes), sum(retained), retained(*), max(.id), avg(bytes) \
         from objects group by type order by 3 desc limit 20;",
        &[
            "main.Order | 3 | 120 | 168 | 112 | 2007 | 40.000",
            "string | 3 | 48 | 32 | 32 | null | 16.000",
        ],
    );
    check(
        &graph,
        "select reachable as live, count(*) as n from objects group by live having n > 2 order by n",
        &["false | 2", "true | 4"][1..],
    );
    check(&graph, "select count(*), min(bytes), sum(.id) from objects", &["6 | 16 | 3021"]);
    check(&graph, "select count(*), sum(bytes) from objects where bytes > 99", &["0 | null"]);
    check(
        &graph,
        "select .id from objects where .id > 0 order by .open desc, .id desc",
        &["1007", "2007", "7"],
    );
    check(
        &graph,
        "select bytes / 8, count(*) from objects group by 1 order by 1",
        &["2.000 | 3", "5.000 | 3"],
    );
}

#[test]
fn random_sums_are_those_of_the_histogram() {
    let mut chance = Chance(271_828);
    for _ in 0..300 {
        let graph = random_graph(&mut chance, 40);
        let dominators = Dominators::of(&graph);
        let mut expected: Vec<String> = histogram(&graph, &dominators, Grouping::Type)
            .into_iter()
            .filter(|row| row.live.objects > 0)
            .map(|row| {
                let (live, retained) = (row.live, row.retained.bytes);
                format!("{} {} {} {retained}", row.name, live.objects, live.bytes)
            })
            .collect();
        expected.sort();
        let text = "select type, count(*), sum(bytes), retained(*) from objects \
                    where reachable group by type order by type";
        let answer = ask(&graph, text).unwrap();
        let rows: Vec<String> = answer
            .rows
            .iter()
            .map(|row| row.iter().map(Value::to_string).collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(rows, expected);
    }
}

#[test]
fn answers_are_bounded() {
    let mut drawing = Drawing::new();
    drawing.objects(5000);
    let graph = drawing.done();
    let dominators = Dominators::of(&graph);
    let options = QueryOptions { rows_max: 10, groups_max: 10 };
    let run = |text| query(&graph, &dominators, text, &options);
    let answer = run("select address from objects order by address desc").unwrap();
    assert_eq!((answer.rows.len(), answer.is_cut), (10, true));
    assert!(answer.rows.is_sorted_by(|a, b| a[0].to_string() > b[0].to_string()));
    let last = 0x1000 + graph_bytes(&graph) - graph.objects.bytes(model::heap::ObjectId(4999));
    assert_eq!(answer.rows[0][0], Value::Address(last));
    let cut = run("select address from objects").unwrap();
    assert_eq!((cut.rows.len(), cut.is_cut), (10, true));
    let all = run("select address from objects limit 10").unwrap();
    assert_eq!((all.rows.len(), all.is_cut), (10, false));
    assert_eq!(run("select address from objects order by 1 limit 0").unwrap().rows.len(), 0);
    let error = run("select address, count(*) from objects group by address").unwrap_err();
    assert_eq!(error.what, "more than 10 groups");
}

fn graph_bytes(graph: &HeapGraph<'_>) -> u64 {
    let mut sum = 0;
    graph.objects.each_size(|_, bytes| sum += bytes);
    sum
}

#[test]
fn errors_say_where() {
    let graph = shop();
    let check = |text: &str, expected: &str| {
        assert_eq!(
            ask(&graph, text).unwrap_err().to_string(),
            format!("query, {expected}"),
            "{text}"
        );
    };
    check("", "column 1: expected `select`");
    check("select retaned from objects", "column 8: no column `retaned`; did you mean `retained`?");
    check("select bytes from heap", "column 19: the only table is `objects`");
    check("select bytes from objects where", "column 32: expected a column, a field or a value");
    check("select bytes from objects where type ~ 5", "column 40: a pattern in quotes must follow");
    check("select cuont(*) from objects", "column 8: no function `cuont`; did you mean `count`?");
    check("select sum(*) from objects", "column 12: sum takes a column");
    check(
        "select type, count(*) from objects",
        "column 8: `type` is neither grouped by nor summed up",
    );
    check(
        "select type from objects where count(*) > 1",
        "column 32: `where` works on single objects, not on sums",
    );
    check("select type from objects order by 4", "column 35: there is no column 4, only 1");
    check("select 'abc from objects", "column 8: the text has no closing quote");
    check("select 12q from objects", "column 8: `12q` is no number");
    check("select type from objects limit x", "column 32: limit takes a number");
    check("select type from objects nonsense", "column 26: expected the end of the query");
    check("select type § from objects", "column 13: unexpected character `§`");
    let error = ask(&graph, "select type from objects\nwhere type ~ '('").unwrap_err();
    assert_eq!(
        error
            .shown_in("select type from objects\nwhere type ~ '('")
            .lines()
            .skip(1)
            .collect::<Vec<_>>(),
        ["  where type ~ '('", "               ^"]
    );
}

/// Whatever is asked, the answer or the error comes at once.
#[test]
fn hostile_queries_are_refused() {
    let graph = shop();
    let deep = format!("select {}1{} from objects", "(".repeat(500), ")".repeat(500));
    let minus = format!("select {}1 from objects", "- ".repeat(5000));
    let long = format!("select {} from objects", vec!["1"; 5000].join("+"));
    let mut doubled = "select bytes + bytes as a0".to_owned();
    for index in 0..60 {
        doubled += &format!(", a{index} + a{index} as a{}", index + 1);
    }
    doubled += " from objects";
    let mut listed = "bytes".to_owned();
    for _ in 0..60 {
        listed = format!("({listed} in (1, 2))");
    }
    let listed = format!("select type from objects where {listed}");
    let patterns: Vec<String> = (0..3000).map(|index| format!("type ~ '{index}'")).collect();
    let patterns = format!("select {} from objects", patterns.join(", "));
    for text in [deep, minus, long, doubled, listed, patterns] {
        let error = ask(&graph, &text).unwrap_err();
        assert!(
            ["the query has too many parts", "the expression is nested too deeply"]
                .contains(&error.what.as_str()),
            "{error}"
        );
    }
    let large = format!("select 1 from objects -- {}", "x".repeat(1 << 17));
    assert_eq!(ask(&graph, &large).unwrap_err().what, "the query is longer than 64 KiB");
    // Every beginning of a query and every query without one character ends well too.
    let whole = "select type, count(*) as n from objects where type ~ '^m' and .a.b >= -1.5k \
                 group by type having n > 0 order by 2 desc, type limit 3";
    let mut refused = 0;
    for at in 0..whole.len() {
        refused += u32::from(ask(&graph, &whole[..at]).is_err());
        let _ = ask(&graph, &format!("{}{}", &whole[..at], &whole[at + 1..]));
    }
    assert!(refused > 50, "{refused}");
    let words = [
        "select", "from", "objects", "where", "group", "by", "order", "having", "limit", "as",
        "in", "(", ")", ",", "*", "+", "-", "~", "=", "'x'", "3", "1.5", ".id", "type", "bytes",
        "not", "is", "null", "count", "sum", "and", "or", "retained", "\u{e9}",
    ];
    let mut chance = Chance(1_234_567);
    let mut read = 0;
    for _ in 0..20_000 {
        let count = chance.below(8);
        let mut word = || words[chance.below(words.len() as u64) as usize];
        let tail: Vec<&str> = (0..count).map(|_| word()).collect();
        let first = word();
        let text = format!("select {first} from objects {}", tail.join(" "));
        read += u32::from(ask(&graph, &text).is_ok());
    }
    assert!(read > 100, "{read}");
    assert!(ask(&graph, whole).is_ok());
}
