//! Feeds remote write with series that are easy to check, or with a page that it scrapes.
//!
//! `feed CONFIG.yml FOLDER [--series N] [--rounds N] [--interval MILLIS] [--first ROUND]
//! [--scrape URL] [--drain SECONDS]`: round R has the value R in each series `probe{series="S"}`.
//! Each round is printed once it is in the queue, so what was printed must arrive, whatever
//! happens to this process. At the end it prints what the destinations say of themselves.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use httpclient::Client;
use model::series::{NAME, Value};
use model::{Family, FamilyKind, Labels, Point, Timestamp};
use remotewrite::{Config, Limits, Notice, RemoteWrites};

type Failure = Box<dyn std::error::Error>;

struct Arguments {
    config: PathBuf,
    folder: PathBuf,
    series: usize,
    rounds: u64,
    interval: Duration,
    first: u64,
    scrape: Option<String>,
    drain: Duration,
}

fn arguments() -> Result<Arguments, Failure> {
    let mut words = std::env::args().skip(1);
    let mut next = || words.next().ok_or("feed CONFIG.yml FOLDER [--series N] ...");
    let (config, folder) = (next()?.into(), next()?.into());
    let mut found = Arguments {
        config,
        folder,
        series: 10,
        rounds: u64::MAX,
        interval: Duration::from_secs(1),
        first: 0,
        scrape: None,
        drain: Duration::from_secs(60),
    };
    while let Ok(name) = next() {
        let value = next()?;
        match name.as_str() {
            "--series" => found.series = value.parse()?,
            "--rounds" => found.rounds = value.parse()?,
            "--interval" => found.interval = Duration::from_millis(value.parse()?),
            "--first" => found.first = value.parse()?,
            "--scrape" => found.scrape = Some(value),
            "--drain" => found.drain = Duration::from_secs(value.parse()?),
            _ => return Err(format!("unknown argument {name}").into()),
        }
    }
    Ok(found)
}

fn main() -> Result<(), Failure> {
    let arguments = arguments()?;
    let configs: Vec<Config> =
        serde_saphyr::from_str(&std::fs::read_to_string(&arguments.config)?)?;
    let report = Arc::new(|notice: Notice| eprintln!("{notice}"));
    let limits = Limits::default();
    let folder = &arguments.folder;
    let writes = RemoteWrites::open(folder, &Labels::empty(), &configs, limits, report)?;
    let labels: Vec<Labels> = (0..arguments.series).map(series).collect();
    let client = Client::new(&httpclient::Options::default(), Duration::from_secs(10))?;
    for round in arguments.first..arguments.first.saturating_add(arguments.rounds) {
        let began = Instant::now();
        let families = match &arguments.scrape {
            Some(url) => scrape(&client, url),
            None => vec![family(&labels, round)],
        };
        writes.append("feed", now(), &families);
        println!("{round}");
        std::thread::sleep(arguments.interval.saturating_sub(began.elapsed()));
    }
    let is_drained = writes.drain(arguments.drain);
    eprintln!("drained: {is_drained}");
    for status in writes.status() {
        eprintln!("{status:?}");
    }
    Ok(())
}

fn now() -> Timestamp {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(now.as_millis() as i64)
}

/// Labels as an ordinary service has them.
fn series(index: usize) -> Labels {
    let (number, pod) = (index.to_string(), format!("shop-7d9f8b6c5-{:05}", index / 100));
    Labels::new([
        (NAME, "probe"),
        ("series", number.as_str()),
        ("job", "shop"),
        ("instance", "10.42.17.133:9090"),
        ("pod", &pod),
        ("namespace", "production"),
        ("handler", "/api/v1/orders/{id}"),
    ])
}

fn family(labels: &[Labels], round: u64) -> Family {
    let points = labels.iter().map(|labels| Point::new(labels.clone(), round as f64));
    let points = points.collect();
    let (name, help) = ("probe".to_owned(), "The round.".to_owned());
    Family { name, kind: FamilyKind::Gauge, help, unit: String::new(), points }
}

/// As much of the text format as the conformance suite has.
fn scrape(client: &Client, url: &str) -> Vec<Family> {
    let accept = [("Accept", "application/openmetrics-text; version=1.0.0")];
    let page = client.send("GET", url, &accept, b"").map(|answer| answer.body);
    let is_up = page.is_ok();
    let page = String::from_utf8(page.unwrap_or_default()).unwrap_or_default();
    let mut families: Vec<Family> = Vec::new();
    let instance = url.split("://").nth(1).and_then(|rest| rest.split('/').next());
    let target = [("job", "test"), ("instance", instance.unwrap_or_default())];
    let mut starts = Vec::new();
    for line in page.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' ')) {
            let kind = FamilyKind::ALL.into_iter().find(|known| known.as_str() == kind);
            let kind = kind.unwrap_or_default();
            families.push(Family { name: name.to_owned(), kind, ..Family::default() });
            continue;
        }
        let Some((left, right)) = line.split_once(' ').filter(|_| !line.starts_with('#')) else {
            continue;
        };
        let (name, pairs) = left.trim_end_matches('}').split_once('{').unwrap_or((left, ""));
        let Ok(value) = right.split(' ').next().unwrap_or_default().parse::<f64>() else {
            continue;
        };
        if let Some(base) = name.strip_suffix("_created") {
            starts.push((base.to_owned(), value));
            continue;
        }
        let pairs = pairs.split(',').filter_map(|pair| pair.split_once('='));
        let pairs = pairs.map(|(name, value)| (name, value.trim_matches('"')));
        let labels = Labels::new(pairs.chain(target).chain([(NAME, name)]));
        if families.last().is_none_or(|family| !name.starts_with(&family.name)) {
            families.push(Family { name: name.to_owned(), ..Family::default() });
        }
        if let Some(family) = families.last_mut() {
            family.points.push(Point::new(labels, value));
        }
    }
    for point in families.iter_mut().flat_map(|family| &mut family.points) {
        let name = point.labels.name().to_owned();
        let start = starts.iter().find(|(base, _)| name.starts_with(base));
        point.start = start.map(|(_, seconds)| Timestamp((seconds * 1000.0).round() as i64));
    }
    let up = Labels::new(target.into_iter().chain([(NAME, "up")]));
    let own = |name: &str| up.with([(NAME, name)]);
    let point =
        |name: &str, value| Point { value: Value::Float(value), ..Point::new(own(name), 0.0) };
    let points =
        vec![point("up", f64::from(u8::from(is_up))), point("scrape_samples_scraped", 1.0)];
    families.push(Family { points, ..Family::default() });
    families
}
