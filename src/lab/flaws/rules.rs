//! The rules that a sandbox keeps. Each can be switched off, which is a flaw of the sandbox.

use super::answer::Level;
use super::class::Class;
use super::flaw::Flaw;
use super::section::{Section, Spec};
use crate::domain::spelling::probable;

macro_rules! rules {
    ($($rule:ident $name:literal $meaning:literal $spec:ident $at:literal, $level:ident $class:ident;)*) => {
        /// A flaw of the sandbox: a rule that it does not keep.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Rule { $(#[doc = $meaning] $rule),* }

        impl Rule {
            const ALL: &'static [Self] = &[$(Self::$rule),*];

            /// Its name, in kebab case.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$rule => $name),* }
            }
        }

        /// The same as flaws among others.
        pub(super) static FLAWS: &[Flaw] = &[$(Flaw::of_sandbox(
            $name,
            $meaning,
            Section { spec: Spec::$spec, at: $at },
            Level::$level,
            Class::$class,
        )),*];
    };
}

rules! {
    AcceptAnyLength "accept-any-length" "It reads tokens of any length."
        Rfc9110 "17.5", Should Malformed;
    AcceptPadding "accept-padding" "It takes padding in base64url."
        Rfc7515 "2", Must Malformed;
    AcceptRepeatedMembers "accept-repeated-members" "It takes tokens in which a member comes twice, and believes the last one."
        Rfc7519 "4", Should Malformed;
    IgnoreCrit "ignore-crit" "It passes over extensions that a token says must be understood."
        Rfc7515 "4.1.11", Must Malformed;
    AcceptAnyTyp "accept-any-typ" "It takes any kind of token for any other."
        IdJag "4.4.1", Must Type;
    AcceptAlgNone "accept-alg-none" "It takes tokens that nobody signed."
        Rfc8725 "3.1", Must Signature;
    AcceptAlgOfHeader "accept-alg-of-header" "It verifies by whatever algorithm the token says, with the public key as a secret."
        Rfc8725 "3.1", Must Signature;
    IgnoreAlg "ignore-alg" "It does not look at the algorithm that a token says."
        Rfc8725 "3.1", Must Signature;
    IgnoreKid "ignore-kid" "It tries every key of the issuer, whichever a token names."
        Rfc7515 "5.2", Must Signature;
    AcceptKeyOfHeader "accept-key-of-header" "It verifies by the key that a token brings along or points to."
        Rfc8725 "3.10", Must Signature;
    IgnoreSignature "ignore-signature" "It does not verify signatures."
        Rfc7515 "5.2", Must Signature;
    AcceptSignatureInDer "accept-signature-in-der" "It takes signatures in DER."
        Rfc7518 "3.4", Must Signature;
    NeverRefetchJwks "never-refetch-jwks" "It fetches an issuer's key set once and never again."
        AuthMd "JWKS fetching", Must Signature;
    RefetchOnEveryRequest "refetch-on-every-request" "It fetches an issuer's key set for every token."
        AuthMd "JWKS fetching", Should Tolerated;
    IgnoreKeyUse "ignore-key-use" "It verifies by keys that were published for something else."
        Rfc7517 "4.2", Must Signature;
    AcceptPublishedPrivateKeys "accept-published-private-keys" "It verifies by keys whose private half is published as well."
        Rfc7517 "9.2", Should Signature;
    AcceptFirstKeyOfAName "accept-first-key-of-a-name" "Of several keys with one name it takes the one that happens to verify."
        Rfc7517 "4.5", Should Signature;
    RefuseSetsWithUnknownKeys "refuse-sets-with-unknown-keys" "It takes no key of a set that has one of a kind it does not know."
        Rfc7517 "5", Should Tolerated;
    AcceptAnyIssuer "accept-any-issuer" "It trusts every issuer, and any key that it knows."
        AuthMd "Verifying ID-JAGs", Must Issuer;
    AcceptIssuerWithSlash "accept-issuer-with-slash" "It takes an issuer's name with a slash at its end for the one without."
        Rfc8414 "3.3", Must Issuer;
    AcceptIssuerPrefix "accept-issuer-prefix" "It trusts whoever's name begins with that of one it trusts."
        AuthMd "Verifying ID-JAGs", Must Issuer;
    AcceptOwnAssertion "accept-own-assertion" "It takes assertions in its own name that others have signed."
        IdJag "9.3", Must Issuer;
    AcceptForeignAssertionAtTokenEndpoint "accept-foreign-assertion-at-token-endpoint"
        "It takes a provider's assertion where only its own belong."
        AuthMd "Token endpoint", Must Issuer;
    AcceptAssertionAsCredential "accept-assertion-as-credential" "Its API takes an assertion for an access token."
        Rfc6750 "3.1", Must Bearer;
    AcceptAnyAudience "accept-any-audience" "It takes assertions that are meant for others."
        IdJag "4.4.1", Must Audience;
    AcceptResourceAsAudience "accept-resource-as-audience" "It takes its API's address for its own name."
        IdJag "4.4.1", Must Audience;
    AcceptAudienceAmongOthers "accept-audience-among-others" "It takes assertions that are meant for others as well."
        IdJag "4.4.1", Must Audience;
    AcceptMissingAudience "accept-missing-audience" "It takes assertions that are meant for nobody in particular."
        IdJag "4.4.1", Must Audience;
    AcceptAudienceWithSlash "accept-audience-with-slash" "It passes over a slash at the end of an audience."
        IdJag "4.4.1", Must Audience;
    AcceptAudiencePrefix "accept-audience-prefix" "It takes every audience whose name begins with its own."
        IdJag "4.4.1", Must Audience;
    NormaliseAudience "normalise-audience" "It compares audiences without regard to capitals."
        IdJag "4.4.1", Must Audience;
    AcceptAnyPort "accept-any-port" "It compares audiences without their ports."
        IdJag "4.4.1", Must Audience;
    AcceptTokenEndpointAsAudience "accept-token-endpoint-as-audience" "It takes its token endpoint's address for its own name."
        IdJag "4.4.1", Must Audience;
    AcceptExpired "accept-expired" "It takes what has expired."
        Rfc7523 "3", Must Expiry;
    AcceptMissingExp "accept-missing-exp" "It takes assertions that never end."
        Rfc7523 "3", Must Malformed;
    AcceptTimesInText "accept-times-in-text" "It takes times in text."
        Rfc7519 "2", Must Malformed;
    AcceptFractions "accept-fractions" "It takes fractions of seconds."
        Rfc7519 "2", Policy Malformed;
    AcceptAnyLifetime "accept-any-lifetime" "It takes assertions that live for ever so long."
        IdJag "3.1", Should Malformed;
    AcceptFutureIat "accept-future-iat" "It does not look at when an assertion was made."
        AuthMd "Clock skew", Must Malformed;
    AcceptMissingIat "accept-missing-iat" "It takes what does not say when it was made."
        IdJag "3.1", Must Malformed;
    IgnoreNbf "ignore-nbf" "It takes assertions before their time."
        Rfc7523 "3", Must Malformed;
    NoJtiMemory "no-jti-memory" "It takes an assertion again and again."
        AuthMd "Replay protection", Must Replay;
    ForgetJtisAtRestart "forget-jtis-at-restart" "After it was started anew it takes assertions once more."
        AuthMd "Replay protection", Must Replay;
    AcceptMissingJti "accept-missing-jti" "It takes assertions without a name."
        IdJag "3.1", Must Malformed;
    AcceptControlCharacters "accept-control-characters" "It takes NULs and their like in names."
        OpenId "2", Should Malformed;
    AcceptMissingSub "accept-missing-sub" "It takes assertions about nobody."
        IdJag "3.1", Must Malformed;
    AcceptAnySub "accept-any-sub" "It takes subjects of any length and in any letters."
        OpenId "2", Should Malformed;
    AcceptClaimsOfOtherTokens "accept-claims-of-other-tokens" "It takes tokens that might pass for others."
        Rfc8725 "3.12", Should Malformed;
    TrustClientId "trust-client-id" "It believes whatever client an assertion names."
        AuthMd "CIMD resolution", Must Client;
    IgnoreAuthenticatedClient "ignore-authenticated-client" "It does not compare the client of an assertion with the one that sends it."
        IdJag "4.4.1", Must Client;
    IgnoreJwksUriOfDocument "ignore-jwks-uri-of-document" "It does not compare the keys that a client's document names with those that signed."
        AuthMd "CIMD resolution", Must Client;
    AcceptDocumentsOfFailures "accept-documents-of-failures" "It takes the document that comes in the body of an error."
        Cimd "5", Must Unavailable;
    FollowJwksRedirects "follow-jwks-redirects" "It fetches key sets from wherever it is redirected to."
        Rfc8725 "3.10", Should Unavailable;
    FollowCimdRedirects "follow-cimd-redirects" "It fetches clients' documents from wherever it is redirected to."
        Cimd "5", Must Client;
    ReadWithoutBounds "read-without-bounds" "It reads documents of any length."
        Rfc9110 "17.5", Should Unavailable;
    WaitForEver "wait-for-ever" "It waits for a document as long as that takes."
        Rfc9112 "9.5", Should Unavailable;
    IgnoreClientIdOfDocument "ignore-client-id-of-document" "It does not look at which client a document is about."
        Cimd "4", Must Client;
    AcceptPublishedSecrets "accept-published-secrets" "It takes documents that hold a client's secret."
        Cimd "4.1", Must Client;
    AcceptSharedSecrets "accept-shared-secrets" "It takes documents whose client proves who it is by a secret."
        Cimd "4.1", Must Client;
    AcceptAnyScheme "accept-any-scheme" "It takes links of any scheme from a client's document."
        Cimd "8.6", Should Client;
    AcceptKeysTwice "accept-keys-twice" "It takes documents that hold keys and say where they are as well."
        Rfc7591 "2", Must Client;
    AcceptMissingContact "accept-missing-contact" "It takes assertions about users whom it cannot reach."
        AuthMd "Verifying ID-JAGs", Must Contact;
    AcceptUnverifiedContact "accept-unverified-contact" "It believes in addresses that the issuer has not verified."
        AuthMd "Verifying ID-JAGs", Must Contact;
    AcceptAnyContact "accept-any-contact" "It takes anything for an e-mail address or a phone number."
        OpenId "5.1", Should Contact;
    AcceptAnyTypeOfClaim "accept-any-type-of-claim" "It does not look at what type a claim has."
        OpenId "5.1", Should Malformed;
    IgnoreAuthTime "ignore-auth-time" "It does not ask when the user signed in."
        AuthMd "Verifying ID-JAGs", Must Authentication;
    LinkSilentlyByEmail "link-silently-by-email" "It signs whoever has a user's address in as that user, without asking them."
        AuthMd "User matching and JIT provisioning", Must Interaction;
    MakeAccountsForAnybody "make-accounts-for-anybody" "It lets in users who may not use it."
        IdJag "4.4.1", Policy Access;
    IgnoreResource "ignore-resource" "It does not look at which resource an assertion is for."
        Ema "7.6.2", Must Target;
    AcceptResourcePrefix "accept-resource-prefix" "It compares only the beginning of a resource."
        Rfc8707 "2", Must Target;
    GrantAnyScope "grant-any-scope" "It grants whatever scope an assertion asks for."
        Ema "7.2.1", Policy Scope;
    AcceptAnyScopeText "accept-any-scope-text" "It passes over scopes that cannot be any."
        Rfc6749 "3.3", Must Scope;
    IgnoreAuthorizationDetails "ignore-authorization-details" "It passes over authorization details that it does not know."
        Rfc9396 "5", Must Malformed;
    IgnoreCnf "ignore-cnf" "It takes an assertion that is bound to a key from whoever has none."
        IdJag "9.8.1.2.2", Must Possession;
    AcceptAnyDpopProof "accept-any-dpop-proof" "It takes proofs that were made for another address."
        Rfc9449 "4.3", Must Possession;
    IgnoreSubId "ignore-sub-id" "It passes over a second name of the user that it does not understand."
        IdJag "3.2.2", Must Malformed;
    IgnoreRevocation "ignore-revocation" "It acknowledges that a delegation was withdrawn, and ends nothing."
        AuthMd "Revocation", Must Tolerated;
    RevokeEveryUser "revoke-every-user" "It ends everybody's credentials when one user's are withdrawn."
        AuthMd "Revocation", Must Tolerated;
    IgnoreEvents "ignore-events" "It does not look at which event a notice is about."
        Rfc8417 "2.2", Must Malformed;
    AcceptAnyContentType "accept-any-content-type" "It does not look at the content type of a request."
        Rfc8935 "2", Must Malformed;
    DropConsentsWhenKeysChange "drop-consents-when-keys-change" "It ends every credential of an issuer when that has another key."
        Cimd "8.2", Policy Tolerated;
}

