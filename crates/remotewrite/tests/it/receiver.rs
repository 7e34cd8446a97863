//! A receiver that does what a test wants, and writes down what it was sent. It reads the
//! messages by code of its own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request, read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) series: Vec<Series>,
    /// Kind, name, help; of 1.0.
    pub(crate) metadata: Vec<(u64, String, String)>,
    pub(crate) symbols: Vec<String>,
}

/// Labels.
pub(crate) type Pairs = Vec<(String, String)>;

/// A time series of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series {
    pub(crate) labels: Pairs,
    /// Time, bits of the value, start.
    pub(crate) samples: Vec<(i64, u64, i64)>,
    /// Fields of native histograms.
    pub(crate) histograms: Vec<Vec<(u64, Field)>>,
    /// Labels, value, time.
    pub(crate) exemplars: Vec<(Pairs, f64, i64)>,
    /// Kind, help, unit; of 2.0.
    pub(crate) metadata: Option<(u64, String, String)>,
}

impl Series {
    pub(crate) fn label(&self, name: &str) -> &str {
        let found = self.labels.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.as_str())
    }
}

impl Request {
    pub(crate) fn is_v2(&self) -> bool {
        self.headers["content-type"].contains("v2")
    }

    pub(crate) fn values(&self) -> usize {
        self.series.iter().map(|series| series.samples.len() + series.histograms.len()).sum()
    }
}

/// Status, headers, body.
pub(crate) type Reply = (u16, String, String);

pub(crate) fn reply(status: u16, body: &str) -> Reply {
    (status, String::new(), body.to_owned())
}

/// What a 2.0 receiver says of how much it wrote.
pub(crate) fn written(status: u16, samples: usize, body: &str) -> Reply {
    (status, format!("X-Prometheus-Remote-Write-Samples-Written: {samples}\r\n"), body.to_owned())
}

/// A receiver on a port of its own.
pub(crate) struct Receiver {
    pub(crate) url: String,
    pub(crate) requests: Arc<Mutex<Vec<Request>>>,
}

impl Receiver {
    /// Answers by `script`, which also gets how many requests there were before.
    pub(crate) fn start(
        script: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static,
    ) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/write", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (kept, script) = (Arc::clone(&requests), Arc::new(script));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, script) = (Arc::clone(&kept), Arc::clone(&script));
                std::thread::spawn(move || serve(stream, &kept, &*script));
            }
        });
        Receiver { url, requests }
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(
    stream: TcpStream,
    kept: &Mutex<Vec<Request>>,
    script: &(impl Fn(usize, &Request) -> Reply + ?Sized),
) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut request = Request::default();
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).unwrap();
            let Some((name, value)) = header.trim_end().split_once(": ") else { break };
            request.headers.insert(name.to_lowercase(), value.to_owned());
        }
        let mut body = vec![0; request.headers["content-length"].parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        let message = snap::raw::Decoder::new().decompress_vec(&body).unwrap();
        match request.is_v2() {
            true => read_v2(&message, &mut request),
            false => read_v1(&message, &mut request),
        }
        let mut all = kept.lock().unwrap();
        let (status, headers, body) = script(all.len(), &request);
        all.push(request);
        drop(all);
        let length = body.len();
        let answer =
            format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n{headers}\r\n{body}");
        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// A field of a message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Field {
    Number(u64),
    Bytes(Vec<u8>),
}

impl Field {
    pub(crate) fn number(&self) -> u64 {
        match self {
            Field::Number(number) => *number,
            Field::Bytes(_) => panic!("{self:?} is no number"),
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Field::Bytes(bytes) => bytes,
            Field::Number(_) => panic!("{self:?} is not bytes"),
        }
    }

    fn text(&self) -> String {
        String::from_utf8(self.bytes().to_vec()).unwrap()
    }
}

pub(crate) fn varint(bytes: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return value;
        }
        shift += 7;
    }
}

