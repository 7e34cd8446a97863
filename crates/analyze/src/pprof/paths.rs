//! File names as Go's path/filepath cleans, splits and joins them.

/// The shortest path equal to `path`: no `.`, no double slash, `..` resolved.
pub fn clean(path: &str) -> String {
    if path.is_empty() {
        return ".".to_owned();
    }
    let is_rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&last) if last != ".." => {
                    parts.pop();
                }
                _ if is_rooted => {}
                _ => parts.push(".."),
            },
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (is_rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// The last element of `path`.
pub fn base(path: &str) -> &str {
    if path.is_empty() {
        return ".";
    }
    let trimmed = path.trim_end_matches('/');
    if trimmed.is_empty() {
        return "/";
    }
    trimmed.rsplit('/').next().unwrap_or(trimmed)
}

/// Removes prefixes that are common in profiles, and those of `trim_path`; without
/// one, everything up to the last element of a search path.
pub fn trim<'a>(path: &'a str, trim_path: &str, search_path: &str) -> &'a str {
    let split = |list: &'a str| list.split(':').filter(|item| !item.is_empty());
    if trim_path.is_empty() {
        for dir in search_path.split(':').filter(|dir| !dir.is_empty()) {
            let wanted = format!("/{}/", base(dir));
            if let Some(found) = path.find(&wanted) {
                return path.get(found + wanted.len()..).unwrap_or(path);
            }
        }
    }
    let configured = trim_path.split(':').filter(|item| !item.is_empty());
    for prefix in configured.chain(split("/proc/self/cwd/./:/proc/self/cwd/")) {
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        if let Some(rest) = path.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('/')) {
            return rest;
        }
    }
    path
}
