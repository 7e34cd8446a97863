//! From what stands in a file to rules that the engine takes: every value is checked, and all
//! that is wrong is told at once, each with its place.

mod conditions;

use std::collections::{BTreeMap, BTreeSet};

use model::CaptureKind;
use regex::RegexBuilder;

use crate::alerts::check_template;

use super::config::{ActionConfig, Fault, FilterConfig, LimitsConfig, Placed, RuleConfig, Text};
use super::rule::{Action, Bound, Condition, Field, Filter, Limits, Rule, Side, Take};
use super::signals::LimitOf;
use super::units::{parse_bytes, parse_millis, split_window};

const RULES_MAX: usize = 1000;
/// A compiled expression is no larger than this.
const REGEX_BYTES_MAX: usize = 1 << 20;
const PAIR_GCS_MAX: u32 = 100;

/// Checks rules.
///
/// # Errors
/// All that is wrong with them.
pub fn compile(configs: &[Placed<RuleConfig>]) -> Result<Vec<Rule>, Vec<Fault>> {
    let mut check = Check::default();
    let mut names: BTreeMap<&str, u32> = BTreeMap::new();
    for config in configs {
        let name = &config.value.name;
        if let Some(line) = names.insert(&name.value, name.line) {
            check.fault(name, format!("there is a rule {:?} in line {line}", name.value));
        }
    }
    if let Some(extra) = configs.get(RULES_MAX) {
        check.fault(extra, format!("more than {RULES_MAX} rules"));
    }
    let rules: Vec<Rule> = configs.iter().filter_map(|config| check.rule(config)).collect();
    check.faults.sort();
    if check.faults.is_empty() { Ok(rules) } else { Err(check.faults) }
}

/// Faults so far. What is wrong is `None` from then on, so that one value gives one fault.
#[derive(Default)]
struct Check {
    faults: Vec<Fault>,
}

impl Check {
    fn fault<T>(&mut self, place: &Placed<T>, text: impl Into<String>) {
        self.faults.push(Fault::at(place, text));
    }

    /// The value, or a fault at its place.
    fn take<T>(&mut self, text: &Text, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        match read(&text.value) {
            Ok(value) => Some(value),
            Err(why) => {
                self.fault(text, why);
                None
            }
        }
    }

    /// As [`Check::take`], of what may be missing; `None` is also a fault.
    fn take_or<T>(
        &mut self,
        text: Option<&Text>,
        missing: T,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        text.map_or(Some(missing), |text| self.take(text, read))
    }

    fn rule(&mut self, place: &Placed<RuleConfig>) -> Option<Rule> {
        let before = self.faults.len();
        let config = &place.value;
        self.name(&config.name);
        let targets = config.targets.as_ref().map(|filter| self.filter(filter));
        let exclude = config.exclude.as_ref().map(|filter| self.filter(filter));
        let when = self.condition(&config.when, false);
        let hold = self.take_or(config.hold.as_ref(), 0, parse_millis);
        if let (Some(text), Some(when), Some(1..)) = (&config.hold, &when, hold)
            && when.is_momentary()
        {
            self.fault(
                text,
                "it can never hold that long: events and high-water marks are of an instant",
            );
        }
        let clear = self.clear(config, when.as_ref());
        let keep_firing = self.take_or(config.keep_firing_for.as_ref(), 0, parse_millis);
        let repeat = config.repeat.as_ref().map(|text| self.take(text, above_zero));
        let actions = self.actions(&config.actions);
        config.annotations.values().for_each(|text| self.template(text));
        let limits = config.limits.as_ref().map(|limits| self.limits(limits)).unwrap_or_default();
        let is_sound = self.faults.len() == before;
        let mut rule = Rule {
            name: config.name.value.clone(),
            is_enabled: config.enabled.unwrap_or(true),
            targets: targets.unwrap_or_default(),
            exclude,
            when: when?,
            hold: hold?,
            clear,
            keep_firing: keep_firing?,
            repeat: repeat.flatten(),
            actions,
            limits,
            severity: config.severity.as_ref().map(|text| text.value.clone()).unwrap_or_default(),
            labels: config.labels.clone(),
            annotations: plain(&config.annotations),
        };
        number_marks(&mut rule);
        is_sound.then_some(rule)
    }

    fn name(&mut self, name: &Text) {
        let is_word = |c: char| c.is_alphanumeric() || "-_.".contains(c);
        if name.value.is_empty() || name.value.len() > 100 || !name.value.chars().all(is_word) {
            self.fault(name, "a rule's name is of letters, digits, - _ and ., at most 100");
        }
    }

