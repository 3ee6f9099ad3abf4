//! Where rules stand.

macro_rules! specs {
    ($($name:ident $slug:literal $title:literal;)*) => {
        /// Where a rule stands.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Spec { $(#[doc = $title] $name),* }

        impl Spec {
            /// As a person would call it.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title),* }
            }

            /// As the ids of checks begin.
            #[must_use]
            pub fn slug(self) -> &'static str {
                match self { $(Self::$name => $slug),* }
            }
        }
    };
}

specs! {
    IdJag "id-jag" "ID-JAG draft";
    AuthMd "auth.md" "auth.md";
    Ema "ema" "MCP Enterprise-Managed Authorization";
    Cimd "cimd" "Client ID Metadata Document draft";
    BackChannel "back-channel" "OpenID Connect Back-Channel Logout";
    Rfc6749 "rfc6749" "RFC 6749";
    Rfc6750 "rfc6750" "RFC 6750";
    Rfc7515 "rfc7515" "RFC 7515";
    Rfc7517 "rfc7517" "RFC 7517";
    Rfc7518 "rfc7518" "RFC 7518";
    Rfc7519 "rfc7519" "RFC 7519";
    Rfc7523 "rfc7523" "RFC 7523";
    Rfc7591 "rfc7591" "RFC 7591";
    Rfc7797 "rfc7797" "RFC 7797";
    Rfc8417 "rfc8417" "RFC 8417";
    Rfc8414 "rfc8414" "RFC 8414";
    Rfc8705 "rfc8705" "RFC 8705";
    Rfc8707 "rfc8707" "RFC 8707";
    Rfc8725 "rfc8725" "RFC 8725";
    Rfc8935 "rfc8935" "RFC 8935";
    Rfc9110 "rfc9110" "RFC 9110";
    Rfc9112 "rfc9112" "RFC 9112";
    Rfc9396 "rfc9396" "RFC 9396";
    Rfc9449 "rfc9449" "RFC 9449";
    Rfc9493 "rfc9493" "RFC 9493";
    Rfc9728 "rfc9728" "RFC 9728";
    OpenId "openid" "OpenID Connect Core";
}

/// A rule's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// The document.
    pub spec: Spec,
    /// Its number there, or its heading where there are none.
    pub at: &'static str,
}

impl Section {
    /// The id of a check of this rule.
    #[must_use]
    pub fn check(&self, name: &str) -> String {
        let at: String = self.at.to_lowercase().chars().map(|c| if c == ' ' { '-' } else { c }).collect();
        format!("{}/{at}/{name}", self.spec.slug())
    }
}

impl std::fmt::Display for Section {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (title, at) = (self.spec.title(), self.at);
        if at.starts_with(|c: char| c.is_ascii_digit()) {
            write!(f, "{title} section {at}")
        } else {
            write!(f, "{title}, \"{at}\"")
        }
    }
}
