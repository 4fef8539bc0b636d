//! File systems that others write to as well: over a network, or on the other side of a virtual machine's wall.
//! inotify(7) tells of what this machine does there, of nothing else.
//!
//! Only names them: what follows for a worktree, `watch` says.

use std::path::Path;

/// `f_type` of statfs(2), beside what out-of-tree kernel modules use.
#[cfg(target_os = "linux")]
const REMOTE: [(i64, &str); 13] = [
    (0x5346_414f, "AFS"),
    (0x00c3_6400, "Ceph"),
    (0xff53_4d42, "CIFS"),
    (0x7375_7245, "Coda"),
    (0x6573_5546, "FUSE"),
    (0x0bd0_0bd0, "Lustre"),
    (0x6969, "NFS"),
    (0x7461_636f, "OCFS2"),
    (0x517b, "SMB"),
    (0xfe53_4d42, "SMB2"),
    (0x786f_4256, "VirtualBox shared folders"),
    (0xbacb_acbc, "VMware shared folders"),
    (0x0102_1997, "9P"),
];

/// Returns the name of the file system that `path` lies on where others may write to it, as far as the system tells.
#[cfg(target_os = "linux")]
pub fn remote_kind(path: &Path) -> Option<&'static str> {
    let found = rustix::fs::statfs(path).ok()?;
    // As a number without a sign: some of them have 32 bits where the word has 32, too.
    #[allow(
        clippy::unnecessary_cast,
        reason = "the word's size is another on other processors"
    )]
    let magic = (found.f_type as i64) & 0xffff_ffff;
    let known = REMOTE.iter().find(|(number, _)| *number == magic);
    known.map(|(_, name)| *name)
}

/// Returns the name of the file system that `path` lies on where others may write to it, as far as the system tells.
#[cfg(not(target_os = "linux"))]
pub fn remote_kind(_: &Path) -> Option<&'static str> {
    None
}
