//! Drills as an operator types them: files, exit codes, services side by side, and what happens to an issuer at work, which is nothing bad.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use avouch::domain::rotation::SigningAlg;
use avouch::domain::time::Seconds;
use avouch::flow::fetches;
use avouch::flow::rehearse::{self, Next};
use serde_json::Value;

use crate::harness::{Answer, Serving, both, client, run, text};
use crate::keys::look;
use crate::probe_reports::are_as_the_schema_says;

/// Exit code, standard output and standard error.
fn drill(folder: &Path, args: &[&str]) -> (i32, String, String) {
    let output = run(folder, &[&["drill"], args].concat());
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn what_is_wrong_is_told_before_anything_is_sent() {
    let folder = tempfile::TempDir::new().unwrap();
    // Nobody is there; whatever is sent would end with 3.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let service = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    fs::write(folder.path().join("other"), "{}").unwrap();
    for (args, says) in [
        (&["--html", "/nowhere/at/all/x.html"][..], "--html /nowhere/at/all/x.html"),
        (&["--state", "/nowhere/at/all/x"], "--state /nowhere/at/all/x"),
        (&["--state", "other"], "no report of avouch drill"),
        (&["--json", "x", "--junit", "x"], "--json writes there as well"),
        (&["--skip", "jwks-slw"], "jwks-slow was perhaps meant"),
        (&["--issuer", "nonsense"], "--issuer"),
        (&["--client", "a:b", "--client", "c:d"], "--client"),
        (&["--network", "x"], "--network"),
        (&["--user", ""], "--user"),
        (&["--config", "x"], "--live"),
        (&["--yes-i-mean", "x"], "--live"),
    ] {
        let args = [&["rotation", "--service", &service, "--listen", "127.0.0.1:0"], args].concat();
        let (code, out, said) = drill(folder.path(), &args);
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}: {said}");
        assert!(said.contains(says), "{args:?}: {said}");
    }
    assert_eq!(drill(folder.path(), &["rotation"]).0, 2, "no service");
    let (code, out, _) = drill(folder.path(), &["rotation", "--list"]);
    assert!(code == 0 && out.contains("rfc7517/5/jwks-kty-unknown"), "{out}");
    let args = ["compromise", "--service", &service, "--listen", "127.0.0.1:0", "--json", "r.json"];
    let (code, out, _) = drill(folder.path(), &args);
    assert!(code == 3 && out.contains("unknown"), "{out}");
    are_as_the_schema_says("drill-report", &[folder.path().join("r.json")]);
}

