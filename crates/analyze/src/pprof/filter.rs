//! Filters by function, file and object name, pruning, and coarser granularity
//! (profile/filter.go, profile/prune.go, Profile.Aggregate).

use std::collections::HashMap;

use model::profile::Location;
use model::{Line, LocationId, Profile, StrId};

use super::regexp::Pattern;
use super::stacks::{Fate, rewrite};

/// What a name filter found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Matches {
    /// Something was in focus.
    pub focus: bool,
    /// Something was ignored.
    pub ignore: bool,
    /// Something was hidden.
    pub hide: bool,
    /// Something was shown.
    pub show: bool,
}

/// Whether texts match a pattern; each is tried once.
struct Memo<'a> {
    pattern: &'a Pattern,
    known: Vec<Option<bool>>,
}

impl<'a> Memo<'a> {
    fn new(pattern: &'a Pattern, profile: &Profile) -> Memo<'a> {
        Memo { pattern, known: vec![None; profile.strings.len()] }
    }

    fn text(&mut self, profile: &Profile, id: StrId) -> bool {
        let pattern = self.pattern;
        match self.known.get_mut(id.0 as usize) {
            Some(known) => *known.get_or_insert_with(|| pattern.is_match(profile.str(id))),
            None => pattern.is_match(profile.str(id)),
        }
    }

    fn line(&mut self, profile: &Profile, line: &Line) -> bool {
        let Some(function) = profile.functions.get(line.function.0 as usize) else { return false };
        self.text(profile, function.name) || self.text(profile, function.filename)
    }

    fn mapping(&mut self, profile: &Profile, location: &Location) -> bool {
        let mapping = location.mapping.and_then(|id| profile.mappings.get(id.0 as usize));
        mapping.is_some_and(|mapping| self.text(profile, mapping.filename))
    }

    fn location(&mut self, profile: &Profile, location: &Location) -> bool {
        location.lines.iter().any(|line| self.line(profile, line))
            || self.mapping(profile, location)
    }
}

/// Keeps samples with a frame in focus and none ignored; takes hidden frames, and
/// those that are not to be shown, out of them.
pub fn by_name(
    profile: &mut Profile,
    focus: Option<&Pattern>,
    ignore: Option<&Pattern>,
    hide: Option<&Pattern>,
    show: Option<&Pattern>,
) -> Matches {
    let mut matches = Matches::default();
    if [focus, ignore, hide, show].iter().all(Option::is_none) {
        matches.focus = true;
        return matches;
    }
    let [mut focus, mut ignore, mut hide, mut show] = [focus, ignore, hide, show]
        .map(|pattern| pattern.map(|pattern| Memo::new(pattern, profile)));
    let mut verdicts: Vec<Option<bool>> = Vec::with_capacity(profile.locations.len());
    let mut hidden = vec![false; profile.locations.len()];
    let mut locations = std::mem::take(&mut profile.locations);
    for (location, is_hidden) in locations.iter_mut().zip(&mut hidden) {
        let is_ignored = ignore.as_mut().is_some_and(|memo| memo.location(profile, location));
        let in_focus = focus.as_mut().is_none_or(|memo| memo.location(profile, location));
        matches.ignore |= is_ignored;
        matches.focus |= in_focus && !is_ignored;
        verdicts.push(match (is_ignored, in_focus) {
            (true, _) => Some(false),
            (false, true) => Some(true),
            (false, false) => None,
        });
        if let Some(memo) = &mut hide
            && memo.location(profile, location)
        {
            matches.hide = true;
            match memo.mapping(profile, location) {
                true => location.lines.clear(),
                false => location.lines.retain(|line| !memo.line(profile, line)),
            }
            *is_hidden = location.lines.is_empty();
        }
        if let Some(memo) = &mut show {
            if !memo.mapping(profile, location) {
                location.lines.retain(|line| memo.line(profile, line));
            }
            match location.lines.is_empty() {
                true => *is_hidden = true,
                false => matches.show = true,
            }
        }
    }
    profile.locations = locations;
    let flag = |flags: &[bool], id: &LocationId| flags.get(id.0 as usize) == Some(&true);
    let verdict = |id: &LocationId| verdicts.get(id.0 as usize).copied().flatten();
    rewrite(profile, |stack, scratch| {
        let is_ignored = stack.iter().any(|id| verdict(id) == Some(false));
        if is_ignored || !stack.iter().any(|id| verdict(id) == Some(true)) {
            return Fate::Drop;
        }
        if !stack.iter().any(|id| flag(&hidden, id)) {
            return Fate::Keep;
        }
        scratch.extend(stack.iter().filter(|id| !flag(&hidden, id)));
        match scratch.is_empty() {
            true => Fate::Drop,
            false => Fate::Become(scratch),
        }
    });
    matches
}

/// Drops the frames above the highest one that matches; stacks without one go.
pub fn show_from(profile: &mut Profile, pattern: Option<&Pattern>) -> bool {
    let Some(pattern) = pattern else { return false };
    let mut memo = Memo::new(pattern, profile);
    let mut locations = std::mem::take(&mut profile.locations);
    let mut matched = Vec::with_capacity(locations.len());
    for location in &mut locations {
        let by_mapping = memo.mapping(profile, location);
        let last = location.lines.iter().rposition(|line| memo.line(profile, line));
        if let (false, Some(last)) = (by_mapping, last) {
            location.lines.truncate(last + 1);
        }
        matched.push(by_mapping || last.is_some());
    }
    profile.locations = locations;
    rewrite(profile, |stack, _| {
        match stack.iter().rposition(|id| matched.get(id.0 as usize) == Some(&true)) {
            Some(last) if last + 1 == stack.len() => Fate::Keep,
            Some(last) => Fate::Become(stack.get(..=last).unwrap_or(stack)),
            None => Fate::Drop,
        }
    });
    matched.contains(&true)
}

/// A function's name without its arguments.
fn simplified(name: &str) -> &str {
    const RESERVED: [&str; 2] = ["(anonymous namespace)", "operator()"];
    let name = name.strip_prefix('.').unwrap_or(name);
    let mut at = 0;
    while let Some(rest) = name.get(at..) {
        let found = rest.char_indices().find_map(|(index, _)| {
            let here = rest.get(index..).unwrap_or("");
            let reserved = RESERVED.iter().find(|word| here.starts_with(**word));
            reserved
                .map(|word| (index, word.len(), true))
                .or_else(|| here.starts_with('(').then_some((index, 1, false)))
        });
        match found {
            Some((index, len, true)) => at += index + len,
            Some((index, _, false)) => return name.get(..at + index).unwrap_or(name),
            None => break,
        }
    }
    name
}

/// Whether a function's name is to be pruned; each name is tried once.
struct PruneMemo<'a> {
    drop: &'a Pattern,
    keep: Option<&'a Pattern>,
    known: HashMap<StrId, bool>,
}

