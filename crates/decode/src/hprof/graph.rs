//! The two passes: where objects lie, then what they are and point to.

use std::rc::Rc;

use ahash::AHashMap;
use model::heap::{
    Edges, Extents, Field, Fill, HeapGraph, HeapSource, HeapType, Listed, ObjectId, Objects, Texts,
    TypeId, TypeKind,
};

use super::classes::Classes;
use super::cursor::{Cursor, id_at};
use super::facts::{self, Fact, TextUse};
use super::names::{Names, package_of};
use super::records::{self, HEAP_DUMP_END, Records};
use super::roots;
use super::subrecords::{self, ClassDump, OBJECT, Root, Stop, Sub, value_bytes};
use super::{HprofError, Options, Statics};
use crate::places::{Index, Place};

/// The slot of an array's reference to its class.
const CLASS_SLOT: u32 = u32::MAX;

/// The type of what arrays of objects hold, and of the first class.
const REFERENCE_TYPE: u32 = 1;
const FIRST_CLASS_TYPE: u32 = 2;

/// References of a class object that are no static fields, in the order of their slots.
const CLASS_FIELDS: [&str; 4] = ["<super>", "<classLoader>", "<signers>", "<protectionDomain>"];

/// Reads an inflated dump.
pub(super) fn read(bytes: &[u8], options: &Options) -> Result<HeapGraph<'static>, HprofError> {
    let mut records = records::read(bytes)?;
    let mut scan = Scan::default();
    scan.run(bytes, &mut records);
    if scan.places.is_empty() {
        return Err(HprofError::NoHeap { records: records.count, bytes: bytes.len() as u64 });
    }
    let count = scan.places.len() as u64;
    // Holders are numbered after objects.
    if count.saturating_add(scan.roots.len() as u64) >= u64::from(u32::MAX - (1 << 24)) {
        return Err(HprofError::TooManyObjects(count));
    }
    let index = Index::new(std::mem::take(&mut scan.places));
    let mut names = Names::new(std::mem::take(&mut records.texts), bytes.len());
    let mut classes = Classes::new(&scan.classes, &records, &mut names);
    classes.infer_layout(bytes, &index, &names);
    let mut graph = HeapGraph {
        source: HeapSource {
            runtime: records.version.clone(),
            time: records.time,
            method: "hprof".to_owned(),
            ..HeapSource::default()
        },
        slot_bytes: 1,
        warnings: std::mem::take(&mut records.warnings),
        ..HeapGraph::default()
    };
    let id_bytes = records.id_bytes;
    let mut dump = Dump { bytes, id_bytes, index, classes, names };
    dump.find_permanent(options.statics);
    let mut builder = Builder::new(&mut dump);
    builder.run();
    let (dangling, damaged, cut) = (builder.dangling, builder.damaged, builder.cut);
    builder.finish(&mut graph);
    let dangling_roots = roots::add(&mut dump, &records, scan.roots, options, &mut graph);
    warn(&mut graph, dangling + dangling_roots, "references to objects that the dump lacks");
    warn(&mut graph, damaged, "objects of classes that the dump lacks");
    warn(&mut graph, cut, "instances shorter than their class says");
    warn(&mut graph, dump.index.duplicates as u64, "objects with the id of another one, left out");
    if dump.names.is_exhausted {
        graph.warnings.push("names are longer than the dump warrants: some are left out".into());
    }
    let addresses: Vec<u64> = dump.index.places.iter().map(|place| place.id).collect();
    graph.strings = dump.names.table;
    if let Objects::Listed(listed) = &mut graph.objects {
        listed.address = addresses.into();
    }
    Ok(graph)
}

fn warn(graph: &mut HeapGraph<'_>, count: u64, what: &str) {
    if count > 0 {
        graph.warnings.push(format!("{count} {what}"));
    }
}

/// The first pass.
#[derive(Default)]
struct Scan<'a> {
    places: Vec<Place>,
    classes: Vec<ClassDump<'a>>,
    roots: Vec<Root>,
}

