//! Nothing crosses: whatever one issuer gave is worth nothing at another one of the same server, at any of its endpoints, although both
//! know the same people, clients and secrets.

use avouch::http::{Where, paths};
use serde_json::Value;

use crate::harness::{
    ACCESS_TOKEN, ALICE, Answer, CALLBACK, EXCHANGE, Engine, ID_JAG, ID_TOKEN, SECRET, VERIFIER, World, encode,
    hidden_fields, twins,
};

/// What one issuer gave, each thing good there at this moment.
struct Given {
    access_token: String,
    refresh_token: String,
    id_token: String,
    code: String,
    client_assertion: String,
    admin_token: Option<String>,
    cookie: String,
    csrf: String,
    ticket: String,
    delegation: String,
    service: String,
    sub: String,
    kid: String,
}

async fn given(world: &World) -> Given {
    let (browser, tokens, delegation, _) = world.delegated().await;
    let (status, asked) = world.exchange("desk-agent", &tokens, &[("scope", "api.write")]).await;
    assert_eq!(status, 400, "{asked}");
    let page = browser.get("/connections").await;
    let csrf = hidden_fields(&page.body, &format!("{}/logout", world.app.issuer.url.base()));
    let text = |name: &str| tokens[name].as_str().unwrap().to_owned();
    Given {
        access_token: text("access_token"),
        refresh_token: text("refresh_token"),
        id_token: text("id_token"),
        code: world.code(&browser, "desk-agent", &[]).await,
        client_assertion: world.client_assertion(&serde_json::json!({})),
        // The root's is good everywhere.
        admin_token: (!world.app.issuer.url.base().is_empty()).then(|| world.admin_token()),
        cookie: browser.cookie("avouch-session").unwrap(),
        csrf: csrf.into_iter().find(|(name, _)| name == "csrf").unwrap().1,
        ticket: asked["consent_uri"].as_str().unwrap().rsplit('/').next().unwrap().to_owned(),
        delegation,
        service: world.api("GET", "/services", &world.admin_token()).await.json()["items"][0]["id"]
            .as_str()
            .unwrap()
            .to_owned(),
        sub: world.api("GET", "/users", &world.admin_token()).await.json()["items"][0]["sub"]
            .as_str()
            .unwrap()
            .to_owned(),
        kid: world.app.issuer.ring.active.kid().to_string(),
    }
}

impl Given {
    /// Things of the same shape that nobody gave.
    fn made_up(&self) -> Self {
        let other = |text: &String| text.chars().map(|c| if c == 'a' { 'b' } else { c }).chain(['a']).collect();
        let hex = |text: &String| text.chars().rev().collect();
        Self {
            access_token: other(&self.access_token),
            refresh_token: other(&self.refresh_token),
            id_token: other(&self.id_token),
            code: other(&self.code),
            client_assertion: other(&self.client_assertion),
            admin_token: self.admin_token.as_ref().map(other),
            cookie: other(&self.cookie),
            csrf: other(&self.csrf),
            ticket: other(&self.ticket),
            delegation: hex(&self.delegation),
            service: hex(&self.service),
            sub: other(&self.sub),
            kid: other(&self.kid),
        }
    }

    fn bearers(&self) -> Vec<String> {
        let tokens = [&self.access_token, &self.refresh_token, &self.id_token, &self.code, &self.cookie, &self.kid];
        tokens.into_iter().chain(&self.admin_token).cloned().collect()
    }

