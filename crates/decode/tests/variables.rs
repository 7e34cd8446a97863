//! Variables of real programs, as the debug information of seven Go releases tells them,
//! against what the programs themselves and Go's own tools say.
//!
//! `MEMSIGHT_GO_VERSIONS` lists toolchains under `~/.cache/memsight/go` to test beside the
//! one in `PATH`. Without a Go toolchain, or off amd64, the tests say that they are skipped.

#[path = "../../../fixtures/toolchains.rs"]
mod toolchains;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use decode::elf::Elf;
use decode::symbols::variables::{
    Capture, Local, Place, RuntimeTypeOffset, TypeId, TypeKind, Variables,
};
use model::Addr;

/// One build of the subject, and what it printed.
struct Build {
    what: String,
    go: PathBuf,
    /// The minor version: 26 of Go 1.26.
    minor: u32,
    is_optimised: bool,
    exe: PathBuf,
    file: Vec<u8>,
    lines: Vec<Vec<String>>,
}

fn toolchains() -> Vec<PathBuf> {
    let runs = |go: &Path| Command::new(go).arg("version").output().is_ok();
    if !cfg!(target_arch = "x86_64") || !runs(Path::new("go")) {
        println!("skipped: the subject needs a Go toolchain and amd64");
        return Vec::new();
    }
    toolchains::toolchains().into_iter().map(|(_, go)| go).collect()
}

fn output(command: &mut Command) -> String {
    let output = command.env("GOTOOLCHAIN", "local").env("GOFLAGS", "").output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    format!("{}{error}", String::from_utf8_lossy(&output.stdout))
}

/// Builds the subject; `name` keeps tests that run side by side apart.
fn build(go: &Path, name: &str, flags: &[&str]) -> Build {
    let version = output(Command::new(go).args(["env", "GOVERSION"]));
    let version = version.trim();
    let minor = version.split('.').nth(1).and_then(|minor| minor.parse().ok()).unwrap();
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("variables");
    std::fs::create_dir_all(&dir).unwrap();
    let exe = dir.join(format!("{version}-{name}"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/variables");
    let mut command = Command::new(go);
    command.args(["build", "-o"]).arg(&exe).args(flags).arg(".").current_dir(source);
    output(&mut command);
    let printed = output(&mut Command::new(&exe));
    let words = |line: &str| line.split(' ').map(str::to_owned).collect();
    Build {
        what: format!("{version} {flags:?}"),
        go: go.to_owned(),
        minor,
        is_optimised: !flags.iter().any(|flag| flag.contains("-N")),
        file: std::fs::read(&exe).unwrap(),
        exe,
        lines: printed.lines().map(words).collect(),
    }
}

fn builds(name: &str, flags: &[&str]) -> Vec<Build> {
    toolchains().iter().map(|go| build(go, name, flags)).collect()
}

impl Build {
    fn open(&self) -> Variables<'_> {
        Variables::open(&self.file, None).unwrap()
    }

    /// The printed lines that begin with this word, without it.
    fn said(&self, word: &str) -> impl Iterator<Item = &[String]> {
        let word = word.to_owned();
        self.lines.iter().filter(move |line| line[0] == word).map(|line| &line[1..])
    }

    /// The address printed with this name.
    fn pc(&self, name: &str) -> u64 {
        let line = self.said("pc").find(|line| line[0] == name);
        line.unwrap_or_else(|| panic!("{}: no {name}", self.what))[1].parse().unwrap()
    }

    /// The locals while a call runs that returns to this address.
    fn locals(&self, return_address: u64) -> Vec<Local> {
        self.open().locals_of_caller(Addr(return_address))
    }
}

fn named<'l>(locals: &'l [Local], name: &str) -> &'l Local {
    let has = || locals.iter().map(|local| local.name.as_str()).collect::<Vec<_>>();
    let found = locals.iter().find(|local| local.name == name);
    found.unwrap_or_else(|| panic!("no {name} in {:?}", has()))
}

fn name_of(variables: &Variables<'_>, id: TypeId) -> String {
    variables.get(id).name.clone()
}

