//! The disks and folders of `doctor`.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, access as may, statvfs};

use super::{Finding, Health};
use crate::model::units::show_bytes;

/// Repositories of a cache that are looked at.
const MOST: usize = 10_000;

/// Space, inodes and permissions where files will lie.
pub(super) fn look(path: &Path, floor: impl Fn(u64) -> u64) -> Vec<Finding> {
    let shown = path.display();
    let there: PathBuf = path
        .ancestors()
        .find(|path| path.is_dir())
        .unwrap_or(Path::new("/"))
        .to_owned();
    let mut findings = Vec::new();
    match may(&there, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => findings.push(Finding::ok("folder", format!("{shown} can be written"))),
        Err(error) => findings.push(Finding::new(
            "folder",
            Health::Broken,
            format!("the daemon may not write to {}: {error}", there.display()),
            "make it writable for the daemon's user, or choose another storage.cache",
        )),
    }
    findings.extend(foreign(path));
    match statvfs(&there) {
        Err(error) => findings.push(Finding::new(
            "disk",
            Health::Broken,
            format!("the file system of {shown} does not answer: {error}"),
            "look whether it is mounted",
        )),
        Ok(space) => {
            let (free, total) = (
                space.f_bavail.saturating_mul(space.f_frsize),
                space.f_blocks.saturating_mul(space.f_frsize),
            );
            let floor = floor(total);
            let text = format!(
                "{} are free for {shown}, {} must stay",
                show_bytes(free),
                show_bytes(floor)
            );
            findings.push(match free > floor {
                true => Finding::ok("disk", text),
                false => Finding::new(
                    "disk",
                    Health::Broken,
                    text,
                    "free space, or lower storage.min_free; jobs are held until then",
                ),
            });
            // File systems without a table of inodes say 0.
            if space.f_files > 0 && space.f_favail < space.f_files / 100 {
                findings.push(Finding::new(
                    "inodes",
                    Health::Broken,
                    format!("{} of {} inodes are free for {shown}", space.f_favail, space.f_files),
                    "remove small files, or use another file system",
                ));
            }
        }
    }
    findings
}

/// Folders of a cache that somebody else has made, so that nothing can be added to them: of Python clients that ran as another
/// user, for example.
fn foreign(cache: &Path) -> Option<Finding> {
    let entries = std::fs::read_dir(cache).into_iter().flatten().flatten();
    let folders = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .take(MOST);
    let places = folders.flat_map(|folder| {
        [
            folder.join("blobs"),
            folder.join("snapshots"),
            folder.join("refs"),
            folder,
        ]
    });
    let closed: Vec<PathBuf> = places
        .filter(|path| path.is_dir() && may(path, Access::WRITE_OK | Access::EXEC_OK).is_err())
        .collect();
    let first = closed.first()?;
    let more = match closed.len() {
        1 => String::new(),
        count => format!(" and to {} more folders of this cache", count - 1),
    };
    Some(Finding::new(
        "folder",
        Health::Warning,
        format!("the daemon may not write to {}{more}", first.display()),
        "give them to the daemon's user (chown -R), or jobs for these repositories fail",
    ))
}
