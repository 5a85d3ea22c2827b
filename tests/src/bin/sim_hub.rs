//! The simulated Hub as a program: for trying things by hand, and for tests in other languages.
//!
//! The first line of stdout is the endpoint, the second the address of the CDN. It runs until it is killed, or until
//! its stdin, if that is a pipe or a terminal, ends.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use hfetch_tests::sim::{
    Bucket, Ending, Fault, Gated, Host, Journal, Kind, LinkedShape, Matcher, PlainShape, RepoBuilder, Rule, SimHub,
    Switches, Token, write_tiny_model,
};
use rustix::fs::FileType;

/// Serves folders and made-up files as the Hugging Face Hub would.
#[derive(Debug, Parser)]
#[command(name = "sim-hub", version)]
struct Options {
    /// A model repository from a folder.
    #[arg(long, value_name = "ORG/NAME=DIR")]
    repo: Vec<String>,
    /// A data set from a folder.
    #[arg(long, value_name = "ORG/NAME=DIR")]
    dataset: Vec<String>,
    /// A space from a folder.
    #[arg(long, value_name = "ORG/NAME=DIR")]
    space: Vec<String>,
    /// A file of a model repository that follows from a seed; several make one repository.
    #[arg(long, value_name = "ORG/NAME=PATH:SIZE[:SEED]")]
    seeded: Vec<String>,
    /// A model repository of many small files: how many, and between which sizes.
    #[arg(long, value_name = "ORG/NAME=COUNT:LEAST-MOST")]
    small: Vec<String>,
    /// A model repository with a small model that loads (45 MB).
    #[arg(long, value_name = "ORG/NAME")]
    tiny_model: Vec<String>,
    /// This repository is gated.
    #[arg(long, value_name = "ORG/NAME")]
    gated: Vec<String>,
    /// This repository is seen by nobody but those named by --accept.
    #[arg(long, value_name = "ORG/NAME")]
    private: Vec<String>,
    /// This user accepted the terms of a gated repository, or may see a private one.
    #[arg(long, value_name = "ORG/NAME=USER")]
    accept: Vec<String>,
    /// A former id that leads to a repository.
    #[arg(long, value_name = "OLD=ORG/NAME")]
    renamed: Vec<String>,
    /// A user and a token that is theirs.
    #[arg(long, value_name = "USER=TOKEN")]
    token: Vec<String>,
    /// Address of the Hub.
    #[arg(long, default_value = "127.0.0.1")]
    bind: IpAddr,
    /// Port of the Hub; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Address of the CDN.
    #[arg(long, default_value = "127.0.0.2")]
    cdn_bind: IpAddr,
    /// Port of the CDN; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    cdn_port: u16,
    /// Bytes per second for all bodies together: 500K, 20M, 20MB (powers of 1000), 20MiB (powers of 1024).
    #[arg(long, value_parser = size)]
    rate: Option<u64>,
    /// Bytes per second for each connection.
    #[arg(long, value_parser = size)]
    connection_rate: Option<u64>,
    /// Milliseconds before each answer.
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
    /// Seconds that a signed URL lives.
    #[arg(long, default_value_t = 3600)]
    link_life_s: u64,
    /// Requests to the API that a caller may make in 300 s.
    #[arg(long)]
    api_quota: Option<u64>,
    /// Requests to resolve that a caller may make in 300 s.
    #[arg(long)]
    resolve_quota: Option<u64>,
    /// Answers of the CDN at one time; 503 beyond.
    #[arg(long, value_name = "COUNT")]
    max_answers: Option<usize>,
    /// Reset every answer of the CDN after a number of bytes between these two.
    #[arg(long, value_name = "LEAST-MOST", value_parser = span)]
    reset_after: Option<(u64, u64)>,
    /// Of so many answers of the CDN in a row the first stalls for ever in its first MiB.
    #[arg(long, value_name = "COUNT")]
    stall_one_in: Option<u64>,
    /// Give files at once, without a redirect.
    #[arg(long)]
    direct: bool,
    /// Behave as the mirror Olah does.
    #[arg(long)]
    olah: bool,
    /// Announce Xet.
    #[arg(long)]
    xet: bool,
    /// Write a line to stderr for each exchange that ended.
    #[arg(long)]
    log: bool,
    /// Answer each line on stdin with one on stdout: how many requests came, and how many bytes of files went out.
    #[arg(long)]
    totals: bool,
}

