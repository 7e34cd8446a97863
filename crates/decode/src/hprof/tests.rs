//! Dumps that no virtual machine at hand writes, built byte by byte: 32-bit and Android's,
//! old strings, damage of every kind.

use model::HeapGraph;
use model::heap::{HolderKind, ObjectId};

use super::{HprofError, Options, Statics, read};

/// A dump under construction. Nothing of it is shared with the reader.
struct Builder {
    id_bytes: usize,
    records: Vec<u8>,
    heap: Vec<u8>,
    /// What the next classes say of the size of their instances.
    instance_bytes: u32,
}

const OBJECT: u64 = 0x1000;
const CLASS: u64 = 0x1100;
const STRING: u64 = 0x1200;
const NODE: u64 = 0x1300;

impl Builder {
    /// With the classes that every dump has, and `Node { Node next; int n; }`.
    fn new(id_bytes: usize) -> Builder {
        let mut new =
            Builder { id_bytes, records: Vec::new(), heap: Vec::new(), instance_bytes: 0 };
        new.class(OBJECT, "java/lang/Object", 0, &[], &[]);
        new.class(CLASS, "java/lang/Class", OBJECT, &[], &[]);
        new.class(NODE, "Node", OBJECT, &[("next", 2), ("n", 10)], &[]);
        new
    }

    fn id(&self, id: u64) -> Vec<u8> {
        id.to_be_bytes()[8 - self.id_bytes..].to_vec()
    }

    fn record(&mut self, tag: u8, body: &[u8]) {
        self.records.push(tag);
        self.records.extend([0; 4]);
        self.records.extend((body.len() as u32).to_be_bytes());
        self.records.extend(body);
    }

    /// Ids of texts are made of their bytes, so that equal texts have one.
    fn text(&mut self, text: &str) -> u64 {
        let sum = |id: u64, byte: u8| id.wrapping_mul(31).wrapping_add(u64::from(byte));
        let id = text.bytes().fold(7, sum) & 0xffff_ffff;
        let body = [self.id(id), text.as_bytes().to_vec()].concat();
        self.record(0x01, &body);
        id
    }

    fn class(
        &mut self,
        id: u64,
        name: &str,
        super_id: u64,
        fields: &[(&str, u8)],
        statics: &[(&str, u64)],
    ) {
        let name = self.text(name);
        let serial = (id as u32).to_be_bytes();
        let body = [&serial[..], &self.id(id), &[0; 4], &self.id(name)].concat();
        self.record(0x02, &body);
        let mut dump = [&[0x20][..], &self.id(id), &[0; 4], &self.id(super_id)].concat();
        // Loader, signers, protection domain, reserved, instance size, constants.
        dump.extend(vec![0; 5 * self.id_bytes]);
        dump.extend(self.instance_bytes.to_be_bytes());
        dump.extend([0; 2]);
        dump.extend((statics.len() as u16).to_be_bytes());
        for (name, value) in statics {
            let name = self.text(name);
            dump.extend([self.id(name), vec![2], self.id(*value)].concat());
        }
        dump.extend((fields.len() as u16).to_be_bytes());
        for (name, kind) in fields {
            let name = self.text(name);
            dump.extend([self.id(name), vec![*kind]].concat());
        }
        self.heap.extend(dump);
    }

    fn instance(&mut self, id: u64, class: u64, data: &[u8]) {
        let count = (data.len() as u32).to_be_bytes();
        let parts = [&[0x21][..], &self.id(id), &[0; 4], &self.id(class), &count, data];
        self.heap.extend(parts.concat());
    }

    fn node(&mut self, id: u64, next: u64) {
        let data = [self.id(next), vec![0, 0, 0, 5]].concat();
        self.instance(id, NODE, &data);
    }

    fn bytes_array(&mut self, tag: u8, id: u64, kind: u8, count: u32, data: &[u8]) {
        let parts = [&[tag][..], &self.id(id), &[0; 4], &count.to_be_bytes(), &[kind], data];
        self.heap.extend(parts.concat());
    }

