//! `hfctl daemon start`: runs hfetchd in the background and waits until it answers.

use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hfetch_proto::v1::GetServerInfoResponse;
use tokio::time::Instant;

use super::{LOG_FILE, added_since, last_lines, server_info, server_info_if_it_lives, state_dir};
use crate::cli::StartArgs;
use crate::connect::{self, Address};
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::paths::{self, Env, process_env};
use crate::retry::Backoff;
use crate::view::json::ServerJson;

/// How long a daemon may take to answer, as with systemd's units. Opening the database and healing after a crash are quick; a new
/// version copies the database first, and a disk may be busy.
const PATIENCE: Duration = Duration::from_secs(90);
/// After this the waiting is told.
const UNUSUAL: Duration = Duration::from_secs(5);
/// hfetchd's exit code for a state directory that another daemon holds.
const BUSY: i32 = 75;

pub(super) async fn run(context: &Context, args: &StartArgs) -> Result<Exit, CliError> {
    let state_dir = state_dir(context, &args.place)?;
    let socket = socket(context, args, &state_dir)?;
    if let Some(info) = running(&socket).await? {
        context.out.note(&format!(
            "hfetchd is running already (pid {}), at unix:{}",
            info.pid,
            socket.display()
        ));
        if context.out.json {
            context.out.answer_json(&ServerJson::new(info))?;
        }
        return Ok(Exit::Done);
    }
    let program = find_program(std::env::current_exe().ok().as_deref(), &process_env)?;
    let log_path = state_dir.join(LOG_FILE);
    let log = open_log(&state_dir, &log_path)
        .map_err(|error| CliError::new(Exit::Failed, format!("cannot open {}: {error}", log_path.display())))?;
    let log_begins = log.metadata().map(|meta| meta.len()).unwrap_or(0);
    let mut child = spawn(context, args, &program, &socket, log)
        .map_err(|error| CliError::new(Exit::Failed, format!("cannot start {}: {error}", program.display())))?;
    context.on_interrupt(format!("interrupted; hfetchd (pid {}) goes on starting", child.id()));
    let unusual = || {
        context
            .out
            .note(&format!("hfetchd is still starting; its log is {}", log_path.display()))
    };
    let daemon = wait_for_answer(&mut child, &socket, unusual)
        .await
        .map_err(|failure| explain(failure, &log_path, log_begins))?;
    let info = server_info(&daemon).await?;
    let (pid, log) = (info.pid, log_path.display());
    context.out.note(&format!(
        "hfetchd runs (pid {pid}) at unix:{}; its log is {log}",
        socket.display()
    ));
    if !context.addresses()?.contains(&Address::Socket(socket.clone())) {
        context.out.note(&format!(
            "reach it with: export HFCTL_ADDRESS=unix:{}",
            socket.display()
        ));
    }
    if context.out.json {
        context.out.answer_json(&ServerJson::new(info))?;
    }
    Ok(Exit::Done)
}

/// What a daemon that listens there already says. One that was killed a moment ago still accepts, and answers no more: it is
/// gone when this returns.
async fn running(socket: &Path) -> Result<Option<GetServerInfoResponse>, CliError> {
    let (began, mut backoff) = (Instant::now(), Backoff::default());
    while let Ok(daemon) = connect::dial_local(socket).await {
        let info = server_info_if_it_lives(&daemon).await?;
        if info.is_some() || began.elapsed() > UNUSUAL {
            return Ok(info);
        }
        tokio::time::sleep(backoff.step().min(Duration::from_millis(50))).await;
    }
    Ok(None)
}

