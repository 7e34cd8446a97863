//! Outputs of one small profile.

use analyze::report::{CallTree, Select, Stacks};
use model::profile::Location;
use model::{Function, FunctionId, Line, LocationId, Profile};

use super::report::{Options, peek_text, top_csv, top_json, top_markdown, top_text, tree_text};
use super::{firefox, flame, folded, msf, samples, speedscope};

fn example() -> Profile {
    let mut profile = Profile::new(&[("inuse_space", "bytes")]);
    for (index, name) in ["main.main", "main.<leak>;x", "main.rest"].iter().enumerate() {
        let name = profile.strings.intern(name);
        let filename = profile.strings.intern("main.go");
        profile.functions.push(Function { name, filename, ..Function::default() });
        let line = Line { function: FunctionId(index as u32), line: 7, column: 0 };
        profile.locations.push(Location { lines: vec![line], ..Location::default() });
    }
    profile.push_sample(&[LocationId(1), LocationId(0)], &[3 << 20], &[]);
    profile.push_sample(&[LocationId(2), LocationId(0)], &[1 << 20], &[]);
    profile
}

fn stacks() -> Stacks {
    Stacks::of(&example(), &Select::default()).unwrap()
}

const ALL: Options = Options { rows: 0, by_cumulative: false };

#[test]
fn tables() {
    let expected = "\
inuse_space: 4.00 MiB in all
    flat  flat%    sum%       cum    cum%  function       file
3.00 MiB  75.0%   75.0%  3.00 MiB   75.0%  main.<leak>;x  main.go
1.00 MiB  25.0%  100.0%  1.00 MiB   25.0%  main.rest      main.go
     0 B   0.0%  100.0%  4.00 MiB  100.0%  main.main      main.go
";
    assert_eq!(top_text(&stacks(), ALL), expected);
    let csv = top_csv(&stacks(), ALL);
    assert!(csv.contains("3145728,75.0%,75.0%,3145728,75.0%,main.<leak>;x,main.go\n"), "{csv}");
    let tree = tree_text(&stacks(), ALL);
    assert!(tree.contains("3.00 MiB     <- main.main\n"), "{tree}");
}

#[test]
fn folded_and_speedscope() {
    let expected = "main.main;main.<leak>:x 3145728\nmain.main;main.rest 1048576\n";
    assert_eq!(folded::write(&stacks()), expected);
    let value = speedscope::value(&[stacks(), stacks()], 1, "x");
    assert_eq!(value["activeProfileIndex"], 1);
    assert_eq!(value["shared"]["frames"].as_array().unwrap().len(), 3, "shared by both");
    assert_eq!(value["profiles"][1]["weights"], serde_json::json!([3 << 20, 1 << 20]));
    assert_eq!(value["profiles"][1]["samples"], serde_json::json!([[0, 1], [0, 2]]));
    assert_eq!(value["profiles"][1]["unit"], "bytes");
}

#[test]
fn msf_has_the_documented_layout() {
    let mut stacks = stacks();
    let tree = CallTree::build(&mut stacks, 100);
    let bytes = msf::write(&stacks, &tree);
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let float = |at: usize| f64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    assert_eq!(&bytes[..4], b"MSF1");
    let (nodes, strings, text) = (word(8) as usize, word(12) as usize, word(16) as usize);
    assert_eq!((word(4), nodes, word(20)), (1, 4, 0));
    assert_eq!(float(24), f64::from(4 << 20));
    assert_eq!([word(40), word(44), word(48), word(52)], [u32::MAX, 0, 1, 1]);
    let floats = (40 + nodes * 16).next_multiple_of(8);
    assert_eq!(float(floats + nodes * 8), f64::from(4 << 20));
    assert_eq!(bytes.len(), floats + nodes * 16 + strings * 4 + text);
}

#[test]
fn pictures_escape_names() {
    let mut stacks = stacks();
    let tree = CallTree::build(&mut stacks, 100);
    let view = flame::View::default();
    let svg = flame::svg(&stacks, &tree, "a <b>", view);
    assert!(svg.contains("main.&lt;leak&gt;;x") && svg.contains("a &lt;b&gt;"));
    assert_eq!(frames(&svg).len(), 4);
    let html = flame::html(&stacks, &tree, "</script><b>", view);
    assert_eq!(html.matches("</script>").count(), 2);
    assert!(!html.contains("{{"), "every placeholder is filled");
}

/// A frame of a picture.
#[derive(Debug)]
struct Drawn {
    name: String,
    left: f64,
    width: f64,
    y: f64,
    colour: String,
}

