//! Floor 5: builds the parts, runs them, stops them in order.

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use jiff::Timestamp;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    api::{self, Listener, Reloaded, ServerError, ServerFacts, ServerOptions},
    cli::{self, Args},
    config::{self, Config, Inputs, Loaded, LogFormat, Mistakes},
    engine::{Clock, Engine},
    hub::{BadProxy, Hub, HubOptions, ProxyPoint, ProxyRules, RouteTable},
    signals::{Ask, SignalStream},
    state_dir::{self, StateDirError},
    telemetry,
};

/// Open calls may take so long to end.
const SERVER_STOP: Duration = Duration::from_secs(1);
/// All of it may take so long, well below the 5 s that we promise.
const STOP: Duration = Duration::from_secs(4);

/// Exit codes, after sysexits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Stopped as asked.
    Clean = 0,
    /// A bug, or the system failed us.
    Internal = 70,
    /// Another daemon is there.
    Busy = 75,
    /// The configuration has mistakes.
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why the daemon cannot run, with its exit code.
#[derive(Debug)]
pub struct Fatal {
    /// The code.
    pub exit: Exit,
    /// What to tell the operator.
    pub error: anyhow::Error,
}

impl<E: Into<anyhow::Error>> From<E> for Fatal {
    fn from(error: E) -> Self {
        let error = error.into();
        let exit = if matches!(error.downcast_ref(), Some(StateDirError::Busy { .. }))
            || matches!(error.downcast_ref(), Some(ServerError::Busy { .. }))
        {
            Exit::Busy
        } else if error.is::<Mistakes>() {
            Exit::Config
        } else {
            Exit::Internal
        };
        Self { exit, error }
    }
}

/// Reads the configuration that the arguments and the environment name.
///
/// # Errors
/// With every mistake in it.
pub fn load(args: &Args) -> Result<(Inputs, Loaded), Mistakes> {
    let inputs = Inputs::from_process(args.config.clone(), args.state_dir.clone(), args.socket.clone());
    let loaded = config::load(&inputs)?;
    Ok((inputs, loaded))
}

/// Runs until a signal or a caller stops it.
///
/// # Errors
/// With the exit code and what to tell the operator.
pub fn run(args: &Args) -> Result<(), Fatal> {
    let (inputs, loaded) = load(args)?;
    // Before the logs: a second daemon must not write into the first one's.
    let lock = state_dir::lock(&loaded.state_dir)?;
    let format = match args.log_format {
        Some(cli::LogFormat::Json) => LogFormat::Json,
        Some(cli::LogFormat::Text) => LogFormat::Text,
        None => loaded.config.log.format,
    };
    telemetry::start(&loaded.config.log.filter, format)?;
    for warning in &loaded.config.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let outcome = runtime.block_on(serve(inputs, loaded));
    // Blocking work that hangs on a dead disk is left behind: the next start finds everything as after a kill.
    runtime.shutdown_timeout(Duration::from_millis(300));
    drop(lock);
    outcome
}

async fn serve(inputs: Inputs, loaded: Loaded) -> Result<(), Fatal> {
    let mut signals = SignalStream::new().context("cannot catch signals")?;
    let started_at = Timestamp::now();
    let Loaded {
        config,
        mode,
        state_dir,
        socket,
        files,
        ..
    } = loaded;
    let (sender, config) = watch::channel(Arc::new(config));
    let hub = Hub::new(hub_options(&config.borrow())?)?;
    // Bound first: a socket that somebody else has must not cost a transfer.
    let listener = Listener::bind(&socket, mode).await?;
    let (engine, mut running) = Engine::start(Clock::system(), &state_dir, mode, config, hub.clone()).await?;
    let show = |path: &PathBuf| path.display().to_string();
    let facts = ServerFacts {
        mode,
        started_at,
        state_dir: show(&state_dir),
        socket: show(&socket),
        config_files: files.iter().map(show).collect(),
    };
    let reload: api::Reload = Arc::new(move || reload(&inputs, &sender, &hub));
    let (shutdown, stopping) = (CancellationToken::new(), CancellationToken::new());
    let options = ServerOptions {
        facts,
        reload: reload.clone(),
        shutdown: shutdown.clone(),
        stopping: stopping.clone(),
    };
    let mut server = JoinSet::new();
    server.spawn(api::serve(listener, engine, options));
    tracing::info!(socket = %socket.display(), version = env!("CARGO_PKG_VERSION"), "ready");
    let ended: anyhow::Result<()> = loop {
        tokio::select! {
            ask = signals.next() => match ask {
                Ask::Stop => break Ok(()),
                Ask::Reload => on_hangup(reload.clone()).await,
            },
            () = shutdown.cancelled() => break Ok(()),
            Some(served) = server.join_next() => break match served {
                Ok(served) => served.context("the control server ended"),
                Err(error) => Err(error).context("the control server panicked"),
            },
            what = running.failed() => break Err(anyhow::anyhow!(what)),
        }
    };
    if let Err(error) = &ended {
        tracing::error!("{error:#}");
    }
    tracing::info!("stopping");
    stopping.cancel();
    let deadline = Instant::now() + STOP;
    if timeout(SERVER_STOP, server.join_all()).await.is_err() {
        tracing::debug!("some callers were cut off");
    }
    if timeout_at(deadline, running.stop()).await.is_err() {
        tracing::warn!("some transfers were cut off; they go on from their last claim");
    }
    tracing::info!("stopped");
    Ok(ended?)
}

fn hub_options(config: &Config) -> anyhow::Result<HubOptions> {
    let mut options = HubOptions::direct(concat!("hfetch/", env!("CARGO_PKG_VERSION")));
    options.stall_timeout = config.transfer.stall_timeout;
    options.routes = routes(config)?;
    Ok(options)
}

/// `[routing]` when there is one, else what the environment says.
fn routes(config: &Config) -> Result<RouteTable, BadProxy> {
    let routing = &config.routing;
    let table = if routing.is_set {
        let proxies = config.proxies.iter().map(|proxy| {
            let login = proxy.login.as_ref().map(|(_, login)| login.clone());
            ProxyPoint::new(&proxy.name, proxy.url.clone(), login)
        });
        RouteTable::rules(routing.all_rules(), proxies.collect())
    } else {
        RouteTable::environment(ProxyRules::from_environment()?)
    };
    Ok(table.allowing(&routing.allow_networks))
}

fn reload(inputs: &Inputs, sender: &watch::Sender<Arc<Config>>, hub: &Hub) -> Result<Reloaded, String> {
    let loaded = config::load(inputs).map_err(|mistakes| mistakes.to_string())?;
    let table = routes(&loaded.config).map_err(|error| error.to_string())?;
    let (changed, needs_restart) = sender.borrow().diff(&loaded.config);
    for warning in &loaded.config.warnings {
        tracing::warn!("{warning}");
    }
    sender.send_replace(Arc::new(loaded.config));
    hub.set_routes(table);
    tracing::info!(?changed, ?needs_restart, "configuration read again");
    Ok(Reloaded { changed, needs_restart })
}

async fn on_hangup(reload: api::Reload) {
    let outcome = tokio::task::spawn_blocking(move || reload()).await;
    match outcome {
        Ok(Ok(_)) => {}
        Ok(Err(mistakes)) => tracing::error!("the configuration stays as it was:\n{mistakes}"),
        Err(error) => tracing::error!(%error, "reload panicked"),
    }
}