    fn filter(&mut self, config: &FilterConfig) -> Filter {
        let fields = [
            (Field::Name, &config.name),
            (Field::Command, &config.command),
            (Field::Cgroup, &config.cgroup),
            (Field::Unit, &config.unit),
            (Field::Container, &config.container),
        ];
        let named = fields.into_iter().filter_map(|(field, text)| Some((field, text.as_ref()?)));
        let labels = config.labels.iter().map(|(name, text)| (Field::Label(name.clone()), text));
        let patterns = named.chain(labels).filter_map(|(field, text)| {
            let regex = self.take(text, |pattern| {
                let anchored = format!("^(?:{pattern})$");
                let built = RegexBuilder::new(&anchored).size_limit(REGEX_BYTES_MAX).build();
                built.map_err(|error| {
                    format!("{pattern:?} is no regular expression: {}", last_line(&error))
                })
            })?;
            Some((field, text.value.clone(), regex))
        });
        Filter { patterns: patterns.collect() }
    }

    /// `clear:`, or what `clear_below` and `clear_above` stand for.
    fn clear(&mut self, config: &RuleConfig, when: Option<&Condition>) -> Option<Condition> {
        let simple = &config.when.value;
        let short = [(&simple.clear_below, Side::Below), (&simple.clear_above, Side::Above)];
        let mut short = short.into_iter().filter_map(|(text, side)| Some((text.as_ref()?, side)));
        let Some((text, side)) = short.next() else {
            return self.condition(config.clear.as_ref()?, true);
        };
        if let Some(clear) = &config.clear {
            self.fault(
                clear,
                "clear is said twice: leave out clear, or clear_below and clear_above",
            );
            return None;
        }
        let Some(Condition::Level { signal, side: fires, bound }) = when else {
            if when.is_some() {
                self.fault(text, "clear_below and clear_above go with above or below of one signal; write clear: instead");
            }
            return None;
        };
        if *fires == side {
            self.fault(text, "it clears on the side where it fires: use the other of clear_below and clear_above");
            return None;
        }
        let of = match bound {
            Bound::Share(_, of) => *of,
            Bound::Amount(_) => LimitOf::Applying,
        };
        let cleared = self.bound(signal, of, text)?;
        let is_reachable = match (bound, cleared) {
            (Bound::Amount(fires), Bound::Amount(clears))
            | (Bound::Share(fires, _), Bound::Share(clears, _)) => match side {
                Side::Below => clears <= *fires,
                Side::Above => clears >= *fires,
            },
            _ => true,
        };
        if !is_reachable {
            self.fault(
                text,
                "it would clear while it still fires: the bound lies beyond that of the condition",
            );
        }
        Some(Condition::Level { signal, side, bound: cleared })
    }

    fn actions(&mut self, configs: &[Placed<ActionConfig>]) -> Vec<Action> {
        let (mut names, mut called) = (BTreeSet::new(), BTreeSet::new());
        let mut actions = Vec::new();
        for place in configs {
            for text in templates(&place.value) {
                self.references(text, &called);
            }
            told(&place.value).for_each(|text| self.template(text));
            if let Some(name) = &place.value.name
                && !names.insert(&name.value)
            {
                self.fault(name, format!("{:?} names an earlier action already", name.value));
            }
            if let Some(action) = self.action(place) {
                called.extend(action.names());
                actions.push(action);
            }
        }
        actions
    }

    fn template(&mut self, text: &Text) {
        self.take(text, check_template);
    }

    /// `$(captures.NAME...)` must be of an earlier action, other names known.
    fn references(&mut self, text: &Text, names: &BTreeSet<String>) {
        for reference in super::references::references(&text.value) {
            if let Err(why) = super::references::check_reference(reference, names) {
                self.fault(text, why);
            }
        }
    }

    fn action(&mut self, place: &Placed<ActionConfig>) -> Option<Action> {
        let config = &place.value;
        match (&config.capture, &config.notify, &config.exec) {
            (Some(kinds), None, None) => self.capture(place, &kinds.0),
            (None, Some(receiver), None) => {
                let text = |text: &Option<Text>| {
                    text.as_ref().map(|text| text.value.clone()).unwrap_or_default()
                };
                let (summary, description) = (text(&config.summary), text(&config.description));
                Some(Action::Notify { receiver: receiver.value.clone(), summary, description })
            }
            (None, None, Some(argv)) => {
                if argv.first().is_none_or(|program| !program.value.starts_with('/')) {
                    self.fault(
                        place,
                        "exec is a list: the program with its whole path, then its arguments",
                    );
                    return None;
                }
                let timeout = self.take_or(config.timeout.as_ref(), 30_000, above_zero)?;
                let argv = argv.iter().map(|text| text.value.clone()).collect();
                Some(Action::Exec { argv, timeout })
            }
            _ => {
                self.fault(place, "an action is one of capture, notify and exec");
                None
            }
        }
    }

