//! What Prometheus and Grafana need to know of memsight's series: recording and alerting rules,
//! unit tests for them, and dashboards. All are made of the tables in `definitions`.

mod dashboards;
mod definitions;
mod rules;

pub use dashboards::{DASHBOARDS, Dashboard, dashboard};
pub use rules::{rule_tests, rules};

/// What differs between sites.
#[derive(Clone, Debug)]
pub struct Settings {
    /// From this share of the limit on a process is near it.
    pub near_limit: f64,
    /// How far ahead is looked.
    pub horizon: std::time::Duration,
    /// Labels of all alerts, such as a team.
    pub labels: Vec<(String, String)>,
}

impl Default for Settings {
    fn default() -> Settings {
        let horizon = std::time::Duration::from_secs(4 * 3600);
        Settings { near_limit: 0.9, horizon, labels: Vec::new() }
    }
}

impl Settings {
    /// Puts the settings in the place of `$near` and `$horizon`. `$forecast_limit` is what
    /// 10,000 bytes that grow by one a minute are seen to reach after two and a half hours.
    fn fill(&self, text: &str) -> String {
        let horizon = model::units::format_duration(self.horizon);
        let limit = 10_150 + self.horizon.as_secs() / 60;
        text.replace("$forecast_limit", &limit.to_string())
            .replace("$near", &format!("{}", self.near_limit))
            .replace("$horizon_seconds", &self.horizon.as_secs().to_string())
            .replace("$horizon", &horizon)
    }
}