/// What an answer that will stall sends before.
const BEFORE_STALL: u64 = 512 * 1024;

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let scratch = tempfile::tempdir().context("no scratch folder")?;
    // Outside our own runtime: it has one, which ends here when the port is taken.
    let hub = start(&options, scratch.path())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(&options, hub))
}

async fn run(options: &Options, hub: SimHub) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{}\n{}", hub.endpoint(), hub.cdn_endpoint())?;
    out.flush()?;
    let ended = stdin_ended(options.totals.then(|| hub.journal().clone()));
    tokio::select! {
        () = ended => {}
        result = log(hub.journal()), if options.log => result?,
    }
    hub.stop().await
}

fn start(options: &Options, scratch: &Path) -> anyhow::Result<SimHub> {
    let mut builder = SimHub::builder()
        .hub_address(SocketAddr::new(options.bind, options.port))
        .cdn_address(SocketAddr::new(options.cdn_bind, options.cdn_port));
    for repo in repos(options, scratch)?.into_values() {
        builder = builder.repo(repo);
    }
    for given in &options.token {
        let (user, secret) = pair(given)?;
        builder = builder.token_as(secret, Token::read(user));
    }
    if let Some(requests) = options.api_quota {
        builder = builder.quota(Bucket::Api, requests);
    }
    if let Some(requests) = options.resolve_quota {
        builder = builder.quota(Bucket::Resolvers, requests);
    }
    let mut switches = if options.olah {
        Switches::olah()
    } else {
        Switches::default()
    };
    switches.announce_xet = options.xet;
    switches.cdn_concurrency = options.max_answers;
    if options.direct {
        switches.plain = PlainShape::Direct;
        switches.linked = LinkedShape::Direct;
    }
    switches.link_life = Duration::from_secs(options.link_life_s);
    let hub = builder.switches(switches).start()?;
    hub.pace().set_total(options.rate);
    hub.pace().set_per_connection(options.connection_rate);
    hub.pace().set_latency(Duration::from_millis(options.latency_ms));
    let bodies = Matcher::any().host(Host::Cdn).method("GET");
    if let Some((least, most)) = options.reset_after {
        hub.fault(bodies.clone(), Fault::ResetBetween(least, most, 1));
    }
    if let Some(count) = options.stall_one_in {
        hub.faults()
            .add(Rule::new(bodies, Fault::StallAfter(BEFORE_STALL)).every(count));
    }
    Ok(hub)
}

type Repos = BTreeMap<(Kind, String), RepoBuilder>;

fn repos(options: &Options, scratch: &Path) -> anyhow::Result<Repos> {
    let mut repos = Repos::new();
    let folders = [
        (Kind::Model, &options.repo),
        (Kind::Dataset, &options.dataset),
        (Kind::Space, &options.space),
    ];
    for (kind, given) in folders
        .iter()
        .flat_map(|(kind, list)| list.iter().map(|given| (*kind, given)))
    {
        let (id, folder) = pair(given)?;
        let repo = RepoBuilder::new(kind, id)
            .folder(Path::new(folder))
            .with_context(|| format!("cannot read {folder}"))?;
        repos.insert((kind, id.to_owned()), repo);
    }
    for (number, given) in options.seeded.iter().enumerate() {
        let (id, file) = pair(given)?;
        let mut parts = file.split(':');
        let path = parts.next().unwrap_or_default();
        let length = size(parts.next().with_context(|| format!("no size: {given}"))?)?;
        let seed = parts
            .next()
            .map_or(Ok(number as u64), str::parse)
            .with_context(|| format!("bad seed: {given}"))?;
        let key = (Kind::Model, id.to_owned());
        let repo = repos.remove(&key).unwrap_or_else(|| RepoBuilder::model(id));
        repos.insert(key, repo.seeded(path, length, seed));
    }
    for given in &options.small {
        let (id, files) = pair(given)?;
        let (count, sizes) = files.split_once(':').with_context(|| format!("no sizes: {given}"))?;
        let (count, (least, most)) = (count.parse::<u64>().context("bad count")?, span(sizes)?);
        let mut repo = RepoBuilder::model(id);
        for number in 0..count {
            let length = least + number * 7919 % (most - least + 1);
            repo = repo.seeded(&format!("data/{:03}/{number:06}.json", number / 1000), length, number);
        }
        repos.insert((Kind::Model, id.to_owned()), repo);
    }
    for id in &options.tiny_model {
        let folder: PathBuf = scratch.join(id);
        write_tiny_model(&folder, 1).context("cannot write the tiny model")?;
        repos.insert((Kind::Model, id.clone()), RepoBuilder::model(id).folder(&folder)?);
    }
    restrict(options, &mut repos)?;
    Ok(repos)
}

