//! `memsight agent` as a process: its configuration, its signals, its log.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Process, fails, shop, stdout};

/// Longer than anything takes that is waited for.
const PATIENCE: Duration = Duration::from_secs(120);
const STEP: Duration = Duration::from_millis(20);

/// Waits until there is something.
pub(crate) fn wait_for<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait_within(PATIENCE, what, look)
}

/// Waits so long.
pub(crate) fn wait_within<T>(
    patience: Duration,
    what: &str,
    mut look: impl FnMut() -> Option<T>,
) -> T {
    let until = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "{what}: not within {patience:?}");
        std::thread::sleep(STEP);
    }
}

/// A running agent and its log.
pub(crate) struct Agent {
    process: Process,
    log: Arc<Mutex<Vec<String>>>,
    /// Lines that were looked at.
    seen: usize,
    address: String,
}

impl Agent {
    pub(crate) fn start(config: &Path, more: &[&str]) -> Agent {
        let mut command = Command::new(env!("CARGO_BIN_EXE_memsight"));
        command.args(["agent", "-c"]).arg(config).args(more);
        Agent::spawn(&mut command)
    }

    /// Starts what this command is.
    pub(crate) fn spawn(command: &mut Command) -> Agent {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&log);
        // A pipe that nobody reads would hold up the agent.
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| written.lock().unwrap().push(line));
        });
        let mut agent = Agent { process: Process(child), log, seen: 0, address: String::new() };
        let line = agent.line("pages on ");
        let address = line.split_once("http://").and_then(|(_, rest)| rest.split_once(','));
        address.expect("the address").0.clone_into(&mut agent.address);
        agent
    }

    /// The next line of the log with this text.
    pub(crate) fn line(&mut self, text: &str) -> String {
        wait_for(&format!("{text:?} in the log"), || {
            let ended = self.process.0.try_wait().unwrap();
            let log = self.log.lock().unwrap();
            let found = log.iter().skip(self.seen).position(|line| line.contains(text));
            if let Some(at) = found {
                self.seen += at + 1;
                return Some(log[self.seen - 1].clone());
            }
            assert!(ended.is_none(), "the log ended without {text:?}: {log:#?}");
            None
        })
    }

    /// All lines so far with this text.
    pub(crate) fn logged(&self, text: &str) -> Vec<String> {
        let log = self.log.lock().unwrap();
        log.iter().filter(|line| line.contains(text)).cloned().collect()
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.process.pid();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Ends it in peace.
    pub(crate) fn end(&mut self) {
        self.signal("-TERM");
        self.line("stopping");
        assert!(self.process.0.wait().unwrap().success(), "{:#?}", self.logged(""));
    }

    pub(crate) fn get(&self, path: &str) -> String {
        let mut answer = ureq::get(format!("http://{}{path}", self.address)).call().unwrap();
        answer.body_mut().with_config().limit(1 << 30).read_to_string().unwrap()
    }

    pub(crate) fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.get(path)).unwrap()
    }

    /// The same, or nothing where the answer is an error.
    pub(crate) fn try_json(&self, path: &str) -> Option<Value> {
        let mut answer = ureq::get(format!("http://{}{path}", self.address)).call().ok()?;
        serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).ok()
    }

    /// What is answered when something is asked for.
    pub(crate) fn post(&self, path: &str) -> Value {
        let mut answer = ureq::post(format!("http://{}{path}", self.address)).send_empty().unwrap();
        serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap()
    }

    /// The sum of a metric of its own page, over all series that have this text.
    pub(crate) fn metric(&self, series: &str, text: &str) -> f64 {
        let page = self.get("/metrics");
        let of = |line: &&str| {
            line.strip_prefix(series).is_some_and(|rest| rest.starts_with([' ', '{']))
                && line.contains(text)
        };
        let value = |line: &str| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
        page.lines().filter(of).map(value).sum()
    }

    /// The target of this process, once it is under watch and was looked at.
    pub(crate) fn target(&self, pid: u32) -> i64 {
        let until = Instant::now() + PATIENCE;
        loop {
            let targets = self.json("/api/v1/targets");
            let found = targets.as_array().unwrap().iter().find(|target| target["pid"] == pid);
            if let Some(found) = found.filter(|found| !found["latest"]["rss_bytes"].is_null()) {
                return found["id"].as_i64().unwrap();
            }
            let log = || self.logged("");
            assert!(Instant::now() < until, "{pid} is not under watch: {targets:#} {:#?}", log());
            std::thread::sleep(STEP);
        }
    }
}

