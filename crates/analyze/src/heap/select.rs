//! Which objects a person means: an address, a number, a type, or a function that allocates.
//! Costs one pass over the types of objects at most.

use model::heap::{HeapGraph, HolderId, ObjectId, TypeId};
use model::{Addr, Frame};
use regex::Regex;

use super::Node;
use crate::names::nearest;

/// How many near names an error tells.
const NEAR_COUNT: usize = 5;

/// How objects were named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// By an address so many bytes into it.
    Address(u64),
    /// By its number.
    Number,
    /// By the types that match.
    Types(Vec<TypeId>),
    /// By the functions that match and allocated sampled objects.
    Functions(Vec<String>),
}

/// The objects a person means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// How they were named.
    pub named: Named,
    /// They, ascending.
    pub objects: Vec<ObjectId>,
}

/// Why nothing was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SelectError {
    /// No object lies there.
    NoObjectAt(Addr),
    /// There are not so many objects.
    NoNumber {
        /// The number.
        number: u64,
        /// How many objects there are.
        objects: usize,
    },
    /// No type and no function matches.
    Unknown {
        /// What was named.
        name: String,
        /// Names like it.
        near: Vec<String>,
    },
    /// No root is called so.
    UnknownRoot {
        /// What was named.
        name: String,
        /// Names like it.
        near: Vec<String>,
    },
    /// A type that no object has.
    NoObjects(String),
    /// It is no regular expression.
    Pattern(String),
}

impl std::fmt::Display for SelectError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SelectError::NoObjectAt(address) => write!(f, "no object lies at {address}"),
            SelectError::NoNumber { number, objects } => {
                write!(f, "there is no object {number}: the heap has {objects}")
            }
            SelectError::Unknown { name, .. } => {
                write!(f, "no type and no function that allocates matches {name:?}")
            }
            SelectError::UnknownRoot { name, .. } => {
                write!(f, "{name:?} is no address, no id:N, and no root is called so")
            }
            SelectError::NoObjects(name) => write!(f, "no object is of a type {name:?}"),
            SelectError::Pattern(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for SelectError {}

/// Finds the objects that `text` means: `0xc000123400`, `id:1234`, the name of a type, a regular
/// expression on names of types, or a function (or an expression on functions) that allocated
/// sampled objects. Exact names come before expressions, types before functions.
///
/// # Errors
/// When nothing matches; tells names like it.
pub fn select(graph: &HeapGraph<'_>, text: &str) -> Result<Selection, SelectError> {
    if let Some(one) = single(graph, text) {
        return one;
    }
    let by_name = types_named(graph, |name| name == text);
    if !by_name.is_empty() {
        return of_types(graph, by_name, text);
    }
    // An object of the type is meant, not the pointer to it.
    let pointee = text.trim_start_matches('*');
    let by_name = types_named(graph, |name| name == pointee);
    if !by_name.is_empty() {
        return of_types(graph, by_name, text);
    }
    if let Some(selection) = of_functions(graph, |function| function == text) {
        return Ok(selection);
    }
    let pattern = Regex::new(text).map_err(|error| SelectError::Pattern(error.to_string()))?;
    let matching = types_named(graph, |name| pattern.is_match(name));
    if !matching.is_empty() {
        return of_types(graph, matching, text);
    }
    of_functions(graph, |function| pattern.is_match(function))
        .ok_or_else(|| SelectError::Unknown { name: text.to_owned(), near: near(graph, text) })
}

/// Finds the one node that `text` means: an object, or a holder by its name.
///
/// # Errors
/// When there is none.
pub fn node(graph: &HeapGraph<'_>, text: &str) -> Result<Node, SelectError> {
    if let Some(one) = single(graph, text) {
        let object = one?.objects.first().copied();
        return Ok(object.map_or(Node::Root, Node::Object));
    }
    let is_named = |id| graph.strings.get(id) == text;
    if let Some(index) = graph.holders.iter().position(|holder| is_named(holder.name)) {
        return Ok(Node::Holder(HolderId(index as u32)));
    }
    let names = graph.holders.iter().map(|holder| graph.strings.get(holder.name));
    let near = nearest(text, names, NEAR_COUNT).into_iter().map(str::to_owned).collect();
    Err(SelectError::UnknownRoot { name: text.to_owned(), near })
}

/// An object by address or number; `None` when the text is neither.
fn single(graph: &HeapGraph<'_>, text: &str) -> Option<Result<Selection, SelectError>> {
    let of = |named, object| Ok(Selection { named, objects: vec![object] });
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        let address = Addr(u64::from_str_radix(digits, 16).ok()?);
        let found = graph.objects.find(address);
        let found = found.map(|(object, offset)| of(Named::Address(offset), object));
        return Some(found.unwrap_or(Err(SelectError::NoObjectAt(address))));
    }
    let number: u64 = text.strip_prefix("id:")?.parse().ok()?;
    let object = u32::try_from(number).ok().map(ObjectId).filter(|id| id.index() < graph.len());
    let error = SelectError::NoNumber { number, objects: graph.len() };
    Some(object.map_or(Err(error), |object| of(Named::Number, object)))
}

fn types_named(graph: &HeapGraph<'_>, is_meant: impl Fn(&str) -> bool) -> Vec<TypeId> {
    let named = graph.types.iter().enumerate();
    let meant = named.filter(|(_, found)| is_meant(graph.strings.get(found.name)));
    meant.map(|(index, _)| TypeId(index as u32)).collect()
}

