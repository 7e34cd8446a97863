//! Targets in other mount and pid namespaces, as containers have them.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Process, shop_binary, stdout};

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
    assert!(stdout(&["top", &pid, "-n", "0"]).contains("shop/session.(*Registry).Track"));
    assert!(stdout(&["goroutines", &pid]).contains("main.load"));
}
