//! Floor 5: builds the parts, runs them, stops them in order.

mod exit;
mod files;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use jiff::Timestamp;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, Interval, interval, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

pub use self::exit::{Exit, Fatal};
use self::files::ConfigFiles;
use crate::{
    api::{self, Listener, RemoteDoor, RemoteListener, ServerFacts, ServerOptions},
    cli::{self, Args},
    config::{self, Config, Inputs, Loaded, LogFormat, Mistakes},
    engine::{Clock, Engine, chain},
    hub::{BadProxy, Hub, HubOptions, ProxyPoint, ProxyRules, RouteTable},
    metrics::{self, MetricsListener},
    resources,
    signals::{Ask, SignalStream},
    state_dir,
    store::Scope,
    systemd::{self, ServiceManager},
    telemetry,
    tokens::{BadKey, SealKey, TokenStore},
};

/// Open calls may take so long to end.
const SERVER_STOP: Duration = Duration::from_secs(1);
/// All of it may take so long, well below the 5 s that we promise.
const STOP: Duration = Duration::from_secs(4);
/// Blocking work may take so long after that.
const BLOCKING_STOP: Duration = Duration::from_millis(300);
/// The service manager is asked for so much more time while the start goes on.
const START: Duration = Duration::from_secs(60);
/// `systemctl status` is brought up to date so often.
const STATUS: Duration = Duration::from_secs(5);

/// Reads the configuration that the arguments and the environment name.
///
/// # Errors
/// With every mistake in it.
pub fn load(args: &Args) -> Result<(Inputs, Loaded), Mistakes> {
    let bad_proxies = ProxyRules::mistakes_of_environment();
    let inputs = Inputs::from_process(args.config.clone(), args.state_dir.clone(), args.socket.clone())
        .with_bad_proxies(
            bad_proxies
                .into_iter()
                .map(|bad| (bad.variable, format!("does not name a proxy: {}", bad.why))),
        );
    let loaded = config::load(&inputs)?;
    Ok((inputs, loaded))
}

/// Runs until a signal or a caller stops it.
///
/// # Errors
/// With the exit code and what to tell the operator.
pub fn run(args: &Args) -> Result<(), Fatal> {
    // First of all: from here on secrets may be in memory.
    let undumped = resources::forbid_dumps();
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
    if let Err(error) = undumped {
        tracing::warn!(%error, "a crash may leave tokens in a core dump");
    }
    resources::allow_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let outcome = runtime.block_on(serve(inputs, loaded));
    // Blocking work that hangs on a dead disk is left behind: the next start finds everything as after a kill.
    runtime.shutdown_timeout(BLOCKING_STOP);
    drop(lock);
    outcome
}

