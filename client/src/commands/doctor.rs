//! `hfctl doctor`: what is wrong, and what to do. What the daemon sees, and what only the caller's shell knows.

use std::path::{Path, PathBuf};

use hfetch_proto::v1::{ExamineRequest, Finding, GetServerInfoResponse};

use super::daemon::server_info;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::paths::{self, process_env};
use crate::spec;
use crate::token::{self, Token};
use crate::view::doctor;

/// Scripts that are looked at; more would take long and tell nothing new.
const MOST_SCRIPTS: usize = 2000;
/// A longer script is none.
const LARGEST_SCRIPT: u64 = 1 << 20;

pub(super) async fn run(context: &Context) -> Result<Exit, CliError> {
    let mut findings = Vec::new();
    match context.dial().await {
        Err(error) => findings.push(unreachable(&error)),
        Ok(daemon) => {
            let info = server_info(&daemon).await?;
            findings.extend(of_daemon(&info));
            findings.extend(of_shell(context, &info));
            let token = token::find(None, None, &context.cwd, &process_env, &token::read_file)?;
            let request = ExamineRequest {
                preferred_endpoint: spec::preferred_endpoint(&process_env),
                token: Token::for_wire(token),
                no_login: spec::no_login(&process_env),
            };
            findings.extend(daemon.doctor().examine(request).await?.into_inner().findings);
            let cache = PathBuf::from(&info.cache);
            let scripts = tokio::task::spawn_blocking(move || scripts(&cache)).await;
            findings.extend(scripts.unwrap_or_default());
        }
    }
    let broken = findings.iter().filter(|finding| finding.status == "broken").count();
    doctor::tell(&context.out, findings)?;
    Ok(if broken > 0 { Exit::Failed } else { Exit::Done })
}

fn finding(check: &str, status: &str, message: String, hint: &str) -> Finding {
    Finding {
        check: check.to_owned(),
        status: status.to_owned(),
        message,
        hint: hint.to_owned(),
    }
}

fn unreachable(error: &CliError) -> Finding {
    finding(
        "daemon",
        "broken",
        error.to_string(),
        "start one with `hfctl daemon start`, or point HFCTL_ADDRESS at it",
    )
}

fn of_daemon(info: &GetServerInfoResponse) -> Vec<Finding> {
    let own = env!("CARGO_PKG_VERSION");
    let running = format!("hfetchd {} runs (pid {}, {} mode)", info.version, info.pid, info.mode);
    let mut findings = vec![finding("daemon", "ok", running, "")];
    if info.version != own {
        findings.push(finding(
            "version",
            "warning",
            format!("hfctl is {own}, hfetchd {}", info.version),
            "install both from one version, then restart the daemon",
        ));
    }
    findings
}

/// Where the shell and the daemon want different things.
fn of_shell(context: &Context, info: &GetServerInfoResponse) -> Vec<Finding> {
    let mut findings = Vec::new();
    let wanted = spec::preferred_endpoint(&process_env);
    if !wanted.is_empty() && !info.endpoints.contains(&wanted) {
        findings.push(finding(
            "hf_endpoint",
            "warning",
            format!(
                "HF_ENDPOINT of this shell is {wanted}, the daemon's endpoints are {}",
                info.endpoints.join(", ")
            ),
            "jobs of this shell use HF_ENDPOINT where the daemon allows it; unset it, or add it to [[endpoints]]",
        ));
    }
    if let Some(cache) = paths::callers_cache(&context.cwd, &process_env)
        && cache != Path::new(&info.cache)
    {
        findings.push(finding(
            "cache",
            "warning",
            format!(
                "the cache of this shell is {}, the daemon's is {}",
                cache.display(),
                info.cache
            ),
            "Python looks into the shell's; make HF_HUB_CACHE and storage.cache the same",
        ));
    }
    findings
}

/// Data sets whose loading scripts name the Hub in their own code: no HF_ENDPOINT and no cache keeps them from asking it.
fn scripts(cache: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut looked_at = 0;
    for repo in entries(cache).filter(|path| name(path).starts_with("datasets--")) {
        for file in entries(&repo.join("snapshots")).flat_map(|commit| entries(&commit)) {
            let is_script = file.extension().is_some_and(|extension| extension == "py");
            looked_at += usize::from(is_script);
            if !is_script || looked_at > MOST_SCRIPTS || !names_the_hub(&file) {
                continue;
            }
            findings.push(finding(
                "script",
                "warning",
                format!("{} names huggingface.co in its code", file.display()),
                "loading it reaches huggingface.co whatever HF_ENDPOINT says; load the data files instead",
            ));
        }
    }
    findings
}

fn names_the_hub(file: &Path) -> bool {
    let small = std::fs::metadata(file).is_ok_and(|meta| meta.len() <= LARGEST_SCRIPT);
    small && std::fs::read_to_string(file).is_ok_and(|text| text.contains("huggingface.co"))
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let listed = std::fs::read_dir(folder).into_iter().flatten().flatten();
    listed.map(|entry| entry.path())
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_that_name_the_hub_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("datasets--a--b/snapshots/1/b.py", "URL = 'https://huggingface.co/x'");
        write("datasets--a--c/snapshots/1/c.py", "URL = 'https://example.org/x'");
        write("datasets--a--b/snapshots/1/README.md", "https://huggingface.co/x");
        write("models--a--b/snapshots/1/modeling.py", "https://huggingface.co/x");
        let found = scripts(dir.path());
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].message.contains("datasets--a--b/snapshots/1/b.py"));
        assert!(scripts(&dir.path().join("gone")).is_empty());
    }

    #[test]
    fn versions_that_differ_are_told() {
        let info = |version: &str| GetServerInfoResponse {
            version: version.to_owned(),
            ..GetServerInfoResponse::default()
        };
        assert_eq!(of_daemon(&info(env!("CARGO_PKG_VERSION"))).len(), 1);
        assert_eq!(of_daemon(&info("0.0.0"))[1].status, "warning");
    }
}
