//! The tools, and how each is called: as its users call it, with what they know to help.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;
use clap::ValueEnum;

use crate::{
    daemon::socket,
    rows::{REPO, Row},
};

/// A column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tool {
    /// `hfctl download`, with a daemon.
    Hfctl,
    /// The same with `-x 16 -j 16`.
    HfctlX16,
    /// `aria2c -x16 -s16`.
    Aria2,
    /// `hf download`.
    Hf,
    /// `curl`, in parallel where there are several files.
    Curl,
    /// `curl` into nothing.
    FloorNull,
    /// `curl`, then `sync` and SHA-256 of the files, by the quickest program there is.
    FloorSync,
}

impl Tool {
    pub(crate) const DEFAULT: [Self; 6] = [
        Self::Hfctl,
        Self::Aria2,
        Self::Hf,
        Self::Curl,
        Self::FloorNull,
        Self::FloorSync,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hfctl => "hfctl",
            Self::HfctlX16 => "hfctl -x16 -j16",
            Self::Aria2 => "aria2c -x16 -s16",
            Self::Hf => "hf",
            Self::Curl => "curl",
            Self::FloorNull => "curl to nothing",
            Self::FloorSync => "curl, sync, SHA-256",
        }
    }

    pub(crate) fn has_daemon(self) -> bool {
        matches!(self, Self::Hfctl | Self::HfctlX16)
    }

    /// It is there to compare with, not to win.
    pub(crate) fn is_floor(self) -> bool {
        matches!(self, Self::FloorNull | Self::FloorSync)
    }

    /// Why a tool has no figure in a row.
    pub(crate) fn cannot(self, row: Row) -> Option<&'static str> {
        match self {
            Self::FloorNull if !matches!(row, Row::Big | Row::Shards) => Some(""),
            Self::FloorSync if !matches!(row, Row::Big | Row::Shards | Row::Kill) => Some(""),
            Self::Hf | Self::Curl if row == Row::TwoHubs => Some("one source only"),
            Self::Curl if row == Row::Warm => Some("asks for what lies behind the end, and fails"),
            _ => None,
        }
    }
}

/// What is downloaded, and where to.
pub(crate) struct Errand<'a> {
    pub(crate) row: Row,
    pub(crate) files: &'a [(String, u64)],
    pub(crate) endpoints: &'a [String],
    /// Scratch folder of this run.
    pub(crate) folder: &'a Path,
}

impl Errand<'_> {
    /// Where aria2 and curl write.
    pub(crate) fn plain(&self) -> PathBuf {
        self.folder.join("files")
    }

    fn url(&self, endpoint: &str, path: &str) -> String {
        format!("{endpoint}/{REPO}/resolve/main/{path}")
    }

    /// The environment of a user, and nothing of ours.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let text = |path: PathBuf| path.display().to_string();
        vec![
            ("PATH", std::env::var("PATH").unwrap_or_default()),
            ("HOME", text(self.folder.join("home"))),
            ("HF_HOME", text(self.folder.join("home/hf"))),
            ("HF_HUB_CACHE", text(self.folder.join("hub"))),
            ("HF_ENDPOINT", self.endpoints[0].clone()),
            ("HF_HUB_DISABLE_TELEMETRY", "1".to_owned()),
            ("HF_HUB_DISABLE_PROGRESS_BARS", "1".to_owned()),
            ("HFCTL_ADDRESS", format!("unix:{}", socket(self.folder).display())),
        ]
    }
}

/// Where the tools are.
pub(crate) struct Tools {
    pub(crate) programs: PathBuf,
    hf: Option<PathBuf>,
    hfctl_arguments: Vec<String>,
}

impl Tools {
    pub(crate) fn find(programs: PathBuf, hf: Option<PathBuf>, hfctl_arguments: Vec<String>) -> anyhow::Result<Self> {
        let beside = std::env::var_os("HFETCH_TEST_PYTHON").map(|python| PathBuf::from(python).with_file_name("hf"));
        let hf = hf.or(beside).filter(|hf| hf.is_file()).or_else(|| in_path("hf"));
        Ok(Self {
            programs,
            hf: hf.map(std::path::absolute).transpose()?,
            hfctl_arguments,
        })
    }

