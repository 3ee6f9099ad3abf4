//! Pages of the lists on a dashboard, and where each begins.

use crate::error::Error;

/// Rows of a page, and those that are read: one more shows that there is another.
const PAGE: usize = 50;
pub(super) const ROWS: i64 = 51;
/// Longest id in a link.
const MAX_ID: usize = 64;

/// A page of a list.
#[derive(Debug)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next one begins.
    pub next: Option<Place>,
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self { items: Vec::new(), next: None }
    }
}

/// The page of what was read; `place` is where its last row stands.
pub(super) fn page<T>(mut items: Vec<T>, place: impl FnOnce(&T) -> Place) -> Page<T> {
    let more = items.len() > PAGE;
    items.truncate(PAGE);
    let next = items.last().filter(|_| more).map(place);
    Page { items, next }
}

impl<T> Page<T> {
    pub(super) fn map<U>(self, change: impl FnMut(T) -> Result<U, Error>) -> Result<Page<U>, Error> {
        Ok(Page { items: self.items.into_iter().map(change).collect::<Result<_, _>>()?, next: self.next })
    }
}

/// Where a page of a list begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Questions, after so many.
    Pending(i64),
    /// Delegations that are active, after one; then come those that are over.
    Services(String),
    /// Delegations that are over, after one.
    Over(String),
    /// Clients that the user stays signed in to, after so many.
    Agents(i64),
    /// Sessions, after one.
    Sessions(String),
    /// Denials, after the decision of this number.
    Denials(i64),
}

impl Place {
    /// The list, and the place in it as it stands in links.
    #[must_use]
    pub fn link(&self) -> (&'static str, String) {
        match self {
            Self::Pending(passed) => ("questions", passed.to_string()),
            Self::Services(id) => ("services", id.clone()),
            Self::Over(id) => ("stopped", id.clone()),
            Self::Agents(passed) => ("agents", passed.to_string()),
            Self::Sessions(id) => ("sessions", id.clone()),
            Self::Denials(number) => ("denials", number.to_string()),
        }
    }

    /// Reads a link.
    #[must_use]
    pub fn read(list: &str, after: &str) -> Option<Self> {
        let id = || Some(after.to_owned()).filter(|id| (1..=MAX_ID).contains(&id.len()));
        let number = || after.parse().ok().filter(|number| *number >= 0);
        Some(match list {
            "questions" => Self::Pending(number()?),
            "services" => Self::Services(id()?),
            "stopped" => Self::Over(id()?),
            "agents" => Self::Agents(number()?),
            "sessions" => Self::Sessions(id()?),
            "denials" => Self::Denials(number()?),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_to_its_place_and_nonsense_nowhere() {
        for place in [
            Place::Pending(50),
            Place::Services("0190".into()),
            Place::Over("0190".into()),
            Place::Agents(100),
            Place::Sessions("0190".into()),
            Place::Denials(7),
        ] {
            let (list, after) = place.link();
            assert_eq!(Place::read(list, &after), Some(place));
        }
        let long = "0".repeat(65);
        for (list, after) in
            [("", ""), ("services", ""), ("services", &long), ("agents", "-1"), ("denials", "x"), ("others", "1")]
        {
            assert_eq!(Place::read(list, after), None, "{list} {after}");
        }
    }
}
