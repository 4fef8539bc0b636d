//! The least that a save could cost: one event of the kernel, the changed file read, one file renamed, and beside it the
//! start of one process of git.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use rustix::fs::inotify;

use crate::support::{median, ms, run, timed};

/// Milliseconds, medians.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Floor {
    pub(crate) event_read_rename: f64,
    pub(crate) git: f64,
}

pub(crate) fn measure(dir: &Path, rounds: usize) -> Floor {
    let (file, scratch, target) = (dir.join("saved"), dir.join("scratch"), dir.join("env"));
    fs::write(&file, "0").unwrap();
    let events = inotify::init(inotify::CreateFlags::empty()).unwrap();
    inotify::add_watch(&events, &file, inotify::WatchFlags::CLOSE_WRITE).unwrap();
    let once = || {
        fs::write(&file, "value = 1\n".repeat(20)).unwrap();
        let began = Instant::now();
        let mut buffer = [std::mem::MaybeUninit::uninit(); 512];
        inotify::Reader::new(&events, &mut buffer).next().unwrap();
        let text = fs::read(&file).unwrap();
        fs::write(&scratch, text).unwrap();
        fs::rename(&scratch, &target).unwrap();
        ms(began.elapsed())
    };
    let steps: Vec<f64> = (0..rounds).map(|_| once()).collect();
    let git = || ms(timed(|| run(Command::new("git").arg("--version"), dir)));
    let git: Vec<f64> = (0..rounds).map(|_| git()).collect();
    Floor {
        event_read_rename: median(&steps),
        git: median(&git),
    }
}