    /// Forms for the token endpoint, each in itself complete.
    fn forms(&self, service: &str) -> Vec<Vec<(&'static str, String)>> {
        let form = |pairs: &[(&'static str, &str)]| pairs.iter().map(|(n, v)| (*n, (*v).to_owned())).collect();
        let exchange = |kind: &str, token: &str| -> Vec<(&'static str, String)> {
            form(&[
                ("grant_type", EXCHANGE),
                ("requested_token_type", ID_JAG),
                ("audience", service),
                ("subject_token", token),
                ("subject_token_type", kind),
            ])
        };
        let redirect = ("redirect_uri", CALLBACK);
        let code = ("grant_type", "authorization_code");
        vec![
            form(&[code, ("code", &self.code), redirect, ("code_verifier", VERIFIER)]),
            form(&[("grant_type", "refresh_token"), ("refresh_token", &self.refresh_token)]),
            exchange(ACCESS_TOKEN, &self.access_token),
            exchange(ID_TOKEN, &self.id_token),
            exchange(ID_TOKEN, &self.access_token),
        ]
    }
}

/// What a stranger can tell from an answer.
fn seen(answer: &Answer, things: &Given) -> (u16, String, String) {
    let json = serde_json::from_str::<Value>(&answer.body).unwrap_or_default();
    let code = ["error", "code"].into_iter().find_map(|name| json[name].as_str()).unwrap_or_default();
    // A way back names what was asked for.
    let ids = [&things.delegation, &things.ticket, &things.service, &things.sub, &things.kid];
    let to = ids.into_iter().fold(answer.location(), |to, id| to.replace(id.as_str(), "ID"));
    // What is noted for the next page is sealed, each time anew.
    let to = to.split_once("&note=").map_or(to.clone(), |(before, _)| before.to_owned());
    (answer.status, code.to_owned(), to)
}

/// How much every table holds, and what every row that changes says.
async fn recorded(world: &World) -> Vec<String> {
    let mut rows = Vec::new();
    for table in [
        "journal",
        "session",
        "ticket",
        "consent",
        "token_family",
        "access_token",
        "used_jti",
        "delivery",
        "service",
        "discovery",
    ] {
        rows.extend(world.database.column(&format!("SELECT COUNT(*) FROM {table}")).await);
    }
    for sql in [
        "SELECT COUNT(*) FROM authorization_code WHERE used_at IS NOT NULL",
        "SELECT COUNT(*) FROM refresh_token WHERE used_at IS NOT NULL",
        "SELECT COUNT(*) FROM delegation WHERE ended_at IS NULL",
        "SELECT COUNT(*) FROM ticket WHERE closed_at IS NULL",
        "SELECT COUNT(*) FROM session WHERE ended_at IS NULL",
        "SELECT COUNT(*) FROM token_family WHERE ended_at IS NULL",
        "SELECT CAST(SUM(mint_count) AS BIGINT) FROM delegation",
    ] {
        rows.extend(world.database.column(sql).await);
    }
    rows
}

/// One request as somebody would send it who has `things`.
async fn send(world: &World, method: &str, path: &str, headers: &[(&str, String)], form: Option<String>) -> Answer {
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let mut request = world.http.request(method, format!("{}{path}", world.url));
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    if let Some(form) = form {
        request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
    }
    Answer::read(request.send().await.unwrap()).await
}

/// Every cell: each route, each method, each thing wherever it could be put.
async fn cells(here: &World, things: &Given) -> Vec<(String, (u16, String, String))> {
    let mut seen_at = Vec::new();
    let origin = ("origin", here.app.issuer.url.origin().to_owned());
    let name = here.session_cookie();
    let cookie = ("cookie", format!("{name}={}", things.cookie));
    for (_, route) in paths().into_iter().filter(|(at, _)| *at == Where::Everywhere) {
        for id in [&things.delegation, &things.ticket, &things.service, &things.sub, &things.kid] {
            let path = route.replace("{ticket}", id).replace("{id}", id).replace("{sub}", id);
            for method in ["GET", "POST", "DELETE", "PATCH"] {
                for bearer in things.bearers() {
                    let headers = [("authorization", format!("Bearer {bearer}"))];
                    let answer = send(here, method, &path, &headers, None).await;
                    seen_at.push((format!("{method} {route}, bearer"), seen(&answer, things)));
                }
                let form = encode(&[("csrf", &things.csrf), ("decision", "allow"), ("digest", &things.csrf)]);
                for headers in [vec![cookie.clone(), origin.clone()], vec![origin.clone()]] {
                    let answer = send(here, method, &path, &headers, Some(form.clone())).await;
                    seen_at.push((format!("{method} {route}, cookie and form"), seen(&answer, things)));
                }
            }
            if !route.contains('{') {
                break;
            }
        }
    }
    for form in things.forms(&here.service.url) {
        let pairs: Vec<(&str, &str)> = form.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let basic = here.http.post(format!("{}/token", here.url)).basic_auth("desk-agent", Some(SECRET));
        let basic = basic.header("content-type", "application/x-www-form-urlencoded").body(encode(&pairs));
        let answer = Answer::read(basic.send().await.unwrap()).await;
        seen_at.push((format!("/token {} by secret", pairs[0].1), seen(&answer, things)));
        let mut asserted = pairs.clone();
        asserted.push(("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
        asserted.push(("client_assertion", &things.client_assertion));
        let answer = send(here, "POST", "/token", &[], Some(encode(&asserted))).await;
        seen_at.push((format!("/token {} by assertion", pairs[0].1), seen(&answer, things)));
    }
    seen_at
}

async fn nothing_of(there: &World, at: &World) {
    let things = given(there).await;
    let before = recorded(at).await;
    let answers = cells(at, &things).await;
    assert_eq!(recorded(at).await, before, "nothing is recorded");
    let strangers = cells(at, &things.made_up()).await;
    assert!(answers.len() > 200 && answers.len() == strangers.len(), "{}", answers.len());
    for ((cell, answer), (_, stranger)) in answers.iter().zip(&strangers) {
        assert_eq!(answer, stranger, "{cell}: it is worth no more than what somebody made up");
        let public = [
            "/end_session,",
            "/.well-known/",
            "/jwks.json",
            "/openapi.json",
            "/agent-auth.json",
            "/logo.png",
            "/login",
            "/ ",
        ];
        let is_public =
            cell.starts_with("GET ") && public.iter().any(|p| cell.contains(p) || cell.starts_with("GET /,"));
        assert!(is_public || answer.0 != 200, "{cell}: {answer:?}");
        assert_ne!(answer.0, 500, "{cell}");
    }
}

async fn twin_issuers(engine: Engine) -> (World, World) {
    let world = World::with(engine, twins).await;
    let acme = world.under("acme").await;
    (world, acme)
}

async fn nothing_crosses(engine: Engine) {
    let (world, acme) = twin_issuers(engine).await;
    nothing_of(&acme, &world).await;
    nothing_of(&world, &acme).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_crosses_on_sqlite() {
    nothing_crosses(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_crosses_on_postgres() {
    nothing_crosses(Engine::Postgres).await;
}

/// Without this, the matrix would prove nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_given_is_good_where_it_was_given() {
    let (world, acme) = twin_issuers(Engine::Sqlite).await;
    let things = given(&acme).await;
    for form in things.forms(&acme.service.url).into_iter().take(4) {
        let pairs: Vec<(&str, &str)> = form.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let (status, body) = acme.token("desk-agent", &pairs).await;
        assert_eq!(status, 200, "{pairs:?} {body}");
    }
    let root = world.admin_token();
    for token in [things.admin_token.as_deref().unwrap(), &root] {
        assert_eq!(acme.api("GET", "/delegations", token).await.json()["items"].as_array().unwrap().len(), 1);
    }
    assert_eq!(world.api("GET", "/delegations", &root).await.json()["items"].as_array().unwrap().len(), 0);
    assert_eq!(acme.signed_in(ALICE).await.get("/connections").await.status, 200);
}
