//! A user's machine: an account where nothing was ever configured, and a Hub for it.

use std::{collections::BTreeMap, path::PathBuf, process::Stdio};

use anyhow::{Context as _, bail, ensure};
use hfetch_tests::{
    harness::{PATIENCE, Ran, programs},
    sim::{Gated, RepoBuilder, SimHub},
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use super::document::Step;

/// For a command that ends.
/// Bytes per second of a Hub that is slow enough to be watched.
const SLOW: u64 = 200_000;
/// What `Tokenizer.from_pretrained` wants.
const TOKENIZER: &str = r#"{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
    "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
    "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "hello": 1}, "unk_token": "[UNK]"}}"#;

/// The world of one section.
pub(crate) struct World {
    home: tempfile::TempDir,
    hub: SimHub,
    /// Ids of jobs, by the id that the reader sees.
    ids: BTreeMap<String, String>,
    /// What runs beside, with its output: a closed pipe would end it.
    background: Vec<(Child, Lines<BufReader<ChildStdout>>)>,
    port: Option<u16>,
}

impl World {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let config = r#"{"model_type": "gpt2"}"#;
        let gpt2 = RepoBuilder::model("gpt2")
            .file("config.json", config)
            .file("tokenizer.json", TOKENIZER)
            .seeded("model.safetensors", 300_000, 1);
        let model = RepoBuilder::model("org/model")
            .file("config.json", config)
            .seeded("model.safetensors", 2_000_000, 2)
            .seeded("model.bin", 2_000_000, 3);
        let data = RepoBuilder::dataset("org/data")
            .seeded("train.parquet", 3_000_000, 4)
            .file("raw/a.csv", "a,b\n1,2\n")
            .tag("v1");
        let llama = RepoBuilder::model("meta-llama/Llama-2-7b-hf").seeded("model.safetensors", 1000, 5);
        let hub = SimHub::builder()
            .repo(gpt2)
            .repo(model)
            .repo(data)
            .repo(llama.gated(Gated::Manual, &[]))
            .token("hf_demo", "ann")
            .start()?;
        let home = tempfile::Builder::new().prefix("hf-").tempdir()?;
        std::fs::write(home.path().join("token"), "hf_demo\n")?;
        Ok(Self {
            home,
            hub,
            ids: BTreeMap::new(),
            background: Vec::new(),
            port: None,
        })
    }

    pub(crate) fn slow(&self, slow: bool) {
        self.hub.pace().set_total(slow.then_some(SLOW));
    }

    /// A port for a program that the reader starts; the one in the text may be taken.
    pub(crate) fn own_port(&mut self) -> anyhow::Result<()> {
        self.port = Some(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port());
        Ok(())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Variables of a fresh account; nothing of ours but the way to the programs and to the Hub.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let path = std::env::var("PATH").unwrap_or_default();
        vec![
            ("PATH".into(), format!("{}:{path}", programs().display())),
            ("HOME".into(), self.home.path().display().to_string()),
            ("HF_ENDPOINT".into(), self.hub.endpoint().to_owned()),
            ("HF_HUB_DISABLE_TELEMETRY".into(), "1".into()),
            ("HF_HUB_DISABLE_UPDATE_CHECK".into(), "1".into()),
        ]
    }

    fn shell(&self, line: &str) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", line])
            .env_clear()
            .envs(self.environment())
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs a line of ours.
    pub(crate) async fn sh(&self, line: &str) -> anyhow::Result<Ran> {
        let output = timeout(PATIENCE, self.shell(line).output())
            .await
            .context("it hangs")??;
        Ok(Ran::from(output))
    }

    /// What the daemon has logged.
    fn log(&self) -> String {
        std::fs::read_to_string(self.path(".local/state/hfetch/hfetchd.log")).unwrap_or_default()
    }

    /// Runs a step; `exit` is the code that the reader is told.
    pub(crate) async fn step(&mut self, step: &Step, exit: i32) -> anyhow::Result<()> {
        let line = self.with_ids(&step.command)?;
        if let Some(line) = line.strip_suffix('&') {
            return self.beside(line).await;
        }
        let ran = self.sh(&line).await;
        let ran = ran.with_context(|| format!("the daemon's log:\n{}", self.log()))?;
        let said = format!("{}{}", ran.stdout, ran.stderr);
        ensure!(ran.code == exit, "exit {} instead of {exit}:\n{said}", ran.code);
        for shown in &step.shown {
            if is_sample(shown) {
                let id = ran.stdout.trim();
                ensure!(is_id(id), "not an id: {said}");
                self.ids.insert(shown.clone(), id.to_owned());
            } else if !shown.contains(|c: char| c.is_ascii_digit()) {
                // What holds no number is the same everywhere.
                ensure!(said.contains(shown.as_str()), "`{shown}` was not printed:\n{said}");
            }
        }
        Ok(())
    }

    /// Runs a command that does not end until it has printed a text; then Ctrl-C.
    pub(crate) async fn until(&self, step: &Step, text: &str) -> anyhow::Result<()> {
        let mut child = self.shell(&format!("exec {}", self.with_ids(&step.command)?)).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("its output")?).lines();
        let wait = async {
            while let Some(line) = lines.next_line().await? {
                if line.contains(text) {
                    return Ok(());
                }
            }
            bail!("it ended without `{text}`")
        };
        timeout(PATIENCE, wait).await.context("it never came")??;
        let pid = child
            .id()
            .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?))
            .context("it ended")?;
        kill_process(pid, Signal::INT)?;
        let status = timeout(PATIENCE, child.wait())
            .await
            .context("Ctrl-C does not end it")??;
        ensure!(status.code() == Some(130), "{status} after Ctrl-C");
        Ok(())
    }

    /// Starts a program that runs beside the rest, and waits for its first line.
    async fn beside(&mut self, line: &str) -> anyhow::Result<()> {
        let mut child = self.shell(&format!("exec {line}")).stdin(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("its output")?).lines();
        timeout(PATIENCE, lines.next_line())
            .await
            .context("it says nothing")??
            .context("it ended")?;
        self.background.push((child, lines));
        Ok(())
    }

    /// What the reader would type: with the ids and the port that there are.
    fn with_ids(&self, command: &str) -> anyhow::Result<String> {
        let mut line = command.to_owned();
        let shown: Vec<&str> = command
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|word| is_sample(word))
            .collect();
        for id in shown {
            let own = self
                .ids
                .get(id)
                .with_context(|| format!("no command before printed {id}"))?;
            line = line.replace(id, own);
        }
        if let Some(port) = self.port {
            line = line.replace("8123", &port.to_string());
        }
        Ok(line)
    }

    /// Ends what runs.
    pub(crate) async fn close(mut self) -> anyhow::Result<()> {
        for (child, _) in &mut self.background {
            child.kill().await?;
        }
        self.sh("hfctl daemon stop").await?.ok()?;
        self.hub.assert_clean();
        Ok(())
    }
}

impl Drop for World {
    /// A section that failed leaves its daemon behind: it is ended by the pid in its own state directory.
    fn drop(&mut self) {
        let lock = std::fs::read_to_string(self.path(".local/state/hfetch/lock")).unwrap_or_default();
        let pid: Option<i32> = lock.trim().parse().ok();
        let is_ours = pid.is_some_and(|pid| {
            let command = std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap_or_default();
            command.contains(&self.home.path().display().to_string())
        });
        if let Some(pid) = pid.and_then(Pid::from_raw).filter(|_| is_ours) {
            kill_process(pid, Signal::KILL).ok();
        }
    }
}

/// Ten characters of Crockford's base32.
fn is_id(word: &str) -> bool {
    let fits = |c: char| c.is_ascii_digit() || (c.is_ascii_lowercase() && !"ilou".contains(c));
    word.len() == 10 && word.chars().all(fits)
}

/// An id as the text shows one: it begins with a digit, so that it is no word.
fn is_sample(word: &str) -> bool {
    is_id(word) && word.starts_with(|c: char| c.is_ascii_digit())
}
