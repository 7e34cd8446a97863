//! Rewriting stacks, each distinct one once.

use model::{LocationId, Profile, StackId};

/// What becomes of a stack.
pub(super) enum Fate<'a> {
    /// It stays as it is.
    Keep,
    /// Its samples are dropped.
    Drop,
    /// It becomes this one.
    Become(&'a [LocationId]),
}

/// Asks for the fate of every stack and applies it to the samples. `scratch` is for
/// the caller's use.
pub(super) fn rewrite(
    profile: &mut Profile,
    mut fate: impl for<'a> FnMut(&'a [LocationId], &'a mut Vec<LocationId>) -> Fate<'a>,
) {
    let mut scratch = Vec::new();
    let mut copy = Vec::new();
    let mut new_ids: Vec<Option<StackId>> = Vec::with_capacity(profile.stacks.len());
    for index in 0..profile.stacks.len() as u32 {
        let id = StackId(index);
        scratch.clear();
        let new_id = match fate(profile.stacks.get(id), &mut scratch) {
            Fate::Keep => Some(id),
            Fate::Drop => None,
            Fate::Become(stack) => {
                copy.clear();
                copy.extend_from_slice(stack);
                Some(profile.stacks.intern(&copy))
            }
        };
        new_ids.push(new_id);
    }
    let new_id = |id: StackId| new_ids.get(id.0 as usize).copied().flatten();
    let old = std::mem::take(&mut profile.samples.stacks);
    let kept: Vec<Option<StackId>> = old.iter().map(|id| new_id(*id)).collect();
    profile.samples.stacks = kept.iter().map(|id| id.unwrap_or(StackId(u32::MAX))).collect();
    profile.samples.retain(|sample| kept.get(sample.0 as usize).is_some_and(Option::is_some));
}
