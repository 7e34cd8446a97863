//! Columns as a heap graph. What follows from a count in the file is bounded by the columns
//! that give it; names of frames, which one number each can repeat, have a budget.

use std::borrow::Cow;

use model::heap::{
    AllocatedAt, Contents, Edges, Extents, Field, Fill, HeapGoroutine, HeapSource, HeapType,
    Holder, HolderId, Listed, ObjectId, Objects, RootPointer, SpanSizes, Spans, Texts, TypeId,
};
use model::{Frame, HeapGraph, StrId, StringTable, Timestamp};

use super::container::{Columns, Number, Verify};
use super::error::HeapFileError;
use super::write::{FILL_KINDS, HOLDER_KINDS, NONE, TYPE_KINDS};

/// Names of frames and goroutines may take this much together,
const NAMES_BYTES_FREE: usize = 1 << 20;
/// and this much more for each byte of the file. Ten is typical of columns of frames.
const NAMES_BYTES_PER_BYTE: usize = 32;

type Result<T> = std::result::Result<T, HeapFileError>;

pub(super) fn graph(bytes: &[u8], verify: Verify) -> Result<HeapGraph<'_>> {
    let from = Columns::open(bytes, verify)?;
    let strings = strings(&from)?;
    let names_bytes_max = NAMES_BYTES_FREE.saturating_add(bytes.len() * NAMES_BYTES_PER_BYTE);
    let mut names = Names::read(&from, names_bytes_max)?;
    let graph = HeapGraph {
        source: source(&from)?,
        strings,
        types: types(&from)?,
        fields: fields(&from)?,
        objects: objects(&from)?,
        type_of: from.numbers("objects.type")?,
        edges: edges(&from)?,
        weak: weak(&from)?,
        slot_bytes: from.same("slot_bytes", 1)?.first().copied().unwrap_or(1),
        holders: holders(&from)?,
        root_pointers: root_pointers(&from)?,
        goroutines: goroutines(&from, &mut names)?,
        extents: extents(&from)?,
        fills: fills(&from)?,
        texts: fingerprints(&from)?,
        allocated_at: allocated_at(&from)?,
        stacks: stacks(&from, &mut names)?,
        contents: contents(&from)?,
        warnings: warnings(&from)?,
    };
    graph.check()?;
    Ok(graph)
}

fn source(from: &Columns<'_>) -> Result<HeapSource> {
    let text = |name| match from.has(name) {
        true => from.text(name).map(str::to_owned),
        false => Ok(String::new()),
    };
    let number = |name| match from.has(name) {
        true => from.same::<u64>(name, 1).map(|value| value.first().copied()),
        false => Ok(None),
    };
    let is_marking = optional::<u8>(from, "source.is_marking")?.first() == Some(&1);
    Ok(HeapSource {
        runtime: text("source.runtime")?,
        target: text("source.target")?,
        executable: text("source.executable")?,
        time: number("source.time")?.map(|time| Timestamp(time.cast_signed())),
        method: text("source.method")?,
        pause_nanos: number("source.pause_nanos")?,
        gc_count: number("source.gc_count")?,
        heap_in_use_bytes: number("source.heap_in_use_bytes")?,
        is_marking,
    })
}

/// A column that may be missing, which is as if it were empty.
fn optional<'a, T: Number>(from: &Columns<'a>, name: &'static str) -> Result<Cow<'a, [T]>> {
    if from.has(name) { from.numbers(name) } else { Ok(Cow::default()) }
}

/// Texts that lie end to end, cut where each ends.
fn cut<'a>(
    text: &'a str,
    ends: &[u64],
    column: &'static str,
) -> impl Iterator<Item = Result<&'a str>> {
    let mut start = 0;
    ends.iter().map(move |end| {
        let range = usize::try_from(*end).ok().map(|end| start..end);
        let part = range.and_then(|range| text.get(range));
        start = *end as usize;
        part.ok_or_else(|| HeapFileError::Column {
            column,
            expected: "ascending ends of texts".to_owned(),
            found: end.to_string(),
        })
    })
}

