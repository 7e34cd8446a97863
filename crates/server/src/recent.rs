//! The profiles that were shown last, decoded: a page asks several things about one.
//!
//! Two of them (a profile and its base), for five minutes. Requests for one that is
//! being decoded wait for it instead of decoding it again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::{CaptureId, CaptureKind, Profile};
use store::Store;

use crate::error::ApiError;

const KEPT: usize = 2;
const KEEP: Duration = Duration::from_secs(300);

/// Decoded profiles.
#[derive(Debug, Default)]
pub struct Recent {
    slots: Mutex<Vec<Slot>>,
}

#[derive(Debug)]
struct Slot {
    id: i64,
    used: Instant,
    /// Filled by whoever asked first.
    profile: Arc<Mutex<Option<Arc<Profile>>>>,
}

impl Recent {
    /// The profile of a capture. Captures never change.
    pub(crate) fn profile(&self, store: &Store, id: i64) -> Result<Arc<Profile>, ApiError> {
        let slot = self.slot(id);
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(profile) = slot.as_ref() {
            return Ok(Arc::clone(profile));
        }
        if store.capture(CaptureId(id))?.kind == CaptureKind::Graph {
            let error = format!("capture {id} is an object graph, not a profile");
            return Err(ApiError::bad(error, "its answers are below heap/, its page is /heap/ID"));
        }
        let bytes = store.read_capture(CaptureId(id))?;
        let parsed = decode::pprof::read(&bytes).map_err(|error| ApiError::internal(&error))?;
        let profile = Arc::new(parsed.profile);
        *slot = Some(Arc::clone(&profile));
        Ok(profile)
    }

    /// Decodes a capture that will be asked for. What is wrong with it is said then.
    pub fn warm(&self, store: &Store, id: i64) {
        let _ = self.profile(store, id);
    }

    /// Forgets what nobody has asked for lately.
    pub(crate) fn forget_old(&self) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|slot| slot.used.elapsed() < KEEP);
    }

    fn slot(&self, id: i64) -> Arc<Mutex<Option<Arc<Profile>>>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let mut slot = match slots.iter().position(|slot| slot.id == id) {
            Some(at) => slots.remove(at),
            None => Slot { id, used: Instant::now(), profile: Arc::default() },
        };
        slot.used = Instant::now();
        let profile = Arc::clone(&slot.profile);
        // The one that was used last comes last.
        slots.push(slot);
        let excess = slots.len().saturating_sub(KEPT);
        slots.drain(..excess);
        profile
    }
}
