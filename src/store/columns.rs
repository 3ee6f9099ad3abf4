//! From a row to values, and from values to a text that one statement takes.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;

use super::{Result, StoreError};
use crate::domain::time::Timestamp;

/// The four kinds of column there are: text and whole number, each perhaps null.
pub(super) trait Columns {
    fn text(&self, name: &'static str) -> Result<String>;
    fn maybe_text(&self, name: &'static str) -> Result<Option<String>>;
    fn int(&self, name: &'static str) -> Result<i64>;
    fn maybe_int(&self, name: &'static str) -> Result<Option<i64>>;

    /// An identifier.
    fn id<T: TryFrom<String>>(&self, name: &'static str) -> Result<T> {
        self.text(name)?.try_into().map_err(|_| StoreError::Broken(name))
    }

    /// A nullable identifier.
    fn maybe_id<T: TryFrom<String>>(&self, name: &'static str) -> Result<Option<T>> {
        self.maybe_text(name)?.map(T::try_from).transpose().map_err(|_| StoreError::Broken(name))
    }

    /// A time.
    fn time(&self, name: &'static str) -> Result<Timestamp> {
        self.int(name).map(Timestamp)
    }

    /// A nullable time.
    fn maybe_time(&self, name: &'static str) -> Result<Option<Timestamp>> {
        Ok(self.maybe_int(name)?.map(Timestamp))
    }

    /// A nullable time read as yes or no.
    fn is_set(&self, name: &'static str) -> Result<bool> {
        Ok(self.maybe_int(name)?.is_some())
    }

    /// A column that holds JSON.
    fn json<T: DeserializeOwned>(&self, name: &'static str) -> Result<T> {
        serde_json::from_str(&self.text(name)?).map_err(|_| StoreError::Broken(name))
    }
}

macro_rules! columns {
    ($row:ty) => {
        impl Columns for $row {
            fn text(&self, name: &'static str) -> Result<String> {
                Ok(self.try_get(name)?)
            }
            fn maybe_text(&self, name: &'static str) -> Result<Option<String>> {
                Ok(self.try_get(name)?)
            }
            fn int(&self, name: &'static str) -> Result<i64> {
                Ok(self.try_get(name)?)
            }
            fn maybe_int(&self, name: &'static str) -> Result<Option<i64>> {
                Ok(self.try_get(name)?)
            }
        }
    };
}
columns!(SqliteRow);
columns!(PgRow);

/// A column whose text is one of an enum's words.
pub(super) fn word<T>(row: &impl Columns, name: &'static str, parse: fn(&str) -> Option<T>) -> Result<T> {
    parse(&row.text(name)?).ok_or(StoreError::Broken(name))
}

/// A column's JSON.
pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("lists and maps of text are JSON")
}
