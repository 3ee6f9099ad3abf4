//! Lists on `/connections` that are longer than a page.

use std::collections::BTreeSet;

use crate::harness::{ALICE, Answer, Browser, Engine, World, both, hidden_fields};

/// More of everything than is on a page, for alice: of 120 delegations each third is over.
const ROWS: [&str; 6] = [
    "INSERT INTO delegation (id, issuer_id, account_id, iss, sub, aud, created_at, mint_count, last_exp, ended_at) {each}
     SELECT 'd' || i, 'default', a.id, 'i', a.sub, 'https://s' || i || '.example', 0, 1, 0, CASE WHEN i % 3 = 1 THEN 5 END FROM n, account a WHERE a.email = 'alice@example.com' AND i < 120",
    "INSERT INTO consent (id, issuer_id, account_id, client_id, aud, mode, asked_scope, scope, resources, claims, ground, request_key, number,
                          created_at) {each}
     SELECT 'n' || i, 'default', a.id, k.id, 'https://s' || i || '.example', 'denied', '', '', '[]', '', 'user', '', i, 0
       FROM n, account a, client k WHERE a.email = 'alice@example.com' AND k.client_id = 'desk-agent' AND i < 60",
    "INSERT INTO session (id, issuer_id, account_id, token_hash, auth_time, created_at, expires_at) {each}
     SELECT 's' || i, 'default', a.id, 's' || i, 0, 0, 2000000000 FROM n, account a WHERE a.email = 'alice@example.com' AND i < 60",
    "INSERT INTO client (id, issuer_id, client_id, token_endpoint_auth_method, redirect_uris, grant_types, id_token_signed_response_alg,
                         backchannel_logout_uri, backchannel_logout_session_required, post_logout_redirect_uris, audiences, first_party, require_pkce,
                         origin, version, created_at) {each}
     SELECT 'k' || i, 'default', 'agent-' || i, 'none', '[]', '[]', 'ES256', 'https://a.example/out', 0, '[]', '[]', 0, 1, 'config', 1, 0 FROM n WHERE i < 60",
    "INSERT INTO signin_consent (id, issuer_id, account_id, client_id, scope, created_at) {each}
     SELECT 'g' || i, 'default', a.id, 'k' || i, 'openid', 0 FROM n, account a WHERE a.email = 'alice@example.com' AND i < 60",
    "INSERT INTO ticket (id, issuer_id, request_key, account_id, session_id, client_id, aud, scope, resources, created_at, expires_at, polled_at)
     {each} SELECT 't' || i, 'default', 't' || i, a.id, '', 'k' || i, 'https://s' || i || '.example', '', '[]', i, 2000000000, 0
       FROM n, account a WHERE a.email = 'alice@example.com' AND i < 60",
];

async fn filled(world: &World) -> Browser {
    let each = "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 119)";
    for sql in ROWS {
        world.database.column(&sql.replace("{each}", each)).await;
    }
    world.signed_in(ALICE).await
}

/// What stands in the page between two texts, each time that it does.
fn between<'a>(page: &'a Answer, before: &str, after: &str) -> Vec<&'a str> {
    page.body.split(before).skip(1).filter_map(|rest| rest.split(after).next()).collect()
}

/// Where a list goes on.
fn more(page: &Answer, list: &str) -> Option<String> {
    let start = format!("href=\"/connections?list={list}&#38;after=");
    let after = page.body.split(&start).nth(1)?.split('"').next()?;
    Some(format!("/connections?list={list}&after={after}"))
}

