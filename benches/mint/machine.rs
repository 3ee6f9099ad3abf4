//! What the kernel says of processes, and what this machine is.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use crate::Outcome;

/// Where the servers run with `--pin`.
pub(crate) const SERVER_CORE: &str = "0";
/// Where everything else runs with `--pin`.
pub(crate) const LOAD_CORE: &str = "1";

/// Keeps this process on a core.
pub(crate) fn stay_on(core: &str) -> Outcome<()> {
    let pid = std::process::id().to_string();
    said("taskset", ["-acp", core, &pid])
        .map(drop)
        .map_err(|e| format!("--pin needs two cores and taskset: {e}").into())
}

/// A command that runs on a core, if one is named.
pub(crate) fn command_on(core: Option<&str>, program: &OsStr) -> Command {
    let Some(core) = core else { return Command::new(program) };
    let mut command = Command::new("taskset");
    command.args(["-c", core]).arg(program);
    command
}

/// What a command prints.
pub(crate) fn said<S: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = S>) -> Outcome<String> {
    let output = Command::new(program).args(args).output().map_err(|e| format!("{program}: {e}"))?;
    if !output.status.success() {
        return Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Reads the CPU time of processes.
#[derive(Clone, Copy)]
pub(crate) struct Meter {
    /// Of one tick of `/proc/PID/stat`.
    pub(crate) micros_per_tick: u64,
}

impl Meter {
    pub(crate) fn new() -> Outcome<Self> {
        let ticks: u64 = said("getconf", ["CLK_TCK"])?.parse()?;
        Ok(Self { micros_per_tick: 1_000_000 / ticks })
    }

    /// Microseconds of CPU, in user and kernel, that a process has used.
    pub(crate) fn used(self, pid: u32) -> u64 {
        stat(pid).map_or(0, |s| s.own) * self.micros_per_tick
    }

    /// The same of a process, its children, and its children that have ended.
    pub(crate) fn used_by_family(self, pid: u32) -> u64 {
        let Some(parent) = stat(pid) else { return 0 };
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let children: u64 = pids.filter_map(stat).filter(|s| s.parent == pid).map(|s| s.own).sum();
        (parent.own + parent.ended + children) * self.micros_per_tick
    }
}

struct Stat {
    parent: u32,
    /// utime + stime.
    own: u64,
    /// cutime + cstime.
    ended: u64,
}

/// proc(5), `/proc/PID/stat`: the fields after the name, which is in parentheses.
fn stat(pid: u32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |n: usize| fields.get(n - 3)?.parse::<u64>().ok();
    Some(Stat {
        parent: u32::try_from(number(4)?).ok()?,
        own: number(14)? + number(15)?,
        ended: number(16)? + number(17)?,
    })
}

/// Nanoseconds that this thread has run.
pub(crate) fn thread_nanos() -> u64 {
    nanos(Path::new("/proc/thread-self"))
}

/// The number of this thread.
pub(crate) fn thread_id() -> Option<u64> {
    std::fs::read_link("/proc/thread-self").ok()?.file_name()?.to_str()?.parse().ok()
}

/// Nanoseconds that a thread of this process has run.
pub(crate) fn nanos_of(thread: u64) -> u64 {
    nanos(&Path::new("/proc/self/task").join(thread.to_string()))
}

/// Nanoseconds that the threads of a process have run which are still there: for an idle one, whose ticks are too few to count.
pub(crate) fn process_nanos(pid: u32) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.map(|thread| nanos(&thread.path())).sum()
}

fn nanos(thread: &Path) -> u64 {
    let text = std::fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
    text.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// A line of `/proc/PID/status`, such as `VmRSS`, in MiB.
pub(crate) fn memory(pid: u32, line: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib =
        text.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(':')?.split_whitespace().next()?.parse().ok());
    kib.map_or(0.0, |kib: f64| kib / 1024.0)
}

/// The machine in two lines.
pub(crate) fn description(folder: &Path, meter: Meter) -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|l| l.strip_prefix("model name")?.split_once(": ")).map_or("unknown CPU", |m| m.1);
    let cores = cpu.lines().filter(|l| l.starts_with("processor")).count();
    let now = chrono::DateTime::from_timestamp(avouch::clock::Clock::System.now().0, 0);
    let kernel = said("uname", ["-sr"]).unwrap_or_default();
    let disk = said("stat", [OsStr::new("-f"), OsStr::new("-c"), OsStr::new("%T"), folder.as_os_str()]);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!(
        "{} · {cores} cores, {model} · {kernel} · databases on {} · {}\nload average before the run {} · CPU time in ticks of {} ms",
        now.map(|t| t.format("%Y-%m-%d %H:%M UTC").to_string()).unwrap_or_default(),
        disk.unwrap_or_default(),
        said("rustc", ["-V"]).unwrap_or_default(),
        load.split_whitespace().next().unwrap_or_default(),
        meter.micros_per_tick / 1000,
    )
}