async fn serve(inputs: Inputs, loaded: Loaded) -> Result<(), Fatal> {
    let manager = Arc::new(ServiceManager::of_process().context("cannot talk to the service manager")?);
    let mut signals = SignalStream::new().context("cannot catch signals")?;
    let started_at = Timestamp::now();
    let Loaded {
        config,
        mode,
        state_dir,
        socket,
        ..
    } = loaded;
    let operator_group = config.control.operator_group.clone();
    let (sender, config) = watch::channel(Arc::new(config));
    let hub = Hub::new(hub_options(&config.borrow())?)?;
    // Before anybody can call: what a bad key would refuse must not be half done.
    let tokens = tokens(&state_dir)?;
    // Bound first: a socket that somebody else has must not cost a transfer.
    let (listener, socket) = match systemd::passed_socket()? {
        Some((listener, path)) => (Listener::passed(listener, &path)?, path),
        None => (Listener::bind(&socket, mode).await?, socket),
    };
    let control = config.borrow().control.remote.clone();
    let remote = match control {
        None => None,
        Some(options) => {
            let door = Arc::new(RemoteDoor::new(&options, &state_dir)?);
            let port = RemoteListener::bind(options.listen).await;
            let port = port.with_context(|| format!("cannot listen at {} (control.listen)", options.listen))?;
            tracing::info!(address = %port.address, "serving callers over TCP");
            Some((port, door))
        }
    };
    let scraped = config.borrow().metrics.listen;
    let scraped = match scraped {
        None => None,
        Some(address) => {
            let port = MetricsListener::bind(address).await;
            let port = port.with_context(|| format!("cannot listen at {address} (metrics.listen)"))?;
            tracing::info!(address = %port.address, "serving metrics");
            Some(port)
        }
    };
    let door = remote.as_ref().map(|(_, door)| door.clone());
    let starting = Engine::start(Clock::system(), &state_dir, mode, config, hub.clone(), tokens);
    let mut starting = std::pin::pin!(starting);
    let mut patience = interval(START / 3);
    let (engine, mut running) = loop {
        tokio::select! {
            started = &mut starting => break started?,
            _ = patience.tick() => manager.starting(START),
        }
    };
    let show = |path: &PathBuf| path.display().to_string();
    let facts = ServerFacts {
        mode,
        started_at,
        state_dir: show(&state_dir),
        socket: show(&socket),
    };
    let told = manager.clone();
    let files = Arc::new(ConfigFiles::new(inputs, started_at, sender, hub, door));
    let looked_at = files.clone();
    let look: api::Look = Arc::new(move || looked_at.look());
    let reload: api::Reload = Arc::new(move || {
        told.reloading();
        let outcome = files.reload();
        told.ready();
        outcome
    });
    let (shutdown, stopping) = (CancellationToken::new(), CancellationToken::new());
    let options = ServerOptions {
        facts,
        operator_group,
        remote,
        reload: reload.clone(),
        look,
        shutdown: shutdown.clone(),
        stopping: stopping.clone(),
    };
    let mut server = JoinSet::new();
    if let Some(port) = scraped {
        let (engine, stopping) = (engine.clone(), stopping.clone());
        server.spawn(async move {
            metrics::serve(port, engine, stopping).await;
            Ok(())
        });
    }
    let watched = engine.clone();
    server.spawn(api::serve(listener, engine, options));
    let mut pings = manager.ping_every().map(interval);
    let mut asked = JoinSet::new();
    let mut status = interval(STATUS);
    // The socket takes calls since it was bound, and the store is open.
    manager.ready();
    tracing::info!(socket = %socket.display(), version = env!("CARGO_PKG_VERSION"), "ready");
    let ended: anyhow::Result<()> = loop {
        tokio::select! {
            ask = signals.next() => match ask {
                Ask::Stop => break Ok(()),
                Ask::Reload => files::on_hangup(reload.clone()).await,
            },
            () = shutdown.cancelled() => break Ok(()),
            Some(served) = server.join_next() => break match served {
                Ok(served) => served.context("the control server ended"),
                Err(error) => Err(error).context("the control server panicked"),
            },
            () = tick(&mut pings) => {
                // One question at a time: while it is not answered, nobody is told that all is well.
                if asked.is_empty() {
                    let (engine, manager) = (watched.clone(), manager.clone());
                    asked.spawn(async move {
                        engine.answers().await;
                        manager.ping();
                    });
                }
            }
            Some(_) = asked.join_next() => {}
            _ = status.tick(), if manager.is_there() => manager.status(&status_line(&watched)),
            what = running.failed() => break Err(anyhow::anyhow!(what)),
        }
    };
    if let Err(error) = &ended {
        tracing::error!("{error:#}");
    }
    tracing::info!("stopping");
    manager.stopping();
    stopping.cancel();
    // Both hold the engine, and with it the store.
    asked.shutdown().await;
    drop(watched);
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

/// The token store, with the key that the service manager gave, if it did. What cannot be read is told now, and not only to
/// the users whose jobs will miss it.
fn tokens(state_dir: &Path) -> Result<TokenStore, BadKey> {
    let key = match std::env::var_os("CREDENTIALS_DIRECTORY") {
        Some(folder) => SealKey::of_credentials(Path::new(&folder))?,
        None => None,
    };
    let store = TokenStore::new(state_dir, key);
    for error in store.put_in_order() {
        tracing::error!(error = chain(&error), "a user's tokens cannot be used");
    }
    Ok(store)
}

/// The next tick; never without a clock.
async fn tick(clock: &mut Option<Interval>) {
    match clock {
        Some(clock) => drop(clock.tick().await),
        None => std::future::pending().await,
    }
}

/// What `systemctl status` shows.
fn status_line(engine: &Engine) -> String {
    let active = engine.active_jobs(Scope::All).len();
    let mibs = engine.bytes_per_sec() / (1 << 20);
    match active {
        0 => "idle".to_owned(),
        1 => format!("1 job active, {mibs} MiB/s"),
        _ => format!("{active} jobs active, {mibs} MiB/s"),
    }
}

fn hub_options(config: &Config) -> anyhow::Result<HubOptions> {
    let mut options = HubOptions::direct(concat!("hfetch/", env!("CARGO_PKG_VERSION")));
    options.stall_timeout = config.transfer.stall_timeout;
    // Who waits longer for a byte waits longer for an answer, too.
    options.metadata_timeout = options.metadata_timeout.max(options.stall_timeout);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A limit of a unit file, in seconds.
    fn limit(unit: &str, key: &str) -> u64 {
        let line = unit
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .unwrap_or_else(|| panic!("no {key}"));
        line.trim_end_matches('s').parse().unwrap()
    }

    #[test]
    fn we_stop_before_systemd_loses_patience() {
        let ours = STOP + BLOCKING_STOP;
        assert!(SERVER_STOP < STOP, "the engine needs the rest");
        assert!(ours < Duration::from_secs(5), "what README promises");
        for unit in [
            include_str!("../../systemd/hfetchd.service"),
            include_str!("../../systemd/user/hfetchd.service"),
        ] {
            let theirs = Duration::from_secs(limit(unit, "TimeoutStopSec"));
            assert!(ours * 2 < theirs, "{ours:?} of ours, {theirs:?} of systemd's");
        }
    }
}
