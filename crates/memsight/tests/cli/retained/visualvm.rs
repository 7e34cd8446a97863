//! What VisualVM's heap library makes of a dump.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::peers::{compile, folder, peer};

/// What VisualVM's library makes of an object.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) is_class: bool,
    pub(super) bytes: u64,
    pub(super) retained: u64,
    pub(super) before: u64,
    #[expect(dead_code, reason = "printed where a comparison fails")]
    pub(super) class: String,
}

/// Prints all objects; beside this file.
const SOURCE: &str = "../../../memsight/tests/cli/retained/Retained.java";

/// All objects as VisualVM's library sees them, by id; `None` where it cannot be had.
pub(super) fn objects(dump: &Path) -> Option<HashMap<u64, Seen>> {
    let jar = peer("visualvm")?;
    let folder = folder(&format!("visualvm-{}", dump.parent()?.file_name()?.to_str()?));
    if !compile(SOURCE, &folder, jar.to_str()?) {
        return None;
    }
    let class_path = format!("{}:{}", jar.display(), folder.display());
    let copy = folder.join("heap.hprof");
    fs::copy(dump, &copy).expect("copy of the dump");
    let list = folder.join("objects");
    let mut command = Command::new("java");
    command.args(["-Xmx1g", "-cp", &class_path, "Retained"]).arg(copy).arg(&list);
    let output = command.output().expect("java beside javac");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(list).expect("list of objects");
    let mut seen = HashMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(6, ' ').collect();
        let number = |at: usize| words[at].parse::<u64>().expect("number");
        let object = Seen {
            is_class: words[0] == "C",
            bytes: number(2),
            retained: number(3),
            before: number(4),
            class: words[5].to_owned(),
        };
        seen.insert(number(1), object);
    }
    Some(seen)
}
