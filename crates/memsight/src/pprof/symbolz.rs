//! Names from the server that a profile came from: its `symbol` or `symbolz` handler,
//! asked as google/pprof's internal/symbolz does.

use std::collections::HashMap;
use std::time::Duration;

use capture::http::{self, Tls};
use decode::symbols::SymbolFrame;
use model::{Addr, Line, MappingId, Profile, StrId};

use super::symbolize::Namer;

/// Asked for at once: servers bound their requests, and these are about 15 MB.
const ADDRESSES_MAX: usize = 1 << 20;
const TIMEOUT: Duration = Duration::from_secs(60);

/// Profiles of gperftools' servers; their names are served beside them.
const GPERFTOOLS: [&str; 5] =
    ["/pprof/heap", "/pprof/growth", "/pprof/profile", "/pprof/pmuprofile", "/pprof/contention"];

/// Which URL each mapping came from, by build id or file name, and where it began there.
#[derive(Default)]
pub(super) struct Origins {
    by_key: HashMap<String, Vec<(String, u64)>>,
}

impl Origins {
    /// Notes where the mappings of a profile came from. One without build id and name is
    /// named after the URL, so that merging keeps it apart; see [`forget`].
    pub(super) fn note(&mut self, profile: &mut Profile, url: &str) {
        let url_name = profile.strings.intern(url);
        for mapping in &mut profile.mappings {
            if mapping.build_id == StrId(0) && mapping.filename == StrId(0) {
                mapping.filename = url_name;
            }
        }
        for mapping in &profile.mappings {
            let is_known = mapping.build_id != StrId(0);
            let key = profile.str(if is_known { mapping.build_id } else { mapping.filename });
            let origins = self.by_key.entry(key.to_owned()).or_default();
            origins.push((url.to_owned(), mapping.start.0));
        }
    }

    fn of<'a>(&'a self, file: &str, build_id: &str) -> impl Iterator<Item = &'a (String, u64)> {
        let by_file = self.by_key.get(file).into_iter().flatten();
        let by_id = (!build_id.is_empty()).then(|| self.by_key.get(build_id)).flatten();
        by_file.chain(by_id.into_iter().flatten())
    }
}

/// Takes the names away that [`Origins::note`] gave.
pub(super) fn forget(profile: &mut Profile) {
    let is_url = |name: &str| name.contains("://");
    let named: Vec<bool> =
        profile.mappings.iter().map(|mapping| is_url(profile.str(mapping.filename))).collect();
    for (mapping, is_url) in profile.mappings.iter_mut().zip(named) {
        if is_url && mapping.build_id == StrId(0) {
            mapping.filename = StrId(0);
        }
    }
}

/// Asks for the names of the locations that have none.
///
/// # Errors
/// When a server does not answer.
pub(super) fn symbolize(
    profile: &mut Profile,
    force: bool,
    origins: &Origins,
    tls: &Tls,
) -> Result<(), String> {
    for index in 0..profile.mappings.len() {
        let Some(mapping) = profile.mappings.get(index).copied() else { continue };
        if mapping.has_functions && !force {
            continue;
        }
        let (file, build_id) = (profile.str(mapping.filename), profile.str(mapping.build_id));
        let handler = origins.of(file, build_id).find_map(|(url, start)| {
            Some((handler_of(url)?, i128::from(*start) - i128::from(mapping.start.0)))
        });
        let Some((url, offset)) = handler else { continue };
        one_mapping(profile, MappingId(index as u32), &url, offset, tls)?;
        if let Some(mapping) = profile.mappings.get_mut(index) {
            mapping.has_functions = true;
        }
    }
    Ok(())
}

/// The handler that knows the names of a profile's server.
fn handler_of(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let address = rest.split(['?', '#']).next()?;
    let (host, path) = address.split_at(address.find('/')?);
    let is_known =
        path.contains("/debug/pprof/") || GPERFTOOLS.iter().any(|end| path.ends_with(end));
    let dir = path.trim_end_matches('/').rsplit_once('/').map_or("", |(dir, _)| dir);
    Some(format!("{scheme}://{host}{dir}/{}", if is_known { "symbol" } else { "symbolz" }))
}

/// `offset` is what merging moved the mapping by.
fn one_mapping(
    profile: &mut Profile,
    id: MappingId,
    url: &str,
    offset: i128,
    tls: &Tls,
) -> Result<(), String> {
    let moved = |address: u64, by: i128| {
        u64::try_from(i128::from(address) + by)
            .map_err(|_| format!("cannot adjust address {address} by {by}, it would overflow"))
    };
    let is_nameless = |location: &&model::profile::Location| {
        location.mapping == Some(id) && location.address != Addr(0) && location.lines.is_empty()
    };
    let nameless = profile.locations.iter().filter(is_nameless);
    let addresses: Result<Vec<String>, String> =
        nameless.map(|location| Ok(format!("{:#x}", moved(location.address.0, offset)?))).collect();
    let addresses = addresses?;
    let mut namer = Namer::new(profile);
    let mut lines: HashMap<u64, Line> = HashMap::new();
    for question in addresses.chunks(ADDRESSES_MAX) {
        let answer = http::post(url, &question.join("+"), TIMEOUT, tls);
        let answer = answer.map_err(|error| format!("http post {error}"))?;
        for (address, name) in String::from_utf8_lossy(&answer).lines().filter_map(named_address) {
            let frame = SymbolFrame { function: name.to_owned(), ..SymbolFrame::default() };
            lines.insert(moved(address, -offset)?, namer.line(profile, &frame));
        }
    }
    for location in profile.locations.iter_mut().filter(|each| each.mapping == Some(id)) {
        if let Some(line) = lines.get(&location.address.0) {
            location.lines = vec![*line];
        }
    }
    Ok(())
}

/// `0x47f1a0 main.handle`; anything before the address is ignored.
fn named_address(line: &str) -> Option<(u64, &str)> {
    let (_, rest) = line.split_once("0x")?;
    let (digits, name) = rest.split_once(|letter: char| letter.is_ascii_whitespace())?;
    let address = u64::from_str_radix(digits, 16).ok()?;
    Some((address, name.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::{handler_of, named_address};

    #[test]
    fn names_are_asked_for_beside_the_profile() {
        let check = |url: &str, expected: &str| {
            assert_eq!(handler_of(url).as_deref(), Some(expected));
        };
        check("http://h:1/debug/pprof/heap?seconds=3", "http://h:1/debug/pprof/symbol");
        check("http://h:1/x/debug/pprof/profile", "http://h:1/x/debug/pprof/symbol");
        check("https://h/pprof/growth", "https://h/pprof/symbol");
        check("http://h:1/profilez", "http://h:1/symbolz");
        assert_eq!(handler_of("/a/file"), None);
    }

    #[test]
    fn answers_are_lines_of_address_and_name() {
        assert_eq!(named_address("0x47f1a0\tmain.handle"), Some((0x47_f1a0, "main.handle")));
        assert_eq!(named_address("0xa  a b"), Some((0xa, "a b")));
        assert_eq!(named_address("num_symbols: 1"), None);
        assert_eq!(named_address("0xzz f"), None);
    }
}