impl<'a> Scan<'a> {
    fn run(&mut self, bytes: &'a [u8], records: &mut Records<'a>) {
        let id_bytes = records.id_bytes;
        for segment in &records.segments {
            let window = bytes.get(..segment.end).unwrap_or(bytes);
            let mut cursor = Cursor::new(window, segment.start, id_bytes);
            while cursor.position() < segment.end {
                let at = cursor.position();
                match subrecords::next(&mut cursor, id_bytes) {
                    Ok(sub) => self.take(sub, at),
                    Err(Stop::Unknown(HEAP_DUMP_END)) if segment.is_open => break,
                    Err(Stop::Unknown(tag)) => {
                        let lost = segment.end - at;
                        records.warnings.push(format!(
                            "unknown sub-record {tag:#04x} at byte {at}: \
                             {lost} bytes after it are left out"
                        ));
                        break;
                    }
                    Err(Stop::Truncated) => {
                        let what = "the heap dump ends within an object";
                        records.warnings.push(format!("{what} at byte {at}"));
                        break;
                    }
                }
            }
        }
    }

    fn take(&mut self, sub: Sub<'a>, at: usize) {
        let id = match sub {
            Sub::Root(root) => return self.roots.push(root),
            Sub::Nothing => return,
            Sub::Class(class) => {
                self.classes.push(class);
                class.id
            }
            Sub::Instance { id, .. }
            | Sub::ObjectArray { id, .. }
            | Sub::PrimitiveArray { id, .. } => id,
        };
        // 0 is the null reference.
        if id != 0 {
            self.places.push(Place { id, at: at as u64 });
        }
    }
}

/// What both passes and the roots need.
pub(super) struct Dump<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) id_bytes: usize,
    pub(super) index: Index,
    pub(super) classes: Classes<'a>,
    pub(super) names: Names<'a>,
}

/// A value of an instance's field.
pub(super) struct FieldValue<'a> {
    pub(super) kind: u8,
    pub(super) value: &'a [u8],
}

impl<'a> Dump<'a> {
    /// The sub-record of an object.
    pub(super) fn sub(&self, object: ObjectId) -> Option<Sub<'a>> {
        let mut cursor = Cursor::new(self.bytes, self.index.at(object), self.id_bytes);
        subrecords::next(&mut cursor, self.id_bytes).ok()
    }

    /// A field of an instance by its name.
    pub(super) fn field(&self, object: ObjectId, name: &str) -> Option<FieldValue<'a>> {
        let Sub::Instance { class, data, .. } = self.sub(object)? else { return None };
        let mut found = None;
        self.classes.each_field(self.classes.find(class)?, |_, _, offset, field| {
            let is_it = self.names.is(field.name, name);
            if is_it {
                let bytes = value_bytes(field.kind, self.id_bytes).unwrap_or(0);
                let value = data.get(offset..offset + bytes);
                found = value.map(|value| FieldValue { kind: field.kind, value });
            }
            !is_it && offset < data.len()
        });
        found
    }

    /// What a reference field points to.
    pub(super) fn pointee(&self, object: ObjectId, name: &str) -> Option<ObjectId> {
        let field = self.field(object, name).filter(|field| field.kind == OBJECT)?;
        self.index.find(id_at(field.value, 0, self.id_bytes)?)
    }

    /// The class of an instance.
    pub(super) fn class_of(&self, object: ObjectId) -> Option<usize> {
        let Sub::Instance { class, .. } = self.sub(object)? else { return None };
        self.classes.find(class)
    }

    /// Classes of the loaders that live as long as the program are never unloaded.
    fn find_permanent(&mut self, statics: Statics) {
        const LOADERS: [&str; 4] = [
            "jdk.internal.loader.ClassLoaders$PlatformClassLoader",
            "jdk.internal.loader.ClassLoaders$AppClassLoader",
            "sun.misc.Launcher$ExtClassLoader",
            "sun.misc.Launcher$AppClassLoader",
        ];
        let mut is_permanent_loader = AHashMap::from([(0, true)]);
        for class in 0..self.classes.list.len() {
            let Some(loader) = self.classes.get(class).map(|class| class.dump.loader) else {
                break;
            };
            let known = is_permanent_loader.get(&loader).copied();
            let is_permanent = known.unwrap_or_else(|| {
                let class = self.index.find(loader).and_then(|loader| self.class_of(loader));
                let class = class.and_then(|class| self.classes.get(class));
                class.is_some_and(|class| LOADERS.contains(&self.names.table.get(class.name)))
            });
            is_permanent_loader.insert(loader, is_permanent);
            if let Some(class) = self.classes.list.get_mut(class) {
                class.is_permanent = is_permanent && statics == Statics::Globals;
            }
        }
    }

    /// Reports whether a static field holds what the garbage collector does not count:
    /// java.lang.ref.Finalizer's list of all objects with finalizers.
    pub(super) fn is_weak_static(&self, class: &str, field: u64) -> bool {
        class == "java.lang.ref.Finalizer" && self.names.is(field, "unfinalized")
    }
}

