//! One row: servers up, the tools in turn, what they did looked at.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use hfetch_tests::sim::Content;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    daemon::Daemon,
    measure::{Ended, Group, Outcome},
    nginx::Nginx,
    rows::{REPO, Row, Served},
    say,
    sim::Sim,
    tools::{Errand, Tool, Tools},
};

/// Figures of a row: what each tool came to in each run.
pub(crate) type Results = Vec<(Tool, Vec<Outcome>)>;

/// What does not change from row to row.
pub(crate) struct Stage {
    folder: tempfile::TempDir,
    served: PathBuf,
    tools: Tools,
    divide: u64,
}

/// The servers of one row.
struct Servers {
    nginx: Option<Nginx>,
    sims: Vec<Sim>,
    endpoints: Vec<String>,
}

impl Servers {
    async fn start(stage: &Stage, row: Row, files: &[(String, u64)]) -> anyhow::Result<Self> {
        let (more, count) = match row.served() {
            Served::Nginx => {
                let nginx = Nginx::start(&stage.served, files).await?;
                return Ok(Self {
                    endpoints: vec![nginx.endpoint().to_owned()],
                    nginx: Some(nginx),
                    sims: Vec::new(),
                });
            }
            Served::Sim(more) => (more, 1),
            Served::TwoSims(more) => (more, 2),
        };
        let mut arguments: Vec<String> = more.iter().map(|word| (*word).to_owned()).collect();
        if row == Row::Small {
            arguments.extend(["--small".to_owned(), format!("{REPO}={}:2000-20000", files.len())]);
        } else {
            for (number, (path, size)) in files.iter().enumerate() {
                arguments.extend(["--seeded".to_owned(), format!("{REPO}={path}:{size}:{number}")]);
            }
        }
        let sims = (0..count)
            .map(|_| Sim::start(&stage.tools.programs, &arguments))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let endpoints: Vec<String> = sims.iter().map(|sim| sim.endpoint().to_owned()).collect();
        for endpoint in &endpoints {
            // The first listing takes as long as hashing all files takes.
            warm_up(endpoint).await?;
        }
        Ok(Self {
            nginx: None,
            sims,
            endpoints,
        })
    }

    /// Simulated Hubs begin anew, so that the same requests are struck for each tool.
    async fn for_run(stage: &Stage, kept: Option<Self>, row: Row, files: &[(String, u64)]) -> anyhow::Result<Self> {
        match kept {
            Some(servers) if servers.nginx.is_some() => Ok(servers),
            _ => Self::start(stage, row, files).await,
        }
    }

    /// Requests and bytes so far, where they are counted.
    fn totals(&self) -> anyhow::Result<Option<(u64, u64)>> {
        let mut all = None;
        for sim in &self.sims {
            let (requests, bytes) = sim.totals()?;
            let (before_requests, before_bytes) = all.unwrap_or_default();
            all = Some((before_requests + requests, before_bytes + bytes));
        }
        Ok(all)
    }
}

async fn warm_up(endpoint: &str) -> anyhow::Result<()> {
    let address = endpoint.strip_prefix("http://").context("an endpoint")?;
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "GET /api/models/{REPO}/tree/main?recursive=true HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    ensure!(
        answer.starts_with(b"HTTP/1.1 200"),
        "sim-hub does not list its repository"
    );
    Ok(())
}

impl Stage {
    pub(crate) fn new(folder: Option<&Path>, served: Option<&Path>, tools: Tools, divide: u64) -> anyhow::Result<Self> {
        let mut builder = tempfile::Builder::new();
        // Short: a socket's path has 107 bytes at most.
        builder.prefix("hfb-");
        let folder = match folder {
            Some(folder) => builder.tempdir_in(folder),
            None => builder.tempdir(),
        };
        let memory = Path::new("/dev/shm");
        let served = served.map_or_else(
            || {
                if memory.is_dir() {
                    memory.to_owned()
                } else {
                    std::env::temp_dir()
                }
            },
            Path::to_owned,
        );
        Ok(Self {
            folder: folder.context("no scratch folder")?,
            served,
            tools,
            divide,
        })
    }

    /// Measures one row.
    pub(crate) async fn row(&self, row: Row, tools: &[Tool], runs: usize) -> anyhow::Result<Results> {
        let files = row.files(self.divide);
        let mut kept = None;
        let mut results: Results = tools.iter().map(|tool| (*tool, Vec::new())).collect();
        for run in 0..runs {
            for (tool, outcomes) in &mut results {
                if let Some(why) = tool.cannot(row) {
                    outcomes.push(Outcome::Cannot(why.to_owned()));
                    continue;
                }
                let servers = Servers::for_run(self, kept.take(), row, &files).await?;
                let outcome = self.once(row, *tool, &servers, &files, run == 0).await;
                kept = Some(servers);
                let outcome = outcome.with_context(|| format!("{} in row {}", tool.name(), row.key()))?;
                say(&format!("{} {}: {outcome:?}", row.key(), tool.name()));
                outcomes.push(outcome);
            }
        }
        Ok(results)
    }

