//! Real Alertmanagers: what we send them is listed, fires and ends; and what they send a webhook
//! is what we send it for the same alerts by the same configuration.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use model::series::Labels;
use model::units::Timestamp;
use notify::{Alert, Settings};
use serde_json::Value;

use crate::help::{OK, Server, Watched, alert, config, now, until};

/// A running Alertmanager.
struct Alertmanager {
    child: Child,
    port: u16,
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where programs of peers are.
pub(crate) fn peer(name: &str) -> Option<PathBuf> {
    let home = std::env::var("HOME").unwrap_or_default();
    let folder =
        std::env::var("MEMSIGHT_PEERS").unwrap_or(format!("{home}/.cache/memsight/peers/bin"));
    Some(Path::new(&folder).join(name)).filter(|path| path.exists())
}

/// Debian's, which is older.
fn old_alertmanager() -> Option<PathBuf> {
    let home = std::env::var("HOME").unwrap_or_default();
    let unpacked = "peers/deb/prometheus-alertmanager/usr/bin/prometheus-alertmanager";
    let paths =
        ["/usr/bin/prometheus-alertmanager".into(), format!("{home}/.cache/memsight/{unpacked}")];
    paths.into_iter().map(PathBuf::from).find(|path| path.exists())
}

impl Alertmanager {
    fn start(program: &Path, folder: &Path, yaml: &str) -> Alertmanager {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("config.yml"), yaml).unwrap();
        let child = command(program)
            .arg(format!("--config.file={}", folder.join("config.yml").display()))
            .arg(format!("--storage.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(["--cluster.listen-address=", "--web.external-url=http://memsight.example/"])
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.join("log")).unwrap())
            .spawn()
            .unwrap();
        let started = Alertmanager { child, port };
        until("Alertmanager", || started.get("/-/ready").filter(|body| body.contains("OK")));
        started
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
    }

    /// Fingerprints of alerts it takes for firing.
    fn firing(&self) -> Vec<String> {
        let body = self.get("/api/v2/alerts").unwrap_or_default();
        let alerts: Vec<Value> = serde_json::from_str(&body).unwrap_or_default();
        let mut prints: Vec<String> = alerts
            .iter()
            .filter_map(|alert| Some(alert["fingerprint"].as_str()?.to_owned()))
            .collect();
        prints.sort();
        prints
    }
}

/// Debian's program looks for its templates where its package puts them: an unpacked one gets a
/// view of the machine in which they are there.
fn command(program: &Path) -> Command {
    let share = program.with_file_name("../share");
    let templates = "prometheus/alertmanager/default.tmpl";
    if !share.join(templates).exists() || Path::new("/usr/share").join(templates).exists() {
        return Command::new(program);
    }
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", "mount --bind \"$0\" /usr/share && exec \"$@\""]);
    command.arg(share).arg(program);
    command
}

/// Read by Alertmanager and by us.
fn routed(webhook: &str) -> String {
    format!(
        r#"
route:
  receiver: team+all
  group_by: [alertname, service]
  group_wait: 1s
  group_interval: 1s
  repeat_interval: 1h
  routes:
  - matchers: ['severity="page"', 'instance=~"o\"dd|b.*"']
    receiver: page
    group_by: ['...']
    continue: true
  - match: {{team: db}}
    receiver: page
receivers:
- name: team+all
  webhook_configs: [{{url: '{webhook}/team', max_alerts: 2}}]
- name: page
  webhook_configs: [{{url: '{webhook}/page'}}]
inhibit_rules:
- source_matchers: [alertname=Down]
  target_matchers: [alertname=Slow]
  equal: [service]
"#
    )
}

/// They begin now: those that are older do not wait for each other.
fn alerts(starts_at: Timestamp) -> Vec<Alert> {
    let with = |name: &str, instance: &str, more: &[(&str, &str)]| {
        let plain = alert(name, instance);
        Alert { labels: plain.labels.with(more.iter().copied()), starts_at, ..plain }
    };
    let mut other = with("Leak", "b", &[("job", "a")]);
    other.annotations =
        Labels::new([("summary", "another"), ("link", "http://memsight.example/target/7")]);
    vec![
        with("Leak", "c", &[]),
        with("Leak", "a", &[("job", "z")]),
        other,
        with("Odd", "o\"dd", &[("severity", "page"), ("text", "a\\b\n\u{e9}")]),
        with("Db", "d", &[("team", "db")]),
        with("Down", "e", &[("service", "x")]),
        with("Slow", "f", &[("service", "x")]),
    ]
}

/// The last payload for each path and group.
fn last_by_group(server: &Server) -> Vec<(String, Value)> {
    let mut all = std::collections::BTreeMap::new();
    for request in server.requests() {
        let body = request.json();
        all.insert(format!("{} {}", request.path, body["groupKey"]), body);
    }
    all.into_iter().collect()
}