    fn root(&mut self, tag: u8, id: u64, numbers: &[u32]) {
        self.heap.push(tag);
        self.heap.extend(self.id(id));
        for number in numbers {
            self.heap.extend(number.to_be_bytes());
        }
    }

    fn head(&self) -> Vec<u8> {
        let id_bytes = (self.id_bytes as u32).to_be_bytes();
        [b"JAVA PROFILE 1.0.3\0", &id_bytes[..], &[0, 0, 1, 0x9a, 0, 0, 0, 0]].concat()
    }

    fn bytes(&self) -> Vec<u8> {
        let length = (self.heap.len() as u32).to_be_bytes();
        let segment = [&[0x1c, 0, 0, 0, 0][..], &length, &self.heap].concat();
        [self.head(), self.records.clone(), segment, vec![0x2c, 0, 0, 0, 0, 0, 0, 0, 0]].concat()
    }

    fn graph(&self) -> HeapGraph<'static> {
        sound(&self.bytes())
    }
}

fn sound(bytes: &[u8]) -> HeapGraph<'static> {
    let graph = read(bytes, &Options::default()).expect("a dump");
    graph.check().expect("a sound graph");
    graph
}

fn object(graph: &HeapGraph<'_>, id: u64) -> ObjectId {
    graph.objects.find(model::Addr(id)).expect("the object").0
}

fn targets(graph: &HeapGraph<'_>, id: u64) -> Vec<(u32, u64)> {
    let edges = graph.edges.of(object(graph, id));
    edges.map(|(slot, to)| (slot, graph.objects.address(to).expect("an object").0)).collect()
}

#[test]
fn objects_of_32_bits_with_inherited_fields() {
    let mut dump = Builder::new(4);
    dump.class(0x1400, "Sub", NODE, &[("other", 2), ("flag", 4)], &[("shared", 0x3000)]);
    dump.node(0x3000, 0);
    dump.node(0x2000, 0x3000);
    // Fields of the class itself come first.
    dump.instance(0x4000, 0x1400, &[0, 0, 0x20, 0, 1, 0, 0, 0x30, 0, 0, 0, 0, 7]);
    let graph = dump.graph();
    assert_eq!(graph.warnings, Vec::<String>::new());
    assert_eq!(targets(&graph, 0x2000), [(0, 0x3000)]);
    // Slots count superclasses first: next, n, other, flag.
    assert_eq!(targets(&graph, 0x4000), [(0, 0x3000), (2, 0x2000)]);
    let of = graph.heap_type(graph.type_of(object(&graph, 0x4000))).expect("a type");
    let names: Vec<&str> =
        graph.fields_of(of).iter().map(|field| graph.strings.get(field.name)).collect();
    assert_eq!(names, ["next", "n", "other", "flag"]);
    // A header of 8 bytes, references of 4.
    assert_eq!(graph.objects.bytes(object(&graph, 0x2000)), 16);
    assert_eq!(graph.objects.bytes(object(&graph, 0x4000)), 24);
    let global = graph.holders.iter().find(|holder| holder.kind == HolderKind::Global);
    assert_eq!(graph.strings.get(global.expect("a static").name), "Sub.shared");
}

/// JDK 21 gives the sizes of instances; those of arrays follow from where the next object
/// lies: narrow references with headers of 12 bytes, and compact headers of 8.
#[test]
fn arrays_are_as_large_as_addresses_say() {
    for array_bytes in [32, 24] {
        let mut dump = Builder { instance_bytes: 16, records: Vec::new(), ..Builder::new(8) };
        dump.heap.clear();
        dump.class(OBJECT, "java/lang/Object", 0, &[], &[]);
        dump.class(0x1400, "[Ljava/lang/Object;", OBJECT, &[], &[]);
        dump.instance_bytes = 24;
        // Too small for references of 8 bytes.
        dump.class(0x1500, "Pair", OBJECT, &[("a", 2), ("b", 2), ("n", 10)], &[]);
        for at in 0..20 {
            let count = [0, 0, 0, 3];
            let id = dump.id(0x2000 + array_bytes * at);
            let parts = [&[0x22][..], &id, &[0; 4], &count, &dump.id(0x1400), &[0; 24]];
            let array = parts.concat();
            dump.heap.extend(array);
        }
        dump.instance(0x2000 + array_bytes * 20, 0x1500, &[0; 20]);
        let graph = dump.graph();
        let bytes = |id| graph.objects.bytes(object(&graph, id));
        assert_eq!((bytes(0x2000), bytes(0x2000 + array_bytes * 20)), (array_bytes, 24));
    }
}

