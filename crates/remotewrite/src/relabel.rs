//! Relabelling, as Prometheus does it: rules that drop series and change labels.
//!
//! Regular expressions are anchored, and those of RE2's syntax that the `regex` crate knows.

use md5::md5;
use model::series::Labels;
use regex::Regex;
use serde::Deserialize;

mod md5;

/// A rule of a `relabel_configs` block.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Written")]
pub struct Rule {
    written: Written,
    regex: Regex,
}

impl PartialEq for Rule {
    fn eq(&self, other: &Rule) -> bool {
        self.written == other.written
    }
}

/// A rule as it is written.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    source_labels: Option<Vec<String>>,
    separator: String,
    regex: Option<String>,
    modulus: u64,
    target_label: String,
    replacement: String,
    action: Action,
}

const SEPARATOR: &str = ";";
const ALL: &str = "(.*)";
const WHOLE: &str = "$1";
/// A compiled expression may be this large; some repetitions would take gigabytes.
const REGEX_BYTES_MAX: usize = 4 << 20;

impl Default for Written {
    fn default() -> Written {
        Written {
            source_labels: None,
            separator: SEPARATOR.to_owned(),
            regex: None,
            modulus: 0,
            target_label: String::new(),
            replacement: WHOLE.to_owned(),
            action: Action::Replace,
        }
    }
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
enum Action {
    Replace,
    Keep,
    Drop,
    KeepEqual,
    DropEqual,
    HashMod,
    LabelMap,
    LabelDrop,
    LabelKeep,
    Lowercase,
    Uppercase,
}

const ACTIONS: [(&str, Action); 11] = [
    ("replace", Action::Replace),
    ("keep", Action::Keep),
    ("drop", Action::Drop),
    ("keepequal", Action::KeepEqual),
    ("dropequal", Action::DropEqual),
    ("hashmod", Action::HashMod),
    ("labelmap", Action::LabelMap),
    ("labeldrop", Action::LabelDrop),
    ("labelkeep", Action::LabelKeep),
    ("lowercase", Action::Lowercase),
    ("uppercase", Action::Uppercase),
];

impl TryFrom<String> for Action {
    type Error = String;

    fn try_from(text: String) -> Result<Action, String> {
        let lower = text.to_lowercase();
        let action = ACTIONS.iter().find(|(name, _)| *name == lower).map(|(_, action)| *action);
        let names = || ACTIONS.map(|(name, _)| name).join(", ");
        action.ok_or_else(|| format!("unknown relabel action {text:?}: write one of {}", names()))
    }
}

impl Action {
    fn name(self) -> &'static str {
        ACTIONS.iter().find(|(_, action)| *action == self).map_or("", |(name, _)| name)
    }
}

impl TryFrom<Written> for Rule {
    type Error = String;

    fn try_from(written: Written) -> Result<Rule, String> {
        written.check()?;
        let text = format!("^(?s:{})$", written.regex.as_deref().unwrap_or(ALL));
        let regex = regex::RegexBuilder::new(&text).size_limit(REGEX_BYTES_MAX).build();
        let regex = regex.map_err(|error| format!("regex: {error}"))?;
        Ok(Rule { written, regex })
    }
}

