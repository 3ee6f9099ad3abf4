//! The error contract, as a file to review: every way of saying no, with its code, status and text.

use std::fmt::Write as _;

use avouch::domain::members::MemberError;
use avouch::domain::refusal::{OpenQuestion, Refusal as R};
use avouch::domain::time::{Seconds, Timestamp};
use avouch::http::error::code_and_status;

fn question() -> OpenQuestion {
    OpenQuestion { consent_uri: "https://id.example/consent/x".into(), expires_in: Seconds(600), interval: Seconds(5) }
}

/// Where somebody meets an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Request,
    Client,
    Authorize,
    Token,
    Exchange,
    Bearer,
    Api,
    Pages,
}
use Place::{Api, Authorize, Bearer, Client, Exchange, Pages, Request, Token};

/// Where it is met, when, and what to do then.
type Advice = (Place, &'static str, &'static str);

/// One entry for each variant, as pattern and example at once, and what the table of errors says of it: a new variant does not compile until
/// it has one.
macro_rules! every_refusal {
    ($($pattern:pat => $example:expr; $place:expr, $when:literal, $todo:literal;)*) => {
        fn examples() -> Vec<R> {
            // Without a wildcard: this is what the compiler checks.
            let _listed = |refusal: &R| match refusal { $($pattern => {})* };
            let examples = vec![$($example),*];
            let mut each = examples.iter();
            $(assert!(matches!(each.next(), Some($pattern)), "{} is an example of its pattern", stringify!($pattern));)*
            examples
        }

        fn advice() -> Vec<Advice> {
            vec![$(($place, $when, $todo)),*]
        }
    };
}