fn frames(svg: &str) -> Vec<Drawn> {
    let attribute = |text: &str, name: &str| -> String {
        let (_, rest) = text.split_once(&format!(" {name}=\"")).unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    svg.split("<g class=\"f\"")
        .skip(1)
        .map(|line| {
            let (_, title) = line.split_once("<title>").unwrap();
            let number = |name: &str| attribute(line, name).parse::<f64>();
            let (group, rect) = line.split_once("<rect").unwrap();
            Drawn {
                name: title.split(['\n', '<']).next().unwrap().to_owned(),
                left: attribute(group, "data-x").parse().unwrap(),
                width: number("data-w").unwrap(),
                y: attribute(rect, "y").parse().unwrap(),
                colour: attribute(rect, "fill"),
            }
        })
        .collect()
}

/// A picture of stacks written root first, with value and base.
fn picture(stacks: &[(&str, i64, i64)], is_diff: bool, view: flame::View) -> Vec<Drawn> {
    let fold = |side: fn(&(&str, i64, i64)) -> i64| {
        let line = |row: &(&str, i64, i64)| format!("{} {}\n", row.0, side(row));
        profile_of(&stacks.iter().map(line).collect::<String>())
    };
    let (new, old) = (fold(|row| row.1), fold(|row| row.2));
    let mut stacks = match is_diff {
        true => Stacks::diff(&new, &old, &Select::default()).unwrap(),
        false => Stacks::of(&new, &Select::default()).unwrap(),
    };
    let tree = CallTree::build(&mut stacks, 1000);
    frames(&flame::svg(&stacks, &tree, "x", view))
}

/// A profile of folded stacks.
fn profile_of(folded: &str) -> Profile {
    let mut profile = Profile::new(&[("inuse_space", "bytes")]);
    let mut names: Vec<&str> = Vec::new();
    for line in folded.lines() {
        let (path, value) = line.rsplit_once(' ').unwrap();
        let mut stack = Vec::new();
        for name in path.split(';').rev() {
            let at = names.iter().position(|known| *known == name).unwrap_or_else(|| {
                let id = profile.strings.intern(name);
                let function = FunctionId(names.len() as u32);
                profile.functions.push(Function { name: id, ..Function::default() });
                let lines = vec![Line { function, line: 0, column: 0 }];
                profile.locations.push(Location { lines, ..Location::default() });
                names.push(name);
                names.len() - 1
            });
            stack.push(LocationId(at as u32));
        }
        profile.push_sample(&stack, &[value.parse().unwrap()], &[]);
    }
    profile
}

#[test]
fn frames_lie_within_their_callers_whatever_the_signs() {
    type Rows = &'static [(&'static str, i64, i64)];
    let cases: [(Rows, bool); 4] = [
        (&[("main;a", 10, 0), ("main;b", 0, 10), ("main;c", 5, 5)], true),
        (&[("main;a;x", -8, 3), ("main;a;y", 8, -2), ("main;b", -1, -1)], true),
        (&[("main;a", -4, 0), ("main;b;c", 6, 0), ("main;b;d", -6, 0)], false),
        (&[("main;a", i64::MIN, 0), ("main;b", i64::MAX, i64::MIN)], true),
    ];
    for (stacks, is_diff) in cases {
        let all = picture(stacks, is_diff, flame::View::default());
        let row = |y: f64| all.iter().filter(move |frame| frame.y == y).collect::<Vec<_>>();
        for frame in &all {
            assert!(frame.left >= 0.0 && frame.left + frame.width <= 1180.01, "{frame:?}");
            let inside = |other: &&&Drawn| {
                other.left >= frame.left - 0.01 && other.left < frame.left + frame.width - 0.01
            };
            let below = row(frame.y + 17.0);
            let sum: f64 = below.iter().filter(inside).map(|other| other.width).sum();
            assert!(sum <= frame.width + 0.01, "{sum} in {frame:?}");
            let beside = row(frame.y);
            assert_eq!(beside.iter().filter(inside).count(), 1, "nothing overlaps {frame:?}");
        }
    }
}

#[test]
fn colours_tell_growth_from_shrinking() {
    let stacks = [("main;more", 9, 1), ("main;less", 1, 9), ("main;same", 4, 4)];
    let all = picture(&stacks, true, flame::View::default());
    let colour = |name: &str| all.iter().find(|f| f.name == name).unwrap().colour.clone();
    assert!(colour("more").starts_with("hsl(5,"));
    assert!(colour("less").starts_with("hsl(215,") && colour("less") != colour("same"));
    assert_eq!(colour("same"), "hsl(215,8%,88%)");
    assert_eq!(colour("main"), colour("same"), "what came and went is even");
    // Less of a negative value is more.
    let all = picture(&[("main;a", -1, -9), ("main;b", -9, -1)], true, flame::View::default());
    assert!(all.iter().find(|f| f.name == "a").unwrap().colour.starts_with("hsl(5,"));
    assert!(all.iter().find(|f| f.name == "b").unwrap().colour.starts_with("hsl(215,"));
    // Without a base, values that are negative themselves.
    let all = picture(&[("main;a", -5, 0), ("main;b", 5, 0)], false, flame::View::default());
    assert!(all.iter().find(|f| f.name == "a").unwrap().colour.starts_with("hsl(215,"));
}

