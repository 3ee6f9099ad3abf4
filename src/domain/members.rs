//! Reading a type from named members (of a JSON object, of a configuration's table), so that what is wrong names its member.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde::Serialize;
use serde::de::value::{Error as NoValue, MapDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Visitor};
use serde_json::{Map, Value};

/// What is wrong with one member; the sentence is fit for an error description.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{member}: {problem}")]
pub struct MemberError {
    /// The member.
    pub member: String,
    /// What is wrong with it.
    pub problem: String,
}

impl MemberError {
    /// Says what is wrong with a member.
    pub fn new(member: &str, problem: impl std::fmt::Display) -> Self {
        Self { member: member.to_owned(), problem: problem.to_string() }
    }
}

/// Reads a type from its members. Null is absent, and members that the type does not have are passed over.
///
/// # Errors
/// The first member that cannot be read.
pub fn read<T: DeserializeOwned>(members: Map<String, Value>) -> Result<T, MemberError> {
    let current = RefCell::new(String::new());
    let entries = members.into_iter().filter(|(_, value)| !value.is_null());
    let entries = entries.inspect(|(name, _)| current.borrow_mut().clone_from(name));
    let read = T::deserialize(MapDeserializer::<_, serde_json::Error>::new(entries));
    read.map_err(|error| MemberError { member: current.take(), problem: error.to_string() })
}

/// Members laid over those of something that is known: null takes one away.
#[must_use]
pub fn over(known: &impl Serialize, members: Map<String, Value>) -> Map<String, Value> {
    let mut all = match serde_json::to_value(known) {
        Ok(Value::Object(all)) => all,
        other => unreachable!("what has members is an object in JSON, not {other:?}"),
    };
    all.extend(members);
    all
}

/// The members of a type, by their names in JSON.
#[must_use]
pub fn names<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // Asking for nothing but the names, this ends in an error that says nothing.
    let _no_value = T::deserialize(Names(&mut names));
    names
}

struct Names<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Names<'_> {
    type Error = NoValue;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, NoValue> {
        Err(serde::de::Error::custom("only the names were asked for"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NoValue> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct seq tuple
        tuple_struct map enum identifier ignored_any
    }
}

/// Judges a list: it is short, says nothing twice, and each entry keeps its rule.
///
/// # Errors
/// The first entry that does not fit.
pub fn check_list<'a>(
    member: &str,
    entries: impl IntoIterator<Item = &'a str>,
    max: usize,
    rule: impl Fn(&str) -> Result<(), String>,
) -> Result<(), MemberError> {
    let mut seen = BTreeSet::new();
    for entry in entries {
        if !seen.insert(entry) {
            return Err(MemberError::new(member, format!("{} is listed twice", quote(entry))));
        }
        if seen.len() > max {
            return Err(MemberError::new(member, format!("it has more than {max} entries")));
        }
        rule(entry).map_err(|problem| MemberError::new(member, problem))?;
    }
    Ok(())
}

/// A value as it can stand in a one-line message. Never for secrets.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut short: String = text.chars().take(80).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(default)]
    #[derive(Default)]
    struct Thing {
        count: Option<u8>,
        #[serde(rename = "other_name")]
        names: Vec<String>,
    }

    #[test]
    fn what_is_wrong_names_its_member() {
        let read = |value: Value| read::<Thing>(value.as_object().unwrap().clone());
        let good = read(json!({"count": 3, "other_name": ["a"], "unknown": {}})).unwrap();
        assert_eq!(good, Thing { count: Some(3), names: vec!["a".into()] });
        assert_eq!(read(json!({"count": null, "other_name": null})).unwrap(), Thing::default());
        for (value, expected) in [
            (json!({"count": "3", "other_name": []}), "count: invalid type: string \"3\", expected u8"),
            (json!({"count": 3, "other_name": [1]}), "other_name: invalid type: integer `1`, expected a string"),
            (json!({"count": 300}), "count: invalid value: integer `300`, expected u8"),
        ] {
            assert_eq!(read(value).unwrap_err().to_string(), expected);
        }
        assert_eq!(names::<Thing>(), ["count", "other_name"]);
    }

    #[test]
    fn quotes_fit_on_a_line() {
        assert_eq!(quote("a\nb"), "\"a\\nb\"");
        assert!(quote(&"a".repeat(500)).len() < 100);
    }
}
