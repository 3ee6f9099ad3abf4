//! The table.

use crate::load::Sample;

pub(crate) const BARE: &str = "floor: HTTP, bare answer";
pub(crate) const FLOOR: &str = "floor: HTTP + ES256 signature";
pub(crate) const HEALTH: &str = "GET /healthz";
pub(crate) const JWKS: &str = "GET /.well-known/jwks.json";
pub(crate) const HOT: &str = "secret + access token";
pub(crate) const MANY: &str = "secret + access token, 50 users";
pub(crate) const COLD: &str = "secret + access token, every user in turn";
pub(crate) const MIXED: &str = "the same 50, with 100 refresh grants and 5 sign-ins a second beside";
pub(crate) const KEY: &str = "private_key_jwt + access token";
pub(crate) const ALONE: &str = "secret + access token, one at a time";

/// A scenario and its measurements.
pub(crate) struct Row {
    name: String,
    pub(crate) samples: Vec<Sample>,
    /// Microseconds of CPU in a second that what runs beside takes alone: server and PostgreSQL.
    pub(crate) beside: Vec<[f64; 2]>,
}

impl Row {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), samples: Vec::new(), beside: Vec::new() }
    }

    fn median(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        median(self.samples.iter().map(of).collect())
    }

    fn cpu(&self) -> f64 {
        self.median(|s| s.cpu[0])
    }

    /// Of that, what is left for a mint when what runs beside is taken off, for server and PostgreSQL.
    fn without_beside(&self) -> Option<[f64; 2]> {
        let per_second = self.median(|s| s.per_second);
        let left =
            |n: usize| self.median(|s| s.cpu[n]) - median(self.beside.iter().map(|b| b[n]).collect()) / per_second;
        (!self.beside.is_empty()).then(|| [left(0), left(1)])
    }

    /// The furthest that one round's CPU is from the median, in percent.
    fn spread(&self) -> f64 {
        let median = self.cpu();
        self.samples.iter().map(|s| (s.cpu[0] - median).abs() / median * 100.0).fold(0.0, f64::max)
    }
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

pub(crate) fn print(rows: &[Row], signing: &[f64]) {
    let row = |name: &str| rows.iter().find(|r| r.name == name);
    let Some(floor) = row(FLOOR).map(Row::cpu) else { return };
    println!();
    println!(
        "| | per second | p50 ms | p99 ms | CPU us, server | spread | x floor | CPU us, PostgreSQL | both x floor | CPU us, load |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for r in rows {
        let (per_second, p50, p99) = (r.median(|s| s.per_second), r.median(|s| s.p50_ms), r.median(|s| s.p99_ms));
        let (server, database, load) = (r.cpu(), r.median(|s| s.cpu[1]), r.median(|s| s.cpu[2]));
        let apart =
            if database > 0.0 { format!("{database:.1} | {:.2}", (server + database) / floor) } else { "| ".into() };
        println!(
            "| {} | {per_second:.0} | {p50:.2} | {p99:.2} | {server:.1} | ±{:.0} % | {:.2} | {apart} | {load:.1} |",
            r.name,
            r.spread(),
            server / floor
        );
    }
    let sign = median(signing.to_vec());
    println!("| bare ES256 signature, one thread | {:.0} | | | {sign:.1} | | {:.2} | | | |", 1e6 / sign, sign / floor);
    println!();
    for r in rows {
        if let Some([server, database]) = r.without_beside() {
            let beside = |n: usize| median(r.beside.iter().map(|b| b[n]).collect()) / 1000.0;
            println!(
                "{}: what runs beside takes {:.0} ms of CPU a second alone (PostgreSQL {:.0}); without it a mint takes {server:.1} us, {:.2} x floor (PostgreSQL {database:.1})",
                r.name,
                beside(0),
                beside(1),
                server / floor
            );
        }
    }
    println!();
    println!("| ratio | here | aim |");
    println!("| --- | ---: | ---: |");
    let bare = row(BARE).map_or(f64::NAN, Row::cpu);
    if let Some(jwks) = row(JWKS).map(Row::cpu) {
        println!("| JWKS per CPU second against a bare answer | {:.2} | ≥ 0.9 |", bare / jwks);
    }
    for engine in ["SQLite", "PostgreSQL"] {
        let named = |name: &str| row(&format!("{engine}: {name}"));
        if let Some(hot) = named(HOT) {
            println!("| {engine}: durable mint, CPU against the floor | {:.2} | ≤ 3.1 |", hot.cpu() / floor);
            println!(
                "| {engine}: durable mints per CPU second against bare signatures | {:.2} | ≥ 0.20 |",
                sign / hot.cpu()
            );
        }
        for (name, here, aim) in [("50 users", named(MANY), 3.9), ("private_key_jwt", named(KEY), 6.0)] {
            if let Some(here) = here {
                println!("| {engine}: the same, {name} | {:.2} | ≤ {aim} |", here.cpu() / floor);
            }
        }
        if let Some(mixed) = named(MIXED).and_then(Row::without_beside) {
            println!("| {engine}: the same, mixed, without what runs beside | {:.2} | ≤ 3.9 |", mixed[0] / floor);
        }
        if let Some(cold) = row(&format!("{engine}, 20,000 users: {COLD}")) {
            println!("| {engine}: the same, 20,000 users in turn | {:.2} | ≤ 5.7 |", cold.cpu() / floor);
        }
        if let (Some(hot), Some(alone)) = (named(HOT), named(ALONE)) {
            let gain = hot.median(|s| s.per_second) / alone.median(|s| s.per_second);
            println!("| {engine}: mints per second, group commit against one per transaction | {gain:.1} | ≥ 3 |");
        }
    }
}
