//! `weblist`: source with the machine code below each line
//! (internal/report/source.go of google/pprof).
//!
//! Code is read around the addresses that have values, so each instruction keeps its
//! place even where the profile has none.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use analyze::pprof::{Report, paths};
use model::profile::{Location, Mapping};
use model::{LocationId, StackId, StrId};

use super::code::{
    BinaryName, Code, CodeFrame, CodeLine, Instruction, ListedFunction, ListedLine, SourceFiles,
};
use super::{ReportError, number};

/// Code this close to an address with values is read too.
const NEIGHBOURHOOD: u64 = 500;
/// Ranges of code that are read, those with the largest values.
const RANGES_MAX: usize = 25;
/// Instructions without a line get that of one so many bytes before.
const SAME_LINE_BYTES: u64 = 32;
/// Gaps of fewer lines do not split a function.
const GAP_LINES: i64 = 20;
/// Lines shown around a function.
const MARGIN: i64 = 5;

/// Which frames of an instruction count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inlining {
    /// The function whose code it is, at the line of the innermost call: all that
    /// `go tool pprof` knows of Go code.
    Outermost,
    /// All of them.
    All,
}

/// Code and values of the functions that a report asks for.
pub(super) struct Collected {
    inlining: Inlining,
    /// Functions with values that were asked for.
    interest: HashSet<String>,
    /// Names as people read them, by those of the linker.
    names: HashMap<String, String>,
    files: BTreeMap<String, SourceFile>,
    instructions: HashMap<u64, Coded>,
}

/// An instruction at an address of the profile.
#[derive(Debug, Default)]
struct Coded {
    address: u64,
    length: u64,
    text: String,
    place: CodeFrame,
    flat: i64,
    cum: i64,
}

#[derive(Debug, Default)]
struct SourceFile {
    lines: BTreeMap<i64, Vec<Placed>>,
}

/// An instruction below a line.
#[derive(Debug)]
struct Placed {
    address: u64,
    /// The function that the line belongs to.
    function: String,
    /// Inlined calls from there to the instruction, outermost first.
    calls: Vec<CodeFrame>,
}

/// Lines of a file that belong to one function; `end` is not one of them.
struct Part {
    name: String,
    begin: i64,
    end: i64,
    flat: i64,
    cum: i64,
}

/// Code to read.
struct Stretch {
    range: Range<u64>,
    mapping: Mapping,
    /// An address with values.
    anchor: u64,
    flat: i64,
}

/// Values by address, and the locations that were asked for.
#[derive(Default)]
struct Values {
    flat: BTreeMap<u64, i64>,
    cum: BTreeMap<u64, i64>,
    wanted: BTreeMap<u64, LocationId>,
}

impl Collected {
    /// Reads the code.
    ///
    /// # Errors
    /// When nothing matches.
    pub(super) fn of(
        report: &Report,
        code: &mut dyn Code,
        inlining: Inlining,
    ) -> Result<Collected, ReportError> {
        let mut collected = Collected {
            inlining,
            interest: HashSet::new(),
            names: HashMap::new(),
            files: BTreeMap::new(),
            instructions: HashMap::new(),
        };
        let values = collected.values(report)?;
        let stretches = collected.stretches(report, &values, code);
        collected.read(report, &stretches, code);
        collected.add_values(&values);
        Ok(collected)
    }

