//! Delivers alerts that its input names: `notifier FOLDER CONFIG`, then a line for each
//! evaluation with the names of the alerts that fire. Each event is a line of output.

use std::io::BufRead;
use std::path::Path;
use std::time::{Duration, SystemTime};

use model::series::Labels;
use model::units::Timestamp;
use notify::{Alert, Config, Notifier, Settings};

type Failed = Box<dyn std::error::Error>;

fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, folder, config] = arguments.as_slice() else {
        return Err("usage: notifier FOLDER CONFIG".into());
    };
    let config: Config = serde_saphyr::from_str(&std::fs::read_to_string(config)?)?;
    let on_event = |event| println!("{event:?}");
    let notifier = Notifier::open(Path::new(folder), &config, Settings::default(), on_event)?;
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let since = SystemTime::UNIX_EPOCH.elapsed()?;
        let now = Timestamp(i64::try_from(since.as_millis())?);
        let alerts = line?.split_whitespace().map(|name| alert(name, now)).collect();
        notifier.update(now, "input", alerts);
    }
    println!("drained: {}", notifier.drain(Duration::from_secs(10)));
    Ok(())
}

fn alert(name: &str, now: Timestamp) -> Alert {
    Alert {
        labels: Labels::new([("alertname", name)]),
        annotations: Labels::new([("summary", format!("{name} fires").as_str())]),
        starts_at: now,
        ends_at: None,
        generator_url: String::new(),
    }
}
