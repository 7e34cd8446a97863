//! What is asked of a profile: which values, compared with what, and which of its samples.
//! The parameters have the names of pprof's web pages.

use std::sync::Arc;

use analyze::pprof::config::{Granularity, parse_bool};
use analyze::pprof::report::{Command, TimeTexts};
use analyze::pprof::{Config, Format, Report, merge};
use analyze::report::{Select, Stacks};
use model::{CaptureId, Profile};
use serde::Deserialize;
use store::Store;

use crate::Server;
use crate::error::ApiError;
use crate::packed;

/// The parameters of a view.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct View {
    sample: Option<String>,
    pub(crate) base: Option<i64>,
    f: Option<String>,
    i: Option<String>,
    h: Option<String>,
    s: Option<String>,
    sf: Option<String>,
    prunefrom: Option<String>,
    tf: Option<String>,
    ti: Option<String>,
    ts: Option<String>,
    th: Option<String>,
    tagroot: Option<String>,
    tagleaf: Option<String>,
    noinlines: Option<String>,
    pub(crate) limit: Option<usize>,
    pub(crate) nodes: Option<u16>,
    pub(crate) function: Option<String>,
    asm: Option<String>,
    /// Flame graphs: the node below which to show what was cut, by its path.
    pub(crate) root: Option<String>,
    /// With `root`: how many of its children the client has.
    pub(crate) skip: Option<usize>,
    reverse: Option<String>,
}

impl View {
    /// Names what this view makes of a capture, which never changes.
    pub(crate) fn etag(&self, store: &Store, id: i64, what: &str) -> Result<String, ApiError> {
        let mut checksums = vec![store.capture(CaptureId(id))?.checksum];
        if let Some(base) = self.base {
            checksums.push(store.capture(CaptureId(base))?.checksum);
        }
        Ok(packed::etag(&checksums, &format!("{what} {self:?}")))
    }

    /// The expression for functions, which listings need.
    pub(crate) fn wanted(&self) -> Result<&str, ApiError> {
        let missing = || ApiError::bad("function= is missing", "give an expression for functions");
        self.function.as_deref().filter(|text| !text.is_empty()).ok_or_else(missing)
    }

    /// Whether the code below each line is wanted.
    pub(crate) fn wants_code(&self) -> Result<bool, ApiError> {
        flag("asm", self.asm.as_deref())
    }

    /// Whether the leaves are wanted at the root.
    pub(crate) fn is_reversed(&self) -> Result<bool, ApiError> {
        flag("reverse", self.reverse.as_deref())
    }

    fn config(&self) -> Result<Config, ApiError> {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        Ok(Config {
            focus: text(&self.f),
            ignore: text(&self.i),
            hide: text(&self.h),
            show: text(&self.s),
            show_from: text(&self.sf),
            prune_from: text(&self.prunefrom),
            tagfocus: text(&self.tf),
            tagignore: text(&self.ti),
            tagshow: text(&self.ts),
            taghide: text(&self.th),
            tagroot: text(&self.tagroot),
            tagleaf: text(&self.tagleaf),
            noinlines: flag("noinlines", self.noinlines.as_deref())?,
            ..Config::default()
        })
    }
}

/// A switch: there and without a value it is on.
fn flag(name: &str, value: Option<&str>) -> Result<bool, ApiError> {
    let failed = |error| ApiError::bad(format!("{name}: {error}"), "1 or 0");
    value.map_or(Ok(false), |value| parse_bool(value).map_err(failed))
}

/// A capture as a profile.
pub(crate) fn profile(server: &Server, id: i64) -> Result<Arc<Profile>, ApiError> {
    server.recent.profile(&server.store, id)
}

/// A report on a capture, or on its difference to another.
pub(crate) fn report(
    server: &Server,
    id: i64,
    view: &View,
    command: &Command,
) -> Result<Report, ApiError> {
    let mut shown = Arc::unwrap_or_clone(profile(server, id)?);
    if let Some(base) = view.base {
        let next = "base= names a capture of the same kind";
        shown = merge::difference(shown, Arc::unwrap_or_clone(profile(server, base)?), true)
            .map_err(|error| ApiError::bad(error, next))?;
    }
    let mut config = view.config()?;
    config.sample_index = view.sample.clone().unwrap_or_default();
    config.nodecount = view.nodes.map_or(-1, i64::from);
    let mut report = prepared(shown, command, &config)?;
    // weblist needs inlined calls to find code; what is listed need not.
    report.config.noinlines |= config.noinlines;
    Ok(report)
}

/// The stacks of a capture, and those of its base.
pub(crate) fn stacks(server: &Server, id: i64, view: &View) -> Result<Stacks, ApiError> {
    let base = view.base.map(|base| profile(server, base)).transpose()?;
    stacks_of(profile(server, id)?, base, view)
}

/// The stacks of a profile, and those of its base.
pub(crate) fn stacks_of(
    profile: Arc<Profile>,
    base: Option<Arc<Profile>>,
    view: &View,
) -> Result<Stacks, ApiError> {
    let command = Command { name: "stacks".to_owned(), format: Format::Raw, argument: None };
    let config = view.config()?;
    let is_filtered = config != Config::default();
    let filtered = |profile: Arc<Profile>| -> Result<Arc<Profile>, ApiError> {
        if !is_filtered {
            return Ok(profile);
        }
        let config = Config { granularity: Granularity::Addresses, ..config.clone() };
        Ok(Arc::new(prepared(Arc::unwrap_or_clone(profile), &command, &config)?.profile))
    };
    let select = Select { column: view.sample.as_deref(), focus: None, ignore: None };
    let stacks = match base {
        Some(base) => Stacks::diff(&*filtered(profile)?, &*filtered(base)?, &select),
        None => Stacks::of(&*filtered(profile)?, &select),
    };
    stacks.map_err(|unknown| ApiError::bad(unknown.to_string(), "sample= names one of them"))
}

fn prepared(mut profile: Profile, command: &Command, config: &Config) -> Result<Report, ApiError> {
    // Pages show the time themselves, in the reader's time zone.
    profile.time_nanos = 0;
    // That an expression matches nothing is seen in the answer.
    let mut notes = Vec::new();
    Report::prepare(profile, command, config, TimeTexts::default(), &mut notes)
        .map_err(|error| ApiError::bad(error, "correct the parameter, or leave it out"))
}
