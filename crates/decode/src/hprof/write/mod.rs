//! An object graph as a Java heap dump, for VisualVM, Eclipse MAT and their like.
//!
//! Ids of objects are their addresses; each type becomes a class for each size its objects
//! have, whose fields are the slots that hold pointers. What holds objects becomes a root:
//! variables are static fields of `go.globals`, finalizers and the runtime those of
//! `go.finalizers`, `go.runtime`; goroutines are threads, their variables locals of frames.
//! Beside the graph it needs memory for names and classes only.
//!
//! # Sizes
//! Readers take or recompute sizes as Java's, with headers of 16 bytes and references of 8:
//! * Up to 4,096 bytes an object is an instance. Its class gives the exact size, which newer
//!   readers take. Those that add up fields find the greater of the size and 16 + 8 for each
//!   field that holds pointers in any object of the class, as a multiple of 8.
//! * A larger object is an array of references, of `bytes / 8 - 3` elements, and exact. If
//!   one of its last four words holds a pointer there is no room for it: then the last
//!   element is a companion, an array with the pointers from there on, of 24 + 8 for each
//!   of them, and the object retains so much more.
//! * A text of more than 4,096 bytes is an array of bytes, and exact.
//!
//! Pointers that keep nothing alive are left out, for Java would take them for others.
//! Texts are not written, only zeros of their length.

mod classes;
mod names;
mod records;
mod roots;

use std::io::{self, Write};

use model::heap::{HeapGraph, ObjectId, TypeKind};

use classes::{Classes, Shape};
use records::Output;

/// Larger objects are written as arrays.
const INSTANCE_BYTES_MAX: u64 = 4096;

/// The class of companions, as readers show it.
pub(super) const COMPANION_CLASS: &str = "go.companion[]";

/// Header and length of an array, in words.
const ARRAY_WORDS: u64 = 3;

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Objects of the graph.
    pub objects: u64,
    /// Arrays beside them that hold the last pointers of full objects.
    pub companions: u64,
    /// Objects too large for the format, which are shown smaller.
    pub clipped: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Writes a graph as a heap dump, `JAVA PROFILE 1.0.2` with ids of 8 bytes.
///
/// # Errors
/// When `output` cannot be written to.
pub fn write(graph: &HeapGraph<'_>, output: &mut impl Write) -> io::Result<Written> {
    let classes = Classes::of(graph);
    let mut output = Output::new(output);
    output.header(graph.source.time.map_or(0, |time| time.0.max(0) as u64))?;
    let mut writer = Writer { graph, classes, written: Written::default() };
    writer.tables(&mut output)?;
    writer.roots(&mut output)?;
    for object in 0..graph.len() as u32 {
        writer.object(ObjectId(object), &mut output)?;
    }
    writer.written.bytes = output.finish()?;
    Ok(writer.written)
}

struct Writer<'g, 'a> {
    graph: &'g HeapGraph<'a>,
    classes: Classes,
    written: Written,
}

impl Writer<'_, '_> {
    fn address(&self, object: ObjectId) -> u64 {
        self.graph.objects.address(object).map_or(0, |address| address.0)
    }

    fn object(&mut self, object: ObjectId, output: &mut Output<impl Write>) -> io::Result<()> {
        let id = self.address(object);
        if id == 0 {
            return Ok(());
        }
        self.written.objects += 1;
        let type_of = self.graph.type_of(object);
        let bytes = self.graph.objects.bytes(object);
        match self.classes.shape(self.graph, type_of, bytes) {
            Shape::Instance(class) => self.instance(id, class, object, output),
            Shape::Array(class) => self.array(id, class, object, bytes, output),
            Shape::Text => {
                let count = bytes - 8 * ARRAY_WORDS;
                let count = self.clip(count, 1);
                output.begin(18 + count)?;
                output.put(&[0x23])?;
                output.u64(id)?;
                output.u32(0)?;
                output.u32(count as u32)?;
                output.put(&[crate::hprof::subrecords::BYTE])?;
                output.zeros(count)
            }
        }
    }

    /// At most so many elements that a record can hold them.
    fn clip(&mut self, count: u64, element_bytes: u64) -> u64 {
        let most = (u64::from(u32::MAX) - 1024) / element_bytes;
        self.written.clipped += u64::from(count > most);
        count.min(most)
    }

    fn instance(
        &self,
        id: u64,
        class: usize,
        object: ObjectId,
        output: &mut Output<impl Write>,
    ) -> io::Result<()> {
        let Some(class) = self.classes.instances.get(class) else { return Ok(()) };
        let data_bytes = class.data_bytes();
        output.begin(25 + data_bytes)?;
        output.put(&[0x21])?;
        output.u64(id)?;
        output.u32(0)?;
        output.u64(class.id)?;
        output.u32(data_bytes as u32)?;
        let mut edges = self.graph.edges.of(object).peekable();
        for slot in class.slots() {
            // Edges of a slot that has several: the first counts.
            while edges.next_if(|edge| edge.0 < slot).is_some() {}
            let target = edges.next_if(|edge| edge.0 == slot);
            output.u64(target.map_or(0, |edge| self.address(edge.1)))?;
        }
        output.zeros(data_bytes - 8 * class.slots().count() as u64)
    }

    fn array(
        &mut self,
        id: u64,
        class: u64,
        object: ObjectId,
        bytes: u64,
        output: &mut Output<impl Write>,
    ) -> io::Result<()> {
        let count = self.clip(bytes / 8 - ARRAY_WORDS, 8);
        let mut beyond = Vec::new();
        let edges = self.graph.edges.of(object);
        if edges.last().is_some_and(|edge| u64::from(edge.0) >= count) {
            let edges = self.graph.edges.of(object);
            beyond.extend(edges.filter(|edge| u64::from(edge.0) + 1 >= count).map(|edge| edge.1));
        }
        let companion = if beyond.is_empty() { 0 } else { self.classes.companion(beyond.len()) };
        output.begin(25 + 8 * count)?;
        array_head(output, id, count, class)?;
        let mut next = 0;
        for (slot, target) in self.graph.edges.of(object) {
            let slot = u64::from(slot);
            if slot < next || slot >= count || (companion != 0 && slot + 1 >= count) {
                continue;
            }
            output.zeros(8 * (slot - next))?;
            output.u64(self.address(target))?;
            next = slot + 1;
        }
        if companion == 0 {
            return output.zeros(8 * (count - next));
        }
        output.zeros(8 * (count - 1 - next))?;
        output.u64(companion)?;
        self.written.companions += 1;
        output.begin(25 + 8 * beyond.len() as u64)?;
        array_head(output, companion, beyond.len() as u64, self.classes.companion_class)?;
        for target in beyond {
            output.u64(self.address(target))?;
        }
        Ok(())
    }
}

fn array_head(output: &mut Output<impl Write>, id: u64, count: u64, class: u64) -> io::Result<()> {
    output.put(&[0x22])?;
    output.u64(id)?;
    output.u32(0)?;
    output.u32(count as u32)?;
    output.u64(class)
}

/// Whether objects of a kind are written as arrays of bytes where they are large.
fn is_text(kind: TypeKind) -> bool {
    kind == TypeKind::Text
}