/// References of the instances of a class.
struct Plan {
    references: Vec<Reference>,
    fact: Option<Fact>,
}

struct Reference {
    offset: usize,
    slot: u32,
    is_weak: bool,
}

/// The second pass.
struct Builder<'d, 'a> {
    dump: &'d mut Dump<'a>,
    plans: Vec<Option<Rc<Plan>>>,
    types: Vec<HeapType>,
    fields: Vec<Field>,
    /// Types of primitive arrays, by the code of their elements.
    primitive_types: [u32; 12],
    class_type: u32,
    /// Slot of a class object's first reference, and of the next class's first static.
    class_slots: (u32, u32),
    static_fields: Vec<Field>,
    bytes: Vec<u64>,
    type_of: Vec<u32>,
    edges: Edges<'static>,
    weak: Vec<(ObjectId, u32, ObjectId)>,
    fills: Vec<Fill>,
    text_uses: Vec<TextUse>,
    dangling: u64,
    damaged: u64,
    cut: u64,
}

impl<'d, 'a> Builder<'d, 'a> {
    fn new(dump: &'d mut Dump<'a>) -> Builder<'d, 'a> {
        let count = dump.index.len();
        let plans = std::iter::repeat_with(|| None).take(dump.classes.list.len()).collect();
        let mut builder = Builder {
            dump,
            plans,
            types: Vec::new(),
            fields: Vec::new(),
            primitive_types: [0; 12],
            class_type: 0,
            class_slots: (0, 0),
            static_fields: Vec::new(),
            bytes: Vec::with_capacity(count),
            type_of: Vec::with_capacity(count),
            edges: Edges::empty(),
            weak: Vec::new(),
            fills: Vec::new(),
            text_uses: Vec::new(),
            dangling: 0,
            damaged: 0,
            cut: 0,
        };
        builder.name_types();
        builder
    }

    /// A type for each class, after one for objects whose class is missing.
    fn name_types(&mut self) {
        let unknown = self.dump.names.intern("unknown class");
        self.types.push(HeapType { name: unknown, ..HeapType::default() });
        // What arrays of objects hold; a type of its own, for what it points to has the fields.
        let reference_bytes = self.dump.classes.layout.reference_bytes;
        let name = self.dump.names.intern("reference");
        let kind = TypeKind::Scalar;
        self.types.push(HeapType { name, kind, bytes: reference_bytes, ..HeapType::default() });
        const PRIMITIVES: [(usize, &str); 8] = [
            (4, "boolean[]"),
            (5, "char[]"),
            (6, "float[]"),
            (7, "double[]"),
            (8, "byte[]"),
            (9, "short[]"),
            (10, "int[]"),
            (11, "long[]"),
        ];
        for class in 0..self.dump.classes.list.len() {
            let name = self.dump.classes.get(class).map(|class| class.name).unwrap_or_default();
            let text = self.dump.names.table.get(name).to_owned();
            let found = self.types.len() as u32;
            if let Some((code, _)) = PRIMITIVES.iter().find(|known| known.1 == text)
                && let Some(slot) = self.primitive_types.get_mut(*code).filter(|slot| **slot == 0)
            {
                *slot = found;
            }
            if text == "java.lang.Class" && self.class_type == 0 {
                self.class_type = found;
                let fields = self.dump.classes.get(class).map_or(0, |class| class.fields);
                self.class_slots = (fields, fields.saturating_add(CLASS_FIELDS.len() as u32));
            }
            let is_array = text.ends_with("[]");
            let package = package_of(&text).to_owned();
            let package = self.dump.names.intern(&package);
            let (kind, bytes, element) = if is_array {
                (TypeKind::Array, reference_bytes, Some(TypeId(REFERENCE_TYPE)))
            } else {
                (TypeKind::Struct, self.dump.classes.instance_bytes(class), None)
            };
            self.types.push(HeapType { name, package, kind, bytes, fields: 0..0, element });
        }
        for (code, name) in PRIMITIVES {
            let missing = self.types.len() as u32;
            let Some(slot) = self.primitive_types.get_mut(code) else { continue };
            if *slot == 0 {
                *slot = missing;
                let name = self.dump.names.intern(name);
                self.types.push(HeapType { name, kind: TypeKind::Array, ..HeapType::default() });
            }
            let bytes = value_bytes(code as u8, 8).unwrap_or(1) as u64;
            if let Some(found) = self.types.get_mut(*slot as usize) {
                (found.bytes, found.element) = (bytes, None);
            }
        }
        if self.class_type == 0 {
            self.class_type = self.types.len() as u32;
            let name = self.dump.names.intern("java.lang.Class");
            let package = self.dump.names.intern("java.lang");
            let kind = TypeKind::Struct;
            self.types.push(HeapType { name, package, kind, ..HeapType::default() });
            self.class_slots = (0, CLASS_FIELDS.len() as u32);
        }
    }

