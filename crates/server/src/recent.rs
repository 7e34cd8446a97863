//! What was shown last, decoded: a page asks several things about one capture.
//!
//! Two of them (a capture and its base), for five minutes. Requests for one that is
//! being decoded wait for it instead of decoding it again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::{CaptureId, Profile};
use store::Store;

use crate::error::ApiError;

const KEPT: usize = 2;
const KEEP: Duration = Duration::from_secs(300);

/// Decoded captures.
#[derive(Debug)]
pub struct Recent<T> {
    slots: Mutex<Vec<Slot<T>>>,
}

impl<T> Default for Recent<T> {
    fn default() -> Recent<T> {
        Recent { slots: Mutex::default() }
    }
}

/// Filled by whoever asked first.
type Decoded<T> = Arc<Mutex<Option<Arc<T>>>>;

#[derive(Debug)]
struct Slot<T> {
    id: i64,
    used: Instant,
    decoded: Decoded<T>,
}

impl<T> Recent<T> {
    /// What a capture holds. Captures never change, so `decode` is called once.
    pub(crate) fn get(
        &self,
        id: i64,
        decode: impl FnOnce() -> Result<T, ApiError>,
    ) -> Result<Arc<T>, ApiError> {
        let slot = self.slot(id);
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(decoded) = slot.as_ref() {
            return Ok(Arc::clone(decoded));
        }
        let decoded = Arc::new(decode()?);
        *slot = Some(Arc::clone(&decoded));
        Ok(decoded)
    }

    /// Forgets what nobody has asked for lately.
    pub(crate) fn forget_old(&self) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|slot| slot.used.elapsed() < KEEP);
    }

    fn slot(&self, id: i64) -> Decoded<T> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let mut slot = match slots.iter().position(|slot| slot.id == id) {
            Some(at) => slots.remove(at),
            None => Slot { id, used: Instant::now(), decoded: Arc::default() },
        };
        slot.used = Instant::now();
        let decoded = Arc::clone(&slot.decoded);
        // The one that was used last comes last.
        slots.push(slot);
        let excess = slots.len().saturating_sub(KEPT);
        slots.drain(..excess);
        decoded
    }
}

impl Recent<Profile> {
    /// The profile of a capture.
    pub(crate) fn profile(&self, store: &Store, id: i64) -> Result<Arc<Profile>, ApiError> {
        self.get(id, || {
            let capture = store.capture(CaptureId(id))?;
            if !capture.kind.is_profile() {
                return Err(ApiError::other_kind(&capture));
            }
            let bytes = store.read_capture(capture.id)?;
            let parsed = decode::pprof::read(&bytes).map_err(|error| ApiError::internal(&error))?;
            Ok(parsed.profile)
        })
    }

    /// Decodes a capture that will be asked for. What is wrong with it is said then.
    pub fn warm(&self, store: &Store, id: i64) {
        let _ = self.profile(store, id);
    }
}
