//! Stories told to the state machine, by the clock of the test.

use std::collections::BTreeSet;
use std::time::Duration;

use model::series::Labels;
use model::units::Timestamp;

use super::pending::Reason;
use super::{Dispatcher, Dropped, Integration, Key, Notice, Outcome, State};
use crate::alert::{ALERT_NAME, Alert};
use crate::config::{Config, RateLimit, Span};

/// A dispatcher with one receiver that has one integration, and its time.
struct Story {
    dispatcher: Dispatcher,
    now: Timestamp,
}

const ROUTE: &str = "
receivers: [{name: team}]
route: {receiver: team, group_by: [alertname], group_wait: 10s, group_interval: 60s, repeat_interval: 1h}
";

fn integration(send_resolved: bool, messages: u32) -> Integration {
    let rate = RateLimit { messages, per: Span::seconds(600) };
    let receiver = "team".to_owned();
    Integration { id: "team/webhook[0]".to_owned(), receiver, send_resolved, rate }
}

impl Story {
    fn new(yaml: &str, integration: Integration) -> Story {
        let config: Config = serde_saphyr::from_str(yaml).unwrap();
        config.check().unwrap();
        let now = Timestamp(1_800_000_000_000);
        let mut dispatcher = Dispatcher::new(now, State::default(), Vec::new(), 7);
        dispatcher.configure(now, &config, vec![integration]);
        Story { dispatcher, now }
    }

    fn plain() -> Story {
        Story::new(ROUTE, integration(true, 0))
    }

    /// Alerts by name and instance that fire now; all of the one source.
    fn fire(&mut self, alerts: &[(&str, &str)]) {
        let alerts = alerts.iter().map(|(name, instance)| alert(name, instance, self.now));
        self.dispatcher.update(self.now, "rules", alerts.collect());
    }

    /// Time goes by in steps of a second; gives what is sent, each answered so.
    fn pass(&mut self, seconds: i64, outcome: &Outcome) -> Vec<String> {
        let mut sent = Vec::new();
        for _ in 0..seconds {
            self.now = Timestamp(self.now.0 + 1000);
            for notice in self.dispatcher.step(self.now) {
                sent.push(said(&notice));
                self.dispatcher.outcome(self.now, &notice, outcome);
            }
        }
        sent
    }
}

fn alert(name: &str, instance: &str, now: Timestamp) -> Alert {
    Alert {
        labels: Labels::new([(ALERT_NAME, name), ("instance", instance)]),
        annotations: Labels::empty(),
        starts_at: now,
        ends_at: None,
        generator_url: String::new(),
    }
}

/// `first notification: +a -b`, with what fires and what is over.
fn said(notice: &Notice) -> String {
    let each = notice.alerts.iter().map(|alert| {
        let sign = if alert.ends_at.is_some() { '-' } else { '+' };
        format!("{sign}{}", alert.labels.get("instance").unwrap_or(alert.name()))
    });
    format!("{}: {}", notice.reason.as_str(), each.collect::<Vec<_>>().join(" "))
}

const DOWN: Outcome = Outcome::Retry { after: None, maybe_delivered: false };
const SILENT: Outcome = Outcome::Retry { after: None, maybe_delivered: true };
const FINE: Outcome = Outcome::Delivered;

#[test]
fn a_group_waits_tells_changes_repeats_and_ends() {
    let mut story = Story::plain();
    story.fire(&[("Leak", "a")]);
    assert_eq!(story.pass(9, &FINE), [""; 0]);
    story.fire(&[("Leak", "a"), ("Leak", "b")]);
    assert_eq!(story.pass(1, &FINE), ["first notification: +a +b"]);
    story.fire(&[("Leak", "a"), ("Leak", "b"), ("Leak", "c")]);
    assert_eq!(story.pass(59, &FINE), [""; 0]);
    assert_eq!(story.pass(1, &FINE), ["new alerts added: +a +b +c"]);
    story.fire(&[("Leak", "b"), ("Leak", "c")]);
    assert_eq!(story.pass(60, &FINE), ["some alerts resolved: -a +b +c"]);
    assert_eq!(story.pass(3540, &FINE), [""; 0]);
    assert_eq!(story.pass(60, &FINE), ["repeat interval elapsed: +b +c"]);
    story.fire(&[]);
    assert_eq!(story.pass(60, &FINE), ["all alerts resolved: -b -c"]);
    assert!(story.dispatcher.is_empty());
    assert_eq!(story.pass(7200, &FINE), [""; 0]);
    assert!(story.dispatcher.alerts().is_empty() && story.dispatcher.state.told.is_empty());
}

