//! Two servers on one database: what one does, the other knows at once.

use avouch::domain::time::Seconds;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{ALICE, Browser, NOW, World, both, claims, code_grant, declarations};
use crate::mint::{all_at_once, is_warm, journal};

/// A second server, the user's browser there, and tokens of a sign-in there, whose client the first server has in its cache.
struct Pair {
    here: World,
    there: World,
    browser: Browser,
    tokens: Value,
    minted: usize,
}

impl Pair {
    async fn start(here: World) -> Self {
        let there = here.replica(&declarations(&here.service.url)).await;
        let browser = there.signed_in(ALICE).await;
        let tokens = there.tokens(&browser, "desk-agent").await;
        there.agree(&browser, "desk-agent", &tokens, "always", &[]).await;
        let (status, body) = here.exchange("desk-agent", &tokens, &[]).await;
        assert_eq!(status, 200, "what was agreed there counts here: {body}");
        assert!(is_warm(&here));
        let minted = journal(&here).await.len();
        Self { here, there, browser, tokens, minted }
    }

    /// The next mint here is refused, with this error, and leaves nothing.
    async fn refuses(&self, status: u16, error: &str) {
        assert!(is_warm(&self.here), "nothing was done here that would have emptied the cache");
        let answer = self.here.exchange("desk-agent", &self.tokens, &[]).await;
        assert_eq!((answer.0, answer.1["error"].as_str()), (status, Some(error)), "{}", answer.1);
        assert_eq!(journal(&self.here).await.len(), self.minted);
    }

    /// Yet another server starts, with a changed configuration.
    async fn configured(&self, change: impl Fn(String) -> String) -> World {
        self.here.replica(&change(declarations(&self.here.service.url))).await
    }
}

/// The declaration in `text` that begins with `kind` and contains `what`, taken out.
fn without(text: &str, kind: &str, what: &str) -> String {
    let blocks = text.split("\n\n");
    blocks.filter(|block| !(block.contains(kind) && block.contains(what))).collect::<Vec<_>>().join("\n\n")
}

both! {
    async fn withdrawn_there(world: World) {
        let pair = Pair::start(world).await;
        let list = pair.there.api("GET", "/delegations", &pair.there.admin_token()).await.json();
        let path = format!("/delegations/{}", list["items"][0]["id"].as_str().unwrap());
        assert_eq!(pair.there.api("DELETE", &path, &pair.there.admin_token()).await.status, 202);
        pair.refuses(400, "consent_required").await;
    }
}

both! {
    async fn signed_out_there(world: World) {
        let pair = Pair::start(world).await;
        let page = pair.browser.get("/connections").await;
        assert_eq!(pair.browser.submit(&page, "/logout", &[]).await.status, 303);
        pair.refuses(400, "invalid_grant").await;
    }
}

both! {
    async fn user_disabled_there(world: World) {
        let pair = Pair::start(world).await;
        pair.configured(|text| without(&text, "[[users]]", ALICE)).await;
        pair.refuses(400, "invalid_grant").await;
        assert_eq!(pair.here.database.column("SELECT COUNT(*) FROM delegation WHERE ended_at IS NULL").await, ["0"]);
    }
}

both! {
    async fn client_disabled_there(world: World) {
        let pair = Pair::start(world).await;
        pair.configured(|text| without(&text, "[[clients]]", "\"desk-agent\"")).await;
        pair.refuses(401, "invalid_client").await;
    }
}

both! {
    async fn ceiling_narrowed_there(world: World) {
        let pair = Pair::start(world).await;
        let fewer = format!("audiences = [\"{}\", \"https://other.example\"]", pair.here.service.url);
        pair.configured(|text| text.replace(&fewer, "audiences = [\"https://other.example\"]")).await;
        pair.refuses(400, "invalid_target").await;
    }
}

both! {
    async fn service_changed_there(world: World) {
        let pair = Pair::start(world).await;
        pair.configured(|text| text.replace("scopes = [\"api.read\", \"api.write\"]", "scopes = [\"api.write\"]")).await;
        pair.refuses(400, "invalid_scope").await;
    }
}

both! {
    async fn code_used_again_there(world: World) {
        let pair = Pair::start(world).await;
        let code = pair.there.code(&pair.browser, "desk-agent", &[]).await;
        let (_, tokens) = pair.there.token("desk-agent", &code_grant(&code)).await;
        let (status, body) = pair.here.exchange("desk-agent", &tokens, &[]).await;
        assert_eq!(status, 200, "{body}");
        let pair = Pair { tokens, minted: pair.minted + 1, ..pair };
        let (status, body) = pair.there.token("desk-agent", &code_grant(&code)).await;
        assert_eq!((status, &body["error"]), (400, &json!("invalid_grant")));
        pair.refuses(400, "invalid_grant").await;
    }
}