#[test]
fn statics_of_classes_that_can_go_hang_from_the_class() {
    let mut dump = Builder::new(8);
    dump.class(0x1400, "Other", OBJECT, &[], &[("shared", 0x3000)]);
    dump.node(0x3000, 0);
    dump.instance(0x4000, 0x1400, &[]);
    let options = Options { statics: Statics::Classes, ..Options::default() };
    let graph = read(&dump.bytes(), &options).expect("a dump");
    graph.check().expect("a sound graph");
    let class_of = targets(&graph, 0x4000);
    assert_eq!(class_of, [(0, 0x1400)]);
    let of_class = targets(&graph, 0x1400);
    assert_eq!(of_class.iter().map(|edge| edge.1).collect::<Vec<u64>>(), [OBJECT, 0x3000]);
    let of = graph.heap_type(graph.type_of(object(&graph, 0x1400))).expect("a type");
    let slot = u64::from(of_class[1].0);
    let field = graph.fields_of(of).iter().find(|field| field.offset == slot).expect("named");
    assert_eq!(graph.strings.get(field.name), "Other.shared");
    assert!(graph.holders.iter().all(|holder| holder.kind != HolderKind::Global));
}

#[test]
fn records_of_android() {
    let mut dump = Builder::new(4);
    for (at, tag) in [0x89, 0x8a, 0x8b, 0x8c, 0x8d].into_iter().enumerate() {
        dump.root(tag, 0x2000 + 16 * at as u64, &[]);
    }
    dump.root(0x08, 0x2050, &[9, 0]);
    dump.root(0x8e, 0x2060, &[9, 3]);
    dump.root(0x90, 0x2070, &[]);
    // Which heap the next objects are in: a number and a name.
    dump.root(0xfe, 1, &[2]);
    for at in 0..8 {
        dump.node(0x2000 + 16 * at, 0);
    }
    // An array without its contents.
    dump.bytes_array(0xc3, 0x3000, 8, 1000, &[]);
    let graph = dump.graph();
    assert_eq!(graph.warnings, Vec::<String>::new());
    assert_eq!(graph.objects.bytes(object(&graph, 0x3000)), 1016);
    let mut held: Vec<(HolderKind, u64)> = Vec::new();
    for pointer in &graph.root_pointers {
        let kind = graph.holders[pointer.holder.0 as usize].kind;
        held.push((kind, graph.objects.address(pointer.target).expect("an object").0));
    }
    held.retain(|(_, id)| *id >= 0x2000);
    held.sort_by_key(|found| found.1);
    let expected = [
        (HolderKind::Runtime, 0x2000),
        (HolderKind::Finalizer, 0x2010),
        (HolderKind::Runtime, 0x2020),
        (HolderKind::Cleanup, 0x2030),
        (HolderKind::Runtime, 0x2040),
        (HolderKind::Goroutine, 0x2050),
        (HolderKind::Native, 0x2060),
    ];
    assert_eq!(held, expected);
    let native = graph.holders.last().expect("the JNI monitor");
    let parent = &graph.holders[native.parent.expect("its thread").0 as usize];
    assert_eq!((parent.kind, graph.strings.get(parent.name)), (HolderKind::Goroutine, "thread 9"));
}