    /// Sums values by address, and marks what is asked for.
    fn values(&mut self, report: &Report) -> Result<Values, ReportError> {
        let Some(symbol) = &report.symbol else {
            let message = format!("{} needs a function", report.command);
            return Err(ReportError::Refused(message));
        };
        let profile = &report.profile;
        let address = number(symbol.text());
        let mut sums: BTreeMap<StackId, i64> = BTreeMap::new();
        for (sample, stack) in profile.samples.ids().zip(&profile.samples.stacks) {
            let (value, div) = report.value(sample);
            let value = if div == 0 { value } else { value.wrapping_div(div) };
            let sum = sums.entry(*stack).or_default();
            *sum = sum.wrapping_add(value);
        }
        let mut values = Values::default();
        let mut addresses: HashMap<LocationId, u64> = HashMap::new();
        let limits = profile.mappings.iter().map(|mapping| mapping.limit.0);
        let mut made_up = limits.max().unwrap_or(0).max(1);
        for (stack, sum) in sums {
            let stack = profile.stacks.get(stack);
            for (index, id) in stack.iter().enumerate().rev() {
                let Some(location) = profile.locations.get(id.0 as usize) else { continue };
                let at = match addresses.get(id) {
                    Some(at) => *at,
                    None => {
                        let mut at = location.address.0;
                        if at == 0 {
                            // Some profiles have no addresses.
                            at = made_up;
                            made_up = made_up.wrapping_add(1);
                        }
                        addresses.insert(*id, at);
                        if self.mark(report, location, address == Some(at)) {
                            values.wanted.entry(at).or_insert(*id);
                        }
                        at
                    }
                };
                let cum = values.cum.entry(at).or_default();
                *cum = cum.wrapping_add(sum);
                if index == 0 {
                    let flat = values.flat.entry(at).or_default();
                    *flat = flat.wrapping_add(sum);
                }
            }
        }
        if self.interest.is_empty() {
            let message = format!("no matches found for regexp: {}", symbol.text());
            return Err(ReportError::Refused(message));
        }
        Ok(values)
    }

    /// Notes the functions of a location that are asked for; tells whether there are any.
    fn mark(&mut self, report: &Report, location: &Location, is_address: bool) -> bool {
        let profile = &report.profile;
        let Some(symbol) = &report.symbol else { return false };
        let function = |line: &model::Line| profile.functions.get(line.function.0 as usize);
        let mapping = location.mapping.and_then(|id| profile.mappings.get(id.0 as usize));
        let by_binary = mapping.is_some_and(|m| symbol.is_match(profile.str(m.filename)));
        let mut is_wanted = false;
        for (index, line) in location.lines.iter().enumerate() {
            let Some(function) = function(line) else { continue };
            let text = |id: StrId| profile.str(id);
            let (name, system_name) = (text(function.name), text(function.system_name));
            self.names.insert(system_name.to_owned(), name.to_owned());
            let is_match = match is_address {
                true => index + 1 == location.lines.len(),
                false => {
                    index == 0 && by_binary
                        || symbol.is_match(name)
                        || symbol.is_match(system_name)
                        || symbol.is_match(text(function.filename))
                }
            };
            if is_match {
                self.interest.insert(name.to_owned());
                self.interest.insert(system_name.to_owned());
                is_wanted = true;
            }
        }
        is_wanted
    }

    /// Ranges of code around what is asked for, those with the largest values first.
    /// Addresses without a binary stand for themselves.
    fn stretches(&mut self, report: &Report, values: &Values, code: &mut dyn Code) -> Vec<Stretch> {
        let profile = &report.profile;
        let mut known: Vec<(u64, Mapping)> = Vec::new();
        for (address, id) in &values.wanted {
            let Some(location) = profile.locations.get(id.0 as usize) else { continue };
            let mapping = location.mapping.and_then(|id| profile.mappings.get(id.0 as usize));
            let mapping = mapping.filter(|mapping| {
                code.address(&BinaryName::of(report, mapping), *address).is_some()
            });
            match mapping {
                Some(mapping) => known.push((*address, *mapping)),
                None => self.add_location(report, *address, location),
            }
        }
        let flat = |address: u64| values.flat.get(&address).copied().unwrap_or(0);
        let mut stretches: Vec<Stretch> = Vec::new();
        let mut last = 0;
        for (address, mapping) in known {
            match stretches.last_mut() {
                Some(before)
                    if address <= u64::saturating_add(last, 2 * NEIGHBOURHOOD)
                        && address < before.mapping.limit.0 =>
                {
                    before.range.end = address;
                    before.flat = before.flat.wrapping_add(flat(address));
                }
                _ => stretches.push(Stretch {
                    range: address..address,
                    mapping,
                    anchor: address,
                    flat: flat(address),
                }),
            }
            last = address;
        }
        for Stretch { range, mapping, .. } in &mut stretches {
            // As pprof counts: past the start of the mapping, too.
            range.start = match range.start == mapping.start.0 {
                true => range.start,
                false => range.start.saturating_sub(NEIGHBOURHOOD),
            };
            range.end = match mapping.limit.0.wrapping_sub(range.end) >= NEIGHBOURHOOD {
                true => range.end.saturating_add(NEIGHBOURHOOD),
                false => mapping.limit.0,
            };
        }
        stretches.sort_by_key(|stretch| std::cmp::Reverse(stretch.flat));
        stretches.truncate(RANGES_MAX);
        stretches
    }