    fn run(&mut self) {
        for number in 0..self.dump.index.len() as u32 {
            let object = ObjectId(number);
            let (type_of, bytes) = match self.dump.sub(object) {
                Some(Sub::Class(class)) => self.class(object, &class),
                Some(Sub::Instance { class, data, .. }) => self.instance(object, class, data),
                Some(Sub::ObjectArray { class, count, data, .. }) => {
                    self.object_array(class, count, data)
                }
                Some(Sub::PrimitiveArray { kind, count, .. }) => {
                    let found = self.primitive_types.get(usize::from(kind)).copied().unwrap_or(0);
                    let wide = value_bytes(kind, self.dump.id_bytes).unwrap_or(1) as u64;
                    (found, self.dump.classes.layout.array_bytes(count, wide))
                }
                _ => (0, 0),
            };
            self.type_of.push(type_of);
            self.bytes.push(bytes);
            self.edges.end_object();
        }
    }

    /// The object with an id, counting those that are missing.
    fn find(&mut self, id: u64) -> Option<ObjectId> {
        if id == 0 {
            return None;
        }
        let found = self.dump.index.find(id);
        self.dangling += u64::from(found.is_none());
        found
    }

    fn push(&mut self, slot: u32, id: u64) {
        if let Some(target) = self.find(id) {
            self.edges.push(slot, target);
        }
    }

    fn class(&mut self, object: ObjectId, dump: &ClassDump<'a>) -> (u32, u64) {
        let base = self.class_slots.0;
        let own = [dump.super_id, dump.loader, dump.signers, dump.domain];
        for (slot, id) in (base..).zip(own) {
            self.push(slot, id);
        }
        let class = self.dump.classes.find(dump.id).and_then(|class| self.dump.classes.get(class));
        let Some(class) = class else { return (self.class_type, 0) };
        let name = self.dump.names.table.get(class.name).to_owned();
        let is_held_here = !class.is_permanent;
        let class_of_classes = (self.class_type - FIRST_CLASS_TYPE) as usize;
        let class_bytes = self.dump.classes.instance_bytes(class_of_classes);
        let bytes = self.dump.classes.class_object_bytes(class, class_bytes, &self.dump.names);
        for field in subrecords::statics(dump.statics, self.dump.id_bytes) {
            if field.kind != OBJECT {
                continue;
            }
            let id = id_at(field.value, 0, self.dump.id_bytes).unwrap_or(0);
            let is_weak = self.dump.is_weak_static(&name, field.name);
            if id == 0 || !(is_held_here || is_weak) {
                continue;
            }
            let Some(target) = self.find(id) else { continue };
            let slot = self.static_slot(&name, field.name);
            if is_weak {
                self.weak.push((object, slot, target));
            } else {
                self.edges.push(slot, target);
            }
        }
        (self.class_type, bytes)
    }

