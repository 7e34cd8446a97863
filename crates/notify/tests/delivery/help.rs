//! Servers that remember what they were asked, and notifiers that remember what they reported.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use model::series::Labels;
use model::units::Timestamp;
use notify::{Alert, Config, Event, Notifier, Settings};
use serde_json::Value;

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// What was answered.
    pub(crate) status: &'static str,
}

impl Request {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// An answer: status line, more headers, body.
pub(crate) type Reply = (&'static str, &'static str, &'static str);

pub(crate) const OK: Reply = ("200 OK", "", "ok");

/// An HTTP server on a port of its own.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    reply: Arc<Mutex<Reply>>,
}

impl Server {
    pub(crate) fn start(reply: Reply) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, reply) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(reply)));
        let server = Server { address, requests: Arc::clone(&requests), reply: Arc::clone(&reply) };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (requests, reply) = (Arc::clone(&requests), Arc::clone(&reply));
                std::thread::spawn(move || serve(stream, &requests, &reply));
            }
        });
        server
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn answer(&self, reply: Reply) {
        *self.reply.lock().unwrap() = reply;
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Waits for so many requests.
    pub(crate) fn wait(&self, count: usize) -> Vec<Request> {
        until("requests", || (self.requests().len() >= count).then(|| self.requests()))
    }
}

fn serve(stream: TcpStream, requests: &Mutex<Vec<Request>>, reply: &Mutex<Reply>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let (mut headers, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        }
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (status, more, text) = *reply.lock().unwrap();
    requests.lock().unwrap().push(Request { path, headers, body, status });
    let length = text.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{more}\r\n{text}"
    );
    let mut stream = stream;
    stream.write_all(answer.as_bytes()).ok()
}

/// Waits for something to be there; long enough for a busy machine.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A notifier, and the events it reported.
pub(crate) struct Watched {
    pub(crate) notifier: Notifier,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Watched {
    pub(crate) fn open(folder: &Path, yaml: &str) -> Watched {
        let settings = Settings {
            external_url: "http://memsight.example".to_owned(),
            external_labels: Labels::empty(),
        };
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&events);
        let on_event = move |event| heard.lock().unwrap().push(event);
        let notifier = Notifier::open(folder, &config(yaml), settings, on_event).unwrap();
        Watched { notifier, events }
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }

    pub(crate) fn fire(&self, alerts: Vec<Alert>) {
        self.notifier.update(now(), "test", alerts);
    }
}

pub(crate) fn config(yaml: &str) -> Config {
    serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"))
}

/// One receiver `team` that is told at once; `ways` are its ways.
pub(crate) fn quick(ways: &str) -> String {
    format!(
        "route: {{receiver: team, group_by: [alertname], group_wait: 0s, group_interval: 100ms}}\n\
         receivers:\n- name: team\n  {}\n",
        ways.trim().replace('\n', "\n  ")
    )
}

pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    Timestamp(i64::try_from(since.as_millis()).unwrap())
}

/// An alert as our own rules make them.
pub(crate) fn alert(name: &str, instance: &str) -> Alert {
    Alert {
        labels: Labels::new([
            ("alertname", name),
            ("instance", instance),
            ("service", "shop"),
            ("severity", "critical"),
        ]),
        annotations: Labels::new([
            ("summary", "shop leaks <heap> & grows"),
            ("verdict", "heap-leak: main.(*Cache).Put, 12 MiB/min"),
            ("next", "memsight heap why main.cache"),
            ("link", "http://memsight.example/target/7"),
        ]),
        starts_at: Timestamp(1_700_000_000_000),
        ends_at: None,
        generator_url: "http://memsight.example/rules/leak".to_owned(),
    }
}
