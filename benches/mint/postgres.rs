//! A PostgreSQL cluster of this run's own, as durable as PostgreSQL is by default.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::Outcome;
use crate::machine::said;
use crate::provider::free_port;

const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

/// There is no PostgreSQL 15 here.
#[derive(Debug, thiserror::Error)]
#[error(
    "PostgreSQL 15 is not installed ({PROGRAMS}/initdb); run: apt-get install -y --no-install-recommends postgresql-15\n\
     or measure without it: cargo bench --bench mint -- --sqlite"
)]
pub(crate) struct Missing;

pub(crate) struct Cluster {
    postmaster: Child,
    port: u16,
    _folder: TempDir,
}

impl Cluster {
    pub(crate) async fn start(parent: &Path) -> Outcome<Self> {
        if !Path::new(PROGRAMS).join("initdb").exists() {
            return Err(Missing.into());
        }
        let folder = tempfile::Builder::new().prefix("avouch-bench-pg.").tempdir_in(parent)?;
        let path = folder.path();
        // Of this cluster, on loopback, for the length of this run.
        std::fs::write(path.join("password"), "bench")?;
        // PostgreSQL refuses to run as root.
        let user = if std::fs::metadata("/proc/self")?.uid() == 0 {
            let user = if said("id", ["-u", "postgres"]).is_ok() { "postgres" } else { "nobody" };
            said("chown", ["-R".as_ref(), user.as_ref(), path.as_os_str()])?;
            Some((user, said("id", ["-g", user])?))
        } else {
            None
        };
        let program = |name: &str| {
            let program = Path::new(PROGRAMS).join(name);
            let Some((user, group)) = &user else { return Command::new(program) };
            let mut command = Command::new("setpriv");
            command.arg(format!("--reuid={user}")).arg(format!("--regid={group}")).arg("--clear-groups").arg(program);
            command
        };
        let mut initdb = program("initdb");
        initdb.args(["-D", "data", "--username=avouch", "--pwfile=password", "--auth=password", "--encoding=UTF8"]);
        let made = initdb.args(["--locale=C", "--no-sync"]).current_dir(path).output()?;
        if !made.status.success() {
            return Err(format!("initdb: {}", String::from_utf8_lossy(&made.stderr)).into());
        }
        let port = free_port()?;
        let mut postgres = program("postgres");
        postgres.args(["-D", "data", "-c", "listen_addresses=127.0.0.1", "-c", "log_min_messages=fatal"]);
        postgres.arg("-c").arg(format!("unix_socket_directories={}", path.display()));
        postgres.arg("-p").arg(port.to_string()).current_dir(path);
        let postmaster = postgres.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let cluster = Self { postmaster, port, _folder: folder };
        cluster.answers().await?;
        Ok(cluster)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.postmaster.id()
    }

    /// Makes a database. Answers with its URL.
    pub(crate) async fn database(&self, name: &str) -> Outcome<String> {
        use sqlx::Connection as _;
        let mut admin = sqlx::PgConnection::connect(&self.url("postgres")).await?;
        sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut admin).await?;
        admin.close().await?;
        Ok(self.url(name))
    }

    fn url(&self, name: &str) -> String {
        format!("postgres://avouch:bench@127.0.0.1:{}/{name}", self.port)
    }

    async fn answers(&self) -> Outcome<()> {
        use sqlx::Connection as _;
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match sqlx::PgConnection::connect(&self.url("postgres")).await {
                Ok(connection) => return Ok(connection.close().await?),
                Err(error) if Instant::now() > deadline => {
                    return Err(format!("PostgreSQL does not start: {error}").into());
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // SIGQUIT ends the postmaster and its children at once; SIGKILL would leave them behind.
        let _ = said("kill", ["-QUIT", &self.pid().to_string()]);
        let _ = self.postmaster.wait();
    }
}
