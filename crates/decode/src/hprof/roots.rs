//! What holds objects: static fields, threads and their frames, native code, the virtual
//! machine.

use ahash::AHashMap;
use model::Frame;
use model::heap::{HeapGoroutine, HeapGraph, Holder, HolderId, HolderKind, ObjectId, RootPointer};
use model::strings::StrId;

use super::cursor::{Cursor, id_at};
use super::graph::Dump;
use super::names::class_name;
use super::records::Records;
use super::subrecords::{self, CHAR, OBJECT, Root, RootKind, Sub};
use super::{Options, Statics};

/// Adds the holders of a dump and says how many roots it does not hold.
pub(super) fn add(
    dump: &mut Dump<'_>,
    records: &Records<'_>,
    mut roots: Vec<Root>,
    options: &Options,
    graph: &mut HeapGraph<'static>,
) -> u64 {
    let has_system_classes = roots.iter().any(|root| root.kind == RootKind::SystemClass);
    // Roots of one kind, one thread and one frame are pointers of one holder.
    roots.sort_by_key(|root| {
        let is_of_thread = root.kind >= RootKind::Thread;
        let frame = if root.kind == RootKind::Thread { 0 } else { root.frame };
        (is_of_thread, root.thread, root.kind, frame)
    });
    let mut adder = Adder {
        dump,
        records,
        graph,
        threads: AHashMap::new(),
        stacks: AHashMap::new(),
        dangling: 0,
    };
    if options.statics == Statics::Globals {
        adder.statics();
    }
    adder.system_classes(options.statics == Statics::Globals || !has_system_classes);
    for roots in roots.chunk_by(|a, b| {
        let same = (a.kind, a.thread) == (b.kind, b.thread);
        same && (a.frame == b.frame || a.kind == RootKind::Thread)
    }) {
        adder.holder(roots);
    }
    adder.dangling
}

struct Adder<'d, 'a, 'r> {
    dump: &'d mut Dump<'a>,
    records: &'d Records<'r>,
    graph: &'d mut HeapGraph<'static>,
    /// Holder and goroutine of each thread, by its serial number.
    threads: AHashMap<u32, (HolderId, u32)>,
    /// Stacks in the graph, by the serial number of the trace.
    stacks: AHashMap<u32, u32>,
    dangling: u64,
}

