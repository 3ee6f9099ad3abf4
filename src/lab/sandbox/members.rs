//! JSON objects from outside, read so that nobody can read them otherwise.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

/// A JSON object that remembers whether a member was repeated, which libraries read in different ways (RFC 8259 section 4).
#[derive(Debug, Default)]
pub(super) struct Members {
    map: Map<String, Value>,
    /// Whether a name stood there twice.
    pub(super) repeated: bool,
}

impl Members {
    /// The member, null included: a null is not an absence.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.map.get(name)
    }

    /// All of them.
    pub(super) fn all(&self) -> &Map<String, Value> {
        &self.map
    }

    /// The member, if it is a text that says something.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str().filter(|text| !text.is_empty())
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Members, A::Error> {
                let mut members = Members::default();
                while let Some((name, value)) = access.next_entry::<String, Value>()? {
                    members.repeated |= members.map.insert(name, value).is_some();
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_notices_repetition() {
        let parse = |text: &str| serde_json::from_str::<Members>(text).map(|members| members.repeated).ok();
        assert_eq!(parse(r#"{"a":1,"b":2}"#), Some(false));
        assert_eq!(parse(r#"{"a":1,"b":2,"a":1}"#), Some(true));
        assert_eq!(parse("[1]"), None);
    }
}
