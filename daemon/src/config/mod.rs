//! The configuration: files, then `HFETCH_*`, over defaults; every mistake at once, each with its place. Floor 2.
//!
//! It reads files and never writes any, it opens no socket, and it gives plain data: what a key does is its module's matter.
//! `inputs` alone looks at the process and the disk; everything else is a function of what was read.

mod clash;
mod duration;
mod inputs;
mod keys;
mod mistakes;
mod nearest;
mod origin;
mod paths;
mod places;
mod rules;
mod section;
mod sections;
mod settings;
mod shape;
#[cfg(test)]
mod tests;
mod timetable;
mod toml_text;
mod tree;
mod values;
mod variables;
mod week;

use std::{collections::BTreeMap, path::PathBuf};

#[cfg(test)]
pub(crate) use tests::config_of;

pub use clash::ClashRules;
pub use inputs::Inputs;
pub use keys::known_keys;
pub use mistakes::Mistakes;
pub use places::Mode;
pub use sections::{
    bandwidth::BandwidthOptions,
    control::{ControlOptions, RemoteOptions},
    endpoints::{Bytes, DEFAULT_MAX_CONNECTIONS, EndpointOptions, HUB, TokenPolicy, is_hub, is_public_mirror},
    events::EventOptions,
    jobs::JobOptions,
    log::{LogFormat, LogOptions},
    metrics::MetricsOptions,
    proxies::ProxyOptions,
    routing::RoutingOptions,
    storage::{MinFree, PageCache, StorageOptions},
    transfer::TransferOptions,
    users::{UserOptions, Users},
    windows::{WindowOptions, parse_period},
};
pub use timetable::parse_limit;
pub use week::BadText;