    /// A location without code: its values go to its lines.
    fn add_location(&mut self, report: &Report, address: u64, location: &Location) {
        let profile = &report.profile;
        let frame = |line: &model::Line| {
            let function = profile.functions.get(line.function.0 as usize)?;
            Some(CodeFrame {
                function: profile.str(function.name).to_owned(),
                file: profile.str(function.filename).to_owned(),
                line: line.line,
            })
        };
        let frames: Vec<CodeFrame> = location.lines.iter().filter_map(frame).collect();
        let place = frames.first().cloned().unwrap_or_default();
        let coded = Coded { address, length: 1, place, ..Coded::default() };
        self.instructions.insert(address, coded);
        self.place(address, &frames);
    }

    /// Reads the code of all stretches, each binary once.
    fn read(&mut self, report: &Report, stretches: &[Stretch], code: &mut dyn Code) {
        let mut read: Vec<Option<(u64, Vec<CodeLine>)>> = stretches.iter().map(|_| None).collect();
        for (index, stretch) in stretches.iter().enumerate() {
            if read.get(index).is_some_and(Option::is_some) {
                continue;
            }
            let binary = BinaryName::of(report, &stretch.mapping);
            let mut wanted = Vec::new();
            let mut ranges = Vec::new();
            for (index, other) in stretches.iter().enumerate() {
                let at = code.address(&binary, other.anchor);
                if let Some(at) = at.filter(|_| other.mapping == stretch.mapping) {
                    let shift = other.anchor.wrapping_sub(at);
                    let text = code.text(&binary).unwrap_or(0..0);
                    let start = other.range.start.wrapping_sub(shift).max(text.start);
                    let end = other.range.end.wrapping_sub(shift).min(text.end);
                    ranges.push(start..end);
                    wanted.push((index, shift));
                }
            }
            let codes = code.instructions(&binary, &ranges).unwrap_or_default();
            for ((index, shift), lines) in wanted.into_iter().zip(codes) {
                if let Some(slot) = read.get_mut(index) {
                    *slot = Some((shift, lines));
                }
            }
        }
        for (shift, lines) in read.into_iter().flatten() {
            self.add_code(shift, lines);
        }
    }

    fn add_code(&mut self, shift: u64, lines: Vec<CodeLine>) {
        let (mut last_frames, mut last_address): (Vec<CodeFrame>, u64) = (Vec::new(), 0);
        let mut lines = lines.into_iter().peekable();
        while let Some(line) = lines.next() {
            let address = line.address.wrapping_add(shift);
            let next = lines.peek().map_or(0, |next| next.address);
            let length = if next > line.address { next - line.address } else { 1 };
            let mut frames = self.counted(line.frames);
            let place = frames.first().cloned().unwrap_or_default();
            if place.line == 0 && place.file.is_empty() && !place.function.is_empty() {
                // What fills the gap between two functions belongs to no line.
                last_frames.clear();
                frames.clear();
            } else if place.line != 0 {
                frames.clone_into(&mut last_frames);
                last_address = address;
            } else if address.wrapping_sub(last_address) <= SAME_LINE_BYTES {
                last_frames.clone_into(&mut frames);
            }
            let coded =
                Coded { address: line.address, length, text: line.text, place, flat: 0, cum: 0 };
            self.instructions.insert(address, coded);
            self.place(address, &frames);
        }
    }