impl Adder<'_, '_, '_> {
    fn push(&mut self, kind: HolderKind, name: StrId) -> HolderId {
        let holder = Holder {
            kind,
            name,
            place: StrId::default(),
            parent: None,
            goroutine: None,
            of: None,
            is_conservative: false,
        };
        self.graph.holders.push(holder);
        HolderId(self.graph.holders.len() as u32 - 1)
    }

    fn point(&mut self, holder: HolderId, slot: u32, target: ObjectId) {
        self.graph.root_pointers.push(RootPointer { holder, slot, target });
    }

    /// A holder for each static field of the classes that cannot be unloaded.
    fn statics(&mut self) {
        let id_bytes = self.dump.id_bytes;
        for class in 0..self.dump.classes.list.len() {
            let Some(found) = self.dump.classes.get(class).filter(|c| c.is_permanent) else {
                continue;
            };
            let class_name = self.dump.names.table.get(found.name).to_owned();
            for field in subrecords::statics(found.dump.statics, id_bytes) {
                if field.kind != OBJECT || self.dump.is_weak_static(&class_name, field.name) {
                    continue;
                }
                let id = id_at(field.value, 0, id_bytes).unwrap_or(0);
                let Some(target) = self.dump.index.find(id) else {
                    self.dangling += u64::from(id != 0);
                    continue;
                };
                let name = format!("{class_name}.{}", self.dump.names.text(field.name));
                let name = self.dump.names.intern(&name);
                let holder = self.push(HolderKind::Global, name);
                self.point(holder, 0, target);
            }
        }
    }

    /// The class objects of classes that cannot be unloaded.
    fn system_classes(&mut self, is_needed: bool) {
        if !is_needed {
            return;
        }
        let is_root =
            |class: &&super::classes::Class<'_>| class.is_permanent || class.dump.loader == 0;
        let ids: Vec<u64> =
            self.dump.classes.list.iter().filter(is_root).map(|class| class.dump.id).collect();
        let name = self.dump.names.intern("classes");
        let holder = self.push(HolderKind::Runtime, name);
        for (slot, id) in (0..).zip(ids) {
            if let Some(target) = self.dump.index.find(id) {
                self.point(holder, slot, target);
            }
        }
    }

    /// The holder of roots of one kind, thread and frame.
    fn holder(&mut self, roots: &[Root]) {
        let Some(first) = roots.first() else { return };
        let (kind, name) = match first.kind {
            RootKind::Thread => return self.thread(roots),
            RootKind::SystemClass => (HolderKind::Runtime, "system classes"),
            RootKind::Unknown => (HolderKind::Runtime, "unknown"),
            RootKind::JniGlobal => (HolderKind::Native, "JNI global"),
            RootKind::Monitor => (HolderKind::Runtime, "monitors in use"),
            RootKind::InternedString => (HolderKind::Runtime, "interned strings"),
            RootKind::Finalizing => (HolderKind::Finalizer, "finalizing"),
            RootKind::Debugger => (HolderKind::Runtime, "debugger"),
            RootKind::ReferenceCleanup => (HolderKind::Cleanup, "reference cleanup"),
            RootKind::VmInternal => (HolderKind::Runtime, "virtual machine"),
            RootKind::JavaFrame => (HolderKind::Local, "local"),
            RootKind::JniLocal => (HolderKind::Native, "JNI local"),
            RootKind::NativeStack => (HolderKind::Native, "native stack"),
            RootKind::ThreadBlock => (HolderKind::Local, "thread block"),
            RootKind::JniMonitor => (HolderKind::Native, "JNI monitor"),
        };
        let name = self.dump.names.intern(name);
        let place = self.place(first);
        let id = self.push(kind, name);
        let thread = self.threads.get(&first.thread).copied();
        if let Some(holder) = self.graph.holders.last_mut()
            && first.kind > RootKind::Thread
        {
            holder.place = place;
            holder.parent = thread.map(|thread| thread.0);
            holder.goroutine = thread.map(|thread| thread.1);
        }
        self.targets(id, roots);
    }

    fn targets(&mut self, holder: HolderId, roots: &[Root]) {
        for (slot, root) in (0..).zip(roots) {
            match self.dump.index.find(root.id) {
                Some(target) => self.point(holder, slot, target),
                None => self.dangling += u64::from(root.id != 0),
            }
        }
    }

    /// Where a frame's holder is: `Main.run (Main.java:42)`.
    fn place(&mut self, root: &Root) -> StrId {
        let frame = self.threads.get(&root.thread).and_then(|thread| {
            let thread = self.graph.goroutines.get(thread.1 as usize)?;
            let stack = self.graph.stacks.get(thread.stack? as usize)?;
            stack.get(root.frame as usize)
        });
        let Some(frame) = frame.filter(|_| root.kind > RootKind::Thread) else {
            return StrId::default();
        };
        let place = match (frame.file.as_str(), frame.line) {
            ("", _) => frame.function.clone(),
            (file, 0) => format!("{} ({file})", frame.function),
            (file, line) => format!("{} ({file}:{line})", frame.function),
        };
        self.dump.names.intern(&place)
    }

    fn thread(&mut self, roots: &[Root]) {
        let Some(root) = roots.first() else { return };
        let object = self.dump.index.find(root.id);
        let name = object.and_then(|thread| thread_name(self.dump, thread));
        let name = name.or_else(|| {
            let name = self.records.thread_names.get(&root.thread)?;
            Some(self.dump.names.text(*name).into_owned())
        });
        let name = name.unwrap_or_else(|| root.thread.to_string());
        let stack = self.stack(root.frame);
        let number = |name| object.and_then(|thread| number(self.dump, thread, name));
        let status = number("threadStatus").or_else(|| {
            let holder = self.dump.pointee(object?, "holder")?;
            self::number(self.dump, holder, "threadStatus")
        });
        let (state, wait_reason) = status.map_or(("", ""), words);
        self.graph.goroutines.push(HeapGoroutine {
            id: number("tid").unwrap_or(u64::from(root.thread)),
            state: state.to_owned(),
            wait_reason: wait_reason.to_owned(),
            stack_bytes: 0,
            stack,
        });
        let goroutine = self.graph.goroutines.len() as u32 - 1;
        let name = self.dump.names.intern(&format!("thread {name}"));
        let id = self.push(HolderKind::Goroutine, name);
        if let Some(holder) = self.graph.holders.last_mut() {
            holder.goroutine = Some(goroutine);
        }
        self.threads.insert(root.thread, (id, goroutine));
        self.targets(id, roots);
    }

    /// The stack of a trace, once for all threads that share it.
    fn stack(&mut self, trace: u32) -> Option<u32> {
        if let Some(known) = self.stacks.get(&trace) {
            return Some(*known);
        }
        let mut ids = Cursor::new(self.records.traces.get(&trace)?, 0, self.dump.id_bytes);
        let mut stack = Vec::new();
        while let Some(id) = ids.id() {
            let Some(frame) = self.records.frames.get(&id) else { continue };
            let class = self.records.serial_names.get(&frame.class_serial).copied().unwrap_or(0);
            let class = class_name(&self.dump.names.text(class));
            let method = self.dump.names.text(frame.method);
            let file = self.dump.names.text(frame.source).into_owned();
            let function =
                if class.is_empty() { method.into_owned() } else { format!("{class}.{method}") };
            if !self.dump.names.charge(function.len() + file.len() + size_of::<Frame>()) {
                break;
            }
            // -1 is unknown, -2 compiled, -3 native.
            let line = if frame.line > i32::MAX as u32 { 0 } else { frame.line };
            stack.push(Frame { function, file, line });
        }
        self.graph.stacks.push(stack);
        let index = self.graph.stacks.len() as u32 - 1;
        self.stacks.insert(trace, index);
        Some(index)
    }
}