use inputs::{Context, FileText};
use mistakes::Mistake;
use origin::{Origin, SourceFile};
use section::Reader;
use settings::Setting;
use tree::Table;

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[storage]`.
    pub storage: StorageOptions,
    /// `[transfer]`.
    pub transfer: TransferOptions,
    /// `[control]`.
    pub control: ControlOptions,
    /// `[bandwidth]`.
    pub bandwidth: BandwidthOptions,
    /// `[windows]`.
    pub windows: BTreeMap<String, WindowOptions>,
    /// `[[endpoints]]`, or the default one. Never empty.
    pub endpoints: Vec<EndpointOptions>,
    /// `[[proxies]]`.
    pub proxies: Vec<ProxyOptions>,
    /// `[routing]`.
    pub routing: RoutingOptions,
    /// `[aliases]`.
    pub aliases: BTreeMap<String, String>,
    /// `[jobs]`.
    pub jobs: JobOptions,
    /// `[events]`.
    pub events: EventOptions,
    /// `[users]`.
    pub users: Users,
    /// `[log]`.
    pub log: LogOptions,
    /// `[metrics]`.
    pub metrics: MetricsOptions,
    /// The files that were read, in order.
    pub files: Vec<PathBuf>,
    /// What is no mistake, but should be known.
    pub warnings: Vec<String>,
    settings: Vec<Setting>,
}

impl Config {
    /// What another configuration would change: dotted keys, and those among them that need a restart.
    pub fn diff(&self, other: &Self) -> (Vec<String>, Vec<String>) {
        settings::diff(&self.settings, &other.settings)
    }
}

/// A configuration and where everything is.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The checked keys.
    pub config: Config,
    /// Whose daemon it is.
    pub mode: Mode,
    /// Where databases and tokens are.
    pub state_dir: PathBuf,
    /// Where callers connect.
    pub socket: PathBuf,
}

impl Loaded {
    /// The configuration in force as TOML, with the origin of each key beside it.
    pub fn print(&self) -> String {
        let mode = match self.mode {
            Mode::User => "user",
            Mode::System => "system",
        };
        let mut text = format!("# mode: {mode}\n# state: {}\n", origin::shown(&self.state_dir));
        text.push_str(&format!("# socket: {}\n", origin::shown(&self.socket)));
        for file in &self.config.files {
            text.push_str(&format!("# read: {}\n", origin::shown(file)));
        }
        text.push_str(&settings::print(&self.config.settings));
        text
    }
}

/// Reads the files that the inputs name and checks all of it.
///
/// # Errors
/// With every mistake.
pub fn load(inputs: &Inputs) -> Result<Loaded, Mistakes> {
    let (places, mut found) = places::find(inputs);
    let texts = inputs::read_files(&places);
    let context = Context {
        mode: places.mode,
        environment: &inputs.environment,
        current_dir: &inputs.current_dir,
        read_file: &inputs::read_named,
        bad_proxies: &inputs.bad_proxies,
    };
    let (config, mistakes) = check(&context, &texts);
    found.extend(mistakes);
    Mistakes::check(found)?;
    let Some(config) = config else {
        // A section that is missing without a mistake would be a bug of this module.
        let bug = Mistake::new(Origin::Default, "", "the configuration cannot be read (this is a bug)");
        return Err(Mistakes::of(bug));
    };
    Ok(Loaded {
        config: Config {
            files: texts.into_iter().map(|(path, _)| path).collect(),
            ..config
        },
        mode: places.mode,
        state_dir: places.state_dir,
        socket: places.socket,
    })
}

/// The configuration that some texts and variables give, or all their mistakes.
fn check(context: &Context<'_>, texts: &[FileText]) -> (Option<Config>, Vec<Mistake>) {
    let mut reader = Reader::default();
    let mut root = Table::new();
    let mut broken = Vec::new();
    for (index, (path, text)) in texts.iter().enumerate() {
        let file = SourceFile {
            index,
            path: path.as_path().into(),
        };
        match text {
            Ok(text) => {
                let parsed = toml_text::parse(&file, text);
                reader.mistakes.extend(parsed.mistakes);
                broken.extend(parsed.broken_lines.into_iter().map(|line| (index, line)));
                tree::merge(&mut root, parsed.table);
            }
            Err(why) => {
                let (line, column) = (0, 0);
                let whole = Origin::File { file, line, column };
                reader.mistake(whole, "", format!("cannot be read: {why}"));
            }
        }
    }
    let told = reader.mistakes.len();
    let said = variables::read(context.environment);
    reader.mistakes.extend(said.mistakes);
    reader.warnings.extend(said.warnings);
    tree::merge(&mut root, said.table);

    let config = read_sections(&mut reader, root, context);
    // What was made of a line that is not TOML is no second mistake.
    let syntax: Vec<Mistake> = reader.mistakes.drain(..told).collect();
    reader.mistakes.retain(|mistake| match &mistake.origin {
        Origin::File { file, line, .. } => !broken.contains(&(file.index, *line)),
        Origin::Default | Origin::Variable(_) => true,
    });
    let mistakes = syntax.into_iter().chain(reader.mistakes).collect();
    (config, mistakes)
}

fn read_sections(reader: &mut Reader, mut root: Table, context: &Context<'_>) -> Option<Config> {
    // All of them are read before the first `?`.
    let storage = sections::storage::read(reader, &mut root, context);
    let transfer = sections::transfer::read(reader, &mut root);
    let control = sections::control::read(reader, &mut root, context);
    let bandwidth = sections::bandwidth::read(reader, &mut root);
    let windows = sections::windows::read(reader, &mut root);
    let endpoints = sections::endpoints::read(reader, &mut root, context);
    let proxies = sections::proxies::read(reader, &mut root, context);
    let routing = sections::routing::read(reader, &mut root, context, &proxies.names);
    if routing.as_ref().is_some_and(|routing| !routing.is_set) {
        for (variable, why) in context.bad_proxies {
            reader.mistake(Origin::variable(variable), "", why.as_str());
        }
    }
    let aliases = sections::aliases::read(reader, &mut root);
    let users = sections::users::read(reader, &mut root, context);
    let jobs = sections::jobs::read(reader, &mut root);
    let events = sections::events::read(reader, &mut root);
    let log = sections::log::read(reader, &mut root);
    let metrics = sections::metrics::read(reader, &mut root);
    reader.unknown_sections(root);
    Some(Config {
        storage: storage?,
        transfer: transfer?,
        control: control?,
        bandwidth: bandwidth?,
        windows: windows?,
        endpoints: endpoints?,
        proxies: proxies.options?,
        routing: routing?,
        aliases: aliases?,
        jobs: jobs?,
        events: events?,
        users: users?,
        log: log?,
        metrics: metrics?,
        files: Vec::new(),
        warnings: std::mem::take(&mut reader.warnings),
        settings: std::mem::take(&mut reader.settings),
    })
}