every_refusal! {
    R::NotAForm => R::NotAForm;
        Request, "the body of a post has another content type", "send `application/x-www-form-urlencoded`";
    R::BodyTooLarge => R::BodyTooLarge;
        Request, "the body is too large", "send less";
    R::BodyIncomplete => R::BodyIncomplete;
        Request, "the body did not arrive in time, or not whole", "send it again";
    R::HostUnclear => R::HostUnclear;
        Request, "no `Host`, or two", "mend the client or the proxy in front";
    R::Missing(_) => R::Missing("redirect_uri");
        Request, "a required parameter is absent or empty", "send it";
    R::Twice(_) => R::Twice("state".into());
        Request, "a parameter came more than once", "send it once";
    R::Malformed(..) => R::Malformed("code_challenge_method", "must be S256");
        Request, "a parameter has a value that cannot be taken", "read what the description says of it";
    R::TextMalformed(..) => R::TextMalformed("agent_platform", "it contains a control character or a line break");
        Request, "a text that people are shown could disguise itself", "leave out invisible characters and line breaks; keep it short";
    R::NotSupported(_) => R::NotSupported("actor_token");
        Request, "a parameter or header that the specifications know and this server does not", "leave it out";
    R::GrantTypeUnsupported => R::GrantTypeUnsupported;
        Token, "a grant that is not offered", "see `grant_types_supported` in the metadata";
    R::GrantTypeNotAllowed => R::GrantTypeNotAllowed;
        Token, "the client is not registered for this grant", "the operator adds it to `grant_types`";
    R::ClientUnauthenticated => R::ClientUnauthenticated;
        Client, "no client credential was sent", "send the secret (basic or body) or a client assertion";
    R::ClientAuthenticationFailed => R::ClientAuthenticationFailed;
        Client, "unknown or disabled client, wrong secret, wrong kind of method: one answer for all", "check `client_id`, the secret and the registered method";
    R::ClientAssertion(_) => R::ClientAssertion("it has expired");
        Client, "the client assertion cannot be taken", "make a new one as the description says";
    R::ClientAuthenticationTwice => R::ClientAuthenticationTwice;
        Client, "two ways of authenticating in one request", "use one";
    R::CodeInvalid => R::CodeInvalid;
        Token, "unknown, expired (60 s), used, or somebody else's", "begin again at `/authorize`; a code is good once";
    R::CodeRedirectMismatch => R::CodeRedirectMismatch;
        Token, "another `redirect_uri` than at `/authorize`", "send the same one";
    R::CodeVerifierWrong => R::CodeVerifierWrong;
        Token, "PKCE: the verifier is not the challenge's", "send the verifier that the challenge was made of (S256)";
    R::RefreshInvalid => R::RefreshInvalid;
        Token, "unknown, expired, used up, or ended by the user", "sign the user in again";
    R::TokenOfAnotherClient => R::TokenOfAnotherClient;
        Token, "a token to revoke belongs to another client", "revoke your own tokens only";
    R::ScopeMalformed => R::ScopeMalformed;
        Request, "`scope` is no list of scope tokens", "separate tokens by single spaces (RFC 6749 section 3.3)";
    R::ScopeNotGrantable(_) => R::ScopeNotGrantable("api.admin".into());
        Request, "a scope that nobody here knows, or that this client may not have", "ask for less";
    R::ScopeNotOfSignIn(_) => R::ScopeNotOfSignIn("api.admin".into());
        Authorize, "only scopes of services were asked for at a sign-in", "ask for `openid` here, and for those in the token exchange";
    R::AuthorizeClientUnknown => R::AuthorizeClientUnknown;
        Authorize, "unknown client; shown as a page, never sent back", "check `client_id`";
    R::RedirectUriUnknown => R::RedirectUriUnknown;
        Authorize, "`redirect_uri` is not registered, to the letter; shown as a page, never sent back", "register it, or send the registered one";
    R::ResponseTypeUnsupported => R::ResponseTypeUnsupported;
        Authorize, "another response type than `code`", "send `response_type=code`";
    R::LoginRequired => R::LoginRequired;
        Authorize, "`prompt=none` and nobody is signed in, or too long ago, or somebody else", "repeat without `prompt=none`";
    R::SignInConsentRequired => R::SignInConsentRequired;
        Authorize, "`prompt=none` and the user was not asked yet", "repeat without `prompt=none`";
    R::SignInDenied => R::SignInDenied;
        Authorize, "the user denied the sign-in", "respect it; ask again when the user wants to";
    R::RequestNotSupported => R::RequestNotSupported;
        Authorize, "a `request` object", "send plain parameters";
    R::RequestUriNotSupported => R::RequestUriNotSupported;
        Authorize, "a `request_uri`", "send plain parameters";
    R::SubjectToken(_) => R::SubjectToken("its session is over");
        Exchange, "the subject token cannot be taken", "do what the description says; mostly: refresh, or sign the user in again";
    R::AudienceTwice => R::AudienceTwice;
        Exchange, "two audiences in one request", "ask for one at a time";
    R::AudienceMalformed(_) => R::AudienceMalformed("it is not a URL");
        Exchange, "`audience` is no issuer identifier", "send the service's `issuer`, to the letter";
    R::AudienceNotAllowed => R::AudienceNotAllowed;
        Exchange, "the operator allows this client no such audience", "the operator adds it to the client's `audiences`";
    R::AudienceMisspelt(_) => R::AudienceMisspelt("https://service.example".into());
        Exchange, "another spelling of a service that is known here", "send the spelling in the description";
    R::AudienceIsResource(_) => R::AudienceIsResource("https://auth.service.example".into());
        Exchange, "`audience` is a protected resource, by its own metadata", "ask for the authorization server in the description, and name the resource as `resource`";
    R::TakesNoIdJags(_) => R::TakesNoIdJags(Some("anonymous and service_auth".into()));
        Exchange, "the service says that it takes no ID-JAGs", "use what the description names; where the service's metadata is wrong, the operator declares it in `[[services]]`";
    R::TooManyServices => R::TooManyServices;
        Exchange, "the client has named ten services in a minute that nobody here had heard of", "wait a minute";
    R::AudienceOwn => R::AudienceOwn;
        Exchange, "this server as its own audience", "name the service that the assertion is for";
    R::ResourceMalformed(_) => R::ResourceMalformed("it is not a URL");
        Exchange, "`resource` is no absolute http(s) URL without fragment", "mend it (RFC 8707 section 2)";
    R::ResourceNotOfAudience => R::ResourceNotOfAudience;
        Exchange, "the resource is none of the service's", "ask for a resource of that service";
    R::AssertionTooLong => R::AssertionTooLong;
        Exchange, "what was asked for does not fit into an assertion", "ask for less";
    R::ConsentRequired(_) => R::ConsentRequired(question());
        Exchange, "the user was not asked yet, or has not answered", "show the user `consent_uri`; repeat every `interval` seconds until `expires_in`";
    R::SlowDown(_) => R::SlowDown(question());
        Exchange, "repeated before `interval` seconds were over", "wait `interval` seconds";
    R::TooManyQuestions => R::TooManyQuestions;
        Exchange, "five questions of this client already wait for this user", "wait until the user has answered, or ten minutes";
    R::Denied => R::Denied;
        Exchange, "the user denied exactly this", "stop asking; only the user can change it";
    R::DeniedLately(_) => R::DeniedLately(Seconds(3600));
        Exchange, "the user denied something else at this service a short while ago", "wait as long as the description says";
    R::NoVerifiedContact => R::NoVerifiedContact;
        Exchange, "the service needs a verified e-mail address or phone number", "the operator verifies one";
    R::StepUp { .. } => R::StepUp { max_age: Seconds(3600) };
        Exchange, "the service takes no sign-in that is older than `max_age` seconds", "sign the user in again with that `max_age`";
    R::SignInAhead => R::SignInAhead;
        Exchange, "the sign-in lies ahead of this server's clock", "sign the user in again with `max_age=0`";
    R::BearerMissing => R::BearerMissing;
        Bearer, "no bearer token", "send `Authorization: Bearer …`";
    R::BearerInvalid => R::BearerInvalid;
        Bearer, "unknown, expired or ended token, or two of them", "get a new one";
    R::BearerScope(_) => R::BearerScope("delegations");
        Bearer, "a good token that lacks a scope", "ask for the scope at the sign-in";
    R::CredentialsWrong => R::CredentialsWrong;
        Pages, "e-mail or password is wrong: one answer for both", "try again";
    R::Throttled(_) => R::Throttled(Seconds(5));
        Pages, "too many failed sign-ins", "wait as long as `Retry-After` says";
    R::CrossSite => R::CrossSite;
        Pages, "a form that no page of this server sent, or of a session that is over", "reload the page, send it again";
    R::SignInFormStale => R::SignInFormStale;
        Pages, "a sign-in form of long ago, or no cookies", "sign in on the form that is shown";
    R::NotFound => R::NotFound;
        Api, "no such thing, or somebody else's", "check the address";
    R::TicketClosed => R::TicketClosed;
        Pages, "the question was answered, or has expired", "see Connections";
    R::TicketMismatch => R::TicketMismatch;
        Pages, "the question has changed since the page was loaded", "look at it again";
    R::BadQuery(_) => R::BadQuery("cursor is not one of ours".into());
        Api, "an unknown filter, or a value that it cannot have", "mend the query";
    R::MethodNotAllowed => R::MethodNotAllowed;
        Api, "the method exists elsewhere only; also at OAuth endpoints", "see `Allow`";
    R::NotJson => R::NotJson;
        Api, "the body of a call has another content type", "send `application/json`";
    R::JsonMalformed(_) => R::JsonMalformed("missing field `id`".into());
        Api, "no JSON, or not the members that are known", "mend the body; see `/api/v1/openapi.json`";
    R::RootOnly => R::RootOnly;
        Api, "another token than the root's admin token", "use that one";
    R::AdminOnly => R::AdminOnly;
        Api, "a user's token for what only an admin may do", "use an admin token";
    R::KeyNotYet { .. } => R::KeyNotYet { what: "it may sign", at: Timestamp(1_800_000_000) };
        Api, "a key is to be moved while somebody may still need it where it is", "wait until then, or use force and give a reason";
    R::KeyState(_) => R::KeyState("only a pending key can be activated");
        Api, "a key stands where this cannot be done with it", "look where it stands first";
    R::DeliveryState(_) => R::DeliveryState("it was delivered");
        Api, "a notice stands where this cannot be done with it", "look where it stands first";
    R::ServiceState(_) => R::ServiceState("it is pinned already");
        Api, "a service stands where this cannot be done with it", "look at its `source` first";
    R::IssuerExists => R::IssuerExists;
        Api, "the id is taken", "choose another";
    R::IssuerDeclared => R::IssuerDeclared;
        Api, "the issuer is declared in the configuration", "change it there, then SIGHUP";
    R::Exists(_) => R::Exists("a user with this e-mail address");
        Api, "what is to be added is there", "change it, or choose another name";
    R::MemberWrong(_) => R::MemberWrong(MemberError::new("redirect_uris", "it has more than 32 entries"));
        Api, "a member of what is to be added or changed breaks a rule", "mend what the detail names";
    R::Declared => R::Declared;
        Api, "the user, client or service is the configuration's", "change it there, then SIGHUP";
    R::NotAdded => R::NotAdded;
        Api, "the service was discovered or named by an agent, and nobody added it", "`POST /services`, then change it";
    R::NotDeclared => R::NotDeclared;
        Api, "what is to be enabled disappeared from the configuration", "declare it there again, then SIGHUP";
    R::IssuerDefault => R::IssuerDefault;
        Api, "the issuer at the root", "change it in the configuration";
    R::Busy => R::Busy;
        Request, "the database does not answer at the moment, or the server is full", "repeat after `Retry-After` seconds";
}

