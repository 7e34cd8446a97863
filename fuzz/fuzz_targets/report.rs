//! Reports of any profile with any options: the first bytes choose, the rest is the
//! profile.
#![no_main]

use analyze::pprof::report::{Command, TimeTexts};
use analyze::pprof::{Config, Format, Report, filter, labels, merge};
use libfuzzer_sys::fuzz_target;
use render::pprof::SourceFiles;

struct NoSources;

impl SourceFiles for NoSources {
    fn lines(&mut self, _: &str) -> Result<&[String], String> {
        Ok(&[])
    }
}

const FORMATS: [(&str, Format); 9] = [
    ("top", Format::Text),
    ("tree", Format::Tree),
    ("traces", Format::Traces),
    ("tags", Format::Tags),
    ("raw", Format::Raw),
    ("callgrind", Format::Callgrind),
    ("dot", Format::Dot),
    ("list", Format::List),
    ("topproto", Format::TopProto),
];

const OPTIONS: [(&str, &str); 20] = [
    ("focus", "a|main"),
    ("ignore", "b"),
    ("hide", "c"),
    ("show", "[a-m]"),
    ("show_from", "m"),
    ("prune_from", "r"),
    ("tagfocus", "1:1000000"),
    ("tagignore", "x"),
    ("tagshow", "b"),
    ("tagroot", "bytes,a"),
    ("tagleaf", "bytes"),
    ("nodecount", "3"),
    ("trim", "false"),
    ("mean", "true"),
    ("call_tree", "true"),
    ("drop_negative", "true"),
    ("relative_percentages", "true"),
    ("divide_by", "7"),
    ("noinlines", "true"),
    ("unit", "auto"),
];

const GRANULARITIES: [&str; 5] = ["functions", "filefunctions", "files", "lines", "addresses"];

fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first_chunk::<5>() else { return };
    let Ok(parsed) = decode::profile::read(rest) else { return };
    let mut profile = parsed.profile;
    let [format, granularity, low, middle, high] = choice.map(usize::from);
    let flags = low | middle << 8 | high << 16;
    if flags & 1 << 22 != 0 {
        let mut base = profile.clone();
        labels::set(&mut base, labels::BASE_LABEL, "true");
        merge::negate(&mut base);
        match merge::combine(vec![profile, base]) {
            Ok(merged) => profile = merged,
            Err(_) => return,
        }
    }
    let _ = filter::remove_uninteresting(&mut profile);
    let mut config = Config::default();
    for (bit, (name, value)) in OPTIONS.into_iter().enumerate() {
        if flags & 1 << bit != 0 {
            config.set(name, value).expect("options are known");
        }
    }
    config.set("granularity", GRANULARITIES[granularity % 5]).expect("a choice");
    let (name, format) = FORMATS[format % FORMATS.len()];
    let argument = (format == Format::List).then(|| ".".to_owned());
    let command = Command { name: name.to_owned(), format, argument };
    let mut notes = Vec::new();
    let prepared = Report::prepare(profile, &command, &config, TimeTexts::default(), &mut notes);
    let Ok(mut report) = prepared else { return };
    match format {
        Format::TopProto => drop(render::pprof::top_profile(&mut report)),
        Format::Dot => {
            let picture = render::pprof::dot::Picture::of(&mut report);
            if picture.nodes.len() < 60 {
                render::picture::svg(&render::picture::Scene::of(&picture));
            }
        }
        _ => drop(render::pprof::write(&mut report, &mut NoSources, &mut std::io::sink())),
    }
});
