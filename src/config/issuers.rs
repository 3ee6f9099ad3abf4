//! `[[issuers]]`: further issuers on this server, and whose each declared user, client and service is.

use std::path::PathBuf;

use super::section::Section;
use super::{ClientDecl, Config, ConfigError, ServiceDecl, UserDecl};
use crate::domain::display_name::DisplayName;
use crate::domain::ids::IssuerUrl;
use crate::domain::issuer::{Colour, IssuerId};
use crate::domain::members::quote;
use crate::domain::spelling::nearest;

/// A further issuer declared in the file; it lives at `/{id}` of the default one.
#[derive(Debug, Clone)]
pub struct IssuerDecl {
    /// Each once.
    pub id: IssuerId,
    /// The name on its pages.
    pub name: DisplayName,
    /// A raster image; judged when it is read.
    pub logo_file: Option<PathBuf>,
    /// The colour of its pages.
    pub colour: Option<Colour>,
}

/// What the file declares for one issuer.
#[derive(Debug)]
pub struct Declared<'a> {
    /// Its users.
    pub users: Vec<&'a UserDecl>,
    /// Its clients.
    pub clients: Vec<&'a ClientDecl>,
    /// Its services.
    pub services: Vec<&'a ServiceDecl>,
}

impl Config {
    /// What is declared for an issuer; none: for the default one.
    #[must_use]
    pub fn declared_for(&self, issuer: Option<&IssuerId>) -> Declared<'_> {
        Declared {
            users: self.users.iter().filter(|user| user.issuer.as_ref() == issuer).collect(),
            clients: self.clients.iter().filter(|client| client.issuer.as_ref() == issuer).collect(),
            services: self.services.iter().filter(|service| service.issuer.as_ref() == issuer).collect(),
        }
    }
}

/// Reads every `[[issuers]]` table.
pub(super) fn read(sections: Vec<Section<'_>>) -> Result<Vec<IssuerDecl>, ConfigError> {
    let mut issuers: Vec<IssuerDecl> = Vec::with_capacity(sections.len());
    for mut section in sections {
        let issuer = issuer(&mut section)?;
        if issuers.iter().any(|known| known.id == issuer.id) {
            return Err(section.wrong("id", format!("{} is declared twice", quote(issuer.id.as_str()))));
        }
        issuers.push(issuer);
    }
    Ok(issuers)
}

fn issuer(section: &mut Section<'_>) -> Result<IssuerDecl, ConfigError> {
    let id = section.text("id")?;
    let name = section.display_name("name")?;
    let logo_file = section.text("logo_file")?;
    let colour = section.text("colour")?;
    section.finish()?;

    let id = id.ok_or_else(|| section.wrong("id", "every issuer needs one"))?;
    let id = IssuerId::parse(&id).map_err(|problem| section.wrong("id", format!("{}: {problem}", quote(&id))))?;
    let colour = colour.map(|text| Colour::parse(&text).map_err(|problem| format!("{}: {problem}", quote(&text))));
    Ok(IssuerDecl {
        id,
        name: name.ok_or_else(|| section.wrong("name", "every issuer needs one: people are shown it"))?,
        logo_file: logo_file.map(PathBuf::from),
        colour: colour.transpose().map_err(|problem| section.wrong("colour", problem))?,
    })
}

/// The issuers that something can be declared for.
pub(super) struct Homes<'a> {
    /// The one at the root of the origin.
    pub(super) default: &'a IssuerUrl,
    /// Those of the file.
    pub(super) issuers: &'a [IssuerDecl],
}

/// The issuer that something was declared for.
pub(super) struct Home {
    /// None: the default one.
    pub(super) id: Option<IssuerId>,
    /// Its issuer identifier.
    pub(super) url: IssuerUrl,
}

