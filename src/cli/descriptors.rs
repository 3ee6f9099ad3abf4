//! File descriptors: as many as the system gives, and what connections may not take of them.

/// As many as there is a use for.
const WANTED: u64 = 16_384;
/// Kept for the database, the notices on their way (up to 448 wait for an answer at the same time), and the files.
const KEPT: usize = 640;

/// Raises the soft limit, and says how many connections there may be at the same time. Where there are few descriptors, half are kept.
pub(super) fn for_connections() -> usize {
    let all = rlimit::increase_nofile_limit(WANTED).or_else(|_| rlimit::Resource::NOFILE.get_soft());
    let all = all.map_or(KEPT, |all| usize::try_from(all).unwrap_or(usize::MAX));
    all - KEPT.min(all / 2)
}
