//! What is examined: how a service talks, and where.

use url::Url;

use super::talk::{Call, Talk};
use crate::domain::claims::LOGOUT;
use crate::domain::notice::Format;
use crate::domain::understood::{self, Understood, Verdict};
use crate::lab::flaws::{Dialect, SECEVENT};
use crate::net::Method;

/// A service, as far as a probe has to know it.
#[derive(Clone, Debug)]
pub(in crate::lab) struct Target {
    /// Its identifier, byte for byte.
    pub(in crate::lab) audience: String,
    /// How it talks.
    pub(in crate::lab) dialect: Dialect,
    /// Where assertions go.
    pub(in crate::lab) assertions: Url,
    /// Where its own assertions go for access tokens, in the dialects that have those.
    pub(in crate::lab) token: Option<Url>,
    /// Whether a client's secret goes into the form: the service takes it so, and not by HTTP Basic.
    pub(in crate::lab) secret_in_form: bool,
    /// Where it is told of withdrawals, and by which kind of token.
    pub(in crate::lab) notices: Option<(&'static str, Url)>,
    /// What answers 401 to whoever has no credential.
    pub(in crate::lab) api: Option<Url>,
    /// What that answers to whoever it lets in, where it is no 2xx.
    pub(in crate::lab) let_in: Option<u16>,
    /// What an assertion is for.
    pub(in crate::lab) resource: Option<String>,
    /// What it is to allow.
    pub(in crate::lab) scope: Option<String>,
    /// What v0.1 is asked for.
    pub(in crate::lab) credential_type: &'static str,
}

/// What somebody knows better than the service's metadata.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// How it talks.
    pub dialect: Option<Dialect>,
    /// What answers 401 to whoever has no credential.
    pub api: Option<Url>,
    /// What an assertion is for.
    pub resource: Option<String>,
    /// What it is to allow.
    pub scope: Option<String>,
}

impl Target {
    /// What the metadata say, where nobody knows better.
    ///
    /// # Errors
    /// Why there is nothing to examine.
    pub(in crate::lab) async fn read(understood: &Understood, known: &Known, talk: &Talk) -> Result<Self, String> {
        let url = |text: &str| Url::parse(text).ok();
        let audience = understood.issuer.clone().ok_or_else(|| unnamed(understood))?;
        let own_address = url(&audience).ok_or("its identifier is no URL")?;
        let said = match understood.dialect.value {
            understood::Dialect::V01 => Some(Dialect::V01),
            understood::Dialect::Flat => Some(Dialect::Flat),
            understood::Dialect::Nested => Some(Dialect::Nested),
            understood::Dialect::Plain => Some(Dialect::Plain),
            understood::Dialect::None => None,
        };
        let dialect =
            known.dialect.or(said).ok_or("its metadata name nothing that an assertion could be brought to")?;
        let (own, secret_in_form) = token_endpoint(understood, talk).await.unzip();
        let assertions = match dialect {
            Dialect::Plain => own.clone().or_else(|| understood.endpoint.value.as_deref().and_then(url)),
            _ => understood.endpoint.value.as_deref().and_then(url),
        };
        let assertions = assertions.ok_or("its metadata do not say where assertions go")?;
        let (typ, format) =
            if dialect == Dialect::V01 { (LOGOUT, Format::LogoutJwt) } else { (SECEVENT, Format::SecEvent) };
        let channel = |wanted: Format| understood.notices.iter().find(|notice| notice.value.format == wanted);
        let notices = channel(format).and_then(|notice| url(&notice.value.endpoint)).map(|at| (typ, at));
        let resource = known.resource.clone().or_else(|| understood.resources.value.first().cloned());
        let keys = &understood.credential_types.value;
        Ok(Self {
            audience,
            dialect,
            assertions,
            secret_in_form: secret_in_form == Some(true),
            token: own.filter(|_| matches!(dialect, Dialect::Flat | Dialect::Nested)),
            notices: notices.filter(|_| dialect != Dialect::Plain),
            api: known.api.clone().or_else(|| resource.as_deref().and_then(url).filter(|api| is_at(api, &own_address))),
            let_in: None,
            scope: known.scope.clone().or_else(|| understood.scopes.value.first().cloned()),
            resource,
            credential_type: if keys.is_empty() || keys.iter().any(|key| key == "api_key") {
                "api_key"
            } else {
                "access_token"
            },
        })
    }

    /// Where the service's token endpoint is that an assertion of its own goes to.
    #[must_use]
    pub(in crate::lab) fn own_token_endpoint(&self) -> Option<&Url> {
        self.token.as_ref().or((self.dialect == Dialect::Plain).then_some(&self.assertions))
    }
}

/// Why nobody knows the identifier, and what would say it.
fn unnamed(understood: &Understood) -> String {
    let there = understood.documents.iter().filter(|document| document.verdict != Verdict::Missing);
    let why = there.map(|document| format!("{}: {}", document.document, document.why)).collect::<Vec<_>>();
    let why = if why.is_empty() { "there is no metadata document".to_owned() } else { why.join("; ") };
    let line = format!("\"issuer\": \"{}\"", understood.asked.trim_end_matches('/'));
    format!(
        "no document says what the service's identifier is, which assertions have to name ({why}). A line such as {line} would say it"
    )
}

/// The token endpoint, which only the documents that prove themselves say (RFC 8414 section 2), and which is at the service itself; and whether
/// it takes secrets in the form alone.
async fn token_endpoint(understood: &Understood, talk: &Talk) -> Option<(Url, bool)> {
    let issuer = Url::parse(understood.issuer.as_deref()?).ok()?;
    let proving = understood.documents.iter().filter(|document| document.verdict == Verdict::Proves);
    for document in proving {
        let call = Call::new(Method::Get, Url::parse(&document.document).ok()?);
        let said = talk.send("its metadata", &call, None).await;
        let Ok(reply) = said.reply else { continue };
        let url = reply.json.get("token_endpoint").and_then(|url| Url::parse(url.as_str()?).ok());
        if let Some(url) = url.filter(|url| is_at(url, &issuer)) {
            return Some((url, takes_secrets_in_the_form_alone(&reply.json)));
        }
    }
    None
}

/// HTTP Basic is what a service takes that names nothing (RFC 8414 section 2, `token_endpoint_auth_methods_supported`).
fn takes_secrets_in_the_form_alone(metadata: &serde_json::Value) -> bool {
    let named = metadata.get("token_endpoint_auth_methods_supported").and_then(serde_json::Value::as_array);
    let has = |method: &str| named.is_some_and(|named| named.iter().any(|one| one == method));
    has("client_secret_post") && !has("client_secret_basic")
}

/// Whether an address is at a host or one below it.
pub(in crate::lab) fn is_at(url: &Url, service: &Url) -> bool {
    match (url.host_str(), service.host_str()) {
        (Some(host), Some(own)) => host == own || host.strip_suffix(own).is_some_and(|rest| rest.ends_with('.')),
        _ => false,
    }
}