    /// Static fields of all classes have slots of their own, so that java.lang.Class, the
    /// type of all class objects, can name them.
    fn static_slot(&mut self, class: &str, field: u64) -> u32 {
        let slot = self.class_slots.1;
        self.class_slots.1 = slot.saturating_add(1);
        let name = format!("{class}.{}", self.dump.names.text(field));
        let name = self.dump.names.intern(&name);
        self.static_fields.push(Field { offset: u64::from(slot), name, of: None });
        slot
    }

    fn instance(&mut self, object: ObjectId, id: u64, data: &'a [u8]) -> (u32, u64) {
        let Some(class) = self.dump.classes.find(id) else {
            self.damaged += 1;
            let layout = self.dump.classes.layout;
            return (0, layout.align(layout.header_bytes + data.len() as u64));
        };
        let id_bytes = self.dump.id_bytes;
        let expected = self.dump.classes.get(class).map_or(0, |class| class.data_bytes(id_bytes));
        let is_whole = expected <= data.len() as u64;
        self.cut += u64::from(!is_whole);
        let plan = self.plan(class, data.len(), is_whole);
        for reference in &plan.references {
            let Some(id) = id_at(data, reference.offset, id_bytes) else { continue };
            let Some(target) = self.find(id) else { continue };
            if reference.is_weak {
                self.weak.push((object, reference.slot, target));
            } else {
                self.edges.push(reference.slot, target);
            }
        }
        if let Some(fact) = plan.fact {
            self.note(object, fact, data);
        }
        let found = self.dump.classes.get(class);
        if let Some((fields, false)) = found.map(|class| (class.fields, class.is_permanent)) {
            self.push(fields, id);
        }
        (class as u32 + FIRST_CLASS_TYPE, self.dump.classes.instance_bytes(class))
    }

    fn note(&mut self, object: ObjectId, fact: Fact, data: &[u8]) {
        let (Fact::Text { array, .. } | Fact::Fill { array, .. }) = fact;
        let array = id_at(data, array, self.dump.id_bytes);
        let Some(array) = array.and_then(|id| self.dump.index.find(id)) else { return };
        match fact {
            Fact::Text { part, .. } => self.text_uses.push(TextUse::new(data, array, part)),
            Fact::Fill { kind, used, .. } => {
                let Some(Sub::ObjectArray { count, .. }) = self.dump.sub(array) else { return };
                let Some(used) = facts::number(data, used) else { return };
                let wide = self.dump.classes.layout.reference_bytes;
                self.fills.push(facts::fill(object, kind, used, count, wide));
            }
        }
    }

    fn object_array(&mut self, class: u64, count: u32, data: &'a [u8]) -> (u32, u64) {
        let id_bytes = self.dump.id_bytes;
        let mut cursor = Cursor::new(data, 0, id_bytes);
        for slot in 0..count {
            match cursor.id() {
                Some(0) => {}
                Some(id) => self.push(slot, id),
                None => break,
            }
        }
        let layout = self.dump.classes.layout;
        let bytes = layout.array_bytes(count, layout.reference_bytes);
        let Some(found) = self.dump.classes.find(class) else {
            self.damaged += 1;
            return (0, bytes);
        };
        if self.dump.classes.get(found).is_some_and(|class| !class.is_permanent) {
            self.push(CLASS_SLOT, class);
        }
        (found as u32 + FIRST_CLASS_TYPE, bytes)
    }

    /// What to read of an instance. It is kept where the data has all the class's fields,
    /// so that what is kept never exceeds the dump.
    fn plan(&mut self, class: usize, data_bytes: usize, is_whole: bool) -> Rc<Plan> {
        if let Some(Some(plan)) = self.plans.get(class) {
            return Rc::clone(plan);
        }
        let mut references = Vec::new();
        let mut fields = Vec::new();
        let Dump { classes, names, .. } = &mut *self.dump;
        classes.each_field(class, |declaring, slot, offset, field| {
            if offset >= data_bytes {
                return false;
            }
            if field.kind == OBJECT {
                let is_weak = names.is(field.name, "referent")
                    && names.table.get(declaring.name) == "java.lang.ref.Reference";
                references.push(Reference { offset, slot, is_weak });
            }
            if is_whole {
                let name = names.intern_id(field.name);
                fields.push(Field { offset: u64::from(slot), name, of: None });
            }
            true
        });
        references.sort_by_key(|reference| reference.slot);
        let fact = facts::of_class(classes, names, class).filter(|_| is_whole);
        let plan = Rc::new(Plan { references, fact });
        if is_whole && let Some(slot) = self.plans.get_mut(class) {
            *slot = Some(Rc::clone(&plan));
            self.keep_fields(class, fields);
        }
        plan
    }

