//! Whose code a frame is: the program's own, a dependency, the standard library.

use std::borrow::Cow;

use model::Frame;

/// First path elements of the standard library (go list std, Go 1.27).
const STD: [&str; 51] = [
    "archive",
    "bufio",
    "builtin",
    "bytes",
    "cmp",
    "compress",
    "container",
    "context",
    "crypto",
    "database",
    "debug",
    "embed",
    "encoding",
    "errors",
    "expvar",
    "flag",
    "fmt",
    "go",
    "hash",
    "html",
    "image",
    "index",
    "internal",
    "io",
    "iter",
    "log",
    "maps",
    "math",
    "mime",
    "net",
    "os",
    "path",
    "plugin",
    "reflect",
    "regexp",
    "runtime",
    "slices",
    "sort",
    "strconv",
    "strings",
    "structs",
    "sync",
    "syscall",
    "testing",
    "text",
    "time",
    "unicode",
    "unique",
    "unsafe",
    "vendor",
    "weak",
];

/// Whose code it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// The program's main package or module.
    Program,
    /// Another module.
    Dependency,
    /// Go's standard library or runtime.
    Standard,
}

/// Tells whose code a function is. `module` is the program's module path, empty
/// when unknown.
pub fn owner(function: &str, module: &str) -> Owner {
    let package = package(function);
    let in_module = !module.is_empty()
        && package
            .strip_prefix(module)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if package == "main" || in_module {
        return Owner::Program;
    }
    let first = package.split('/').next().unwrap_or(package);
    if STD.contains(&first) {
        Owner::Standard
    } else if first.contains('.') || !module.is_empty() {
        Owner::Dependency
    } else {
        // Without a dot it is no published module: most likely the program's own.
        Owner::Program
    }
}

/// The package path of a full function name: `a/b` of `a/b.(*T).Method`.
pub fn package(function: &str) -> &str {
    // Type arguments may contain slashes and dots.
    let name = function.split('[').next().unwrap_or(function);
    let slash = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot =
        name.get(slash..).and_then(|tail| tail.find('.')).map_or(name.len(), |dot| slash + dot);
    name.get(..dot).unwrap_or(name)
}

/// A function's name with `[...]` for every list of type arguments, as Go's own tools
/// write it. Names of other languages, where brackets mean other things, stay.
pub fn fold_type_arguments(function: &str) -> Cow<'_, str> {
    if !function.contains('[') || function.contains("::") {
        return Cow::Borrowed(function);
    }
    let mut out = String::with_capacity(function.len());
    let mut depth = 0_usize;
    let mut letters = function.chars().peekable();
    while let Some(letter) = letters.next() {
        let after_name = out.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        match letter {
            '[' if depth > 0 || (after_name && letters.peek() != Some(&']')) => depth += 1,
            // Not after a name, or empty: no list of type arguments.
            '[' => return Cow::Borrowed(function),
            ']' if depth == 1 => {
                depth = 0;
                out.push_str("[...]");
            }
            ']' if depth > 0 => depth -= 1,
            _ if depth > 0 => (),
            letter => out.push(letter),
        }
    }
    match depth == 0 && out != function {
        true => Cow::Owned(out),
        false => Cow::Borrowed(function),
    }
}

/// The frame that is responsible, of a stack with the innermost call first: the
/// innermost of the program's own code, else of a dependency, else the innermost.
pub fn responsible<'a>(stack: &'a [Frame], module: &str) -> Option<&'a Frame> {
    let innermost = |wanted| stack.iter().find(|frame| owner(&frame.function, module) == wanted);
    innermost(Owner::Program).or_else(|| innermost(Owner::Dependency)).or_else(|| stack.first())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_and_owners() {
        assert_eq!(package("main.(*T).f"), "main");
        assert_eq!(package("example.com/a/b.F[...]"), "example.com/a/b");
        assert_eq!(package("slices.Grow[go.shape.[]a/b.T]"), "slices");
        assert_eq!(owner("net/http.(*conn).serve", ""), Owner::Standard);
        assert_eq!(owner("shop/session.(*R).Track", "shop"), Owner::Program);
        assert_eq!(owner("shopping.F", "shop"), Owner::Dependency);
        assert_eq!(owner("github.com/x/y.F", "shop"), Owner::Dependency);
        assert_eq!(owner("shop/session.F", ""), Owner::Program);
    }

    #[test]
    fn type_arguments_fold() {
        for (full, short) in [
            ("a/b.Map[go.shape.int,go.shape.string].Put", "a/b.Map[...].Put"),
            ("main.(*Tree[go.shape.struct { A []int }]).Add.func1", "main.(*Tree[...]).Add.func1"),
            ("main.F[a/b.T[int]].G[x]", "main.F[...].G[...]"),
            ("slices.Grow[...]", "slices.Grow[...]"),
            ("main.(*T).f", "main.(*T).f"),
            ("[kernel.kallsyms]", "[kernel.kallsyms]"),
            ("std::vec<int[3]>::x", "std::vec<int[3]>::x"),
            ("Foo.bar([I)V", "Foo.bar([I)V"),
            ("main.broken[int", "main.broken[int"),
            ("operator[]", "operator[]"),
        ] {
            assert_eq!(fold_type_arguments(full), short);
        }
    }

    #[test]
    fn the_programs_own_frame_is_responsible() {
        let frame = |function: &str| Frame { function: function.to_owned(), ..Frame::default() };
        let stack = [frame("bytes.growSlice"), frame("main.leak"), frame("main.main")];
        assert_eq!(responsible(&stack, "").map(|f| f.function.as_str()), Some("main.leak"));
        let stack = [frame("bytes.growSlice"), frame("github.com/x/y.F"), frame("runtime.goexit")];
        assert_eq!(responsible(&stack, "").map(|f| f.function.as_str()), Some("github.com/x/y.F"));
    }
}
