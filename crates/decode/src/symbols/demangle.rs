//! Readable names for what linkers call functions: of Rust, of C++, and of C++ that was made readable
//! before. As google/pprof does it.

/// How much of a C++ name is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Neither parameters nor template arguments.
    Default,
    /// No parameters.
    Templates,
    /// Everything.
    Full,
    /// The linker's names.
    None,
}

/// A readable name; the name itself where it is no mangled one.
pub fn readable(name: &str, mode: Mode) -> String {
    if let Some(text) = demangled(name, mode) {
        return text;
    }
    // Mach-O puts one more underscore before every symbol.
    if let Some(text) = name.strip_prefix('_').and_then(|rest| demangled(rest, mode)) {
        return text;
    }
    if mode == Mode::Full || !looks_like_cpp(name) {
        return name.to_owned();
    }
    let name = without(name, '(', ')');
    if mode == Mode::Default { without(&name, '<', '>') } else { name }
}

fn demangled(name: &str, mode: Mode) -> Option<String> {
    if (name.starts_with("_R") || name.starts_with("_ZN"))
        && let Ok(symbol) = rustc_demangle::try_demangle(name)
    {
        return Some(format!("{symbol:#}"));
    }
    if !name.starts_with("_Z") {
        return None;
    }
    let symbol = cpp_demangle::Symbol::new(name).ok()?;
    let mut options = cpp_demangle::DemangleOptions::new();
    if mode != Mode::Full {
        options = options.no_params().no_return_type();
    }
    let text = symbol.demangle(&options).ok()?;
    Some(if mode == Mode::Default { without(&text, '<', '>') } else { text })
}

/// A guess whether a name is C++ that was demangled already.
fn looks_like_cpp(name: &str) -> bool {
    // Java has class.<init>, Go has pkg.(*Type[...]).Method.
    !name.contains(".<")
        && !name.contains("]).")
        && (name.contains(['<', '>', '[', ']']) || name.contains("::"))
}

/// Removes what stands between matching brackets, them included.
fn without(name: &str, open: char, close: char) -> String {
    let mut out = String::with_capacity(name.len());
    let mut depth = 0_usize;
    for (index, letter) in name.char_indices() {
        if letter == open {
            depth += 1;
        } else if letter == close {
            if depth == 0 {
                // Brackets that do not match: what was removed so far stays removed.
                return out + name.get(index..).unwrap_or("");
            }
            depth -= 1;
            continue;
        }
        if depth == 0 {
            out.push(letter);
        }
    }
    match depth {
        0 => out,
        // An open bracket at the end is kept with what follows it.
        _ => unclosed(name, open, close),
    }
}

fn unclosed(name: &str, open: char, close: char) -> String {
    let mut starts = Vec::new();
    for (index, letter) in name.char_indices() {
        if letter == open {
            starts.push(index);
        } else if letter == close {
            starts.pop();
        }
    }
    let cut = starts.first().copied().unwrap_or(name.len());
    let (closed, rest) = name.split_at(cut);
    without(closed, open, close) + rest
}
