//! `.go.buildinfo`: is this file a Go program, of which version and module?
//!
//! Format: debug/buildinfo in Go's standard library. Only the inline form
//! (Go 1.18 and later) carries texts in place; that is all memsight needs.

use model::GoVersion;

use crate::bytes::Bytes;
use crate::elf::Elf;

/// What the Go linker wrote about a binary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildInfo {
    /// `go1.26.3`, with suffixes of experiments and vendors.
    pub version: String,
    /// Path of the main package.
    pub path: String,
    /// Path of the main module.
    pub module: String,
    /// Version of the main module: `v1.2.3` or `(devel)`.
    pub module_version: String,
    /// `build` lines: `-ldflags`, `GOARCH`, `vcs.revision` ...
    pub settings: Vec<(String, String)>,
}

const MAGIC: &[u8] = b"\xff Go buildinf:";
const TEXT_MAX: u64 = 8 << 20;

impl BuildInfo {
    /// Reads the build information of a Go binary; `None` when it is not one.
    pub fn parse(elf: &Elf<'_>) -> Option<BuildInfo> {
        let section = elf.section(".go.buildinfo")?;
        BuildInfo::from_section(elf.section_bytes(&section)?)
    }

    /// Reads the bytes of the section itself.
    pub fn from_section(section: &[u8]) -> Option<BuildInfo> {
        let bytes = Bytes(section);
        // Flag bit 1: texts follow in place.
        if !section.starts_with(MAGIC) || bytes.u8(15)? & 2 == 0 {
            return None;
        }
        let (version, next) = text(bytes, 32)?;
        let version = String::from_utf8_lossy(version).into_owned();
        let mut info = BuildInfo { version, ..BuildInfo::default() };
        if let Some((module_info, _)) = text(bytes, next) {
            info.read_module_info(module_info);
        }
        Some(info)
    }

    /// The Go release.
    pub fn go_version(&self) -> Option<GoVersion> {
        GoVersion::parse(&self.version)
    }

    /// The value of a build setting.
    pub fn setting(&self, key: &str) -> Option<&str> {
        self.settings.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    fn read_module_info(&mut self, text: &[u8]) {
        // 16 bytes of marker stand before and after the lines.
        let Some(lines) = text.get(16..text.len().saturating_sub(16)) else { return };
        for line in String::from_utf8_lossy(lines).lines() {
            let mut fields = line.split('\t');
            match (fields.next(), fields.next(), fields.next()) {
                (Some("path"), Some(path), _) => self.path = path.to_owned(),
                (Some("mod"), Some(path), version) => {
                    self.module = path.to_owned();
                    self.module_version = version.unwrap_or_default().to_owned();
                }
                (Some("build"), Some(setting), _) => {
                    if let Some((key, value)) = setting.split_once('=') {
                        self.settings.push((key.to_owned(), value.trim_matches('"').to_owned()));
                    }
                }
                _ => {}
            }
        }
    }
}

fn text(bytes: Bytes<'_>, offset: usize) -> Option<(&'_ [u8], usize)> {
    let (len, size) = bytes.uvarint(offset)?;
    if len > TEXT_MAX {
        return None;
    }
    let start = offset.checked_add(size)?;
    let len = usize::try_from(len).ok()?;
    Some((bytes.slice(start, len)?.0, start.checked_add(len)?))
}

#[cfg(test)]
mod tests {
    use super::BuildInfo;

    #[test]
    fn reads_version_module_and_settings() {
        let lines = "path\tshop\nmod\texample.com/shop\tv1.2.3\nbuild\tGOARCH=amd64\nbuild\t-ldflags=\"-s -w\"\n";
        let mut section = b"\xff Go buildinf:\x08\x02".to_vec();
        section.resize(32, 0);
        section.push(8);
        section.extend(b"go1.26.3");
        // The length of 16 + lines + 16 takes two bytes of varint.
        let len = lines.len() + 32;
        section.extend([(len & 0x7f) as u8 | 0x80, (len >> 7) as u8]);
        section.extend([0xee; 16]);
        section.extend(lines.bytes());
        section.extend([0xee; 16]);

        let info = BuildInfo::from_section(&section).unwrap();
        assert_eq!(info.version, "go1.26.3");
        assert_eq!(info.module, "example.com/shop");
        assert_eq!(info.module_version, "v1.2.3");
        assert_eq!(info.setting("-ldflags"), Some("-s -w"));
        for end in 0..section.len() {
            // Truncation anywhere gives less, never a panic.
            let _ = BuildInfo::from_section(&section[..end]);
        }
    }
}