    /// Why a tool cannot be used at all.
    pub(crate) fn missing(&self, tool: Tool) -> Option<String> {
        let missing = |program: &str| {
            in_path(program)
                .is_none()
                .then(|| format!("{program} is not installed"))
        };
        match tool {
            Tool::Hfctl | Tool::HfctlX16 => None,
            Tool::Aria2 => missing("aria2c"),
            Tool::Curl | Tool::FloorNull | Tool::FloorSync => missing("curl"),
            Tool::Hf if self.hf.is_none() => {
                Some("no `hf`; HFETCH_TEST_PYTHON may name a Python that has it".to_owned())
            }
            Tool::Hf => None,
        }
    }

    /// The command that does the errand.
    pub(crate) fn command(&self, tool: Tool, errand: &Errand<'_>) -> anyhow::Result<Command> {
        let mut command = match tool {
            Tool::Hfctl | Tool::HfctlX16 => self.hfctl(tool, errand),
            Tool::Aria2 => aria2(errand)?,
            Tool::Hf => {
                let mut command = Command::new(self.hf.as_ref().context("no hf")?);
                command.args(["download", REPO]);
                command
            }
            Tool::Curl => curl(errand)?,
            Tool::FloorNull => shell(errand, "exec curl -fsSL -Z $(sed 's/^/-o \\/dev\\/null /' urls)")?,
            // Debian's sha256sum does without the processor's own instructions; openssl does not.
            Tool::FloorSync => shell(
                errand,
                "cd files && curl -fsSL -Z -C - --remote-name-all $(cat ../urls) && sync -- * \
                 && if command -v openssl; then openssl dgst -r -sha256 -- *; else sha256sum -- *; fi",
            )?,
        };
        command.env_clear().envs(errand.environment());
        Ok(command)
    }

    fn hfctl(&self, tool: Tool, errand: &Errand<'_>) -> Command {
        let mut command = Command::new(self.programs.join("hfctl"));
        command.args(["download", REPO]);
        if errand.endpoints.len() > 1 {
            for endpoint in errand.endpoints {
                command.args(["--endpoint", endpoint]);
            }
        }
        if tool == Tool::HfctlX16 {
            command.args(["-x", "16", "-j", "16"]);
        }
        command.args(&self.hfctl_arguments);
        command
    }
}

fn aria2(errand: &Errand<'_>) -> anyhow::Result<Command> {
    let mut list = String::new();
    for (path, _) in errand.files {
        let urls: Vec<String> = errand
            .endpoints
            .iter()
            .map(|endpoint| errand.url(endpoint, path))
            .collect();
        writeln!(list, "{}\n  out={path}", urls.join("\t"))?;
    }
    let input = errand.folder.join("aria2.list");
    fs::write(&input, list)?;
    let mut command = Command::new("aria2c");
    command
        .args([
            "--no-conf",
            "--console-log-level=error",
            "--summary-interval=0",
            "--file-allocation=none",
        ])
        .args(["-x16", "-s16", "-k1M", "-j16", "-c", "--max-tries=0"])
        .arg("-d")
        .arg(errand.plain())
        .arg("-i")
        .arg(input);
    if errand.row == Row::Refusing {
        // Without a wait it takes a 503 for an end.
        command.arg("--retry-wait=1");
    }
    Ok(command)
}

fn curl(errand: &Errand<'_>) -> anyhow::Result<Command> {
    let mut list = String::new();
    for (path, _) in errand.files {
        let url = errand.url(&errand.endpoints[0], path);
        writeln!(
            list,
            "url = \"{url}\"\noutput = \"{}/{path}\"",
            errand.plain().display()
        )?;
    }
    let config = errand.folder.join("curl.list");
    fs::write(&config, list)?;
    let mut command = Command::new("curl");
    command.args(["-q", "-fsSL", "--create-dirs"]);
    if errand.files.len() > 1 {
        command.args(["-Z", "--parallel-max", "16"]);
    }
    if matches!(errand.row, Row::Refusing | Row::Resets | Row::Stalls) {
        command.args(["--retry", "20", "--retry-all-errors", "--retry-delay", "1"]);
    }
    if matches!(errand.row, Row::Kill | Row::Resets | Row::Stalls) {
        command.args(["-C", "-"]);
    }
    command.arg("-K").arg(config);
    Ok(command)
}

fn shell(errand: &Errand<'_>, script: &str) -> anyhow::Result<Command> {
    let urls: Vec<String> = errand
        .files
        .iter()
        .map(|(path, _)| errand.url(&errand.endpoints[0], path))
        .collect();
    fs::write(errand.folder.join("urls"), urls.join("\n"))?;
    let mut command = Command::new("sh");
    command.arg("-ec").arg(script).current_dir(errand.folder);
    Ok(command)
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}
