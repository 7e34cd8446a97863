//! Colours for terminals.

/// Whether text is painted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint(pub bool);

impl Paint {
    fn wrap(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Bold.
    pub fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    /// For what is secondary.
    pub fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    /// For trouble.
    pub fn bad(self, text: &str) -> String {
        self.wrap("1;31", text)
    }

    /// For what should be watched.
    pub fn warn(self, text: &str) -> String {
        self.wrap("1;33", text)
    }

    /// For what is fine.
    pub fn good(self, text: &str) -> String {
        self.wrap("1;32", text)
    }
}
