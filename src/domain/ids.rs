//! Identifiers: parsed once at the door, then trusted. All of them are compared as exact strings, and none is taken for another:
//!
//! ```compile_fail,E0308
//! use avouch::domain::ids::{ClientId, ClientKey};
//! let key: ClientKey = ClientId::parse("desk-agent").unwrap();
//! ```

use url::{Host, Url};

use super::members::quote;

/// Why a text is not the identifier it claims to be; the sentence is fit for an error description.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct IdError(pub &'static str);

/// Most characters of any URL that is taken in from outside.
pub const MAX_URL: usize = 2048;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
        pub struct $name(String);

        impl $name {
            /// The identifier as it stands on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// A text that is taken as it is: made by us, or compared with what we made.
macro_rules! free_text_id {
    ($(#[$doc:meta])* $name:ident) => {
        text_id! { $(#[$doc])* #[derive(serde::Deserialize)] $name }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
    };
}

text_id! {
    /// An issuer identifier (RFC 8414 section 2): https, or http on a loopback host; no query, no fragment, no trailing slash.
    IssuerUrl
}

text_id! {
    /// A relying service: the issuer identifier of its authorization server, byte for byte the assertion's `aud`
    /// (ID-JAG draft section 4.3; RFC 8414 section 2). Never normalised: a trailing slash makes another audience.
    Audience
}

free_text_id! {
    /// Our own key of a client, in every column that names one. It never leaves.
    ClientKey
}

free_text_id! {
    /// Our own key of an account, in every column that names one. It never leaves.
    AccountId
}

/// What is parsed wherever it comes in, also from a column or in JSON.
macro_rules! checked_text_id {
    ($(#[$doc:meta])* $name:ident) => {
        text_id! { $(#[$doc])* #[derive(serde::Deserialize)] #[serde(try_from = "String")] $name }

        impl $name {
            /// Parses one.
            ///
            /// # Errors
            /// Which rule it breaks.
            pub fn parse(text: &str) -> Result<Self, <Self as TryFrom<String>>::Error> {
                text.to_owned().try_into()
            }
        }
    };
}

checked_text_id! {
    /// What a client is called on the wire: an exact text (RFC 6749 section 2.2), here without spaces.
    ClientId
}

checked_text_id! {
    /// What a user is called on the wire, the `sub` of every token: opaque and stable, at most 255 ASCII characters (OpenID Connect Core
    /// section 2).
    Subject
}

checked_text_id! {
    /// A token's identifier (RFC 7519 section 4.1.7), which its issuer gives to no other.
    Jti
}

free_text_id! {
    /// A key's identifier, in a header (RFC 7515 section 4.1.4) and in a JWK Set.
    Kid
}

free_text_id! {
    /// Which sealing key: made of the key, and tells nothing of it.
    SealingKeyId
}

/// What the name of every key of a lab begins with.
pub const LAB_KID: &str = "lab-";

/// Where the issuers of a lab are that nobody can reach: under a name that no resolver knows (RFC 6761 section 6.4).
pub const LAB_DOMAIN: &str = "lab.invalid";

impl Kid {
    /// Whether it is a key of a lab: what it signs is for tests, and no server takes it.
    #[must_use]
    pub fn is_of_lab(&self) -> bool {
        self.0.starts_with(LAB_KID)
    }
}

impl TryFrom<String> for ClientId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        // RFC 6749 section A.1, without the space.
        if (1..=MAX_URL).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
            return Ok(Self(text));
        }
        Err(format!("{} is not a client id: 1 to {MAX_URL} visible ASCII characters", quote(&text)))
    }
}

impl TryFrom<String> for Subject {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
            return Ok(Self(text));
        }
        Err(format!("{} is not a subject: 1 to 255 printable ASCII characters", quote(&text)))
    }
}

impl TryFrom<String> for Jti {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        if !(1..=256).contains(&text.len()) {
            return Err(IdError("jti must have 1 to 256 bytes"));
        }
        // PostgreSQL takes no NUL; nobody needs the others.
        if text.chars().any(char::is_control) {
            return Err(IdError("jti must not contain control characters"));
        }
        Ok(Self(text))
    }
}

impl IssuerUrl {
    /// Parses an issuer identifier.
    ///
    /// # Errors
    /// When it is not an absolute https URL (or http on loopback), or has a query, fragment, userinfo or trailing slash.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let url = https_or_loopback(text)?;
        if text.ends_with('/') {
            return Err(IdError("an issuer has no trailing slash: services append /.well-known/jwks.json to it"));
        }
        let issuer = Self(text.to_owned());
        // Written in one way only: it is compared byte by byte, and stands in pages and cookies as it is.
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
        let good = |name: &str| !name.is_empty() && name.bytes().all(plain);
        if issuer.base() != url.path().trim_end_matches('/') || !issuer.base().split('/').skip(1).all(good) {
            return Err(IdError("a path may hold only letters, digits and -._~ between single slashes"));
        }
        Ok(issuer)
    }

    /// Whether it may only be reached on this machine, which allows http and development conveniences.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        Url::parse(&self.0).is_ok_and(|url| is_loopback_host(&url))
    }

    /// Whether it is a lab's, and so no server's.
    #[must_use]
    pub fn is_of_lab(&self) -> bool {
        let host = Url::parse(&self.0).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
        host.strip_suffix(LAB_DOMAIN).is_some_and(|before| before.is_empty() || before.ends_with('.'))
    }

    /// Whether cookies can be `Secure`.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// Its origin (RFC 6454 section 6.2): what browsers send with our forms.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.0.strip_suffix(self.base()).unwrap_or(&self.0)
    }

    /// Its origin as browsers write it, however it is written here.
    #[must_use]
    pub fn serialized_origin(&self) -> String {
        Url::parse(&self.0).map_or_else(|_| self.origin().to_owned(), |url| url.origin().ascii_serialization())
    }

    /// What precedes every path of it: nothing for an issuer at the root of its origin.
    #[must_use]
    pub fn base(&self) -> &str {
        let after_scheme = self.0.find("://").map_or(0, |at| at + 3);
        self.0[after_scheme..].find('/').map_or("", |at| &self.0[after_scheme + at..])
    }

    /// A URL under this issuer; `path` starts with a slash.
    #[must_use]
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }
}

