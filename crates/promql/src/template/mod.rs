//! Go's text/template, as far as annotations of alerts and notifications use it, with the
//! functions of Prometheus and of Alertmanager.
//!
//! ```
//! use promql::template::{Context, Dialect, Templates, Value};
//!
//! let templates = Templates::new(Dialect::Alertmanager);
//! let template = templates.parse("{{ range .Alerts.Firing }}{{ .Labels.job | toUpper }}{{ end }}")?;
//! let alert = Value::object([
//!     ("Status", Value::from("firing")),
//!     ("Labels", Value::map([("job", Value::from("shop"))])),
//! ]);
//! let data = Value::object([("Alerts", Value::list([alert]))]);
//! assert_eq!(template.render(&templates, &data, &Context::default())?, "SHOP");
//! # Ok::<(), promql::template::TemplateError>(())
//! ```

mod exec;
mod format;
mod functions;
mod lex;
mod parse;
mod time;
mod value;

use std::collections::HashMap;

use model::units::Timestamp;

use crate::error::Place;
pub use format::quoted;
pub(crate) use format::{format_f, format_g};
use parse::{Defined, Node};
pub use value::Value;

/// Whose functions there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Those of rule files: `query`, `humanize` and the like; `$labels`, `$value`,
    /// `$externalLabels` and `$externalURL` are the fields of the data.
    Prometheus,
    /// Those of notifications: `join`, `toJson` and the like.
    Alertmanager,
}

/// What is wrong with a template, and where.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct TemplateError {
    /// Where.
    pub place: Place,
    /// What.
    pub message: String,
}

/// What a template may use besides its data.
pub struct Context<'a> {
    /// The time it is rendered for.
    pub now: Timestamp,
    /// Where this server is reached.
    pub external_url: &'a str,
    /// Most bytes it may write.
    pub max_bytes: usize,
    /// Escapes what is printed for HTML.
    pub escapes_html: bool,
    /// Answers `query`: a list of objects with `Labels` and `Value`.
    pub query: &'a dyn Fn(&str) -> Result<Value, String>,
}

impl Default for Context<'_> {
    fn default() -> Self {
        Context {
            now: Timestamp(0),
            external_url: "",
            max_bytes: 1 << 20,
            escapes_html: false,
            query: &|_| Err("there is nothing to query here".to_owned()),
        }
    }
}

/// Templates that can be called by name.
#[derive(Clone, Debug)]
pub struct Templates {
    dialect: Dialect,
    defined: Defined,
}

/// A template that was read.
#[derive(Clone, Debug)]
pub struct Template {
    body: Vec<Node>,
    defined: Defined,
}

impl Templates {
    /// None yet.
    pub fn new(dialect: Dialect) -> Templates {
        Templates { dialect, defined: HashMap::new() }
    }

    /// Takes the `{{ define }}`s of a text. Later ones replace earlier ones of the same name.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn add(&mut self, text: &str) -> Result<(), TemplateError> {
        let parsed = parse::parse(text, self.dialect, self.variables())?;
        self.defined.extend(parsed.defined);
        Ok(())
    }

    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn parse(&self, text: &str) -> Result<Template, TemplateError> {
        let parsed = parse::parse(text, self.dialect, self.variables())?;
        Ok(Template { body: parsed.body, defined: parsed.defined })
    }

    /// Variables that templates have without setting them; the fields of data they are.
    fn variables(&self) -> &'static [&'static str] {
        match self.dialect {
            Dialect::Prometheus => &["$labels", "$externalLabels", "$externalURL", "$value"],
            Dialect::Alertmanager => &[],
        }
    }
}