    fn capture(&mut self, place: &Placed<ActionConfig>, kinds: &[Text]) -> Option<Action> {
        let config = &place.value;
        let name = config.name.as_ref().map(|name| name.value.clone());
        let length = self.take_or(config.length.as_ref(), 5_000, above_zero)?;
        let words: Vec<&str> = kinds.iter().map(|kind| kind.value.as_str()).collect();
        if words == ["pair"] {
            let Some(kind) = &config.kind else {
                self.fault(place, "a pair needs kind: heap or goroutine");
                return None;
            };
            let taken = self.kind(place, kind, length)?;
            let gcs_apart = self.take_or(config.gcs_apart.as_ref(), 1, |text| {
                let number = text.parse().ok().filter(|number| (1..=PAIR_GCS_MAX).contains(number));
                number.ok_or_else(|| {
                    format!("{text:?}: a number from 1 to {PAIR_GCS_MAX} is expected")
                })
            })?;
            return Some(Action::Pair { kind: taken, gcs_apart, name });
        }
        if let Some(stray) = config.kind.as_ref().or(config.gcs_apart.as_ref()) {
            self.fault(stray, "kind and gcs_apart go with capture: pair");
        }
        if kinds.is_empty() {
            self.fault(place, "there is no kind of capture in it");
        }
        let kinds: Vec<Option<Take>> =
            kinds.iter().map(|kind| self.kind(place, kind, length)).collect();
        Some(Action::Capture { kinds: kinds.into_iter().collect::<Option<_>>()?, name })
    }

    fn kind(&mut self, place: &Placed<ActionConfig>, text: &Text, length: i64) -> Option<Take> {
        let found = CaptureKind::parse(&text.value).map(|kind| match kind.is_lasting() {
            true => Take::Lasting(kind, length),
            false => Take::Kind(kind),
        });
        if found.is_none() {
            let words = CaptureKind::ALL.map(CaptureKind::as_str);
            let all = format!("{}, pair", words.join(", "));
            let why = format!("{:?} is no kind of capture: {all}", text.value);
            // A single word has the place of its action.
            match text.line {
                0 => self.fault(place, why),
                _ => self.fault(text, why),
            }
        }
        found
    }

    fn limits(&mut self, config: &LimitsConfig) -> Limits {
        let mut count = |text: &Option<Text>| {
            text.as_ref().and_then(|text| {
                self.take(text, |text| {
                    let (amount, span) = split_window(text)?;
                    match amount.parse() {
                        Ok(count @ 1..=10_000) => Ok((count, span)),
                        _ => Err(format!("{text:?}: a number from 1 to 10000 is expected; enabled: false switches a rule off")),
                    }
                })
            })
        };
        let (per_target, per_rule) = (count(&config.per_target), count(&config.per_rule));
        let per_node = count(&config.per_node);
        let cooldown = config.cooldown.as_ref().and_then(|text| self.take(text, above_zero));
        let cpu = config.cpu.as_ref().and_then(|text| {
            self.take(text, |text| {
                let (amount, span) = split_window(text)?;
                let millis = above_zero(amount)?;
                Ok((u64::try_from(millis).unwrap_or(0).saturating_mul(1000), span))
            })
        });
        let bytes = config.bytes.as_ref().and_then(|text| {
            self.take(text, |text| {
                let (amount, span) = split_window(text)?;
                Ok((parse_bytes(amount)? as u64, span))
            })
        });
        Limits { per_target, per_rule, per_node, cooldown, cpu, bytes }
    }
}

/// Texts of an action in which references may stand.
fn templates(config: &ActionConfig) -> impl Iterator<Item = &Text> {
    told(config).chain(config.exec.iter().flatten())
}

/// Texts of an action for people: Prometheus's templates.
fn told(config: &ActionConfig) -> impl Iterator<Item = &Text> {
    [&config.summary, &config.description].into_iter().flatten()
}

fn plain(texts: &BTreeMap<String, Text>) -> BTreeMap<String, String> {
    texts.iter().map(|(name, text)| (name.clone(), text.value.clone())).collect()
}

/// Each high-water mark of a rule gets a place in the rule's state.
fn number_marks(rule: &mut Rule) {
    let mut next = 0;
    let mut number = |condition: &mut Condition| {
        if let Condition::HighWater { mark, .. } = condition {
            *mark = next;
            next += 1;
        }
    };
    rule.when.walk_mut(&mut number);
    if let Some(clear) = &mut rule.clear {
        clear.walk_mut(&mut number);
    }
}

fn above_zero(text: &str) -> Result<i64, String> {
    match parse_millis(text)? {
        0 => Err("a duration above zero is expected".to_owned()),
        millis => Ok(millis),
    }
}

/// Of an error in several lines the one that says it.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}