#[test]
fn old_strings_share_arrays() {
    let mut dump = Builder::new(4);
    let fields = [("value", 2), ("offset", 10), ("count", 10)];
    dump.class(STRING, "java/lang/String", OBJECT, &fields, &[]);
    let text: Vec<u8> = "abcdefgh".encode_utf16().flat_map(u16::to_be_bytes).collect();
    dump.bytes_array(0x23, 0x2000, 5, 8, &text);
    let part = |offset, count| [0, 0, 0x20, 0, 0, 0, 0, offset, 0, 0, 0, count];
    dump.instance(0x3000, STRING, &part(2, 3));
    dump.instance(0x3020, STRING, &part(3, 3));
    let graph = dump.graph();
    assert_eq!((graph.texts.object.len(), graph.texts.bytes[0]), (1, 8));
    // The header takes 12 bytes; characters 2 to 6 of 8 are used.
    let extent = (graph.extents.low[0], graph.extents.used[0], graph.extents.capacity[0]);
    assert_eq!(extent, (12 + 4, 12 + 12, 12 + 16));
}

#[test]
fn references_that_hold_nothing_are_apart() {
    let mut dump = Builder::new(8);
    let fields = [("referent", 2), ("queue", 2)];
    dump.class(0x1400, "java/lang/ref/Reference", OBJECT, &fields, &[]);
    dump.class(0x1500, "java/lang/ref/WeakReference", 0x1400, &[], &[]);
    let unfinalized = [("unfinalized", 0x2000)];
    dump.class(0x1600, "java/lang/ref/Finalizer", 0x1400, &[], &unfinalized);
    dump.node(0x2000, 0);
    dump.instance(
        0x3000,
        0x1500,
        &[[0, 0, 0, 0, 0, 0, 0x20, 0], [0, 0, 0, 0, 0, 0, 0x20, 0]].concat(),
    );
    let graph = dump.graph();
    assert_eq!(targets(&graph, 0x3000), [(1, 0x2000)]);
    let weak: Vec<(u64, u32)> = graph
        .weak
        .iter()
        .map(|weak| {
            assert_eq!(weak.2, object(&graph, 0x2000));
            (graph.objects.address(weak.0).expect("an object").0, weak.1)
        })
        .collect();
    assert_eq!(weak.len(), 2);
    assert_eq!((weak[0].0, weak[1]), (0x1600, (0x3000, 0)));
    assert!(graph.holders.iter().all(|holder| holder.kind != HolderKind::Global));
}

#[test]
fn damage_is_counted() {
    let mut dump = Builder::new(8);
    dump.node(0x2000, 0x9999);
    dump.node(0x2020, 0x2000);
    dump.node(0x2020, 0x2020);
    dump.instance(0x2040, 0x7777, &[1, 2, 3]);
    dump.instance(0x2060, NODE, &[0, 0]);
    dump.root(0xff, 0x8888, &[]);
    let graph = dump.graph();
    assert_eq!(targets(&graph, 0x2020), [(0, 0x2000)]);
    let expected = [
        "2 references to objects that the dump lacks",
        "1 objects of classes that the dump lacks",
        "1 instances shorter than their class says",
        "1 objects with the id of another one, left out",
    ];
    assert_eq!(graph.warnings, expected);
}

#[test]
fn unknown_sub_records_end_their_segment_only() {
    let mut dump = Builder::new(8);
    dump.node(0x2000, 0);
    let at = dump.head().len() + dump.records.len() + 9 + dump.heap.len();
    dump.heap.extend([0x77, 1, 2, 3]);
    let mut bytes = dump.bytes();
    // Another segment instead of the end.
    bytes.truncate(bytes.len() - 9);
    let mut next = Builder { heap: Vec::new(), ..Builder::new(8) };
    next.node(0x3000, 0x2000);
    let length = (next.heap.len() as u32).to_be_bytes();
    bytes.extend([&[0x1c, 0, 0, 0, 0][..], &length, &next.heap].concat());
    let graph = sound(&bytes);
    let expected = format!("unknown sub-record 0x77 at byte {at}: 4 bytes after it are left out");
    assert_eq!(graph.warnings, [expected]);
    assert_eq!(targets(&graph, 0x3000), [(0, 0x2000)]);
}

