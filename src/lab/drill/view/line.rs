//! The time line of a service as a drawing: what was published when, who fetched it, and what was taken.

use std::collections::BTreeMap;

use crate::lab::drill::report::{Moment, Said, Service, What};
use crate::lab::probe::report::text;

/// Where time begins and ends in the drawing.
const LEFT: u64 = 150;
const RIGHT: u64 = 955;
/// Between two lanes.
const LANE: u64 = 30;
/// Above the first one.
const TOP: u64 = 34;
/// Most lanes of keys; those that were used little have one together.
const KEYS: usize = 6;
/// Lines that tell the time.
const MARKS: u64 = 6;

/// What is drawn.
pub(super) struct Line {
    pub(super) height: u64,
    pub(super) lanes: Vec<Lane>,
    pub(super) spans: Vec<Span>,
    pub(super) dots: Vec<Dot>,
    pub(super) marks: Vec<Mark>,
}

pub(super) struct Lane {
    pub(super) name: String,
    pub(super) y: u64,
}

/// A key set for as long as it was published.
pub(super) struct Span {
    pub(super) x: u64,
    pub(super) y: u64,
    pub(super) width: u64,
    pub(super) class: &'static str,
    pub(super) title: String,
}

pub(super) struct Dot {
    pub(super) x: u64,
    pub(super) y: u64,
    pub(super) class: &'static str,
    pub(super) title: String,
}

pub(super) struct Mark {
    pub(super) x: u64,
    pub(super) time: String,
}

/// The drawing of a service; nothing where nothing happened.
pub(super) fn draw(service: &Service) -> Option<Line> {
    let end = service.moments.iter().map(|moment| moment.at_ms).max()?.max(1);
    let x = |at: u64| LEFT + (RIGHT - LEFT) * at.min(end) / end;
    let keys = lanes_of_keys(service);
    let of_key = |key: &str| keys.iter().position(|known| known == key).unwrap_or(keys.len());
    let mut names = vec!["key set".to_owned(), "fetches".to_owned()];
    names.extend(keys.iter().map(|key| text::clip(key, 16)));
    if service.moments.iter().any(|moment| key_of(moment).is_some_and(|key| !keys.iter().any(|known| known == key))) {
        names.push("other keys".to_owned());
    }
    let y = |lane: usize| TOP + LANE * u64::try_from(lane).unwrap_or_default();
    let (mut spans, mut dots) = (Vec::<Span>::new(), Vec::new());
    for moment in &service.moments {
        let (at, when) = (x(moment.at_ms), text::duration(moment.at_ms));
        match &moment.what {
            What::Published { flaw, .. } => {
                if let Some(last) = spans.last_mut() {
                    last.width = at.saturating_sub(last.x).max(2);
                }
                let class = match (flaw, spans.len() % 2) {
                    (Some(_), _) => "set-bad",
                    (None, 0) => "set",
                    (None, _) => "set-next",
                };
                spans.push(Span {
                    x: at,
                    y: y(0),
                    width: RIGHT - at,
                    class,
                    title: format!("{when}: {}", text::line(&sentence(moment))),
                });
            }
            What::Fetched { status, .. } => {
                let class = if matches!(status, 200 | 304) { "dot-fetch" } else { "dot-nothing" };
                dots.push(Dot { x: at, y: y(1), class, title: format!("{when}: {}", text::line(&sentence(moment))) });
            }
            What::Presented { key, answer } | What::Notified { key, answer } => {
                let class = match answer {
                    Said::Taken => "dot-taken",
                    Said::Refused => "dot-refused",
                    Said::Nothing => "dot-nothing",
                };
                dots.push(Dot {
                    x: at,
                    y: y(2 + of_key(key)),
                    class,
                    title: format!("{when}: {}", text::line(&sentence(moment))),
                });
            }
        }
    }
    if let Some(last) = spans.last_mut() {
        last.width = (RIGHT - last.x).max(2);
    }
    let marks =
        (0..=MARKS).map(|n| Mark { x: LEFT + (RIGHT - LEFT) * n / MARKS, time: text::duration(end * n / MARKS) });
    Some(Line {
        height: y(names.len()) + 4,
        lanes: names.into_iter().enumerate().map(|(n, name)| Lane { name, y: y(n) }).collect(),
        spans,
        dots,
        marks: marks.collect(),
    })
}

fn key_of(moment: &Moment) -> Option<&str> {
    match &moment.what {
        What::Presented { key, .. } | What::Notified { key, .. } => Some(key),
        What::Published { .. } | What::Fetched { .. } => None,
    }
}

/// The keys that were used most, in the order in which they came.
fn lanes_of_keys(service: &Service) -> Vec<String> {
    let mut used = BTreeMap::<&str, usize>::new();
    let mut order = Vec::new();
    for key in service.moments.iter().filter_map(key_of) {
        let count = used.entry(key).or_default();
        *count += 1;
        if *count == 1 {
            order.push(key);
        }
    }
    let mut most: Vec<&str> = order.clone();
    most.sort_by_key(|key| std::cmp::Reverse(used[key]));
    most.truncate(KEYS);
    order.retain(|key| most.contains(key) && used[key] > 1);
    order.into_iter().map(str::to_owned).collect()
}

/// What happened, in words.
pub(super) fn sentence(moment: &Moment) -> String {
    let list = |keys: &[String]| if keys.is_empty() { "no key".to_owned() } else { keys.join(", ") };
    let said = |answer: &Said| match answer {
        Said::Taken => "taken",
        Said::Refused => "refused",
        Said::Nothing => "no answer that says anything",
    };
    match &moment.what {
        What::Published { keys, flaw: None } => format!("published: {}", list(keys)),
        What::Published { keys, flaw: Some(flaw) } => format!("published with a flaw ({flaw}): {}", list(keys)),
        What::Fetched { status, keys } => format!("fetched, {status}: {}", list(keys)),
        What::Presented { key, answer } => format!("assertion by {key}: {}", said(answer)),
        What::Notified { key, answer } => format!("notice by {key}: {}", said(answer)),
    }
}
