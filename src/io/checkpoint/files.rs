//! A set of files that changes at one moment: written aside, committed by a rename, moved to their places.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{CONFIG, LOG, MODEL, STATE, VOCABULARIES};
use crate::{Error, Result};

/// Where files are written. Whatever is in it counts for nothing.
pub(super) const WRITING: &str = ".writing";
/// Where they are once all are written: each of them is the one that counts.
pub(super) const DONE: &str = ".done";

pub(super) const FILES: [&str; 5] = [MODEL, CONFIG, VOCABULARIES, STATE, LOG];

fn fault(path: &Path) -> impl Fn(std::io::Error) -> Error {
    move |source| Error::Io { path: path.into(), source }
}

/// Writes all files by `fill`, into the directory that it is given, and puts them in the place of the former ones.
pub(super) fn replace(dir: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    recover(dir)?;
    let (writing, done) = (dir.join(WRITING), dir.join(DONE));
    let write = || {
        fs::create_dir(&writing).map_err(fault(&writing))?;
        fill(&writing)?;
        sync(&writing)?;
        fs::rename(&writing, &done).map_err(fault(&done))
    };
    if let Err(error) = write() {
        // What cannot be removed now is removed by the next save, and read by nobody.
        let _ = fs::remove_dir_all(&writing);
        return Err(explain(error, dir));
    }
    sync(dir)?;
    settle(dir)
}

/// The error with the name that the file was to get, and what has become of the former one.
fn explain(error: Error, dir: &Path) -> Error {
    let place = |path: PathBuf| match path.file_name() {
        Some(name) if path.starts_with(dir.join(WRITING)) => dir.join(name),
        _ => path,
    };
    match error {
        Error::Io { path, source } => {
            let kept = if exists(dir, CONFIG) { "the checkpoint that was there is kept" } else { "no checkpoint was written" };
            // The crate tempfile adds the name of a file that is gone by now.
            let what = source.to_string();
            let what = what.split(" at path \"").next().unwrap_or_default();
            Error::Io { path: place(path), source: std::io::Error::new(source.kind(), format!("{what}; {kept}")) }
        }
        Error::Format { path, message } => Error::Format { path: place(path), message },
        other => other,
    }
}

/// Ends what a process that died has begun: what was complete takes its place, what was not is removed.
pub(super) fn recover(dir: &Path) -> Result<()> {
    let writing = dir.join(WRITING);
    match fs::remove_dir_all(&writing) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(fault(&writing)(error)),
        _ => {}
    }
    settle(dir)
}

/// Moves what is complete to its place.
fn settle(dir: &Path) -> Result<()> {
    let done = dir.join(DONE);
    if !done.is_dir() {
        return Ok(());
    }
    for name in FILES {
        match fs::rename(done.join(name), dir.join(name)) {
            // It has been moved already.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            moved => moved.map_err(fault(&dir.join(name)))?,
        }
    }
    sync(dir)?;
    fs::remove_dir(&done).map_err(fault(&done))
}

/// Fails where files cannot be written.
pub(super) fn try_writing(dir: &Path) -> Result<()> {
    let writing = dir.join(WRITING);
    fs::create_dir(&writing).and_then(|()| fs::remove_dir(&writing)).map_err(fault(dir))
}

/// Whether there is such a file.
pub(super) fn exists(dir: &Path, name: &str) -> bool {
    dir.join(DONE).join(name).is_file() || dir.join(name).is_file()
}

/// What `read` makes of the file that counts. Errors name the place where it belongs.
pub(super) fn find<T>(dir: &Path, name: &str, read: impl Fn(&Path) -> Result<T>) -> Result<T> {
    match read(&dir.join(DONE).join(name)) {
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => read(&dir.join(name)),
        Err(Error::Io { source, .. }) => Err(fault(&dir.join(name))(source)),
        Err(Error::Format { message, .. }) => Err(Error::Format { path: dir.join(name), message }),
        other => other,
    }
}

/// The text of the file that counts.
pub(super) fn text(dir: &Path, name: &str) -> Result<String> {
    find(dir, name, |path| {
        let bytes = fs::read(path).map_err(fault(path))?;
        String::from_utf8(bytes).map_err(|_| Error::Format { path: path.into(), message: "no UTF-8".into() })
    })
}

/// Sees to it that a directory's names are on the disk, where the system lets one ask for that.
fn sync(dir: &Path) -> Result<()> {
    if cfg!(unix) {
        fs::File::open(dir).and_then(|open| open.sync_all()).map_err(fault(dir))?;
    }
    Ok(())
}
