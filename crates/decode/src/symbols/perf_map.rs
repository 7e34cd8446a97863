//! Names of code that a program made as it runs: the file that runtimes with a just-in-time compiler
//! write for perf (/tmp/perf-PID.map), one function in a line: start and size in hex, then the name.

/// Functions by address. Where several claim an address, code was made anew in a place that had
/// other code before: the last line counts.
#[derive(Clone, Debug, Default)]
pub struct PerfMap<'a> {
    /// Start, end, number of the line, name; by start, the last line last.
    functions: Vec<(u64, u64, usize, &'a str)>,
}

impl<'a> PerfMap<'a> {
    /// Reads the text; damaged lines are skipped.
    pub fn parse(text: &'a str) -> PerfMap<'a> {
        let mut functions: Vec<_> =
            text.lines().enumerate().filter_map(|(number, line)| function(number, line)).collect();
        functions.sort_unstable();
        PerfMap { functions }
    }

    /// The function that holds an address.
    pub fn at(&self, address: u64) -> Option<&'a str> {
        /// So far back one that is large enough is looked for, past smaller ones.
        const LOOK_BACK: usize = 64;
        let after = self.functions.partition_point(|(start, ..)| *start <= address);
        let candidates = self.functions.get(..after)?.iter().rev().take(LOOK_BACK);
        let holding = candidates.filter(|(_, end, ..)| address < *end);
        holding.max_by_key(|(_, _, number, _)| *number).map(|(.., name)| *name)
    }
}

fn function(number: usize, line: &str) -> Option<(u64, u64, usize, &str)> {
    let (start, rest) = line.split_once(' ')?;
    let (size, name) = rest.split_once(' ')?;
    let hex = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok();
    let start = hex(start)?;
    Some((start, start.checked_add(hex(size)?)?, number, name.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::PerfMap;

    #[test]
    fn addresses_have_the_name_that_was_written_last() {
        let map = PerfMap::parse(
            "7f0000001000 100 first\n\
             0x7f0000001080 20 Object.method(int) [tier 2]\n\
             nonsense\n\
             7f0000001000 10 anew\n",
        );
        assert_eq!(map.at(0x7f00_0000_1000), Some("anew"));
        assert_eq!(map.at(0x7f00_0000_1010), Some("first"));
        assert_eq!(map.at(0x7f00_0000_1088), Some("Object.method(int) [tier 2]"));
        assert_eq!(map.at(0x7f00_0000_10a0), Some("first"));
        assert_eq!(map.at(0x7f00_0000_1100), None);
        assert_eq!(map.at(0), None);
    }
}
