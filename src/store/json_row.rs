//! Rows that a statement hands over as JSON objects, so that rows of several tables fit into one statement.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::{Columns, Result, StoreError};

/// A list of columns: `list!(a, b)` is `a, b`.
macro_rules! list {
    ($first:ident $(, $rest:ident)*) => {
        concat!(stringify!($first) $(, ", ", stringify!($rest))*)
    };
}
pub(super) use list;

/// Columns of a table as the arguments of [`object`]: `pairs!("t", a, b)` is `'a', t.a, 'b', t.b`.
macro_rules! pairs {
    ($table:literal, $first:ident $(, $rest:ident)*) => {
        concat!(
            "'", stringify!($first), "', ", $table, ".", stringify!($first)
            $(, ", '", stringify!($rest), "', ", $table, ".", stringify!($rest))*
        )
    };
}
pub(super) use pairs;

/// A JSON object made of names and values by the database.
macro_rules! object {
    (sqlite, $($pairs:expr),+) => {
        concat!("json_object(", $($pairs),+, ")")
    };
    (postgres, $($pairs:expr),+) => {
        concat!("json_build_object(", $($pairs),+, ")::text")
    };
}
pub(super) use object;

/// The elements of a parameter, a JSON array, as `e(value)`. PostgreSQL takes what a function returns for a hundred rows, and reads tables of
/// ten thousand from end to end for them; an array that it does not know yet, for ten.
macro_rules! elements {
    (sqlite, $parameter:literal) => {
        concat!("json_each(", $parameter, ") AS e")
    };
    (postgres, $parameter:literal) => {
        concat!("unnest(ARRAY(SELECT json_array_elements(", $parameter, "::json))) AS e(value)")
    };
}
pub(super) use elements;

/// The same where they are texts.
macro_rules! texts {
    (sqlite, $parameter:literal) => {
        concat!("json_each(", $parameter, ")")
    };
    (postgres, $parameter:literal) => {
        concat!("json_array_elements_text(", $parameter, "::json) AS e(value)")
    };
}
pub(super) use texts;

/// A statement that compares a column, with which its first part ends, with the elements of a parameter, a JSON array of texts:
/// `one_of!(tx, ["SELECT … WHERE id"] "$2" [" ORDER BY id"])`, in the words of the engine.
macro_rules! one_of {
    ($tx:expr, [$($before:tt)*] $parameter:literal [$($after:tt)*]) => {
        $crate::store::per_engine!(
            $tx,
            concat!($($before)*, " IN (SELECT value FROM json_each(", $parameter, "))", $($after)*),
            concat!($($before)*, " = ANY (ARRAY(SELECT json_array_elements_text(", $parameter, "::json)))", $($after)*)
        )
    };
}
pub(super) use one_of;

/// One of them, read. A row has few columns: looking through them is quicker than a map.
#[derive(Debug)]
pub(super) struct JsonRow<'a>(Vec<(&'a str, Field<'a>)>);

#[derive(Debug)]
enum Field<'a> {
    Null,
    Int(i64),
    Text(Cow<'a, str>),
}

impl<'a> JsonRow<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self> {
        serde_json::from_str(text).map_err(|_| StoreError::Broken("a row as JSON"))
    }

    fn field(&self, name: &'static str) -> Result<&Field<'a>> {
        let found = self.0.iter().find(|(column, _)| *column == name);
        found.map(|(_, field)| field).ok_or(StoreError::Broken(name))
    }
}

impl Columns for JsonRow<'_> {
    fn text(&self, name: &'static str) -> Result<String> {
        self.maybe_text(name)?.ok_or(StoreError::Broken(name))
    }

    fn maybe_text(&self, name: &'static str) -> Result<Option<String>> {
        match self.field(name)? {
            Field::Null => Ok(None),
            Field::Text(text) => Ok(Some(text.clone().into_owned())),
            Field::Int(_) => Err(StoreError::Broken(name)),
        }
    }

    fn int(&self, name: &'static str) -> Result<i64> {
        self.maybe_int(name)?.ok_or(StoreError::Broken(name))
    }

    fn maybe_int(&self, name: &'static str) -> Result<Option<i64>> {
        match self.field(name)? {
            Field::Null => Ok(None),
            Field::Int(number) => Ok(Some(*number)),
            Field::Text(_) => Err(StoreError::Broken(name)),
        }
    }
}

impl<'de> Deserialize<'de> for JsonRow<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Row;
        impl<'de> Visitor<'de> for Row {
            type Value = JsonRow<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a row")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
                let mut fields = Vec::with_capacity(16);
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(JsonRow(fields))
            }
        }
        deserializer.deserialize_map(Row)
    }
}

impl<'de> Deserialize<'de> for Field<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Value;
        impl<'de> Visitor<'de> for Value {
            type Value = Field<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a whole number or null")
            }

            fn visit_unit<E: Error>(self) -> std::result::Result<Self::Value, E> {
                Ok(Field::Null)
            }

            fn visit_i64<E: Error>(self, number: i64) -> std::result::Result<Self::Value, E> {
                Ok(Field::Int(number))
            }

            fn visit_u64<E: Error>(self, number: u64) -> std::result::Result<Self::Value, E> {
                i64::try_from(number).map(Field::Int).map_err(E::custom)
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> std::result::Result<Self::Value, E> {
                Ok(Field::Text(Cow::Borrowed(text)))
            }

            // One that had to be unescaped.
            fn visit_str<E: Error>(self, text: &str) -> std::result::Result<Self::Value, E> {
                Ok(Field::Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_any(Value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_what_its_columns_are() {
        let row = JsonRow::parse(r#"{"a": "x\"y", "b": 7, "c": null, "d": -1}"#).unwrap();
        assert_eq!((row.text("a").unwrap().as_str(), row.int("b").unwrap(), row.int("d").unwrap()), ("x\"y", 7, -1));
        assert_eq!((row.maybe_text("c").unwrap(), row.maybe_int("c").unwrap()), (None, None));
        for broken in [row.text("b").is_err(), row.int("a").is_err(), row.text("c").is_err(), row.text("e").is_err()] {
            assert!(broken);
        }
        assert!(JsonRow::parse("[]").is_err() && JsonRow::parse(r#"{"a": {}}"#).is_err());
    }

    #[test]
    fn columns_as_text() {
        assert_eq!(list!(a, b), "a, b");
        assert_eq!(object!(sqlite, pairs!("t", a, b), ", 'c', 1"), "json_object('a', t.a, 'b', t.b, 'c', 1)");
    }
}
