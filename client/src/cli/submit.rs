//! Arguments of `submit` and `download`, which are the same: the habits of `hf`, `huggingface-cli` and `hfd.sh` work.

use clap::{Args, ValueEnum};

/// NAME first: `--include` and `--exclude` take all words up to the next option.
pub(super) const SUBMIT_USAGE: &str = "hfctl submit <NAME> [FILES]... [OPTIONS]";
/// As [`SUBMIT_USAGE`].
pub(super) const DOWNLOAD_USAGE: &str = "hfctl download <NAME> [FILES]... [OPTIONS]";

/// Shown below `hfctl submit --help`.
pub(super) const SUBMIT_EXAMPLES: &str = "\
Examples:
  hfctl submit llama-2
  hfctl submit mistralai/Mistral-7B-v0.1 --include '*.safetensors' '*.json'
  hfctl submit datasets/rajpurkar/squad --revision refs/convert/parquet
  hfctl submit org/model --local-dir ./model --wait
  hfctl submit org/model --window 23:00-07:00 --limit 20MiB/s
  hfctl submit org/model --by 08:00
  hfctl submit org/model --dry-run";

/// Shown below `hfctl download --help`.
pub(super) const DOWNLOAD_EXAMPLES: &str = "\
Examples:
  hfctl download gpt2 config.json
  hfctl download org/model --include '*.safetensors' --exclude 'original/*'
  hfctl download org/data --repo-type dataset --local-dir ./data
  python train.py --model \"$(hfctl download org/model)\"

Ctrl-C ends only hfctl; the job goes on in the daemon.";

/// What to download, where to, and how.
#[derive(Debug, Args)]
pub(crate) struct SubmitArgs {
    /// An alias, org/name, datasets/org/name, hf://..., or a web address of a repository
    pub(crate) name: String,
    /// Paths in the repository, or folders ending in a slash; all files when none is given
    pub(crate) files: Vec<String>,
    #[command(flatten)]
    pub(crate) repo: RepoArgs,
    /// Branch, tag, commit or refs/pr/N [default: main]
    #[arg(long, value_name = "REVISION")]
    pub(crate) revision: Option<String>,
    /// Only files matching one of these patterns (fnmatch over the whole path); several values or repeated
    #[arg(long, num_args = 1.., value_name = "PATTERN")]
    pub(crate) include: Vec<String>,
    /// No files matching one of these patterns; several values or repeated
    #[arg(long, num_args = 1.., value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// Fill this directory with plain files
    #[arg(long, value_name = "DIR")]
    pub(crate) local_dir: Option<String>,
    /// Use this Hugging Face cache
    #[arg(long, value_name = "DIR", conflicts_with = "local_dir")]
    pub(crate) cache_dir: Option<String>,
    /// Mirror to use: its configured name or its URL; repeat for several, in order of preference
    #[arg(long, value_name = "NAME|URL")]
    pub(crate) endpoint: Vec<String>,
    #[command(flatten)]
    pub(crate) token: TokenArgs,
    /// Which jobs go first
    #[arg(long, value_enum, value_name = "PRIORITY")]
    pub(crate) priority: Option<PriorityArg>,
    /// Connections for one file
    #[arg(short = 'x', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) connections: Option<u32>,
    /// Files at a time
    #[arg(short = 'j', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) max_workers: Option<u32>,
    /// Only tell what would be downloaded
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Fetch and verify even what is on disk
    #[arg(long, overrides_with = "no_force_download")]
    pub(crate) force_download: bool,
    /// Makes repeating the command safe: the same id never queues a second job
    #[arg(long, value_name = "ID")]
    pub(crate) request_id: Option<String>,
    /// Follow the job to its end (`download` always does)
    #[arg(long)]
    pub(crate) wait: bool,

    /// Limit of this job's rate, such as 5MiB/s
    #[arg(long, value_name = "RATE")]
    pub(crate) limit: Option<String>,
    /// Download only in this window: a configured name, or a period such as 23:00-07:00 (the daemon's clock)
    #[arg(long, value_name = "NAME|HH:MM-HH:MM")]
    pub(crate) window: Option<String>,
    /// Begin at this time: 23:30 (the next one), "2026-08-01 23:30", or in a while: +2h
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<String>,
    /// Tell whether it will be ready by this time, and what would help: 08:00 (the next one), or as for --at
    #[arg(long, value_name = "TIME")]
    pub(crate) by: Option<String>,

    #[command(flatten)]
    pub(crate) habits: HabitArgs,
}

/// Which kind of repository.
#[derive(Debug, Args)]
pub(crate) struct RepoArgs {
    /// Kind of repository, when NAME does not say it
    #[arg(long, alias = "type", value_enum, value_name = "TYPE")]
    pub(crate) repo_type: Option<RepoTypeArg>,
    /// Short for --repo-type dataset
    #[arg(long)]
    pub(crate) dataset: bool,
}

/// The caller's Hub token.
#[derive(Args)]
pub(crate) struct TokenArgs {
    /// Read the Hub token from this file, `-` for standard input [default: as `hf` finds it]
    #[arg(long, value_name = "FILE|-")]
    pub(crate) token_file: Option<String>,
    /// The Hub token itself; others can read it in the process list, so prefer --token-file
    #[arg(long, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
    /// The same as --token, for old habits
    #[arg(
        long = "hf_token",
        alias = "hf-token",
        value_name = "TOKEN",
        conflicts_with = "token",
        hide = true
    )]
    pub(crate) hf_token: Option<String>,
}

/// Shows which options were given, never their values.
impl std::fmt::Debug for TokenArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let TokenArgs {
            token_file,
            token,
            hf_token,
        } = self;
        f.debug_struct("TokenArgs")
            .field("token_file", token_file)
            .field("token", &token.is_some())
            .field("hf_token", &hf_token.is_some())
            .finish()
    }
}

/// Options of older tools that have no work to do here.
#[derive(Debug, Args)]
#[command(next_help_heading = "Accepted for old habits, without effect")]
pub(crate) struct HabitArgs {
    /// Downloads always resume
    #[arg(long)]
    pub(crate) resume_download: bool,
    /// A local directory always gets plain files
    #[arg(long, value_name = "VALUE")]
    pub(crate) local_dir_use_symlinks: Option<String>,
    /// The token alone identifies you
    #[arg(long = "hf_username", alias = "hf-username", value_name = "NAME")]
    pub(crate) hf_username: Option<String>,
    /// hfetchd downloads by itself
    #[arg(long, value_name = "TOOL")]
    pub(crate) tool: Option<String>,
    /// This is the default
    #[arg(long, overrides_with = "force_download")]
    pub(crate) no_force_download: bool,
}

/// Kinds of repositories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RepoTypeArg {
    Model,
    Dataset,
    Space,
}

/// Priorities of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PriorityArg {
    Low,
    Normal,
    High,
}
