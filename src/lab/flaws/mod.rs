//! Every deliberate flaw, as data: of an assertion, a notice, a key set, a client's document. Vectors, `avouch mint`, the harness and the
//! probe all make theirs here, so that a name means the same everywhere. Each is one change to something good ([`Flaw::apply`],
//! [`Flaw::spoil`]), and declares what it touches.

/// A table of flaws. Each row: name and sentence; the rule's place; how binding, what class of refusal, and who can see it; what it touches;
/// which flaws of the sandbox let it pass; where dialects differ from the class; and the change itself.
macro_rules! flaws {
    ($kind:ident $mutation:ident; $($name:literal $meaning:literal
        $spec:ident $at:literal, $level:ident $class:ident $sight:ident [$($touched:literal)*]
        $(unless $($counterpart:literal)or+)? $(except $exceptions:ident)? => $change:expr;)*) => {
        pub(super) static FLAWS: &[$crate::lab::flaws::Flaw] = &[$($crate::lab::flaws::Flaw {
            kind: $crate::lab::flaws::Kind::$kind,
            name: $name,
            meaning: $meaning,
            section: $crate::lab::flaws::Section { spec: $crate::lab::flaws::Spec::$spec, at: $at },
            level: $crate::lab::flaws::Level::$level,
            class: $crate::lab::flaws::Class::$class,
            touches: &[$($touched),*],
            sight: $crate::lab::flaws::Sight::$sight,
            counterparts: &[$($($counterpart),+)?],
            exceptions: flaws!(@list $($exceptions)?),
            mutation: $crate::lab::flaws::Mutation::$mutation($change),
        }),*];
    };
    (@list) => { &[] };
    (@list $list:ident) => { $list };
}

mod answer;
mod cimd;
mod class;
mod document;
mod draft;
mod flaw;
mod form;
mod header;
mod jwks;
mod notices;
mod parties;
mod person;
mod possession;
mod rules;
mod section;
mod signature;
mod target;
mod times;

use std::sync::LazyLock;

use crate::domain::spelling::probable;

pub use answer::{Answer, Dialect, Kind, Level, Sight};
pub use class::Class;
pub use document::{Document, ELSEWHERE, Response};
pub use draft::{Cast, Draft, Finish, Others, Presented, SECEVENT, SIGNED_IN, Shape, Signer, Terms};
pub use flaw::{Flaw, Mutation};
pub use rules::{Broken, Rule, rule};
pub use section::{Section, Spec};

/// All of them, by kind and name.
#[must_use]
pub fn all() -> &'static [&'static Flaw] {
    static ALL: LazyLock<Vec<&'static Flaw>> = LazyLock::new(|| {
        let tables = [
            header::FLAWS,
            form::FLAWS,
            signature::FLAWS,
            parties::FLAWS,
            times::FLAWS,
            person::FLAWS,
            target::FLAWS,
            possession::FLAWS,
            notices::FLAWS,
            jwks::FLAWS,
            cimd::FLAWS,
            rules::FLAWS,
        ];
        let mut all: Vec<&Flaw> = tables.into_iter().flatten().collect();
        all.sort_by_key(|flaw| (flaw.kind, flaw.name));
        all
    });
    &ALL
}

/// The one of a name.
///
/// # Errors
/// The name that was perhaps meant.
pub fn find(name: &str) -> Result<&'static Flaw, Option<&'static str>> {
    let found = all().iter().find(|flaw| flaw.name == name).copied();
    found.ok_or_else(|| probable(name, all().iter().map(|flaw| flaw.name)))
}

#[cfg(test)]
mod tests;
