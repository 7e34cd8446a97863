//! The configuration file of the watch: `memsight.yaml`.
//!
//! Strict: what is not known is an error with its line and column. Blocks that Prometheus and
//! Alertmanager have (`remote_write`, `scrape_configs`, `rule_files`, `alerting`, `route`,
//! `receivers`) are written as there.

mod sections;
mod text;
pub(crate) mod values;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use promql::rules::{RuleFile, RuleGroup};
use serde::Deserialize;

use crate::rules::config::{Placed, RuleConfig};
use crate::rules::{self, Action, Fault, Rule};
use crate::scrape::{self, ScrapeConfig};

pub use sections::{
    Budget, Distributions, Global, LogFormat, Logging, ProbeUse, Probes, Storage, Targets, Web,
};
pub use text::ConfigError;
pub(crate) use text::matching;

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What holds for all of it.
    pub global: Global,
    /// Which processes are watched.
    pub targets: Targets,
    /// Probes in the kernel.
    pub probes: Probes,
    /// Pages, API and metrics.
    pub web: Web,
    /// Where captures and series are kept, and how long.
    pub store: Storage,
    /// What the watch may cost.
    pub budget: Budget,
    /// What is logged.
    pub log: Logging,
    /// The rules that come with memsight are in force; a rule of the same name takes a rule's place.
    pub default_rules: DefaultRules,
    /// What is captured when.
    pub rules: Vec<Placed<RuleConfig>>,
    /// Pages of others that are read and forwarded.
    pub scrape_configs: Vec<ScrapeConfig>,
    /// Where series are sent.
    pub remote_write: Vec<remotewrite::Config>,
    /// Files of Prometheus's rules; `*` and `?` in the name of the file.
    pub rule_files: Vec<PathBuf>,
    /// Alertmanagers that get all alerts, as in prometheus.yml.
    pub alerting: notify::Alerting,
    /// Who is told and how: what stands in alertmanager.yml.
    pub notify: notify::Config,
}

/// `true` unless the file says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct DefaultRules(pub bool);

impl Default for DefaultRules {
    fn default() -> DefaultRules {
        DefaultRules(true)
    }
}

