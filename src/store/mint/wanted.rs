//! Which rows a batch has to look at: what several mints ask for alike is asked once.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use serde::Serialize;

use super::{Spending, SubjectToken, UnspentJti, Waiting, is_storable};
use crate::domain::ids::{ClientKey, Jti, Kid};
use crate::domain::time::Timestamp;
use crate::store::json;

/// Keys with the order they came in.
pub(super) struct Distinct<K>(HashMap<K, usize>);

impl<K: Eq + Hash> Distinct<K> {
    fn new() -> Self {
        Self(HashMap::new())
    }

    /// The number of a key.
    fn number(&mut self, key: K) -> usize {
        let next = self.0.len();
        *self.0.entry(key).or_insert(next)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn iter(&self) -> impl Iterator<Item = (&K, usize)> {
        self.0.iter().map(|(key, n)| (key, *n))
    }
}

/// The rows of one mint, by their numbers.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    pub(super) client: usize,
    pub(super) subject: usize,
    pub(super) service: usize,
    /// ES256's, and RS256's where there is one.
    pub(super) keys: (usize, Option<usize>),
    /// What signed the ID token, if it is one.
    pub(super) subject_key: Option<usize>,
}

/// What one mint needs.
pub(super) struct Want {
    /// The number of the `jti` to spend.
    pub(super) jti: Option<usize>,
    /// `None` when it names something that no row can be called.
    pub(super) rows: Option<Rows>,
}

/// At an issuer, a subject token of a client for an audience.
type SubjectQuery<'a> = (&'a str, &'a SubjectToken, &'a ClientKey, &'a str);

/// All of it.
pub(super) struct Wanted<'a> {
    pub(super) mints: Vec<Want>,
    /// The numbers of the `jti`s that are spent for other grants.
    pub(super) spendings: Vec<usize>,
    /// Issuer, client and `jti`, with number and expiry: in one order everywhere, so that two replicas wait for each other instead of
    /// deadlocking.
    pub(super) jtis: BTreeMap<(&'a str, &'a ClientKey, &'a Jti), (usize, Timestamp)>,
    pub(super) subjects: Distinct<SubjectQuery<'a>>,
    /// Issuer and client.
    pub(super) clients: Distinct<(&'a str, &'a ClientKey)>,
    /// Issuer and audience.
    pub(super) services: Distinct<(&'a str, &'a str)>,
    /// Issuer and `kid`.
    pub(super) keys: Distinct<(&'a str, &'a Kid)>,
}

impl<'a> Wanted<'a> {
    pub(super) fn of(mints: &'a [Waiting], spendings: &'a [Spending]) -> Self {
        let mut wanted = Self {
            mints: Vec::with_capacity(mints.len()),
            spendings: Vec::with_capacity(spendings.len()),
            jtis: BTreeMap::new(),
            subjects: Distinct::new(),
            clients: Distinct::new(),
            services: Distinct::new(),
            keys: Distinct::new(),
        };
        for waiting in mints {
            let want = Want {
                jti: waiting.unspent.as_ref().map(|unspent| wanted.jti(&waiting.issuer, unspent)),
                rows: wanted.rows(waiting),
            };
            wanted.mints.push(want);
        }
        for spending in spendings {
            let number = wanted.jti(&spending.issuer, &spending.unspent);
            wanted.spendings.push(number);
        }
        wanted
    }

    fn jti(&mut self, issuer: &'a str, unspent: &'a UnspentJti) -> usize {
        let next = self.jtis.len();
        self.jtis.entry((issuer, &unspent.client, &unspent.jti)).or_insert((next, unspent.expires_at)).0
    }

    fn rows(&mut self, waiting: &'a Waiting) -> Option<Rows> {
        let (issuer, mint) = (&*waiting.issuer, &waiting.mint);
        let (client, aud) = (&mint.client.key, mint.request.audience.as_str());
        let named = match &mint.subject {
            SubjectToken::Access { hash } => is_storable(hash),
            SubjectToken::Id { session_id, .. } => is_storable(session_id),
        };
        (named && is_storable(aud)).then(|| Rows {
            client: self.clients.number((issuer, client)),
            subject: self.subjects.number((issuer, &mint.subject, client, aud)),
            service: self.services.number((issuer, aud)),
            keys: (
                self.keys.number((issuer, &mint.kid)),
                mint.rs256_kid.as_ref().map(|kid| self.keys.number((issuer, kid))),
            ),
            subject_key: match &mint.subject {
                SubjectToken::Access { .. } => None,
                SubjectToken::Id { kid, .. } => Some(self.keys.number((issuer, kid))),
            },
        })
    }