#[test]
fn globals_are_where_the_linker_put_them() {
    for build in builds("globals", &[]) {
        let variables = build.open();
        let globals = variables.globals();
        assert!(!globals.is_partial, "{}", build.what);
        let by_name: BTreeMap<&str, (u64, u64)> = globals
            .all()
            .iter()
            .map(|variable| (variable.name.as_str(), (variable.addr.0, variable.bytes)))
            .collect();
        assert!(globals.all().is_sorted_by_key(|variable| variable.addr));

        let symbols = output(Command::new(&build.go).args(["tool", "nm", "-size"]).arg(&build.exe));
        let mut known = HashSet::new();
        for line in symbols.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let &[addr, size, kind, name] = words.as_slice() else { continue };
            if !matches!(kind, "b" | "B" | "d" | "D") {
                continue;
            }
            let told = (u64::from_str_radix(addr, 16).unwrap(), size.parse::<u64>().unwrap());
            if let Some(ours) = by_name.get(name) {
                assert_eq!(*ours, told, "{}: {name}", build.what);
                known.insert(name.to_owned());
            } else if name.starts_with("main.") {
                // What the compiler makes for itself has no debug information.
                assert!(name.contains(".."), "{}: {name} is missing", build.what);
            }
        }
        assert_eq!(known.len(), by_name.len(), "{}: every variable is a symbol", build.what);

        let mut printed = 0;
        for line in build.said("global") {
            let (addr, bytes): (u64, u64) = (line[1].parse().unwrap(), line[2].parse().unwrap());
            assert_eq!(by_name[line[0].as_str()], (addr, bytes), "{}", build.what);
            for inside in [addr, addr + bytes / 2, addr + bytes - 1] {
                assert_eq!(globals.at(Addr(inside)).unwrap().name, line[0], "{}", build.what);
            }
            printed += 1;
        }
        assert_eq!(printed, 14, "{}", build.what);
        let head = globals.named("main.head").unwrap();
        let behind = globals.at(Addr(head.addr.0 + head.bytes));
        assert!(behind.is_none_or(|other| other.name != "main.head"), "{}", build.what);
        assert!(globals.at(Addr(0)).is_none());
        assert!(globals.at(Addr(u64::MAX)).is_none());
    }
}

/// The type that a path of the subject's leads to: `main.head/next/elem/tags`.
fn at_path(variables: &Variables<'_>, path: &str) -> TypeId {
    let mut steps = path.split('/');
    let mut id = variables.globals().named(steps.next().unwrap()).unwrap().type_id;
    for step in steps {
        id = match (&variables.get(id).kind, step) {
            (TypeKind::Pointer(Some(to)), "elem") => *to,
            (TypeKind::Slice(elem), "elem") => *elem,
            (TypeKind::Array { elem, .. }, "elem") => *elem,
            (TypeKind::Chan { elem, .. }, "elem") => *elem,
            (TypeKind::Map { elem, .. }, "elem") => *elem,
            (TypeKind::Map { key, .. }, "key") => *key,
            (TypeKind::Struct(fields), name) => {
                fields.iter().find(|field| field.name == name).expect(path).type_id
            }
            (kind, step) => panic!("{path}: no {step} of {kind:?}"),
        };
    }
    id
}

/// What `reflect.Kind` calls it.
fn kind_name(kind: &TypeKind) -> &'static str {
    match kind {
        TypeKind::Pointer(Some(_)) => "ptr",
        TypeKind::Pointer(None) => "unsafe.Pointer",
        TypeKind::Struct(_) => "struct",
        TypeKind::Array { .. } => "array",
        TypeKind::String => "string",
        TypeKind::Slice(_) => "slice",
        TypeKind::Interface { .. } => "interface",
        TypeKind::Map { .. } => "map",
        TypeKind::Chan { .. } => "chan",
        TypeKind::Func => "func",
        TypeKind::Scalar => "scalar",
        TypeKind::Unknown => "unknown",
    }
}

