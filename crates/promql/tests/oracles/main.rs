//! What Go and Prometheus themselves say, beside what we say.

mod amtool;
mod modules;
mod promtool;
mod scripts;
mod templates;
