//! The records of the file: texts, class names, stacks, and where the heap lies.

use ahash::AHashMap;
use model::units::Timestamp;

use super::HprofError;
use super::cursor::Cursor;

/// A frame of a stack trace.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameDump {
    pub(super) method: u64,
    pub(super) source: u64,
    pub(super) class_serial: u32,
    pub(super) line: u32,
}

/// A heap dump, or a segment of one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Its length is not known: it ends at a record that says so.
    pub(super) is_open: bool,
}

/// All that is not in the heap.
#[derive(Default)]
pub(super) struct Records<'a> {
    pub(super) version: String,
    pub(super) id_bytes: usize,
    pub(super) time: Option<Timestamp>,
    pub(super) texts: AHashMap<u64, &'a [u8]>,
    /// Name of each class, by the id of its object.
    pub(super) class_names: AHashMap<u64, u64>,
    /// Name of each class, by its serial number.
    pub(super) serial_names: AHashMap<u32, u64>,
    pub(super) frames: AHashMap<u64, FrameDump>,
    /// Ids of the frames of each stack trace, innermost first.
    pub(super) traces: AHashMap<u32, &'a [u8]>,
    /// Names of threads that older dumps give.
    pub(super) thread_names: AHashMap<u32, u64>,
    pub(super) segments: Vec<Segment>,
    pub(super) count: u64,
    pub(super) warnings: Vec<String>,
}

mod tag {
    pub(super) const TEXT: u8 = 0x01;
    pub(super) const LOAD_CLASS: u8 = 0x02;
    pub(super) const FRAME: u8 = 0x04;
    pub(super) const TRACE: u8 = 0x05;
    pub(super) const START_THREAD: u8 = 0x0a;
    pub(super) const HEAP_DUMP: u8 = 0x0c;
    pub(super) const HEAP_DUMP_SEGMENT: u8 = 0x1c;
    pub(super) const HEAP_DUMP_END: u8 = 0x2c;
}

/// The record that ends a dump of segments.
pub(super) const HEAP_DUMP_END: u8 = tag::HEAP_DUMP_END;

/// Reads all records; of heaps only where they lie.
pub(super) fn read(bytes: &[u8]) -> Result<Records<'_>, HprofError> {
    let (mut records, start) = header(bytes)?;
    let mut cursor = Cursor::new(bytes, start, records.id_bytes);
    while cursor.position() < bytes.len() {
        let at = cursor.position();
        let head = (cursor.u8(), cursor.u32(), cursor.u32());
        let (Some(tag), Some(_), Some(length)) = head else {
            records.warnings.push(format!("the dump ends within a record at byte {at}"));
            break;
        };
        records.count += 1;
        let body_at = cursor.position();
        let left = bytes.len() - body_at;
        let length = length as usize;
        if matches!(tag, tag::HEAP_DUMP | tag::HEAP_DUMP_SEGMENT) {
            let end = body_at + length.min(left);
            if tag == tag::HEAP_DUMP && is_length_wrong(bytes, length, end) {
                let segment = Segment { start: body_at, end: bytes.len(), is_open: true };
                records.segments.push(segment);
                break;
            }
            records.segments.push(Segment { start: body_at, end, is_open: false });
        }
        if length > left {
            let missing = length - left;
            records.warnings.push(format!(
                "the dump ends early: the record at byte {at} lacks {missing} of {length} bytes"
            ));
            break;
        }
        let Some(body) = cursor.take(length) else { break };
        // A record that is shorter than its kind says is left out.
        let _ = records.take(tag, body);
    }
    Ok(records)
}

fn header(bytes: &[u8]) -> Result<(Records<'_>, usize), HprofError> {
    let window = bytes.get(..bytes.len().min(64)).unwrap_or(bytes);
    let end = window.iter().position(|byte| *byte == 0).ok_or(HprofError::NotHprof)?;
    let version = window.get(..end).and_then(|text| std::str::from_utf8(text).ok());
    let version = version.filter(|text| text.starts_with("JAVA PROFILE 1.0"));
    let version = version.ok_or(HprofError::NotHprof)?.to_owned();
    let mut cursor = Cursor::new(bytes, end + 1, 8);
    let id_bytes = cursor.u32().ok_or(HprofError::NotHprof)?;
    if id_bytes != 4 && id_bytes != 8 {
        return Err(HprofError::IdSize(id_bytes));
    }
    let millis = cursor.u64().ok_or(HprofError::NotHprof)?;
    let time = i64::try_from(millis).ok().filter(|millis| *millis > 0).map(Timestamp);
    let records = Records { version, id_bytes: id_bytes as usize, time, ..Records::default() };
    Ok((records, cursor.position()))
}

/// JDK 6 wrote heaps of more than 4 GiB as one record, whose length then was too small by
/// multiples of that, or 0.
fn is_length_wrong(bytes: &[u8], length: usize, end: usize) -> bool {
    let is_record = |tag: &u8| matches!(tag, 0x01..=0x0e | 0x1c | 0x2c);
    length == 0 || bytes.get(end).is_some_and(|tag| !is_record(tag))
}

impl<'a> Records<'a> {
    fn take(&mut self, tag: u8, body: &'a [u8]) -> Option<()> {
        let mut cursor = Cursor::new(body, 0, self.id_bytes);
        match tag {
            tag::TEXT => {
                let id = cursor.id()?;
                self.texts.insert(id, body.get(self.id_bytes..)?);
            }
            tag::LOAD_CLASS => {
                let (serial, class) = (cursor.u32()?, cursor.id()?);
                cursor.u32()?;
                let name = cursor.id()?;
                self.class_names.insert(class, name);
                self.serial_names.insert(serial, name);
            }
            tag::FRAME => {
                let (id, method) = (cursor.id()?, cursor.id()?);
                cursor.id()?;
                let (source, class_serial, line) = (cursor.id()?, cursor.u32()?, cursor.u32()?);
                self.frames.insert(id, FrameDump { method, source, class_serial, line });
            }
            tag::TRACE => {
                let serial = cursor.u32()?;
                cursor.u32()?;
                let count = cursor.u32()?;
                self.traces.insert(serial, cursor.ids(count)?);
            }
            tag::START_THREAD => {
                let serial = cursor.u32()?;
                cursor.id()?;
                cursor.u32()?;
                self.thread_names.insert(serial, cursor.id()?);
            }
            _ => {}
        }
        Some(())
    }
}
