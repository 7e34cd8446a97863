//! Processes and their surroundings that change under the watch: a process id used again, a cgroup that
//! goes and comes back, a full disk, thousands of processes.
//!
//! `MEMSIGHT_PROCESSES` says how many processes; 1,000 without it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::agent::{Agent, wait_for};
use crate::climber::{Cgroup, build, start};
use crate::support::{Process, shop};

fn configured(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("memsight.yaml");
    let common =
        "web: {listen: '127.0.0.1:0'}\nglobal: {scrape_interval: 1s}\nlog: {format: json}\n";
    fs::write(&path, format!("{common}{text}")).unwrap();
    path
}

/// A copy of the climber under a name, which waits.
fn waiting(exe: &Path) -> Process {
    let mut command = Command::new(exe);
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    Process(command.spawn().unwrap())
}

/// The same under this process id; nothing where that cannot be had.
fn waiting_as(exe: &Path, pid: u32) -> Option<Process> {
    for _ in 0..300 {
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).ok()?;
        let process = waiting(exe);
        if process.0.id() == pid {
            return Some(process);
        }
    }
    None
}

/// Names of the targets that a process id was.
fn names(agent: &Agent, pid: u32) -> Vec<String> {
    let found = agent.logged("\"alive\":true").into_iter().filter_map(|line| {
        let line: Value = serde_json::from_str(&line).unwrap();
        (line["pid"] == pid).then(|| line["name"].as_str().unwrap().to_owned())
    });
    found.collect()
}

#[test]
fn a_process_id_that_is_used_again_is_another_target() {
    let dir = tempfile::tempdir().unwrap();
    let climb = build(dir.path());
    let exe = |name: &str| {
        let path = dir.path().join(name);
        fs::copy(&climb, &path).unwrap();
        path
    };
    let text = "targets: {watch: ['name:/first$', 'name:/second$']}\ndefault_rules: false\n";
    let mut agent = Agent::start(&configured(dir.path(), text), &[]);
    let process = waiting(&exe("first"));
    let pid = process.0.id();
    let first = agent.target(pid);
    // Looked at often enough to be known, and to be looked at again only now and then.
    let be_known = || std::thread::sleep(Duration::from_secs(11));
    be_known();
    drop(process);
    let Some(process) = waiting_as(&exe("second"), pid) else {
        println!("skipped: no process id can be used again here (/proc/sys/kernel/ns_last_pid)");
        return;
    };
    wait_for("the second", || (names(&agent, pid).len() == 2).then_some(()));
    assert_eq!(names(&agent, pid), ["first", "second"]);
    let second = wait_for("another target", || {
        let targets = agent.json("/api/v1/targets");
        let found = targets.as_array().unwrap().iter().find(|it| it["name"] == "second").cloned();
        found.filter(|it| !it["latest"]["rss_bytes"].is_null()).and_then(|it| it["id"].as_i64())
    });
    assert_ne!(first, second);
    be_known();
    drop(process);
    // One that nobody asked for is left alone.
    let process = waiting_as(&exe("third"), pid);
    wait_for("the end of the second", || {
        (agent.logged("\"alive\":false").len() == 2).then_some(())
    });
    std::thread::sleep(Duration::from_secs(7));
    assert_eq!(names(&agent, pid), ["first", "second"], "{:#?}", agent.logged(""));
    assert_eq!(agent.logged("\"alive\":false").len(), 2);
    assert_eq!(agent.logged("\"event\":\"warning\""), [""; 0]);
    drop(process);
    agent.end();
}

/// Discovery has its turn every three seconds: of these about half would never be seen.
#[test]
fn named_programs_that_live_for_a_moment_are_targets() {
    let dir = tempfile::tempdir().unwrap();
    let exe = dir.path().join("brief");
    fs::rename(build(dir.path()), &exe).unwrap();
    let text = "targets: {watch: ['name:/brief$']}\ndefault_rules: false\n";
    let mut agent = Agent::start(&configured(dir.path(), text), &[]);
    let seen = wait_for("the probe", || {
        let processes = agent.json("/api/v1/processes/timeline");
        let is_tried = processes["since_ms"].is_i64() || processes["off"].is_string();
        is_tried.then_some(processes)
    });
    if !seen["since_ms"].is_i64() {
        println!("skipped: {}", seen["off"]);
        return;
    }
    let mut begun = Vec::new();
    for _ in 0..6 {
        let process = waiting(&exe);
        begun.push(process.0.id());
        std::thread::sleep(Duration::from_millis(1500));
    }
    for pid in begun {
        wait_for(&format!("{pid} to be seen"), || (names(&agent, pid) == ["brief"]).then_some(()));
    }
    let targets = agent.json("/api/v1/targets");
    for target in targets.as_array().unwrap() {
        assert!(target["latest"]["rss_bytes"].is_u64(), "{target}");
    }
    assert_eq!(agent.logged("\"event\":\"warning\""), [""; 0]);
    agent.end();
}