both! {
    async fn every_row_of_every_list_is_reached_once(world: World) {
        let browser = filled(&world).await;
        let first = browser.get("/connections").await;
        for (list, before, rows) in [
            ("services", "aria-labelledby=\"c-", 120),
            ("questions", "href=\"/consent/", 60),
            ("agents", "action=\"/connections/sign-ins/", 60),
            // The one that looks at it is one more.
            ("sessions", "action=\"/connections/sessions/", 61),
            ("denials", "action=\"/connections/denials/", 60),
        ] {
            let (mut seen, mut page) = (between(&first, before, "\"").into_iter().map(str::to_owned).collect::<Vec<_>>(), None);
            assert_eq!(seen.len(), 50, "{list}");
            let shown = |page: Option<&Answer>| {
                let page = page.unwrap_or(&first);
                more(page, list).or_else(|| more(page, "stopped").filter(|_| list == "services"))
            };
            while let Some(next) = shown(page.as_ref()) {
                let next = browser.get(&next).await;
                assert_eq!(next.status, 200, "{}", next.body);
                let rows = between(&next, before, "\"");
                assert!((1..=50).contains(&rows.len()), "{list}");
                seen.extend(rows.into_iter().map(str::to_owned));
                assert_eq!(next.body.matches("<h2 ").count().min(1), 1, "the rest of one list");
                page = Some(next);
            }
            assert!(page.unwrap().body.contains("<a href=\"/connections\">Back to the first page</a>"));
            assert_eq!((seen.len(), seen.iter().collect::<BTreeSet<_>>().len()), (rows, rows), "{list}");
        }
    }
}

both! {
    /// What can be stopped stands first.
    async fn in_order(world: World) {
        let browser = filled(&world).await;
        let mut page = browser.get("/connections").await;
        let mut states = Vec::new();
        loop {
            states.extend(between(&page, "<p class=\"state ", "\"").into_iter().map(str::to_owned));
            let Some(next) = more(&page, "services").or_else(|| more(&page, "stopped")) else { break };
            page = browser.get(&next).await;
        }
        states.dedup();
        assert_eq!(states, ["ended", "bad"], "used up; stopped, with nobody to tell");
    }
}

#[tokio::test]
async fn what_was_stopped_is_shown_wherever_it_stands() {
    let world = World::start(Engine::Sqlite).await;
    let browser = filled(&world).await;
    let stop = async || {
        let page = browser.get("/connections").await;
        let id = between(&page, "aria-labelledby=\"c-", "\"")[0].to_owned();
        let path = format!("/connections/{id}/stop");
        let form = browser.get(&path).await;
        (id, browser.submit(&form, &path, &[]).await.location())
    };
    let (id, to) = stop().await;
    assert_ne!(to, "/connections", "there are more that are active than on a page");
    assert_eq!(between(&browser.get(&to).await, "aria-labelledby=\"c-", "\"")[0], id);
    world.database.column("UPDATE delegation SET ended_at = 5 WHERE id < 'd9'").await;
    let (id, to) = stop().await;
    assert_eq!(to, "/connections");
    assert!(between(&browser.get(&to).await, "aria-labelledby=\"c-", "\"").contains(&id.as_str()));
}

#[tokio::test]
async fn a_place_that_is_none_is_not_there() {
    let world = World::start(Engine::Sqlite).await;
    let browser = world.signed_in(ALICE).await;
    for query in
        ["list=x&after=1", "list=services", "list=agents&after=-1", "list=agents", "after=1", "list=denials&after=x"]
    {
        assert_eq!(browser.get(&format!("/connections?{query}")).await.status, 404, "{query}");
    }
    assert_eq!(browser.get("/connections?list=stopped&after=0").await.status, 200, "nothing is left there");
}

#[tokio::test]
async fn whoever_ends_something_is_led_back_to_that_page() {
    let world = World::start(Engine::Sqlite).await;
    let browser = filled(&world).await;
    let second = more(&browser.get("/connections").await, "denials").unwrap();
    let page = browser.get(&second).await;
    let path = format!("/connections/denials/{}", between(&page, "action=\"/connections/denials/", "\"")[0]);
    let csrf = hidden_fields(&page.body, &path).remove(0).1;
    for (referer, to) in [
        (format!("{}{second}", world.issuer()), second.clone()),
        (format!("{}/connections", world.issuer()), "/connections".to_owned()),
    ] {
        let page = browser.get(&second).await;
        let path = format!("/connections/denials/{}", between(&page, "action=\"/connections/denials/", "\"")[0]);
        let answer = browser.post_with(&path, &[("csrf", &csrf)], &[("referer", &referer)]).await;
        assert_eq!((answer.status, answer.location()), (303, to), "{}", answer.body);
    }
}
