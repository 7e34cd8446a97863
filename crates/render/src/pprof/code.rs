//! What listings need beside a profile, source texts and machine code, and the model that
//! all of them are drawn from: `list`, `weblist`, `disasm` and the JSON of the pages.

use std::ops::Range;

use analyze::pprof::Report;
use model::profile::Mapping;

/// Where source texts come from.
pub trait SourceFiles {
    /// The lines of a file as a profile names it.
    ///
    /// # Errors
    /// A message that says where it was looked for.
    fn lines(&mut self, path: &str) -> Result<&[String], String>;
}

/// A binary as a profile names it.
#[derive(Clone, Copy, Debug)]
pub struct BinaryName<'a> {
    /// Its path.
    pub path: &'a str,
    /// Its build id; empty when the profile does not tell.
    pub build_id: &'a str,
    /// Where it is mapped.
    pub mapping: &'a Mapping,
}

impl<'a> BinaryName<'a> {
    /// The binary behind a mapping of a report's profile.
    pub(super) fn of(report: &'a Report, mapping: &'a Mapping) -> BinaryName<'a> {
        let text = |id| report.profile.str(id);
        BinaryName { path: text(mapping.filename), build_id: text(mapping.build_id), mapping }
    }
}

/// A symbol of a binary, in addresses of the binary.
#[derive(Clone, Debug)]
pub struct CodeSymbol {
    /// Its name.
    pub name: String,
    /// First address.
    pub start: u64,
    /// The last one, as pprof counts.
    pub end: u64,
}

/// A place in the source that an instruction was made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CodeFrame {
    /// Function.
    pub function: String,
    /// Source file; empty when unknown.
    pub file: String,
    /// Line; 0 when unknown.
    pub line: i64,
}

/// An instruction and where it comes from.
#[derive(Clone, Debug, Default)]
pub struct CodeLine {
    /// Where it lies in the binary.
    pub address: u64,
    /// What it does.
    pub text: String,
    /// Its place in the source, innermost inlined call first; empty when unknown.
    pub frames: Vec<CodeFrame>,
}

/// Binaries of a profile.
pub trait Code {
    /// The symbols of a binary.
    ///
    /// # Errors
    /// When there is no such binary.
    fn symbols(&mut self, binary: &BinaryName<'_>) -> Result<Vec<CodeSymbol>, String>;

    /// The address within the binary of what a mapping shows at `address`.
    fn address(&mut self, binary: &BinaryName<'_>, address: u64) -> Option<u64>;

    /// Where the binary's code lies in it.
    fn text(&mut self, binary: &BinaryName<'_>) -> Option<Range<u64>>;

    /// The instructions of each range of addresses within the binary. Many ranges in one
    /// call read the debug information once.
    ///
    /// # Errors
    /// When the code cannot be disassembled.
    fn instructions(
        &mut self,
        binary: &BinaryName<'_>,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Vec<CodeLine>>, String>;
}

/// A function with its source.
#[derive(Clone, Debug, Default)]
pub(super) struct ListedFunction {
    /// Its name.
    pub(super) name: String,
    /// Its file; empty when the profile does not tell.
    pub(super) file: String,
    /// Own value.
    pub(super) flat: i64,
    /// Value with all it calls.
    pub(super) cum: i64,
    /// Why there are no lines.
    pub(super) error: Option<String>,
    /// Its lines.
    pub(super) lines: Vec<ListedLine>,
}

/// A line of source.
#[derive(Clone, Debug, Default)]
pub(super) struct ListedLine {
    /// Its number; 0 stands for instructions without one.
    pub(super) number: i64,
    /// Its text.
    pub(super) text: String,
    /// Own value.
    pub(super) flat: i64,
    /// Value with all it calls.
    pub(super) cum: i64,
    /// The code made of it.
    pub(super) instructions: Vec<Instruction>,
}

/// A function of a binary with its code.
#[derive(Clone, Debug, Default)]
pub(super) struct ListedSymbol {
    /// Its name.
    pub(super) name: String,
    /// The binary.
    pub(super) path: String,
    /// Own value.
    pub(super) flat: i64,
    /// Value with all it calls.
    pub(super) cum: i64,
    /// Its code.
    pub(super) instructions: Vec<Instruction>,
}

/// An instruction with values.
#[derive(Clone, Debug, Default)]
pub(super) struct Instruction {
    /// Where it lies in the binary.
    pub(super) address: u64,
    /// What it does; empty where the profile has values and there is no code to show.
    pub(super) text: String,
    /// Own value.
    pub(super) flat: i64,
    /// Value with all it calls.
    pub(super) cum: i64,
    /// The function that the profile's values belong to; empty without values.
    pub(super) function: String,
    /// The function that the binary names for the place, an inlined one first.
    pub(super) code_function: String,
    /// Source file; empty when unknown.
    pub(super) file: String,
    /// Line; 0 when unknown.
    pub(super) line: i64,
    /// It does not follow the instruction before it in memory.
    pub(super) starts_block: bool,
    /// Inlined calls that lead from the listed line to it, outermost first.
    pub(super) calls: Vec<CodeFrame>,
}