impl PruneMemo<'_> {
    fn line(&mut self, profile: &Profile, line: &Line) -> bool {
        let Some(function) = profile.functions.get(line.function.0 as usize) else { return false };
        if function.name == StrId(0) {
            return false;
        }
        *self.known.entry(function.name).or_insert_with(|| {
            let name = simplified(profile.str(function.name));
            self.drop.is_match(name) && !self.keep.is_some_and(|keep| keep.is_match(name))
        })
    }
}

/// Drops the frames that the profile itself calls uninteresting.
///
/// # Errors
/// When its expressions are not valid.
pub fn remove_uninteresting(profile: &mut Profile) -> Result<(), String> {
    let compile = |id: StrId| {
        let text = profile.str(id);
        let pattern = Pattern::new(&format!("^({text})$"));
        pattern.map_err(|error| format!("failed to compile regexp {text}: {error}"))
    };
    if profile.drop_frames == StrId(0) {
        return Ok(());
    }
    let drop = compile(profile.drop_frames)?;
    let keep = (profile.keep_frames != StrId(0)).then(|| compile(profile.keep_frames));
    prune(profile, &drop, keep.transpose()?.as_ref());
    Ok(())
}

/// Drops the frame that matches `drop` and not `keep`, and all it calls; frames above
/// the first other one stay, so that no stack becomes empty.
pub fn prune(profile: &mut Profile, drop: &Pattern, keep: Option<&Pattern>) {
    #[derive(Clone, Copy, PartialEq)]
    enum Cut {
        None,
        Whole,
        Beneath,
    }
    let mut memo = PruneMemo { drop, keep, known: HashMap::new() };
    let mut locations = std::mem::take(&mut profile.locations);
    let mut cuts = Vec::with_capacity(locations.len());
    for location in &mut locations {
        cuts.push(match location.lines.iter().rposition(|line| memo.line(profile, line)) {
            None => Cut::None,
            Some(index) if index + 1 == location.lines.len() => Cut::Whole,
            Some(index) => {
                location.lines.drain(..=index);
                Cut::Beneath
            }
        });
    }
    profile.locations = locations;
    if cuts.iter().all(|cut| *cut == Cut::None) {
        return;
    }
    let cut_of = |id: &LocationId| cuts.get(id.0 as usize).copied().unwrap_or(Cut::None);
    rewrite(profile, |stack, _| {
        let user = stack.iter().rposition(|id| cut_of(id) == Cut::None);
        let below = stack.get(..user.unwrap_or(0)).unwrap_or(&[]);
        let found = below.iter().rposition(|id| cut_of(id) != Cut::None);
        let Some(index) = found else { return Fate::Keep };
        let from = match stack.get(index).map(cut_of) {
            Some(Cut::Beneath) => index,
            _ => index + 1,
        };
        match from {
            0 => Fate::Keep,
            _ => Fate::Become(stack.get(from..).unwrap_or(stack)),
        }
    });
}

