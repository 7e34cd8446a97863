//! Who is told of what, while hard times come: the clock jumps, the configuration is read again and
//! again, the receiver is away. Each thing is told once.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::agent::{Agent, wait_for};
use crate::support::{server, shop};

/// A page with lamps that are on or off, and a receiver of what is told of them.
struct Scene {
    dir: tempfile::TempDir,
    lamps: Arc<Mutex<BTreeMap<&'static str, bool>>>,
    reads: Arc<Mutex<Vec<String>>>,
    told: Arc<Mutex<Vec<String>>>,
    is_away: Arc<AtomicBool>,
    config: String,
}

impl Scene {
    fn new(more: &str) -> Scene {
        let dir = tempfile::tempdir().unwrap();
        let lamps: Arc<Mutex<BTreeMap<&str, bool>>> = Arc::default();
        let shown = Arc::clone(&lamps);
        let (page, reads) = server(Box::new(move |_, _| {
            let line = |(name, is_on): (&&str, &bool)| {
                format!("lamp{{lamp=\"{name}\"}} {}\n", u8::from(*is_on))
            };
            Ok(shown.lock().unwrap().iter().map(line).collect::<String>().into_bytes())
        }));
        let (told, is_away) =
            (Arc::<Mutex<Vec<String>>>::default(), Arc::new(AtomicBool::new(false)));
        let (noted, gone) = (Arc::clone(&told), Arc::clone(&is_away));
        let (hook, _) = server(Box::new(move |_, body| {
            if gone.load(Ordering::Relaxed) {
                return Err(503);
            }
            noted.lock().unwrap().extend(messages(body));
            Ok(Vec::new())
        }));
        let rules = "groups:\n- name: lamps\n  rules:\n  - {alert: On, expr: lamp > 0}\n";
        std::fs::write(dir.path().join("lamps.yaml"), rules).unwrap();
        let config = format!(
            "web: {{listen: '127.0.0.1:0'}}\n\
             global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             scrape_configs: [{{job_name: page, static_configs: [{{targets: ['{page}']}}]}}]\n\
             rule_files: [lamps.yaml]\n\
             notify:\n  \
               route: {{receiver: hook, group_by: [alertname, lamp], group_wait: 1s, group_interval: 1s}}\n  \
               receivers: [{{name: hook, webhook_configs: [{{url: 'http://{hook}'}}]}}]\n{more}"
        );
        std::fs::write(dir.path().join("memsight.yaml"), &config).unwrap();
        Scene { dir, lamps, reads, told, is_away, config }
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("memsight.yaml")
    }

    /// Replaces the configuration; never half of it, as that may be one, too.
    fn write(&self, text: &str) {
        let new = self.dir.path().join("new.yaml");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.path()).unwrap();
    }

    fn set(&self, lamp: &'static str, is_on: bool) {
        self.lamps.lock().unwrap().insert(lamp, is_on);
    }

    fn reads(&self) -> usize {
        self.reads.lock().unwrap().len()
    }

    /// Waits until the page was read so often, and what follows from it was evaluated.
    fn wait_for_reads(&self, more: usize) {
        let until = self.reads() + more;
        wait_for("reads of the page", || (self.reads() >= until).then_some(()));
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    /// Waits until as much was told, and then whether more comes.
    fn check_told(&self, agent: &Agent, expected: &[&str]) {
        let is_over = || (self.told().len() >= expected.len()).then_some(());
        wait_for(&format!("{expected:?} of {:?}, {:#?}", self.told(), agent.logged("")), is_over);
        self.wait_for_reads(4);
        assert_eq!(self.told(), expected, "{:#?}", agent.logged(""));
    }
}

/// What a message of the webhook says, as `firing a`.
fn messages(body: &str) -> Vec<String> {
    let message: Value = serde_json::from_str(body).unwrap();
    let alerts = message["alerts"].as_array().unwrap().iter();
    let said = alerts.map(|alert| {
        let labels = &alert["labels"];
        let name = labels["lamp"].as_str().or(labels["alertname"].as_str()).unwrap();
        format!("{} {name}", alert["status"].as_str().unwrap())
    });
    said.collect()
}