fn of_types(
    graph: &HeapGraph<'_>,
    types: Vec<TypeId>,
    text: &str,
) -> Result<Selection, SelectError> {
    let mut is_meant = vec![false; graph.types.len()];
    for id in &types {
        if let Some(flag) = is_meant.get_mut(id.0 as usize) {
            *flag = true;
        }
    }
    let all = graph.type_of.iter().enumerate();
    let meant = all.filter(|(_, id)| is_meant.get(**id as usize) == Some(&true));
    let objects: Vec<ObjectId> = meant.map(|(index, _)| ObjectId(index as u32)).collect();
    if objects.is_empty() {
        return Err(SelectError::NoObjects(text.to_owned()));
    }
    Ok(Selection { named: Named::Types(types), objects })
}

/// What functions allocated, the allocator's frames included.
fn of_functions(graph: &HeapGraph<'_>, is_meant: impl Fn(&str) -> bool) -> Option<Selection> {
    let has = |stack: &Vec<Frame>| stack.iter().any(|frame| is_meant(&frame.function));
    let stacks: Vec<bool> = graph.stacks.iter().map(has).collect();
    let samples = graph.allocated_at.iter();
    let meant = samples.filter(|sample| stacks.get(sample.stack as usize) == Some(&true));
    let mut objects = Vec::new();
    let mut functions = Vec::new();
    for sample in meant {
        objects.push(sample.object);
        let frames = graph.stacks.get(sample.stack as usize).into_iter().flatten();
        functions
            .extend(frames.map(|frame| &frame.function).filter(|name| is_meant(name)).cloned());
    }
    objects.sort_unstable();
    objects.dedup();
    functions.sort_unstable();
    functions.dedup();
    (!objects.is_empty()).then_some(Selection { named: Named::Functions(functions), objects })
}

fn near(graph: &HeapGraph<'_>, text: &str) -> Vec<String> {
    let mut is_used = vec![false; graph.types.len()];
    for id in graph.type_of.iter() {
        if let Some(flag) = is_used.get_mut(*id as usize) {
            *flag = true;
        }
    }
    let used = graph.types.iter().zip(&is_used).filter(|(_, is_used)| **is_used);
    let types = used.map(|(found, _)| graph.strings.get(found.name));
    nearest(text, types, NEAR_COUNT).into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use model::heap::{AllocatedAt, HeapGraph, HolderId, HolderKind, ObjectId};
    use model::{Addr, Frame};

    use super::{Named, SelectError, node, select};
    use crate::heap::Node;
    use crate::heap::tests::Drawing;

    fn graph() -> HeapGraph<'static> {
        let mut drawing = Drawing::new();
        let order = drawing.type_of("main.Order", 32, &[]);
        let items = drawing.type_of("[]*main.Order", 8, &[]);
        drawing.type_of("main.Unused", 8, &[]);
        drawing.object(order, 32);
        drawing.object(items, 64);
        drawing.object(order, 32);
        drawing.holder(HolderKind::Global, "main.cache", &[0]);
        let frame = |function: &str| Frame { function: function.to_owned(), ..Frame::default() };
        drawing.graph.stacks = vec![vec![frame("runtime.newobject"), frame("main.load")]];
        let mut graph = drawing.done();
        graph.allocated_at = vec![AllocatedAt { object: ObjectId(2), stack: 0 }];
        graph
    }

    #[test]
    fn all_ways_to_name_objects() {
        let graph = graph();
        let check = |text: &str, named: Option<Named>, objects: &[u32]| {
            let selection = select(&graph, text).unwrap();
            let found: Vec<u32> = selection.objects.iter().map(|id| id.0).collect();
            assert_eq!(found, objects, "{text}");
            assert!(named.is_none_or(|named| named == selection.named), "{text}");
        };
        check("0x1000", Some(Named::Address(0)), &[0]);
        check("0x1025", Some(Named::Address(5)), &[1]);
        check("id:1", Some(Named::Number), &[1]);
        check("main.Order", None, &[0, 2]);
        check("*main.Order", None, &[0, 2]);
        check("[]*main.Order", None, &[1]);
        check("Order$", None, &[0, 1, 2]);
        check(r"^main\.", None, &[0, 2]);
        check("main.load", Some(Named::Functions(vec!["main.load".to_owned()])), &[2]);
        check("newobj|lo.d", None, &[2]);
    }

    #[test]
    fn what_is_not_there_is_said() {
        let graph = graph();
        let error = |text: &str| select(&graph, text).unwrap_err();
        assert_eq!(error("0x10"), SelectError::NoObjectAt(Addr(0x10)));
        assert_eq!(error("id:3"), SelectError::NoNumber { number: 3, objects: 3 });
        assert_eq!(error("main.Unused"), SelectError::NoObjects("main.Unused".to_owned()));
        let near = vec!["main.Order".to_owned()];
        assert_eq!(error("main.Ordr"), SelectError::Unknown { name: "main.Ordr".to_owned(), near });
        assert!(matches!(error("("), SelectError::Pattern(_)));
    }

    #[test]
    fn nodes_by_name() {
        let graph = graph();
        assert_eq!(node(&graph, "main.cache"), Ok(Node::Holder(HolderId(0))));
        assert_eq!(node(&graph, "id:2"), Ok(Node::Object(ObjectId(2))));
        let near = vec!["main.cache".to_owned()];
        let unknown = SelectError::UnknownRoot { name: "main.cash".to_owned(), near };
        assert_eq!(node(&graph, "main.cash"), Err(unknown));
    }
}
