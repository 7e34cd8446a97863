//! Profiles as text, data files and pictures.

pub mod firefox;
pub mod flame;
pub mod folded;
pub mod msf;
pub mod report;
pub mod samples;
pub mod speedscope;

#[cfg(test)]
mod tests;