    fn keep_fields(&mut self, class: usize, mut fields: Vec<Field>) {
        if class as u32 + FIRST_CLASS_TYPE == self.class_type {
            // Class objects follow with more fields.
            self.static_fields.extend(fields);
            return;
        }
        fields.sort_by_key(|field| field.offset);
        let start = self.fields.len() as u32;
        self.fields.append(&mut fields);
        if let Some(found) = self.dump.classes.get(class)
            && !found.is_permanent
        {
            let name = self.dump.names.intern("<class>");
            self.fields.push(Field { offset: u64::from(found.fields), name, of: None });
        }
        if let Some(found) = self.types.get_mut(class + FIRST_CLASS_TYPE as usize) {
            found.fields = start..self.fields.len() as u32;
        }
    }

    fn finish(mut self, graph: &mut HeapGraph<'static>) {
        for (offset, name) in (u64::from(self.class_slots.0)..).zip(CLASS_FIELDS) {
            let name = self.dump.names.intern(name);
            self.static_fields.push(Field { offset, name, of: None });
        }
        self.static_fields.sort_by_key(|field| field.offset);
        let start = self.fields.len() as u32;
        self.fields.append(&mut self.static_fields);
        if let Some(found) = self.types.get_mut(self.class_type as usize) {
            found.fields = start..self.fields.len() as u32;
        }
        let (texts, extents) = self.texts();
        graph.types = self.types;
        graph.fields = self.fields;
        let bytes = std::mem::take(&mut self.bytes).into();
        graph.objects = Objects::Listed(Listed { address: Vec::new().into(), bytes });
        graph.type_of = self.type_of.into();
        graph.edges = self.edges;
        graph.weak = self.weak;
        graph.fills = self.fills;
        graph.texts = texts;
        graph.extents = extents;
    }

    /// Fingerprints of the texts, and which arrays they use only parts of.
    fn texts(&mut self) -> (Texts<'static>, Extents<'static>) {
        let hasher = ahash::RandomState::new();
        let mut uses = std::mem::take(&mut self.text_uses);
        uses.sort_unstable();
        let (mut objects, mut lengths, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
        let mut extents = [const { Vec::new() }; 4];
        for uses in uses.chunk_by(|a, b| a.array == b.array) {
            let Some(first) = uses.first() else { continue };
            let end = uses.iter().map(|part| part.end).max().unwrap_or(0);
            let sub = self.dump.sub(ObjectId(first.array));
            let Some(Sub::PrimitiveArray { kind, count, data, .. }) = sub else { continue };
            let (low, end) = (first.low.min(count), end.min(count));
            let wide = value_bytes(kind, self.dump.id_bytes).unwrap_or(1);
            let used = data.get(low as usize * wide..end as usize * wide).unwrap_or(&[]);
            objects.push(first.array);
            lengths.push(u32::try_from(used.len()).unwrap_or(u32::MAX));
            hashes.push(hasher.hash_one(used));
            if (low, end) != (0, count) {
                let base = self.dump.classes.layout.array_base(wide as u64);
                let offset = |element: u32| {
                    u32::try_from(base + u64::from(element) * wide as u64).unwrap_or(u32::MAX)
                };
                let values = [first.array, offset(low), offset(end), offset(count)];
                extents.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
            }
        }
        let [object, low, used, capacity] = extents.map(std::borrow::Cow::Owned);
        let texts = Texts { object: objects.into(), bytes: lengths.into(), hash: hashes.into() };
        (texts, Extents { object, low, used, capacity })
    }
}
