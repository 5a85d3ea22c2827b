//! The two stories: a simulated Hub with a kill in the middle, and a real repository.

use std::{
    ffi::{OsStr, OsString},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use hfetch_tests::sim::{Host, Kind, RepoBuilder, SimHub, write_tiny_model};
use rustix::process::Signal;
use serde_json::Value;
use tokio::time::sleep;

use crate::{
    session::{Session, interrupt},
    stage::{Stage, quoted, size},
    verify,
};

/// The model of the demonstration.
const MODEL: &str = "demo/tiny-bert";
const WEIGHTS: &str = "model.safetensors";
/// Bytes per second of the simulated link: slow enough to watch, fast enough not to wait.
const PACE: u64 = 6 << 20;
/// The daemon is killed when so much of the weights was sent.
const KILL_AT_PERCENT: u64 = 60;

/// No argument: everything on this machine.
///
/// # Errors
/// When anything goes wrong.
pub(crate) async fn simulated(stage: &Stage, session: &mut Session<'_>) -> anyhow::Result<()> {
    stage.title("A Hub to download from, and where to")?;
    forget(session.cache()).context("the files of the last run are in the way")?;
    let folder = session.scratch("model");
    write_tiny_model(&folder, 1)?;
    let hub = SimHub::builder()
        .repo(RepoBuilder::model(MODEL).folder(&folder)?)
        .start()?;
    hub.pace().set_total(Some(PACE));
    let weights = weights_bytes(&hub)?;
    let endpoint = hub.endpoint().to_owned();
    session.talk_to(hub);
    stage.line(&format!(
        "  {endpoint} simulates the Hub, at {}/s. It has {MODEL},\n  a real BERT with made-up weights ({}).",
        size(PACE),
        size(weights),
    ))?;
    session.show_environment()?;

    stage.title("A daemon, and a job for it")?;
    session.start_daemon("in the background").await?;
    let id = session
        .answer(&words(&["submit", MODEL]), "answers once the job is safe on disk")
        .await?;

    stage.title("The job is watched, and the daemon killed in the middle")?;
    let watched = words(&["watch", &id]);
    let mut watch = session.spawn_hfctl(&watched, "")?;
    let killed = tokio::select! {
        ended = watch.wait() => ended.map(|_| false)?,
        () = sent(session.hub()?, weights * KILL_AT_PERCENT / 100) => true,
    };
    if killed {
        interrupt(&watch, Signal::INT);
        watch.wait().await?;
        session.kill_daemon("no warning, no time to tidy up").await?;
        session.start_daemon("its journal knows what is on disk").await?;
        taken_up(session, &id).await?;
        session.hfctl(&watched, "").await?;
    }
    let all = session.hub()?.journal().bytes_sent_for(WEIGHTS);
    stage.line(&format!(
        "  The Hub sent {} for the {} of {WEIGHTS}: the kill cost {}, and costs\n  about 64 MiB of a file at most, however large.",
        size(all),
        size(weights),
        size(all.saturating_sub(weights)),
    ))?;

    let job = show_files(stage, session, &id).await?;

    stage.title("The same again, as a drop-in for `hf download`")?;
    let before = session.hub()?.journal().body_bytes(Host::Cdn);
    session
        .answer(&words(&["download", MODEL]), "prints the path, and fetches nothing")
        .await?;
    let again = session.hub()?.journal().body_bytes(Host::Cdn) - before;
    stage.line(&format!("  {again} bytes of files were fetched."))?;
    farewell(stage, session.cache(), &job)
}

/// A repository of a real Hub.
///
/// # Errors
/// When anything goes wrong.
pub(crate) async fn real(
    stage: &Stage,
    session: &mut Session<'_>,
    repo: &str,
    more: &[OsString],
) -> anyhow::Result<()> {
    stage.title("Where everything goes")?;
    session.show_environment()?;

    stage.title("A daemon, and a job for it")?;
    session.start_daemon("in the background").await?;
    // What an interrupted run left waiting; its bytes are used.
    session.asked(&words(&["cancel", "--all", "--quiet"])).await?;
    let mut submit = words(&["submit", repo]);
    submit.extend(more.iter().map(OsString::as_os_str));
    let id = session.answer(&submit, "answers once the job is safe on disk").await?;

    stage.title("The download. After Ctrl-C the same command goes on with what is on disk")?;
    session.hfctl(&words(&["watch", &id]), "").await?;

    let job = show_files(stage, session, &id).await?;
    farewell(stage, session.cache(), &job)
}

fn words<'a>(words: &[&'a str]) -> Vec<&'a OsStr> {
    words.iter().map(|word| OsStr::new(*word)).collect()
}

