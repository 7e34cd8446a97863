//! Outputs of one small profile.

use analyze::report::{CallTree, Select, Stacks};
use model::profile::Location;
use model::{Function, FunctionId, Line, LocationId, Profile};

use super::report::{Options, top_csv, top_text, tree_text};
use super::{flame, folded, msf, speedscope};

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
    let value = speedscope::value(&stacks(), "x");
    assert_eq!(value["profiles"][0]["weights"], serde_json::json!([3 << 20, 1 << 20]));
    assert_eq!(value["profiles"][0]["unit"], "bytes");
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
    let svg = flame::svg(&stacks, &tree, "a <b>");
    assert!(svg.contains("main.&lt;leak&gt;;x") && svg.contains("a &lt;b&gt;"));
    assert_eq!(svg.matches("<rect").count(), 1 + 4);
    let html = flame::html(&stacks, &tree, "</script><b>");
    assert_eq!(html.matches("</script>").count(), 2);
}