#[test]
fn types_are_what_reflection_says() {
    const SCALARS: [&str; 11] = [
        "bool",
        "int",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "uintptr",
        "complex128",
        "float64",
    ];
    for build in builds("types", &[]) {
        let variables = build.open();
        let start = variables.types_start().unwrap();
        let mut fields = BTreeMap::<&str, usize>::new();
        let mut count = 0;
        for line in build.said("type") {
            let [path, kind, size, descriptor] = line else { panic!("{line:?}") };
            let found = variables.get(at_path(&variables, path));
            let kind = if SCALARS.contains(&kind.as_str()) { "scalar" } else { kind.as_str() };
            assert_eq!(kind_name(&found.kind), kind, "{} {path}", build.what);
            assert_eq!(found.bytes, size.parse::<u64>().unwrap(), "{} {path}", build.what);
            if let Some(RuntimeTypeOffset(offset)) = found.runtime_type {
                let told = start.0 + offset;
                assert_eq!(told, descriptor.parse::<u64>().unwrap(), "{} {path}", build.what);
                count += 1;
            }
            if let TypeKind::Struct(has) = &found.kind {
                fields.insert(path, has.len());
            }
        }
        assert!(count > 300, "{}: descriptors of {count} types", build.what);
        for line in build.said("field") {
            let [path, name, offset, is_embedded] = line else { panic!("{line:?}") };
            let id = at_path(&variables, path);
            let TypeKind::Struct(has) = &variables.get(id).kind else { panic!("{path}") };
            let field = has.iter().find(|field| field.name == *name).unwrap();
            assert_eq!(field.offset, offset.parse::<u64>().unwrap(), "{} {path}", build.what);
            assert_eq!(field.is_embedded.to_string(), *is_embedded, "{} {path}", build.what);
            *fields.get_mut(path.as_str()).unwrap() -= 1;
        }
        // Types at the lowest level print no fields.
        let level = |path: &str| path.matches('/').count();
        let left = fields.iter().filter(|(path, left)| **left != 0 && level(path) < 4);
        assert_eq!(left.count(), 0, "{}: fields that reflection does not know", build.what);
        for line in build.said("count") {
            let id = at_path(&variables, &line[0]);
            let TypeKind::Array { count, .. } = variables.get(id).kind else { panic!("{line:?}") };
            assert_eq!(count.to_string(), line[1], "{} {}", build.what, line[0]);
        }
        for line in build.said("methods") {
            let id = at_path(&variables, &line[0]);
            let TypeKind::Interface { is_empty } = variables.get(id).kind else {
                panic!("{line:?}")
            };
            assert_eq!(is_empty, line[1] == "0", "{} {}", build.what, line[0]);
        }
        check_maps_and_channels(&build, &variables);
    }
}

/// Maps and channels lead to the types their memory really has.
fn check_maps_and_channels(build: &Build, variables: &Variables<'_>) {
    let map = variables.get(at_path(variables, "main.cache"));
    assert_eq!(map.name, "main.Named");
    let TypeKind::Map { key, elem, header: Some(header) } = map.kind else { panic!("{map:?}") };
    assert_eq!(name_of(variables, key), "string");
    assert_eq!(name_of(variables, elem), "*main.Node");
    let header = variables.get(header);
    let expected =
        if build.minor >= 24 { "map<string,*main.Node>" } else { "hash<string,*main.Node>" };
    assert_eq!(header.name, expected, "{}", build.what);
    assert_eq!(header.bytes, 48, "{}", build.what);
    let channel = variables.get(at_path(variables, "main.queue"));
    let TypeKind::Chan { header: Some(header), .. } = channel.kind else { panic!("{channel:?}") };
    assert_eq!(name_of(variables, header), "hchan<*main.Node>", "{}", build.what);
}

/// All types that variables lead to.
fn reachable(variables: &Variables<'_>) -> Vec<TypeId> {
    let mut ids: Vec<TypeId> = variables.globals().all().iter().map(|one| one.type_id).collect();
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    while let Some(id) = ids.pop() {
        if !seen.insert(id) {
            continue;
        }
        found.push(id);
        match &variables.get(id).kind {
            TypeKind::Pointer(Some(to)) | TypeKind::Slice(to) => ids.push(*to),
            TypeKind::Struct(fields) => ids.extend(fields.iter().map(|field| field.type_id)),
            TypeKind::Array { elem, .. } => ids.push(*elem),
            TypeKind::Map { key, elem, header } => {
                ids.extend([*key, *elem]);
                ids.extend(*header);
            }
            TypeKind::Chan { elem, header } => {
                ids.push(*elem);
                ids.extend(*header);
            }
            _ => {}
        }
    }
    found
}