#[tokio::test]
async fn three_services_side_by_side_of_which_one_is_deaf() {
    let folder = tempfile::TempDir::new().unwrap();
    let sandbox = |name: &str, args: &[&str]| {
        let home = folder.path().join(name);
        fs::create_dir(&home).unwrap();
        Serving::start(&home, &[&["sandbox", "--port", "0"], args].concat())
    };
    let strict = sandbox("a", &[]);
    let deaf = sandbox("b", &["--dialect", "flat", "--flaw", "drop-consents-when-keys-change"]);
    let plain = sandbox("c", &["--dialect", "rfc7523"]);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let args = [
        "rotation",
        "--service",
        &strict.url,
        "--service",
        &deaf.url,
        "--service",
        &plain.url,
        "--listen",
        &port,
        "--state",
        "kept.json",
        "--issuer-key",
        "lab.json",
        "--json",
        "r.json",
        "--junit",
        "r.xml",
        "--html",
        "r.html",
    ];
    let (code, out, said) = drill(folder.path(), &args);
    assert_eq!(code, 0, "{out}{said}");
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let report: Value = serde_json::from_str(&read("r.json")).unwrap();
    let standings: Vec<&str> =
        report["services"].as_array().unwrap().iter().map(|service| service["standing"].as_str().unwrap()).collect();
    assert_eq!(standings, ["ready", "warned", "ready"], "{out}");
    let steps = report["services"][1]["steps"].as_array().unwrap();
    let short: Vec<&Value> =
        steps.iter().filter(|step| step["verdict"] == "warning").map(|step| &step["name"]).collect();
    assert_eq!(short, ["consents-survive-a-new-key"]);
    assert!(out.contains("ready, with warnings") && out.lines().last().unwrap().starts_with(&plain.url), "{out}");
    for page in [read("r.html"), read("r.xml"), read("r.json"), out, said] {
        // Credentials are nobody's business, and neither is the lab's key.
        let key: Value = serde_json::from_str(&read("lab.json")).unwrap();
        assert!(!page.contains(key["d"].as_str().unwrap()) && !page.contains("Bearer ey"), "{page}");
    }
    assert!(read("r.html").contains("<svg") && read("r.xml").contains("<testsuite"));
    are_as_the_schema_says("drill-report", &["r.json", "kept.json"].map(|name| folder.path().join(name)));

    // What was reached is kept: the same drill sends nothing any more, and another one is refused.
    let events = async || {
        let events = client().get(format!("{}/sandbox/events", deaf.url)).send().await.unwrap();
        Answer::read(events).await.json()["items"].as_array().unwrap().len()
    };
    let before = events().await;
    let (code, out, said) = drill(folder.path(), &[&args[..], &["--strict"]].concat());
    assert!(code == 1 && said.contains(&format!("not ready: {}", deaf.url)), "{code} {out}{said}");
    assert_eq!(events().await, before);
    let (code, _, said) = drill(folder.path(), &[&["compromise"], &args[1..]].concat());
    assert!(code == 2 && said.contains("of another drill"), "{said}");
}