#[test]
fn the_error_contract() {
    let line = |refusal: &R| {
        let debug = format!("{refusal:?}");
        let name = debug.split(|c: char| !c.is_alphanumeric()).next().unwrap();
        let (code, status) = code_and_status(refusal);
        format!("{name:<27}{status} {code:<34}{refusal}")
    };
    insta::assert_snapshot!(examples().iter().map(line).collect::<Vec<_>>().join("\n"));
}

/// `docs/errors.md`, of the map and the list above. Written anew where INSTA_UPDATE is `always`, as the snapshots are.
#[test]
fn the_table_of_errors() {
    let sections = [
        (Request, "Any request", ""),
        (Client, "Client authentication: `/token`, `/introspect`, `/revoke`", ""),
        (Authorize, "Sign-in: `/authorize`", "Sent to the client's `redirect_uri`, unless it says that it is a page."),
        (Token, "Codes and tokens: `/token`, `/revoke`", ""),
        (
            Exchange,
            "Token exchange: `/token`",
            "`consent_required` and `slow_down` carry `consent_uri`, `expires_in` and `interval` while a question is open; \
             `insufficient_user_authentication` carries `max_age`.",
        ),
        (Bearer, "Bearer tokens: `/userinfo`, `/api/v1`", "With the challenge of RFC 6750 section 3."),
        (Api, "`/api/v1`, and addresses where nothing is", ""),
        (Pages, "Pages", "Shown to people in these words, with the status; nothing to program against."),
    ];
    let mut text = INTRODUCTION.to_owned();
    for (place, title, about) in sections {
        write!(text, "\n## {title}\n\n").unwrap();
        if !about.is_empty() {
            write!(text, "{about}\n\n").unwrap();
        }
        text.push_str("| error | status | when | described as | what to do |\n| --- | --- | --- | --- | --- |\n");
        for (refusal, (_, when, todo)) in examples().iter().zip(advice()).filter(|(_, advice)| advice.0 == place) {
            let (code, status) = code_and_status(refusal);
            let said = refusal.to_string().replace('`', "'");
            writeln!(text, "| `{code}` | {status} | {when} | {said} | {todo} |").unwrap();
        }
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/errors.md");
    if std::env::vars().any(|(name, value)| name == "INSTA_UPDATE" && value == "always") {
        std::fs::write(file, &text).unwrap();
    }
    let written = std::fs::read_to_string(file).unwrap_or_default();
    assert!(written == text, "docs/errors.md is out of date: run INSTA_UPDATE=always tests/run the_table_of_errors");
}

const INTRODUCTION: &str = "\
# Errors

Made of the server's own map of errors by a test; what a description names (`redirect_uri`, a number of seconds) is an example.

- OAuth endpoints answer JSON with `error` and `error_description` (RFC 6749 section 5.2). Descriptions are for people and may change; the error and
  the status do not.
- `/authorize` sends both to the client's `redirect_uri`, with `state` and `iss`, once client and `redirect_uri` are known to belong together.
- `/api/v1` answers problem details (RFC 9457): the error is the member `code`, the description `detail`.
- Every answer has an `x-request-id`, by which the operator finds it in the log. 429 and 503 have a `Retry-After`.
- `server_error`, status 500, is our fault: its `request_id` says which one to look for. What was asked for may or may not have happened.
";
