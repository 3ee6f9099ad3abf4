//! The forms and links of our own pages, whose markup we know: the one place that reads it.

/// A form, with what a browser would send if nobody touched it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// Where it is posted to, as the page says it.
    pub action: String,
    /// Its fields, in the order of the page; boxes that are not ticked are left out.
    pub fields: Vec<Field>,
}

/// A field of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// `hidden`, `text`, `checkbox` and so on.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where it leads, as the page says it.
    pub href: String,
    /// What it says, to those who see and to those who listen.
    pub text: String,
}

impl Form {
    /// What is sent when a user has put these in: they take the place of whatever the form has under their names.
    #[must_use]
    pub fn filled<'a>(&'a self, typed: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let untouched = self.fields.iter().filter(|field| !typed.iter().any(|(name, _)| *name == field.name));
        untouched.map(|field| (field.name.as_str(), field.value.as_str())).chain(typed.iter().copied()).collect()
    }
}

/// The forms of a page.
#[must_use]
pub fn forms(html: &str) -> Vec<Form> {
    elements(html, "form")
        .into_iter()
        .map(|(tag, inner)| Form { action: attribute(tag, "action").unwrap_or_default(), fields: fields(inner) })
        .collect()
}

fn fields(form: &str) -> Vec<Field> {
    let tags = form.split("<input").skip(1).filter_map(|rest| rest.split('>').next());
    let sent = tags.filter(|tag| match attribute(tag, "type").as_deref() {
        Some("checkbox" | "radio") => tag.split(' ').any(|word| word == "checked"),
        _ => true,
    });
    let field = |tag: &str| {
        let kind = attribute(tag, "type").unwrap_or_else(|| "text".into());
        Some(Field { kind, name: attribute(tag, "name")?, value: attribute(tag, "value").unwrap_or_default() })
    };
    sent.filter_map(field).collect()
}

/// The links of a page.
#[must_use]
pub fn links(html: &str) -> Vec<Link> {
    let link = |(tag, inner): (&str, &str)| {
        let words = inner
            .split('<')
            .enumerate()
            .map(|(n, part)| if n == 0 { part } else { part.split_once('>').map_or("", |(_, text)| text) });
        Some(Link { href: attribute(tag, "href")?, text: unescape(&words.collect::<String>()) })
    };
    elements(html, "a").into_iter().filter_map(link).collect()
}

/// The opening tags of a kind, each with what stands between it and the next closing one.
fn elements<'a>(html: &'a str, name: &str) -> Vec<(&'a str, &'a str)> {
    let (open, close) = (format!("<{name} "), format!("</{name}>"));
    html.split(&open)
        .skip(1)
        .filter_map(|rest| rest.split_once('>'))
        .map(|(tag, rest)| (tag, rest.split(&close).next().unwrap_or_default()))
        .collect()
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let name = format!("{name}=\"");
    let starts = tag.match_indices(&name).map(|(at, _)| at).find(|at| *at == 0 || tag[..*at].ends_with(' '))?;
    Some(unescape(tag[starts + name.len()..].split('"').next()?))
}

fn unescape(text: &str) -> String {
    let named = [("&#38;", "&"), ("&#60;", "<"), ("&#62;", ">"), ("&#34;", "\""), ("&#39;", "'")];
    // The ampersand comes last, or what it uncovers would be read again.
    named.iter().rev().fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"<a class="mark" href="/acme/connections"><svg><path d="M1"/></svg>Acme &#38; Co</a>
<form method="post" action="/acme/login"><input type="hidden" name="csrf" value="a&#38;#60;b">
<input id="email" type="email" name="email" value="" required><input type="password" name="password"></form>
<form method="post" action="/acme/consent/1"><input type="hidden" name="digest" value="d">
<label><input type="checkbox" name="scope" value="r" checked></label><label><input type="checkbox" name="scope" value="w"></label>
<input type="radio" name="mode" value="once" required checked><input type="radio" name="mode" value="always" required></form>
<a class="button" href="/acme/connections/7/stop">Stop…<span class="unseen"> service.example</span></a>"#;

    #[test]
    fn forms_say_what_a_browser_would_send() {
        let forms = forms(PAGE);
        assert_eq!(
            forms.iter().map(|form| form.action.as_str()).collect::<Vec<_>>(),
            ["/acme/login", "/acme/consent/1"]
        );
        let typed = [("email", "a@b"), ("password", "p")];
        assert_eq!(forms[0].filled(&typed), [("csrf", "a&#60;b"), ("email", "a@b"), ("password", "p")]);
        assert_eq!(forms[0].filled(&[]), [("csrf", "a&#60;b"), ("email", ""), ("password", "")]);
        let decided = [("mode", "always"), ("decision", "allow")];
        assert_eq!(
            forms[1].filled(&decided),
            [("digest", "d"), ("scope", "r"), ("mode", "always"), ("decision", "allow")]
        );
    }

    #[test]
    fn links_say_what_is_read_out() {
        let link = |href: &str, text: &str| Link { href: href.into(), text: text.into() };
        assert_eq!(
            links(PAGE),
            [link("/acme/connections", "Acme & Co"), link("/acme/connections/7/stop", "Stop… service.example")]
        );
    }
}
