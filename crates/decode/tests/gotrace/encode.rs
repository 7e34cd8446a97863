//! Traces of format 2 from Go's text form of them (internal/trace/raw/doc.go). Shares nothing
//! with the decoder: the names and numbers of events are those of Go's own sources.

/// Name and number of each event that the text form uses.
const EVENTS: &[(&str, u8)] = &[
    ("EventBatch", 1),
    ("Stacks", 2),
    ("Stack", 3),
    ("Strings", 4),
    ("String", 5),
    ("CPUSamples", 6),
    ("CPUSample", 7),
    ("Frequency", 8),
    ("ProcsChange", 9),
    ("ProcStart", 10),
    ("ProcStop", 11),
    ("ProcSteal", 12),
    ("ProcStatus", 13),
    ("GoCreate", 14),
    ("GoCreateSyscall", 15),
    ("GoStart", 16),
    ("GoDestroy", 17),
    ("GoDestroySyscall", 18),
    ("GoStop", 19),
    ("GoBlock", 20),
    ("GoUnblock", 21),
    ("GoSyscallBegin", 22),
    ("GoSyscallEnd", 23),
    ("GoSyscallEndBlocked", 24),
    ("GoStatus", 25),
    ("STWBegin", 26),
    ("STWEnd", 27),
    ("GCActive", 28),
    ("GCBegin", 29),
    ("GCEnd", 30),
    ("GCSweepActive", 31),
    ("GCSweepBegin", 32),
    ("GCSweepEnd", 33),
    ("GCMarkAssistActive", 34),
    ("GCMarkAssistBegin", 35),
    ("GCMarkAssistEnd", 36),
    ("HeapAlloc", 37),
    ("HeapGoal", 38),
    ("GoLabel", 39),
    ("UserTaskBegin", 40),
    ("UserTaskEnd", 41),
    ("UserRegionBegin", 42),
    ("UserRegionEnd", 43),
    ("UserLog", 44),
    ("GoSwitch", 45),
    ("GoSwitchDestroy", 46),
    ("GoCreateBlocked", 47),
    ("GoStatusStack", 48),
    ("Sync", 50),
    ("ClockSnapshot", 51),
    ("EndOfGeneration", 52),
];

/// The bytes of a trace in text form.
pub(crate) fn encode(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some(first) = words.next().filter(|word| !word.starts_with('#')) else { continue };
        if first == "Trace" {
            let version = words.next().unwrap().strip_prefix("Go").unwrap();
            out.extend_from_slice(format!("go {version} trace\0\0\0").as_bytes());
            continue;
        }
        if let Some(quoted) = first.strip_prefix("data=") {
            // The value may hold blanks.
            let start = line.find(quoted).unwrap();
            let data = unquote(line[start..].trim());
            number(&mut out, data.len() as u64);
            out.extend_from_slice(&data);
            continue;
        }
        let mut values = line.split_whitespace();
        if !first.contains('=') {
            let known = EVENTS.iter().find(|(name, _)| *name == first);
            out.push(known.unwrap_or_else(|| panic!("no event {first}")).1);
            values.next();
        }
        for word in values {
            number(&mut out, word.split_once('=').unwrap().1.parse().unwrap());
        }
    }
    out
}

/// Appends a number of 7 bits a byte.
pub(crate) fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The bytes of a string literal of Go.
pub(crate) fn unquote(literal: &str) -> Vec<u8> {
    let inner = literal.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap();
    let mut out = Vec::new();
    let mut chars = inner.chars();
    while let Some(char) = chars.next() {
        if char != '\\' {
            out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let hex = |chars: &mut std::str::Chars<'_>, count| {
            let text: String = chars.take(count).collect();
            u32::from_str_radix(&text, 16).unwrap()
        };
        match chars.next().unwrap() {
            'x' => out.push(hex(&mut chars, 2) as u8),
            'u' => {
                let char = char::from_u32(hex(&mut chars, 4)).unwrap();
                out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            }
            'a' => out.push(7),
            'b' => out.push(8),
            't' => out.push(b'\t'),
            'n' => out.push(b'\n'),
            'v' => out.push(11),
            'f' => out.push(12),
            'r' => out.push(b'\r'),
            other @ ('"' | '\\' | '\'') => out.push(other as u8),
            other => panic!("escape {other} in {literal}"),
        }
    }
    out
}
