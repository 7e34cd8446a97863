//! Classes: their names, superclasses and fields.

use ahash::AHashMap;
use model::StrId;

use super::layout::{self, Layout};
use super::names::{Names, class_name};
use super::records::Records;
use super::subrecords::{self, ClassDump, FieldDump, OBJECT, value_bytes};
use crate::places::Index;

/// Deeper hierarchies are cut; Java's are seldom deeper than 20.
const DEPTH_MAX: usize = 1000;

/// A class.
pub(super) struct Class<'a> {
    pub(super) dump: ClassDump<'a>,
    /// As Java writes it.
    pub(super) name: StrId,
    /// Index of the superclass.
    pub(super) parent: Option<usize>,
    /// Fields of an instance, those of superclasses included.
    pub(super) fields: u32,
    /// Those of them that are references.
    references: u64,
    /// Bytes of the others.
    primitive_bytes: u64,
    /// The class can never be unloaded.
    pub(super) is_permanent: bool,
}

impl Class<'_> {
    /// Bytes of an instance's data in the dump.
    pub(super) fn data_bytes(&self, id_bytes: usize) -> u64 {
        self.primitive_bytes.saturating_add(self.references.saturating_mul(id_bytes as u64))
    }
}

/// All classes of a dump.
pub(super) struct Classes<'a> {
    pub(super) list: Vec<Class<'a>>,
    by_id: AHashMap<u64, u32>,
    pub(super) id_bytes: usize,
    /// All classes, each after its superclass.
    pub(super) parents_first: Vec<u32>,
    pub(super) layout: Layout,
    /// Bytes of the instances of each class.
    instance_bytes: Vec<u64>,
}

impl<'a> Classes<'a> {
    pub(super) fn new(
        dumps: &[ClassDump<'a>],
        records: &Records<'_>,
        names: &mut Names<'_>,
    ) -> Classes<'a> {
        let mut by_id = AHashMap::with_capacity(dumps.len());
        let mut list = Vec::with_capacity(dumps.len());
        for dump in dumps {
            if by_id.contains_key(&dump.id) {
                continue;
            }
            by_id.insert(dump.id, list.len() as u32);
            let name = records.class_names.get(&dump.id).copied().unwrap_or(0);
            let name = names.intern(&class_name(&names.text(name)));
            list.push(Class {
                dump: *dump,
                name,
                parent: None,
                fields: 0,
                references: 0,
                primitive_bytes: 0,
                is_permanent: dump.loader == 0,
            });
        }
        let mut classes = Classes {
            list,
            by_id,
            id_bytes: records.id_bytes,
            parents_first: Vec::new(),
            layout: Layout::WIDE,
            instance_bytes: Vec::new(),
        };
        classes.link();
        classes
    }

    pub(super) fn get(&self, class: usize) -> Option<&Class<'a>> {
        self.list.get(class)
    }

    pub(super) fn find(&self, id: u64) -> Option<usize> {
        self.by_id.get(&id).map(|index| *index as usize)
    }

    /// Superclasses first: counts of fields add up. A cycle is cut where it closes.
    fn link(&mut self) {
        let mut is_done = vec![false; self.list.len()];
        let mut chain = Vec::new();
        for class in 0..self.list.len() {
            chain.clear();
            let mut next = Some(class);
            while let Some(at) = next {
                if is_done.get(at) != Some(&false) || chain.len() == DEPTH_MAX {
                    break;
                }
                if let Some(done) = is_done.get_mut(at) {
                    *done = true;
                }
                chain.push(at);
                next = self.get(at).and_then(|class| self.find(class.dump.super_id));
            }
            // Where the chain met itself or is cut, its last class has no superclass.
            let is_whole = chain.len() < DEPTH_MAX;
            let mut parent = next.filter(|at| is_whole && !chain.contains(at));
            for at in chain.iter().rev() {
                self.link_one(*at, parent);
                self.parents_first.push(*at as u32);
                parent = Some(*at);
            }
        }
    }

    fn link_one(&mut self, at: usize, parent: Option<usize>) {
        let from = parent.and_then(|parent| self.get(parent));
        let from = from.map_or((0, 0, 0), |p| (p.fields, p.references, p.primitive_bytes));
        let (mut fields, mut references, mut primitive_bytes) = from;
        let id_bytes = self.id_bytes;
        let Some(class) = self.list.get_mut(at) else { return };
        for field in subrecords::fields(class.dump.fields, id_bytes) {
            fields = fields.saturating_add(1);
            match field.kind {
                OBJECT => references += 1,
                kind => primitive_bytes += value_bytes(kind, id_bytes).unwrap_or(0) as u64,
            }
        }
        class.parent = parent;
        (class.fields, class.references, class.primitive_bytes) =
            (fields, references, primitive_bytes);
    }

    /// Calls `visit` with each field of an instance in the order of its data, which begins
    /// with those of its own class: the class that declares it, its slot (superclasses
    /// first), its offset in the data and the field. Ends where `visit` says no.
    pub(super) fn each_field(
        &self,
        class: usize,
        mut visit: impl FnMut(&Class<'a>, u32, usize, FieldDump<'a>) -> bool,
    ) {
        let mut offset = 0;
        let mut next = self.get(class);
        for _ in 0..DEPTH_MAX {
            let Some(class) = next else { return };
            next = class.parent.and_then(|parent| self.get(parent));
            let mut slot = next.map_or(0, |parent| parent.fields);
            for field in subrecords::fields(class.dump.fields, self.id_bytes) {
                if !visit(class, slot, offset, field) {
                    return;
                }
                slot = slot.saturating_add(1);
                offset += value_bytes(field.kind, self.id_bytes).unwrap_or(1);
            }
        }
    }

    /// Bytes of an instance.
    pub(super) fn instance_bytes(&self, class: usize) -> u64 {
        self.instance_bytes.get(class).copied().unwrap_or(self.layout.header_bytes)
    }

    /// Bytes of the object of a class: those of java.lang.Class, and the static fields.
    pub(super) fn class_object_bytes(
        &self,
        class: &Class<'_>,
        class_bytes: u64,
        names: &Names<'_>,
    ) -> u64 {
        let mut bytes = class_bytes;
        for field in subrecords::statics(class.dump.statics, self.id_bytes) {
            // HotSpot lists what classes hold elsewhere, too: `<resolved_references>`.
            if names.raw(field.name).first() == Some(&b'<') {
                continue;
            }
            bytes += match field.kind {
                OBJECT => self.layout.reference_bytes,
                kind => value_bytes(kind, self.id_bytes).unwrap_or(0) as u64,
            };
        }
        self.layout.align(bytes)
    }

    /// Infers the layout from classes and addresses.
    pub(super) fn infer_layout(&mut self, bytes: &[u8], index: &Index, names: &Names<'_>) {
        (self.layout, self.instance_bytes) = layout::infer(bytes, self, index, names);
    }

    /// Whether no class that gives the size of its instances is too small for headers and
    /// references of these sizes.
    pub(super) fn fit(&self, header: u64, reference: u64) -> bool {
        self.list.iter().filter(|class| class.dump.instance_bytes > 0).all(|class| {
            let fields = class.references.saturating_mul(reference);
            let least = header.saturating_add(class.primitive_bytes).saturating_add(fields);
            least <= u64::from(class.dump.instance_bytes)
        })
    }
}
