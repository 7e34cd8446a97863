//! What hprof-analyzer makes of a dump. It tells no addresses with retained sizes and does
//! not list arrays, so the sizes of the instances of each class are compared as sorted lists.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::peers::peer;

/// Retained sizes of the instances of each class.
pub(super) type ByClass = BTreeMap<String, Vec<u64>>;

/// `None` where it is not installed.
pub(super) fn retained_by_class(dump: &Path) -> Option<ByClass> {
    let analyzer = peer("hprof-analyzer")?;
    let report = dump.with_extension("analyzer.json");
    let query = "SELECT classof(x), @usedHeapSize, @retainedHeapSize \
                 FROM INSTANCEOF java.lang.Object x";
    let mut command = Command::new(analyzer);
    command.arg(dump).arg(&report).args(["--query", query]);
    let output = command.output().expect("hprof-analyzer");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    let mut theirs = ByClass::new();
    for row in report["queries"][0]["rows"].as_array().expect("rows") {
        let class = row[0]["v"].as_str().expect("a class");
        // Classes of one type differ by size alone.
        let class = class.split(" (").next().unwrap_or(class);
        theirs.entry(class.to_owned()).or_default().push(row[2]["v"].as_u64().expect("a size"));
    }
    Some(theirs)
}

/// All of ours are among theirs; beyond those they list only what nothing reaches.
pub(super) fn compare(ours: &ByClass, mut theirs: ByClass, objects: usize) {
    let (mut compared, mut more) = (0, 0);
    for (class, sizes) in ours {
        let theirs = theirs.get_mut(class).unwrap_or_else(|| panic!("{class} is not there"));
        for size in sizes {
            let found = theirs.iter().position(|theirs| theirs == size);
            theirs.swap_remove(found.unwrap_or_else(|| panic!("{class}: nothing retains {size}")));
            compared += 1;
        }
        more += theirs.len();
    }
    println!(
        "{compared} retained sizes in {} classes are equal, {more} are theirs alone",
        ours.len()
    );
    assert!(compared * 2 > objects && ours.len() > 20 && more * 100 < compared);
}