#[test]
fn what_is_over_within_the_first_wait_is_not_told() {
    let mut story = Story::plain();
    story.fire(&[("Leak", "a")]);
    story.pass(5, &FINE);
    story.fire(&[]);
    assert_eq!(story.pass(600, &FINE), [""; 0]);
    // One that fires for long already waits no more.
    let old = Alert { starts_at: Timestamp(story.now.0 - 60_000), ..alert("Leak", "b", story.now) };
    story.dispatcher.update(story.now, "rules", vec![old]);
    assert_eq!(story.pass(1, &FINE), ["first notification: +b"]);
}

#[test]
fn a_receiver_that_was_down_hears_how_things_are_now() {
    let mut story = Story::plain();
    story.fire(&[("Leak", "a"), ("Leak", "gone")]);
    assert!(story.pass(20, &DOWN).iter().all(|text| text == "first notification: +a +gone"));
    for round in 0..60 {
        let other = format!("b{}", round / 2);
        story.fire(&[("Leak", "a"), ("Leak", &other)]);
        story.pass(60, &DOWN);
    }
    // One message; nothing of what came and went meanwhile.
    assert_eq!(story.pass(61, &FINE), ["first notification: +a +b29"]);
    story.fire(&[]);
    assert_eq!(story.pass(60, &FINE), ["all alerts resolved: -a -b29"]);
}

#[test]
fn an_end_is_told_only_where_the_beginning_was_or_may_have_been() {
    let mut story = Story::plain();
    story.fire(&[("Leak", "a")]);
    assert!(!story.pass(30, &DOWN).is_empty());
    story.fire(&[]);
    assert_eq!(story.pass(600, &FINE), [""; 0]);
    let dropped = &story.dispatcher.dropped;
    assert_eq!(dropped.get(&("team/webhook[0]".to_owned(), Dropped::Superseded)), Some(&1));

    story.fire(&[("Leak", "a")]);
    assert!(!story.pass(30, &SILENT).is_empty());
    story.fire(&[]);
    assert_eq!(story.pass(60, &FINE), ["all alerts resolved: -a"]);
}

#[test]
fn changes_while_a_message_is_under_way_are_told_after_it() {
    let mut story = Story::plain();
    story.fire(&[("Leak", "a")]);
    story.now = Timestamp(story.now.0 + 10_000);
    let first = story.dispatcher.step(story.now);
    assert_eq!(first.len(), 1);
    story.fire(&[]);
    // It is not known whether the first arrives: nothing is sent beside it.
    assert_eq!(story.pass(120, &FINE), [""; 0]);
    story.dispatcher.outcome(story.now, &first[0], &FINE);
    assert_eq!(story.pass(1, &FINE), ["all alerts resolved: -a"]);

    story.fire(&[("Leak", "b")]);
    story.now = Timestamp(story.now.0 + 10_000);
    let first = story.dispatcher.step(story.now);
    story.fire(&[]);
    story.pass(120, &FINE);
    story.dispatcher.outcome(story.now, &first[0], &DOWN);
    assert_eq!(story.pass(600, &FINE), [""; 0]);
}

#[test]
fn what_fires_again_while_its_end_is_under_way_is_told_again() {
    let mut story = Story::plain();
    story.fire(&[("Leak", "a")]);
    assert_eq!(story.pass(10, &FINE).len(), 1);
    story.fire(&[]);
    assert!(story.pass(61, &SILENT).iter().all(|text| text == "all alerts resolved: -a"));
    story.fire(&[("Leak", "a")]);
    // The end may have arrived: without this message it would be the last word.
    assert_eq!(story.pass(130, &FINE), ["new alerts added: +a"]);
}

#[test]
fn waits_after_failures_double_and_heed_the_receiver() {
    let mut story = Story::plain();
    story.fire(&[("Leak", "a")]);
    let attempts = story.pass(130, &DOWN).len();
    assert!((6..=14).contains(&attempts), "{attempts}");
    let mut story = Story::plain();
    story.fire(&[("Leak", "a")]);
    let after = Some(Duration::from_secs(100));
    let busy = Outcome::Retry { after, maybe_delivered: false };
    assert_eq!(story.pass(109, &busy).len(), 1);
    assert_eq!(story.pass(1, &busy).len(), 1);
}

