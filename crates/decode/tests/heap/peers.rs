//! Programs that are not ours: the JDK, VisualVM's heap library, hprof-slurp, hprof-analyzer.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder of this test's own.
pub(crate) fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hprof").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("folder");
    folder
}

/// The path of a peer that `scripts/heap-peers` can have. Those that take minutes to build
/// count only where they are installed.
pub(crate) fn peer(name: &str) -> Option<PathBuf> {
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/memsight/peers"));
    let root = std::env::var_os("MEMSIGHT_PEERS").map(PathBuf::from).or_else(home)?;
    if matches!(name, "hprof-analyzer" | "hprof-slurp") && !root.join("bin").join(name).exists() {
        println!("skipped: {name} is not installed; scripts/heap-peers {name} installs it");
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/heap-peers");
    let output = Command::new(script).arg(name).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let path = text.lines().find_map(|line| line.split_once(' ')).map(|found| found.1.into());
    if path.is_none() {
        println!("skipped: {name} cannot be had");
    }
    path
}

/// Compiles a program that lies beside this file.
pub(crate) fn compile(name: &str, into: &Path, class_path: &str) -> bool {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../decode/tests/heap").join(name);
    let mut command = Command::new("javac");
    command.args(["-nowarn", "-cp", class_path, "-d"]).arg(into).arg(source);
    match command.output() {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            true
        }
        Err(_) => {
            println!("skipped: javac is missing");
            false
        }
    }
}

/// Objects and bytes of each class.
pub(crate) type Histogram = HashMap<String, (u64, u64)>;

/// A dump of the test program, with the histograms before and after.
pub(crate) struct JavaDump {
    pub(crate) file: PathBuf,
    pub(crate) histograms: [Histogram; 2],
}

/// Runs the test program; `None` where there is no JDK.
pub(crate) fn java_dump(name: &str, options: &[&str]) -> Option<JavaDump> {
    let folder = folder(name);
    if !compile("Make.java", &folder, ".") {
        return None;
    }
    let file = folder.join("heap.hprof");
    let mut command = Command::new("java");
    command.arg("-Xmx200m").args(options).arg("-cp").arg(&folder);
    command.arg("Make").arg(&file).arg("9000");
    let output = command.output().expect("java beside javac");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut histograms = text.split("class name").skip(1).map(histogram);
    let histograms = [(); 2].map(|()| histograms.next().expect("two histograms"));
    Some(JavaDump { file, histograms })
}

fn histogram(text: &str) -> Histogram {
    let mut found = Histogram::new();
    for line in text.lines() {
        let mut words = line.split_whitespace().skip(1);
        let numbers = (words.next(), words.next());
        let (Some(objects), Some(bytes)) = numbers else { continue };
        let (Ok(objects), Ok(bytes)) = (objects.parse::<u64>(), bytes.parse::<u64>()) else {
            continue;
        };
        let Some(name) = words.next() else { continue };
        let entry = found.entry(java_name(name)).or_default();
        *entry = (entry.0 + objects, entry.1 + bytes);
    }
    found
}

/// `[Ljava.lang.String;` as Java writes it. Names of hidden classes differ in one sign.
fn java_name(name: &str) -> String {
    let dimensions = name.bytes().take_while(|byte| *byte == b'[').count();
    let element = &name[dimensions..];
    let element = match element {
        _ if dimensions == 0 => element,
        "Z" => "boolean",
        "C" => "char",
        "F" => "float",
        "D" => "double",
        "B" => "byte",
        "S" => "short",
        "I" => "int",
        "J" => "long",
        _ => &element[1..element.len() - 1],
    };
    element.replace("/0x", "+0x") + &"[]".repeat(dimensions)
}
