use std::cell::Cell;

use super::*;

/// A page by its name, for messages.
type Named = (&'static str, String);

fn site(f: &dyn Fn(&str) -> String) -> Site {
    let colour = Colour::parse("#0a5d57").ok();
    Site { product: f("Acme ID"), base: "/acme".into(), logo: Some(f("/acme/logo")), colour }
}

fn account(f: &dyn Fn(&str) -> String) -> Account {
    Account { name: f("alice@example.com"), csrf: f("csrf-value"), switch_to: f("/acme/login?switch=1&to=%2Facme%2Fx") }
}

fn agent(f: &dyn Fn(&str) -> String) -> Agent {
    Agent { name: f("Desk Agent"), known: Known::Host(f("agent.example")) }
}

fn service(f: &dyn Fn(&str) -> String) -> Service {
    Service { name: Some(f("Example Billing")), host: f("auth.billing.example") }
}

fn login(f: &dyn Fn(&str) -> String) -> Login {
    Login {
        site: site(f),
        csrf: f("csrf-value"),
        to: f("/authorize?client_id=desk-agent&state=1"),
        email: f("alice@example.com"),
        who: Some(agent(f)),
        error: Some(f("E-mail or password is wrong.")),
        reauthenticate: false,
    }
}

fn sign_in_consent(f: &dyn Fn(&str) -> String) -> SignInConsent {
    SignInConsent {
        site: site(f),
        account: account(f),
        agent: agent(f),
        request: f("client_id=desk-agent&state=1"),
        scopes: vec![
            ScopeLine { token: f("openid"), meaning: f("Know that it is you") },
            ScopeLine { token: f("email"), meaning: f("Your e-mail") },
        ],
        stays: f("Until you sign out"),
        signed_in: f("22 Nov 2026, 14:02 UTC"),
        returns_to: f("127.0.0.1:8765"),
    }
}

fn consent(f: &dyn Fn(&str) -> String) -> Consent {
    let disclosed =
        |what, value: Option<&str>, why| Disclosed { what: f(what), value: value.map(f), why: f(why), new: false };
    Consent {
        scope_error: None,
        site: site(f),
        account: account(f),
        ticket: f("Zm9vYmFy"),
        digest: f("digest-value"),
        error: Some(f("Leave at least one thing ticked.")),
        agent: agent(f),
        service: service(f),
        known: None,
        first_time_service: true,
        first_time_agent: false,
        disclosed: vec![
            disclosed("Your e-mail", Some("alice@example.com"), "to find your account there"),
            disclosed("Your name", Some("Alice Example"), "shown on your account"),
            disclosed("When you last signed in", None, "so that old sessions don't count"),
        ],
        withheld: vec![],
        scopes: vec![
            ScopeChoice { token: f("api.read"), checked: true },
            ScopeChoice { token: f("api.write"), checked: false },
        ],
        resources: vec![f("https://billing.example/api/")],
        context: Some(f("Reconcile October")),
        modes: ModeChoice::all(),
        no_revocation: false,
        expires_in_minutes: 10,
    }
}

fn closed(f: &dyn Fn(&str) -> String, outcome: Outcome) -> ConsentClosed {
    ConsentClosed { site: site(f), too_late: false, account: account(f), outcome, agent: agent(f), service: service(f) }
}

fn connection(f: &dyn Fn(&str) -> String, id: &str, state: State) -> Connection {
    Connection {
        id: f(id),
        service: service(f),
        still_told: None,
        can_stop: matches!(state, State::Active(_)),
        state,
        agents: vec![AgentLines {
            agent: agent(f),
            decisions: vec![DecisionLine {
                mode: f("Until you stop it"),
                scopes: vec![f("api.read"), f("invoices")],
                agreed: f("3 Nov 2026, 09:12 UTC, Firefox on Linux"),
            }],
            earlier: 2,
        }],
        last_used: Some(f("21 Nov 2026, 17:40 UTC, by Desk Agent")),
        timeline: vec![TimelineLine { time: f("22 Nov 2026, 14:02:11 UTC"), text: f("told the service: no answer") }],
    }
}

fn part<T>(items: Vec<T>) -> Part<T> {
    Part { items, more: None }
}

fn connections(f: &dyn Fn(&str) -> String) -> Connections {
    Connections {
        site: site(f),
        account: account(f),
        first: true,
        pending: part(vec![PendingTicket {
            ticket: f("Zm9v"),
            agent: agent(f),
            service: service(f),
            scopes: vec![f("invoices.read")],
            asked: f("22 Nov 2026, 14:00 UTC"),
        }]),
        items: part(vec![
            connection(f, "d1", State::Active(f("Active until you stop it"))),
            connection(f, "d2", State::Withdrawing(f("Stopped here; the service has not confirmed yet"))),
            connection(f, "d3", State::Withdrawn(f("Ended, confirmed by the service"))),
            connection(f, "d4", State::Unconfirmed(f("Stopped here; the service refused to hear it"))),
        ]),
        agents: part(vec![SignInLine {
            id: f("c1"),
            agent: agent(f),
            stays: f("until you sign out"),
            scopes: vec![f("openid")],
            since: f("20 Nov 2026, 08:00 UTC"),
        }]),
        sessions: part(vec![SessionLine {
            id: f("s1"),
            browser: f("Firefox on Linux"),
            is_this: true,
            signed_in: f("20 Nov 2026, 08:00 UTC"),
            until: f("4 Dec 2026, 08:00 UTC"),
        }]),
        denied: part(vec![DeniedLine {
            id: f("n1"),
            agent: agent(f),
            service: service(f),
            scopes: vec![f("invoices.write")],
            when: f("20 Nov 2026, 08:30 UTC"),
        }]),
    }
}

fn stop(f: &dyn Fn(&str) -> String) -> Stop {
    Stop {
        site: site(f),
        account: account(f),
        id: f("d1"),
        service: service(f),
        agents: vec![agent(f), Agent { name: f("Travel Agent"), known: Known::Operator(Some(f("travel.example"))) }],
        never_used: false,
        no_revocation: false,
        days: 7,
    }
}

fn end_session(f: &dyn Fn(&str) -> String) -> EndSession {
    EndSession { site: site(f), account: account(f), agent: Some(agent(f)), request: f("client_id=desk-agent&state=1") }
}

/// Every page with every part of it in use; `f` passes or changes each text.
fn every_page(f: &dyn Fn(&str) -> String) -> Vec<Named> {
    let error = ErrorPage {
        site: site(f),
        title: f("This link is not valid"),
        message: f("Go back to the agent and start again."),
        technical: None,
        request_id: Some(f("req-1")),
    };
    let wrong = WrongAccount { site: site(f), account: account(f), switch_to: f("/acme/login?switch=1") };
    vec![
        ("login", login(f).html()),
        ("sign-in consent", sign_in_consent(f).html()),
        ("consent", consent(f).html()),
        ("allowed", closed(f, Outcome::Allowed(f("This once"))).html()),
        ("denied", closed(f, Outcome::Denied).html()),
        ("expired", closed(f, Outcome::Expired).html()),
        ("wrong account", wrong.html()),
        ("connections", connections(f).html()),
        ("stop", stop(f).html()),
        ("end session", end_session(f).html()),
        ("signed out", SignedOut { site: site(f) }.html()),
        ("error", error.html()),
    ]
}

fn plain(text: &str) -> String {
    text.to_owned()
}

/// The part of `html` from `start` up to and with `end`, each time it occurs.
fn parts<'a>(html: &'a str, start: &str, end: &str) -> Vec<&'a str> {
    let from = html.match_indices(start).map(|(at, _)| &html[at..]);
    let length = |rest: &str| rest[start.len()..].find(end).map_or(rest.len(), |at| start.len() + at + end.len());
    from.map(|rest| &rest[..length(rest)]).collect()
}

