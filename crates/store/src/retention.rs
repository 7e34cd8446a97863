//! What is kept: everything recent, less and less of what is older, nothing beyond
//! the age and size limits.

use std::collections::HashSet;

use model::{Capture, CaptureKind, TargetId, Timestamp};
use rusqlite::params;

use crate::catalog::Store;
use crate::error::StoreError;

/// What a sweep removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Captures.
    pub captures: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Observations.
    pub observations: usize,
}

impl Swept {
    pub(crate) fn add(&mut self, other: Swept) {
        self.captures += other.captures;
        self.bytes += other.bytes;
        self.observations += other.observations;
    }
}

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// Beyond the age, one capture of a target and kind a stretch is kept: the first, so
/// that a growth's beginning stays comparable with its end.
const THINNING: [(i64, i64); 3] =
    [(30 * MINUTE, MINUTE), (6 * HOUR, 10 * MINUTE), (48 * HOUR, HOUR)];

impl Store {
    /// Removes what is no longer to be kept at time `now`.
    ///
    /// # Errors
    /// When the catalog cannot be written.
    pub fn sweep(&self, now: Timestamp) -> Result<Swept, StoreError> {
        let oldest = now.0 - i64::try_from(self.keep().as_millis()).unwrap_or(i64::MAX);
        let mut swept = Swept::default();
        let mut total = self.stats()?.bytes;
        let captures = self.captures_by_time()?;
        let of_rules = self.trigger_captures()?;
        let large = captures.iter().filter(|capture| capture.kind.is_large());
        let mut large_bytes: u64 = large.map(|capture| capture.bytes).sum();
        let mut seen: HashSet<(TargetId, CaptureKind, i64, i64)> = HashSet::new();
        for capture in captures {
            let age = now.0 - capture.time.0;
            let stretch = THINNING.iter().rev().find(|(from, _)| age > *from);
            // What rules had taken has a retention of its own, and goes only for its age.
            let is_of_rule = of_rules.contains(&capture.id);
            let is_spare = !is_of_rule
                && stretch.is_some_and(|(_, length)| {
                    let slot = capture.time.0 / length;
                    !seen.insert((capture.target, capture.kind, *length, slot))
                });
            // A few graphs would push out every profile that leads to them.
            let is_large = capture.kind.is_large();
            let is_crowding = (is_large && large_bytes > self.file_bytes_max())
                || (!is_of_rule && total > self.keep_bytes());
            if capture.time.0 < oldest || is_spare || is_crowding {
                self.delete_capture(&capture)?;
                total -= capture.bytes;
                large_bytes -= if is_large { capture.bytes } else { 0 };
                swept.captures += 1;
                swept.bytes += capture.bytes;
            }
        }
        self.forget_empty_triggers()?;
        swept.observations = self.thin_observations(now, oldest)?;
        self.thin_rule_events(oldest)?;
        Ok(swept)
    }

    /// What large captures may take together, and so one of them at most.
    pub fn file_bytes_max(&self) -> u64 {
        self.keep_bytes() / 2
    }

    /// All captures, oldest first.
    fn captures_by_time(&self) -> Result<Vec<Capture>, StoreError> {
        let mut all = Vec::new();
        for target in self.targets()? {
            all.extend(self.captures(target.id, None, usize::MAX)?);
        }
        all.sort_by_key(|capture| (capture.time, capture.id));
        Ok(all)
    }

    /// After six hours one observation a minute is enough.
    fn thin_observations(&self, now: Timestamp, oldest: i64) -> Result<usize, StoreError> {
        let catalog = self.catalog();
        let mut removed =
            catalog.execute("DELETE FROM observations WHERE time < ?1", params![oldest])?;
        let sql = "DELETE FROM observations WHERE time < ?1 AND time >= ?2 AND EXISTS (SELECT 1 \
                   FROM observations AS later WHERE later.target = observations.target AND \
                   later.time > observations.time AND \
                   later.time < (observations.time / ?3 + 1) * ?3)";
        // Only the hour that has just come of age: older ones are thin already.
        let from = now.0 - 7 * HOUR;
        removed += catalog.execute(sql, params![now.0 - 6 * HOUR, from, MINUTE])?;
        Ok(removed)
    }
}