/// Where the new daemon will listen: the rule of hfetchd itself, unless an option or the address says otherwise.
fn socket(context: &Context, args: &StartArgs, state_dir: &Path) -> Result<PathBuf, CliError> {
    if let Some(socket) = &args.socket {
        return Ok(paths::absolute(socket, &context.cwd, &process_env));
    }
    if let Some(address) = context.address.as_deref().filter(|text| !text.is_empty()) {
        return match connect::parse_address(address, &context.cwd, &process_env)? {
            Address::Socket(path) => Ok(path),
            Address::Remote(_) => Err(CliError::usage("a daemon of another machine is started there")),
        };
    }
    if args.place.state_dir.is_some() {
        return Ok(state_dir.join("hfetchd.sock"));
    }
    match paths::non_empty(&process_env, "XDG_RUNTIME_DIR").filter(|dir| dir.starts_with('/')) {
        Some(dir) => Ok(PathBuf::from(dir).join("hfetch/hfetchd.sock")),
        None => Ok(state_dir.join("hfetchd.sock")),
    }
}

/// hfetchd beside hfctl, else in PATH: an unpacked archive or a cargo target directory must not start another version.
fn find_program(own: Option<&Path>, env: Env<'_>) -> Result<PathBuf, CliError> {
    let beside = own.and_then(Path::parent).map(|dir| dir.join("hfetchd"));
    let in_path = paths::non_empty(env, "PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&in_path).map(|dir| dir.join("hfetchd"));
    beside
        .into_iter()
        .chain(in_path)
        .find(|path| path.is_file())
        .ok_or_else(|| {
            CliError::new(Exit::Failed, "hfetchd is neither beside hfctl nor in PATH")
                .hint("install it, or add it to PATH")
        })
}

fn open_log(state_dir: &Path, log: &Path) -> io::Result<File> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state_dir)?;
    File::options().create(true).append(true).mode(0o600).open(log)
}

/// Whether the configuration that a daemon would start with is in order.
pub(super) fn check(context: &Context, args: &StartArgs) -> Result<(), CliError> {
    let program = find_program(std::env::current_exe().ok().as_deref(), &process_env)?;
    let checked = command(context, args, &program).arg("--check-config").output();
    let checked =
        checked.map_err(|error| CliError::new(Exit::Failed, format!("cannot start {}: {error}", program.display())))?;
    if checked.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&checked.stderr);
    let message = format!(
        "hfetchd would not start again with this configuration; nothing was stopped:\n{}",
        said.trim_end()
    );
    Err(CliError::new(Exit::Failed, message))
}

/// hfetchd with the options that it is started with and the environment that is meant for it.
fn command(context: &Context, args: &StartArgs, program: &Path) -> Command {
    let mut command = Command::new(program);
    for config in &args.config {
        command
            .arg("--config")
            .arg(paths::absolute(config, &context.cwd, &process_env));
    }
    if let Some(dir) = &args.place.state_dir {
        command
            .arg("--state-dir")
            .arg(paths::absolute(dir, &context.cwd, &process_env));
    }
    // Variables of a unit that we may run in would make it a system daemon, or let it talk to our service manager.
    for name in [
        "STATE_DIRECTORY",
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        "LISTEN_FDS",
        "LISTEN_PID",
        "JOURNAL_STREAM",
        "INVOCATION_ID",
    ] {
        command.env_remove(name);
    }
    // Jobs carry the token of their submitter; a daemon that lives for weeks needs none in its environment.
    for name in ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"] {
        command.env_remove(name);
    }
    // The daemon leaves our directory, so that it does not keep a file system busy; relative paths must survive that.
    for name in ["HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"] {
        if let Some(path) = context
            .env(name)
            .filter(|path| !path.is_empty() && !path.starts_with(['/', '~', '$']))
        {
            command.env(name, paths::absolute(&path, &context.cwd, &process_env));
        }
    }
    // As its units have it: an arena of the allocator for each thread keeps half as much again.
    if context.env("MALLOC_ARENA_MAX").is_none() {
        command.env("MALLOC_ARENA_MAX", "2");
    }
    command.current_dir("/").stdin(Stdio::null());
    command
}

