//! Documents of issuers and clients, and what a service takes for one that does not keep a rule. A strict one has [`Documents`] alone.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use url::Url;

use crate::domain::time::Timestamp;
use crate::lab::flaws::{Broken, Rule};
use crate::net::{DocumentError, Documents, Limits, Method, Net, NetError, Policy, Request, Response};

/// Most redirects that whoever follows them follows.
const MAX_REDIRECTS: usize = 5;

/// What "without bounds" is here, so that the machine lives.
const ANY_LENGTH: usize = 64 * 1024 * 1024;
const FOR_EVER: Duration = Duration::from_hours(1);

/// What is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// An issuer's metadata.
    Metadata,
    /// A key set.
    Jwks,
    /// A client's document.
    Cimd,
}

/// Fetches them.
pub(super) struct Fetch {
    net: Net,
    documents: Documents,
    broken: Broken,
}

impl Fetch {
    pub(super) fn new(policy: Policy, broken: Broken) -> Result<Self, NetError> {
        let net = Net::new(policy)?;
        Ok(Self { documents: Documents::new(net.clone()), net, broken })
    }

    fn limits(&self, what: What) -> Limits {
        let usual = match what {
            What::Metadata => Limits::METADATA,
            What::Jwks => Limits::JWKS,
            What::Cimd => Limits::CIMD,
        };
        Limits {
            timeout: if self.broken.lacks(Rule::WaitForEver) { FOR_EVER } else { usual.timeout },
            max_bytes: if self.broken.lacks(Rule::ReadWithoutBounds) { ANY_LENGTH } else { usual.max_bytes },
            ..usual
        }
    }

    /// The document, as new as it has to be.
    pub(super) async fn get(&self, url: &Url, what: What, now: Timestamp) -> Result<Arc<Value>, DocumentError> {
        let found = self.documents.get(url, self.limits(what), now).await;
        self.or_overlook(found.map(|found| found.body.clone()), url, what).await
    }

    /// The document as it is now, though not more often than others let us.
    pub(super) async fn refetch(&self, url: &Url, what: What, now: Timestamp) -> Result<Arc<Value>, DocumentError> {
        let found = self.documents.refetch(url, self.limits(what), now).await;
        self.or_overlook(found.map(|found| found.body.clone()), url, what).await
    }

    /// It is no use, and the next one may be.
    pub(super) fn forget(&self, url: &Url, what: What) {
        self.documents.forget(url, self.limits(what));
    }

    /// What is refused for a reason that this service does not look at is fetched once more, and taken.
    async fn or_overlook(
        &self,
        outcome: Result<Arc<Value>, DocumentError>,
        url: &Url,
        what: What,
    ) -> Result<Arc<Value>, DocumentError> {
        let follows = match what {
            What::Jwks => Rule::FollowJwksRedirects,
            What::Cimd => Rule::FollowCimdRedirects,
            What::Metadata => return outcome,
        };
        let excuse = match &outcome {
            Err(DocumentError::Status(300..=399)) => follows,
            Err(DocumentError::Status(_)) => Rule::AcceptDocumentsOfFailures,
            Err(DocumentError::ContentType(_)) => Rule::AcceptAnyContentType,
            Err(DocumentError::TooManyValues) => Rule::ReadWithoutBounds,
            _ => return outcome,
        };
        if !self.broken.lacks(excuse) {
            return outcome;
        }
        let mut response = self.fetch(url.clone(), what).await?;
        for _ in 0..MAX_REDIRECTS {
            let Some(to) = response.header("location").filter(|_| excuse == follows) else { break };
            let to = url.join(to).map_err(|_| DocumentError::Status(response.status))?;
            response = self.fetch(to, what).await?;
        }
        let read = serde_json::from_slice::<Map<String, Value>>(&response.body);
        read.map(|object| Arc::new(Value::Object(object))).map_err(|e| DocumentError::Malformed(Arc::new(e)))
    }

    async fn fetch(&self, url: Url, what: What) -> Result<Response, DocumentError> {
        let Limits { timeout, max_bytes, .. } = self.limits(what);
        let headers = vec![("accept", "application/json".into())];
        let request = Request { method: Method::Get, url, headers, body: Vec::new(), timeout, max_body: max_bytes };
        self.net.send(request).await.map_err(|e| DocumentError::Net(Arc::new(e)))
    }
}

/// A client's document without what this service does not look at.
pub(super) fn overlooked(id: &str, document: &Value, broken: Broken) -> Value {
    let mut document = document.clone();
    let Some(members) = document.as_object_mut() else { return document };
    if broken.lacks(Rule::IgnoreClientIdOfDocument) {
        members.insert("client_id".into(), id.into());
    }
    if broken.lacks(Rule::AcceptPublishedSecrets) {
        members.retain(|name, _| !["client_secret", "client_secret_expires_at"].contains(&name.as_str()));
    }
    if broken.lacks(Rule::AcceptSharedSecrets) {
        // Without one it would be by a secret too (RFC 7591 section 2).
        members.insert("token_endpoint_auth_method".into(), "none".into());
    }
    if broken.lacks(Rule::AcceptAnyScheme) {
        members.retain(|name, _| !["client_uri", "logo_uri", "tos_uri", "policy_uri"].contains(&name.as_str()));
    }
    if broken.lacks(Rule::AcceptKeysTwice) && members.contains_key("jwks_uri") {
        members.remove("jwks");
    }
    document
}