/// A port of this machine that nobody listens on.
fn closed_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn faults_of_a_configuration_have_their_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("memsight.yaml");
    let name = path.to_str().unwrap();
    let check = |text: &str, expected: &str| {
        std::fs::write(&path, text).unwrap();
        let errors = fails(&["agent", "-c", name, "--check-config"], 2);
        assert!(errors.contains(&format!("{name}:{expected}")), "{errors}");
    };
    check("targets:\n  all_og: true\n", "2:3: unknown field `all_og`");
    check("store: {keep: a while}\n", "1:15: \"a while\" is no duration");
    std::fs::write(&path, "\n").unwrap();
    assert!(fails(&["agent", "-c", name, "--check-config"], 2).contains("is empty"));
    let missing = dir.path().join("none.yaml");
    fails(&["agent", "-c", missing.to_str().unwrap()], 2);
    std::fs::write(&path, "targets: {all_go: true}\n").unwrap();
    let said = stdout(&["agent", "-c", name, "--check-config"]);
    assert!(said.contains("all Go processes"), "{said}");
    let example = stdout(&["agent", "--example"]);
    std::fs::write(&path, &example).unwrap();
    let said = stdout(&["agent", "-c", name, "--check-config"]);
    assert!(said.contains("all Go processes"), "{said}");
    // The rule in it is one that can be switched on.
    assert!(example.contains("#rules:"));
    let rules = example.replace("#rules:", "rules:").replace("\n#  ", "\n  ");
    std::fs::write(&path, rules).unwrap();
    stdout(&["agent", "-c", name, "--check-config"]);
    assert!(!dir.path().join("memsight-store").exists(), "checking creates nothing");
}

#[test]
fn the_agent_reloads_logs_json_and_ends() {
    let (shop, _) = shop();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("memsight.yaml");
    let common = "web: {listen: '127.0.0.1:0'}\nlog: {format: json}\n";
    let config = format!("{common}targets: {{watch: [{}]}}\n", shop.pid());
    std::fs::write(&path, config).unwrap();
    let mut agent = Agent::start(&path, &[]);
    assert_eq!(agent.get("/-/healthy"), "memsight is healthy\n");
    let found = agent.line("\"event\":\"target\"");
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found["pid"].to_string(), shop.pid());
    assert_eq!(agent.get("/-/ready"), "memsight is ready\n");

    // By hand: the rule that waits for the signal takes captures.
    agent.signal("-USR1");
    let taken = agent.line("\"event\":\"action\"");
    let taken: Value = serde_json::from_str(&taken).unwrap();
    assert_eq!((&taken["rule"], &taken["fault"]), (&"by-hand".into(), &"".into()), "{taken}");
    assert!(taken["captures"].as_array().unwrap().len() >= 3, "{taken}");

    std::fs::write(&path, "targets: [\n").unwrap();
    agent.signal("-HUP");
    let line = agent.line("\"event\":\"reloaded\"");
    assert!(line.contains("\"level\":\"error\"") && line.contains("stays as it was"), "{line}");
    std::fs::write(&path, common).unwrap();
    agent.signal("-HUP");
    let line = agent.line("\"event\":\"reloaded\"");
    assert!(line.contains("\"level\":\"info\""), "{line}");
    // The new one watches nothing.
    agent.line("\"alive\":false");

    // What happened is in the store, and can be asked for.
    let is_kept = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        let events = agent.json("/api/v1/events/log?kinds=target");
        events[0]["fields"]["pid"] == shop.0.id()
    });
    assert!(is_kept);

    agent.end();
}

#[test]
fn what_fails_is_counted_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("memsight.yaml");
    let port = closed_port();
    let config = format!(
        "web: {{listen: '127.0.0.1:0'}}\nglobal: {{scrape_interval: 200ms}}\n\
         scrape_configs: [{{job_name: a, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]\n\
         remote_write: [{{url: 'http://127.0.0.1:{port}/'}}]\n"
    );
    std::fs::write(&path, &config).unwrap();
    let mut agent = Agent::start(&path, &[]);
    let errors = |agent: &Agent, part: &str| {
        agent.metric("memsight_errors_total", &format!("part=\"{part}\""))
    };
    let begun = agent.get("/metrics").contains("memsight_errors_total{part=\"capture\"} 0");
    assert!(begun, "a counter begins with 0");
    for part in ["scrape", "remote_write"] {
        wait_for(part, || (errors(&agent, part) >= 3.0).then_some(()));
    }
    // Told of once, counted three times.
    let events = agent.metric("memsight_events_total", "event=\"warning\"");
    assert!((1.0..=3.0).contains(&events), "{events} warnings");
    wait_for("the counter in the store", || {
        let query = "query=memsight_errors_total%7Bpart%3D%22scrape%22%7D";
        let answer = agent.json(&format!("/api/v1/query?{query}"));
        let value = answer["data"]["result"][0]["value"][1].as_str()?.parse::<f64>().unwrap();
        (value >= 3.0).then_some(())
    });
    std::fs::write(&path, "targets: [\n").unwrap();
    agent.signal("-HUP");
    agent.line("stays as it was");
    assert_eq!(errors(&agent, "config"), 1.0);
    // What waits for the next start is told, and is no failure; the rest is in force.
    let config = format!("{config}budget: {{remote_write_bytes: 1MiB}}\nstore: {{path: other}}\n");
    std::fs::write(&path, config).unwrap();
    for _ in 0..2 {
        agent.signal("-HUP");
        agent.line("store: path: takes effect at the next start");
    }
    assert_eq!(agent.metric("prometheus_remote_storage_log_bytes_max", ""), 1_048_576.0);
    assert_eq!(errors(&agent, "config"), 1.0);
}