impl Audience {
    /// Parses an audience. An alias that is not a URL is refused: we know of none.
    ///
    /// # Errors
    /// When it is relative, not https (or http on loopback), or has a query, fragment or userinfo.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        https_or_loopback(text)?;
        Ok(Self(text.to_owned()))
    }

    /// Whether it is on this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        Url::parse(&self.0).is_ok_and(|url| is_loopback_host(&url))
    }

    /// The host, the port if it is unusual, and the path if there is one, since services may share a host: what a person is shown. Punycode
    /// stays punycode, so look-alikes show.
    #[must_use]
    pub fn host(&self) -> String {
        let shown = |url: Url| format!("{}{}", authority(&url), url.path().trim_end_matches('/'));
        Url::parse(&self.0).map_or_else(|_| self.0.clone(), shown)
    }

    /// Where it leads, as a text that all its spellings have in common. For finding out what somebody meant, never to be sent.
    #[must_use]
    pub fn place(&self) -> String {
        Place::of(&self.0).map_or_else(|| self.0.clone(), |place| place.to_string())
    }

    /// Whether it is an issuer in any spelling, slashes at its end included: whoever normalises would take an assertion for it as one for
    /// that issuer.
    #[must_use]
    pub fn names(&self, issuer: &IssuerUrl) -> bool {
        Place::of(&self.0).is_some_and(|place| Some(place) == Place::of(&issuer.0))
    }

    /// Whether it is an issuer or anything beneath it, in any spelling.
    #[must_use]
    pub fn is_at_or_under(&self, root: &IssuerUrl) -> bool {
        let (Some(place), Some(root)) = (Place::of(&self.0), Place::of(&root.0)) else { return false };
        (place.scheme, place.host, place.port) == (root.scheme, root.host, root.port)
            && place.path.starts_with(&root.path)
    }
}

/// Where a URL leads, however it is written (RFC 3986 section 6.2.2 and 6.2.3). Never sent or stored: an identifier stays what it was.
#[derive(PartialEq)]
struct Place {
    scheme: String,
    /// In small letters, without the dot that may end a full name.
    host: String,
    /// The default one where none is written.
    port: Option<u16>,
    /// Its segments without `.`, `..`, empty ones and percent-encoding.
    path: Vec<Vec<u8>>,
}