/// A key set as services see it, which is always a good one.
async fn good_set(url: &str) -> BTreeSet<String> {
    let answer = client().get(format!("{url}/.well-known/jwks.json")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let set = Answer::read(answer).await.json();
    let keys = set["keys"].as_array().unwrap();
    let kids: BTreeSet<String> = keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect();
    assert!(!kids.is_empty() && kids.len() == keys.len(), "{set}");
    assert!(kids.iter().all(|kid| !kid.starts_with("lab-")), "{set}");
    for key in keys {
        assert!(key.get("d").is_none() && key["kty"] == "EC" && key["alg"] == "ES256" && key["use"] == "sig", "{set}");
    }
    kids
}

both! {
    async fn a_rehearsal_on_an_issuer_at_work_takes_good_steps_in_their_time(world: World) {
        let (host, alg) = (&world.host, SigningAlg::Es256);
        let standing = || async { rehearse::standing(host, "default", alg).await.unwrap() };
        let take = async |next: &Next| rehearse::take(host, "default", alg, next).await;
        let set = async || { look(&world).await; good_set(&world.url).await };
        let first = set().await;
        let start = standing().await;
        assert_eq!(start.next, Next::Prepare);
        take(&start.next).await.unwrap();
        let prepared = standing().await;
        let Next::Activate(kid, at) = prepared.next.clone() else { panic!("{prepared:?}") };
        assert_eq!(set().await.len(), 2);
        assert!(take(&prepared.next).await.is_err(), "never early");
        assert!(take(&Next::Prepare).await.is_err(), "never two");

        // Who has fetched it is known by address, as far as a service is there.
        let service = world.service.url.clone();
        let fetched = async |named: &[String]| {
            fetches::write_down(host).await.unwrap();
            rehearse::fetched(host, "default", &kid, named).await.unwrap()
        };
        let named = [service.clone(), "https://elsewhere.example".to_owned()];
        let seen = fetched(&named).await;
        assert_eq!(seen.iter().map(|seen| (seen.service.as_str(), seen.has)).collect::<Vec<_>>(), [(&*service, true), ("https://elsewhere.example", false)]);
        assert!(seen[1].last_at.is_none() && fetched(&[]).await.iter().any(|seen| seen.service == service));

        world.clock.advance(at - world.clock.now());
        take(&prepared.next).await.unwrap();
        let active = standing().await;
        let Next::Retire(old, at) = active.next.clone() else { panic!("{active:?}") };
        assert!(first.contains(old.as_str()) && set().await.len() == 2);
        assert_eq!(active.newest.unwrap().key.kid, kid);
        assert!(take(&active.next).await.is_err(), "never early");
        world.clock.advance(at - world.clock.now() + Seconds(1));
        take(&active.next).await.unwrap();
        assert_eq!(set().await, BTreeSet::from([kid.to_string()]));
        assert_eq!(standing().await.next, Next::Prepare);
    }
}

#[tokio::test]
async fn no_flaw_is_ever_served_by_an_issuer_at_work() {
    let folder = tempfile::TempDir::new().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://localhost:{port}");
    let config = format!("issuer = '{url}'\nlisten = '127.0.0.1:{port}'\n");
    fs::write(folder.path().join("avouch.toml"), config).unwrap();
    let server = Serving::start(folder.path(), &["serve"]);
    assert_eq!(server.url, url);
    let first = good_set(&url).await;
    let live = ["rotation", "--live", "--config", "avouch.toml"];
    let nobody = ["--service", "http://127.0.0.1:9"];

    // Whatever breaks a key set does not go together with it, and nobody is asked for a name who has not typed one.
    for args in [
        &[&live[..], &["--listen", "127.0.0.1:0"]].concat()[..],
        &[&live[..], &["--issuer-key", "lab.json"]].concat(),
        &[&live[..], &["--skip", "jwks-slow"]].concat(),
        &[&live[..], &["--cooldown", "1"]].concat(),
        &[&live[..], &["--state", "kept"]].concat(),
        &[&live[..], &["--yes-i-mean", &format!("{url}/")]].concat(),
        &[&live[..], &["--yes-i-mean", "http://localhost:4000"]].concat(),
        &[&live[..], &["--issuer", &format!("{url}/nobody"), "--yes-i-mean", &format!("{url}/nobody")]].concat(),
        &["compromise", "--live", "--config", "avouch.toml", "--yes-i-mean", &url],
        &live,
        // A lab that takes its name.
        &[&["rotation", "--listen", "127.0.0.1:0", "--issuer", &url], &nobody[..]].concat(),
        &[&["compromise", "--listen", "127.0.0.1:0", "--issuer", &url], &nobody[..]].concat(),
    ] {
        let (code, out, said) = drill(folder.path(), args);
        assert_eq!(code, 2, "{args:?}: {out}{said}");
        assert_eq!(good_set(&url).await, first, "{args:?}");
    }
    assert!(!folder.path().join("lab.json").exists());

    // What it does do: a key is published, and waits for its time; started again it takes no step twice.
    let meant = [&live[..], &["--yes-i-mean", &url, "--json", "r.json"]].concat();
    let (code, out, said) = drill(folder.path(), &meant);
    assert_eq!(code, 0, "{out}{said}");
    assert!(out.contains("a new key is published") && out.contains("Next: the key"), "{out}");
    let (code, out, said) = drill(folder.path(), &meant);
    assert!(code == 0 && !out.contains("a new key is published"), "{out}{said}");
    let report: Value = serde_json::from_str(&fs::read_to_string(folder.path().join("r.json")).unwrap()).unwrap();
    assert_eq!((&report["live"], &report["issuer"]), (&true.into(), &url.as_str().into()));
    are_as_the_schema_says("drill-report", &[folder.path().join("r.json")]);
    let set = text(&run(folder.path(), &["keys", "export"]).stdout);
    let published: Value = serde_json::from_str(&set).unwrap();
    assert_eq!(published["keys"].as_array().unwrap().len(), 2, "{set}");
    assert!(good_set(&url).await.is_superset(&first));
}