impl Written {
    fn check(&self) -> Result<(), String> {
        use Action::{
            DropEqual, HashMod, KeepEqual, LabelDrop, LabelKeep, LabelMap, Lowercase, Replace,
            Uppercase,
        };
        let action = self.action;
        let name = action.name();
        if action == HashMod && self.modulus == 0 {
            return Err("hashmod needs a modulus above 0".to_owned());
        }
        let has_target =
            [Replace, HashMod, Lowercase, Uppercase, KeepEqual, DropEqual].contains(&action);
        if has_target && self.target_label.is_empty() {
            return Err(format!("{name} needs a target_label"));
        }
        let is_default_replacement = self.replacement == WHOLE;
        if [Lowercase, Uppercase, KeepEqual, DropEqual].contains(&action) && !is_default_replacement
        {
            return Err(format!("replacement cannot be set for {name}"));
        }
        if action == LabelMap && self.replacement.is_empty() {
            return Err("replacement must not be empty for labelmap".to_owned());
        }
        let is_plain = self.modulus == 0 && self.separator == SEPARATOR && is_default_replacement;
        if [KeepEqual, DropEqual].contains(&action) && (self.regex.is_some() || !is_plain) {
            return Err(format!("{name} takes only source_labels and target_label"));
        }
        let has_labels = self.source_labels.is_some() || !self.target_label.is_empty();
        if [LabelDrop, LabelKeep].contains(&action) && (has_labels || !is_plain) {
            return Err(format!("{name} takes only regex"));
        }
        Ok(())
    }

    fn value(&self, labels: &Labels) -> String {
        let names = self.source_labels.iter().flatten();
        let values: Vec<&str> = names.map(|name| labels.get(name).unwrap_or_default()).collect();
        values.join(&self.separator)
    }
}

/// The labels after all rules; nothing when one of them drops the series.
pub fn relabel(rules: &[Rule], labels: &Labels) -> Option<Labels> {
    let mut labels = labels.clone();
    for rule in rules {
        labels = rule.apply(labels)?;
    }
    Some(labels)
}

/// Letter by letter, as Go does: what would become two letters stays.
fn cased<I: ExactSizeIterator<Item = char>>(text: &str, change: impl Fn(char) -> I) -> String {
    let one = |letter: char| {
        let mut changed = change(letter);
        if changed.len() == 1 { changed.next().unwrap_or(letter) } else { letter }
    };
    text.chars().map(one).collect()
}

impl Rule {
    fn apply(&self, labels: Labels) -> Option<Labels> {
        let written = &self.written;
        let target = written.target_label.as_str();
        let value = written.value(&labels);
        let is_equal = || labels.get(target).unwrap_or_default() == value;
        match written.action {
            Action::Drop => (!self.regex.is_match(&value)).then_some(labels),
            Action::Keep => self.regex.is_match(&value).then_some(labels),
            Action::DropEqual => (!is_equal()).then_some(labels),
            Action::KeepEqual => is_equal().then_some(labels),
            Action::Replace => Some(self.replace(labels, &value)),
            Action::Lowercase => {
                Some(labels.with([(target, cased(&value, char::to_lowercase).as_str())]))
            }
            Action::Uppercase => {
                Some(labels.with([(target, cased(&value, char::to_uppercase).as_str())]))
            }
            Action::HashMod => {
                let digest = md5(value.as_bytes());
                let last =
                    digest.iter().skip(8).fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
                let rest = (last % written.modulus.max(1)).to_string();
                Some(labels.with([(target, rest.as_str())]))
            }
            Action::LabelMap => Some(self.map(&labels)),
            Action::LabelDrop => Some(labels.filtered(|name| !self.regex.is_match(name))),
            Action::LabelKeep => Some(labels.filtered(|name| self.regex.is_match(name))),
        }
    }

    fn replace(&self, labels: Labels, value: &str) -> Labels {
        let Some(found) = self.regex.captures(value) else { return labels };
        let (mut target, mut replacement) = (String::new(), String::new());
        found.expand(&self.written.target_label, &mut target);
        found.expand(&self.written.replacement, &mut replacement);
        if target.is_empty() {
            return labels;
        }
        labels.with([(target.as_str(), replacement.as_str())])
    }

    fn map(&self, labels: &Labels) -> Labels {
        let renamed = labels.iter().filter_map(|(name, value)| {
            let mut renamed = String::new();
            self.regex.captures(name)?.expand(&self.written.replacement, &mut renamed);
            Some((renamed, value))
        });
        let renamed: Vec<(String, &str)> = renamed.collect();
        labels.with(renamed.iter().map(|(name, value)| (name.as_str(), *value)))
    }
}