#[test]
fn every_field_is_escaped_in_every_place() {
    let count = Cell::new(0);
    every_page(&|text| {
        count.set(count.get() + 1);
        text.to_owned()
    });
    assert!(count.get() > 100, "only {} fields were filled", count.get());
    for hostile in 0..count.get() {
        let at = Cell::new(0);
        let field = Cell::new(String::new());
        let pages = every_page(&|text| {
            let turn = at.replace(at.get() + 1) == hostile;
            if !turn {
                return text.to_owned();
            }
            field.set(text.to_owned());
            "\"'><script>".to_owned()
        });
        let field = field.take();
        let shown = pages.iter().any(|(_, html)| html.contains("&#60;script") || html.contains("%3Cscript"));
        assert!(shown, "{field:?} is shown nowhere");
        for (name, html) in pages {
            assert!(!html.contains("<script") && !html.contains("\"'>"), "{name} does not escape {field:?}");
        }
    }
}

#[test]
fn no_page_needs_more_than_the_content_security_policy_allows() {
    for (name, html) in every_page(&plain) {
        for forbidden in ["<script", "<style", "style=", "javascript:", "http-equiv", "<base", "<iframe", "<object"] {
            assert!(!html.contains(forbidden), "{name} contains {forbidden}");
        }
        for (at, _) in html.match_indices(" on") {
            let rest = &html[at + 3..];
            let word = rest.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(rest.len());
            assert!(word == 0 || !rest[word..].starts_with('='), "{name} has an event handler: on{}", &rest[..word]);
        }
        for link in parts(&html, "<link", ">") {
            let own = [stylesheet_path(), "/assets/colour/0a5d57.css", "/acme/logo"];
            let own = own.iter().any(|path| link.contains(&format!("href=\"{path}\"")));
            assert!(own, "{name} loads {link}");
        }
        assert_eq!(parts(&html, "src=", ">"), ["src=\"/acme/logo\" alt=\"\">"], "{name} loads something");
    }
    assert!(!STYLESHEET.contains("url(") && !STYLESHEET.contains("@import"), "the stylesheet loads something");
}

