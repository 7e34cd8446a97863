//! `weblist` as a page: a click on a line with code shows the code.

use std::io::{self, Write};

use analyze::pprof::measure::percentage;
use analyze::pprof::{Report, paths};

use super::code::{CodeFrame, Instruction, ListedFunction, ListedLine};
use super::weblist::{Collected, Inlining};
use super::{Code, ReportError, SourceFiles, value_or_dot};

/// Columns of code.
const WIDTH: usize = 80;

const STYLE: &str = "<style>
:root { color-scheme: light dark }
body { font: 14px sans-serif; margin: 1rem }
pre { font: 12px/1.35 monospace; overflow-x: auto }
h2 { margin: 1.5rem 0 0 }
.filename { margin: .2rem 0; color: GrayText }
.line, .nop, .unimportant { color: GrayText }
.inlinesrc { color: light-dark(#00449e, #8ab4f8) }
.livesrc { cursor: pointer }
.livesrc:hover, .livesrc:focus { background: light-dark(#eee, #333) }
.asm { color: light-dark(#05690d, #7fc987); display: none }
.asm.open { display: block }
</style>";

const SCRIPT: &str = "<script>
function pprof_toggle_asm(event) {
  const line = event.target.closest('.livesrc');
  const code = line && line.nextElementSibling;
  if (code && code.classList.contains('asm')) code.classList.toggle('open');
}
</script>";

/// Writes the page.
///
/// # Errors
/// When nothing matches what was asked for, or `out` cannot be written.
pub fn write_weblist(
    report: &Report,
    sources: &mut dyn SourceFiles,
    code: &mut dyn Code,
    out: &mut dyn Write,
) -> Result<(), ReportError> {
    let collected = Collected::of(report, code, Inlining::Outermost)?;
    let title = escaped(&format!("{} {}", report.title, report.sample_type));
    writeln!(out, "<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\">")?;
    writeln!(out, "<title>{title}</title>\n{STYLE}\n{SCRIPT}\n</head>\n<body>\n")?;
    let legend: Vec<String> = report.profile_labels().iter().map(|line| escaped(line)).collect();
    let total = escaped(&report.format_value(report.total));
    write!(out, "<div class=\"legend\">{}<br>Total: {total}</div>", legend.join("<br>\n"))?;
    let functions: Vec<ListedFunction> = collected.functions(sources).collect();
    for function in &functions {
        write_function(report, function, sources, out)?;
    }
    writeln!(out, "\n</body>\n</html>")?;
    Ok(())
}

fn write_function(
    report: &Report,
    function: &ListedFunction,
    sources: &mut dyn SourceFiles,
    out: &mut dyn Write,
) -> io::Result<()> {
    let ListedFunction { name, file, flat, cum, lines, .. } = function;
    writeln!(out, "<h2>{}</h2><p class=\"filename\">{}</p>", escaped(name), escaped(file))?;
    let (flat, cum) = (report.format_value(*flat), report.format_value(*cum));
    let share = percentage(function.cum, report.total);
    let sums = format!("  Total:  {flat:>10} {cum:>10} (flat, cum) {share}");
    write!(out, "<pre onClick=\"pprof_toggle_asm(event)\">\n{}", escaped(&sums))?;
    for line in lines {
        write_line(report, line, sources, out)?;
    }
    write!(out, "\n</pre>\n")
}

fn write_line(
    report: &Report,
    line: &ListedLine,
    sources: &mut dyn SourceFiles,
    out: &mut dyn Write,
) -> io::Result<()> {
    let ListedLine { number, text, flat, cum, instructions } = line;
    let has_code = |i: &Instruction| !i.calls.is_empty() || !i.text.is_empty();
    let class = match instructions.as_slice() {
        [] => "nop",
        list if list.iter().any(has_code) => "livesrc",
        _ => "deadsrc",
    };
    let (flat, cum) = (value_or_dot(report, *flat), value_or_dot(report, *cum));
    let shown = format!("  {flat:>10} {cum:>10} {:>8}  {text} ", "");
    write!(out, "\n<span class=line> {number:>6}</span> ")?;
    write!(out, "<span class={class}>{}</span>", escaped(&shown))?;
    if class == "livesrc" {
        write!(out, "<span class=asm>")?;
        write_code(report, indentation(text), instructions, sources, out)?;
        write!(out, "</span>")?;
    }
    Ok(())
}

fn write_code(
    report: &Report,
    indent: usize,
    instructions: &[Instruction],
    sources: &mut dyn SourceFiles,
    out: &mut dyn Write,
) -> io::Result<()> {
    // Calls that lead to several instructions are shown once.
    let mut shown: &[CodeFrame] = &[];
    let is_same = |a: &CodeFrame, b: &CodeFrame| a.file == b.file && a.line == b.line;
    for (index, instruction) in instructions.iter().enumerate() {
        let Instruction { address, text, flat, cum, file, line, starts_block, calls, .. } =
            instruction;
        if *starts_block && index != 0 {
            writeln!(out, " {:>8} {:>28}", "", "⋮")?;
        }
        for (depth, call) in calls.iter().enumerate() {
            if shown.get(depth).is_some_and(|shown| is_same(shown, call)) {
                continue;
            }
            shown = &[];
            let index = usize::try_from(call.line.saturating_sub(1)).ok();
            let lines = sources.lines(&call.file).unwrap_or(&[]);
            let source = index.and_then(|index| lines.get(index)).map_or("", |line| line.trim());
            let source = padded(&(" ".repeat(indent + 4 + 4 * depth) + source));
            let place = format!("{}:{}", paths::base(&call.file), call.line);
            write!(out, " {:>8} {:>10} {:>10} {:>8}  ", "", "", "", "")?;
            write!(out, "<span class=inlinesrc>{}</span> ", escaped(&source))?;
            writeln!(out, "<span class=unimportant>{}</span>", escaped(&place))?;
        }
        shown = calls;
        if !text.is_empty() {
            let text = padded(&(" ".repeat(indent + 4 + 4 * calls.len()) + text));
            let (flat, cum) = (value_or_dot(report, *flat), value_or_dot(report, *cum));
            let shown = format!(" {:>8} {flat:>10} {cum:>10} {address:>8x}: {text} ", "");
            let place = match file.as_str() {
                "" => String::new(),
                // Escaped twice, as pprof does.
                file => format!("{}:{line}", escaped(paths::base(file))),
            };
            write!(out, "{}<span class=unimportant>", escaped(&shown))?;
            writeln!(out, "{}</span>", escaped(&place))?;
        }
    }
    Ok(())
}

/// Columns of white space before a line's text.
fn indentation(line: &str) -> usize {
    let mut column = 0;
    for letter in line.chars() {
        match letter {
            ' ' => column += 1,
            '\t' => column = (column / 8 + 1) * 8,
            _ => break,
        }
    }
    column
}

/// Text without tabs, as wide as the column of code.
fn padded(text: &str) -> String {
    let mut out = String::with_capacity(WIDTH);
    let mut column = 0_usize;
    for letter in text.chars() {
        column += 1;
        if letter != '\t' {
            out.push(letter);
            continue;
        }
        out.push(' ');
        while !column.is_multiple_of(8) {
            column += 1;
            out.push(' ');
        }
    }
    out.extend(std::iter::repeat_n(' ', WIDTH.saturating_sub(column)));
    out
}

/// Text for HTML, with the letters that Go's templates escape.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        match letter {
            '\0' => out.push('\u{fffd}'),
            '"' => out.push_str("&#34;"),
            '&' => out.push_str("&amp;"),
            '\'' => out.push_str("&#39;"),
            '+' => out.push_str("&#43;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use analyze::pprof::report::{Command, TimeTexts};
    use analyze::pprof::{Config, Format, Report};
    use model::profile::{Location, Mapping};
    use model::{Addr, Function, FunctionId, Line, LocationId, MappingId, Profile};

    use super::{padded, write_weblist};
    use crate::pprof::{BinaryName, Code, CodeFrame, CodeLine, CodeSymbol, SourceFiles};

    struct OneFile(Vec<String>);

    impl SourceFiles for OneFile {
        fn lines(&mut self, _: &str) -> Result<&[String], String> {
            Ok(&self.0)
        }
    }

    /// One byte an instruction, each inlined from `inner` into `main.f`.
    struct Inlined;

    impl Code for Inlined {
        fn symbols(&mut self, _: &BinaryName<'_>) -> Result<Vec<CodeSymbol>, String> {
            Ok(Vec::new())
        }

        fn address(&mut self, _: &BinaryName<'_>, address: u64) -> Option<u64> {
            Some(address)
        }

        fn text(&mut self, _: &BinaryName<'_>) -> Option<Range<u64>> {
            Some(0x1000..0x1004)
        }

        fn instructions(
            &mut self,
            _: &BinaryName<'_>,
            ranges: &[Range<u64>],
        ) -> Result<Vec<Vec<CodeLine>>, String> {
            let frame = |function: &str, line| CodeFrame {
                function: function.to_owned(),
                file: "f.go".to_owned(),
                line,
            };
            let frames = vec![frame("inner", 1), frame("main.f", 2)];
            let line =
                |address| CodeLine { address, text: "NOP".to_owned(), frames: frames.clone() };
            Ok(ranges.iter().map(|range| range.clone().map(line).collect()).collect())
        }
    }

    fn page(addresses: &[u64], lines: &[i64]) -> String {
        let mut profile = Profile::new(&[("space", "bytes")]);
        let (name, filename) = (profile.strings.intern("main.f"), profile.strings.intern("f.go"));
        profile.functions.push(Function { name, filename, ..Function::default() });
        profile.mappings.push(Mapping { limit: Addr(0x2000), filename, ..Mapping::default() });
        for (index, (address, line)) in (0_u32..).zip(addresses.iter().zip(lines)) {
            let lines = vec![Line { function: FunctionId(0), line: *line, column: 0 }];
            let mapping = Some(MappingId(0)).filter(|_| *address == 0x1001);
            let address = Addr(*address);
            profile.locations.push(Location { address, mapping, lines, ..Location::default() });
            profile.push_sample(&[LocationId(index)], &[512], &[]);
        }
        let argument = Some("main".to_owned());
        let command = Command { name: "weblist".to_owned(), format: Format::WebList, argument };
        let (config, time) = (Config::default(), TimeTexts::default());
        let report = Report::prepare(profile, &command, &config, time, &mut Vec::new()).unwrap();
        let mut sources = OneFile(vec!["a < b".to_owned(), "\tcall()".to_owned()]);
        let mut out = Vec::new();
        write_weblist(&report, &mut sources, &mut Inlined, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn code_stands_below_its_line() {
        let page = page(&[0x1001], &[2]);
        // As go tool pprof has it: the caller's name at the line of the inlined call.
        assert!(page.contains("<h2>main.f</h2><p class=\"filename\">f.go</p>"), "{page}");
        let row = "<span class=line>      1</span> <span class=livesrc>        512B       512B           \
                   a &lt; b </span><span class=asm>";
        assert!(page.contains(row), "{page}");
        assert_eq!(page.matches("NOP").count(), 4);
    }

    #[test]
    fn places_that_cannot_be_are_survived() {
        let lines = [i64::MIN, -1, 0, i64::MAX, 1, 1 << 40];
        let page = page(&[0, u64::MAX, 0, 1, u64::MAX - 1, 0x1001], &lines);
        assert!(page.contains("instructions with unknown line numbers") && page.contains("???"));
    }

    #[test]
    fn tabs_become_spaces() {
        assert_eq!(padded("a\tb").trim_end(), "a       b");
        assert_eq!(padded("x").len(), 80);
    }
}