both! {
    async fn denied_there_after_an_always(world: World) {
        let there = world.replica(&declarations(&world.service.url)).await;
        let browser = there.signed_in(ALICE).await;
        let tokens = there.tokens(&browser, "desk-agent").await;
        // Two chats ask for the same; the user says yes to one and then no to the other.
        let (_, other) = there.exchange("desk-agent", &tokens, &[("agent_context_id", "chat 2")]).await;
        there.agree(&browser, "desk-agent", &tokens, "always", &[]).await;
        world.clock.advance(Seconds(1));
        assert_eq!(world.exchange("desk-agent", &tokens, &[]).await.0, 200);
        let pair = Pair { minted: 1, here: world, there, browser, tokens };
        let path = other["consent_uri"].as_str().unwrap().strip_prefix(&pair.here.issuer()).unwrap().to_owned();
        let page = pair.browser.get(&path).await;
        assert_eq!(pair.browser.submit(&page, &path, &[("decision", "deny")]).await.status, 303);
        pair.refuses(400, "access_denied").await;
        // It denied that and nothing else.
        let (status, body) = pair.here.exchange("desk-agent", &pair.tokens, &[("scope", "")]).await;
        assert_eq!(status, 200, "{body}");
    }
}

both! {
    async fn signed_in_again_there(world: World) {
        let pair = Pair::start(world).await;
        pair.here.clock.advance(Seconds(10));
        let page = pair.browser.get("/login?again=1").await;
        let typed = [("email", ALICE), ("password", crate::harness::PASSWORD)];
        assert_eq!(pair.browser.submit(&page, "/login", &typed).await.status, 303);
        let (status, body) = pair.here.exchange("desk-agent", &pair.tokens, &[]).await;
        assert_eq!(status, 200, "{body}");
        assert_eq!(claims(body["access_token"].as_str().unwrap())["auth_time"], (NOW + Seconds(10)).0);
    }
}

both! {
    async fn a_once_mints_exactly_one_of_a_hundred_on_two_servers(world: World) {
        let there = world.replica(&declarations(&world.service.url)).await;
        let browser = there.signed_in(ALICE).await;
        let tokens = there.tokens(&browser, "desk-agent").await;
        there.agree(&browser, "desk-agent", &tokens, "once", &[]).await;
        let worlds = [Arc::new(world), Arc::new(there)];
        let (minted, refused) = all_at_once(&worlds, &tokens, 100).await;
        assert_eq!(minted.len(), 1);
        assert!(refused.iter().all(|e| e == "consent_required" || e == "slow_down"), "{refused:?}");
        assert_eq!(journal(&worlds[0]).await, [minted[0]["jti"].as_str().unwrap()]);
    }
}

both! {
    /// Mints and withdrawals race on two servers; the user agrees again in between. After each answer to a withdrawal nothing is minted
    /// under what it ended, and its notices cover everything that was minted before.
    async fn withdrawals_and_mints_race(world: World) {
        let pair = Pair::start(world).await;
        let admin = pair.here.admin_token();
        let list = pair.here.api("GET", "/delegations", &admin).await.json();
        let path = format!("/delegations/{}", list["items"][0]["id"].as_str().unwrap());
        let Pair { here, there, browser, tokens, .. } = pair;
        let worlds = [Arc::new(here), Arc::new(there)];
        for _ in 0..3 {
            let before = journal(&worlds[0]).await.len();
            let stop = Arc::new(AtomicBool::new(false));
            let mut tasks = JoinSet::new();
            for n in 0..8 {
                let (world, tokens, stop) = (worlds[n % 2].clone(), tokens.clone(), stop.clone());
                tasks.spawn(async move {
                    let mut minted = Vec::new();
                    loop {
                        // Read before the request: what is sent after the answer to a withdrawal must not be minted.
                        let after = stop.load(Ordering::SeqCst);
                        let (status, body) = world.exchange("desk-agent", &tokens, &[]).await;
                        assert!(!after || status != 200, "minted after the withdrawal was answered");
                        if status == 200 {
                            minted.push(claims(body["access_token"].as_str().unwrap())["jti"].as_str().unwrap().to_owned());
                        } else {
                            assert_eq!(status, 400, "{body}");
                        }
                        if after {
                            return minted;
                        }
                    }
                });
            }
            crate::harness::eventually("some are minted", async || journal(&worlds[0]).await.len() > before + 8).await;
            let answer = worlds[1].api("DELETE", &path, &admin).await;
            let at_answer = journal(&worlds[0]).await;
            stop.store(true, Ordering::SeqCst);
            assert_eq!((answer.status, &answer.json()["status"]), (202, &json!("withdrawing")), "{}", answer.body);
            let minted = tasks.join_all().await.concat();
            assert_eq!(journal(&worlds[0]).await, at_answer, "no row after the answer");
            assert!(minted.iter().all(|jti| at_answer.binary_search(jti).is_ok()), "nobody has what is not in the journal");
            // The second notice comes when the last of them is dead.
            let due = worlds[0].database.column("SELECT MAX(due_at) FROM delivery").await;
            let exp = worlds[0].clock.now() + Seconds(300);
            assert_eq!(due, [(exp + Seconds(120)).to_string()]);

            worlds[0].clock.advance(Seconds(10));
            worlds[0].agree(&browser, "desk-agent", &tokens, "always", &[]).await;
        }
        let used = worlds[0].database.column("SELECT mint_count FROM delegation").await;
        assert_eq!(used, [journal(&worlds[0]).await.len().to_string()]);
    }
}