impl Config {
    /// Reads a file, and the files it names.
    ///
    /// # Errors
    /// The first fault, with its place.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::whole(path, error.to_string()))?;
        if text.trim().is_empty() {
            // Some editors empty a file before they write it, and a reload may come in between.
            let why = "is empty: `targets: {all_go: true}` is the least that watches something";
            return Err(ConfigError::whole(path, why));
        }
        Config::parse(path, &text, &|name| std::env::var(name).ok())
    }

    /// Reads text; `path` is where relative names in it start, and what errors say.
    ///
    /// # Errors
    /// The first fault, with its place.
    pub fn parse(
        path: &Path,
        text: &str,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Config, ConfigError> {
        let text = text::expand(path, text, environment)?;
        let is_empty = text.lines().all(|line| line.trim().is_empty() || line.starts_with('#'));
        if is_empty {
            return Ok(Config::default());
        }
        let faulty = |fault| ConfigError { path: path.to_owned(), faults: vec![fault] };
        let config: Config = rules::config::read(&text).map_err(faulty)?;
        config.checked(path)
    }

    /// One line on what is watched.
    pub fn summary(&self) -> String {
        let Targets { all_go, watch, .. } = &self.targets;
        match (all_go, watch.len()) {
            (true, 0) => "all Go processes".to_owned(),
            (true, count) => format!("all Go processes and {count} named targets"),
            (false, count) => format!("{count} named targets"),
        }
    }

    /// The rules that are in force.
    ///
    /// # Errors
    /// All that is wrong with those of the file.
    pub fn rules(&self) -> Result<Vec<Rule>, Vec<Fault>> {
        let mut rules = rules::compile(&self.rules)?;
        if self.default_rules.0 {
            let names: BTreeSet<String> = rules.iter().map(|rule| rule.name.clone()).collect();
            let others = rules::defaults().into_iter().filter(|rule| !names.contains(&rule.name));
            rules.extend(others);
        }
        Ok(rules)
    }

    /// Who is told, with a way to each receiver that a rule names.
    pub fn notifications(&self) -> notify::Config {
        let mut config = self.notify.clone();
        let named = self.alerting.alertmanagers.iter().cloned();
        config.alerting.alertmanagers.extend(named);
        config.alerting.resend_delay = config.alerting.resend_delay.or(self.alerting.resend_delay);
        config.route_by_label(crate::alerts::NOTIFY);
        config
    }

    /// The groups of all files of Prometheus's rules, by file.
    ///
    /// # Errors
    /// All that is wrong with the first file that is.
    pub fn rule_groups(&self) -> Result<Vec<(String, Vec<RuleGroup>)>, ConfigError> {
        let mut found = Vec::new();
        for path in self.rule_files.iter().flat_map(|pattern| matching(pattern)) {
            let text = std::fs::read_to_string(&path)
                .map_err(|error| ConfigError::whole(&path, error.to_string()))?;
            let file = RuleFile::parse(&text).map_err(|errors| {
                let faults = errors.iter().map(|error| Fault {
                    line: error.place.line,
                    column: error.place.column,
                    text: error.message.clone(),
                });
                ConfigError { path: path.clone(), faults: faults.collect() }
            })?;
            found.push((path.display().to_string(), file.groups));
        }
        Ok(found)
    }

    /// What differs from the configuration in force and waits for the next start.
    pub(crate) fn later(&self, in_force: &Config) -> impl Iterator<Item = &'static str> {
        let web = (self.web != in_force.web).then_some("web: takes effect at the next start");
        let is_elsewhere = self.store.path != in_force.store.path;
        web.into_iter().chain(is_elsewhere.then_some("store: path: takes effect at the next start"))
    }

    /// Receivers that rules name and that are not there.
    fn unknown_receiver(&self, rules: &[Rule]) -> Option<String> {
        let known =
            |name: &str| self.notify.receivers.iter().any(|receiver| receiver.name.value == name);
        let mut notices = rules.iter().flat_map(|rule| rule.actions.iter().map(move |a| (rule, a)));
        notices.find_map(|(rule, action)| match action {
            Action::Notify { receiver, .. } if !known(receiver) => Some(format!(
                "rule {}: there is no receiver {receiver:?} under notify: receivers:",
                rule.name
            )),
            _ => None,
        })
    }

    fn checked(mut self, path: &Path) -> Result<Config, ConfigError> {
        let base = path.parent().unwrap_or(Path::new(""));
        self.web.resolve(path, base)?;
        self.store.path = base.join(&self.store.path);
        for config in &mut self.scrape_configs {
            config.set_directory(base);
            config.resolve_lists(base);
        }
        self.remote_write.iter_mut().for_each(|config| config.set_directory(base));
        self.alerting.set_directory(base);
        self.notify.set_directory(base);
        self.rule_files.iter_mut().for_each(|file| resolve(base, file));
        let rules = self.rules();
        let rules = rules.map_err(|faults| ConfigError { path: path.to_owned(), faults })?;
        let whole = |text: String| ConfigError::whole(path, text);
        scrape::check(&self.scrape_configs).map_err(whole)?;
        remotewrite::check(&self.remote_write).map_err(whole)?;
        if let Some(text) = self.unknown_receiver(&rules) {
            return Err(whole(text));
        }
        self.notifications().validate().map_err(|error| whole(format!("notify: {error}")))?;
        self.rule_groups()?;
        Ok(self)
    }
}

/// A file that a configuration names: relative to the configuration.
pub(crate) fn resolve(base: &Path, path: &mut PathBuf) {
    *path = base.join(&*path);
}

#[cfg(test)]
mod tests;
