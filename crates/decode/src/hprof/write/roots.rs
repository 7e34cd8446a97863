//! Texts, classes, stacks and roots: all that comes before the objects.

use std::io::{self, Write};

use ahash::AHashMap;
use model::heap::{HeapGoroutine, Holder, HolderId, HolderKind, RootPointer};

use super::Writer;
use super::names::slot_name;
use super::records::Output;
use crate::hprof::subrecords::{BYTE, INT, LONG, OBJECT};

/// Static fields a class can have, with some room.
const STATICS_MAX: usize = 60_000;

/// Name, instance size, and fields with their types.
type JavaClass = (&'static str, u32, &'static [(&'static str, u8)]);

/// Classes that readers insist on, with their instance sizes and fields.
const JAVA: [JavaClass; 20] = [
    ("java/lang/Object", 16, &[]),
    ("java/lang/Class", 16, &[]),
    ("java/lang/ClassLoader", 16, &[]),
    ("java/lang/String", 32, &[("value", OBJECT), ("hash", INT), ("coder", BYTE)]),
    ("java/lang/Thread", 32, &[("name", OBJECT), ("tid", LONG)]),
    ("java/lang/ref/Reference", 24, &[("referent", OBJECT)]),
    ("java/lang/ref/WeakReference", 24, &[]),
    ("java/lang/ref/SoftReference", 24, &[]),
    ("java/lang/ref/FinalReference", 24, &[]),
    ("java/lang/ref/PhantomReference", 24, &[]),
    ("[Z", 0, &[]),
    ("[C", 0, &[]),
    ("[F", 0, &[]),
    ("[D", 0, &[]),
    ("[B", 0, &[]),
    ("[S", 0, &[]),
    ("[I", 0, &[]),
    ("[J", 0, &[]),
    ("[Ljava/lang/Object;", 0, &[]),
    // All frames are of this class, for a function's name has its package.
    ("go", 16, &[]),
];
const STRING: usize = 3;
const THREAD: usize = 4;
const REFERENCE: usize = 5;

/// A class to be written.
struct ClassRecord {
    id: u64,
    name: u64,
    super_id: u64,
    instance_bytes: u32,
    /// Names and values.
    statics: Vec<(u64, u64)>,
    /// Names and types.
    fields: Vec<(u64, u8)>,
}

/// Texts get ids as they are written.
#[derive(Default)]
struct Texts {
    ids: AHashMap<String, u64>,
    fresh: Vec<(u64, String)>,
}

impl Texts {
    fn id(&mut self, text: &str) -> u64 {
        if let Some(id) = self.ids.get(text) {
            return *id;
        }
        let id = self.ids.len() as u64 + 1;
        self.ids.insert(text.to_owned(), id);
        self.fresh.push((id, text.to_owned()));
        id
    }

    fn write(&mut self, output: &mut Output<impl Write>) -> io::Result<()> {
        for (id, text) in self.fresh.drain(..) {
            output.record(0x01, &[&id.to_be_bytes(), text.as_bytes()])?;
        }
        Ok(())
    }
}

/// The class whose static fields the pointers of a kind of holder become.
fn statics_class(kind: HolderKind) -> &'static str {
    match kind {
        HolderKind::Global => "go.globals",
        HolderKind::Finalizer => "go.finalizers",
        HolderKind::Cleanup => "go.cleanups",
        HolderKind::WeakHandle => "go.weakhandles",
        HolderKind::Native => "go.native",
        _ => "go.runtime",
    }
}

impl Writer<'_, '_> {
    /// Everything but the heap, and the classes and class roots in it.
    pub(super) fn tables(&mut self, output: &mut Output<impl Write>) -> io::Result<()> {
        let mut texts = Texts::default();
        let mut classes = self.java_classes(&mut texts);
        let object = classes.first().map_or(0, |class| class.id);
        self.object_classes(&mut texts, object, &mut classes);
        self.holder_classes(&mut texts, object, &mut classes);
        texts.write(output)?;
        for (serial, class) in (1_u32..).zip(&classes) {
            let (id, name) = (class.id.to_be_bytes(), class.name.to_be_bytes());
            output.record(0x02, &[&serial.to_be_bytes(), &id, &[0; 4], &name])?;
        }
        self.stacks(&mut texts, output)?;
        for class in &classes {
            class.write(output)?;
        }
        for class in &classes {
            output.begin(9)?;
            output.put(&[0x05])?;
            output.u64(class.id)?;
        }
        let ids: Vec<u64> = classes.iter().map(|class| class.id).collect();
        self.threads(&ids, output)
    }

    fn java_classes(&mut self, texts: &mut Texts) -> Vec<ClassRecord> {
        let mut classes: Vec<ClassRecord> = Vec::new();
        for (at, (name, instance_bytes, fields)) in JAVA.iter().enumerate() {
            let parent = if (REFERENCE + 1..REFERENCE + 5).contains(&at) { REFERENCE } else { 0 };
            classes.push(ClassRecord {
                id: self.classes.new_id(0),
                name: texts.id(name),
                super_id: classes.get(parent).map_or(0, |class| class.id),
                instance_bytes: *instance_bytes,
                statics: Vec::new(),
                fields: fields.iter().map(|(name, kind)| (texts.id(name), *kind)).collect(),
            });
        }
        classes
    }

    fn object_classes(&self, texts: &mut Texts, object: u64, classes: &mut Vec<ClassRecord>) {
        for class in &self.classes.instances {
            let named = |slot| (slot_name(self.graph, class.of, slot), OBJECT);
            let mut fields: Vec<(u64, u8)> =
                class.slots().map(named).map(|(name, kind)| (texts.id(&name), kind)).collect();
            let padding = class.data_bytes() - 8 * fields.len() as u64;
            let name = texts.id("_");
            fields.extend(std::iter::repeat_n((name, LONG), padding as usize / 8));
            fields.extend(std::iter::repeat_n((name, BYTE), padding as usize % 8));
            classes.push(ClassRecord {
                id: class.id,
                name: texts.id(&class.name),
                super_id: object,
                instance_bytes: class.bytes as u32,
                statics: Vec::new(),
                fields,
            });
        }
        let companion = (self.classes.companion_class, "[Lgo.companion;".to_owned());
        for (id, name) in self.classes.arrays.values().chain([&companion]) {
            classes.push(ClassRecord {
                id: *id,
                name: texts.id(name),
                super_id: object,
                instance_bytes: 0,
                statics: Vec::new(),
                fields: Vec::new(),
            });
        }
    }

    /// The thread a holder belongs to: its serial number.
    fn thread_of(&self, holder: &Holder) -> Option<u32> {
        let is_of_thread =
            matches!(holder.kind, HolderKind::Goroutine | HolderKind::Local | HolderKind::Register);
        holder.goroutine.filter(|_| is_of_thread || holder.parent.is_some()).map(|at| at + 1)
    }

    /// Holders outside goroutines, as static fields.
    fn holder_classes(&mut self, texts: &mut Texts, object: u64, classes: &mut Vec<ClassRecord>) {
        let mut open: AHashMap<&str, usize> = AHashMap::new();
        for pointer in &self.graph.root_pointers {
            let Some(holder) = self.graph.holders.get(pointer.holder.0 as usize) else { continue };
            if self.thread_of(holder).is_some() {
                continue;
            }
            let name = texts.id(&self.static_name(holder, pointer));
            let value = self.address(pointer.target);
            let class_name = statics_class(holder.kind);
            let at = open.get(class_name).copied().filter(|at| {
                classes.get(*at).is_some_and(|class| class.statics.len() < STATICS_MAX)
            });
            let at = at.unwrap_or_else(|| {
                classes.push(ClassRecord {
                    id: self.classes.new_id(0),
                    name: texts.id(class_name),
                    super_id: object,
                    instance_bytes: 16,
                    statics: Vec::new(),
                    fields: Vec::new(),
                });
                classes.len() - 1
            });
            open.insert(class_name, at);
            if let Some(class) = classes.get_mut(at) {
                class.statics.push((name, value));
            }
        }
    }

    fn static_name(&self, holder: &Holder, pointer: &RootPointer) -> String {
        let name = self.graph.strings.get(holder.name);
        match holder.of {
            Some(of) => {
                let field = slot_name(self.graph, of, pointer.slot);
                if field.starts_with('+') && pointer.slot == 0 {
                    return name.to_owned();
                }
                let joint = if field.starts_with(['[', '+']) { "" } else { "." };
                format!("{name}{joint}{field}")
            }
            None if pointer.slot == 0 => name.to_owned(),
            None => {
                format!("{name}+{:#x}", u64::from(pointer.slot) * u64::from(self.graph.slot_bytes))
            }
        }
    }

    /// Frames of all stacks, and a trace a goroutine.
    fn stacks(&self, texts: &mut Texts, output: &mut Output<impl Write>) -> io::Result<()> {
        let mut first = Vec::new();
        let mut next = 1_u64;
        for stack in &self.graph.stacks {
            first.push(next);
            for frame in stack {
                let (method, source) = (texts.id(&frame.function), texts.id(&frame.file));
                let signature = texts.id("");
                texts.write(output)?;
                let parts = [next, method, signature, source].map(u64::to_be_bytes);
                let [id, method, signature, source] = &parts;
                let line = frame.line.to_be_bytes();
                let class = (JAVA.len() as u32).to_be_bytes();
                output.record(0x04, &[id, method, signature, source, &class, &line])?;
                next += 1;
            }
        }
        for (serial, goroutine) in (1_u32..).zip(&self.graph.goroutines) {
            let stack = goroutine.stack.map_or(usize::MAX, |stack| stack as usize);
            let count = self.graph.stacks.get(stack).map_or(0, |stack| stack.len() as u64);
            let start = first.get(stack).copied().unwrap_or(0);
            let frames: Vec<u8> = (start..start + count).flat_map(u64::to_be_bytes).collect();
            let (serial, count) = (serial.to_be_bytes(), (count as u32).to_be_bytes());
            output.record(0x05, &[&serial, &serial, &count, &frames])?;
        }
        Ok(())
    }

    /// An object of java.lang.Thread for each goroutine, with its name.
    fn threads(&mut self, ids: &[u64], output: &mut Output<impl Write>) -> io::Result<()> {
        let class = |at: usize| ids.get(at).copied().unwrap_or(0);
        let names = self.goroutine_names();
        for (serial, (goroutine, name)) in (1_u32..).zip(self.graph.goroutines.iter().zip(names)) {
            let [thread, string, array] = [(); 3].map(|()| self.classes.new_id(name.len()));
            output.begin(17)?;
            output.put(&[0x08])?;
            output.u64(thread)?;
            output.u32(serial)?;
            output.u32(serial)?;
            instance(output, thread, class(THREAD), 16)?;
            output.u64(string)?;
            output.u64(goroutine.id)?;
            instance(output, string, class(STRING), 13)?;
            output.u64(array)?;
            output.put(&[0; 5])?;
            output.begin(18 + name.len() as u64)?;
            output.put(&[0x23])?;
            output.u64(array)?;
            output.u32(0)?;
            output.u32(name.len() as u32)?;
            output.put(&[BYTE])?;
            output.put(name.as_bytes())?;
        }
        Ok(())
    }

    /// `goroutine 17 [chan receive]`.
    fn goroutine_names(&self) -> Vec<String> {
        let state = |goroutine: &HeapGoroutine| match goroutine.wait_reason.as_str() {
            "" => goroutine.state.clone(),
            reason => reason.to_owned(),
        };
        let name = |goroutine: &HeapGoroutine| match state(goroutine).as_str() {
            "" => format!("goroutine {}", goroutine.id),
            state => format!("goroutine {} [{state}]", goroutine.id),
        };
        let mut names: Vec<String> = self.graph.goroutines.iter().map(name).collect();
        // A thread of another runtime has a name of its own.
        for holder in self.graph.holders.iter().filter(|h| h.kind == HolderKind::Goroutine) {
            let name = self.graph.strings.get(holder.name);
            if let Some(of) = holder.goroutine.and_then(|at| names.get_mut(at as usize))
                && let Some(name) = name.strip_prefix("thread ")
            {
                name.clone_into(of);
            }
        }
        for name in &mut names {
            // Texts are written as Latin-1.
            *name = name.chars().map(|sign| if sign.is_ascii() { sign } else { '?' }).collect();
        }
        names
    }

    /// What goroutines hold: locals of frames.
    pub(super) fn roots(&mut self, output: &mut Output<impl Write>) -> io::Result<()> {
        let mut known: Option<(HolderId, Option<u32>, u32)> = None;
        for pointer in &self.graph.root_pointers {
            let (thread, frame) = match known {
                Some((holder, thread, frame)) if holder == pointer.holder => (thread, frame),
                _ => {
                    let holder = self.graph.holders.get(pointer.holder.0 as usize);
                    let thread = holder.and_then(|holder| self.thread_of(holder));
                    let frame = holder.and_then(|holder| self.frame_of(holder));
                    let found = (thread, frame.unwrap_or(u32::MAX));
                    known = Some((pointer.holder, found.0, found.1));
                    found
                }
            };
            let Some(thread) = thread else { continue };
            output.begin(17)?;
            output.put(&[0x03])?;
            output.u64(self.address(pointer.target))?;
            output.u32(thread)?;
            output.u32(frame)?;
        }
        Ok(())
    }

    /// The frame a variable is in: the first of its function in the goroutine's stack.
    fn frame_of(&self, holder: &Holder) -> Option<u32> {
        let place = self.graph.strings.get(holder.place);
        let function = place.split_once(" (").map_or(place, |parts| parts.0);
        let goroutine = self.graph.goroutines.get(holder.goroutine? as usize)?;
        let stack = self.graph.stacks.get(goroutine.stack? as usize)?;
        let at = stack.iter().position(|frame| frame.function == function)?;
        u32::try_from(at).ok()
    }
}

fn instance(
    output: &mut Output<impl Write>,
    id: u64,
    class: u64,
    data_bytes: u32,
) -> io::Result<()> {
    output.begin(25 + u64::from(data_bytes))?;
    output.put(&[0x21])?;
    output.u64(id)?;
    output.u32(0)?;
    output.u64(class)?;
    output.u32(data_bytes)
}

impl ClassRecord {
    fn write(&self, output: &mut Output<impl Write>) -> io::Result<()> {
        let (statics, fields) = (self.statics.len(), self.fields.len());
        output
            .begin(1 + 8 + 4 + 6 * 8 + 4 + 2 + 2 + 17 * statics as u64 + 2 + 9 * fields as u64)?;
        output.put(&[0x20])?;
        output.u64(self.id)?;
        output.u32(0)?;
        output.u64(self.super_id)?;
        output.zeros(5 * 8)?;
        output.u32(self.instance_bytes)?;
        output.u16(0)?;
        output.u16(statics as u16)?;
        for (name, value) in &self.statics {
            output.u64(*name)?;
            output.put(&[OBJECT])?;
            output.u64(*value)?;
        }
        output.u16(fields as u16)?;
        for (name, kind) in &self.fields {
            output.u64(*name)?;
            output.put(&[*kind])?;
        }
        Ok(())
    }
}
