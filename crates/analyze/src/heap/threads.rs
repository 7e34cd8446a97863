//! Where goroutines and threads began.

use model::heap::{HeapGraph, Holder};

/// The outermost function of a goroutine's stack that the program itself has: what its `go`
/// statement called, or what a thread of C called. A goroutine of the runtime has only
/// functions of the runtime.
pub fn start_function<'g>(graph: &'g HeapGraph<'_>, holder: &Holder) -> Option<&'g str> {
    let goroutine = graph.goroutines.get(holder.goroutine? as usize)?;
    let stack = graph.stacks.get(goroutine.stack? as usize)?;
    // The compiler wraps the calls of `go` statements that have arguments.
    let is_wrapper = |name: &str| name.rsplit('.').next().is_some_and(|n| n.starts_with("gowrap"));
    let is_entry = |name: &str| {
        const ENTRIES: [&str; 6] = [
            "",
            "runtime.goexit",
            "runtime.main",
            "runtime.cgocallback",
            "runtime.cgocallbackg",
            "runtime.cgocallbackg1",
        ];
        ENTRIES.contains(&name) || name.starts_with("_cgoexp_") || is_wrapper(name)
    };
    let mut names = stack.iter().rev().map(|frame| frame.function.as_str());
    names.find(|name| !is_entry(name))
}

#[cfg(test)]
mod tests {
    use model::Frame;
    use model::heap::{HeapGoroutine, HolderKind};

    use super::start_function;
    use crate::heap::tests::Drawing;

    #[test]
    fn entries_of_the_runtime_are_passed_over() {
        let mut drawing = Drawing::new();
        let id = drawing.holder(HolderKind::Goroutine, "goroutine 1", &[]);
        let mut graph = drawing.done();
        let mut check = |functions: &[&str], expected: Option<&str>| {
            let frame = |name: &&str| Frame { function: (*name).to_owned(), ..Frame::default() };
            graph.stacks = vec![functions.iter().map(frame).collect()];
            graph.goroutines = vec![HeapGoroutine { stack: Some(0), ..HeapGoroutine::default() }];
            graph.holders[id.0 as usize].goroutine = Some(0);
            assert_eq!(start_function(&graph, &graph.holders[id.0 as usize]), expected);
        };
        check(&["main.wait", "main.main", "runtime.main", "runtime.goexit"], Some("main.main"));
        check(&["main.wait", "main.start.gowrap1", "runtime.goexit"], Some("main.wait"));
        check(&["runtime.gopark", "runtime.bgsweep", "runtime.goexit"], Some("runtime.bgsweep"));
        let callback = ["runtime.cgocallbackg1", "runtime.cgocallbackg", "runtime.cgocallback"];
        let of_c = [&["main.wait", "main.onEvent", "_cgoexp_0a1b_onEvent"][..], &callback].concat();
        check(&of_c, Some("main.onEvent"));
        check(&["runtime.goexit"], None);
        check(&[], None);
    }
}