impl Homes<'_> {
    /// The issuer that a table's key `issuer` names; without it the default one.
    pub(super) fn of(&self, section: &Section<'_>, named: Option<&str>) -> Result<Home, ConfigError> {
        let Some(named) = named else { return Ok(Home { id: None, url: self.default.clone() }) };
        if let Some(found) = self.issuers.iter().find(|issuer| issuer.id.as_str() == named) {
            return Ok(Home { id: Some(found.id.clone()), url: found.id.under(self.default) });
        }
        let near = nearest(named, self.issuers.iter().map(|issuer| issuer.id.as_str()));
        let near = near.map_or_else(
            || "there is no [[issuers]] table; leave the key out for the default issuer".to_owned(),
            |near| format!("the nearest id among [[issuers]] is {}", quote(near)),
        );
        Err(section.wrong("issuer", format!("{} is not declared; {near}", quote(named))))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{SECRET, accepts, load, refuses_with};

    const ACME: &str = "[[issuers]]\nid = 'acme'\nname = 'Acme'\n";

    #[test]
    fn an_issuer_as_declared() {
        let text = "[[issuers]]\nid = 'acme'\nname = 'Acme Agents'\nlogo_file = 'acme.png'\ncolour = '#0A7D5C'";
        let config = load(text).unwrap();
        let acme = &config.issuers[0];
        assert_eq!((acme.id.as_str(), acme.name.as_str()), ("acme", "Acme Agents"));
        assert_eq!(acme.logo_file.as_deref(), Some(std::path::Path::new("acme.png")));
        assert_eq!(acme.colour.as_ref().unwrap().as_str(), "#0a7d5c");
        accepts(ACME, &["", "[[issuers]]\nid = 'acme-2'\nname = 'Acme'"]);
    }

    #[test]
    fn rules() {
        refuses_with(
            "[[issuers]]",
            &[
                ("", "issuers[0].id: every issuer needs one"),
                ("id = 'acme'", "issuers[0].name: every issuer needs one"),
                ("id = 'login'", "issuers[0].id: \"login\": this word is reserved"),
                ("id = 'default'", "issuers[0].id: \"default\": this word is reserved"),
                ("id = 'Acme'", "issuers[0].id: \"Acme\": an issuer's id is 2 to 63 of a-z, 0-9 and -"),
                ("id = 'a%63me'", "2 to 63 of a-z"),
                ("id = '..'", "2 to 63 of a-z"),
                ("id = '-acme'", "begins with a letter or a digit"),
                ("nmae = 'x'", "issuers[0].nmae: unknown key; the nearest known one is `name`"),
            ],
        );
        refuses_with(
            ACME,
            &[
                (ACME, "issuers[1].id: \"acme\" is declared twice"),
                ("colour = 'red'", "issuers[0].colour: \"red\": a colour is # and six hex digits"),
                ("logo_file = ''", "issuers[0].logo_file: it must not be empty"),
            ],
        );
        refuses_with("[[issuers]]\nid = 'acme'", &[("name = ' '", "issuers[0].name: it must contain a letter")]);
    }

    #[test]
    fn whose_something_is() {
        let alice = "[[users]]\nemail = 'a@b'\nissuer =";
        let client = format!(
            "[[clients]]\nclient_id = 'a'\nclient_secret = '{SECRET}'\nredirect_uris = ['https://a.example/']\nissuer ="
        );
        let service = "[[services]]\naudience = 'https://a.example'\nissuer =";
        for (key, table) in [("users", alice), ("clients", &client), ("services", service)] {
            let problem = format!("{key}[0].issuer: \"acne\" is not declared; ");
            let cases = [
                (format!("{table} 'acne'"), format!("{problem}there is no [[issuers]] table")),
                (format!("{table} 'acne'\n{ACME}"), format!("{problem}the nearest id among [[issuers]] is \"acme\"")),
                (format!("{table} 'default'\n{ACME}"), "\"default\" is not declared".to_owned()),
                (format!("{ACME}{table} 'acme'\n{table} 'acme'"), "is declared twice".to_owned()),
            ];
            for (text, expected) in &cases {
                refuses_with("", &[(text, expected)]);
            }
            let by_default = table.trim_end_matches("issuer =");
            accepts(ACME, &[&format!("{table} 'acme'\n{by_default}")]);
        }
        let config = load(&format!("{ACME}{alice} 'acme'\n[[users]]\nemail = 'a@b'")).unwrap();
        let acmes = config.declared_for(Some(&config.issuers[0].id)).users;
        let ours = config.declared_for(None).users;
        assert_eq!((acmes.len(), ours.len()), (1, 1));
        assert!(acmes[0].issuer.is_some() && ours[0].issuer.is_none());
    }

    #[test]
    fn an_issuer_is_no_service_of_its_own() {
        let at = |audience: &str, issuer: &str| format!("{ACME}[[services]]\naudience = '{audience}'\n{issuer}");
        let (root, acme) = ("http://localhost:4000", "http://localhost:4000/acme");
        for (audience, issuer) in
            [(acme, "issuer = 'acme'"), (root, ""), ("http://localhost:4000/acme/", "issuer = 'acme'")]
        {
            refuses_with("", &[(&at(audience, issuer), "is this issuer itself, not a service")]);
        }
        // Another issuer of this server is another trust domain: where it is declared, it is a service like any.
        accepts("", &[&at(acme, ""), &at(root, "issuer = 'acme'")]);
    }
}
