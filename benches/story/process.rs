//! What a process uses, as proc(5) tells.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// A process by its id.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process(pub(crate) u32);

/// What it uses now.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Use {
    /// Resident memory, MiB.
    pub(crate) rss: f64,
    /// The same with what is shared divided among those who share it.
    pub(crate) pss: f64,
    pub(crate) descriptors: usize,
    pub(crate) watches: usize,
}

/// What it did in a while.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Idle {
    pub(crate) wakeups_a_minute: f64,
    pub(crate) cpu_seconds_a_minute: f64,
}

impl Process {
    fn file(self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.0))
    }

    fn field(self, file: &str, name: &str) -> f64 {
        let text = fs::read_to_string(self.file(file)).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let word = line.and_then(|line| line.split_whitespace().next());
        word.and_then(|word| word.parse().ok()).unwrap_or(f64::NAN)
    }

    pub(crate) fn usage(self) -> Use {
        let fds = fs::read_dir(self.file("fdinfo")).unwrap().flatten();
        let texts: Vec<String> = fds
            .map(|fd| fs::read_to_string(fd.path()).unwrap_or_default())
            .collect();
        Use {
            rss: self.field("status", "VmRSS:") / 1024.0,
            pss: self.field("smaps_rollup", "Pss:") / 1024.0,
            descriptors: texts.len(),
            watches: texts
                .iter()
                .map(|it| it.matches("inotify wd:").count())
                .sum(),
        }
    }

    /// Times that each thread gave the processor up by itself: each is a wake-up that came to an end.
    fn waits(self) -> BTreeMap<OsString, f64> {
        let tasks = fs::read_dir(self.file("task")).unwrap().flatten();
        let of = |task: fs::DirEntry| {
            let file = format!("task/{}/status", task.file_name().to_string_lossy());
            (
                task.file_name(),
                self.field(&file, "voluntary_ctxt_switches:"),
            )
        };
        tasks.map(of).collect()
    }

    /// What the kernel says of it behind its name (proc(5), `stat`, from field 3 on); nothing of one that is gone.
    fn stat(self) -> Vec<String> {
        let text = fs::read_to_string(self.file("stat")).unwrap_or_default();
        let after_name = text.rsplit(") ").next().unwrap_or_default();
        after_name.split(' ').map(str::to_owned).collect()
    }

    /// In hundredths of a second (fields 14 and 15).
    fn ticks(self) -> f64 {
        let fields = self.stat().into_iter().skip(11).take(2);
        fields.map(|field| field.parse::<f64>().unwrap()).sum()
    }

    /// The time of the processor that it took up to now, and its children, those that ended (fields 14 to 17) and those that run.
    pub(crate) fn work(self) -> f64 {
        let own = self.stat().into_iter().skip(11).take(4);
        let own: f64 = own.map(|field| field.parse::<f64>().unwrap()).sum();
        let pids = fs::read_dir("/proc").unwrap().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let parent = self.0.to_string();
        let children = pids
            .map(Process)
            .filter(|child| child.stat().get(1) == Some(&parent));
        own + children.map(Self::ticks).sum::<f64>()
    }

    pub(crate) fn idle(self, during: Duration) -> Idle {
        let (waits, ticks) = (self.waits(), self.ticks());
        std::thread::sleep(during);
        let minutes = during.as_secs_f64() / 60.0;
        // A thread that ended meanwhile woke up at least once for that.
        let more = self.waits().into_iter().map(|(thread, now)| {
            let before = waits.get(&thread).copied().unwrap_or(0.0);
            now - before
        });
        Idle {
            wakeups_a_minute: more.sum::<f64>() / minutes,
            cpu_seconds_a_minute: (self.ticks() - ticks) / 100.0 / minutes,
        }
    }
}
