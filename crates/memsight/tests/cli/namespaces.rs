//! Targets in namespaces and cgroups of their own, as containers have them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Process, shop, shop_binary, stdout, wait_for_the_leak};

#[test]
fn a_program_in_its_own_mount_and_pid_namespace_is_read() {
    // Its binary lies on a file system that only it sees.
    let script = "mount -t tmpfs none /mnt && cp \"$0\" /mnt/boxed-shop && exec /mnt/boxed-shop";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script]);
    let child = command.arg(shop_binary()).stdout(Stdio::null()).spawn();
    let Ok(mut child) = child else {
        println!("skipped: no unshare(1) on this machine");
        return;
    };
    std::thread::sleep(Duration::from_secs(3));
    if child.try_wait().unwrap().is_some() {
        println!("skipped: no permission to make namespaces");
        return;
    }
    let _child = Process(child);
    assert!(!std::path::Path::new("/mnt/boxed-shop").exists());
    let list: serde_json::Value = serde_json::from_str(&stdout(&["ps", "--json"])).unwrap();
    let boxed = list.as_array().unwrap().iter().find(|p| p["exe"] == "/mnt/boxed-shop").unwrap();
    assert_eq!(boxed["readable"], "everything", "{boxed}");
    let pid = boxed["pid"].to_string();
    wait_for_the_leak(&pid);
    // main waits; a goroutine that runs at the moment would have no stack to read.
    assert!(stdout(&["goroutines", &pid, "-n", "0"]).contains("main.main"));
}

/// A cgroup that is removed when dropped; what ran in it must have ended.
struct Cgroup(PathBuf);

impl Drop for Cgroup {
    fn drop(&mut self) {
        for _ in 0..50 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A cgroup with a memory limit, version 1 or 2; `None` where there can be none.
fn limited_cgroup(bytes: u64) -> Option<Cgroup> {
    let name = format!("memsight-test-{}", std::process::id());
    for (root, file) in
        [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")]
    {
        let dir = Path::new(root).join(&name);
        if std::fs::create_dir(&dir).is_ok() {
            let cgroup = Cgroup(dir.clone());
            if std::fs::write(dir.join(file), bytes.to_string()).is_ok() {
                return Some(cgroup);
            }
        }
    }
    None
}

#[test]
fn the_limit_of_an_ancestor_cgroup_counts() {
    const LIMIT: u64 = 300 << 20;
    let Some(outer) = limited_cgroup(LIMIT) else {
        println!("skipped: no permission to make a memory cgroup");
        return;
    };
    let inner = Cgroup(outer.0.join("inner"));
    std::fs::create_dir(&inner.0).unwrap();
    let (shop, _) = shop();
    std::fs::write(inner.0.join("cgroup.procs"), shop.pid()).unwrap();
    let value: serde_json::Value =
        serde_json::from_str(&stdout(&["runtime", &shop.pid(), "--json"])).unwrap();
    assert_eq!(value["figures"]["limit_bytes"], LIMIT);
    assert!(value["figures"]["cgroup_usage_bytes"].as_u64().is_some());
    let text = stdout(&["diagnose", &shop.pid(), "--for", "25s"]);
    assert!(text.contains("the cgroup's limit of 300 MiB"), "{text}");
    drop(shop);
    drop(inner);
    drop(outer);
}