fn strings(from: &Columns<'_>) -> Result<StringTable> {
    let text = from.text("strings.text")?;
    let ends = from.numbers("strings.end")?;
    if u32::try_from(text.len()).is_err() {
        return Err(HeapFileError::Inconsistent("strings"));
    }
    let mut table = StringTable::default();
    for (index, part) in cut(text, &ends, "strings.end").enumerate() {
        // Ids are places: a text that came before would have the earlier one.
        if table.intern(part?).0 as usize != index {
            return Err(HeapFileError::Inconsistent("strings"));
        }
    }
    Ok(table)
}

fn id(number: u32) -> Option<u32> {
    (number != NONE).then_some(number)
}

/// The kind with this number in files.
fn kind<T: Copy>(kinds: &[T], code: u8, column: &'static str) -> Result<T> {
    kinds.get(usize::from(code)).copied().ok_or_else(|| HeapFileError::Column {
        column,
        expected: format!("numbers below {}", kinds.len()),
        found: code.to_string(),
    })
}

/// A value of a column; columns were found to be as long as each other.
fn at<T: Copy + Default>(column: &[T], index: usize) -> T {
    column.get(index).copied().unwrap_or_default()
}

fn types(from: &Columns<'_>) -> Result<Vec<HeapType>> {
    let name = from.numbers::<u32>("types.name")?;
    let count = name.len();
    let package = from.same::<u32>("types.package", count)?;
    let kinds = from.same::<u8>("types.kind", count)?;
    let bytes = from.same::<u64>("types.bytes", count)?;
    let start = from.same::<u32>("types.fields_start", count)?;
    let end = from.same::<u32>("types.fields_end", count)?;
    let element = from.same::<u32>("types.element", count)?;
    let heap_type = |index| {
        Ok(HeapType {
            name: StrId(at(&name, index)),
            package: StrId(at(&package, index)),
            kind: kind(&TYPE_KINDS, at(&kinds, index), "types.kind")?,
            bytes: at(&bytes, index),
            fields: at(&start, index)..at(&end, index),
            element: id(at(&element, index)).map(TypeId),
        })
    };
    (0..count).map(heap_type).collect()
}

fn fields(from: &Columns<'_>) -> Result<Vec<Field>> {
    let offset = from.numbers::<u64>("fields.offset")?;
    let name = from.same::<u32>("fields.name", offset.len())?;
    let of = from.same::<u32>("fields.of", offset.len())?;
    let field = |index| Field {
        offset: at(&offset, index),
        name: StrId(at(&name, index)),
        of: id(at(&of, index)).map(TypeId),
    };
    Ok((0..offset.len()).map(field).collect())
}

fn objects<'a>(from: &Columns<'a>) -> Result<Objects<'a>> {
    if from.has("spans.base") {
        return Ok(Objects::Spans(Spans {
            base: from.numbers("spans.base")?,
            slot_bytes: from.numbers("spans.slot_bytes")?,
            is_noscan: from.numbers("spans.is_noscan")?,
            first: from.numbers("spans.first")?,
            word: from.numbers("spans.word")?,
            allocated: from.numbers("spans.allocated")?,
            sizes: SpanSizes {
                span_bytes: optional(from, "spans.bytes")?,
                slots: optional(from, "spans.slots")?,
                is_cached: optional(from, "spans.is_cached")?,
            },
        }));
    }
    let (address, bytes) = (from.numbers("listed.address")?, from.numbers("listed.bytes")?);
    Ok(Objects::Listed(Listed { address, bytes }))
}

fn edges<'a>(from: &Columns<'a>) -> Result<Edges<'a>> {
    Ok(Edges {
        first: from.numbers("edges.first")?,
        block: from.numbers("edges.block")?,
        target: from.numbers("edges.target")?,
        slot: from.numbers("edges.slot")?,
    })
}

