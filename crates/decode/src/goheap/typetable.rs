//! The types of the graph: made from Go's descriptors, from debug information, or from
//! what the runtime itself allocates (parts of maps, channels, closures).
//!
//! A type is made when it is first named. Its shape (where its pointers are and what they
//! point to) is worked out when an object of it is first looked into, its fields only for
//! the types that objects turn out to have.

use std::rc::Rc;
use std::sync::Arc;

use ahash::AHashMap;
use model::heap::{Field, HeapType, TypeId, TypeKind};

use super::bounds::{Room, Strings};
use super::files::{DebugType, ModuleFile};
use super::gotype::{GoType, Types, kind};
use super::hidden::Hidden;
use crate::symbols::variables::{self as debug, Variables};

/// What a type is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// Known only by its size class and whether it can hold pointers.
    Unknown(u64, bool),
    /// A descriptor.
    Go(u64),
    /// Debug information, where there is no descriptor.
    Debug(DebugType),
    /// The array behind a slice.
    ArrayOf(TypeId),
    /// Bytes of strings.
    Text,
    /// Values below 16 bytes that share a block.
    Tiny,
    /// A closure, by its code.
    Closure(u64),
    /// A channel, by the descriptor of its type.
    Channel(u64),
    /// Parts of a map, by the descriptor of its type.
    Map(MapPart, u64),
    /// What the standard library keeps behind untyped pointers.
    Hidden(Hidden),
}

/// What a map consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum MapPart {
    Header,
    /// Pointers to tables (Swiss maps, since 1.24).
    Directory,
    Table,
    /// Groups of slots; buckets before 1.24.
    Groups,
}

/// Where the pointers of a value are, and what they point to.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// Bytes of a value.
    pub(super) size: u64,
    pub(super) parts: Vec<Part>,
}

/// A part of a value that points somewhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) offset: u64,
    pub(super) what: What,
}

/// Parts that are being collected.
#[derive(Default)]
struct Parts {
    parts: Vec<Part>,
    /// Types and fields that were looked at: they may be many and without a pointer.
    steps: u64,
}

impl Parts {
    fn has_room(&mut self) -> bool {
        self.steps += 1;
        self.parts.len() <= PARTS_MAX && self.steps <= STEPS_MAX
    }
}

/// What a part is.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    Pointer(TypeId),
    Slice(TypeId),
    Text,
    Empty,
    Interface,
    /// A map: its header.
    Map(TypeId),
    Channel(TypeId),
    Func,
    /// A pointer to values, and in the next word how many.
    Counted(TypeId),
    /// A node of a trie: of one type or the other, as its first byte says.
    TrieNode {
        inner: TypeId,
        entry: TypeId,
    },
    /// Many values of one type.
    Repeat(u64, TypeId),
}

/// The types that were made so far.
pub(super) struct TypeTable<'a, 'm> {
    pub(super) go: Types<'a, 'm>,
    files: &'m [ModuleFile<'m>],
    pub(super) strings: Strings,
    pub(super) types: Vec<HeapType>,
    sources: Vec<Source>,
    ids: AHashMap<Source, TypeId>,
    shapes: AHashMap<TypeId, Rc<Shape>>,
    /// With plugins: the descriptor that stands for all equal ones, by hash, size and name.
    canonical: AHashMap<(u32, u64, &'a str), u64>,
    /// Types that are being made, each for the sake of the one before.
    depth: u32,
    /// Fields and parts of shapes that may still be made: descriptors can overlap.
    room: Room,
}

/// Parts and fields of a program with little memory.
const PARTS_FREE: u64 = 1 << 18;
/// Parts of one type that are looked at for its shape.
const STEPS_MAX: u64 = 1 << 17;
/// Shapes with more parts repeat their arrays instead of listing them.
const PARTS_MAX: usize = 4096;
const INLINE_ARRAY: u64 = 16;
const DEPTH_MAX: u32 = 64;

