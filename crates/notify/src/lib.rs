//! Alerts to people and to Alertmanager, kept on disk until they are delivered.
//!
//! Whoever has alerts (rules, findings) tells a [`Notifier`] the whole set of what fires at each
//! evaluation. It groups and routes them as Alertmanager does, by Alertmanager's configuration,
//! and tells webhooks, Slack, PagerDuty, mail, a log file or a program; Alertmanagers get all of
//! them. Nothing waits for a receiver: what cannot be delivered lies on disk and is tried again,
//! and says by then how things are, not how they went.
//!
//! Delivery is "at least once": a notification may come twice when we are killed between sending
//! it and noting that.

mod alert;
mod config;
mod data;
mod disk;
mod dispatch;
mod notifier;
mod report;
mod route;
mod send;
mod template;

pub use crate::alert::{ALERT_NAME, Alert, Fingerprint};
pub use crate::config::{
    Alerting, Alertmanagers, Config, ConfigError, Email, Exec, Global, GroupBy, HostPort,
    InhibitRule, Interval, Log, Matcher, Matchers, NamedIntervals, PagerDuty, PagerDutyImage,
    PagerDutyLink, Pairs, Queue, RateLimit, Receiver, RegexPairs, Route, Slack, SlackAction,
    SlackConfirmation, SlackField, Span, StaticConfig, ThreadBy, Threading, Webhook,
};
use crate::notifier::now;
pub use crate::notifier::{Notifier, NotifyError, Settings};
pub use crate::report::{Delivery, DeliveryStatus, Event};