#[test]
fn a_dump_may_end_anywhere() {
    let mut dump = Builder::new(8);
    for at in 0..50 {
        dump.node(0x2000 + 32 * at, 0x2000 + 32 * (at / 2));
    }
    dump.root(0x01, 0x2000, &[0, 1]);
    let bytes = dump.bytes();
    let whole = sound(&bytes);
    assert_eq!((whole.len(), whole.warnings.len()), (53, 0));
    let mut counts = Vec::new();
    for end in 0..bytes.len() - 9 {
        match read(&bytes[..end], &Options::default()) {
            Ok(graph) => {
                graph.check().expect("a sound graph");
                assert!(!graph.warnings.is_empty(), "{end}");
                counts.push(graph.len());
            }
            Err(error) => assert!(
                matches!(error, HprofError::NotHprof | HprofError::NoHeap { .. }),
                "{end} {error}"
            ),
        }
    }
    assert!(counts.is_sorted() && counts.contains(&30), "{counts:?}");
}

#[test]
fn a_length_that_overflowed_is_no_end() {
    let mut dump = Builder::new(8);
    dump.node(0x2000, 0);
    for length in [0, dump.heap.len() as u32 - 7] {
        let segment = [&[0x0c, 0, 0, 0, 0][..], &length.to_be_bytes(), &dump.heap].concat();
        let end = vec![0x2c, 0, 0, 0, 0, 0, 0, 0, 0];
        let graph = sound(&[dump.head(), dump.records.clone(), segment, end].concat());
        assert_eq!((graph.len(), graph.warnings), (4, Vec::<String>::new()));
    }
}

#[test]
fn classes_in_a_circle_are_cut() {
    let mut dump = Builder::new(8);
    dump.class(0x1400, "A", 0x1500, &[("a", 2)], &[]);
    dump.class(0x1500, "B", 0x1400, &[("b", 2)], &[]);
    dump.node(0x2000, 0);
    dump.instance(0x3000, 0x1400, &[0, 0, 0, 0, 0, 0, 0x20, 0].repeat(2));
    let graph = dump.graph();
    assert_eq!(targets(&graph, 0x3000).len(), 2);
}

#[test]
fn compressed_dumps_are_bounded_by_option() {
    use std::io::Write;
    let mut dump = Builder::new(8);
    dump.bytes_array(0x23, 0x2000, 8, 30_000_000, &vec![0; 30_000_000]);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&dump.bytes()).expect("a vector takes all");
    let bytes = encoder.finish().expect("a vector takes all");
    // Zeros shrink more than any profile does.
    assert!(bytes.len() < 40_000_000 / 200, "{}", bytes.len());
    assert_eq!(sound(&bytes).len(), 4);
    let options = Options { inflated_bytes_max: 20 << 20, ..Options::default() };
    let error = read(&bytes, &options).expect_err("too large");
    assert!(matches!(error, HprofError::Compressed(_)), "{error}");
    let graph = sound(&bytes[..bytes.len() / 2]);
    assert_eq!((graph.len(), graph.warnings.len()), (3, 3));
}

#[test]
fn what_is_no_dump_is_refused() {
    let check = |bytes: &[u8], expected: HprofError| {
        assert_eq!(read(bytes, &Options::default()).map(|graph| graph.len()), Err(expected));
    };
    check(b"", HprofError::NotHprof);
    check(b"JAVA PROFILE 2.0\0\0\0\0\x08\0\0\0\0\0\0\0\0", HprofError::NotHprof);
    check(b"JAVA PROFILE 1.0.2\0\0\0\0\x05\0\0\0\0\0\0\0\0", HprofError::IdSize(5));
    let empty = b"JAVA PROFILE 1.0.2\0\0\0\0\x08\0\0\0\0\0\0\0\0";
    check(empty, HprofError::NoHeap { records: 0, bytes: empty.len() as u64 });
}
