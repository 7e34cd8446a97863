//! Whose code a frame is: the program's own, a dependency, the standard library.

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
    fn the_programs_own_frame_is_responsible() {
        let frame = |function: &str| Frame { function: function.to_owned(), ..Frame::default() };
        let stack = [frame("bytes.growSlice"), frame("main.leak"), frame("main.main")];
        assert_eq!(responsible(&stack, "").map(|f| f.function.as_str()), Some("main.leak"));
        let stack = [frame("bytes.growSlice"), frame("github.com/x/y.F"), frame("runtime.goexit")];
        assert_eq!(responsible(&stack, "").map(|f| f.function.as_str()), Some("github.com/x/y.F"));
    }
}
