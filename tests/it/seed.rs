//! The rows that the benchmark writes past the code are rows of this schema.

#[path = "../../benches/mint/statements.rs"]
mod statements;

use crate::harness::{Engine, World};

async fn is_written(engine: Engine) {
    let world = World::start(engine).await;
    crate::paths::add(&world, "acme").await;
    world.database.column("UPDATE client SET client_id = 'secret-agent' WHERE client_id = 'desk-agent'").await;
    let (values, id) = match engine {
        Engine::Sqlite => ("json_each($1) AS e", "'j' || d.id"),
        Engine::Postgres => ("json_array_elements($1::json) AS e(value)", "'j' || d.id"),
    };
    let run = async |sql: &str, issuer: &str, rows: &str| {
        let sql = sql.replace("{rows}", values).replace("{id}", id).replace("{aud}", &world.service.url);
        let sql = sql.replace("{issuer}", issuer).replace("$1", &format!("'{rows}'")).replace("$2", "1");
        world.database.column(&sql).await;
    };
    for sql in statements::DECLARED {
        run(sql, "acme", "acme").await;
    }
    for (issuer, key) in [("default", "a"), ("acme", "b")] {
        for sql in statements::STATEMENTS {
            run(sql, issuer, &format!("[[\"{key}\", \"{key}\", \"hash {key}\"]]")).await;
        }
    }
    run(statements::USED, "default", &world.service.url).await;
    assert_eq!(world.database.column("SELECT id FROM delegation WHERE mint_count = 1").await, ["a"]);
    run(statements::JOURNAL, "default", "").await;
    run(statements::QUEUED, "default", r#"[["n", "https://a.example/revoke", "a.example"]]"#).await;
    assert_eq!(world.database.column("SELECT id FROM delivery WHERE state = 'queued'").await, ["n"]);
    let minted = world.database.column("SELECT delegation_id FROM journal WHERE kind = 'assertion' ORDER BY id").await;
    assert_eq!(minted, ["a", "b"]);
    assert_eq!(world.database.column("SELECT id FROM consent ORDER BY id").await, ["a", "b"]);
}

#[tokio::test]
async fn the_benchmarks_rows_are_rows_of_this_schema() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        is_written(engine).await;
    }
}
