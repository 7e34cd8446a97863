//! Arguments of `agent`.

use std::path::PathBuf;

use clap::Args;

pub(crate) const EXAMPLES: &str = "\
Examples:
  memsight agent --example > memsight.yaml        a configuration to start from
  memsight agent -c memsight.yaml                 watches as the file says, until SIGTERM
  memsight agent -c memsight.yaml --check-config  says what is wrong with the file, and where
  kill -HUP $(pidof memsight)                     reads the file again; a faulty one changes nothing

The smallest file:
  targets: {all_go: true}

With what Prometheus and Alertmanager have, pasted as it is:
  targets: {all_go: true, exclude: ['^kubelet']}
  remote_write: [{url: http://127.0.0.1:9090/api/v1/write}]
  alerting: {alertmanagers: [{static_configs: [{targets: ['127.0.0.1:9093']}]}]}

Signals: HUP reads the file again, USR1 fires rules that wait for it (event: signal), TERM and INT
hand over what is queued and end.
Health: /-/healthy answers while the program runs, /-/ready once it watches.";

/// Arguments of `agent`.
#[derive(Debug, Args)]
pub(crate) struct AgentArgs {
    /// The configuration.
    #[arg(short, long, value_name = "FILE", required_unless_present = "example")]
    pub config: Option<PathBuf>,
    /// Prints a configuration to start from, with what can be set, and ends.
    #[arg(long, conflicts_with = "config")]
    pub example: bool,
    /// Reads the configuration, says what is wrong with it, and ends.
    #[arg(long)]
    pub check_config: bool,
    /// From which level on events are logged: error, warn, info, debug; over what the file says.
    #[arg(long, value_name = "LEVEL", value_parser = level)]
    pub log_level: Option<agent::Level>,
    /// How they are written: text or json; over what the file says.
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    pub log_format: Option<agent::config::LogFormat>,
    /// Opens a damaged catalog by setting it aside and rebuilding it from the captures.
    #[arg(long)]
    pub repair: bool,
}

fn level(text: &str) -> Result<agent::Level, String> {
    agent::Level::parse(text).ok_or_else(|| "expected error, warn, info or debug".to_owned())
}

fn format(text: &str) -> Result<agent::config::LogFormat, String> {
    match text {
        "text" => Ok(agent::config::LogFormat::Text),
        "json" => Ok(agent::config::LogFormat::Json),
        _ => Err("expected text or json".to_owned()),
    }
}
