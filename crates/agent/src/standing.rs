//! A probe that is at work as long as the configuration wants it.

use capture::{CaptureError, ErrorKind};

use crate::config::ProbeUse;

/// The probe while it is open, or that it cannot be.
pub(crate) struct Standing<T> {
    open: Option<T>,
    /// It was tried like this, and is not tried again before it is wanted in another way.
    failed: Option<ProbeUse>,
}

impl<T> Default for Standing<T> {
    fn default() -> Standing<T> {
        Standing { open: None, failed: None }
    }
}

impl<T> Standing<T> {
    /// Opens or closes it as it is wanted now. `told` gets the reason why it cannot be opened, once, and
    /// whether that is a fault: where nobody asked for it, it is none that it may not be used.
    pub(crate) fn keep_to(
        &mut self,
        wanted: ProbeUse,
        open: impl FnOnce() -> Result<T, CaptureError>,
        told: impl FnOnce(&str, bool),
    ) -> Option<&mut T> {
        if wanted == ProbeUse::Never {
            (self.open, self.failed) = (None, None);
        } else if self.open.is_none() && self.failed != Some(wanted) {
            match open() {
                Ok(opened) => self.open = Some(opened),
                Err(error) => {
                    self.failed = Some(wanted);
                    let next = error.next_step().map(|next| format!("; {next}"));
                    let is_fault = wanted == ProbeUse::Always || error.kind() != ErrorKind::Denied;
                    told(&format!("{error}{}", next.unwrap_or_default()), is_fault);
                }
            }
        }
        self.open.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use capture::CaptureError;

    use super::Standing;
    use crate::config::ProbeUse;

    fn denied() -> CaptureError {
        CaptureError::Denied { pid: 1, what: "this" }
    }

    #[test]
    fn it_is_tried_once_for_each_way_it_is_wanted() {
        let (mut standing, mut told) = (Standing::<u8>::default(), Vec::new());
        for wanted in [ProbeUse::Auto, ProbeUse::Auto, ProbeUse::Always, ProbeUse::Always] {
            let mut tell = |_: &str, is_fault: bool| told.push(is_fault);
            assert!(standing.keep_to(wanted, || Err(denied()), &mut tell).is_none());
        }
        assert_eq!(told, [false, true]);
    }

    #[test]
    fn it_is_open_while_it_is_wanted() {
        let mut standing = Standing::default();
        let mut keep_to = |wanted, value: u8| {
            let told = |why: &str, _| panic!("{why}");
            standing.keep_to(wanted, || Ok(value), told).copied()
        };
        assert_eq!(keep_to(ProbeUse::Auto, 1), Some(1));
        assert_eq!(keep_to(ProbeUse::Always, 2), Some(1));
        assert_eq!(keep_to(ProbeUse::Never, 3), None);
        assert_eq!(keep_to(ProbeUse::Auto, 4), Some(4));
    }
}
