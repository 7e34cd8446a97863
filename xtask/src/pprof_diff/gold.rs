//! google/pprof's own test material: its golden files, its test profiles, and its program
//! as a second peer. fixtures/pprofgold/README.md says where it comes from.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::peer::{self, Case};

/// Where the material is, below the folder that cases run in.
const FOLDER: &str = "gold";

/// Golden files that are not reached, and why.
const LEFT_OUT: [(&str, &str); 2] = [
    ("pprof.cpu.flat.addresses.disasm", "its instructions are those of an invented binary"),
    ("pprof.cpu.flat.addresses.weblist", "its instructions are those of an invented binary"),
];

/// A copy of the module, what its tests wrote, and its program.
pub(super) struct Gold {
    module: PathBuf,
    profiles: PathBuf,
    pub(super) program: PathBuf,
}

impl Gold {
    /// Fetches the module and has its tests write what they are about.
    pub(super) fn prepare(root: &Path, dir: &Path) -> Result<Gold> {
        let here = root.join("fixtures/pprofgold");
        let download = ["mod", "download", "-json", "github.com/google/pprof"];
        let output = Command::new("go").current_dir(&here).args(download).output()?;
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let source = answer["Dir"].as_str().context("google/pprof is not fetched")?;
        let (module, profiles) = (dir.join("google-pprof"), dir.join(FOLDER));
        for folder in [&module, &profiles] {
            if folder.exists() {
                std::fs::remove_dir_all(folder)?;
            }
        }
        std::fs::create_dir_all(&profiles)?;
        copy(Path::new(source), &module)?;
        for (name, package) in
            [("driver", "internal/driver"), ("profile", "profile"), ("report", "internal/report")]
        {
            let hook = here.join(format!("testdata/{name}_test.go"));
            std::fs::copy(hook, module.join(package).join("memsight_gold_test.go"))?;
        }
        let program = dir.join("google-pprof-program");
        let packages = ["./internal/driver", "./profile", "./internal/report"];
        let tests = Command::new("go")
            .current_dir(&module)
            .env("MEMSIGHT_GOLD", &profiles)
            .args(["test", "-count=1", "-run", "^TestMemsightGold$"])
            .args(packages)
            .status()?;
        let build = Command::new("go")
            .current_dir(&module)
            .args(["build", "-trimpath", "-o"])
            .args([&program, Path::new(".")])
            .status()?;
        if !tests.success() || !build.success() {
            bail!("google/pprof does not build, or its tests do not write their profiles");
        }
        let gold = Gold { module, profiles, program };
        for (folder, prefix) in [("profile", "legacy"), ("internal/driver", "driver")] {
            for name in gold.legacy(folder)? {
                let from = gold.module.join(folder).join("testdata").join(&name);
                std::fs::copy(from, gold.profiles.join(format!("{prefix}-{name}")))?;
            }
        }
        Ok(gold)
    }

    /// The profiles in the testdata folder of a package.
    fn legacy(&self, package: &str) -> Result<Vec<String>> {
        let endings = ["cpu", "heap", "contention", "growth", "thread", "all", "none", "crash"];
        let is_profile = |name: &str| {
            let ending = name.rsplit('.').next().unwrap_or("");
            !name.starts_with("pprof.")
                && (endings.contains(&ending) || name.contains("no_samples"))
        };
        Ok(names(&self.module.join(package).join("testdata"))?
            .into_iter()
            .filter(|name| is_profile(name))
            .collect())
    }

    /// Profiles that reports are made of, as the cases name them.
    pub(super) fn profile_names(&self) -> Result<Vec<String>> {
        let is_case = |name: &str| {
            let number = name.strip_prefix("driver").and_then(|rest| rest.get(..2));
            number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
        };
        Ok(names(&self.profiles)?
            .into_iter()
            .filter(|name| name != "driver.tsv" && !is_case(name))
            .map(|name| format!("{FOLDER}/{name}"))
            .collect())
    }

    /// Compares with the golden files; gives how many there are and what differs.
    pub(super) fn compare(&self, memsight: &Path, dir: &Path) -> Result<(usize, Vec<String>)> {
        let mut differing = Vec::new();
        let index = std::fs::read_to_string(self.profiles.join("driver.tsv"))?;
        let mut count = 0;
        for line in index.lines() {
            let mut fields = line.split('\t').map(str::to_owned);
            let (golden, profile) = fields.next().zip(fields.next()).context("driver.tsv")?;
            if let Some((_, why)) = LEFT_OUT.iter().find(|(name, _)| *name == golden) {
                println!("left out: {golden}: {why}");
                continue;
            }
            let mut args: Vec<String> = fields.collect();
            args.extend(["-symbolize=none".to_owned(), format!("{FOLDER}/{profile}")]);
            let wanted = std::fs::read(self.module.join("internal/driver/testdata").join(&golden))?;
            let got = peer::call(memsight, &["pprof"], &Case::of(args), dir);
            count += 1;
            if let Some(difference) = peer::difference(&wanted, &got.stdout) {
                differing.push(format!("{golden}\n{difference}"));
            }
        }
        for name in self.legacy("profile")? {
            let golden = self.module.join("profile/testdata").join(format!("{name}.string"));
            let wanted = std::fs::read(&golden)?;
            let args = ["-raw", "-symbolize=none", &format!("{FOLDER}/legacy-{name}")];
            let args = args.into_iter().map(str::to_owned).collect();
            let got = peer::call(memsight, &["pprof"], &Case::of(args), dir).stdout;
            count += 1;
            if let Some(difference) = peer::difference(&wanted, &without_mapping(&wanted, got)) {
                differing.push(format!("{name}.string\n{difference}"));
            }
        }
        Ok((count, differing))
    }
}

/// A profile without mappings gets one for everything from pprof's command line, which
/// the golden files of the parser alone do not have.
fn without_mapping(wanted: &[u8], got: Vec<u8>) -> Vec<u8> {
    let wanted = String::from_utf8_lossy(wanted);
    if !wanted.ends_with("Mappings\n") {
        return got;
    }
    let got = String::from_utf8_lossy(&got).replace(" M=1 ", " ");
    got.replace("Mappings\n1: 0x0/0x0/0x0   \n", "Mappings\n").into_bytes()
}

fn names(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &target)?,
            false => std::fs::copy(entry.path(), target).map(drop)?,
        }
    }
    Ok(())
}
