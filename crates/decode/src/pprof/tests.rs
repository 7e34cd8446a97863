//! Round trips and hostile inputs.

use model::profile::Location;
use model::{Function, FunctionId, Label, LabelValue, Line, LocationId, Profile};

use super::{Options, PprofError, read, read_with, write, write_plain};

fn example() -> Profile {
    let mut profile = Profile::new(&[("inuse_objects", "count"), ("inuse_space", "bytes")]);
    profile.period_type = Some(profile.value_type("space", "bytes"));
    profile.period = 524_288;
    profile.time_nanos = 1_700_000_000_000_000_000;
    profile.default_sample_type = profile.strings.lookup("inuse_space");
    for name in ["main.leak", "main.main"] {
        let name = profile.strings.intern(name);
        let filename = profile.strings.intern("main.go");
        profile.functions.push(Function {
            name,
            system_name: name,
            filename,
            start_line: 3,
            ..Function::default()
        });
    }
    let line = |function, line| Line { function: FunctionId(function), line, column: 0 };
    profile
        .locations
        .push(Location { lines: vec![line(0, 10), line(1, 20)], ..Location::default() });
    profile.locations.push(Location { lines: vec![line(1, 21)], ..Location::default() });
    let key = profile.strings.intern("bytes");
    let label = Label { key, value: LabelValue::Num(64, key) };
    profile.push_sample(&[LocationId(0), LocationId(1)], &[3, 192], &[label]);
    profile.push_sample(&[LocationId(1)], &[-1, i64::MIN], &[]);
    profile
}

#[test]
fn round_trip_keeps_everything() {
    let bytes = write_plain(&example());
    let parsed = read(&bytes).unwrap();
    assert!(parsed.warnings.is_empty());
    assert_eq!(write_plain(&parsed.profile), bytes);
    assert_eq!(parsed.profile.samples.values[1], [192, i64::MIN]);
    let zipped = read(&write(&example())).unwrap();
    assert_eq!(write_plain(&zipped.profile), bytes);
}

#[test]
fn truncation_gives_an_error_or_a_warning_never_a_panic() {
    let plain = write_plain(&example());
    for end in 0..plain.len() {
        let _ = read(&plain[..end]);
    }
    let zipped = write(&example());
    for end in 0..zipped.len() {
        if let Ok(parsed) = read(&zipped[..end]) {
            assert!(!parsed.warnings.is_empty(), "cut at {end}");
        }
    }
}

#[test]
fn every_single_byte_may_be_wrong() {
    let plain = write_plain(&example());
    for at in 0..plain.len() {
        for value in [0, 0x7f, 0x80, 0xff] {
            let mut damaged = plain.clone();
            damaged[at] = value;
            let _ = read(&damaged);
        }
    }
}

#[test]
fn bombs_and_strangers_are_refused() {
    let small = Options { inflated_bytes_max: 16 };
    assert_eq!(read_with(&write(&example()), small).unwrap_err(), PprofError::TooLarge(16));
    assert_eq!(read(b"").unwrap_err(), PprofError::NotAProfile);
    assert!(read(b"hello, world").is_err());
    let two = [write_plain(&example()), write_plain(&example())].concat();
    // Two profiles end to end: the second one's ids are the first one's.
    assert!(read(&two).is_err() || read(&two).unwrap().profile.sample_types.len() == 4);
}

#[test]
fn a_stream_that_inflates_without_end_is_refused() {
    // 200 MB of comments in 200 kB: empty fields of two bytes.
    let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..200 {
        std::io::Write::write_all(&mut zipped, &[0x68, 0].repeat(500_000)).unwrap();
    }
    let zipped = zipped.finish().unwrap();
    let error = crate::profile::read(zipped.as_slice()).unwrap_err();
    assert!(error.to_string().contains("more than 500 times"), "{error}");
}