fn spawn(context: &Context, args: &StartArgs, program: &Path, socket: &Path, log: File) -> io::Result<Child> {
    let mut command = command(context, args, program);
    if args.socket.is_some() || context.address.as_deref().is_some_and(|text| !text.is_empty()) {
        command.arg("--socket").arg(socket);
    }
    let errors = log.try_clone()?;
    // A process group of its own: Ctrl-C in this terminal is not meant for it.
    command.stdout(log).stderr(errors).process_group(0).spawn()
}

enum StartFailure {
    Exited(std::process::ExitStatus),
    Silent(u32),
    Unwatchable(io::Error),
}

async fn wait_for_answer(
    child: &mut Child,
    socket: &Path,
    unusual: impl FnOnce(),
) -> Result<connect::Daemon, StartFailure> {
    let started = Instant::now();
    let mut backoff = Backoff::default();
    let mut unusual = Some(unusual);
    loop {
        if let Ok(daemon) = connect::dial_local(socket).await {
            return Ok(daemon);
        }
        if let Some(status) = child.try_wait().map_err(StartFailure::Unwatchable)? {
            return Err(StartFailure::Exited(status));
        }
        if started.elapsed() > PATIENCE {
            return Err(StartFailure::Silent(child.id()));
        }
        if started.elapsed() > UNUSUAL
            && let Some(tell) = unusual.take()
        {
            tell();
        }
        tokio::time::sleep(backoff.step().min(Duration::from_millis(200))).await;
    }
}

fn explain(failure: StartFailure, log: &Path, log_begins: u64) -> CliError {
    let lines = last_lines(&String::from_utf8_lossy(&added_since(log, log_begins)), 20);
    let with_log = |message: String| match lines.is_empty() {
        true => message,
        false => format!("{message}; its last words:\n{lines}"),
    };
    let see_log = format!("the whole log is {}", log.display());
    match failure {
        StartFailure::Exited(status) if status.code() == Some(BUSY) => CliError::new(
            Exit::Failed,
            with_log("another hfetchd holds this state directory".to_owned()),
        )
        .hint("`hfctl daemon status` finds it when it listens at the usual place"),
        StartFailure::Exited(status) => {
            CliError::new(Exit::Failed, with_log(format!("hfetchd did not start ({status})"))).hint(see_log)
        }
        StartFailure::Silent(pid) => {
            let message = format!("hfetchd (pid {pid}) does not answer after {} s", PATIENCE.as_secs());
            CliError::new(Exit::Failed, with_log(message)).hint(see_log)
        }
        StartFailure::Unwatchable(error) => {
            CliError::new(Exit::Failed, format!("cannot watch hfetchd start: {error}")).hint(see_log)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_neighbour_comes_before_path() {
        let dir = tempfile::tempdir().expect("a directory");
        let (own, other) = (dir.path().join("own"), dir.path().join("other"));
        for place in [&own, &other] {
            std::fs::create_dir(place).expect("a directory");
            std::fs::write(place.join("hfetchd"), "").expect("a file");
        }
        let path = other.display().to_string();
        let env = |name: &str| (name == "PATH").then(|| path.clone());
        let find = |own: &Path| find_program(Some(&own.join("hfctl")), &env).expect("there is one");
        assert_eq!(find(&own), own.join("hfetchd"));
        assert_eq!(find(dir.path()), other.join("hfetchd"));
        assert_eq!(find_program(None, &|_| None).unwrap_err().exit(), Exit::Failed);
    }

    #[test]
    fn the_log_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a directory");
        let state = dir.path().join("a/hfetch");
        let log = open_log(&state, &state.join(LOG_FILE)).expect("a log");
        let mode = |meta: std::fs::Metadata| meta.permissions().mode() & 0o777;
        assert_eq!(mode(log.metadata().expect("a file")), 0o600);
        assert_eq!(mode(state.metadata().expect("a directory")), 0o700);
    }
}