#[test]
fn without_looks_of_its_own_an_issuer_has_ours() {
    let site = Site { logo: None, colour: None, ..site(&plain) };
    let html = Login { site, ..login(&plain) }.html();
    assert!(!html.contains("<img") && !html.contains("/assets/colour/"), "{html}");
    assert_eq!(html.matches("<svg").count(), 1);
    assert_eq!(parts(&html, "<link rel=\"icon\" href=\"", ":"), ["<link rel=\"icon\" href=\"data:"]);
}

#[test]
fn every_form_posts_a_token_to_a_path_of_the_issuer() {
    for (name, html) in every_page(&plain) {
        for form in parts(&html, "<form", "</form>") {
            assert!(form.starts_with("<form method=\"post\" action=\"/acme/"), "{name}: {form}");
            assert_eq!(form.matches("name=\"csrf\" value=\"csrf-value\"").count(), 1, "{name}: {form}");
            assert!(form.contains("<button"), "{name}: {form}");
        }
    }
}

#[test]
fn every_page_has_its_landmarks_and_labels() {
    for (name, html) in every_page(&plain) {
        for once in ["<html lang=\"en\">", "name=\"viewport\"", "<title>", "<header", "<main", "<h1>"] {
            assert_eq!(html.matches(once).count(), 1, "{name} has {once} not once");
        }
        assert!(html.contains("<meta name=\"referrer\" content=\"same-origin\">"), "{name} sends a referrer");
        assert!(html.contains(" · Acme ID</title>"), "{name} does not name the product");
        for svg in parts(&html, "<svg", ">") {
            assert!(svg.contains("aria-hidden=\"true\""), "{name} reads out {svg}");
        }
        for field in parts(&html, "<input", ">").iter().filter(|i| !i.contains("type=\"hidden\"")) {
            let id = parts(field, "id=\"", "\"").first().copied().unwrap_or("none");
            let labelled = html.contains(&format!("<label for{}", &id[2..]))
                || html.contains(&format!("<label class=\"choice\">{field}"));
            assert!(labelled, "{name} has no label for {field}");
        }
    }
}