#[test]
fn every_descriptor_says_the_same_as_the_type() {
    let modes: [&[&str]; 4] = [
        &[],
        &["-buildmode=pie"],
        &["-ldflags=-linkmode=external"],
        &["-buildmode=pie", "-ldflags=-linkmode=external"],
    ];
    let has_cc = Command::new("cc").arg("--version").output().is_ok();
    if !has_cc {
        println!("skipped: no C compiler to link with");
    }
    for (index, flags) in modes.iter().enumerate().take(if has_cc { 4 } else { 2 }) {
        for build in builds(&format!("descriptors{index}"), flags) {
            let variables = build.open();
            let elf = Elf::parse(&build.file).unwrap();
            let start = variables.types_start().unwrap();
            let mut count = 0;
            for id in reachable(&variables) {
                let found = variables.get(id);
                assert_ne!(found.kind, TypeKind::Unknown, "{} {}", build.what, found.name);
                let Some(RuntimeTypeOffset(offset)) = found.runtime_type else { continue };
                let at = Addr(start.0 + offset);
                let bytes = elf.bytes_at(at).unwrap_or_else(|| {
                    panic!("{}: {} at {at} from {start}", build.what, found.name)
                });
                let size = u64::from_le_bytes(bytes[..8].try_into().unwrap());
                let has_no_pointers = bytes[8..16] == [0; 8];
                assert_eq!(found.bytes, size, "{} {}", build.what, found.name);
                let kinds: &[u8] = match found.kind {
                    TypeKind::Scalar => &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
                    TypeKind::Array { .. } => &[17],
                    TypeKind::Chan { .. } => &[18],
                    TypeKind::Func => &[19],
                    TypeKind::Interface { .. } => &[20],
                    TypeKind::Map { .. } => &[21],
                    TypeKind::Pointer(Some(_)) => &[22],
                    TypeKind::Pointer(None) => &[26],
                    TypeKind::Slice(_) => &[23],
                    TypeKind::String => &[24],
                    TypeKind::Struct(_) => &[25],
                    _ => &[],
                };
                let kind = bytes[23] & 31;
                assert!(kinds.contains(&kind), "{} {} {kind}", build.what, found.name);
                assert_eq!(found.kind == TypeKind::Scalar, has_no_pointers && kind <= 16);
                count += 1;
            }
            assert!(count > 200, "{}: {count}", build.what);
        }
    }
}

#[test]
fn locals_lie_where_the_program_sees_them() {
    for flags in [&[] as &[&str], &["-gcflags=all=-N -l"]] {
        let name = format!("locals{}", flags.len());
        for build in builds(&name, flags) {
            let line = build.said("frame").next().unwrap();
            let numbers = |at: usize| line[at].parse::<u64>().unwrap();
            let (pc, cfa) = (numbers(1), numbers(2));
            let locals = build.locals(pc);
            let mut checked = Vec::new();
            for pair in line[3..].chunks(2) {
                let local = named(&locals, &pair[0]);
                let addr: u64 = pair[1].parse().unwrap();
                assert_eq!(&*local.function, "main.stack", "{}", build.what);
                assert!(!local.is_moved_to_heap, "{} {local:?}", build.what);
                let place = Place::Frame(addr.wrapping_sub(cfa) as i64);
                // Optimised variables whose address is taken: Go tells the place of few of
                // them up to 1.26, and not of parameters in 1.27 either.
                let is_told = !local.is_parameter && build.minor >= 27;
                if local.place == Place::Nowhere && build.is_optimised && !is_told {
                    continue;
                }
                assert_eq!(local.place, place, "{} {}", build.what, local.name);
                checked.push(pair[0].as_str());
            }
            println!("{}: {checked:?}", build.what);
            let wanted = match (build.is_optimised, build.minor) {
                (true, ..27) => 1,
                (true, _) => 4,
                (false, _) => 6,
            };
            assert!(checked.len() >= wanted, "{}: {checked:?}", build.what);
            let is_parameter = |name| named(&locals, name).is_parameter;
            assert!(is_parameter("n") && is_parameter("s") && is_parameter("total"));
            assert!(!is_parameter("block") && named(&locals, "total").is_result);
            let (outer, inner) = (named(&locals, "array"), named(&locals, "block"));
            assert!(outer.depth < inner.depth, "{}", build.what);
            assert!((inner.scope.0.0..inner.scope.1.0).contains(&(pc - 1)), "{}", build.what);
        }
    }
}