/// Drops what is below the lowest frame that matches.
pub fn prune_from(profile: &mut Profile, pattern: &Pattern) {
    let mut memo = PruneMemo { drop: pattern, keep: None, known: HashMap::new() };
    let mut locations = std::mem::take(&mut profile.locations);
    let mut matched = Vec::with_capacity(locations.len());
    for location in &mut locations {
        let first = location.lines.iter().position(|line| memo.line(profile, line));
        location.lines.drain(..first.unwrap_or(0));
        matched.push(first.is_some());
    }
    profile.locations = locations;
    rewrite(profile, |stack, _| {
        match stack.iter().position(|id| matched.get(id.0 as usize) == Some(&true)) {
            None | Some(0) => Fate::Keep,
            Some(index) => Fate::Become(stack.get(index..).unwrap_or(stack)),
        }
    });
}

/// What locations keep when they are merged.
#[derive(Clone, Copy, Debug)]
pub struct Detail {
    /// Frames of inlined calls.
    pub inlines: bool,
    /// Function names.
    pub functions: bool,
    /// File names.
    pub files: bool,
    /// Line numbers.
    pub lines: bool,
    /// Column numbers.
    pub columns: bool,
    /// Addresses.
    pub addresses: bool,
}

/// Takes away what `detail` does not keep.
pub fn aggregate(profile: &mut Profile, detail: Detail) {
    for mapping in &mut profile.mappings {
        mapping.has_inline_frames &= detail.inlines;
        mapping.has_functions &= detail.functions;
        mapping.has_filenames &= detail.files;
        mapping.has_line_numbers &= detail.lines;
    }
    for function in &mut profile.functions {
        if !detail.functions {
            (function.name, function.system_name) = (StrId(0), StrId(0));
        }
        if !detail.files {
            function.filename = StrId(0);
        }
    }
    for location in &mut profile.locations {
        if !detail.inlines && location.lines.len() > 1 {
            location.lines.drain(..location.lines.len() - 1);
        }
        for line in &mut location.lines {
            line.line = if detail.lines { line.line } else { 0 };
            line.column = if detail.lines && detail.columns { line.column } else { 0 };
        }
        if !detail.addresses {
            location.address = model::Addr(0);
        }
    }
}