#[test]
fn both_answers_are_buttons_of_one_form_and_deny_is_the_enter_key() {
    let (sign_in, service) = (sign_in_consent(&plain).html(), consent(&plain).html());
    for (html, action) in [(&sign_in, "/acme/authorize/decision"), (&service, "/acme/consent/Zm9vYmFy")] {
        let forms = parts(html, &format!("<form method=\"post\" action=\"{action}\""), "</form>");
        assert_eq!(forms.len(), 1, "{html}");
        let buttons = parts(forms[0], "<button", ">");
        let expected = [
            "<button class=\"no\" name=\"decision\" value=\"deny\">",
            "<button class=\"yes\" name=\"decision\" value=\"allow\">",
        ];
        assert_eq!(buttons, expected);
        assert!(!html.contains("autofocus"), "an answer must not be one key away");
    }
}

#[test]
fn consent_preselects_the_first_mode_and_only_the_scopes_it_is_told_to() {
    let html = consent(&plain).html();
    let checked = |html: &str| -> Vec<String> {
        let inputs = parts(html, "<input", ">").into_iter().filter(|input| input.ends_with(" checked>"));
        inputs.map(|input| parts(input, "value=\"", "\"")[0].to_owned()).collect()
    };
    assert_eq!(checked(&html), ["value=\"api.read\"", "value=\"once\""]);
    let values: Vec<_> = ModeChoice::all().into_iter().map(|mode| mode.value).collect();
    assert_eq!(values, ["once", "until:3600", "until:86400", "until:2592000", "always"]);
    for value in values {
        assert!(html.contains(&format!("name=\"mode\" value=\"{value}\"")), "{value}");
    }
    assert!(html.contains("name=\"digest\" value=\"digest-value\""));

    let without = Consent { scopes: vec![], modes: vec![ModeChoice::always()], ..consent(&plain) }.html();
    assert_eq!(checked(&without), ["value=\"always\""]);
    assert!(!without.contains("name=\"scope\"") && without.contains("decides."), "{without}");
    assert_eq!(without.matches("<fieldset>").count(), 1);
}

#[test]
fn consent_gives_the_advice_that_applies() {
    let page = |service, agent, no_revocation| {
        let question = consent(&plain);
        Consent { first_time_service: service, first_time_agent: agent, no_revocation, ..question }.html()
    };
    let cases = [
        (false, false, false, None),
        (true, false, false, Some("First time for this service.")),
        (false, true, false, Some("First time for this agent.")),
        (true, true, false, Some("this agent or this service here before.")),
        (false, false, true, Some("New access ends then, but not what is open there already.")),
    ];
    for (service, agent, no_revocation, advice) in cases {
        let html = page(service, agent, no_revocation);
        assert_eq!(html.contains("class=\"advice\""), advice.is_some(), "{advice:?}");
        assert!(advice.is_none_or(|text| html.contains(text)), "{advice:?}");
    }
    assert!(page(true, false, true).contains("First time for this service."));
    assert!(!page(false, false, true).contains("end the agent's access there as well"), "promises what cannot be kept");
}

/// A break at the hyphens of punycode would show half a name.
#[test]
fn addresses_break_at_dots_and_slashes_alone() {
    let pieces: Vec<_> = super::breakable("xn--bcher-kva.example:8443/a-b/c_d").collect();
    assert_eq!(pieces, ["xn--bcher-kva.", "example:8443/", "a-b/", "c_d"]);
}

#[test]
fn what_a_name_is_worth_stands_beside_it() {
    let page = |known| {
        let nameless = Service { name: None, host: "auth.billing.example".into() };
        Consent { agent: Agent { name: "Desk Agent".into(), known }, service: nameless, ..consent(&plain) }.html()
    };
    let cases = [
        (
            Known::Host("agent.example".into()),
            "<span>agent.</span><span>example</span>",
            "The agent chose its own name.",
        ),
        (Known::Operator(None), "<span class=\"soft\">set up by Acme ID", "Check the address, shown like"),
        (
            Known::Operator(Some("agent.example".into())),
            "<span>agent.</span><span>example</span></span> · set up by Acme ID",
            "Check the address, shown like",
        ),
        (Known::Unproven, "name not checked", "The agent chose its own name."),
    ];
    for (known, shown, said) in cases {
        let html = page(known.clone());
        assert!(html.contains(shown), "{known:?}");
        assert!(html.contains(said) && !html.contains("Names were set up by"), "{known:?}");
    }
}

