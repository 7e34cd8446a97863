//! What package variables hold.

use model::heap::{HolderId, HolderKind};

use super::names::Names;
use super::pointers::each_masked;
use super::roots::Roots;
use super::typetable::TypeTable;
use super::{Reader, Seed};

impl<'a> Reader<'a, '_> {
    /// The variables of all modules, by the masks the collector scans them with.
    pub(super) fn globals(
        &self,
        roots: &mut Roots<'a, '_>,
        types: &mut TypeTable<'a, '_>,
        names: &Names<'_>,
    ) -> Vec<Seed> {
        let bias = self.input.attached.bias.0;
        let mut seeds = Vec::new();
        for (index, module) in self.modules.iter().enumerate() {
            // Names are known of the program itself; plugins' files are not at hand.
            let is_main = index == 0;
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
                    let linked = addr.checked_sub(bias).filter(|_| is_main);
                    let global = linked.and_then(|addr| names.global(addr));
                    let Some(global) = global else {
                        let name = types.strings.intern(&format!("global {addr:#x}"));
                        let holder = roots.holder(HolderKind::Global, name);
                        roots.point(holder, 0, value);
                        return;
                    };
                    let name = types.strings.intern(&global.name);
                    let holder = roots.holder(HolderKind::Global, name);
                    let (start, end) = (global.start + bias, global.end.saturating_add(bias));
                    current = Some((start, end, holder));
                    roots.point(holder, addr - start, value);
                    let of = global.of.and_then(|of| types.of_debug(of));
                    if let Some(holder) = roots.holders.last_mut() {
                        holder.of = of;
                    }
                    let from = start.checked_sub(region.start).map(|from| from as usize);
                    let bytes =
                        from.and_then(|from| region.bytes.get(from..from + (end - start) as usize));
                    if let (Some(of), Some(bytes)) = (of, bytes) {
                        let bytes = bytes.to_vec();
                        seeds.push(Seed { bytes, live: None, of, is_pointer: false });
                    }
                });
            }
        }
        seeds
    }
}