#[test]
fn what_is_refused_is_not_sent_again_until_something_new_happens() {
    let mut story = Story::plain();
    story.fire(&[("Leak", "a")]);
    assert_eq!(story.pass(600, &Outcome::Refused).len(), 1);
    story.fire(&[("Leak", "a"), ("Leak", "b")]);
    assert_eq!(story.pass(60, &FINE), ["first notification: +a +b"]);
    story.fire(&[]);
    assert_eq!(story.pass(600, &Outcome::Refused), ["all alerts resolved: -a -b"]);
    assert!(story.dispatcher.is_empty());
    assert!(story.dispatcher.state.groups.is_empty());
}

#[test]
fn receivers_that_hear_no_ends_hear_the_next_beginning() {
    let mut story = Story::new(ROUTE, integration(false, 0));
    story.fire(&[("Leak", "a"), ("Leak", "b")]);
    assert_eq!(story.pass(10, &FINE).len(), 1);
    story.fire(&[("Leak", "a")]);
    assert_eq!(story.pass(120, &FINE), [""; 0]);
    story.fire(&[]);
    assert_eq!(story.pass(120, &FINE), [""; 0]);
    story.fire(&[("Leak", "a")]);
    assert_eq!(story.pass(10, &FINE), ["first notification: +a"]);
}

#[test]
fn a_storm_is_held_back_and_said_so() {
    let mut story = Story::new(ROUTE, integration(true, 5));
    let names: Vec<String> = (0..50).map(|n| format!("Alert{n}")).collect();
    let alerts: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "i")).collect();
    story.fire(&alerts);
    let sent = story.pass(60, &FINE);
    assert_eq!(sent.len(), 6, "{sent:?}");
    assert_eq!(sent[5], "first notification: +NotificationsHeldBack");
    // One each two minutes.
    assert_eq!(story.pass(600, &FINE).len(), 5);
    story.fire(&[]);
    let sent = story.pass(3600, &FINE);
    assert_eq!(sent.iter().filter(|text| text.starts_with("all")).count(), 11, "{sent:?}");
    assert!(sent.contains(&"all alerts resolved: -NotificationsHeldBack".to_owned()));
    assert!(story.dispatcher.is_empty());
}

#[test]
fn a_receiver_that_is_down_is_asked_once_in_a_while_whatever_waits() {
    let mut story = Story::new(ROUTE, integration(true, 60));
    let names: Vec<String> = (0..50).map(|n| format!("Alert{n}")).collect();
    let alerts: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "i")).collect();
    story.fire(&alerts);
    let attempts = story.pass(3600, &DOWN).len();
    assert!((60..=150).contains(&attempts), "{attempts}");
    // Back again it gets all within three minutes, and no word of a storm.
    let sent = story.pass(180, &FINE);
    assert_eq!(sent.len(), 50, "{sent:?}");
    assert!(sent.iter().all(|text| text.starts_with("first notification: +i")));
}

#[test]
fn a_message_that_always_fails_does_not_hold_up_others() {
    let mut story = Story::plain();
    story.fire(&[("Poison", "p")]);
    let mut told = 0;
    for second in 0..600 {
        story.now = Timestamp(story.now.0 + 1000);
        if second == 100 {
            story.fire(&[("Poison", "p"), ("A", "a"), ("B", "b"), ("C", "c")]);
        }
        for notice in story.dispatcher.step(story.now) {
            let is_poison = said(&notice).ends_with("+p");
            told += usize::from(!is_poison);
            story.dispatcher.outcome(story.now, &notice, if is_poison { &DOWN } else { &FINE });
        }
    }
    assert_eq!(told, 3);
}

#[test]
fn a_restart_changes_nothing() {
    let mut story = Story::plain();
    story.fire(&[("Leak", "a")]);
    story.pass(10, &FINE);
    story.fire(&[("Leak", "a"), ("Leak", "b")]);
    assert!(!story.pass(70, &DOWN).is_empty());
    let state = serde_json::to_string(&story.dispatcher.state).unwrap();
    let waiting: Vec<super::Pending> = story.dispatcher.pending.values().cloned().collect();
    let waiting: Vec<super::Pending> =
        serde_json::from_str(&serde_json::to_string(&waiting).unwrap()).unwrap();
    let state: State = serde_json::from_str(&state).unwrap();
    story.dispatcher = Dispatcher::new(story.now, state, waiting, 9);
    let config: Config = serde_saphyr::from_str(ROUTE).unwrap();
    story.dispatcher.configure(story.now, &config, vec![integration(true, 0)]);
    story.fire(&[("Leak", "a"), ("Leak", "b")]);
    assert_eq!(story.pass(61, &FINE), ["new alerts added: +a +b"]);
    // What is missing since is over; other sources get a while to speak.
    story.dispatcher.update(story.now, "rules", vec![]);
    assert_eq!(story.pass(61, &FINE), ["all alerts resolved: -a -b"]);
}