    fn counted(&self, mut frames: Vec<CodeFrame>) -> Vec<CodeFrame> {
        if self.inlining == Inlining::Outermost && frames.len() > 1 {
            let function = frames.pop().unwrap_or_default().function;
            frames.truncate(1);
            frames.iter_mut().for_each(|frame| function.clone_into(&mut frame.function));
        }
        frames
    }

    /// Puts an instruction below each line of a function that is asked for.
    fn place(&mut self, address: u64, frames: &[CodeFrame]) {
        for (index, frame) in frames.iter().enumerate() {
            let Some(function) = self.wanted(&frame.function) else { continue };
            let calls = frames.get(..index).unwrap_or(&[]).iter().rev().cloned().collect();
            let file = self.files.entry(canonical(&frame.file)).or_default();
            file.lines.entry(frame.line).or_default().push(Placed { address, function, calls });
        }
    }

    /// The name under which a function was asked for: many profiles leave out type
    /// arguments, which binaries have.
    fn wanted(&self, function: &str) -> Option<String> {
        if self.interest.contains(function) {
            return Some(function.to_owned());
        }
        let (start, end) = (function.find('[')?, function.rfind(']')?);
        let short = format!("{}[...{}", function.get(..start)?, function.get(end..)?);
        self.interest.contains(&short).then_some(short)
    }

    /// Values in the middle of an instruction belong to it.
    fn add_values(&mut self, values: &Values) {
        for (address, coded) in &mut self.instructions {
            let range = *address..address.saturating_add(coded.length);
            let sum = |sums: &BTreeMap<u64, i64>| {
                sums.range(range.clone()).fold(0_i64, |sum, (_, value)| sum.wrapping_add(*value))
            };
            (coded.flat, coded.cum) = (sum(&values.flat), sum(&values.cum));
        }
    }

