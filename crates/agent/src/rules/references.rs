//! References in texts of actions: `$(captures.before.path)`, `$(target.pid)`, `$(rule.name)`.

use std::collections::BTreeSet;

/// Names that need no earlier action.
const KNOWN: [&str; 7] =
    ["rule.name", "target.id", "target.name", "target.pid", "time", "value", "reason"];

/// What is known of a capture: `$(captures.NAME.path)`.
const PARTS: [&str; 4] = ["path", "id", "kind", "bytes"];

/// The references in a text, without `$(` and `)`.
pub(super) fn references(text: &str) -> impl Iterator<Item = &str> {
    text.split("$(").skip(1).map(|rest| rest.split(')').next().unwrap_or(rest))
}

/// Reports whether a reference will have a value.
pub(super) fn check_reference(reference: &str, names: &BTreeSet<String>) -> Result<(), String> {
    if KNOWN.contains(&reference) || reference.starts_with("target.labels.") {
        return Ok(());
    }
    let Some(rest) = reference.strip_prefix("captures.") else {
        return Err(format!(
            "$({reference}) is not known: {}, target.labels.NAME, captures.NAME.{{{}}}",
            KNOWN.join(", "),
            PARTS.join(",")
        ));
    };
    let (name, part) = rest.rsplit_once('.').unwrap_or((rest, ""));
    if !names.contains(name) {
        return Err(format!("$({reference}): no earlier action takes what is called {name:?}"));
    }
    match PARTS.contains(&part) {
        true => Ok(()),
        false => Err(format!("$({reference}): of a capture there is {}", PARTS.join(", "))),
    }
}

/// The text with its references replaced. `value` gives what stands for a name; one it does not
/// know becomes empty: a capture that failed has no path, and the later actions still run.
pub fn expand(text: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut parts = text.split("$(");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(')') {
            Some((name, rest)) => {
                out.push_str(&value(name).unwrap_or_default());
                out.push_str(rest);
            }
            None => {
                out.push_str("$(");
                out.push_str(part);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_checked_and_replaced() {
        let names = BTreeSet::from(["before".to_owned()]);
        let check = |reference: &str| check_reference(reference, &names);
        assert_eq!(check("captures.before.path"), Ok(()));
        assert_eq!(check("target.pid"), Ok(()));
        for bad in ["captures.after.path", "captures.before.size", "captures.before", "pid", ""] {
            assert!(check(bad).is_err(), "{bad}");
        }
        let value = |name: &str| (name == "target.pid").then(|| "7".to_owned());
        let text = "pid $(target.pid), $(captures.x.path)| $(open";
        assert_eq!(expand(text, value), "pid 7, | $(open");
        assert_eq!(references(text).collect::<Vec<_>>(), ["target.pid", "captures.x.path", "open"]);
    }
}