/// java.lang.Thread.threadStatus: bits of JVMTI, in the words of a Go traceback.
fn words(status: u64) -> (&'static str, &'static str) {
    match status {
        _ if status & 0x400 != 0 => ("waiting", "monitor"),
        _ if status & 0x40 != 0 => ("waiting", "sleep"),
        _ if status & 0x100 != 0 => ("waiting", "Object.wait"),
        _ if status & 0x200 != 0 => ("waiting", "park"),
        _ if status & 0x80 != 0 => ("waiting", ""),
        _ if status & 0x4 != 0 => ("runnable", ""),
        _ if status & 0x2 != 0 => ("dead", ""),
        _ => ("", ""),
    }
}

fn number(dump: &Dump<'_>, object: ObjectId, name: &str) -> Option<u64> {
    let field = dump.field(object, name)?;
    match field.value.len() {
        4 => Some(u64::from(u32::from_be_bytes(field.value.try_into().ok()?))),
        8 if field.kind != OBJECT => Some(u64::from_be_bytes(field.value.try_into().ok()?)),
        _ => None,
    }
}

/// The name of a thread: a string, in old versions an array of characters.
fn thread_name(dump: &Dump<'_>, thread: ObjectId) -> Option<String> {
    /// Nobody needs more of a name.
    const BYTES_MAX: usize = 256;
    let name = dump.pointee(thread, "name")?;
    let array = dump.pointee(name, "value").unwrap_or(name);
    let Sub::PrimitiveArray { kind, data, .. } = dump.sub(array)? else { return None };
    let is_utf16 = kind == CHAR || dump.field(name, "coder").is_some_and(|c| c.value == [1]);
    let clipped = data.get(..BYTES_MAX).unwrap_or(data);
    if !is_utf16 {
        return Some(clipped.iter().map(|byte| char::from(*byte)).collect());
    }
    // The format writes char[] big-endian; bytes of a string are in the machine's order.
    let unit = |pair: &[u8]| {
        let pair = pair.try_into().unwrap_or([0; 2]);
        if kind == CHAR { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
    };
    let units: Vec<u16> = clipped.chunks_exact(2).map(unit).collect();
    Some(String::from_utf16_lossy(&units))
}
