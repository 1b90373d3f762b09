//! What the figures were taken on, and who else used it meanwhile.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

/// Clock ticks a second in `/proc`: the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// Facts of the machine.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) n_cores: usize,
    pub(crate) cpu: String,
    pub(crate) kernel: String,
    pub(crate) memory_mib: f64,
    /// Of the folder that holds the database.
    pub(crate) file_system: String,
    /// Processes that wanted to run, over the last minute, before anything was started.
    pub(crate) load_before: f64,
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim())
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The file system of the deepest mount that holds `folder`.
fn file_system(mounts: &str, folder: &Path) -> String {
    let mut best = (0, "unknown");
    for line in mounts.lines() {
        let mut words = line.split(' ').skip(1);
        let (Some(at), Some(kind)) = (words.next(), words.next()) else { continue };
        if folder.starts_with(at) && at.len() >= best.0 {
            best = (at.len(), kind);
        }
    }
    best.1.to_owned()
}

impl Machine {
    /// Of this machine; `folder` holds the database.
    pub(crate) fn look(folder: &Path) -> Self {
        let load = read("/proc/loadavg");
        Self {
            n_cores: n_cores(),
            cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or("unknown").to_owned(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            memory_mib: kib_in(&read("/proc/meminfo"), "MemTotal") / 1024.0,
            file_system: file_system(&read("/proc/mounts"), folder),
            load_before: load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0),
        }
    }
}

/// How many cores this process may use.
pub(crate) fn n_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn kib_in(text: &str, name: &str) -> f64 {
    let value = field(text, name).and_then(|value| value.split(' ').next());
    value.and_then(|kib| kib.parse().ok()).unwrap_or(0.0)
}

/// Memory of a process in MiB: (resident now, resident at most).
pub(crate) fn memory_mib(process: u32) -> (f64, f64) {
    let status = read(&format!("/proc/{process}/status"));
    (kib_in(&status, "VmRSS") / 1024.0, kib_in(&status, "VmHWM") / 1024.0)
}

/// How many threads a process has.
pub(crate) fn n_threads(process: u32) -> f64 {
    let status = read(&format!("/proc/{process}/status"));
    field(&status, "Threads").and_then(|n| n.parse().ok()).unwrap_or(0.0)
}

/// How many files and sockets a process has open.
pub(crate) fn n_open_files(process: u32) -> f64 {
    let open = fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count);
    u32::try_from(open).map_or(f64::INFINITY, f64::from)
}

/// Processor time of a process in seconds, its threads together.
pub(crate) fn cpu_seconds(process: u32) -> f64 {
    cpu_words(process, 2)
}

/// The sum of the first words of utime, stime, and the same of the children that have ended.
fn cpu_words(process: u32, n_words: usize) -> f64 {
    let stat = read(&format!("/proc/{process}/stat"));
    // The name, in brackets, may hold blanks; the four are the 12th to 15th words after it.
    let words = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().skip(11).take(n_words);
    words.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS_PER_SECOND
}

/// Seconds in which any core was busy, all processes and the host's theft together.
fn busy_seconds() -> f64 {
    let stat = read("/proc/stat");
    let words = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<f64> = words.filter_map(|ticks| ticks.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal
    let busy = ticks.iter().take(8).enumerate().filter(|(at, _)| *at != 3 && *at != 4);
    busy.map(|(_, ticks)| ticks).sum::<f64>() / TICKS_PER_SECOND
}

/// Tells how much of the machine other processes had during a period. The hubs begun in it must have ended.
pub(crate) struct Watch {
    begun: Instant,
    busy: f64,
    own: f64,
}

impl Watch {
    /// Begins.
    pub(crate) fn begin() -> Self {
        Self { begun: Instant::now(), busy: busy_seconds(), own: cpu_words(std::process::id(), 4) }
    }

    /// How many cores others kept busy on average since, and how long that was.
    pub(crate) fn others(&self) -> (f64, Duration) {
        let took = self.begun.elapsed();
        let own = cpu_words(std::process::id(), 4) - self.own;
        let others = busy_seconds() - self.busy - own;
        (others.max(0.0) / took.max(Duration::from_millis(1)).as_secs_f64(), took)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_mount_holds_a_folder() {
        let mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\nproc /proc proc rw 0 0\n";
        for (folder, expected) in [("/tmp/a", "tmpfs"), ("/tmpfile", "ext4"), ("/var/tmp", "ext4")] {
            assert_eq!(file_system(mounts, Path::new(folder)), expected, "{folder}");
        }
    }

    #[test]
    fn reads_its_own_memory() {
        let (now, most) = memory_mib(std::process::id());
        assert!(now > 0.5 && most >= now, "{now} {most}");
        assert!(n_threads(std::process::id()) >= 1.0 && n_open_files(std::process::id()) >= 3.0);
    }
}
