//! Model and analysis results as text, JSON, CSV and pictures. Takes values,
//! returns strings or bytes; whether colours are wanted is the caller's say.

pub mod diagnosis;
pub mod exposition;
pub mod faults;
pub mod gctrace;
pub mod goroutines;
pub mod heap;
pub mod json;
pub mod mappings;
pub mod metrics;
pub mod monitoring;
pub mod observation;
pub mod paint;
pub mod picture;
pub mod pprof;
pub mod probe;
pub mod profile;
pub mod quantity;
pub mod rss;
pub mod table;
pub mod trace;
