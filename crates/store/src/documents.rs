//! Small texts by name: what parts of the agent remember over a restart.

use rusqlite::OptionalExtension;

use crate::catalog::Store;
use crate::error::StoreError;

impl Store {
    /// Keeps a text under a name, in place of the one before.
    ///
    /// # Errors
    /// When the catalog cannot be written.
    pub fn put_document(&self, name: &str, text: &str) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO documents (name, text) VALUES (?1, ?2)";
        self.catalog().execute(sql, [name, text])?;
        Ok(())
    }

    /// The text of a name.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn document(&self, name: &str) -> Result<Option<String>, StoreError> {
        let sql = "SELECT text FROM documents WHERE name = ?1";
        Ok(self.catalog().query_row(sql, [name], |row| row.get(0)).optional()?)
    }
}