#[test]
fn a_receiver_that_was_away_is_told_once_how_things_are() {
    let scene = Scene::new("");
    scene.set("a", true);
    let mut agent = Agent::start(&scene.path(), &[]);
    scene.check_told(&agent, &["firing a"]);
    scene.is_away.store(true, Ordering::Relaxed);
    scene.set("a", false);
    scene.wait_for_reads(3);
    scene.set("b", true);
    scene.set("c", true);
    let failures =
        || agent.metric("memsight_notification_failures_total", "reason=\"server_error\"") >= 3.0;
    wait_for("failures", || failures().then_some(()));
    // What came and went meanwhile is no news.
    scene.set("c", false);
    scene.wait_for_reads(3);
    scene.is_away.store(false, Ordering::Relaxed);
    wait_for("what is new", || (scene.told().len() >= 3).then_some(()));
    scene.wait_for_reads(4);
    let mut told = scene.told();
    // Groups have no order among each other.
    told[1..].sort();
    assert_eq!(told, ["firing a", "firing b", "resolved a"]);
    assert_eq!(agent.logged("was told of").len(), 3, "{:#?}", agent.logged(""));
    assert_eq!(agent.logged(" fail: ").len(), 1, "{:#?}", agent.logged(""));
    assert_eq!(agent.logged("work again").len(), 1, "{:#?}", agent.logged(""));
    agent.end();
}

/// A rule that acts for as long as the shop is there, and one without limits that is called.
const STEADY: &str = "rules:\n- name: steady\n  when: {signal: rss_bytes, above: 1MiB}\n  \
                      do: [{capture: heap}]\n  severity: warning\n- name: by-hand\n  \
                      when: {event: signal}\n  do: [{capture: heap}]\n";

/// Captures that rules say they have, each of which is there. One may be that of the schedule, too,
/// if both read the same in the same millisecond.
fn taken_by_rules(agent: &Agent) -> Vec<i64> {
    let actions = agent.logged("\"event\":\"action\"").into_iter();
    let actions = actions.map(|line| serde_json::from_str::<Value>(&line).unwrap());
    let ids = actions.flat_map(|action| action["captures"].as_array().unwrap().clone());
    let ids: Vec<i64> = ids.map(|id| id.as_i64().unwrap()).collect();
    for id in &ids {
        agent.get(&format!("/api/v1/captures/{id}/meta"));
    }
    ids
}

#[test]
fn reading_the_configuration_again_and_again_changes_nothing_else() {
    let (shop, _) = shop();
    let watch = format!("targets: {{watch: [{}]}}\n{STEADY}", shop.pid());
    let scene = Scene::new(&watch);
    scene.set("a", true);
    let mut agent = Agent::start(&scene.path(), &["--log-format", "json"]);
    let target = agent.target(shop.0.id());
    wait_for("both alerts", || (scene.told().len() >= 2).then_some(()));
    let mut expected = scene.told();
    expected.sort();
    assert_eq!(expected, ["firing a", "firing steady"]);
    let since = |agent: &Agent| {
        let alerts = agent.json("/api/v1/alerts");
        alerts["data"]["alerts"]
            .as_array()
            .unwrap()
            .iter()
            .find(|it| it["labels"]["lamp"] == "a")
            .unwrap()["activeAt"]
            .clone()
    };
    let (before, reads) = (since(&agent), scene.reads());

    let other =
        format!("{}- name: never\n  when: {{signal: goroutines, above: 1000000}}\n", scene.config);
    let half = &scene.config[..scene.config.len() / 2];
    let texts = [&scene.config[..], "targets: [\n", &other, half, &other];
    for text in texts.iter().cycle().take(120) {
        scene.write(text);
        agent.signal("-HUP");
        std::thread::sleep(Duration::from_millis(40));
    }
    assert!(scene.reads() > reads + 2, "{} reads during five seconds", scene.reads() - reads);
    scene.write(&scene.config);
    agent.signal("-HUP");
    scene.set("b", true);
    expected.push("firing b".to_owned());
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    wait_for("what is new", || (scene.told().len() > 2).then_some(()));
    scene.wait_for_reads(3);
    let mut told = scene.told();
    told[..2].sort();
    assert_eq!(told, expected, "{:#?}", agent.logged(""));
    assert_eq!(since(&agent), before);
    assert_eq!(agent.target(shop.0.id()), target);
    assert_eq!(taken_by_rules(&agent).len(), 1);
    assert_eq!(agent.logged("\"what\":\"fired\"").len(), 1, "{:#?}", agent.logged("fired"));
    assert_eq!(agent.logged("\"what\":\"resolved\""), [""; 0]);
    let (good, bad) = (agent.logged("was read again").len(), agent.logged("stays as it was").len());
    println!("read again {good} times, refused {bad} times");
    assert!(good > 1 && bad > 1);
    agent.end();
}