    pub(super) fn needs_rows(&self) -> bool {
        self.subjects.len() > 0
    }

    /// Number, issuer, client, audience, hash of the access token.
    pub(super) fn by_access_token(&self) -> String {
        let rows = self.subjects.iter().filter_map(|((issuer, subject, client, aud), n)| match subject {
            SubjectToken::Access { hash } => Some((n, issuer, client, aud, hash)),
            SubjectToken::Id { .. } => None,
        });
        json(&rows.collect::<Vec<_>>())
    }

    /// Number, issuer, client, audience, session, `sub`.
    pub(super) fn by_session(&self) -> String {
        let rows = self.subjects.iter().filter_map(|((issuer, subject, client, aud), n)| match subject {
            SubjectToken::Access { .. } => None,
            SubjectToken::Id { session_id, sub, .. } => Some((n, issuer, client, aud, session_id, sub)),
        });
        json(&rows.collect::<Vec<_>>())
    }

    /// Number, issuer, name.
    pub(super) fn named<K: Eq + Hash + Serialize>(names: &Distinct<(&'a str, K)>) -> String {
        json(&names.iter().map(|((issuer, name), n)| (n, issuer, name)).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::client::{Client, ClientPolicy};
    use crate::domain::exchange::Request;
    use crate::domain::ids::{Audience, ClientId, IssuerUrl};
    use crate::store::Mint;

    fn waiting(issuer: &str, hash: &str, aud: &str) -> Waiting {
        let metadata = serde_json::json!({"token_endpoint_auth_method": "none"});
        let client = Client {
            key: "c".into(),
            client_id: ClientId::parse("desk").unwrap(),
            metadata: serde_json::from_value(metadata).unwrap(),
            policy: ClientPolicy::default(),
            secret_hash: None,
            version: 1,
        };
        let request = Request {
            audience: Audience::parse(aud).unwrap(),
            asked_as: None,
            resources: vec![],
            scope: None,
            agent_platform: None,
            agent_context_id: None,
        };
        let mint = Mint {
            client: Arc::new(client),
            subject: SubjectToken::Access { hash: hash.into() },
            request: Arc::new(request),
            issuer: IssuerUrl::parse("https://id.example").unwrap(),
            root: IssuerUrl::parse("https://id.example").unwrap(),
            provider_client_id: ClientId::parse("https://id.example/agent-auth.json").unwrap(),
            kid: "k".into(),
            rs256_kid: None,
            jti: Jti::parse("j").unwrap(),
            entry_id: String::new(),
            now: Timestamp(1),
        };
        Waiting {
            issuer: issuer.into(),
            mint,
            unspent: Some(UnspentJti::new("c".into(), Jti::parse("j").unwrap(), Timestamp(9))),
            turns: 0,
        }
    }

    #[test]
    fn what_is_asked_alike_is_asked_once() {
        let (a, b) = ("https://a.example", "https://b.example");
        let mints = [
            waiting("i", "h", a),
            waiting("i", "h", a),
            waiting("i", "h", b),
            waiting("j", "h", a),
            waiting("i", "g\0", a),
        ];
        let wanted = Wanted::of(&mints, &[]);
        let counts =
            (wanted.subjects.len(), wanted.clients.len(), wanted.services.len(), wanted.keys.len(), wanted.jtis.len());
        assert_eq!(counts, (3, 2, 3, 2, 2));
        let subjects: Vec<_> = wanted.mints.iter().map(|want| want.rows.map(|rows| rows.subject)).collect();
        assert_eq!(subjects, [Some(0), Some(0), Some(1), Some(2), None], "and what no row is called is not asked");
    }
}