/// The line of the subject that holds this text.
fn line_of(text: &str) -> u32 {
    let source = include_str!("variables/main.go");
    source.lines().position(|line| line.contains(text)).unwrap() as u32 + 1
}

#[test]
fn locals_have_names_types_and_lines() {
    for flags in [&[] as &[&str], &["-gcflags=all=-N -l"]] {
        let name = format!("names{}", flags.len());
        for build in builds(&name, flags) {
            let variables = build.open();
            let locals = build.locals(build.pc("main.spilled"));
            for (name, type_name, line) in [
                ("p", "*main.Node", "func spilled("),
                ("s", "string", "func spilled("),
                ("q", "*main.Node", "q := p.next"),
                ("words", "[]string", "words := make"),
            ] {
                let local = named(&locals, name);
                assert_eq!(name_of(&variables, local.type_id), type_name, "{}", build.what);
                assert_eq!(local.line, line_of(line), "{} {name}", build.what);
                assert_eq!(local.inlined, 0);
                // They are used after the call, so they are kept in the frame meanwhile.
                let is_in_frame = match &local.place {
                    Place::Frame(_) => true,
                    Place::Pieces(pieces) => {
                        pieces.iter().any(|piece| matches!(piece.place, Place::Frame(_)))
                    }
                    _ => false,
                };
                assert!(is_in_frame, "{} {local:?}", build.what);
            }
            check_inlined(&build);
            check_generic(&build, &variables);
        }
    }
}

fn check_inlined(build: &Build) {
    let locals = build.locals(build.pc("main.outer"));
    for name in ["a", "product"] {
        // Without optimisation the address lies in `inlined` itself.
        let local = named(&locals, name);
        assert_eq!(&*local.function, "main.inlined", "{}", build.what);
        assert_eq!(local.inlined, u32::from(build.is_optimised), "{}", build.what);
        assert_eq!(local.is_parameter, name == "a", "{}", build.what);
    }
    assert_eq!(named(&locals, "product").line, line_of("product := a * 3"), "{}", build.what);
    let outer = locals.iter().find(|local| &*local.function == "main.outer");
    assert_eq!(outer.is_some(), build.is_optimised, "{}", build.what);
}

fn check_generic(build: &Build, variables: &Variables<'_>) {
    let locals = build.locals(build.pc("main.get"));
    let other = variables.get(named(&locals, "other").type_id);
    assert_eq!(other.bytes, 8, "{}", build.what);
    assert!(matches!(other.kind, TypeKind::Pointer(_)), "{} {other:?}", build.what);
    assert!(other.dictionary_index.is_some(), "{} {other:?}", build.what);
}