fn restrict(options: &Options, repos: &mut Repos) -> anyhow::Result<()> {
    let mut change = |id: &str, change: &dyn Fn(RepoBuilder) -> RepoBuilder| {
        let keys: Vec<_> = repos.keys().filter(|(_, key)| key == id).cloned().collect();
        for key in &keys {
            if let Some(repo) = repos.remove(key) {
                repos.insert(key.clone(), change(repo));
            }
        }
        if keys.is_empty() {
            Err(anyhow::anyhow!(
                "there is no repository {id}: define it too, by --repo, --seeded or --tiny-model"
            ))
        } else {
            Ok(())
        }
    };
    let mut accepted: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for given in &options.accept {
        let (id, user) = pair(given)?;
        accepted.entry(id).or_default().push(user);
    }
    let users = |id: &str| accepted.get(id).cloned().unwrap_or_default();
    for id in &options.gated {
        change(id, &|repo| repo.gated(Gated::Auto, &users(id)))?;
    }
    for id in &options.private {
        change(id, &|repo| repo.private(&users(id)))?;
    }
    for given in &options.renamed {
        let (old, id) = pair(given)?;
        change(id, &|repo| repo.former_id(old))?;
    }
    Ok(())
}

fn pair(text: &str) -> anyhow::Result<(&str, &str)> {
    text.split_once('=')
        .with_context(|| format!("not of the form NAME=VALUE: {text}"))
}

/// A number of bytes: `10`, `10K`, `10KB` (1000), `10KiB` (1024).
fn size(text: &str) -> anyhow::Result<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let base: u64 = if unit.ends_with("iB") || unit.ends_with('i') {
        1024
    } else {
        1000
    };
    let power = match unit.chars().next().map(|c| c.to_ascii_uppercase()) {
        None | Some('B') => 0,
        Some('K') => 1,
        Some('M') => 2,
        Some('G') => 3,
        Some('T') => 4,
        Some(_) => bail!("unknown unit in {text}"),
    };
    let number: u64 = number.parse().with_context(|| format!("not a size: {text}"))?;
    number
        .checked_mul(base.pow(power))
        .with_context(|| format!("too large: {text}"))
}

/// Two sizes with a hyphen between.
fn span(text: &str) -> anyhow::Result<(u64, u64)> {
    let (least, most) = text
        .split_once('-')
        .with_context(|| format!("not of the form LEAST-MOST: {text}"))?;
    let (least, most) = (size(least)?, size(most)?);
    ensure!(least <= most, "the first is the larger one: {text}");
    Ok((least, most))
}

/// Waits for the end of stdin, answering its lines from the journal; for ever when stdin is nothing that somebody holds open on purpose.
async fn stdin_ended(totals: Option<Journal>) {
    let kind = rustix::fs::fstat(std::io::stdin()).map(|meta| FileType::from_raw_mode(meta.st_mode));
    let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stdin());
    if !is_terminal && !matches!(kind, Ok(FileType::Fifo | FileType::Socket)) {
        return std::future::pending().await;
    }
    let (ended, end) = tokio::sync::oneshot::channel();
    // Reading stdin cannot be cancelled, so it has a thread that dies with the process.
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        if let Some(journal) = totals {
            let mut out = std::io::stdout();
            for _line in stdin.lines().map_while(Result::ok) {
                let records = journal.records();
                let bytes: u64 = records.iter().map(|record| record.sent.end - record.sent.start).sum();
                if writeln!(out, "{} {bytes}", records.len())
                    .and_then(|()| out.flush())
                    .is_err()
                {
                    break;
                }
            }
        } else {
            let mut buffer = [0; 1024];
            while matches!(stdin.read(&mut buffer), Ok(count) if count > 0) {}
        }
        ended.send(()).ok();
    });
    end.await.ok();
}

async fn log(journal: &Journal) -> anyhow::Result<()> {
    let mut changes = journal.subscribe();
    // Below `from` all is shown; `shown` holds what ended before an older one did.
    let (mut from, mut shown) = (0, BTreeSet::new());
    loop {
        for record in journal.records_since(from) {
            if record.ending != Ending::Open && shown.insert(record.seq) {
                writeln!(std::io::stderr(), "{}", record.line())?;
            }
        }
        while shown.remove(&from) {
            from += 1;
        }
        changes.changed().await?;
    }
}
