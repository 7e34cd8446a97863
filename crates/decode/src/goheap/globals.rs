//! What package variables hold.

use std::borrow::Cow;

use model::heap::{HolderId, HolderKind};

use super::files::DebugType;
use super::names::{Global, Names};
use super::pointers::each_masked;
use super::roots::Roots;
use super::typetable::TypeTable;
use super::{Reader, Seed};
use crate::bytes::Bytes;
use crate::symbols::variables::TypeKind;

impl<'a, 'm> Reader<'a, 'm, '_> {
    /// The variables of all modules, by the masks the collector scans them with.
    pub(super) fn globals(
        &self,
        roots: &mut Roots<'a, '_>,
        types: &mut TypeTable<'a, '_>,
        names: &Names<'_>,
    ) -> Vec<Seed<'m>> {
        let mut seeds = Vec::new();
        let statics = self.statics(names);
        for (index, module) in self.modules.iter().enumerate() {
            for region in &module.regions {
                let mut current: Option<(u64, u64, HolderId)> = None;
                each_masked(&region.bytes, region.mask, |offset, value| {
                    let addr = region.start + offset;
                    if !roots.is_object(value) {
                        return;
                    }
                    if let Some((start, end, holder)) = current
                        && addr < end
                    {
                        roots.point(holder, addr - start, value);
                        return;
                    }
                    let global = names.global(index, addr);
                    let Some(global) = global.or_else(|| static_at(&statics, addr)) else {
                        let name = types.strings.intern(&format!("global {addr:#x}"));
                        let place = types.strings.intern(names.file(index));
                        let holder = roots.holder(HolderKind::Global, name);
                        roots.point(holder, 0, value);
                        if let Some(holder) = roots.holders.last_mut() {
                            holder.place = place;
                        }
                        return;
                    };
                    let name = types.strings.intern(&global.name);
                    let holder = roots.holder(HolderKind::Global, name);
                    let (start, end) = (global.start, global.end);
                    current = Some((start, end, holder));
                    roots.point(holder, addr - start, value);
                    let of = global.of.and_then(|of| types.of_debug(of));
                    if let Some(holder) = roots.holders.last_mut() {
                        holder.of = of;
                    }
                    let bytes = start.checked_sub(region.start).and_then(|from| {
                        region.bytes.get(from as usize..)?.get(..(end - start) as usize)
                    });
                    if let (Some(of), Some(bytes)) = (of, bytes) {
                        let bytes = Cow::Borrowed(bytes);
                        seeds.push(Seed { bytes, live: None, of, is_pointer: false });
                    }
                });
            }
        }
        seeds
    }

    /// What variables point to that has no name itself: the compiler lays out `&T{}` of a
    /// variable's declaration beside it. It goes by the variable's name; in the order of
    /// addresses.
    fn statics(&self, names: &Names<'_>) -> Vec<Global> {
        let mut found: Vec<Global> = Vec::new();
        for (index, (file, module)) in self.files.iter().zip(self.modules).enumerate() {
            let Some(debug) = &file.debug else { continue };
            let word = |addr: u64| {
                let region = module.regions.iter().find(|region| region.has(addr))?;
                Bytes(&region.bytes).u64(usize::try_from(addr - region.start).ok()?)
            };
            for variable in debug.globals().all() {
                let TypeKind::Pointer(Some(id)) = debug.get(variable.type_id).kind else {
                    continue;
                };
                let start = variable.addr.0.checked_add(file.bias).and_then(word).unwrap_or(0);
                let bytes = debug.get(id).bytes;
                let is_static = module.regions.iter().any(|region| region.has(start));
                if is_static && bytes > 0 && names.global(index, start).is_none() {
                    let (end, name) = (start.saturating_add(bytes), variable.name.clone());
                    let of = Some(DebugType { module: index, id });
                    found.push(Global { start, end, name, of });
                }
            }
        }
        found.sort_by(|a, b| (a.start, &a.name).cmp(&(b.start, &b.name)));
        let mut end = 0;
        found.retain(|global| {
            let is_apart = global.start >= end;
            if is_apart {
                end = global.end;
            }
            is_apart
        });
        found
    }
}

fn static_at(statics: &[Global], addr: u64) -> Option<Global> {
    let index = statics.partition_point(|global| global.start <= addr).checked_sub(1)?;
    statics.get(index).filter(|global| addr < global.end).cloned()
}