#[test]
fn another_account_learns_nothing_of_the_question() {
    let wrong = WrongAccount { site: site(&plain), account: account(&plain), switch_to: "/acme/login".into() };
    for secret in ["Desk Agent", "billing.example", "api.read", "digest-value"] {
        assert!(!wrong.html().contains(secret), "{secret}");
    }
}

#[test]
fn connections_offers_to_stop_only_what_can_be_stopped() {
    let html = connections(&plain).html();
    assert!(html.contains("href=\"/acme/connections/d1/stop\""));
    for ended in ["d2", "d3", "d4"] {
        assert!(!html.contains(&format!("connections/{ended}/stop")), "{ended}");
    }
    assert!(html.contains("action=\"/acme/connections/denials/n1/revise\""));
    assert!(html.contains("href=\"/acme/consent/Zm9v\""));
    assert!(!html.contains("Nothing here yet"));
    assert_eq!(html.matches("<details open>").count(), 2, "news is open, history is not");

    let none = Connections {
        pending: part(vec![]),
        items: part(vec![]),
        agents: part(vec![]),
        denied: part(vec![]),
        ..connections(&plain)
    }
    .html();
    assert!(none.contains("Nothing here yet"));
    assert!(!none.contains("Waiting for your answer") && !none.contains("What you denied"));
    assert!(!none.contains("Agents you stay signed in to") && none.contains("Where you are signed in"));
}

#[test]
fn stopping_says_first_that_every_agent_is_stopped() {
    for no_revocation in [false, true] {
        let html = Stop { no_revocation, ..stop(&plain) }.html();
        let (advice, button) = (html.find("every agent"), html.find("<button class=\"danger\">"));
        assert!(advice.is_some() && advice < button, "{html}");
        assert!(html.contains("<a class=\"button no\" href=\"/acme/connections\">"), "no way out");
        assert_eq!(html.contains("sign out there yourself"), no_revocation);
    }
}

#[test]
fn login_puts_the_cursor_where_something_is_missing() {
    for (email, field) in [("", "email"), ("alice@example.com", "password")] {
        let html = Login { email: email.into(), ..login(&plain) }.html();
        let focused: Vec<_> = parts(&html, "<input", ">").into_iter().filter(|i| i.contains(" autofocus")).collect();
        assert_eq!(focused.len(), 1);
        assert!(focused[0].contains(&format!("id=\"{field}\"")), "{}", focused[0]);
    }
    let html = login(&plain).html();
    assert!(html.contains("role=\"alert\""));
    assert!(!Login { error: None, ..login(&plain) }.html().contains("role=\"alert\""));
    assert!(Login { reauthenticate: true, ..login(&plain) }.html().contains("Please confirm it is you"));
}

#[test]
fn the_stylesheet_is_named_by_its_content() {
    let path = stylesheet_path();
    let hash = path.strip_prefix("/assets/style-").and_then(|rest| rest.strip_suffix(".css"));
    assert!(hash.is_some_and(|hash| hash.len() == 8 && hash.bytes().all(|b| b.is_ascii_hexdigit())), "{path}");
    assert_eq!(fnv1a(b"a"), 0xe40c_292c);
    assert_ne!(fnv1a(b"body { margin: 0 }"), fnv1a(b"body { margin: 1 }"));
}

#[test]
fn no_agent_puts_its_own_words_into_a_title() {
    for (name, html) in every_page(&plain) {
        assert!(!parts(&html, "<title>", "</title>")[0].contains("Desk Agent"), "{name}");
    }
}
