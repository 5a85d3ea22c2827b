//! The engine against a simulated Hub, by a clock that the test sets: days pass in seconds.

mod budgets;
mod forecast;
mod leftovers;
mod nights;
mod schedules;
mod sweeps;
mod takeover;

use std::{path::Path, sync::Arc};

use hfetch_tests::{
    harness::eventually,
    sim::{RepoBuilder, SimHub, Storage, Switches},
};
use jiff::Timestamp;
use tokio::sync::watch;

use super::*;
use crate::{
    config::{self, Inputs},
    hub::HubOptions,
    model::{HoldReason, Owner},
};

const MB: u64 = 1_000_000;
const FILE: &str = "model.safetensors";
/// What may be under way to one connection when it is stopped: 384 KiB, and the Hub's own send buffer.
const IN_FLIGHT: u64 = (384 << 10) + (64 << 10);

/// A Hub with one file, whose send buffers are small: what it counts as sent has nearly arrived.
fn hub(size: u64) -> SimHub {
    let buffers = Switches {
        send_buffer: Some(32 << 10),
        ..Switches::default()
    };
    SimHub::builder()
        .repo(RepoBuilder::model("org/m").seeded_as(FILE, size, 5, Storage::Linked))
        .switches(buffers)
        .start()
        .unwrap()
}

/// What a user says who wants the one repository.
fn submission(user: (u32, &str), change: impl FnOnce(&mut Wish)) -> Submit {
    let mut wish = Wish {
        name: "org/m".to_owned(),
        connections: Some(2),
        ..Wish::default()
    };
    change(&mut wish);
    Submit {
        owner: Owner {
            uid: user.0,
            user: user.1.to_owned(),
        },
        wish,
        request_id: String::new(),
        token: None,
        no_login: true,
    }
}

/// An engine and its clock.
struct World {
    dir: tempfile::TempDir,
    time: watch::Sender<Timestamp>,
    config: watch::Sender<Arc<Config>>,
    engine: Engine,
    running: Running,
}

impl World {
    /// At a moment, with these lines besides `[storage]` in the configuration.
    async fn start(now: &str, toml: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("hf-").tempdir().unwrap();
        std::fs::create_dir(dir.path().join("state")).unwrap();
        let loaded = Arc::new(load(dir.path(), toml));
        let (time, clock) = watch::channel(now.parse().unwrap());
        let (config, seen) = watch::channel(loaded);
        let (engine, running) = begin(&dir, clock, seen).await;
        Self {
            dir,
            time,
            config,
            engine,
            running,
        }
    }

    fn reconfigure(&self, toml: &str) {
        self.config.send_replace(Arc::new(load(self.dir.path(), toml)));
    }

    fn set_time(&self, now: &str) {
        self.time.send_replace(now.parse().unwrap());
    }

    async fn submit(&self, user: (u32, &str), change: impl FnOnce(&mut Wish)) -> JobId {
        self.engine.submit(submission(user, change)).await.unwrap().0.id
    }

    async fn job(&self, id: &JobId) -> Job {
        self.engine.job(Scope::All, id).await.unwrap()
    }

    /// Waits until a job is in a state, for a reason.
    async fn until(&self, id: &JobId, state: JobState, reason: Option<HoldReason>) -> Job {
        let what = format!("{state} {reason:?}");
        let reached = eventually(&what, async || {
            let job = self.job(id).await;
            match (job.state, job.hold_reason) == (state, reason) {
                true => Ok(job),
                false => Err(format!("{job:?}")),
            }
        });
        reached.await.unwrap()
    }

    async fn stop(self) {
        drop(self.engine);
        self.running.stop().await;
    }
}

fn load(dir: &Path, toml: &str) -> Config {
    let path = dir.join("hfetch.toml");
    let cache = dir.join("hub");
    std::fs::write(
        &path,
        format!("{toml}\n[storage]\ncache = '{}'\nmin_free = '1MiB'\n", cache.display()),
    )
    .unwrap();
    let inputs = Inputs::from_process(vec![path], Some(dir.join("state")), Some(dir.join("socket")));
    config::load(&inputs).unwrap().config
}

async fn begin(
    dir: &tempfile::TempDir,
    clock: watch::Receiver<Timestamp>,
    config: watch::Receiver<Arc<Config>>,
) -> (Engine, Running) {
    let hub = Hub::new(HubOptions::direct("hfetch/test")).unwrap();
    let state = dir.path().join("state");
    let tokens = TokenStore::new(&state, None);
    Engine::start(Clock::stepped(clock), &state, Mode::User, config, hub, tokens)
        .await
        .unwrap()
}
