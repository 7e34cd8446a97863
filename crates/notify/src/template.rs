//! Go templates over a message: the default ones, and those of files.

use std::fs;
use std::path::{Path, PathBuf};

use model::series::Labels;
use model::units::Timestamp;
use promql::template::{Context, Dialect, Value};

use crate::data::{Message, MessageAlert};

const DEFAULTS: &str = include_str!("template/default.tmpl");
/// Longest file with templates.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Go's zero time: the first of January of the year 1.
const ZERO: Timestamp = Timestamp(-62_135_596_800_000);

/// Templates that others can use by name.
pub(crate) struct Templates {
    named: promql::template::Templates,
}

impl Templates {
    /// The default ones, then those of files; later ones replace earlier ones.
    ///
    /// # Errors
    /// Names the file and the place in it.
    pub(crate) fn read(patterns: &[PathBuf]) -> Result<Templates, String> {
        let mut named = promql::template::Templates::new(Dialect::Alertmanager);
        named.add(DEFAULTS).map_err(|error| format!("default templates: {error}"))?;
        for pattern in patterns {
            for path in matching(pattern)? {
                let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
                let length = fs::metadata(&path).map_err(|error| failed(&error))?.len();
                if length > FILE_BYTES_MAX {
                    return Err(failed(&format!("larger than {FILE_BYTES_MAX} bytes")));
                }
                let text = fs::read_to_string(&path).map_err(|error| failed(&error))?;
                named.add(&text).map_err(|error| failed(&error))?;
            }
        }
        Ok(Templates { named })
    }

    /// Reports what is wrong with a template.
    pub(crate) fn check(&self, template: &str) -> Result<(), String> {
        let parsed = self.named.parse(template);
        parsed.map(|_| ()).map_err(|error| format!("template {template:?}: {error}"))
    }

    /// A template's text.
    pub(crate) fn text(&self, template: &str, message: &Message) -> Result<String, String> {
        self.render(template, message, false)
    }

    /// The same, with all that it prints escaped for HTML.
    pub(crate) fn html(&self, template: &str, message: &Message) -> Result<String, String> {
        self.render(template, message, true)
    }

    fn render(
        &self,
        template: &str,
        message: &Message,
        escapes_html: bool,
    ) -> Result<String, String> {
        if !template.contains("{{") {
            return Ok(template.to_owned());
        }
        let parsed = self.named.parse(template).map_err(|error| error.to_string())?;
        let external_url = message.external_url.as_str();
        let context =
            Context { now: crate::now(), external_url, escapes_html, ..Context::default() };
        let rendered = parsed.render(&self.named, &data(message), &context);
        rendered.map_err(|error| error.to_string())
    }
}

/// What templates see.
fn data(message: &Message) -> Value {
    Value::object([
        ("Receiver", Value::from(message.receiver.as_str())),
        ("Status", Value::from(message.status)),
        ("Alerts", Value::list(message.alerts.iter().map(alert))),
        ("NotificationReason", Value::from(message.notification_reason)),
        ("GroupLabels", labels(&message.group_labels)),
        ("CommonLabels", labels(&message.common_labels)),
        ("CommonAnnotations", labels(&message.common_annotations)),
        ("RouteLabels", labels(&Labels::empty())),
        ("ExternalURL", Value::from(message.external_url.as_str())),
    ])
}

fn alert(alert: &MessageAlert) -> Value {
    let time = |time: Option<Timestamp>| Value::Time(time.unwrap_or(ZERO));
    Value::object([
        ("Status", Value::from(alert.status)),
        ("Labels", labels(&alert.labels)),
        ("Annotations", labels(&alert.annotations)),
        ("StartsAt", time(alert.starts_at)),
        ("EndsAt", time(alert.ends_at)),
        ("GeneratorURL", Value::from(alert.generator_url.as_str())),
        ("Fingerprint", Value::from(alert.fingerprint.as_str())),
    ])
}

fn labels(labels: &Labels) -> Value {
    Value::labels(labels)
}

/// The files that a pattern names, by name; `*` and `?` stand in the file's name only. None is
/// fine for a pattern, not for a name.
fn matching(pattern: &Path) -> Result<Vec<PathBuf>, String> {
    let name = pattern.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if !name.contains(['*', '?']) {
        return Ok(vec![pattern.to_owned()]);
    }
    let folder = match pattern.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let words = |part: &str| regex::escape(part).replace(r"\*", ".*").replace(r"\?", ".");
    let regex = regex::Regex::new(&format!("^{}$", words(name)));
    let regex = regex.map_err(|error| format!("{}: {error}", pattern.display()))?;
    let Ok(entries) = fs::read_dir(folder) else { return Ok(Vec::new()) };
    let names = entries.filter_map(|entry| entry.ok().map(|entry| entry.file_name()));
    let mut found: Vec<PathBuf> = names
        .filter(|name| name.to_str().is_some_and(|name| regex.is_match(name)))
        .map(|name| folder.join(name))
        .collect();
    found.sort();
    Ok(found)
}
