//! Programs of the distribution that refuse to run as root.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// Runs them where the tests run as root; the distribution's package made this user.
const USER: &str = "postgres";

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// A command that is no longer root, and that gets the named signal when the test ends, however that ends.
pub(super) fn command(program: &Path, last_signal: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", last_signal]);
    if is_root() {
        command.args(["--reuid", USER, "--regid", USER, "--clear-groups"]);
    }
    command.arg(program).stdin(Stdio::null()).current_dir("/");
    command
}

/// Runs a command to its end; panics with what it said if that is not a good one.
pub(super) fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} ended with {}: {said}", output.status);
}

/// A temporary folder in which such a program may write.
pub(super) fn own_folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("casewire-pg-").tempdir().expect("a temporary folder");
    hand_over(folder.path());
    folder
}

/// Makes a folder theirs, with what is in it.
pub(super) fn hand_over(folder: &Path) {
    if is_root() {
        run(Command::new("chown").args(["-R", USER]).arg(folder));
    }
}