/// Adds to what the program takes for the time of day as many seconds as a file says.
const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static long offset(void) {
    long seconds = 0;
    FILE *file = fopen(getenv("CLOCK_OFFSET"), "r");
    if (file) { if (fscanf(file, "%ld", &seconds) != 1) seconds = 0; fclose(file); }
    return seconds;
}
int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = syscall(SYS_clock_gettime, clock, time);
    if (result == 0 && clock == CLOCK_REALTIME) time->tv_sec += offset();
    return result;
}
int gettimeofday(struct timeval *time, void *zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}
"#;

/// An agent whose clock can be set.
fn with_clock(dir: &Path, config: &Path) -> (Agent, std::path::PathBuf) {
    let (source, library, file) = (dir.join("clock.c"), dir.join("clock.so"), dir.join("offset"));
    std::fs::write(&source, CLOCK).unwrap();
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-o"]).args([&library, &source]);
    assert!(cc.status().unwrap().success());
    let mut command = Command::new(env!("CARGO_BIN_EXE_memsight"));
    command.args(["agent", "-c"]).arg(config).args(["--log-format", "json"]);
    command.env("LD_PRELOAD", library).env("CLOCK_OFFSET", &file);
    (Agent::spawn(&mut command), file)
}

#[test]
fn a_clock_that_jumps_makes_no_news() {
    let (shop, _) = shop();
    let scene = Scene::new(&format!("targets: {{watch: [{}]}}\n{STEADY}", shop.pid()));
    scene.set("a", true);
    let (mut agent, clock) = with_clock(scene.dir.path(), &scene.path());
    agent.target(shop.0.id());
    wait_for("both alerts", || (scene.told().len() >= 2).then_some(()));
    let mut expected = scene.told();
    let lamps = ["b", "c", "d"];
    for (lamp, offset) in lamps.into_iter().zip(["7200", "-3600", "0"]) {
        std::fs::write(&clock, offset).unwrap();
        scene.wait_for_reads(8);
        assert_eq!(scene.told(), expected, "after {offset}: {:#?}", agent.logged(""));
        // What happens from now on is told.
        scene.set(lamp, true);
        expected.push(format!("firing {lamp}"));
        wait_for(lamp, || (scene.told().len() >= expected.len()).then_some(()));
        assert_eq!(scene.told(), expected);
        // Captures are taken, too, and can be read.
        let taken = agent.logged("by-hand took").len();
        agent.signal("-USR1");
        wait_for("captures", || (agent.logged("by-hand took").len() > taken).then_some(()));
    }
    let taken = taken_by_rules(&agent);
    assert_eq!(taken.len(), 1 + lamps.len(), "{taken:?}");
    assert_eq!(agent.logged("\"alive\":true").len(), 1);
    assert_eq!(agent.logged("rule steady fired").len(), 1);
    agent.end();
}
