//! `[[users]]`: who can sign in.

use argon2::password_hash::phc::PasswordHash;
use argon2::{ARGON2ID_IDENT, Params};

use super::issuers::Homes;
use super::section::Section;
use super::{ConfigError, Password, UserDecl};
use crate::domain::credentials;
use crate::domain::ids::IssuerUrl;
use crate::domain::members::quote;
use crate::domain::profile::Profile;
use crate::secret::Secret;

/// Reads every `[[users]]` table.
pub(super) fn read(sections: Vec<Section<'_>>, homes: &Homes<'_>) -> Result<Vec<UserDecl>, ConfigError> {
    let mut users: Vec<UserDecl> = Vec::with_capacity(sections.len());
    for mut section in sections {
        let user = user(&mut section, homes)?;
        let email = &user.profile.email;
        if users.iter().any(|known| (&known.issuer, &known.profile.email) == (&user.issuer, email)) {
            return Err(section.wrong("email", format!("{} is declared twice", quote(email))));
        }
        users.push(user);
    }
    Ok(users)
}

fn user(section: &mut Section<'_>, homes: &Homes<'_>) -> Result<UserDecl, ConfigError> {
    let issuer = section.text("issuer")?;
    let email = section.text("email")?;
    let email_verified = section.flag("email_verified")?.unwrap_or(false);
    let name = section.display_name("name")?;
    let phone_number = section.text("phone_number")?;
    let phone_number_verified = section.flag("phone_number_verified")?.unwrap_or(false);
    let plain = section.secret("password")?;
    let hash = section.secret("password_hash")?;
    section.finish()?;

    let email = email.ok_or_else(|| section.wrong("email", "every user needs one"))?;
    let profile = Profile { email, email_verified, name, phone_number, phone_number_verified };
    Ok(UserDecl {
        issuer: homes.of(section, issuer.as_deref())?.id,
        profile: profile.judged().map_err(|error| section.refused(error))?,
        password: password(section, homes.default, plain, hash)?,
    })
}

fn password(
    section: &Section<'_>,
    issuer: &IssuerUrl,
    plain: Option<Secret>,
    hash: Option<Secret>,
) -> Result<Option<Password>, ConfigError> {
    match (plain, hash) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(section.wrong("password", "give either a password or a password_hash, not both")),
        (Some(_), None) if !issuer.is_loopback() => Err(section.wrong(
            "password",
            "a plain password is allowed with a loopback issuer only; use password_hash, made by: avouch user hash-password",
        )),
        (Some(plain), None) => {
            credentials::password(&plain).map_err(|problem| section.wrong("password", format!("it {problem}")))?;
            Ok(Some(Password::Plain(plain)))
        }
        (None, Some(hash)) => {
            password_hash(hash.expose()).map_err(|problem| section.wrong("password_hash", problem))?;
            Ok(Some(Password::Hash(hash)))
        }
    }
}