fn weak(from: &Columns<'_>) -> Result<Vec<(ObjectId, u32, ObjectId)>> {
    let source = optional::<u32>(from, "weak.from")?;
    if source.is_empty() {
        return Ok(Vec::new());
    }
    let slot = from.same::<u32>("weak.slot", source.len())?;
    let target = from.same::<u32>("weak.to", source.len())?;
    let weak =
        |index| (ObjectId(at(&source, index)), at(&slot, index), ObjectId(at(&target, index)));
    Ok((0..source.len()).map(weak).collect())
}

fn holders(from: &Columns<'_>) -> Result<Vec<Holder>> {
    let kinds = from.numbers::<u8>("holders.kind")?;
    let count = kinds.len();
    let name = from.same::<u32>("holders.name", count)?;
    let place = from.same::<u32>("holders.place", count)?;
    let parent = from.same::<u32>("holders.parent", count)?;
    let goroutine = from.same::<u32>("holders.goroutine", count)?;
    let of = from.same::<u32>("holders.of", count)?;
    let guess = from.same::<u8>("holders.is_conservative", count)?;
    let holder = |index| {
        Ok(Holder {
            kind: kind(&HOLDER_KINDS, at(&kinds, index), "holders.kind")?,
            name: StrId(at(&name, index)),
            place: StrId(at(&place, index)),
            parent: id(at(&parent, index)).map(HolderId),
            goroutine: id(at(&goroutine, index)),
            of: id(at(&of, index)).map(TypeId),
            is_conservative: at(&guess, index) == 1,
        })
    };
    (0..count).map(holder).collect()
}

fn root_pointers(from: &Columns<'_>) -> Result<Vec<RootPointer>> {
    let holder = from.numbers::<u32>("roots.holder")?;
    let slot = from.same::<u32>("roots.slot", holder.len())?;
    let target = from.same::<u32>("roots.target", holder.len())?;
    let pointer = |index| RootPointer {
        holder: HolderId(at(&holder, index)),
        slot: at(&slot, index),
        target: ObjectId(at(&target, index)),
    };
    Ok((0..holder.len()).map(pointer).collect())
}

/// Names of frames and goroutines, and how many bytes of them may still be handed out.
struct Names<'a> {
    all: Vec<&'a str>,
    bytes_left: usize,
}

