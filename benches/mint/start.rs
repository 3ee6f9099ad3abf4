//! From the start of the process to its first answer, and what it weighs then.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::client::{Connection, request};
use crate::machine::{self, Meter, command_on};
use crate::options::Options;
use crate::provider::{Process, configuration, free_port, users};
use crate::report::median;

const TIMES: usize = 10;

pub(crate) async fn run(options: &Options) -> Outcome<()> {
    println!("{}", machine::description(&options.folder, Meter::new()?));
    let (people, key) = (users(2)?, crate::assertion::key());
    // One plain password too: it has to be hashed, but nobody may wait for that.
    let people =
        format!("{people}[[users]]\nemail = \"plain@example.com\"\npassword = \"correct horse battery staple\"\n");
    let (mut fresh, mut warm, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TIMES {
        let folder = tempfile::Builder::new().prefix("avouch-bench.").tempdir_in(&options.folder)?;
        let (port, path) = (free_port()?, folder.path());
        let database = format!("sqlite://{}", path.join("avouch.db").display());
        std::fs::write(path.join("avouch.toml"), configuration(port, &database, &path.join("keys"), &people, &key))?;
        fresh.push(first_answer(path, port, None).await?.1);
        let (process, seconds) = first_answer(path, port, None).await?;
        warm.push(seconds);
        // By then the plain password is hashed, which takes the most memory of all.
        tokio::time::sleep(Duration::from_millis(500)).await;
        memory.push((machine::memory(process.pid(), "VmRSS"), machine::memory(process.pid(), "VmHWM")));
    }
    println!("start to first answer, median of {TIMES} (fastest, slowest), SQLite:");
    for (name, times) in [("fresh database", fresh), ("existing database", warm)] {
        let (least, most) = times.iter().fold((f64::MAX, 0.0_f64), |(a, b), t| (a.min(*t), b.max(*t)));
        println!("  {name}: {:.0} ms ({least:.0}, {most:.0})", median(times));
    }
    println!(
        "memory idle: {:.1} MiB, {:.1} MiB at most so far",
        median(memory.iter().map(|m| m.0).collect()),
        median(memory.iter().map(|m| m.1).collect())
    );
    Ok(())
}

/// Starts a server and asks it until it answers. Answers with the milliseconds that took.
pub(crate) async fn first_answer(folder: &Path, port: u16, core: Option<&str>) -> Outcome<(Process, f64)> {
    let mut command = command_on(core, env!("CARGO_BIN_EXE_avouch").as_ref());
    command.args(["serve", "--config", "avouch.toml"]).current_dir(folder);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(folder.join("log"))?);
    let start = Instant::now();
    let process = Process(command.spawn()?);
    let ask = request("GET", "/healthz", port, &[], "");
    loop {
        // It listens before it is ready: most of the time is waited for in the answer and not in this loop.
        if let Ok(mut connection) = Connection::open(port).await
            && connection.send(&ask).await? == 200
        {
            return Ok((process, start.elapsed().as_secs_f64() * 1000.0));
        }
        if start.elapsed() > Duration::from_secs(10) {
            return Err("the server does not start".into());
        }
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
}
