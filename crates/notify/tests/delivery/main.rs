//! Notifications from alerts to receivers: servers of the test's own that check what arrives, and
//! real ones (Alertmanager, a mail server) where they are installed.

mod configs;
mod email;
mod exec;
mod help;
mod peers;
mod restart;
mod ways;
