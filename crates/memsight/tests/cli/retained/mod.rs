//! Retained sizes beside those of programs that are not ours, on the same heap: VisualVM's
//! heap library, and hprof-analyzer where it is installed.

mod analyzer;
mod go;
mod java;
mod visualvm;

#[path = "../../../../decode/tests/heap/peers.rs"]
#[expect(dead_code, reason = "the tests of the decoder use all of it")]
mod peers;

use model::HeapGraph;
use model::heap::ObjectId;

fn address(graph: &HeapGraph<'_>, object: ObjectId) -> u64 {
    graph.objects.address(object).expect("an object of the graph").0
}

fn objects(graph: &HeapGraph<'_>) -> impl Iterator<Item = ObjectId> + use<> {
    (0..graph.len() as u32).map(ObjectId)
}
