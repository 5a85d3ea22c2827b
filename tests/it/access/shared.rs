//! One cache for several users of the machine: what one has fetched of a gated repository is another's only by the origin's word
//! on that other's own token. The users are real ones, as the kernel tells them.

use std::{fs, os::unix::fs::PermissionsExt as _};

use anyhow::Context as _;
use hfetch_proto::v1::{
    GetJobRequest, HoldReason, Job, JobSpec, JobState, SubmitJobRequest, job_service_client::JobServiceClient,
};
use hfetch_tests::{
    check,
    harness::{Scratch, channel_as, eventually},
    python,
    sim::{Gated, Host, Kind, RepoBuilder, SimHub},
};
use tonic::transport::Channel;

const ANN: u32 = 1500;
const BEN: u32 = 1501;
const LARGE: (&str, u64) = ("model.safetensors", 3_000_000);

fn repo() -> RepoBuilder {
    RepoBuilder::model("org/gated")
        .plain("config.json", b"{}".to_vec())
        .seeded(LARGE.0, LARGE.1, 7)
}

/// A user of the machine, with a token or without.
struct User<'a> {
    jobs: JobServiceClient<Channel>,
    token: &'a str,
}

impl User<'_> {
    async fn submit(&mut self, endpoints: &[&str]) -> anyhow::Result<Job> {
        let spec = JobSpec {
            name: "org/gated".to_owned(),
            endpoints: endpoints.iter().map(|name| (*name).to_owned()).collect(),
            ..JobSpec::default()
        };
        let request = SubmitJobRequest {
            spec: Some(spec),
            token: self.token.to_owned(),
            ..SubmitJobRequest::default()
        };
        self.jobs.submit_job(request).await?.into_inner().job.context("a job")
    }

    /// The job when it is in a state.
    async fn until(&self, job: &Job, state: JobState) -> anyhow::Result<Job> {
        let request = GetJobRequest { id: job.id.clone() };
        eventually(state.as_str_name(), async || {
            let mut jobs = self.jobs.clone();
            let answer = jobs
                .get_job(request.clone())
                .await
                .map_err(|status| status.to_string())?;
            let job = answer.into_inner().job.unwrap_or_default();
            if job.state() == state {
                Ok(job)
            } else {
                Err(format!("{job:?}"))
            }
        })
        .await
    }
}

fn shared(hub: &SimHub, mirror: &SimHub) -> anyhow::Result<Scratch> {
    let scratch = Scratch::new(hub.endpoint())?;
    let cache = scratch.cache();
    fs::create_dir_all(&cache)?;
    let config = format!(
        "[storage]\ncache = \"{}\"\nmin_free = 0\n\n[[endpoints]]\nname = \"hub\"\nurl = \"{}\"\ntoken = \"own\"\n\n\
         [[endpoints]]\nname = \"mirror\"\nurl = \"{}\"\n",
        cache.display(),
        hub.endpoint(),
        mirror.endpoint()
    );
    let state = scratch.state().display().to_string();
    scratch.env("STATE_DIRECTORY", &state).config(&config)
}

async fn user<'a>(scratch: &Scratch, uid: u32, token: &'a str) -> anyhow::Result<User<'a>> {
    for (path, mode) in [
        (scratch.path(""), 0o711),
        (scratch.state(), 0o711),
        (scratch.socket(), 0o666),
    ] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).with_context(|| path.display().to_string())?;
    }
    let jobs = JobServiceClient::new(channel_as(uid, scratch.socket()).await?);
    Ok(User { jobs, token })
}

/// Body bytes of the large file that both hubs have sent.
fn sent(hubs: [&SimHub; 2]) -> u64 {
    hubs.map(|hub| hub.journal().bytes_sent_for(LARGE.0)).iter().sum()
}

#[tokio::test]
async fn what_one_user_has_fetched_is_anothers_by_the_origins_word_alone() -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        python::skip("playing other users needs root");
        return Ok(());
    }
    let hub = SimHub::builder()
        .repo(repo().gated(Gated::Manual, &["ann"]))
        .token("hf_ann", "ann")
        .token("hf_ben", "ben")
        .start()?;
    // A mirror that gives away what it has, and does not even say that it is gated.
    let mirror = SimHub::builder().repo(repo()).start()?;
    let scratch = shared(&hub, &mirror)?;
    let daemon = scratch.daemon().await?;
    let mut ann = user(&scratch, ANN, "hf_ann").await?;
    let job = ann.submit(&[]).await?;
    ann.until(&job, JobState::Done).await?;
    let fetched = sent([&hub, &mirror]);
    assert!(fetched >= LARGE.1);

    let mut ben = user(&scratch, BEN, "hf_ben").await?;
    let mut nobody = user(&scratch, BEN, "").await?;
    // Without a token, and by the mirror's word alone, also once the origin is away.
    for endpoints in [&["hub"][..], &["mirror"]] {
        let job = nobody.submit(endpoints).await?;
        let failure = nobody
            .until(&job, JobState::Failed)
            .await?
            .failure
            .context("a failure")?;
        assert_eq!(failure.kind, "gated", "{endpoints:?}: {failure:?}");
        assert!(!failure.hint.is_empty());
    }
    let job = nobody.submit(&["mirror", "hub"]).await?;
    assert_eq!(
        nobody
            .until(&job, JobState::Failed)
            .await?
            .failure
            .context("a failure")?
            .kind,
        "gated"
    );
    let waits = ben.submit(&[]).await?;
    assert_eq!(
        (waits.state(), waits.hold_reason()),
        (JobState::Held, HoldReason::Access)
    );
    let also = ben.submit(&["mirror", "hub"]).await?;
    assert_eq!((also.state(), also.hold_reason()), (JobState::Held, HoldReason::Access));
    assert_eq!(sent([&hub, &mirror]), fetched, "{}", mirror.journal().text());

    hub.take_down(Host::Hub).await;
    let away = nobody.submit(&["mirror", "hub"]).await?;
    let held = nobody.until(&away, JobState::Held).await?;
    assert_eq!(held.hold_reason(), HoldReason::Endpoint, "{held:?}");
    hub.bring_up(Host::Hub)?;

    hub.change_repo(Kind::Model, "org/gated", |repo| repo.accepted.insert("ben".to_owned()))?;
    ben.until(&waits, JobState::Done).await?;
    ben.until(&also, JobState::Done).await?;
    // It came out of the cache; what the origin sent was its word, for which it saw Ben's own token.
    let asked = hub.journal().authorizations(Host::Hub);
    assert!(asked.iter().any(|seen| seen.contains("hf_ben")), "{asked:?}");
    assert!(
        sent([&hub, &mirror]) < fetched + LARGE.1 / 2,
        "{}",
        hub.journal().text()
    );
    for host in [Host::Hub, Host::Cdn] {
        assert_eq!(mirror.journal().authorizations(host), [] as [&str; 0]);
    }
    assert_eq!(hub.journal().authorizations(Host::Cdn), [] as [&str; 0]);
    daemon.stop().await?;
    check::sound(&scratch, &[&hub, &mirror])
}
