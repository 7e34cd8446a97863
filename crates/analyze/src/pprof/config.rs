//! The options of a report, by the names people know.

use super::number::{self, NumberError};

/// How fine reports distinguish code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Granularity {
    /// As the report wants it; functions where it does not care.
    #[default]
    Default,
    /// By function.
    Functions,
    /// By function and file.
    FileFunctions,
    /// By file.
    Files,
    /// By source line.
    Lines,
    /// By instruction.
    Addresses,
}

/// Options of a report; the fields have pprof's names and defaults.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "HELP documents each under its name")]
pub struct Config {
    pub output: String,
    pub call_tree: bool,
    pub relative_percentages: bool,
    pub unit: String,
    pub compact_labels: bool,
    pub source_path: String,
    pub trim_path: String,
    pub intel_syntax: bool,
    pub mean: bool,
    pub sample_index: String,
    pub divide_by: f64,
    pub normalize: bool,
    pub sort_by_cum: bool,
    pub tagroot: String,
    pub tagleaf: String,
    pub drop_negative: bool,
    pub nodecount: i64,
    pub nodefraction: f64,
    pub edgefraction: f64,
    pub trim: bool,
    pub focus: String,
    pub ignore: String,
    pub prune_from: String,
    pub hide: String,
    pub show: String,
    pub show_from: String,
    pub tagfocus: String,
    pub tagignore: String,
    pub tagshow: String,
    pub taghide: String,
    pub noinlines: bool,
    pub showcolumns: bool,
    pub granularity: Granularity,
}

impl Default for Config {
    fn default() -> Config {
        let none = String::new;
        Config {
            output: none(),
            call_tree: false,
            relative_percentages: false,
            unit: "minimum".to_owned(),
            compact_labels: false,
            source_path: none(),
            trim_path: none(),
            intel_syntax: false,
            mean: false,
            sample_index: none(),
            divide_by: 1.0,
            normalize: false,
            sort_by_cum: false,
            tagroot: none(),
            tagleaf: none(),
            drop_negative: false,
            nodecount: -1,
            nodefraction: 0.005,
            edgefraction: 0.001,
            trim: true,
            focus: none(),
            ignore: none(),
            prune_from: none(),
            hide: none(),
            show: none(),
            show_from: none(),
            tagfocus: none(),
            tagignore: none(),
            tagshow: none(),
            taghide: none(),
            noinlines: false,
            showcolumns: false,
            granularity: Granularity::Default,
        }
    }
}

/// What kind of value an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// true or false.
    Bool,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// Any text.
    Text,
    /// One of these.
    Choice(&'static [&'static str]),
}

/// The ways to sort.
pub const SORTS: [&str; 2] = ["cum", "flat"];
/// The granularities.
pub const GRANULARITIES: [&str; 5] = ["functions", "filefunctions", "files", "lines", "addresses"];

/// Every option and its kind, in pprof's order.
pub const OPTIONS: [(&str, Kind); 33] = [
    ("output", Kind::Text),
    ("call_tree", Kind::Bool),
    ("relative_percentages", Kind::Bool),
    ("unit", Kind::Text),
    ("compact_labels", Kind::Bool),
    ("source_path", Kind::Text),
    ("trim_path", Kind::Text),
    ("intel_syntax", Kind::Bool),
    ("mean", Kind::Bool),
    ("sample_index", Kind::Text),
    ("divide_by", Kind::Float),
    ("normalize", Kind::Bool),
    ("sort", Kind::Choice(&SORTS)),
    ("tagroot", Kind::Text),
    ("tagleaf", Kind::Text),
    ("drop_negative", Kind::Bool),
    ("nodecount", Kind::Int),
    ("nodefraction", Kind::Float),
    ("edgefraction", Kind::Float),
    ("trim", Kind::Bool),
    ("focus", Kind::Text),
    ("ignore", Kind::Text),
    ("prune_from", Kind::Text),
    ("hide", Kind::Text),
    ("show", Kind::Text),
    ("show_from", Kind::Text),
    ("tagfocus", Kind::Text),
    ("tagignore", Kind::Text),
    ("tagshow", Kind::Text),
    ("taghide", Kind::Text),
    ("noinlines", Kind::Bool),
    ("showcolumns", Kind::Bool),
    ("granularity", Kind::Choice(&GRANULARITIES)),
];

/// The option that `name` sets: itself, or the one that it is a choice of.
pub fn find(name: &str) -> Option<(&'static str, Kind)> {
    OPTIONS.into_iter().find(|(option, kind)| {
        *option == name || matches!(kind, Kind::Choice(choices) if choices.contains(&name))
    })
}

/// true or false as pprof's shell reads it; nothing is true.
///
/// # Errors
/// When it is neither.
pub fn parse_bool(text: &str) -> Result<bool, String> {
    match text.to_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "1" | "" => Ok(true),
        "false" | "f" | "no" | "n" | "0" => Ok(false),
        _ => Err(format!("illegal value \"{text}\" for bool variable")),
    }
}