#[test]
fn alerts_of_a_source_that_stays_silent_after_a_restart_end() {
    let mut story = Story::plain();
    story.fire(&[("Leak", "a")]);
    assert_eq!(story.pass(1000, &FINE).len(), 1);
    let state = story.dispatcher.state.clone();
    story.dispatcher = Dispatcher::new(story.now, state, Vec::new(), 9);
    let config: Config = serde_saphyr::from_str(ROUTE).unwrap();
    story.dispatcher.configure(story.now, &config, vec![integration(true, 0)]);
    assert_eq!(story.pass(290, &FINE), [""; 0]);
    assert_eq!(story.pass(90, &FINE), ["all alerts resolved: -a"]);
}

#[test]
fn what_waits_is_bounded() {
    let bounded = format!("{ROUTE}queue: {{messages_max: 10, age_max: 30m, alerts_max: 30}}\n");
    let mut story = Story::new(&bounded, integration(true, 0));
    let names: Vec<String> = (0..50).map(|n| format!("Alert{n}")).collect();
    let alerts: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "i")).collect();
    story.fire(&alerts);
    story.pass(120, &DOWN);
    assert_eq!(story.dispatcher.alerts_dropped(), 20);
    assert_eq!(story.dispatcher.pending.len(), 10);
    let key = |reason| ("team/webhook[0]".to_owned(), reason);
    assert_eq!(story.dispatcher.dropped.get(&key(Dropped::QueueFull)), Some(&20));
    story.pass(3600, &DOWN);
    assert!(story.dispatcher.dropped.contains_key(&key(Dropped::TooOld)));
}

#[test]
fn a_clock_that_is_set_is_no_news_and_delays_nothing() {
    for millis in [86_400_000, -86_400_000, -60_001] {
        let mut story = Story::plain();
        story.fire(&[("Leak", "a"), ("Leak", "c")]);
        story.pass(10, &FINE);
        story.fire(&[("Leak", "a")]);
        assert_eq!(story.pass(61, &FINE), ["some alerts resolved: +a -c"]);
        story.now = Timestamp(story.now.0 + millis);
        story.dispatcher.clock_moved(millis);
        assert_eq!(story.pass(120, &FINE), [""; 0], "{millis}");
        story.fire(&[("Leak", "a"), ("Leak", "b")]);
        assert_eq!(story.pass(61, &FINE), ["new alerts added: +a +b"]);
    }
}

#[test]
fn silenced_alerts_are_told_when_nothing_silences_them() {
    let rule =
        "inhibit_rules: [{source_matchers: [alertname=Big], target_matchers: [alertname=Small]}]";
    let mut story = Story::new(&format!("{ROUTE}{rule}\n"), integration(true, 0));
    story.fire(&[("Big", "a"), ("Small", "b")]);
    assert_eq!(story.pass(120, &FINE), ["first notification: +a"]);
    story.fire(&[("Small", "b")]);
    let sent: BTreeSet<String> = story.pass(60, &FINE).into_iter().collect();
    let expected = ["all alerts resolved: -a", "first notification: +b"];
    assert_eq!(sent, expected.iter().map(|text| (*text).to_owned()).collect());
}

#[test]
fn another_configuration_keeps_what_was_told() {
    let mut story = Story::plain();
    story.fire(&[("Leak", "a")]);
    story.pass(10, &FINE);
    let config: Config = serde_saphyr::from_str(ROUTE).unwrap();
    let mut other = integration(true, 0);
    other.id = "team/exec[0]".to_owned();
    let both = vec![integration(true, 0), other];
    story.dispatcher.configure(story.now, &config, both);
    // The new one hears of it, the old one not again.
    assert_eq!(story.pass(60, &FINE), ["first notification: +a"]);
    story.fire(&[]);
    assert_eq!(story.pass(60, &DOWN).len() % 2, 0);
    story.dispatcher.configure(story.now, &config, vec![]);
    assert!(story.dispatcher.is_empty());
    let key = Key { integration: "team/exec[0]".to_owned(), group: String::new() };
    assert!(story.dispatcher.pending(&key).is_none());
    assert_eq!(Reason::Repeat.as_str(), "repeat interval elapsed");
}