impl<'a> Names<'a> {
    fn read(from: &Columns<'a>, bytes_max: usize) -> Result<Names<'a>> {
        if !from.has("names.text") {
            return Ok(Names { all: Vec::new(), bytes_left: bytes_max });
        }
        let ends = from.numbers("names.end")?;
        let all = cut(from.text("names.text")?, &ends, "names.end").collect::<Result<Vec<_>>>()?;
        Ok(Names { all, bytes_left: bytes_max })
    }

    fn take(&mut self, id: u32) -> Result<String> {
        let missing = HeapFileError::Inconsistent("names of frames");
        let name = self.all.get(id as usize).ok_or(missing.clone())?;
        self.bytes_left = self.bytes_left.checked_sub(name.len()).ok_or(missing)?;
        Ok((*name).to_owned())
    }
}

fn stacks(from: &Columns<'_>, names: &mut Names<'_>) -> Result<Vec<Vec<Frame>>> {
    let ends = optional::<u64>(from, "stacks.end")?;
    if ends.is_empty() {
        return Ok(Vec::new());
    }
    let function = from.numbers::<u32>("frames.function")?;
    let file = from.same::<u32>("frames.file", function.len())?;
    let line = from.same::<u32>("frames.line", function.len())?;
    let mut frames = function.iter().zip(file.iter()).zip(line.iter());
    let mut start = 0;
    let mut stacks = Vec::with_capacity(ends.len());
    for end in ends.iter() {
        let count = end.checked_sub(start).filter(|count| *count <= frames.len() as u64);
        let count = count.ok_or(HeapFileError::Inconsistent("stacks"))?;
        start = *end;
        let mut stack = Vec::with_capacity(count as usize);
        for ((function, file), line) in frames.by_ref().take(count as usize) {
            let (function, file) = (names.take(*function)?, names.take(*file)?);
            stack.push(Frame { function, file, line: *line });
        }
        stacks.push(stack);
    }
    Ok(stacks)
}

fn goroutines(from: &Columns<'_>, names: &mut Names<'_>) -> Result<Vec<HeapGoroutine>> {
    let numbers = optional::<u64>(from, "goroutines.id")?;
    let count = numbers.len();
    if count == 0 {
        return Ok(Vec::new());
    }
    let state = from.same::<u32>("goroutines.state", count)?;
    let reason = from.same::<u32>("goroutines.wait_reason", count)?;
    let bytes = from.same::<u64>("goroutines.stack_bytes", count)?;
    let stack = from.same::<u32>("goroutines.stack", count)?;
    let goroutine = |index| {
        Ok(HeapGoroutine {
            id: at(&numbers, index),
            state: names.take(at(&state, index))?,
            wait_reason: names.take(at(&reason, index))?,
            stack_bytes: at(&bytes, index),
            stack: id(at(&stack, index)),
        })
    };
    (0..count).map(goroutine).collect()
}

fn extents<'a>(from: &Columns<'a>) -> Result<Extents<'a>> {
    Ok(Extents {
        object: optional(from, "extents.object")?,
        low: optional(from, "extents.low")?,
        used: optional(from, "extents.used")?,
        capacity: optional(from, "extents.capacity")?,
    })
}

fn fills(from: &Columns<'_>) -> Result<Vec<Fill>> {
    let object = optional::<u32>(from, "fills.object")?;
    let count = object.len();
    if count == 0 {
        return Ok(Vec::new());
    }
    let kinds = from.same::<u8>("fills.kind", count)?;
    let used = from.same::<u64>("fills.used", count)?;
    let capacity = from.same::<u64>("fills.capacity", count)?;
    let element = from.same::<u64>("fills.element_bytes", count)?;
    let fill = |index| {
        Ok(Fill {
            object: ObjectId(at(&object, index)),
            kind: kind(&FILL_KINDS, at(&kinds, index), "fills.kind")?,
            used: at(&used, index),
            capacity: at(&capacity, index),
            element_bytes: at(&element, index),
        })
    };
    (0..count).map(fill).collect()
}

fn fingerprints<'a>(from: &Columns<'a>) -> Result<Texts<'a>> {
    Ok(Texts {
        object: optional(from, "texts.object")?,
        bytes: optional(from, "texts.bytes")?,
        hash: optional(from, "texts.hash")?,
    })
}

fn allocated_at(from: &Columns<'_>) -> Result<Vec<AllocatedAt>> {
    let object = optional::<u32>(from, "allocated.object")?;
    let stack = match object.len() {
        0 => Cow::default(),
        count => from.same::<u32>("allocated.stack", count)?,
    };
    let sample =
        |(object, stack): (&u32, &u32)| AllocatedAt { object: ObjectId(*object), stack: *stack };
    Ok(object.iter().zip(stack.iter()).map(sample).collect())
}

fn contents<'a>(from: &Columns<'a>) -> Result<Contents<'a>> {
    Ok(Contents {
        object: optional(from, "contents.object")?,
        start: optional(from, "contents.start")?,
        bytes: optional(from, "contents.bytes")?,
    })
}

fn warnings(from: &Columns<'_>) -> Result<Vec<String>> {
    if !from.has("warnings.text") {
        return Ok(Vec::new());
    }
    let ends = from.numbers("warnings.end")?;
    let all = cut(from.text("warnings.text")?, &ends, "warnings.end");
    all.map(|text| text.map(str::to_owned)).collect()
}
