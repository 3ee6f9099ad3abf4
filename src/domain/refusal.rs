//! Every way of saying no. It knows nothing of HTTP: the one map to codes and statuses is `http/error.rs`.

use super::members::MemberError;
use super::time::{Seconds, Timestamp};

/// A question that waits for its user, as the agent is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenQuestion {
    /// Where the user is asked.
    pub consent_uri: String,
    /// Seconds until the question expires.
    pub expires_in: Seconds,
    /// Seconds to wait between two requests.
    pub interval: Seconds,
}

/// A refusal: somebody asked for what they may not have, or asked in a way we cannot take.
///
/// The text of each is fit for an `error_description`: it says what was wrong with the request and nothing that the
/// asker may not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    // The request as such (RFC 6749 section 5.2, RFC 6749 section 3.2).
    /// The body is no form.
    #[error("the body must be application/x-www-form-urlencoded")]
    NotAForm,
    /// The body has more bytes than are read.
    #[error("the body must be at most 64 KiB")]
    BodyTooLarge,
    /// The body did not arrive in time, or not whole.
    #[error("the body did not arrive within 15 seconds")]
    BodyIncomplete,
    /// No host is named, or two are (RFC 9112 section 3.2).
    #[error("a request must have one Host header, which names a host")]
    HostUnclear,
    /// A required parameter is absent or empty.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A parameter came twice (RFC 6749 section 3.2).
    #[error("{0} was given more than once")]
    Twice(String),
    /// A parameter has a value that cannot be taken.
    #[error("{0} {1}")]
    Malformed(&'static str, &'static str),
    /// A parameter that people are shown could disguise itself.
    #[error("{0}: {1}")]
    TextMalformed(&'static str, &'static str),
    /// Known to the specifications, not built: refused, since ignoring it would change what the caller gets.
    #[error("{0} is not supported")]
    NotSupported(&'static str),
    /// A grant we do not offer.
    #[error("this grant_type is not supported")]
    GrantTypeUnsupported,
    /// A grant this client was not registered for.
    #[error("the client is not registered for this grant_type")]
    GrantTypeNotAllowed,

    // Client authentication (RFC 6749 section 2.3, RFC 7523 section 3). One text for all who fail: no oracle.
    /// No credential at all.
    #[error("client authentication is required")]
    ClientUnauthenticated,
    /// Unknown, disabled, a wrong secret, a wrong kind of method: the same answer.
    #[error("client authentication failed")]
    ClientAuthenticationFailed,
    /// The client's assertion is not acceptable; what is wrong is something only its maker can know.
    #[error("client assertion: {0}")]
    ClientAssertion(&'static str),
    /// Two ways of authenticating in one request (RFC 6749 section 2.3).
    #[error("the client used more than one authentication method")]
    ClientAuthenticationTwice,

    // Authorization code (RFC 6749 section 4.1, RFC 7636, RFC 9700).
    /// Unknown, expired, somebody else's or used.
    #[error("the authorization code is not valid")]
    CodeInvalid,
    /// `redirect_uri` is not the one of the authorization request.
    #[error("redirect_uri is not the one the code was issued for")]
    CodeRedirectMismatch,
    /// PKCE.
    #[error("code_verifier does not match the code_challenge")]
    CodeVerifierWrong,
    /// Unknown, expired, somebody else's, used or withdrawn.
    #[error("the refresh token is not valid")]
    RefreshInvalid,

    /// A token to revoke that is somebody else's (RFC 7009 section 2.1).
    #[error("the token was issued to another client")]
    TokenOfAnotherClient,

    // Scopes (RFC 6749 section 3.3).
    /// Not a list of scope tokens.
    #[error("scope is not a list of scope tokens")]
    ScopeMalformed,
    /// A scope nobody here knows or this client may not have.
    #[error("scope {0} cannot be granted")]
    ScopeNotGrantable(String),

    /// None of those asked for at a sign-in belongs there.
    #[error("scope {0} cannot be granted at a sign-in; a scope of a service is asked for in the token exchange")]
    ScopeNotOfSignIn(String),

    // Authorization endpoint (RFC 6749 section 4.1.2.1, OpenID Connect Core section 3.1.2.6).
    /// The client is not known: a page, never a redirect.
    #[error("this client is not known here")]
    AuthorizeClientUnknown,
    /// The redirect URI is not registered: a page, never a redirect (RFC 9700 section 2.1).
    #[error("redirect_uri is not registered for this client")]
    RedirectUriUnknown,
    /// Only `code`.
    #[error("response_type must be code")]
    ResponseTypeUnsupported,
    /// `prompt=none` and nobody is signed in, or too long ago.
    #[error("the user is not signed in")]
    LoginRequired,
    /// `prompt=none` and the user has not agreed yet.
    #[error("the user has not agreed to this sign-in")]
    SignInConsentRequired,
    /// The user denied the request at the sign-in consent.
    #[error("the user denied the request")]
    SignInDenied,
    /// `request` objects.
    #[error("request objects are not supported")]
    RequestNotSupported,
    /// `request_uri`.
    #[error("request_uri is not supported")]
    RequestUriNotSupported,

    // Token exchange (RFC 8693 section 2.2.2, ID-JAG draft section 4.3).
    /// The subject token is not acceptable.
    #[error("subject_token: {0}")]
    SubjectToken(&'static str),
    /// Two audiences in one request.
    #[error("exactly one audience can be asked for")]
    AudienceTwice,
    /// The audience is no issuer identifier.
    #[error("audience: {0}")]
    AudienceMalformed(&'static str),
    /// Beyond the admin's ceiling.
    #[error("this client may not ask for this audience")]
    AudienceNotAllowed,
    /// A service that is known here by another spelling, which the client may ask for.
    #[error("this is not how that service is spelled here; did you mean {0}?")]
    AudienceMisspelt(String),
    /// Not an authorization server but a resource of one, by its own metadata (RFC 9728).
    #[error("this is a protected resource, which names {0} as its authorization server: ask for that audience")]
    AudienceIsResource(String),
    /// The service says that it takes no ID-JAGs, and perhaps what it takes.
    #[error("this service takes no ID-JAGs{}", .0.as_ref().map_or_else(String::new, |what| format!("; by its own metadata it takes {what}")))]
    TakesNoIdJags(Option<String>),
    /// The client has just named too many services that nobody here had heard of.
    #[error("this client has named too many unknown services; it may name another in a minute")]
    TooManyServices,
    /// This issuer, or one of this server that is not declared as a service of it (ID-JAG draft section 9.3).
    #[error(
        "this server issues no assertions for itself, nor for an issuer of its own that was not declared as a service"
    )]
    AudienceOwn,
    /// Not an absolute URI without fragment (RFC 8707 section 2).
    #[error("resource: {0}")]
    ResourceMalformed(&'static str),
    /// Not a resource of this audience.
    #[error("this resource does not belong to the audience")]
    ResourceNotOfAudience,
    /// More than services can be relied upon to take.
    #[error("the assertion would be longer than 8 KiB: ask for fewer or shorter resources, scopes or context")]
    AssertionTooLong,
    /// The user was not asked yet, or has not answered. Many libraries pass on nothing but the description: it has the address too.
    #[error("the user has to agree first; show them {}", .0.consent_uri)]
    ConsentRequired(OpenQuestion),
    /// Asked again before `interval` was over.
    #[error("ask again no sooner than every {} seconds; the user has to agree first, at {}", .0.interval, .0.consent_uri)]
    SlowDown(OpenQuestion),
    /// Five questions of this client already wait for this user.
    #[error("too many questions of this client already wait for this user")]
    TooManyQuestions,
    /// The user denied the request.
    #[error("the user denied the request; they can change that under Connections")]
    Denied,
    /// The user denied something else that this client asked for at this service, a short while ago.
    #[error(
        "the user has just denied what this client asked for at this service; it may ask for something else in {0} seconds"
    )]
    DeniedLately(Seconds),
    /// The service needs a verified e-mail or phone number, the user has neither.
    #[error("the user has neither a verified e-mail address nor a verified phone number, which this service needs")]
    NoVerifiedContact,
    /// The sign-in is older than the service takes. ID-JAG draft section 9.2 shows this answer by an example and requires nothing; `max_age`
    /// stands alone since `acr_values` beside it is only proposed there (RFC 9470 has both for resource servers).
    #[error("the user has to sign in again: this service takes no sign-in older than {max_age} seconds")]
    StepUp {
        /// Seconds.
        max_age: Seconds,
    },

    /// The sign-in is ahead of this server's clock, by more than clocks differ.
    #[error("the user has to sign in again: by this server's clock they have not signed in yet")]
    SignInAhead,

    // Bearer tokens (RFC 6750 section 3.1).
    /// No token.
    #[error("a bearer token is required")]
    BearerMissing,
    /// Unknown, expired, ended.
    #[error("the access token is not valid")]
    BearerInvalid,
    /// A good token without the scope.
    #[error("the access token lacks the scope {0}")]
    BearerScope(&'static str),

    // Pages.
    /// E-mail or password wrong: one text for both.
    #[error("E-mail or password is wrong.")]
    CredentialsWrong,
    /// Too many failed sign-ins.
    #[error("Too many attempts. You can try again in {0} seconds.")]
    Throttled(Seconds),
    /// The form was not sent by a page of ours.
    #[error("This form was not sent from a page of ours, or it is too old. Go back, reload the page and try again.")]
    CrossSite,
    /// The sign-in form is none that this browser was shown lately.
    #[error("This page was too old, or your browser keeps no cookies. Please sign in again.")]
    SignInFormStale,
    /// No such page, record or question; also what somebody else's looks like.
    #[error("not found")]
    NotFound,
    /// The question was decided or has expired.
    #[error("This question is closed.")]
    TicketClosed,
    /// What was posted is not what the page showed.
    #[error("The form does not match the question. Reload the page and look again.")]
    TicketMismatch,

    // REST.
    /// A filter or cursor nobody knows.
    #[error("{0}")]
    BadQuery(String),
    /// The body is no JSON by its content type.
    #[error("the body must be application/json")]
    NotJson,
    /// The body is no JSON, or has other members than those that are known.
    #[error("the body cannot be read: {0}")]
    JsonMalformed(String),
    /// What only the root's administrator may do.
    #[error("only the admin token of the root may manage issuers")]
    RootOnly,
    /// What an administrator may do, and no user.
    #[error("only an admin token may do this")]
    AdminOnly,
    /// There is one of that id.
    #[error("there is an issuer of this id already")]
    IssuerExists,
    /// What is to be added is there.
    #[error("there is {0} already")]
    Exists(&'static str),
    /// A member of what is to be added or changed breaks a rule.
    #[error("{0}")]
    MemberWrong(MemberError),
    /// The configuration says what a user, client or service is.
    #[error("the configuration declares it, and the next start would undo this: change it there")]
    Declared,
    /// It was found out, not added.
    #[error("nobody added it, so there is nothing to change but whether it is disabled: add it first")]
    NotAdded,
    /// The configuration says what it is.
    #[error("this issuer is declared in the configuration: change it there")]
    IssuerDeclared,
    /// For a user, client or service that disappeared from the configuration and is to be enabled.
    #[error("it disappeared from the configuration: declare it there again")]
    NotDeclared,
    /// It is as long as the server is.
    #[error("the default issuer is described in the configuration and cannot be disabled")]
    IssuerDefault,
    /// A key may not move yet: somebody may still need it where it is.
    #[error("{what} from {} on; before that it takes force and a reason", .at.rfc3339())]
    KeyNotYet {
        /// What may be done then.
        what: &'static str,
        /// When.
        at: Timestamp,
    },
    /// A service stands where this cannot be done with it.
    #[error("{0}")]
    ServiceState(&'static str),
    /// A key stands where this cannot be done with it.
    #[error("{0}")]
    KeyState(&'static str),
    /// A notice stands where this cannot be done with it.
    #[error("{0}")]
    DeliveryState(&'static str),
    /// The method exists elsewhere.
    #[error("this method is not allowed here")]
    MethodNotAllowed,

    /// Nothing wrong with the request: a moment later it may succeed.
    #[error("the server is busy, try again")]
    Busy,
}

impl Refusal {
    /// A client's assertion that was sent before (RFC 7523 section 3, item 7).
    pub const ASSERTION_REPLAYED: Self = Self::ClientAssertion("its jti was used before");
    /// An agreement to nothing of what was asked for.
    pub const NOTHING_TICKED: Self = Self::Malformed("scope", "must keep at least one; to give none, deny");
}