    /// Every function with its lines, by file and line.
    pub(super) fn functions<'a>(
        &'a self,
        sources: &'a mut dyn SourceFiles,
    ) -> impl Iterator<Item = ListedFunction> + 'a {
        let parts = self.files.iter().flat_map(|(name, file)| {
            let parts = self.parts(file).into_iter().filter(|part| part.cum != 0);
            parts.map(move |part| (name, file, part))
        });
        parts.map(|(name, file, part)| self.listed(name, file, part, sources))
    }

    /// The lines of a file, split where another function begins or many lines have no code.
    fn parts(&self, file: &SourceFile) -> Vec<Part> {
        let mut parts: Vec<Part> = Vec::new();
        for (line, placed) in &file.lines {
            let name = placed.first().map_or("", |placed| self.name(&placed.function));
            let (flat, cum) = self.sum(placed);
            match parts.last_mut() {
                Some(last) if line.saturating_sub(last.end) < GAP_LINES && last.name == name => {
                    last.end = line.saturating_add(1);
                    last.flat = last.flat.wrapping_add(flat);
                    last.cum = last.cum.wrapping_add(cum);
                }
                _ => parts.push(Part {
                    name: name.to_owned(),
                    begin: *line,
                    end: line.saturating_add(1),
                    flat,
                    cum,
                }),
            }
        }
        let mut before: Option<&mut Part> = None;
        for part in &mut parts {
            match before {
                // Line 0 stands for an unknown one and is left alone.
                None if part.begin > MARGIN => part.begin -= MARGIN,
                None if part.begin > 1 => part.begin = 1,
                None => {}
                Some(before) => {
                    let half = (part.begin.saturating_sub(before.end) / 2).min(MARGIN);
                    before.end += half;
                    part.begin -= half;
                }
            }
            before = Some(part);
        }
        if let Some(last) = parts.last_mut() {
            last.end = last.end.saturating_add(MARGIN);
        }
        parts
    }

    fn name<'a>(&'a self, function: &'a str) -> &'a str {
        self.names.get(function).map_or(function, String::as_str)
    }

    fn sum(&self, placed: &[Placed]) -> (i64, i64) {
        let coded = placed.iter().filter_map(|placed| self.instructions.get(&placed.address));
        coded.fold((0_i64, 0_i64), |(flat, cum), coded| {
            (flat.wrapping_add(coded.flat), cum.wrapping_add(coded.cum))
        })
    }

    fn listed(
        &self,
        file_name: &str,
        file: &SourceFile,
        part: Part,
        sources: &mut dyn SourceFiles,
    ) -> ListedFunction {
        let Part { name, begin, end, flat, cum } = part;
        let texts = sources.lines(file_name);
        let error = texts.as_ref().err().cloned();
        let texts = texts.unwrap_or(&[]);
        let last = texts.len() as i64;
        // Lines past the end of the file are shown where they have code.
        let beyond = file.lines.range(begin.max(last + 1)..end.max(last + 1).max(begin));
        let known = (begin..end.min(last + 1)).chain(beyond.map(|(line, _)| *line));
        let lines = known.filter_map(|line| {
            let placed = file.lines.get(&line).map_or(&[][..], Vec::as_slice);
            let index = usize::try_from(line.saturating_sub(1)).ok();
            let text = match index.and_then(|index| texts.get(index)) {
                Some(text) => text.as_str(),
                None if placed.is_empty() => return None,
                None if line == 0 => "<instructions with unknown line numbers>",
                None => "???",
            };
            let (flat, cum) = self.sum(placed);
            let instructions = self.below(placed);
            Some(ListedLine { number: line, text: text.to_owned(), flat, cum, instructions })
        });
        let lines = lines.collect();
        ListedFunction { name, file: file_name.to_owned(), flat, cum, error, lines }
    }

    fn below(&self, placed: &[Placed]) -> Vec<Instruction> {
        let mut expected = None;
        let instruction = |placed: &Placed| {
            let coded = self.instructions.get(&placed.address)?;
            let starts_block = expected != Some(placed.address);
            expected = Some(placed.address.wrapping_add(coded.length));
            Some(Instruction {
                address: coded.address,
                text: coded.text.clone(),
                flat: coded.flat,
                cum: coded.cum,
                function: String::new(),
                code_function: self.name(&coded.place.function).to_owned(),
                file: coded.place.file.clone(),
                line: coded.place.line,
                starts_block,
                calls: placed.calls.clone(),
            })
        };
        placed.iter().filter_map(instruction).collect()
    }

    /// Puts the code below the lines of a function that was listed by lines.
    pub(super) fn add_to(&self, report: &Report, listed: &mut ListedFunction) {
        let (trim, search) = (&report.config.trim_path, &report.config.source_path);
        let is_file = |name: &str| paths::clean(paths::trim(name, trim, search)) == listed.file;
        for (_, file) in self.files.iter().filter(|(name, _)| is_file(name)) {
            for line in &mut listed.lines {
                let placed = file.lines.get(&line.number).map_or(&[][..], Vec::as_slice);
                let own = placed.iter().filter(|placed| self.name(&placed.function) == listed.name);
                let own = own.flat_map(|placed| self.below(std::slice::from_ref(placed)));
                line.instructions.extend(own.filter(|instruction| !instruction.text.is_empty()));
                line.instructions.sort_by_key(|instruction| instruction.address);
            }
        }
    }
}

fn canonical(file: &str) -> String {
    let file = file.strip_prefix("/proc/self/cwd/").unwrap_or(file);
    paths::clean(file.strip_prefix("./").unwrap_or(file))
}
