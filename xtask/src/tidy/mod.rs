//! House rules that no lint knows: which crate may use which, how long files and
//! functions may be, and a few words that must not appear.

mod edges;
mod sources;

use std::path::Path;

use anyhow::Result;

/// Prints every breach; true when there is none.
pub(crate) fn run(root: &Path) -> Result<bool> {
    let mut breaches = edges::check(root)?;
    breaches.extend(sources::check(root)?);
    for breach in &breaches {
        println!("{breach}");
    }
    if breaches.is_empty() {
        println!("tidy");
    }
    Ok(breaches.is_empty())
}