impl Place {
    fn of(text: &str) -> Option<Self> {
        // The parser sees to capitals, dot segments (`%2e` as well) and the forms of an address.
        let url = Url::parse(text).ok()?;
        let path = url.path_segments()?.filter(|segment| !segment.is_empty()).map(decoded).collect();
        let host = url.host_str()?.trim_end_matches('.').to_owned();
        Some(Self { scheme: url.scheme().to_owned(), host, port: url.port_or_known_default(), path })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}:{}", self.scheme, self.host, self.port.unwrap_or_default())?;
        for segment in &self.path {
            write!(f, "/{}", url::form_urlencoded::byte_serialize(segment).collect::<String>())?;
        }
        Ok(())
    }
}

/// Percent-encoding undone, where it is one.
fn decoded(segment: &str) -> Vec<u8> {
    let mut parts = segment.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let byte = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(b'%'));
        bytes.extend_from_slice(&part.as_bytes()[if byte.is_some() { 2 } else { 0 }..]);
    }
    bytes
}

/// Whether a resource is at the origin of an audience (RFC 6454 section 5).
#[must_use]
pub fn is_at_origin_of(resource: &str, audience: &Audience) -> bool {
    let origin = |text: &str| Url::parse(text).ok().map(|url| url.origin()).filter(url::Origin::is_tuple);
    origin(resource).is_some_and(|at| Some(at) == origin(&audience.0))
}

/// Whether two resources are one: by their syntax, then byte for byte (RFC 3986 sections 6.2.1 and 6.2.2).
#[must_use]
pub fn is_same_resource(a: &str, b: &str) -> bool {
    // The parser sees to capitals of scheme and host, usual ports and dot segments.
    let normal = |text: &str| Url::parse(text).ok().map(|url| unescaped(url.as_str()));
    a == b || normal(a).is_some_and(|a| Some(a) == normal(b))
}

/// Percent-encoding undone where it was not needed, else in capitals (RFC 3986 section 6.2.2.2).
fn unescaped(text: &str) -> String {
    let mut parts = text.split('%');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let escaped = part.get(..2).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => plain.push(char::from(byte)),
            // A triplet of hexadecimal digits is ASCII.
            Some(_) => plain.extend(['%'].into_iter().chain(part[..2].to_ascii_uppercase().chars())),
            None => plain.push('%'),
        }
        plain.push_str(escaped.map_or(part, |_| &part[2..]));
    }
    plain
}

/// Whether a URL is for the web.
#[must_use]
pub fn is_web(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| ["http", "https"].contains(&url.scheme()))
}

/// Host and explicit port of a URL.
#[must_use]
pub fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// An absolute URL that is https, or http on a loopback host, without userinfo, query and fragment.
fn https_or_loopback(text: &str) -> Result<Url, IdError> {
    let url = absolute(text)?;
    if url.query().is_some() {
        return Err(IdError("it must not have a query"));
    }
    if url.scheme() == "https" || (url.scheme() == "http" && is_loopback_host(&url)) {
        return Ok(url);
    }
    Err(IdError("it must be https (http only on a loopback host)"))
}

/// An absolute URL of bounded length with a host, and without userinfo and fragment (RFC 8707 section 2 asks the same of a resource).
///
/// # Errors
/// When it is none.
pub fn absolute(text: &str) -> Result<Url, IdError> {
    if text.len() > MAX_URL {
        return Err(IdError("it is longer than 2048 bytes"));
    }
    if text.bytes().any(|b| b <= b' ' || b == 0x7f || b == b'\\') {
        return Err(IdError("it contains a space, a control character or a backslash"));
    }
    if !text.is_ascii() {
        return Err(IdError("it contains a character that is not ASCII (RFC 3986 section 2)"));
    }
    let url = Url::parse(text).map_err(|_| IdError("it is not an absolute URL"))?;
    if url.host_str().is_none_or(str::is_empty) {
        return Err(IdError("it has no host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(IdError("it must not carry a user or password"));
    }
    if url.fragment().is_some() {
        return Err(IdError("it must not have a fragment"));
    }
    Ok(url)
}

/// Whether a URL's host is `localhost` or a loopback address. Names that merely resolve to loopback do not count.
#[must_use]
pub fn is_loopback_host(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests;
