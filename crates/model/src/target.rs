//! What memsight watches and how people name it.

use std::collections::BTreeMap;
use std::fmt;

/// How a target was named on the command line or in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TargetSpec {
    /// `1234`.
    Pid(u32),
    /// `name:REGEX`, matched against the binary's name and the command line.
    Name(String),
    /// `http://HOST:PORT`, the base of its pprof endpoint.
    Url(String),
    /// `core:FILE[@EXE]`.
    Core {
        /// The core file.
        file: String,
        /// The executable, when given.
        exe: Option<String>,
    },
}

impl TargetSpec {
    /// Parses the forms above; a bare host and port is a URL.
    ///
    /// # Errors
    /// Says what was expected, in words fit for a person at a terminal.
    pub fn parse(text: &str) -> Result<TargetSpec, String> {
        if text.is_empty() {
            return Err("a target is a PID, name:REGEX, http://HOST:PORT or core:FILE".to_owned());
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return match text.parse() {
                Ok(pid) if pid > 0 => Ok(TargetSpec::Pid(pid)),
                _ => Err(format!("{text} is not a process id")),
            };
        }
        if let Some(pattern) = text.strip_prefix("name:") {
            return match pattern {
                "" => Err("name: needs a regular expression, as in name:checkout".to_owned()),
                pattern => Ok(TargetSpec::Name(pattern.to_owned())),
            };
        }
        if let Some(core) = text.strip_prefix("core:") {
            let (file, exe) = match core.split_once('@') {
                Some((file, exe)) => (file, Some(exe.to_owned())),
                None => (core, None),
            };
            return match file {
                "" => Err("core: needs a file, as in core:/tmp/core.1234".to_owned()),
                file => Ok(TargetSpec::Core { file: file.to_owned(), exe }),
            };
        }
        if text.starts_with("http://") || text.starts_with("https://") {
            return Ok(TargetSpec::Url(text.trim_end_matches('/').to_owned()));
        }
        match text.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                Ok(TargetSpec::Url(format!("http://{text}")))
            }
            _ => Err(format!(
                "{text:?} is not a target: give a PID, name:REGEX, http://HOST:PORT or core:FILE"
            )),
        }
    }
}

impl fmt::Display for TargetSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TargetSpec::Pid(pid) => write!(f, "{pid}"),
            TargetSpec::Name(pattern) => write!(f, "name:{pattern}"),
            TargetSpec::Url(url) => write!(f, "{url}"),
            TargetSpec::Core { file, exe: None } => write!(f, "core:{file}"),
            TargetSpec::Core { file, exe: Some(exe) } => write!(f, "core:{file}@{exe}"),
        }
    }
}

/// Key of a target in the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetId(pub i64);

/// A process under watch. Its identity over restarts is its labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Short name for people: the binary's name or the URL.
    pub name: String,
    /// Where it is read now.
    pub spec: TargetSpec,
    /// The process, when there is one on this machine.
    pub pid: Option<u32>,
    /// `service`, `instance`, `version`, `go_version`, `exe`, `module`, `command`, `cgroup`,
    /// `unit`, `container`, `pod_uid` ...
    pub labels: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::TargetSpec;

    #[test]
    fn specs_parse_and_print_alike() {
        let check = |text: &str, expected: TargetSpec, printed: &str| {
            let spec = TargetSpec::parse(text).unwrap();
            assert_eq!(spec, expected);
            assert_eq!(spec.to_string(), printed);
        };
        check("42", TargetSpec::Pid(42), "42");
        check("name:shop", TargetSpec::Name("shop".into()), "name:shop");
        check("http://h:1/", TargetSpec::Url("http://h:1".into()), "http://h:1");
        check(
            "localhost:6060",
            TargetSpec::Url("http://localhost:6060".into()),
            "http://localhost:6060",
        );
        let core = TargetSpec::Core { file: "c".into(), exe: Some("e".into()) };
        check("core:c@e", core, "core:c@e");
        for bad in ["", "0", "99999999999", "name:", "core:", "shop"] {
            assert!(TargetSpec::parse(bad).is_err(), "{bad:?}");
        }
    }
}
