//! Numbers for streams, types, categories and replicas, given in the order in which they are met.

use std::sync::Arc;

use crate::dag::column::Column;
use crate::format::binary::binary_fields;
use crate::index::table::Table;

/// Texts with dense numbers; a text keeps its number for ever.
#[derive(Clone, Debug, Default)]
pub struct Names {
    texts: Column<Arc<str>, 256>,
    table: Table,
}
binary_fields!(Names { texts, table });

impl Names {
    /// How many texts have a number.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.texts.len() as u32
    }

    /// Whether no text has a number.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// The text of a number.
    #[must_use]
    pub fn text(&self, number: u32) -> &str {
        self.texts.get(number as usize).map_or("", |text| text)
    }

    /// The number of a text.
    #[must_use]
    pub fn find(&self, text: &str) -> Option<u32> {
        self.table.find(self.table.hash(text.as_bytes()), |number| self.text(number) == text)
    }

    /// The number of a text, a new one if it has none.
    pub fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.find(text) {
            return number;
        }
        let number = self.len();
        self.texts.push(text.into());
        let texts = &self.texts;
        let hash = self.table.hash(text.as_bytes());
        self.table.insert(hash, number, |table, held| table.hash(texts.get(held as usize).map_or(b"", |text| text.as_bytes())));
        number
    }
}
