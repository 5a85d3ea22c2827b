//! Users of a shared daemon who want more than there is: they are played by their uids, and what each got is compared.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use hfetch_proto::v1::{self, job_service_client::JobServiceClient};
use tonic::transport::Channel;

use crate::harness::channel_as;

/// Two users of every Debian: `www-data` and `nobody`.
pub const USERS: [(u32, &str); 2] = [(33, "www-data"), (65534, "nobody")];

/// How even shares are, by Jain's index: 1 when all are the same, 1/n when one has all. Weighted shares are divided by their
/// weights first.
pub fn jain(shares: &[f64]) -> f64 {
    let sum: f64 = shares.iter().sum();
    let squares: f64 = shares.iter().map(|share| share * share).sum();
    let count = shares.iter().map(|_| 1.0).sum::<f64>();
    sum * sum / (count * squares)
}

/// Lets everybody connect to a daemon's socket in its state directory below a folder.
///
/// # Errors
/// When the modes cannot be set.
pub fn open_to_all(folder: &Path, state: &Path) -> anyhow::Result<()> {
    for (path, mode) in [(folder, 0o711), (state, 0o711), (&state.join("hfetchd.sock"), 0o666)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// A user at the daemon. Needs root.
pub struct User {
    jobs: JobServiceClient<Channel>,
}

impl User {
    /// Connects.
    ///
    /// # Errors
    /// When the uid cannot be taken, or nobody answers.
    pub async fn connect(uid: u32, socket: PathBuf) -> anyhow::Result<Self> {
        let jobs = JobServiceClient::new(channel_as(uid, socket).await?);
        Ok(Self { jobs })
    }

    /// Submits a model by so many connections, and gives the job's id.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn submit(&mut self, repo: &str, connections: u32) -> anyhow::Result<String> {
        let spec = v1::JobSpec {
            name: repo.to_owned(),
            connections,
            ..v1::JobSpec::default()
        };
        let request = v1::SubmitJobRequest {
            spec: Some(spec),
            ..v1::SubmitJobRequest::default()
        };
        Ok(self
            .jobs
            .submit_job(request)
            .await?
            .into_inner()
            .job
            .context("a job")?
            .id)
    }

    /// Bytes of a job that have come.
    ///
    /// # Errors
    /// When there is no such job.
    pub async fn bytes_done(&mut self, id: &str) -> anyhow::Result<u64> {
        let request = v1::GetJobRequest { id: id.to_owned() };
        Ok(self
            .jobs
            .get_job(request)
            .await?
            .into_inner()
            .job
            .context("a job")?
            .bytes_done)
    }
}

#[test]
fn jains_index() {
    let check = |shares: &[f64], expected: f64| assert!((jain(shares) - expected).abs() < 1e-9, "{shares:?}");
    check(&[5.0, 5.0, 5.0], 1.0);
    check(&[1.0, 0.0, 0.0, 0.0], 0.25);
    check(&[3.0, 1.0], 0.8);
}