#[test]
fn inverted_pictures_stand_on_their_root() {
    let stacks = [("main;a;b", 2, 0), ("main;c", 1, 0)];
    let y = |view| -> Vec<f64> { picture(&stacks, false, view).iter().map(|f| f.y).collect() };
    let icicle = y(flame::View::default());
    let flame = y(flame::View { inverted: true, reverse: false });
    assert!(icicle[0] < icicle[1] && flame[0] > flame[1]);
    let highest = |rows: &[f64]| rows.iter().copied().fold(f64::MAX, f64::min);
    assert_eq!(highest(&icicle), highest(&flame), "both use the same rows");
}

#[test]
fn sampled_heaps_show_their_error() {
    let mut heap = Profile::new(&[("inuse_objects", "count"), ("inuse_space", "bytes")]);
    let period_type = heap.value_type("space", "bytes");
    (heap.period_type, heap.period) = (Some(period_type), 1 << 19);
    let name = heap.strings.intern("main.F[go.shape.int]");
    heap.functions.push(Function { name, ..Function::default() });
    let lines = vec![Line { function: FunctionId(0), line: 1, column: 0 }];
    heap.locations.push(Location { lines, ..Location::default() });
    // 25 samples of 64 bytes: 25 / (1 - exp(-64 / 2^19)) = 204813 objects.
    heap.push_sample(&[LocationId(0)], &[204_813, 204_813 * 64], &[]);
    let mut stacks = Stacks::of(&heap, &Select::default()).unwrap();
    stacks.read(&analyze::report::Reading::default());
    let expected = "\
inuse_space: 12.5 MiB ±20 % in all, sampled every 512 KiB
    flat      ±   flat%    sum%       cum      ±    cum%  function     file
12.5 MiB  ±20 %  100.0%  100.0%  12.5 MiB  ±20 %  100.0%  main.F[...]
";
    assert_eq!(top_text(&stacks, ALL), expected);
    let csv = "flat,flat_error,flat%,sum%,cum,cum_error,cum%,function,file\n\
               13108032,0.2000,100.0%,100.0%,13108032,0.2000,100.0%,main.F[...],\n";
    assert_eq!(top_csv(&stacks, ALL), csv);
    let json = top_json(&stacks, ALL);
    let error = json["rows"][0]["flat_error"].as_f64().unwrap();
    assert!((error - 0.2).abs() < 1e-3 && json["sampled_every_bytes"] == 1 << 19);
    assert!(top_markdown(&stacks, ALL).contains("| 12.5 MiB | ±20 % | 100.0% |"));
    assert!(peek_text(&stacks, |name| name == "main.F[...]").unwrap().contains("cum ±20 %"));
    assert_eq!(peek_text(&stacks, |name| name == "nothing"), None);
    // Everything was recorded: nothing to say.
    heap.period = 1;
    let stacks = Stacks::of(&heap, &Select::default()).unwrap();
    assert!(!top_text(&stacks, ALL).contains(['±']));
    assert!(top_json(&stacks, ALL)["rows"][0].get("flat_error").is_none());
}

#[test]
fn firefox_profiles_are_consistent_tables() {
    let text = firefox::write(&[stacks(), stacks()], 1, "x", 5_000_000).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["meta"]["startTime"], 5);
    assert_eq!(value["threads"].as_array().unwrap().len(), 2);
    let thread = &value["threads"][1];
    assert_eq!(thread["samples"]["weightType"], "bytes");
    assert_eq!(thread["samples"]["weight"], serde_json::json!([3 << 20, 1 << 20]));
    for table in ["samples", "stackTable", "frameTable", "funcTable"] {
        let columns = thread[table].as_object().unwrap();
        for (name, column) in columns.iter().filter(|(_, column)| column.is_array()) {
            let length = columns["length"].as_u64().unwrap() as usize;
            assert_eq!(column.as_array().unwrap().len(), length, "{table}.{name}");
        }
    }
    // main.main calls both; the first sample's stack ends in the first callee.
    assert_eq!(thread["stackTable"]["prefix"], serde_json::json!([null, 0, 0]));
    let function = thread["frameTable"]["func"][1].as_u64().unwrap() as usize;
    let name = thread["funcTable"]["name"][function].as_u64().unwrap() as usize;
    assert_eq!(thread["stringArray"][name], "main.<leak>;x");
}

#[test]
fn whole_profiles_keep_large_numbers() {
    let mut profile = example();
    profile.samples.values[0][0] = i64::MAX;
    profile.locations[1].address = model::Addr(0x00c0_ffee);
    let value = samples::value(&profile);
    assert_eq!(value["samples"][0]["values"][0], i64::MAX.to_string());
    assert_eq!(value["samples"][1]["values"][0], 1 << 20);
    assert_eq!(value["frames"][1]["address"], "0xc0ffee");
}