#[test]
fn a_cgroup_that_goes_and_comes_back_is_watched_again() {
    let Some(cgroup) = Cgroup::new("again") else {
        println!("skipped: no cgroup of version 1 with a limit can be made here");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let exe = build(dir.path());
    let name = dir.path().file_name().unwrap().to_str().unwrap();
    let rules = "default_rules: false\nrules:\n- {name: kill, when: {event: oom-kill}, \
                 do: [{capture: [heap, goroutine]}]}\n";
    let text = format!("targets: {{watch: ['name:{name}/climb']}}\n{rules}");
    let mut agent = Agent::start(&configured(dir.path(), &text), &[]);
    let join = |dir: &Path, pid: &str| fs::write(dir.join("cgroup.procs"), pid).unwrap();
    let mut cgroup = cgroup;
    for round in 1..=2 {
        let (child, mut stdin, _out) = start(&exe, &cgroup);
        let mut process = Process(child);
        agent.target(process.0.id());
        // It is moved out, its cgroup goes, comes back under the same name, and so does it.
        join(cgroup.0.parent().unwrap(), &process.pid());
        drop(cgroup);
        cgroup = Cgroup::new("again").unwrap();
        join(&cgroup.0, &process.pid());
        std::thread::sleep(Duration::from_secs(7));
        writeln!(stdin, "climb 400 3000").unwrap();
        assert!(!process.0.wait().unwrap().success(), "it was killed");
        let acted = || (agent.logged("\"event\":\"action\"").len() >= round).then_some(());
        wait_for(&format!("what rules did, {:#?}", agent.logged("")), acted);
    }
    std::thread::sleep(Duration::from_secs(3));
    for text in ["\"what\":\"fired\"", "\"event\":\"action\"", "\"alive\":true", "\"alive\":false"]
    {
        assert_eq!(agent.logged(text).len(), 2, "{text}: {:#?}", agent.logged(""));
    }
    for line in agent.logged("\"event\":\"action\"") {
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&line["fault"], line["captures"].as_array().unwrap().len()), (&"".into(), 2));
    }
    agent.end();
}

/// A small file system, away at the end.
struct Disk(PathBuf);