fn compare(program: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let (theirs, ours) = (Server::start(OK), Server::start(OK));
    let first = Alertmanager::start(program, &folder.path().join("a"), &routed(&theirs.url("")));
    let second = Alertmanager::start(
        program,
        &folder.path().join("b"),
        "route: {receiver: x}\nreceivers: [{name: x}]",
    );
    let alertmanagers = format!(
        "alerting: {{alertmanagers: [{{static_configs: [{{targets: ['127.0.0.1:{}', '127.0.0.1:{}']}}]}}]}}",
        first.port, second.port
    );
    let watched = Watched::open(
        &folder.path().join("queue"),
        &format!("{}\n{alertmanagers}\n", routed(&ours.url(""))),
    );
    let all = alerts(now());
    watched.fire(all.clone());
    let mut prints: Vec<String> = all.iter().map(|alert| alert.fingerprint().to_string()).collect();
    prints.sort();
    for alertmanager in [&first, &second] {
        until("alerts", || (alertmanager.firing() == prints).then_some(()));
    }
    assert_same(&theirs, &ours, 4);

    // One goes on; the others end, at the same time for all.
    watched.fire(vec![all[0].clone()]);
    until("the end", || {
        let over = |(_, body): &(String, Value)| body["status"] == "resolved";
        let count =
            |server: &Server| last_by_group(server).iter().filter(|last| over(last)).count();
        // Three groups, and one of which only what ended is shown: `max_alerts` cuts the rest.
        (count(&theirs) == 4 && count(&ours) == 4).then_some(())
    });
    assert_same(&theirs, &ours, 4);
    for alertmanager in [&first, &second] {
        until("the end", || (alertmanager.firing().len() == 1).then_some(()));
    }
    if let Some(amtool) = peer("amtool") {
        let output = Command::new(amtool)
            .args(["alert", "query", "-o", "json", "alertname=Leak"])
            .arg(format!("--alertmanager.url=http://127.0.0.1:{}", second.port))
            .output()
            .unwrap();
        let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(listed[0]["labels"]["instance"], "c", "{listed}");
        // It ends four minutes after we were last heard of.
        let ends: jiff::Timestamp = listed[0]["endsAt"].as_str().unwrap().parse().unwrap();
        let left = ends.as_millisecond() - now().0;
        assert!((60_000..=240_000).contains(&left), "{left}");
    }
}

/// Field by field, where the other has the field.
fn assert_same(theirs: &Server, ours: &Server, count: usize) {
    let is_settled = || {
        let (theirs, ours) = (last_by_group(theirs), last_by_group(ours));
        let shape = |all: &[(String, Value)]| -> Vec<(String, String)> {
            let shape = |(key, body): &(String, Value)| {
                let statuses =
                    body["alerts"].as_array().unwrap().iter().map(|a| a["status"].to_string());
                (key.clone(), statuses.collect())
            };
            all.iter().map(shape).collect()
        };
        let is_same = theirs.len() == count && shape(&theirs) == shape(&ours);
        is_same.then_some((theirs, ours))
    };
    let (theirs, ours) = until("the same groups", is_settled);
    for ((key, theirs), (_, ours)) in theirs.iter().zip(&ours) {
        for (field, value) in theirs.as_object().unwrap() {
            // How the batches fell decides whether it is "new alerts" or "first".
            if field != "notification_reason" {
                assert_eq!(value, &ours[field], "{key}: {field}");
            }
        }
        for known in [
            "first notification",
            "new alerts added",
            "some alerts resolved",
            "all alerts resolved",
        ] {
            if ours["notification_reason"] == known {
                break;
            }
            assert_ne!(known, "all alerts resolved", "{ours}");
        }
    }
}

#[test]
fn alertmanager_says_the_same() {
    match peer("alertmanager") {
        Some(program) => compare(&program),
        None => eprintln!("skipped: Alertmanager of today: run scripts/monitoring-peers"),
    }
}

#[test]
fn an_old_alertmanager_says_the_same() {
    match old_alertmanager() {
        Some(program) => compare(&program),
        None => {
            eprintln!("skipped: Debian's Alertmanager: apt-get install prometheus-alertmanager");
        }
    }
}

#[test]
fn alertmanager_may_be_away_for_a_while() {
    let Some(program) = peer("alertmanager").or_else(old_alertmanager) else {
        eprintln!("skipped: Alertmanager away: run scripts/monitoring-peers");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let target = |port: u16| {
        config(&format!(
            "alerting: {{alertmanagers: [{{path_prefix: /, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]}}"
        ))
    };
    let yaml = format!(
        "alerting: {{alertmanagers: [{{static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]}}"
    );
    let watched = Watched::open(&folder.path().join("queue"), &yaml);
    watched.fire(vec![alert("Leak", "a"), alert("Leak", "b")]);
    until("a failure", || {
        watched
            .events()
            .iter()
            .any(|event| matches!(event, notify::Event::Fails { .. }))
            .then_some(())
    });
    watched.fire(vec![alert("Leak", "a")]);
    let started = Alertmanager::start(
        &program,
        folder.path(),
        "route: {receiver: x}\nreceivers: [{name: x}]",
    );
    watched.notifier.reload(&target(started.port), Settings::default()).unwrap();
    // What ended meanwhile is not told as firing.
    until("the alert", || {
        (started.firing() == [alert("Leak", "a").fingerprint().to_string()]).then_some(())
    });
}
