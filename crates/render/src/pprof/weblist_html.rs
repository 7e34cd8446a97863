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
            let index = usize::try_from(call.line - 1).ok();
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