#[test]
fn who_is_being_told_is_told_before_the_end() {
    let (shop, _) = shop();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("memsight.yaml");
    let hook = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = format!(
        "web: {{listen: '127.0.0.1:0'}}\ntargets: {{watch: [{}]}}\ndefault_rules: false\n\
         rules: [{{name: told, when: {{event: signal}}, do: [{{notify: r}}]}}]\n\
         notify:\n  route: {{receiver: r, group_wait: 0s}}\n  \
         receivers: [{{name: r, webhook_configs: [{{url: 'http://{}/'}}]}}]\n",
        shop.pid(),
        hook.local_addr().unwrap(),
    );
    std::fs::write(&path, config).unwrap();
    let mut agent = Agent::start(&path, &[]);
    agent.line("watching");
    agent.signal("-USR1");
    let (mut asked, _) = hook.accept().unwrap();
    agent.signal("-TERM");
    // An answer that takes longer than all else that ends.
    std::thread::sleep(Duration::from_secs(4));
    assert!(agent.process.0.try_wait().unwrap().is_none(), "it ended without the answer");
    asked.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    assert!(agent.process.0.wait().unwrap().success());
}

/// What only some machines or programs have: it is not on the page of any test.
const NOT_ALWAYS: [(&str, &str); 10] = [
    ("container_memory_working_set_bytes", "a cgroup of its own"),
    ("container_spec_memory_limit_bytes", "a limit"),
    ("container_oom_events_total", "a cgroup of its own"),
    ("node_pressure_memory_stalled_seconds_total", "a kernel with PSI"),
    ("node_pressure_memory_waiting_seconds_total", "a kernel with PSI"),
    ("memsight_growth_bytes_per_second", "something that grows"),
    ("memsight_growth_site_share", "something that grows"),
    ("memsight_time_to_limit_seconds", "something that grows"),
    ("memsight_time_to_limit_low_seconds", "something that grows"),
    ("memsight_finding", "a verdict"),
];

#[test]
fn all_that_is_generated_asks_for_what_is_there() {
    let (shop, _) = shop();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().to_str().unwrap();
    stdout(&["rules", "generate", "-o", out]);
    let rules = std::fs::read_to_string(dir.path().join("memsight.rules.yaml")).unwrap();
    let rules = promql::rules::RuleFile::parse(&rules).unwrap();
    let rules = || rules.groups.iter().flat_map(|group| &group.rules);
    let mut expressions = crate::generate::expressions(dir.path());
    expressions.extend(rules().map(|rule| rule.query.text().to_owned()));
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    for expression in &expressions {
        wanted.extend(promql::Query::parse(expression).unwrap().names());
    }
    rules().for_each(|rule| _ = wanted.remove(&rule.name));
    let documented = include_str!("../../../../docs/prometheus.md");
    for (name, needs) in NOT_ALWAYS {
        assert!(wanted.remove(name), "{name} is in nothing that is generated");
        assert!(documented.contains(&format!("`{name}`")), "{name}, which needs {needs}");
    }

    let path = dir.path().join("memsight.yaml");
    let config = format!(
        "web: {{listen: '127.0.0.1:0'}}\nglobal: {{scrape_interval: 200ms, profile_interval: 1s}}\n\
         targets: {{watch: [{}]}}\nremote_write: [{{url: 'http://127.0.0.1:{}/'}}]\n",
        shop.pid(),
        closed_port(),
    );
    std::fs::write(&path, config).unwrap();
    let agent = Agent::start(&path, &[]);
    let missing = || -> Vec<String> {
        let page = agent.get("/metrics");
        let name = |line: &str| line.split([' ', '{']).next().unwrap_or_default().to_owned();
        let there: BTreeSet<String> = page.lines().map(name).collect();
        wanted.difference(&there).cloned().collect()
    };
    let came = (0..300).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        missing().is_empty()
    });
    assert!(came, "never on the page: {:?}", missing());
}
