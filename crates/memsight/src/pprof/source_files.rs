//! Source files by the names in profiles.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use analyze::pprof::{Config, paths};
use render::pprof::SourceFiles;

/// Looks for files as pprof does, then where Go keeps sources: module cache, vendor
/// folders, GOROOT.
pub(crate) struct SourceSearch {
    search_path: String,
    trim_path: String,
    is_served: bool,
    known: HashMap<String, Result<Vec<String>, String>>,
}

impl SourceSearch {
    pub(super) fn new(config: &Config) -> SourceSearch {
        let here = || std::env::current_dir().unwrap_or_default().display().to_string();
        let search_path = match config.source_path.as_str() {
            "" => here(),
            path => path.to_owned(),
        };
        let trim_path = config.trim_path.clone();
        SourceSearch { search_path, trim_path, is_served: false, known: HashMap::new() }
    }

    /// For clients of the server, who can make a profile name any file: only regular
    /// files of a moderate size that are called like source code.
    pub(crate) fn served() -> SourceSearch {
        SourceSearch { is_served: true, ..SourceSearch::new(&Config::default()) }
    }

    fn read(&self, path: &str) -> Result<Vec<String>, String> {
        if self.is_served && !is_source(Path::new(path)) {
            return Err(format!("{path}: not called like a source file"));
        }
        let trimmed = paths::trim(path, &self.trim_path, &self.search_path);
        let found = self.as_pprof(trimmed).or_else(|error| in_go_folders(path).ok_or(error))?;
        if self.is_served {
            may_be_served(&found)?;
        }
        let bytes = std::fs::read(&found)
            .map_err(|error| format!("open {}: {}", found.display(), go_error(&error)))?;
        let text = String::from_utf8_lossy(&bytes);
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Absolute names as they are; others below the search path and its parents.
    fn as_pprof(&self, path: &str) -> Result<PathBuf, String> {
        if Path::new(path).is_absolute() {
            return match std::fs::metadata(path) {
                Ok(_) => Ok(PathBuf::from(path)),
                Err(error) => Err(format!("open {path}: {}", go_error(&error))),
            };
        }
        let dirs = self.search_path.split(':').filter(|dir| !dir.is_empty());
        let candidates = dirs.flat_map(|dir| Path::new(dir).ancestors().map(|dir| dir.join(path)));
        let missing = || format!("could not find file {path} on path {}", self.search_path);
        candidates.into_iter().find(|file| file.is_file()).ok_or_else(missing)
    }
}

/// Endings of source code.
const SOURCE_ENDINGS: [&str; 24] = [
    "go", "s", "c", "h", "cc", "cpp", "cxx", "hh", "hpp", "hxx", "inc", "m", "mm", "rs", "java",
    "kt", "scala", "py", "rb", "js", "ts", "swift", "zig", "d",
];

/// Larger files are not read for a page.
const SERVED_BYTES_MAX: u64 = 16 << 20;

fn is_source(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending
        .is_some_and(|ending| SOURCE_ENDINGS.iter().any(|known| known.eq_ignore_ascii_case(ending)))
}

/// Asks the file behind all links: a link may be called otherwise than what it leads to.
fn may_be_served(found: &Path) -> Result<(), String> {
    let shown = found.display();
    let failed = |error: std::io::Error| format!("open {shown}: {}", go_error(&error));
    let real = found.canonicalize().map_err(failed)?;
    let file = real.metadata().map_err(failed)?;
    match () {
        () if !file.is_file() => Err(format!("{shown}: not a regular file")),
        () if !is_source(&real) => Err(format!("{shown}: not called like a source file")),
        () if file.len() > SERVED_BYTES_MAX => Err(format!("{shown}: too large")),
        () => Ok(()),
    }
}

/// An error in Go's words.
pub(super) fn go_error(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::IsADirectory => "is a directory".to_owned(),
        _ => error.to_string(),
    }
}

/// `github.com/A/b@v1.2.3/c.go` in the module cache or a vendor folder, `fmt/print.go`
/// in GOROOT; also with the prefix of another machine, and for -trimpath.
fn in_go_folders(path: &str) -> Option<PathBuf> {
    let mut candidates = Vec::new();
    let module = path.split("/pkg/mod/").last().unwrap_or(path).trim_start_matches('/');
    if module.contains('@') {
        let caches = [env_path("GOMODCACHE"), env_path("GOPATH").map(|path| path.join("pkg/mod"))];
        let home = env_path("HOME").map(|home| home.join("go/pkg/mod"));
        for cache in caches.into_iter().chain([home]).flatten() {
            candidates.push(cache.join(module));
            candidates.push(cache.join(escaped(module)));
        }
        let plain = without_version(module);
        let here = std::env::current_dir().unwrap_or_default();
        candidates.extend(here.ancestors().map(|dir| dir.join("vendor").join(&plain)));
    }
    let standard = path.rsplit_once("/src/").map_or(path, |(_, rest)| rest);
    let roots =
        [env_path("GOROOT"), Some(PathBuf::from("/usr/local/go")), Some("/usr/lib/go".into())];
    candidates.extend(roots.into_iter().flatten().map(|root| root.join("src").join(standard)));
    candidates.into_iter().find(|file| file.is_file())
}

fn env_path(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Upper-case letters as the module cache writes them: `!a` for `A`.
fn escaped(module: &str) -> String {
    let (path, rest) = module.split_once('@').unwrap_or((module, ""));
    let (version, file) = rest.split_once('/').unwrap_or((rest, ""));
    let escape = |text: &str| {
        text.chars().fold(String::new(), |mut out, letter| {
            if letter.is_ascii_uppercase() {
                out.push('!');
            }
            out.push(letter.to_ascii_lowercase());
            out
        })
    };
    format!("{}@{}/{file}", escape(path), escape(version))
}

fn without_version(module: &str) -> String {
    let (path, rest) = module.split_once('@').unwrap_or((module, ""));
    let file = rest.split_once('/').map_or("", |(_, file)| file);
    format!("{path}/{file}")
}

impl SourceFiles for SourceSearch {
    fn lines(&mut self, path: &str) -> Result<&[String], String> {
        if !self.known.contains_key(path) {
            let lines = self.read(path);
            self.known.insert(path.to_owned(), lines);
        }
        match self.known.get(path) {
            Some(Ok(lines)) => Ok(lines),
            Some(Err(error)) => Err(error.clone()),
            None => Ok(&[]),
        }
    }
}