/// Reads a PHC string of argon2id whose cost is neither laughable nor a way to stop the server.
pub(crate) fn password_hash(text: &str) -> Result<(PasswordHash, Params), String> {
    const HOW: &str = "make one with: avouch user hash-password";
    let hash = PasswordHash::new(text).map_err(|_| format!("it is not a PHC string ($argon2id$…); {HOW}"))?;
    if hash.algorithm != ARGON2ID_IDENT || hash.version != Some(0x13) {
        return Err(format!("it is not argon2id, version 19; {HOW}"));
    }
    if hash.salt.is_none() || hash.hash.as_ref().is_none_or(|output| output.len() < 16) {
        return Err(format!("it has no salt, or less than 16 bytes of hash; {HOW}"));
    }
    let params = Params::try_from(&hash).map_err(|_| format!("its parameters are not those of argon2id; {HOW}"))?;
    let (memory, passes, lanes) = (u64::from(params.m_cost()), u64::from(params.t_cost()), params.p_cost());
    // The weakest settings that the OWASP Password Storage Cheat Sheet still lists (m=7168 KiB, t=5) multiply to this.
    if memory < 7168 || memory * passes < 7168 * 5 {
        return Err(format!("m={memory}, t={passes} is too cheap to resist guessing; {HOW}"));
    }
    if memory > 256 * 1024 || passes > 16 || lanes > 16 {
        return Err(format!("m={memory}, t={passes}, p={lanes} would slow every sign-in down; {HOW}"));
    }
    Ok((hash, params))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{accepts, load, refuses_with};
    use super::*;

    const TAIL: &str = "c2FsdHNhbHRzYWx0c2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g";

    #[test]
    fn users_as_declared() {
        let config = load(&format!(
            "[[users]]\nemail = ' Alice@Example.COM '\nphone_number = '+15550100'\nphone_number_verified = true\n\
             password_hash = '$argon2id$v=19$m=19456,t=2,p=1${TAIL}'"
        ));
        let user = &config.unwrap().users[0];
        assert_eq!((user.profile.email.as_str(), user.profile.email_verified), ("alice@example.com", false));
        assert!(user.profile.phone_number_verified && matches!(user.password, Some(Password::Hash(_))));
        accepts("[[users]]\nemail = 'a@b'", &["", "password = 'x'", "name = 'Zoë'"]);
    }

    #[test]
    fn rules() {
        refuses_with(
            "[[users]]",
            &[
                ("", "users[0].email: every user needs one"),
                ("email = 'a'", "is not an e-mail address"),
                ("email = 'a@b@c'", "is not an e-mail address"),
                ("email = '@b'", "is not an e-mail address"),
                ("email = 'a@'", "is not an e-mail address"),
                ("email = 'a b@c'", "is not an e-mail address"),
                ("email = 'a@b'\n[[users]]\nemail = 'A@B'", "users[1].email: \"a@b\" is declared twice"),
                (
                    "email = \"e\\u0301@b\"\n[[users]]\nemail = \"\\u00c9@b\"",
                    "users[1].email: \"\u{e9}@b\" is declared twice",
                ),
                ("email = 'a@b'\nname = \"a\\u0007\"", "users[0].name: it contains a control"),
                ("email = 'a@b'\nphone_number = '15550100'", "is not in E.164 form"),
                ("email = 'a@b'\nphone_number = '+05550100'", "is not in E.164 form"),
                ("email = 'a@b'\nphone_number = '+1555010012345678'", "is not in E.164 form"),
                ("email = 'a@b'\nphone_number_verified = true", "there is no phone_number"),
                ("email = 'a@b'\npassword = 'x'\npassword_hash = 'y'", "not both"),
                (
                    "email = 'a@b'\nemail_verified = 'true'",
                    "users[0].email_verified: expected true or false, found a text",
                ),
                (
                    "email = 'a@b'\npasword = 'hunter2'",
                    "users[0].pasword: unknown key; the nearest known one is `password`",
                ),
            ],
        );
        refuses_with(
            "issuer = 'https://id.example'\n[[users]]\nemail = 'a@b'",
            &[(
                "password = 'hunter2'",
                "users[0].password: a plain password is allowed with a loopback issuer only; use password_hash, made by: avouch user hash-password",
            )],
        );
        let long = format!("email = '{}@b'", "a".repeat(253));
        refuses_with("[[users]]", &[(&long, "is not an e-mail address")]);
        let long = format!("password = '{}'", "a".repeat(1025));
        let tab = "password = \"a\\tb\"";
        refuses_with(
            "[[users]]\nemail = 'a@b'",
            &[(&long, "it is longer than 1024 bytes"), (tab, "it contains a control character")],
        );
    }

    #[test]
    fn hashes() {
        for good in ["m=19456,t=2,p=1", "m=7168,t=5,p=1", "m=65536,t=3,p=4"] {
            assert_eq!(password_hash(&format!("$argon2id$v=19${good}${TAIL}")).err(), None, "{good}");
        }
        for (bad, expected) in [
            ("hunter2".to_owned(), "not a PHC string"),
            (format!("$argon2i$v=19$m=19456,t=2,p=1${TAIL}"), "not argon2id"),
            (format!("$argon2id$v=16$m=19456,t=2,p=1${TAIL}"), "not argon2id, version 19"),
            ("$argon2id$v=19$m=19456,t=2,p=1".to_owned(), "no salt"),
            ("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNo".to_owned(), "less than 16 bytes"),
            (format!("$argon2id$v=19$m=1,t=2,p=1${TAIL}"), "parameters"),
            (format!("$argon2id$v=19$m=7168,t=2,p=1${TAIL}"), "too cheap"),
            (format!("$argon2id$v=19$m=4096,t=16,p=1${TAIL}"), "too cheap"),
            (format!("$argon2id$v=19$m=262145,t=2,p=1${TAIL}"), "slow every sign-in down"),
            (format!("$argon2id$v=19$m=19456,t=17,p=1${TAIL}"), "slow every sign-in down"),
            (format!("$argon2id$v=19$m=19456,t=2,p=17${TAIL}"), "slow every sign-in down"),
        ] {
            let problem = password_hash(&bad).unwrap_err();
            assert!(problem.contains(expected) && !problem.contains("hunter2"), "{bad}: {problem}");
        }
    }
}