impl Template {
    /// Renders with data as `.` and `$`.
    ///
    /// # Errors
    /// What cannot be done, and where; or it takes more than it may.
    pub fn render(
        &self,
        templates: &Templates,
        data: &Value,
        context: &Context<'_>,
    ) -> Result<String, TemplateError> {
        let mut variables = vec![("$".to_owned(), data.clone())];
        if let (Dialect::Prometheus, Value::Object(fields)) = (templates.dialect, data) {
            let fields = ["Labels", "ExternalLabels", "ExternalURL", "Value"]
                .map(|name| fields.get(name).cloned().unwrap_or_default());
            let names = templates.variables().iter().map(|name| (*name).to_owned());
            variables.extend(names.zip(fields));
        }
        let mut run = exec::Run {
            dialect: templates.dialect,
            context,
            defined: [&self.defined, &templates.defined],
            variables,
            output: String::new(),
            steps: 0,
            depth: 0,
            nesting: 0,
        };
        run.body(&self.body, data)?;
        if run.output.len() > context.max_bytes {
            let message = format!("the template writes more than {} bytes", context.max_bytes);
            return Err(TemplateError { place: Place::default(), message });
        }
        Ok(run.output)
    }
}

#[cfg(test)]
mod tests {
    use super::{Context, Dialect, Templates, Value};

    fn render(text: &str) -> Result<String, String> {
        let templates = Templates::new(Dialect::Alertmanager);
        let template = templates.parse(text).map_err(|error| error.to_string())?;
        let context = Context { max_bytes: 10_000, ..Context::default() };
        template.render(&templates, &Value::Null, &context).map_err(|error| error.to_string())
    }

    #[test]
    fn templates_stay_within_bounds() {
        let grows = |text: &str| {
            let error = render(text).expect_err(text);
            assert!(
                ["more than", "too deeply", "maximum", "too many"]
                    .iter()
                    .any(|s| error.contains(s)),
                "{error}"
            );
        };
        grows(r#"{{ $x := "abcdefgh" }}{{ range 99 }}{{ $x = print $x $x }}{{ end }}"#);
        grows("{{ $x := list 1 }}{{ range 99 }}{{ $x = list $x $x }}{{ end }}{{ $x }}");
        grows("{{ $x := list 1 }}{{ range 999999 }}{{ $x = list $x }}{{ end }}");
        grows(r#"{{ $x := dict "a" 1 }}{{ range 999 }}{{ $x = dict "a" $x "b" $x }}{{ end }}"#);
        grows(r#"{{ range 999999999 }}x{{ end }}"#);
        grows(r#"{{ range 9999999 }}{{ end }}"#);
        grows(r#"{{ define "a" }}{{ template "a" }}{{ end }}{{ template "a" }}"#);
        let nested = "{{ if true }}".repeat(50) + r#"{{ template "a" }}"# + &"{{ end }}".repeat(50);
        grows(&format!(r#"{{{{ define "a" }}}}{nested}{{{{ end }}}}{{{{ template "a" }}}}"#));
        grows(r#"{{ $x := printf "%900s" "a" }}{{ reReplaceAll "" $x $x }}"#);
        grows(r#"{{ $x := printf "%900s" "a" }}{{ join $x (list 1 2 3 4 5 6 7 8 9 1 2 3 4 5) }}"#);
        grows(r#"{{ range 999 }}{{ printf "%900d" 1 }}{{ end }}"#);
        assert!(render(&"(".repeat(5000)).is_ok());
        assert!(render(&("{{".to_owned() + &"(".repeat(100_000) + "}}")).is_err());
        assert!(render(&"{{ if true }}".repeat(100_000)).is_err());
    }

    #[test]
    fn errors_have_their_places() {
        let check = |text: &str, expected: &str| assert_eq!(render(text), Err(expected.to_owned()));
        check("a\n{{ .x | nosuch }}", "2:9: function \"nosuch\" not defined");
        check("{{ if }}", "1:7: missing value for if");
        check(
            "{{ toUpper 5 }}",
            "1:4: error calling toUpper: wrong number or type of arguments: (int)",
        );
        check("{{ .x.y }}", "1:4: nil data; no entry for key \"x\"");
        check("ab {{", "1:4: unclosed action");
    }
}