/// Hashes what was downloaded; gives the job.
async fn show_files(stage: &Stage, session: &Session<'_>, id: &str) -> anyhow::Result<Value> {
    stage.title("Every file is hashed once more, and compared with what the Hub says of it")?;
    let text = session.asked(&words(&["show", "--json", "--files", id])).await?;
    let job: Value = serde_json::from_str(&text).context("hfctl printed no JSON")?;
    verify::files(stage, &path_of(&job)?, &job)?;
    Ok(job)
}

fn path_of(job: &Value) -> anyhow::Result<PathBuf> {
    Ok(job["path"].as_str().context("a finished job has a path")?.into())
}

/// Waits until the daemon counts what the journal says of the unfinished file: it looks when its turn comes.
async fn taken_up(session: &Session<'_>, id: &str) -> anyhow::Result<()> {
    for _ in 0..50 {
        let text = session.asked(&words(&["show", "--json", id])).await?;
        let job: Value = serde_json::from_str(&text).context("hfctl printed no JSON")?;
        if job["bytes_done"].as_u64() > Some(1 << 20) {
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Waits until so many bytes of the weights are out.
async fn sent(hub: &SimHub, bytes: u64) {
    while hub.journal().bytes_sent_for(WEIGHTS) < bytes {
        sleep(Duration::from_millis(20)).await;
    }
}

fn weights_bytes(hub: &SimHub) -> anyhow::Result<u64> {
    let repo = hub.repo(Kind::Model, MODEL).context("the model is not there")?;
    let commit = repo.commit("main").context("the model has no main")?;
    Ok(commit.files[WEIGHTS].content.size())
}

/// The demonstration begins with nothing; other repositories in the folder stay.
fn forget(cache: &Path) -> io::Result<()> {
    let folder = format!("models--{}", MODEL.replace('/', "--"));
    for path in [cache.join(&folder), cache.join(".locks").join(&folder)] {
        match std::fs::remove_dir_all(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Where the files lie and how to go on.
fn farewell(stage: &Stage, cache: &Path, job: &Value) -> anyhow::Result<()> {
    let path = path_of(job)?;
    let text = |key: &str| job[key].as_str().unwrap_or_default();
    stage.title("Where the files lie")?;
    stage.line(&format!("  {}", path.display()))?;
    if text("local_dir").is_empty() {
        let python = match text("repo_type") {
            "model" => {
                let id = text("repo_id");
                format!("from transformers import AutoModel; print(AutoModel.from_pretrained(\"{id}\"))")
            }
            kind => {
                let arguments = format!("\"{}\", repo_type=\"{kind}\"", text("repo_id"));
                format!("from huggingface_hub import snapshot_download; print(snapshot_download({arguments}))")
            }
        };
        let hub = quoted(&cache.to_string_lossy());
        stage.line("  Python finds them offline:")?;
        stage.line(&format!(
            "  HF_HUB_CACHE={hub} HF_HUB_OFFLINE=1 \\\n    python3 -c '{python}'"
        ))?;
        // REPO/snapshots/COMMIT
        let repo = path.ancestors().nth(2).unwrap_or(&path).to_string_lossy();
        stage.line(&format!("  They stay there. To remove them: rm -r {}", quoted(&repo)))?;
    }
    stage.title("How to go on")?;
    for line in [
        "cargo install --locked --path daemon && cargo install --locked --path client",
        "hfctl daemon start      # a daemon of your own; it downloads into your usual cache",
        "hfctl submit gpt2       # or any org/name; hfctl download does what hf download does",
        "hfctl watch             # what happens; hfctl --help has the rest",
    ] {
        stage.line(&format!("  {line}"))?;
    }
    stage.line("\nThe daemon stops now, and its scratch state goes. Nothing is left running.")?;
    Ok(())
}