    async fn once(
        &self,
        row: Row,
        tool: Tool,
        servers: &Servers,
        files: &[(String, u64)],
        look: bool,
    ) -> anyhow::Result<Outcome> {
        let folder = self.folder.path().join("r");
        fs::create_dir_all(folder.join("files"))?;
        let errand = Errand {
            row,
            files,
            endpoints: &servers.endpoints,
            folder: &folder,
        };
        // What earlier runs left to be written is not this one's burden.
        rustix::fs::sync();
        let before = servers.totals()?;
        let mut outcome = match row {
            Row::Kill => self.killed_and_again(tool, &errand, servers).await?,
            Row::Warm => match self.command(tool, &errand, &mut || false).await? {
                Outcome::Did(_) => self.command(tool, &errand, &mut || false).await?,
                other => other,
            },
            _ => self.command(tool, &errand, &mut || false).await?,
        };
        if let Outcome::Did(used) = &mut outcome {
            if let (Some((requests, bytes)), Some((requests_before, bytes_before))) = (servers.totals()?, before) {
                used.requests = Some(requests - requests_before);
                used.sent_bytes = Some(bytes - bytes_before);
            }
            if tool != Tool::FloorNull
                && let Err(error) = check(tool, &errand, look)
            {
                outcome = Outcome::Failed(format!("{error:#}"));
            }
        }
        fs::remove_dir_all(&folder)?;
        Ok(outcome)
    }

    /// Runs a tool once, with a daemon if it needs one; `stop` may end both, by SIGKILL.
    async fn command(
        &self,
        tool: Tool,
        errand: &Errand<'_>,
        stop: &mut dyn FnMut() -> bool,
    ) -> anyhow::Result<Outcome> {
        let mut daemon = None;
        if tool.has_daemon() {
            let program = self.tools.programs.join("hfetchd");
            daemon = Some(Daemon::start(&program, errand.folder, &errand.environment()).await?);
        }
        let cpu_before = daemon.as_ref().map(Daemon::cpu_seconds).transpose()?;
        let limit = errand.row.limit();
        let log = errand.folder.join("command.log");
        let mut group = Group::start(&mut self.tools.command(tool, errand)?, &log)?;
        let ended = group.wait(limit, stop).await?;
        let Ended::Itself { code, mut used } = ended else {
            if let Some(daemon) = daemon {
                daemon.kill();
            }
            return Ok(Outcome::TooSlow(limit));
        };
        if let (Some(daemon), Some(before)) = (daemon, cpu_before) {
            used.cpu_seconds += daemon.cpu_seconds()? - before;
            used.peak_bytes = daemon.peak_bytes();
            daemon.stop().await?;
        }
        if code != Some(0) {
            let said = fs::read_to_string(&log).unwrap_or_default();
            let last = said
                .lines()
                .rev()
                .find(|line| !line.trim().is_empty())
                .unwrap_or("no word");
            return Ok(Outcome::Failed(format!("exit {code:?}: {last}")));
        }
        Ok(Outcome::Did(used))
    }

    /// The second run is what counts; the bytes are those of both.
    async fn killed_and_again(&self, tool: Tool, errand: &Errand<'_>, servers: &Servers) -> anyhow::Result<Outcome> {
        let half = errand.files.iter().map(|(_, size)| size).sum::<u64>() / 2;
        let begun = servers.totals()?.unwrap_or_default().1;
        let mut half_sent = || {
            servers
                .totals()
                .is_ok_and(|now| now.unwrap_or_default().1 >= begun + half)
        };
        match self.command(tool, errand, &mut half_sent).await? {
            Outcome::TooSlow(_) => self.command(tool, errand, &mut || false).await,
            Outcome::Did(_) => Ok(Outcome::Failed("it was done before it could be killed".to_owned())),
            other => Ok(other),
        }
    }
}

/// Whether the files are there; on a closer look also whether they are right.
fn check(tool: Tool, errand: &Errand<'_>, look: bool) -> anyhow::Result<()> {
    let root = match tool {
        Tool::Hfctl | Tool::HfctlX16 | Tool::Hf => {
            let snapshots = errand.folder.join("hub/models--bench--model/snapshots");
            let mut commits = fs::read_dir(&snapshots).context("no snapshot")?;
            commits.next().context("no snapshot")??.path()
        }
        Tool::Aria2 | Tool::Curl | Tool::FloorNull | Tool::FloorSync => errand.plain(),
    };
    for (number, (path, size)) in errand.files.iter().enumerate() {
        let found = fs::metadata(root.join(path)).with_context(|| format!("{path} is missing"))?;
        ensure!(found.len() == *size, "{path} has {} of {size} bytes", found.len());
        if look {
            let wanted = Content::seeded(number as u64, *size);
            let right = Content::disk(&root.join(path))?.sha256()? == wanted.sha256()?;
            ensure!(right, "{path} has wrong bytes");
        }
    }
    Ok(())
}