impl Disk {
    fn new(path: PathBuf, size: &str) -> Option<Disk> {
        fs::create_dir(&path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(&path);
        mount
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
            .then_some(Disk(path))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_told_once_and_costs_no_capture_that_was_kept() {
    let (shop, _) = shop();
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::new(dir.path().join("disk"), "24m") else {
        println!("skipped: nothing can be mounted here");
        return;
    };
    let text = format!(
        "targets: {{watch: [{}]}}\nstore: {{path: disk/store}}\ndefault_rules: false\nrules:\n- name: \
         by-hand\n  when: {{event: signal}}\n  do: [{{capture: [heap, goroutine]}}]\n  severity: warning\n\
         notify:\n  receivers: [{{name: log, log_configs: [{{path: {}/told}}]}}]\n\
         remote_write: [{{url: 'http://127.0.0.1:9/'}}]\n",
        shop.pid(),
        dir.path().display()
    );
    let config = configured(dir.path(), &text);
    let mut agent = Agent::start(&config, &[]);
    let target = agent.target(shop.0.id());
    let acts = |agent: &Agent| -> Vec<Value> {
        let lines = agent.logged("\"event\":\"action\"");
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let call = |agent: &Agent| {
        let before = acts(agent).len();
        agent.signal("-USR1");
        wait_for("an action", || (acts(agent).len() > before).then_some(()));
        acts(agent).last().unwrap().clone()
    };
    assert_eq!(call(&agent)["fault"], "");

    let ballast = disk.0.join("ballast");
    let mut file = fs::File::create(&ballast).unwrap();
    let fill = |file: &mut fs::File| while file.write_all(&[0; 4096]).is_ok() {};
    fill(&mut file);
    for _ in 0..5 {
        let act = call(&agent);
        assert_ne!(act["fault"], "", "{act}");
        fill(&mut file);
        std::thread::sleep(Duration::from_secs(1));
    }
    assert_eq!(agent.get("/-/healthy"), "memsight is healthy\n");
    drop(file);
    fs::remove_file(ballast).unwrap();
    let act = wait_for("captures again", || Some(call(&agent)).filter(|act| act["fault"] == ""));
    assert_eq!(act["captures"].as_array().unwrap().len(), 2);
    wait_for("series again", || (agent.logged("series are kept again").len() == 1).then_some(()));
    let told = |text: &str| {
        agent.logged("\"event\":\"warning\"").iter().filter(|it| it.contains(text)).count()
    };
    for text in ["series are not kept", "what rules decide: not kept", "cannot write to"] {
        assert_eq!(told(text), 1, "{text}: {:#?}", agent.logged("\"event\":\"warning\""));
    }
    // What was reported as kept is kept, also after the next start.
    let kept: Vec<Value> =
        acts(&agent).iter().flat_map(|act| act["captures"].as_array().unwrap().clone()).collect();
    assert!(kept.len() >= 4, "{kept:?}");
    agent.end();
    let mut agent = Agent::start(&config, &[]);
    for id in kept {
        let table = agent.json(&format!("/api/v1/captures/{id}/table?limit=1"));
        assert!(!table["rows"].as_array().unwrap().is_empty(), "{id}: {table}");
    }
    let captures = agent.json(&format!("/api/v1/targets/{target}/captures?kind=heap"));
    for capture in captures.as_array().unwrap() {
        agent.get(&format!("/api/v1/captures/{}/meta", capture["id"]));
    }
    agent.end();
}

/// Starts as many processes as it is told, which do nothing and end with it.
const CROWD: &str = r#"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>
int main(int count, char **words) {
    for (int left = atoi(words[1]); left > 0; left--) {
        int pid = fork();
        if (pid < 0) { perror("fork"); return 1; }
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (;;) pause();
        }
    }
    puts("ready");
    fflush(stdout);
    for (;;) pause();
}
"#;

fn crowd(dir: &Path, count: &str) -> Child {
    use std::io::{BufRead, BufReader};
    let (source, exe) = (dir.join("crowd.c"), dir.join("crowd"));
    fs::write(&source, CROWD).unwrap();
    assert!(
        Command::new("cc")
            .args(["-static", "-o"])
            .args([&exe, &source])
            .status()
            .unwrap()
            .success()
    );
    let mut child = Command::new(exe).arg(count).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    child
}

#[test]
fn thousands_of_processes_hide_no_program() {
    let dir = tempfile::tempdir().unwrap();
    let exe = build(dir.path());
    let count = std::env::var("MEMSIGHT_PROCESSES").unwrap_or("1000".to_owned());
    let crowd = Process(crowd(dir.path(), &count));
    let text = format!("targets: {{watch: ['name:^{}$']}}\n", exe.display());
    let mut agent = Agent::start(&configured(dir.path(), &text), &[]);
    let programs: Vec<Process> = (0..5).map(|_| waiting(&exe)).collect();
    for program in &programs {
        agent.target(program.0.id());
    }
    let figure = |name: &str| agent.metric(&format!("memsight_self_{name}"), "");
    let (before, started) = (figure("cpu_seconds_total"), std::time::Instant::now());
    std::thread::sleep(Duration::from_secs(10));
    let share = (figure("cpu_seconds_total") - before) / started.elapsed().as_secs_f64();
    let resident = figure("resident_memory_bytes") / f64::from(1 << 20);
    println!("{count} processes: {:.1} % of a core, {resident:.1} MiB", 100.0 * share);
    assert!(resident < 150.0, "{resident} MiB");
    drop(programs);
    wait_for("their ends", || (agent.logged("\"alive\":false").len() >= 5).then_some(()));
    drop(crowd);
    for text in ["\"alive\":true", "\"alive\":false"] {
        assert_eq!(agent.logged(text).len(), 5, "{:#?}", agent.logged(text));
    }
    assert_eq!(agent.logged("\"event\":\"warning\""), [""; 0]);
    agent.end();
}
