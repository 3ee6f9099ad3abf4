//! The rules, without I/O: what may be said, to whom, and when it ends.

/// All words of an enum that is stored and published.
pub trait Vocabulary {
    /// In the order of its variants.
    const WORDS: &'static [&'static str];
}

/// An enum of words that are stored and published: each word stands once, beside its variant.
macro_rules! vocabulary {
    ($(#[$about:meta])* pub enum $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $crate::domain::Vocabulary for $name {
            const WORDS: &'static [&'static str] = &[$($word),+];
        }

        impl $name {
            /// The stored and published word.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            /// Reads a word.
            #[must_use]
            pub fn parse(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

pub mod administered;
pub mod answer;
pub mod authorize;
pub mod cimd;
pub mod claims;
pub mod client;
pub mod client_assertion;
pub mod client_metadata;
pub mod consent;
pub mod credentials;
pub mod delegation;
pub mod disclosure;
pub mod display_name;
pub mod exchange;
pub mod fetcher;
pub mod ids;
pub mod issuer;
pub mod journal;
pub mod logout_uri;
pub mod members;
pub mod notice;
pub mod notice_claims;
pub mod profile;
pub mod public_jwks;
pub mod public_key;
pub mod redirect_uri;
pub mod refresh;
pub mod refusal;
pub mod registered_client;
pub mod retry;
pub mod rotation;
pub mod scope;
pub mod sealing;
pub mod service;
pub mod service_policy;
pub mod session;
pub mod spelling;
pub mod ticket;
pub mod time;
pub mod understood;
