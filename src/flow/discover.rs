//! Fetches what a service publishes about itself, and has it understood. Nothing here is stored, and nothing believed without proof.

use tokio::task::JoinSet;
use url::Url;

use crate::domain::ids::Audience;
use crate::domain::members::quote;
use crate::domain::time::{Seconds, Timestamp};
use crate::domain::understood::{Kind, Looked, Place, UNREACHABLE, Understood, Verdict, hint, places, understand};
use crate::net::{Document, DocumentError, Documents, Limits, NetError};

/// How long it is before somebody looks again who found nothing.
const NOTHING_FOR: Seconds = Limits::METADATA.floor;

/// What was found.
#[derive(Debug)]
pub struct Found {
    /// What is understood of it.
    pub understood: Understood,
    /// Until when that may be taken for what the service says (RFC 9111).
    pub fresh_until: Timestamp,
}

/// A document, and until when it is fresh.
type Fetched = (Looked, Option<Timestamp>);

/// Looks at a service: the documents of the identifier, and those of the authorization server that a resource's name, once (RFC 9728
/// section 5). `anew`: documents that are fresh by the rules of HTTP are fetched all the same, though not more often than each 30 s.
pub async fn discover(documents: &Documents, asked: &Audience, now: Timestamp, anew: bool) -> Found {
    let first = fetch(documents, places(asked), now, anew).await;
    let looked: Vec<Looked> = first.iter().map(|(looked, _)| looked.clone()).collect();
    let understood = understand(asked, asked, &looked);
    let (understood, fetched) = match hint(asked, &looked).filter(|_| understood.issuer.is_none()) {
        None => (understood, first),
        Some(server) => {
            let places = places(&server).into_iter().filter(|place| place.kind != Kind::ProtectedResource).collect();
            let mut second = fetch(documents, places, now, anew).await;
            second.extend(first.into_iter().filter(|(looked, _)| looked.kind == Kind::ProtectedResource));
            let looked: Vec<Looked> = second.iter().map(|(looked, _)| looked.clone()).collect();
            let mut further = understand(asked, &server, &looked);
            // What else is at the resource's own address is no word of that server, and told all the same.
            let own =
                understood.documents.into_iter().filter(|own| !looked.iter().any(|there| there.url == own.document));
            further.documents.extend(own);
            (further, second)
        }
    };
    let counts = |url: &str| understood.documents.iter().any(|d| d.document == url && d.verdict == Verdict::Proves);
    let fresh = fetched.iter().filter(|(looked, _)| counts(&looked.url)).filter_map(|(_, until)| *until).min();
    Found { fresh_until: fresh.unwrap_or(now + NOTHING_FOR), understood }
}

/// All at once, in the order of the places.
async fn fetch(documents: &Documents, places: Vec<Place>, now: Timestamp, anew: bool) -> Vec<Fetched> {
    let mut under_way = JoinSet::new();
    for (n, Place { kind, url }) in places.into_iter().enumerate() {
        let documents = documents.clone();
        under_way.spawn(async move {
            let found = one(&documents, &url, now, anew).await;
            let until = found.as_ref().ok().map(|document| document.fresh_until);
            let found = found.map(|document| document.body.clone());
            (n, (Looked { kind, url, found }, until))
        });
    }
    let mut fetched: Vec<(usize, Fetched)> = under_way.join_all().await;
    fetched.sort_by_key(|(n, _)| *n);
    fetched.into_iter().map(|(_, one)| one).collect()
}

async fn one(documents: &Documents, url: &str, now: Timestamp, anew: bool) -> Result<std::sync::Arc<Document>, String> {
    let url = Url::parse(url).map_err(|_| "its address is no URL".to_owned())?;
    let found = if anew {
        documents.refetch(&url, Limits::METADATA, now).await
    } else {
        documents.get(&url, Limits::METADATA, now).await
    };
    found.map_err(|error| {
        tracing::debug!(error = &error as &dyn std::error::Error, "no metadata document");
        reason(&error)
    })
}

/// Why there is no document, for whoever named the service: nothing about inner networks.
fn reason(error: &DocumentError) -> String {
    match error {
        DocumentError::Status(status @ 300..=399) => {
            format!("the server answered {status}, and redirects are not followed")
        }
        DocumentError::Status(status) => format!("the server answered {status}"),
        DocumentError::ContentType(kind) if kind.is_empty() => {
            "it is served without a content type, and not as application/json (RFC 8414 section 3.2)".to_owned()
        }
        DocumentError::ContentType(kind) => {
            format!("it is served as {}, not as application/json (RFC 8414 section 3.2)", quote(kind))
        }
        DocumentError::Malformed(_) => "it is not JSON".to_owned(),
        DocumentError::TooManyValues => "it has more than 4,096 values".to_owned(),
        DocumentError::NotAnObject => "it is not a JSON object".to_owned(),
        DocumentError::Net(error) => match &**error {
            NetError::NotAllowed(_) => "its address is not allowed".to_owned(),
            NetError::Timeout => "no complete answer came in time".to_owned(),
            NetError::TooLarge { limit } => format!("it is longer than {} KiB", limit / 1024),
            NetError::Unresolvable(_) => "its name does not resolve".to_owned(),
            NetError::Connect(_) => UNREACHABLE.to_owned(),
            _ => "the exchange broke off".to_owned(),
        },
    }
}