pub(crate) fn fields(mut bytes: &[u8]) -> Vec<(u64, Field)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let field = match key & 7 {
            0 => Field::Number(varint(&mut bytes)),
            1 => {
                let (value, rest) = bytes.split_at(8);
                bytes = rest;
                Field::Number(u64::from_le_bytes(value.try_into().unwrap()))
            }
            2 => {
                let length = varint(&mut bytes) as usize;
                let (value, rest) = bytes.split_at(length);
                bytes = rest;
                Field::Bytes(value.to_vec())
            }
            wire => panic!("wire type {wire}"),
        };
        found.push((key >> 3, field));
    }
    found
}

/// The last of a number's fields, or 0.
fn number(fields: &[(u64, Field)], wanted: u64) -> u64 {
    fields.iter().rev().find(|(known, _)| *known == wanted).map_or(0, |(_, field)| field.number())
}

fn text(fields: &[(u64, Field)], wanted: u64) -> String {
    let found = fields.iter().rev().find(|(known, _)| *known == wanted);
    found.map_or(String::new(), |(_, field)| field.text())
}

fn label(bytes: &[u8]) -> (String, String) {
    let label = fields(bytes);
    (text(&label, 1), text(&label, 2))
}

fn read_v1(message: &[u8], request: &mut Request) {
    for (number_of, field) in fields(message) {
        let inner = fields(field.bytes());
        if number_of == 3 {
            request.metadata.push((number(&inner, 1), text(&inner, 2), text(&inner, 4)));
            continue;
        }
        assert_eq!(number_of, 1);
        let mut series = Series::default();
        for (number_of, field) in inner {
            let inner = fields(field.bytes());
            match number_of {
                1 => series.labels.push(label(field.bytes())),
                2 => series.samples.push((number(&inner, 2) as i64, number(&inner, 1), 0)),
                3 => {
                    let labels = inner.iter().filter(|(known, _)| *known == 1);
                    let labels = labels.map(|(_, field)| label(field.bytes())).collect();
                    let value = f64::from_bits(number(&inner, 2));
                    series.exemplars.push((labels, value, number(&inner, 3) as i64));
                }
                4 => series.histograms.push(inner),
                _ => panic!("field {number_of}"),
            }
        }
        request.series.push(series);
    }
}

fn read_v2(message: &[u8], request: &mut Request) {
    let message = fields(message);
    let symbols = message.iter().filter(|(known, _)| *known == 4);
    request.symbols = symbols.map(|(_, field)| field.text()).collect();
    let symbols = request.symbols.clone();
    let pairs = |field: &Field| {
        let (mut bytes, mut texts) = (field.bytes(), Vec::new());
        while !bytes.is_empty() {
            texts.push(symbols[varint(&mut bytes) as usize].clone());
        }
        assert_eq!(texts.len() % 2, 0);
        texts.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect::<Vec<_>>()
    };
    for (_, field) in message.iter().filter(|(known, _)| *known != 4) {
        let mut series = Series::default();
        for (number_of, field) in fields(field.bytes()) {
            if number_of == 1 {
                series.labels = pairs(&field);
                continue;
            }
            let inner = fields(field.bytes());
            let symbol = |wanted| symbols[number(&inner, wanted) as usize].clone();
            match number_of {
                2 => {
                    let [value, time, start] = [1, 2, 3].map(|wanted| number(&inner, wanted));
                    series.samples.push((time as i64, value, start as i64));
                }
                3 => series.histograms.push(inner),
                4 => {
                    let labels = inner.iter().find(|(known, _)| *known == 1);
                    let labels = labels.map_or(Vec::new(), |(_, field)| pairs(field));
                    let value = f64::from_bits(number(&inner, 2));
                    series.exemplars.push((labels, value, number(&inner, 3) as i64));
                }
                5 => series.metadata = Some((number(&inner, 1), symbol(3), symbol(4))),
                _ => panic!("field {number_of}"),
            }
        }
        assert!(series.samples.is_empty() || series.histograms.is_empty(), "{series:?}");
        assert!(series.samples.len() + series.histograms.len() > 0, "{series:?}");
        request.series.push(series);
    }
}
