//! What is asked of a token, how far it came, and what it said: for whoever wants to see why.

use serde_json::{Map, Value};

use super::token::Token;
use crate::domain::time::Timestamp;
use crate::lab::flaws::{Dialect, Kind};

macro_rules! checks {
    ($($check:ident $title:literal $question:literal;)*) => {
        /// One thing that is asked of a token.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Check { $($check),* }

        impl Check {
            /// What it is about, in the words of the specifications.
            pub(super) fn title(self) -> &'static str {
                match self { $(Self::$check => $title),* }
            }

            /// What is asked.
            pub(super) fn question(self) -> &'static str {
                match self { $(Self::$check => $question),* }
            }
        }
    };
}

checks! {
    Request "request" "the body is of the media type and the form that belong here";
    ClientAuthentication "client authentication" "the client proves who it is";
    Proof "DPoP" "a proof that comes along is good";
    Form "form" "a JWT of three parts, each member once, no unknown crit";
    Issuer "iss" "an issuer that is trusted here";
    Type "typ" "this kind of token";
    Algorithm "alg" "ES256 or RS256";
    Key "kid" "a key that the issuer publishes";
    Signature "signature" "that key made it";
    Audience "aud" "this service, byte for byte";
    Times "exp, iat, nbf" "good now, and for five minutes at most";
    Recent "iat, exp" "of the last ten minutes";
    Jti "jti" "never seen before";
    Subject "sub" "somebody";
    Events "events" "the one that is taken here";
    OtherTokens "nonce, events" "nothing that belongs in another kind of token";
    Types "types" "each claim has the type that it should";
    Client "client_id" "its document names the keys that signed";
    SameClient "client_id" "the client that authenticated";
    Contact "email, phone_number" "one that the issuer has verified";
    SignIn "auth_time" "the user signed in not long ago";
    SecondName "sub_id" "the same user";
    Resource "resource" "this service's";
    Scope "scope" "something that this service has";
    Details "authorization_details" "none that is not understood";
    Possession "cnf" "whoever presents it holds the key";
    Account "account" "the user may come in";
}

use Check::{
    Account, Algorithm, Audience, Client, ClientAuthentication, Contact, Details, Events, Form, Issuer, Jti, Key,
    OtherTokens, Possession, Proof, Recent, Request, Resource, SameClient, Scope, SecondName, SignIn, Signature,
    Subject, Times, Type, Types,
};

/// auth.md, where whoever has an assertion may present it.
const BEARER: &[Check] = &[
    Request,
    Form,
    Issuer,
    Type,
    Algorithm,
    Key,
    Signature,
    Audience,
    Times,
    Jti,
    Subject,
    OtherTokens,
    Types,
    Client,
    Contact,
    SignIn,
    SecondName,
    Resource,
    Scope,
    Details,
    Possession,
    Account,
];

/// RFC 7523, where a client proves first who it is.
const CLIENT: &[Check] = &[
    Request,
    ClientAuthentication,
    Proof,
    Form,
    Issuer,
    Type,
    Algorithm,
    Key,
    Signature,
    Audience,
    Times,
    Jti,
    Subject,
    OtherTokens,
    Types,
    SameClient,
    Contact,
    SignIn,
    SecondName,
    Resource,
    Scope,
    Details,
    Possession,
    Account,
];

const NOTICE: &[Check] =
    &[Request, Form, Issuer, Type, Algorithm, Key, Signature, Audience, Recent, Jti, Subject, Events];

/// A notice in the header, which lives as an assertion does (draft-parecki-oauth-global-token-revocation section 3).
const ORDER: &[Check] = &[Request, Form, Issuer, Type, Algorithm, Key, Signature, Audience, Times, Jti, SecondName];

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Passed,
    Failed,
    NotReached,
}

/// The way of one token. Whatever is asked is noted before it is asked, so that the last one is the one that failed, if any did; a check
/// may be asked twice (a `jti`, when it is used up).
pub(super) struct Checks {
    kind: Kind,
    all: &'static [Check],
    asked: Vec<Check>,
    last: Check,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl Checks {
    pub(super) fn of_assertion(dialect: Dialect) -> Self {
        Self::new(Kind::Assertion, if dialect == Dialect::Plain { CLIENT } else { BEARER })
    }

    pub(super) fn of_notice() -> Self {
        Self::new(Kind::Notice, NOTICE)
    }

    pub(super) fn of_order() -> Self {
        Self::new(Kind::Notice, ORDER)
    }

    fn new(kind: Kind, all: &'static [Check]) -> Self {
        Self { kind, all, asked: vec![Request], last: Request, header: Map::new(), claims: Map::new() }
    }

    /// The next thing is asked; what was asked before has passed.
    pub(super) fn ask(&mut self, check: Check) {
        self.last = check;
        if !self.asked.contains(&check) {
            self.asked.push(check);
        }
    }

    /// What a token says, of which nothing is believed yet.
    pub(super) fn read(&mut self, token: &Token) {
        self.header.clone_from(token.header.all());
        self.claims.clone_from(token.claims.all());
    }

    /// Whether more was looked at than what it came in.
    pub(super) fn is_of_a_token(&self) -> bool {
        self.asked.len() > 1
    }

    /// All of it, for as long as it is remembered.
    pub(super) fn judged(
        self,
        endpoint: &'static str,
        refused: Option<(&'static str, String)>,
        at: Timestamp,
    ) -> Judged {
        let verdict = |check: Check| match self.asked.contains(&check) {
            true if refused.is_some() && check == self.last => Some(Verdict::Failed),
            true => Some(Verdict::Passed),
            false => refused.is_some().then_some(Verdict::NotReached),
        };
        let verdicts = self.all.iter().filter_map(|check| Some((*check, verdict(*check)?))).collect();
        Judged { n: 0, at, kind: self.kind, endpoint, header: self.header, claims: self.claims, verdicts, refused }
    }
}

/// A token that somebody sent, without its signature, and what was made of it.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub(super) n: u64,
    pub(super) at: Timestamp,
    pub(super) kind: Kind,
    pub(super) endpoint: &'static str,
    pub(super) header: Map<String, Value>,
    pub(super) claims: Map<String, Value>,
    pub(super) verdicts: Vec<(Check, Verdict)>,
    /// Code and sentence of the refusal.
    pub(super) refused: Option<(&'static str, String)>,
}