enum Slot<'a> {
    Bool(&'a mut bool),
    Int(&'a mut i64),
    Float(&'a mut f64),
    Text(&'a mut String),
    Sort(&'a mut bool),
    Granularity(&'a mut Granularity),
}

impl Config {
    fn slot(&mut self, name: &str) -> Option<Slot<'_>> {
        Some(match name {
            "output" => Slot::Text(&mut self.output),
            "call_tree" => Slot::Bool(&mut self.call_tree),
            "relative_percentages" => Slot::Bool(&mut self.relative_percentages),
            "unit" => Slot::Text(&mut self.unit),
            "compact_labels" => Slot::Bool(&mut self.compact_labels),
            "source_path" => Slot::Text(&mut self.source_path),
            "trim_path" => Slot::Text(&mut self.trim_path),
            "intel_syntax" => Slot::Bool(&mut self.intel_syntax),
            "mean" => Slot::Bool(&mut self.mean),
            "sample_index" => Slot::Text(&mut self.sample_index),
            "divide_by" => Slot::Float(&mut self.divide_by),
            "normalize" => Slot::Bool(&mut self.normalize),
            "sort" => Slot::Sort(&mut self.sort_by_cum),
            "tagroot" => Slot::Text(&mut self.tagroot),
            "tagleaf" => Slot::Text(&mut self.tagleaf),
            "drop_negative" => Slot::Bool(&mut self.drop_negative),
            "nodecount" => Slot::Int(&mut self.nodecount),
            "nodefraction" => Slot::Float(&mut self.nodefraction),
            "edgefraction" => Slot::Float(&mut self.edgefraction),
            "trim" => Slot::Bool(&mut self.trim),
            "focus" => Slot::Text(&mut self.focus),
            "ignore" => Slot::Text(&mut self.ignore),
            "prune_from" => Slot::Text(&mut self.prune_from),
            "hide" => Slot::Text(&mut self.hide),
            "show" => Slot::Text(&mut self.show),
            "show_from" => Slot::Text(&mut self.show_from),
            "tagfocus" => Slot::Text(&mut self.tagfocus),
            "tagignore" => Slot::Text(&mut self.tagignore),
            "tagshow" => Slot::Text(&mut self.tagshow),
            "taghide" => Slot::Text(&mut self.taghide),
            "noinlines" => Slot::Bool(&mut self.noinlines),
            "showcolumns" => Slot::Bool(&mut self.showcolumns),
            "granularity" => Slot::Granularity(&mut self.granularity),
            _ => return None,
        })
    }

    /// Sets an option, or the option that `name` is a choice of (`cum=true`).
    ///
    /// # Errors
    /// When there is no such option or the value does not fit.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let unknown = || format!("unknown config field {name:?}");
        let (option, _) = find(name).ok_or_else(unknown)?;
        let value = match option == name {
            true => value,
            false if matches!(value, "1" | "t" | "T" | "TRUE" | "true" | "True") => name,
            false => return Err(unknown()),
        };
        let no_number = |function: &str, error: NumberError| {
            format!("strconv.{function}: parsing {value:?}: {error}")
        };
        match self.slot(option).ok_or_else(unknown)? {
            Slot::Bool(slot) => *slot = parse_bool(value)?,
            Slot::Int(slot) => *slot = number::integer(value).map_err(|e| no_number("Atoi", e))?,
            Slot::Float(slot) => {
                *slot = number::float(value).map_err(|e| no_number("ParseFloat", e))?;
            }
            Slot::Text(slot) => value.clone_into(slot),
            Slot::Sort(slot) if SORTS.contains(&value) => *slot = value == "cum",
            Slot::Granularity(slot) => {
                *slot = match value {
                    "functions" => Granularity::Functions,
                    "filefunctions" => Granularity::FileFunctions,
                    "files" => Granularity::Files,
                    "lines" => Granularity::Lines,
                    "addresses" => Granularity::Addresses,
                    _ => return Err(format!("invalid {option:?} value {value:?}")),
                }
            }
            Slot::Sort(_) => return Err(format!("invalid {option:?} value {value:?}")),
        }
        Ok(())
    }

    /// The value of an option as text.
    pub fn get(&self, name: &str) -> Option<String> {
        let mut copy = self.clone();
        Some(match copy.slot(name)? {
            Slot::Bool(value) => value.to_string(),
            Slot::Int(value) => value.to_string(),
            Slot::Float(value) => value.to_string(),
            Slot::Text(value) => value.clone(),
            Slot::Sort(value) => if *value { "cum" } else { "flat" }.to_owned(),
            Slot::Granularity(value) => match value {
                Granularity::Default => "",
                Granularity::Functions => "functions",
                Granularity::FileFunctions => "filefunctions",
                Granularity::Files => "files",
                Granularity::Lines => "lines",
                Granularity::Addresses => "addresses",
            }
            .to_owned(),
        })
    }
}