impl<'a, 'm> TypeTable<'a, 'm> {
    pub(super) fn new(go: Types<'a, 'm>, files: &'m [ModuleFile<'m>]) -> Self {
        let bytes = go.memory.bytes();
        let mut table = TypeTable {
            go,
            files,
            strings: Strings::for_memory(bytes),
            types: Vec::new(),
            sources: Vec::new(),
            ids: AHashMap::new(),
            shapes: AHashMap::new(),
            canonical: AHashMap::new(),
            depth: 0,
            room: Room::of(PARTS_FREE + bytes / 16),
        };
        // Id 0 stands for "not known yet" while types are found.
        table.id(Source::Unknown(0, false));
        table
    }

    pub(super) fn source(&self, id: TypeId) -> Source {
        self.sources.get(id.0 as usize).copied().unwrap_or(Source::Unknown(0, false))
    }

    /// Bytes of one value of a type.
    pub(super) fn bytes(&self, id: TypeId) -> u64 {
        self.types.get(id.0 as usize).map_or(0, |found| found.bytes)
    }

    /// The id of a descriptor's type; `None` when none can be there.
    pub(super) fn of_go(&mut self, addr: u64) -> Option<TypeId> {
        self.go.get(addr).filter(|found| found.kind != 0)?;
        Some(self.id(Source::Go(addr)))
    }

    /// What debug information tells of a type.
    pub(super) fn described(&self, of: DebugType) -> Option<Arc<debug::VarType>> {
        Some(self.debug(of.module)?.get(of.id))
    }

    fn debug(&self, module: usize) -> Option<&'m Variables<'m>> {
        self.files.get(module)?.debug.as_ref()
    }

    /// The id of a type of debug information: of its descriptor, if it has one.
    pub(super) fn of_debug(&mut self, id: DebugType) -> Option<TypeId> {
        let found = self.described(id)?;
        let types = self.go.modules.get(id.module).map(|module| module.types)?;
        let descriptor = found.runtime_type.and_then(|offset| types.checked_add(offset.0));
        if let Some(addr) = descriptor
            && let Some(go) = self.go.get_listed(addr)
            && go.size == found.bytes
        {
            return Some(self.id(Source::Go(addr)));
        }
        Some(self.id(Source::Debug(id)))
    }

    /// The id of a type, which is made when it is new.
    pub(super) fn id(&mut self, source: Source) -> TypeId {
        let source = if self.go.modules.len() > 1 { self.canonical(source) } else { source };
        if let Some(id) = self.ids.get(&source) {
            return *id;
        }
        if let Some(hidden) = self.hidden_of(source) {
            let id = self.id(Source::Hidden(hidden));
            self.ids.insert(source, id);
            return id;
        }
        // A type takes at least a descriptor's bytes: they are fewer than 2^32.
        let id = TypeId(self.types.len() as u32);
        self.ids.insert(source, id);
        self.sources.push(source);
        self.types.push(HeapType::default());
        self.depth += 1;
        let made = self.make(source);
        self.depth -= 1;
        if let Some(slot) = self.types.get_mut(id.0 as usize) {
            *slot = made;
        }
        id
    }

    /// Plugins bring descriptors of types that the program has, too: the first that is met
    /// stands for all.
    fn canonical(&mut self, source: Source) -> Source {
        let mut of = |addr: u64| {
            let key = self
                .go
                .get(addr)
                .and_then(|found| Some((found.hash, found.size, self.go.name(&found)?)));
            key.map_or(addr, |key| *self.canonical.entry(key).or_insert(addr))
        };
        match source {
            Source::Go(addr) => Source::Go(of(addr)),
            Source::Channel(addr) => Source::Channel(of(addr)),
            Source::Map(part, addr) => Source::Map(part, of(addr)),
            source => source,
        }
    }

    fn make(&mut self, source: Source) -> HeapType {
        let (name, kind, bytes) = match source {
            Source::Unknown(bytes, is_noscan) => {
                let pointers = if is_noscan { ", no pointers" } else { "" };
                (format!("unknown {bytes} B{pointers}"), TypeKind::Unknown, bytes)
            }
            Source::Go(addr) => return self.make_go(addr),
            Source::Debug(id) => return self.make_debug(id),
            Source::Hidden(hidden) => return self.make_hidden(hidden),
            Source::ArrayOf(elem) => {
                let name = self.types.get(elem.0 as usize).map(|elem| elem.name);
                let name = self.strings.get(name.unwrap_or_default());
                let is_map = name.ends_with(" group") || name.ends_with(" bucket");
                let name = if is_map { format!("{name}s") } else { format!("[]{name}") };
                return HeapType {
                    name: self.strings.intern(&name),
                    kind: TypeKind::Array,
                    bytes: self.bytes(elem),
                    element: Some(elem),
                    ..HeapType::default()
                };
            }
            Source::Text => ("string data".to_owned(), TypeKind::Text, 1),
            Source::Tiny => ("values below 16 B".to_owned(), TypeKind::Scalar, 16),
            Source::Closure(pc) => {
                let name = self.go.function(pc).unwrap_or_else(|| format!("{pc:#x}"));
                (format!("func {name}"), TypeKind::Closure, 0)
            }
            Source::Channel(addr) => (self.go_name(addr), TypeKind::Channel, 0),
            Source::Map(part, addr) => {
                let suffix = match part {
                    MapPart::Header => "",
                    MapPart::Directory => " directory",
                    MapPart::Table => " table",
                    MapPart::Groups if self.go.minor >= 24 => " groups",
                    MapPart::Groups => " buckets",
                };
                (format!("{}{suffix}", self.go_name(addr)), TypeKind::Map, 0)
            }
        };
        HeapType { name: self.strings.intern(&name), kind, bytes, ..HeapType::default() }
    }

    fn go_name(&self, addr: u64) -> String {
        let name = self.go.get(addr).and_then(|found| self.go.name(&found));
        let Some(name) = name else { return format!("type {addr:#x}") };
        // The compiler's names for what maps are made of.
        let part =
            |prefix, word| name.strip_prefix(prefix).map(|rest: &str| format!("map[{rest} {word}"));
        let part = part("map.group[", "group").or_else(|| part("map.bucket[", "bucket"));
        part.unwrap_or_else(|| name.to_owned())
    }

    fn make_go(&mut self, addr: u64) -> HeapType {
        let name = self.go_name(addr);
        let Some(found) = self.go.get(addr) else { return HeapType::default() };
        let package = self.go.package(&found).unwrap_or("");
        let (name, package) = (self.strings.intern(&name), self.strings.intern(package));
        let (kind, bytes, element) = match found.kind {
            kind::STRUCT => (TypeKind::Struct, found.size, None),
            kind::ARRAY => {
                let elem = self.go.elem(&found);
                let bytes = elem.map_or(found.size, |elem| elem.size);
                let elem = elem.filter(|_| self.depth < DEPTH_MAX);
                (TypeKind::Array, bytes, elem.map(|elem| self.id(Source::Go(elem.addr))))
            }
            _ => (TypeKind::Scalar, found.size, None),
        };
        HeapType { name, package, kind, bytes, element, fields: 0..0 }
    }

    fn make_debug(&mut self, id: DebugType) -> HeapType {
        let Some(found) = self.described(id) else { return HeapType::default() };
        // Type arguments have packages of their own.
        let generic = found.name.split_once('[').map_or(found.name.as_str(), |(name, _)| name);
        let package = generic.rsplit_once('.').map_or("", |(package, _)| package);
        let is_named = !package.contains(['*', ' ', '(']);
        let package = self.strings.intern(if is_named { package } else { "" });
        let name = self.strings.intern(&found.name);
        let (kind, bytes, element) = match &found.kind {
            debug::TypeKind::Struct(_) => (TypeKind::Struct, found.bytes, None),
            debug::TypeKind::Array { elem, .. } => {
                let is_shallow = self.depth < DEPTH_MAX;
                let elem = DebugType { id: *elem, ..id };
                let elem = is_shallow.then(|| self.of_debug(elem)).flatten();
                (TypeKind::Array, elem.map_or(0, |elem| self.bytes(elem)), elem)
            }
            _ => (TypeKind::Scalar, found.bytes, None),
        };
        HeapType { name, package, kind, bytes, element, fields: 0..0 }
    }

    /// The shape of a type.
    pub(super) fn shape(&mut self, id: TypeId) -> Rc<Shape> {
        if let Some(shape) = self.shapes.get(&id) {
            return Rc::clone(shape);
        }
        let mut parts = Parts::default();
        let size = match self.source(id) {
            Source::Go(addr) => self.go.get(addr).map_or(0, |found| {
                self.go_parts(&found, 0, 0, &mut parts);
                found.size
            }),
            Source::Debug(of) => {
                self.debug_parts(of, 0, 0, &mut parts);
                self.described(of).map_or(0, |found| found.bytes)
            }
            Source::Map(MapPart::Groups, addr) => self.group_parts(addr, id, &mut parts),
            Source::Closure(pc) => {
                self.capture_parts(pc, &mut parts);
                0
            }
            Source::Hidden(hidden) => self.hidden_parts(hidden, &mut parts.parts),
            _ => 0,
        };
        let Parts { mut parts, .. } = parts;
        self.link_trie(id, &mut parts);
        if !self.room.take(1 + parts.len() as u64) {
            parts = Vec::new();
        }
        let shape = Rc::new(Shape { size, parts });
        self.shapes.insert(id, Rc::clone(&shape));
        shape
    }

    fn go_parts(&mut self, found: &GoType, at: u64, depth: u32, parts: &mut Parts) {
        if found.ptr_bytes == 0 || depth > DEPTH_MAX || !parts.has_room() {
            return;
        }
        let what = match found.kind {
            kind::POINTER => {
                self.go.elem(found).map(|to| What::Pointer(self.id(Source::Go(to.addr))))
            }
            kind::SLICE => self.go.elem(found).map(|to| What::Slice(self.id(Source::Go(to.addr)))),
            kind::STRING => Some(What::Text),
            kind::INTERFACE if self.go.is_empty_interface(found) => Some(What::Empty),
            kind::INTERFACE => Some(What::Interface),
            kind::MAP => Some(What::Map(self.id(Source::Map(MapPart::Header, found.addr)))),
            kind::CHAN => Some(What::Channel(self.id(Source::Channel(found.addr)))),
            kind::FUNC => Some(What::Func),
            kind::ARRAY => return self.array_parts(found, at, depth, parts),
            kind::STRUCT => return self.struct_parts(found, at, depth, parts),
            _ => None,
        };
        parts.parts.extend(what.map(|what| Part { offset: at, what }));
    }

    fn array_parts(&mut self, found: &GoType, at: u64, depth: u32, parts: &mut Parts) {
        let Some(elem) = self.go.elem(found) else { return };
        let count = self.go.array_len(found);
        if count > INLINE_ARRAY {
            let of = self.id(Source::Go(elem.addr));
            parts.parts.push(Part { offset: at, what: What::Repeat(count, of) });
            return;
        }
        for index in 0..count {
            let at = at.saturating_add(index.saturating_mul(elem.size));
            self.go_parts(&elem, at, depth + 1, parts);
        }
    }

    fn struct_parts(&mut self, found: &GoType, at: u64, depth: u32, parts: &mut Parts) {
        let fields = self.go.fields(found);
        parts.steps += fields.len() as u64;
        // atomic.Pointer[T] hides its T in a field without size.
        let is_atomic = self.go.name(found).is_some_and(|name| name.starts_with("atomic.Pointer["));
        let hidden = fields.first().filter(|_| is_atomic).and_then(|field| {
            let pointer = self.go.elem(&self.go.get(field.of)?)?;
            (pointer.kind == kind::POINTER).then(|| self.go.elem(&pointer))?
        });
        let is_pool = self.is_pool(found);
        for field in &fields {
            let Some(of) = self.go.get(field.of) else { continue };
            let offset = at.saturating_add(field.offset);
            let name = self.go.text(field.name).filter(|_| is_pool);
            if let Some(what) = name.and_then(|name| self.pool_part(name)) {
                parts.parts.push(Part { offset, what });
                continue;
            }
            match hidden {
                Some(to) if of.kind == kind::UNSAFE_POINTER => {
                    let what = What::Pointer(self.id(Source::Go(to.addr)));
                    parts.parts.push(Part { offset, what });
                }
                _ => self.go_parts(&of, offset, depth + 1, parts),
            }
        }
    }

    /// A group or bucket, and the link to its overflow bucket before 1.24.
    fn group_parts(&mut self, addr: u64, id: TypeId, parts: &mut Parts) -> u64 {
        let Some(group) = self.go.get(addr).and_then(|map| self.go.map_group(&map)) else {
            return 0;
        };
        self.go_parts(&group, 0, 0, parts);
        if self.go.minor < 24 {
            let offset = group.size.saturating_sub(8);
            parts.parts.retain(|part| part.offset != offset);
            parts.parts.push(Part { offset, what: What::Pointer(id) });
        }
        group.size
    }

    fn capture_parts(&mut self, pc: u64, parts: &mut Parts) {
        let (module, captures) = self.captures(pc);
        for capture in captures {
            let of = DebugType { module, id: capture.type_id };
            if capture.is_by_reference {
                let to = self.of_debug(of).map(What::Pointer);
                parts.parts.extend(to.map(|what| Part { offset: capture.offset, what }));
            } else if let Some(of) = self.of_debug(of) {
                let shape = self.shape(of);
                let offset = |part: &Part| capture.offset.saturating_add(part.offset);
                let at = |part: &Part| Part { offset: offset(part), ..*part };
                parts.parts.extend(shape.parts.iter().map(at));
            }
            if !parts.has_room() {
                return;
            }
        }
    }

    /// What a closure captured, and whose debug information tells it.
    fn captures(&self, pc: u64) -> (usize, Vec<debug::Capture>) {
        let Some(module) = self.go.modules.iter().position(|module| module.has_code(pc)) else {
            return (0, Vec::new());
        };
        let known = self.files.get(module).and_then(|file| Some((file.debug.as_ref()?, file.bias)));
        let Some((debug, bias)) = known else { return (module, Vec::new()) };
        let linked = pc.checked_sub(bias).map(model::Addr);
        let mut captures = linked.map(|pc| debug.captures(pc)).unwrap_or_default();
        if captures.is_empty() {
            captures.extend(self.receiver(module, pc));
        }
        captures.retain(|capture| capture.offset < 1 << 16);
        (module, captures)
    }

    /// What a method value (`x.Method` as a function) captured: debug information tells it
    /// of the method, not of the closure.
    fn receiver(&self, module: usize, pc: u64) -> Option<debug::Capture> {
        let file = self.files.get(module)?;
        let name = self.go.function(pc)?;
        let method = name.strip_suffix("-fm")?;
        let table = self.go.modules.get(module)?.table.as_ref()?;
        let entry = table.funcs_named(&[method]).first().copied().flatten()?.entry;
        let linked = model::Addr(entry.0.checked_sub(file.bias)?);
        let locals = file.debug.as_ref()?.locals_at(linked);
        let receiver = locals.into_iter().find(|local| local.is_parameter && !local.is_result)?;
        Some(debug::Capture {
            name: receiver.name,
            offset: 8,
            type_id: receiver.type_id,
            is_by_reference: false,
        })
    }

    fn debug_parts(&mut self, id: DebugType, at: u64, depth: u32, parts: &mut Parts) {
        let Some(found) = self.described(id) else { return };
        let own = |of: debug::TypeId| DebugType { id: of, ..id };
        if depth > DEPTH_MAX || !parts.has_room() {
            return;
        }
        if let Some(known) = self.of_debug(id)
            && let Source::Go(addr) = self.source(known)
            && let Some(go) = self.go.get(addr)
        {
            return self.go_parts(&go, at, depth, parts);
        }
        let what = match &found.kind {
            debug::TypeKind::Pointer(Some(to)) => self.of_debug(own(*to)).map(What::Pointer),
            debug::TypeKind::Slice(elem) => self.of_debug(own(*elem)).map(What::Slice),
            debug::TypeKind::String => Some(What::Text),
            debug::TypeKind::Interface { is_empty: true } => Some(What::Empty),
            debug::TypeKind::Interface { .. } => Some(What::Interface),
            debug::TypeKind::Func => Some(What::Func),
            debug::TypeKind::Map { header: Some(to), .. }
            | debug::TypeKind::Chan { header: Some(to), .. } => {
                self.of_debug(own(*to)).map(What::Pointer)
            }
            debug::TypeKind::Array { elem, count } => {
                let of = self.of_debug(own(*elem));
                of.map(|of| What::Repeat(*count, of))
            }
            debug::TypeKind::Struct(fields) => {
                let hidden = self.hidden(id.module, &found.name, fields);
                for field in fields {
                    let offset = at.saturating_add(field.offset);
                    if found.name == "sync.Pool"
                        && let Some(what) = self.pool_part(&field.name)
                    {
                        parts.parts.push(Part { offset, what });
                        continue;
                    }
                    let is_untyped = |debug: &Variables<'_>| {
                        debug.get(field.type_id).kind == debug::TypeKind::Pointer(None)
                    };
                    let debug = self.debug(id.module);
                    match hidden {
                        Some(to) if debug.is_some_and(is_untyped) => {
                            parts.parts.push(Part { offset, what: What::Pointer(to) });
                        }
                        _ => self.debug_parts(own(field.type_id), offset, depth + 1, parts),
                    }
                }
                None
            }
            _ => None,
        };
        parts.parts.extend(what.map(|what| Part { offset: at, what }));
    }

    /// The T of an `atomic.Pointer[T]`, which has a field without size for it.
    fn hidden(&mut self, module: usize, name: &str, fields: &[debug::Field]) -> Option<TypeId> {
        let debug = self.debug(module).filter(|_| name.starts_with("sync/atomic.Pointer["))?;
        let to = fields.iter().find_map(|field| match debug.get(field.type_id).kind {
            debug::TypeKind::Array { elem, count: 0 } => match debug.get(elem).kind {
                debug::TypeKind::Pointer(to) => to,
                _ => None,
            },
            _ => None,
        })?;
        self.of_debug(DebugType { module, id: to })
    }

    /// Gives the types that objects have their fields; returns all fields.
    pub(super) fn finish(&mut self, used: impl Iterator<Item = TypeId>) -> Vec<Field> {
        let mut queue: Vec<TypeId> = used.collect();
        let mut is_done = vec![false; self.types.len()];
        let mut fields = Vec::new();
        while let Some(id) = queue.pop() {
            let index = id.0 as usize;
            if is_done.len() <= index {
                is_done.resize(self.types.len(), false);
            }
            match is_done.get_mut(index) {
                Some(done) if !*done => *done = true,
                _ => continue,
            }
            let start = fields.len() as u32;
            let mut own = self.fields(id);
            if !self.room.take(own.len() as u64) {
                own = Vec::new();
            }
            own.sort_by_key(|field| field.offset);
            queue.extend(own.iter().filter_map(|field| field.of));
            fields.extend(own);
            if let Some(found) = self.types.get_mut(index) {
                found.fields = start..fields.len() as u32;
                queue.extend(found.element);
            }
        }
        fields
    }

    pub(super) fn field(&mut self, offset: u64, name: &str, of: Option<TypeId>) -> Field {
        let has_parts = |id: &TypeId| {
            let found = self.types.get(id.0 as usize);
            found.is_some_and(|of| matches!(of.kind, TypeKind::Struct | TypeKind::Array))
        };
        let of = of.filter(has_parts);
        Field { offset, name: self.strings.intern(name), of }
    }

    fn fields(&mut self, id: TypeId) -> Vec<Field> {
        match self.source(id) {
            Source::Go(addr) => {
                let Some(found) = self.go.get(addr) else { return Vec::new() };
                if found.kind != kind::STRUCT {
                    return Vec::new();
                }
                let fields = self.go.fields(&found);
                let of = |table: &mut Self, of: u64| table.of_go(of);
                fields
                    .iter()
                    .map(|field| {
                        let name = self.go.text(field.name).unwrap_or("");
                        let of = of(self, field.of);
                        self.field(field.offset, name, of)
                    })
                    .collect()
            }
            Source::Debug(of) => {
                let found = self.described(of);
                let Some(debug::TypeKind::Struct(fields)) = found.as_deref().map(|f| &f.kind)
                else {
                    return Vec::new();
                };
                let field = |field: &debug::Field| {
                    let of = self.of_debug(DebugType { id: field.type_id, ..of });
                    self.field(field.offset, &field.name, of)
                };
                fields.iter().map(field).collect()
            }
            Source::Closure(pc) => {
                let (module, captures) = self.captures(pc);
                let field = |capture: &debug::Capture| {
                    let of = DebugType { module, id: capture.type_id };
                    let of = self.of_debug(of).filter(|_| !capture.is_by_reference);
                    self.field(capture.offset, &capture.name, of)
                };
                captures.iter().map(field).collect()
            }
            Source::Hidden(hidden) => self.hidden_fields(hidden),
            Source::Channel(_) => vec![self.field(16, "buf", None)],
            Source::Map(MapPart::Header, _) if self.go.minor >= 24 => {
                vec![self.field(16, "dirPtr", None)]
            }
            Source::Map(MapPart::Header, _) => vec![
                self.field(16, "buckets", None),
                self.field(24, "oldbuckets", None),
                self.field(40, "extra", None),
            ],
            Source::Map(MapPart::Table, _) => vec![self.field(16, "groups", None)],
            _ => Vec::new(),
        }
    }

    /// Parts of maps that are arrays get their elements.
    pub(super) fn link_arrays(&mut self) {
        for index in 0..self.types.len() {
            let Some(Source::Map(MapPart::Groups, addr)) = self.sources.get(index).copied() else {
                continue;
            };
            let group = self.go.get(addr).and_then(|map| self.go.map_group(&map));
            let Some(group) = group else { continue };
            let element = self.id(Source::Go(group.addr));
            if let Some(found) = self.types.get_mut(index) {
                (found.element, found.bytes) = (Some(element), group.size);
            }
        }
    }
}