#[test]
fn what_escapes_is_known_in_frames_and_closures() {
    for flags in [&[] as &[&str], &["-gcflags=all=-N -l"]] {
        let name = format!("escape{}", flags.len());
        for build in builds(&name, flags) {
            let variables = build.open();
            let locals = build.locals(build.pc("main.escape"));
            let count = named(&locals, "count");
            assert!(count.is_moved_to_heap, "{} {count:?}", build.what);
            assert!(matches!(count.place, Place::Frame(_)), "{} {count:?}", build.what);
            assert_eq!(name_of(&variables, count.type_id), "int", "{}", build.what);
            assert!(!named(&locals, "name").is_moved_to_heap, "{}", build.what);

            let line = build.said("captures").next().unwrap();
            let captures = variables.captures(Addr(line[0].parse().unwrap()));
            if build.minor < 23 {
                assert_eq!(captures, [], "{}", build.what);
                continue;
            }
            let offset = |capture: &Capture| (capture.name.clone(), capture.offset.to_string());
            let mut told: Vec<_> =
                line[1..].chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
            told.sort_by_key(|(_, offset)| offset.parse::<u64>().unwrap());
            // Of the structure the optimised closure reads one field only.
            let ours: Vec<_> = captures.iter().map(offset).collect();
            told.retain(|(name, _)| name != "point" || ours.iter().any(|(ours, _)| ours == name));
            assert_eq!(ours, told, "{}", build.what);
            assert!(ours.len() == 3 || build.is_optimised, "{}: {ours:?}", build.what);
            for (name, type_name) in [("count", "int"), ("name", "string"), ("point", "main.Point")]
            {
                let capture = captures.iter().find(|capture| capture.name == name);
                let Some(capture) = capture else { continue };
                assert_eq!(name_of(&variables, capture.type_id), type_name, "{}", build.what);
                assert_eq!(capture.is_by_reference, name == "count", "{}", build.what);
            }
        }
    }
}

#[test]
fn stripped_programs_have_no_variables_and_split_ones_have_all() {
    for build in builds("stripped", &["-ldflags=-s -w"]) {
        let variables = build.open();
        assert!(!variables.has_any(), "{}", build.what);
        assert_eq!(variables.globals().all(), [], "{}", build.what);
        assert!(!variables.globals().is_partial, "{}", build.what);
        assert_eq!(variables.locals_at(Addr(build.pc("main.spilled") - 1)), []);
        assert_eq!(variables.get(TypeId(0)).kind, TypeKind::Unknown);
        assert_eq!(variables.types_start(), None);
    }
    for build in builds("split", &[]) {
        let debug = build.exe.with_extension("debug");
        let mut objcopy = Command::new("objcopy");
        let split = objcopy.arg("--only-keep-debug").arg(&build.exe).arg(&debug).status();
        if !split.is_ok_and(|status| status.success()) {
            println!("skipped: no objcopy");
            return;
        }
        let debug = std::fs::read(debug).unwrap();
        let split = Variables::open(&build.file, Some(&debug)).unwrap();
        let whole = build.open();
        assert_eq!(split.globals().all(), whole.globals().all(), "{}", build.what);
        assert_eq!(split.types_start(), whole.types_start(), "{}", build.what);
        let pc = Addr(build.pc("main.spilled") - 1);
        assert_eq!(split.locals_at(pc), whole.locals_at(pc), "{}", build.what);
        assert!(whole.has_any());
    }
}

#[test]
fn damaged_debug_information_ends_in_part_of_an_answer() {
    for build in builds("damaged", &["-ldflags=-compressdwarf=false"]) {
        let (pc, code) = (build.pc("main.spilled") - 1, build.said("captures").next().unwrap());
        let code: u64 = code[0].parse().unwrap();
        let elf = Elf::parse(&build.file).unwrap();
        let names = ["info", "abbrev", "addr", "loc", "loclists", "ranges", "rnglists"];
        let sections: Vec<_> =
            names.iter().filter_map(|name| elf.section(&format!(".debug_{name}"))).collect();
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below.max(1)
        };
        let (mut found, mut partial) = (0, 0);
        for round in 0..24 {
            let mut file = build.file.clone();
            let section = &sections[round % sections.len()];
            for _ in 0..1 + next(200) {
                file[(section.offset + next(section.size)) as usize] = next(256) as u8;
            }
            let variables = Variables::open(&file, None).unwrap();
            found += variables.globals().all().len();
            partial += u32::from(variables.globals().is_partial);
            found += variables.locals_at(Addr(pc)).len() + variables.captures(Addr(code)).len();
            found += reachable(&variables).len();
        }
        assert!(found > 0 && partial > 0, "{}: {found} {partial}", build.what);
    }
}
