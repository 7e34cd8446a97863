//! Targets that come and go while pages are read: a real file, a real server.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::Family;

use super::{Report, ScrapeConfig, Scrapes, Sink, check, parse_targets};

/// Shows a page of metrics, and at `/targets` what it is told to.
struct Server {
    address: String,
    list: Arc<Mutex<(u16, String)>>,
}

impl Server {
    fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let list = Arc::new(Mutex::new((200, "[]".to_owned())));
        let shown = Arc::clone(&list);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, mut asked) = (stream.unwrap(), [0; 4096]);
                let length = stream.read(&mut asked).unwrap_or(0);
                let (status, body) = match asked[..length].starts_with(b"GET /targets ") {
                    true => shown.lock().unwrap().clone(),
                    false => (200, "a 1\n".to_owned()),
                };
                let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n", body.len());
                let _ = write!(stream, "{head}Connection: close\r\n\r\n{body}");
            }
        });
        Server { address, list }
    }

    fn lists(&self, status: u16, text: &str) {
        *self.list.lock().unwrap() = (status, text.replace("HERE", &self.address));
    }
}

/// What arrived: of each read the labels of `up`, or the end of a source; and what was told.
#[derive(Clone, Default)]
struct Heard {
    ups: Arc<Mutex<Vec<String>>>,
    told: Arc<Mutex<Vec<String>>>,
}

impl Heard {
    fn start(&self, configs: &[ScrapeConfig]) -> Scrapes {
        let (ups, told) = (Arc::clone(&self.ups), Arc::clone(&self.told));
        let sink: Sink = Arc::new(move |_: &str, _, families: &[Family]| {
            let up = families.iter().find(|family| family.name == "up");
            let labels = up.map(|family| family.points[0].labels.to_string());
            ups.lock().unwrap().push(labels.unwrap_or_else(|| "ended".to_owned()));
        });
        let report: Report = Arc::new(move |source: &str, why: Option<&str>| {
            told.lock().unwrap().push(format!("{source}: {}", why.unwrap_or("works")));
        });
        let mut scrapes = Scrapes::default();
        scrapes.change(configs, Duration::from_millis(50), &sink, &report).unwrap();
        scrapes
    }

    /// Waits until something of this kind arrives anew.
    fn wait(&self, text: &str) {
        wait(&self.ups, text);
    }
}

fn wait(lines: &Mutex<Vec<String>>, text: &str) {
    lines.lock().unwrap().clear();
    let came = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        lines.lock().unwrap().iter().any(|line| line.contains(text))
    });
    assert!(came, "no {text:?} in {:?}", lines.lock().unwrap());
}

fn config(yaml: &str, folder: &Path) -> ScrapeConfig {
    let mut config: ScrapeConfig = serde_saphyr::from_str(yaml).unwrap();
    config.resolve_lists(folder);
    config
}

#[test]
fn files_list_targets() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let write = |name: &str, text: &str| {
        // As Prometheus asks for it: written elsewhere, then renamed.
        let temporary = folder.path().join("new");
        std::fs::write(&temporary, text.replace("HERE", &server.address)).unwrap();
        std::fs::rename(temporary, folder.path().join(name)).unwrap();
    };
    write("a.json", r#"[{"targets": ["HERE", "HERE"], "labels": {"env": "x", "job": "own"}}]"#);
    let yaml = "job_name: j\nfile_sd_configs: [{files: ['*.json', b.yml]}]\nrelabel_configs:\n\
                - {source_labels: [env], regex: hidden, action: drop}\n\
                - {source_labels: [__meta_filepath], regex: '.*/([^/]+)', target_label: file}\n";
    let heard = Heard::default();
    let scrapes = heard.start(&[config(yaml, folder.path())]);
    let up =
        format!("up{{env=\"x\", file=\"a.json\", instance=\"{}\", job=\"own\"}}", server.address);
    heard.wait(&up);
    // The last good list stays in force.
    write("a.json", r#"[{"targets": ["HERE"#);
    wait(&heard.told, "the last good list stays in force");
    heard.wait(&up);
    write("a.json", r#"[{"targets": ["HERE"], "labels": {"env": "hidden"}}]"#);
    heard.wait("ended");
    write("b.yml", "- targets: [HERE]\n  labels: {env: y}\n");
    heard.wait("up{env=\"y\", file=\"b.yml\"");
    std::fs::remove_file(folder.path().join("b.yml")).unwrap();
    heard.wait("ended");
    write("b.yml", "- targets: [HERE]\n");
    heard.wait("job=\"j\"");
    heard.ups.lock().unwrap().clear();
    drop(scrapes);
    assert_eq!(heard.ups.lock().unwrap().last().map(String::as_str), Some("ended"));
}

#[test]
fn servers_list_targets() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    server.lists(200, r#"[{"targets": ["HERE"], "labels": {"env": "x"}}]"#);
    let yaml = format!(
        "job_name: j\nhttp_sd_configs: [{{url: 'http://{}/targets', refresh_interval: 100ms}}]\n\
         relabel_configs: [{{source_labels: [__meta_url], target_label: from}}]\n",
        server.address
    );
    let heard = Heard::default();
    let _scrapes = heard.start(&[config(&yaml, folder.path())]);
    let up = format!("up{{env=\"x\", from=\"http://{}/targets\"", server.address);
    heard.wait(&up);
    server.lists(500, "down");
    wait(&heard.told, "status 500: down");
    heard.wait(&up);
    server.lists(200, r#"[{"targets": ["HERE"], "labels": {"env": "y"}}]"#);
    heard.wait("up{env=\"y\"");
    server.lists(200, "[]");
    heard.wait("ended");
}

#[test]
fn lists_and_patterns_are_checked() {
    let refused = |text: &str, why: &str| {
        let error = parse_targets(text).unwrap_err();
        assert!(error.contains(why), "{error}");
    };
    assert_eq!(parse_targets("[]").unwrap(), []);
    refused("", "is empty");
    refused("[{target: [a]}]", "unknown field");
    refused("[{targets: [a], labels: {'a b': c}}]", "is no label name");
    refused(&format!("[{{targets: [{}]}}]", "a,".repeat(600)), "600 targets");
    let check = |yaml: &str| check(&[config(yaml, Path::new("/etc"))]);
    assert_eq!(check("{job_name: a, file_sd_configs: [{files: [x/y*.json]}]}"), Ok(()));
    for pattern in ["x.txt", "x*/a.json"] {
        let yaml = format!("{{job_name: a, file_sd_configs: [{{files: ['{pattern}']}}]}}");
        assert!(check(&yaml).is_err(), "{pattern}");
    }
}
