//! The text of a configuration file: `${ENV}` is replaced before YAML is read, so that places in
//! errors are those of the file.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::rules::Fault;

/// Something is wrong with a configuration file.
#[derive(Debug)]
pub struct ConfigError {
    /// The file.
    pub path: PathBuf,
    /// What, and where.
    pub faults: Vec<Fault>,
}

impl fmt::Display for ConfigError {
    /// One line a fault: `FILE:LINE:COLUMN: TEXT`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            let start = if index > 0 { "\n" } else { "" };
            let space = if fault.line == 0 { " " } else { "" };
            write!(f, "{start}{}:{space}{fault}", self.path.display())?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl ConfigError {
    /// About the whole file.
    pub(crate) fn whole(path: &Path, text: impl Into<String>) -> ConfigError {
        ConfigError::at(path, 0, 0, text)
    }

    fn at(path: &Path, line: u32, column: u32, text: impl Into<String>) -> ConfigError {
        let faults = vec![Fault { line, column, text: text.into() }];
        ConfigError { path: path.to_owned(), faults }
    }
}

/// Replaces `${NAME}` by what `lookup` says; `$${NAME}` stands for itself. Comment lines are left
/// alone, and so is `${1}`, which relabelling uses.
///
/// # Errors
/// A name that is not set, or a value with a line break, which would move every place after it.
pub(crate) fn expand(
    path: &Path,
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<String, ConfigError> {
    let mut out = String::with_capacity(text.len());
    for (line, content) in text.split_inclusive('\n').enumerate() {
        if content.trim_start().starts_with('#') {
            out.push_str(content);
            continue;
        }
        let fail = |at: usize, message: String| {
            let column = content.get(..at).map_or(0, |before| before.chars().count());
            let number = |at: usize| u32::try_from(at + 1).unwrap_or(u32::MAX);
            Err(ConfigError::at(path, number(line), number(column), message))
        };
        let (mut rest, mut done) = (content, 0);
        while let Some(at) = rest.find("${") {
            let (before, reference) = rest.split_at(at);
            let name = reference.get(2..).and_then(|tail| tail.split_once('}'));
            let Some((name, tail)) = name.filter(|(name, _)| is_name(name)) else {
                out.push_str(before);
                out.push_str("${");
                (rest, done) = (&reference[2..], done + at + 2);
                continue;
            };
            if let Some(before) = before.strip_suffix('$') {
                out.push_str(before);
                out.push_str(&format!("${{{name}}}"));
            } else {
                out.push_str(before);
                match lookup(name) {
                    Some(value) if value.contains(['\n', '\r']) => {
                        return fail(
                            done + at,
                            format!("the value of ${{{name}}} has several lines"),
                        );
                    }
                    Some(value) => out.push_str(&value),
                    None => {
                        let message = format!(
                            "the environment has no {name}; write $${{{name}}} to mean the text itself"
                        );
                        return fail(done + at, message);
                    }
                }
            }
            done += rest.len() - tail.len();
            rest = tail;
        }
        out.push_str(rest);
    }
    Ok(out)
}

/// The files that a pattern means, by name: `*` and `?` stand for parts of the file's name. A name
/// without them is the file itself, whether it is there or not.
pub(crate) fn matching(pattern: &Path) -> Vec<PathBuf> {
    let name = pattern.file_name().map(|name| name.to_string_lossy().into_owned());
    let Some(name) = name.filter(|name| name.contains(['*', '?'])) else {
        return vec![pattern.to_owned()];
    };
    let expression = regex::escape(&name).replace(r"\*", ".*").replace(r"\?", ".");
    let Ok(expression) = regex::Regex::new(&format!("^(?s:{expression})$")) else {
        return Vec::new();
    };
    let entries = std::fs::read_dir(pattern.parent().unwrap_or(Path::new("."))).into_iter();
    let paths = entries.flatten().flatten().map(|entry| entry.path());
    let is_meant = |path: &PathBuf| {
        path.file_name().is_some_and(|name| expression.is_match(&name.to_string_lossy()))
    };
    let mut found: Vec<PathBuf> = paths.filter(is_meant).collect();
    found.sort();
    found
}

fn is_name(text: &str) -> bool {
    let mut letters = text.bytes();
    letters.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && letters.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::expand;

    fn expanded(text: &str) -> Result<String, String> {
        let lookup = |name: &str| match name {
            "HOST" => Some("db-1".to_owned()),
            "KEY" => Some("a\nb".to_owned()),
            _ => None,
        };
        expand(Path::new("m.yaml"), text, &lookup).map_err(|error| error.to_string())
    }

    #[test]
    fn variables_are_replaced_where_they_stand() {
        let check =
            |text: &str, expected: &str| assert_eq!(expanded(text).as_deref(), Ok(expected));
        check("a: ${HOST}\nb: x${HOST}y${HOST}\n", "a: db-1\nb: xdb-1ydb-1\n");
        check("# ${NONE}\nreplacement: ${1}-$1 ${", "# ${NONE}\nreplacement: ${1}-$1 ${");
        check("a: $${HOST} ${HOST}", "a: ${HOST} db-1");
        check("t: '{{ $labels.x }}'", "t: '{{ $labels.x }}'");
    }

    #[test]
    fn what_is_not_set_is_an_error_with_its_place() {
        let check = |text: &str, expected: &str| {
            let error = expanded(text).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        };
        check("a: 1\nb: é${HOST} ${NONE}", "m.yaml:2:13: the environment has no NONE");
        check("k: ${KEY}", "m.yaml:1:4: the value of ${KEY} has several lines");
    }
}