/// The rules that are not kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Broken(u128);

impl Broken {
    /// Whether a rule is not kept.
    #[must_use]
    pub fn lacks(self, rule: Rule) -> bool {
        self.0 & (1 << rule as u32) != 0
    }

    /// Every rule there is.
    #[must_use]
    pub fn all() -> Self {
        Rule::ALL.iter().copied().collect()
    }

    /// Those that are not kept.
    pub fn rules(self) -> impl Iterator<Item = Rule> {
        Rule::ALL.iter().copied().filter(move |rule| self.lacks(*rule))
    }
}

impl FromIterator<Rule> for Broken {
    fn from_iter<I: IntoIterator<Item = Rule>>(rules: I) -> Self {
        Self(rules.into_iter().fold(0, |all, rule| all | (1 << rule as u32)))
    }
}

/// The rule that a flaw of this name switches off.
///
/// # Errors
/// The name that was perhaps meant.
pub fn rule(name: &str) -> Result<Rule, Option<&'static str>> {
    let found = Rule::ALL.iter().copied().find(|rule| rule.name() == name);
    // Whoever names a flaw of a token wants it let pass.
    let lets_pass = || super::all().iter().find(|flaw| flaw.name == name)?.counterparts.first().copied();
    found.ok_or_else(|| lets_pass().or_else(|| probable(name, Rule::ALL.iter().map(|rule| rule.name()))))
}

const _: () = assert!(Rule::ALL.len() <= 128, "each has a bit");
