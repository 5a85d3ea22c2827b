//! Who may do what (F16): every method there is, called by each kind of caller over the real socket, with the uid that the
//! kernel tells.

use std::{fs, os::unix::fs::PermissionsExt as _};

use anyhow::Context as _;
use hfetch_proto::v1::{
    self, bandwidth_service_client::BandwidthServiceClient, job_service_client::JobServiceClient,
    route_service_client::RouteServiceClient, schedule_service_client::ScheduleServiceClient,
};
use hfetch_tests::{
    harness::{Scratch, channel_as},
    python,
};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic::{Code, Request, client::Grpc, transport::Channel};
use tonic_prost::ProstCodec;

const ROOT: u32 = 0;
pub(super) const ANN: u32 = 1500;
const BEN: u32 = 1501;
const NOBODY: u32 = 65534;
/// `www-data` of every Debian, whose group is made the operators' one.
pub(super) const OPERATOR: u32 = 33;
const OPERATORS: &str = "www-data";

/// Beside ours: those of health and reflection.
const FOREIGN: [&str; 5] = [
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/List",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];
const OPERATORS_ONLY: [&str; 9] = [
    "/hfetch.v1.AdminService/BackUpStore",
    "/hfetch.v1.AdminService/Reload",
    "/hfetch.v1.AdminService/Shutdown",
    "/hfetch.v1.BandwidthService/SetLimit",
    "/hfetch.v1.CacheService/ListCache",
    "/hfetch.v1.CacheService/PruneCache",
    "/hfetch.v1.CacheService/RemoveCached",
    "/hfetch.v1.CacheService/SetPins",
    "/hfetch.v1.CacheService/VerifyCache",
];
const SHUTDOWN: &str = "/hfetch.v1.AdminService/Shutdown";

/// Every path, and the one that ends the daemon last.
fn methods() -> anyhow::Result<Vec<String>> {
    let set = FileDescriptorSet::decode(hfetch_proto::FILE_DESCRIPTOR_SET)?;
    let mut paths: Vec<String> = FOREIGN.map(str::to_owned).to_vec();
    for file in set.file.iter().filter(|file| file.package() == "hfetch.v1") {
        for service in &file.service {
            let methods = service.method.iter();
            paths.extend(methods.map(|method| format!("/hfetch.v1.{}/{}", service.name(), method.name())));
        }
    }
    assert!(paths.len() > FOREIGN.len() + 15, "{paths:?}");
    paths.sort_by_key(|path| path == SHUTDOWN);
    Ok(paths)
}

/// Calls a method with an empty message; every kind of method begins so on the wire.
async fn call(channel: &Channel, path: &str) -> anyhow::Result<Code> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await?;
    let codec = ProstCodec::<(), ()>::default();
    let answer = grpc.server_streaming(Request::new(()), path.parse()?, codec).await;
    Ok(answer.map_or_else(|status| status.code(), |_| Code::Ok))
}

/// Whether the test can play users. Says so when it cannot.
pub(super) fn can_play_users() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        python::skip("playing other users needs root");
    }
    root
}

/// Lets everybody connect, as if the socket's mode were wrong: what counts is who calls.
pub(super) fn open_to_all(scratch: &Scratch) -> anyhow::Result<()> {
    for (path, mode) in [
        (scratch.path(""), 0o711),
        (scratch.state(), 0o711),
        (scratch.socket(), 0o666),
    ] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

pub(super) fn shared() -> anyhow::Result<Scratch> {
    let scratch = Scratch::new("http://127.0.0.1:9")?;
    let cache = scratch.cache();
    fs::create_dir_all(&cache)?;
    let config = format!(
        "[storage]\ncache = \"{}\"\nmin_free = 0\n\n[control]\noperator_group = \"{OPERATORS}\"\n",
        cache.display()
    );
    let state = scratch.state().display().to_string();
    // What systemd sets makes it a daemon for all.
    scratch.env("STATE_DIRECTORY", &state).config(&config)
}

#[tokio::test]
async fn a_users_daemon_serves_nobody_else() -> anyhow::Result<()> {
    if !can_play_users() {
        return Ok(());
    }
    let scratch = Scratch::new("http://127.0.0.1:9")?;
    let daemon = scratch.daemon().await?;
    open_to_all(&scratch)?;
    for uid in [ANN, OPERATOR, NOBODY] {
        let channel = channel_as(uid, scratch.socket()).await?;
        for path in methods()? {
            let code = call(&channel, &path).await?;
            let denied = code == Code::PermissionDenied;
            assert_eq!(
                denied,
                !path.starts_with("/grpc.health."),
                "uid {uid}: {path}: {code:?}"
            );
        }
    }
    let channel = channel_as(ROOT, scratch.socket()).await?;
    for path in methods()? {
        let code = call(&channel, &path).await?;
        assert_ne!(code, Code::PermissionDenied, "{path}");
    }
    // The last one was the order to stop.
    assert_eq!(daemon.wait().await?.code(), Some(0));
    Ok(())
}

#[tokio::test]
async fn a_shared_daemon_serves_all_and_obeys_operators() -> anyhow::Result<()> {
    if !can_play_users() {
        return Ok(());
    }
    let scratch = shared()?;
    let daemon = scratch.daemon().await?;
    open_to_all(&scratch)?;
    for (uid, operator) in [(ANN, false), (NOBODY, false), (OPERATOR, true), (ROOT, true)] {
        let channel = channel_as(uid, scratch.socket()).await?;
        for path in methods()? {
            let code = call(&channel, &path).await?;
            // Nobody stops it but systemd.
            let expected = path == SHUTDOWN || (!operator && OPERATORS_ONLY.contains(&path.as_str()));
            let denied = code == Code::PermissionDenied;
            assert_eq!(denied, expected, "uid {uid}: {path}: {code:?}");
        }
        for path in [
            "/hfetch.v1.JobService/DropAllJobs",
            "/hfetch.v2.JobService/GetJob",
            "/x",
        ] {
            assert_eq!(call(&channel, path).await?, Code::Unimplemented, "{path}");
        }
    }
    let log = scratch.log();
    let refused = log
        .lines()
        .find(|line| line.contains("refused") && line.contains("AdminService/Reload"));
    assert!(refused.is_some_and(|line| line.contains("uid 1500")), "{log}");
    daemon.stop().await?;
    Ok(())
}

#[tokio::test]
async fn jobs_of_others_do_not_exist() -> anyhow::Result<()> {
    if !can_play_users() {
        return Ok(());
    }
    let scratch = shared()?;
    let daemon = scratch.daemon().await?;
    open_to_all(&scratch)?;
    let mut ann = JobServiceClient::new(channel_as(ANN, scratch.socket()).await?);
    let mut ben = JobServiceClient::new(channel_as(BEN, scratch.socket()).await?);
    let spec = v1::JobSpec {
        name: "org/secret-name".into(),
        ..v1::JobSpec::default()
    };
    let submit = v1::SubmitJobRequest {
        spec: Some(spec),
        ..v1::SubmitJobRequest::default()
    };
    let job = ann.submit_job(submit).await?.into_inner().job.context("a job")?;
    assert_eq!(job.uid, ANN);
    let id = job.id;

    let get = v1::GetJobRequest { id: id.clone() };
    let nothing = ben.get_job(get.clone()).await.map_err(|status| status.code());
    assert_eq!(nothing.map(drop), Err(Code::NotFound));
    // A prefix finds no more than the whole id does.
    let prefix = v1::GetJobRequest { id: id[..3].to_owned() };
    assert_eq!(
        ben.get_job(prefix).await.map(drop).map_err(|s| s.code()),
        Err(Code::NotFound)
    );
    let files = v1::ListFilesRequest {
        id: id.clone(),
        ..v1::ListFilesRequest::default()
    };
    assert_eq!(
        ben.list_files(files).await.map(drop).map_err(|s| s.code()),
        Err(Code::NotFound)
    );
    let mut routes = RouteServiceClient::new(channel_as(BEN, scratch.socket()).await?);
    let account = v1::ListJobRoutesRequest { id: id.clone() };
    let account = routes.list_job_routes(account).await;
    assert_eq!(account.map(drop).map_err(|s| s.code()), Err(Code::NotFound));
    assert!(
        ben.list_jobs(v1::ListJobsRequest::default())
            .await?
            .into_inner()
            .jobs
            .is_empty()
    );

    let one = |id: &str| {
        Some(v1::Selector {
            ids: vec![id.to_owned()],
            ..v1::Selector::default()
        })
    };
    let all = Some(v1::Selector {
        all: true,
        ..v1::Selector::default()
    });
    let everybodys = Some(v1::Selector {
        all: true,
        all_users: true,
        ..v1::Selector::default()
    });
    let cancelled = ben
        .cancel_jobs(v1::CancelJobsRequest { selector: one(&id) })
        .await?
        .into_inner();
    assert!(cancelled.jobs.is_empty());
    assert_eq!(cancelled.refusals[0].reason, "JOB_NOT_FOUND");
    let cancelled = ben
        .cancel_jobs(v1::CancelJobsRequest { selector: all.clone() })
        .await?
        .into_inner();
    assert!(
        cancelled.jobs.is_empty() && cancelled.refusals.is_empty(),
        "{cancelled:?}"
    );
    let denied = ben
        .cancel_jobs(v1::CancelJobsRequest {
            selector: everybodys.clone(),
        })
        .await;
    assert_eq!(denied.map(drop).map_err(|s| s.code()), Err(Code::PermissionDenied));
    let mut operator = JobServiceClient::new(channel_as(OPERATOR, scratch.socket()).await?);
    // Also an operator's "all" are their own.
    let cancelled = operator.cancel_jobs(v1::CancelJobsRequest { selector: all }).await?;
    assert_eq!(cancelled.into_inner().jobs_total, 0);
    let still = ann.get_job(get).await?.into_inner().job.context("a job")?;
    assert_ne!(still.state, v1::JobState::Cancelled as i32);

    // An operator may, and it is written down who it was.
    let mut bandwidth = BandwidthServiceClient::new(channel_as(ANN, scratch.socket()).await?);
    let change = v1::UpdateJobsRequest {
        selector: one(&id),
        limit: Some("1M".into()),
        ..v1::UpdateJobsRequest::default()
    };
    assert_eq!(bandwidth.update_jobs(change).await?.into_inner().jobs_total, 1);
    let ended = operator
        .cancel_jobs(v1::CancelJobsRequest { selector: everybodys })
        .await?
        .into_inner();
    assert_eq!((ended.jobs.len(), ended.jobs_total), (1, 1), "{ended:?}");
    let log = scratch.log();
    for (method, uid) in [
        ("JobService/SubmitJob", ANN),
        ("BandwidthService/UpdateJobs", ANN),
        ("JobService/CancelJobs", OPERATOR),
    ] {
        let line = log.lines().find(|line| line.contains(method) && line.contains(&id));
        let line = line.with_context(|| format!("{method} is not written down:\n{log}"))?;
        assert!(
            line.contains(&format!("uid={uid} ")) && line.contains("outcome=Ok"),
            "{line}"
        );
        assert!(!line.contains("secret-name"), "{line}");
    }
    daemon.stop().await?;
    Ok(())
}

/// What a user gets who asks for a schedule, and does to it all that one can.
async fn all_of_a_schedule(schedules: &mut ScheduleServiceClient<Channel>, id: &str) -> Vec<(&'static str, Code)> {
    let id = id.to_owned();
    let code = |status: Result<(), tonic::Status>| status.map_or_else(|status| status.code(), |()| Code::Ok);
    let get = schedules.get_schedule(v1::GetScheduleRequest { id: id.clone() }).await;
    let pause = schedules
        .pause_schedule(v1::PauseScheduleRequest { id: id.clone() })
        .await;
    let resume = schedules
        .resume_schedule(v1::ResumeScheduleRequest { id: id.clone() })
        .await;
    // Its run comes to nothing here, for no Hub answers: what counts is whether one may.
    let run = schedules.run_schedule(v1::RunScheduleRequest { id: id.clone() }).await;
    let remove = schedules.remove_schedule(v1::RemoveScheduleRequest { id }).await;
    vec![
        ("get", code(get.map(drop))),
        ("pause", code(pause.map(drop))),
        ("resume", code(resume.map(drop))),
        ("run", code(run.map(drop))),
        ("remove", code(remove.map(drop))),
    ]
}

#[tokio::test]
async fn schedules_of_others_do_not_exist() -> anyhow::Result<()> {
    if !can_play_users() {
        return Ok(());
    }
    let scratch = shared()?;
    let daemon = scratch.daemon().await?;
    open_to_all(&scratch)?;
    let of = async |uid| anyhow::Ok(ScheduleServiceClient::new(channel_as(uid, scratch.socket()).await?));
    let (mut ann, mut ben, mut operator) = (of(ANN).await?, of(BEN).await?, of(OPERATOR).await?);
    let add = |name: &str| v1::AddScheduleRequest {
        spec: Some(v1::JobSpec {
            name: name.to_owned(),
            ..v1::JobSpec::default()
        }),
        cron: "30 0 1 1 *".to_owned(),
        no_login: true,
        ..v1::AddScheduleRequest::default()
    };
    let schedule = ann.add_schedule(add("org/secret-name")).await?.into_inner().schedule;
    let schedule = schedule.context("a schedule")?;
    assert_eq!(schedule.uid, ANN);

    let listed = ben.list_schedules(v1::ListSchedulesRequest::default()).await?;
    assert!(listed.into_inner().schedules.is_empty());
    // Neither by its id nor by what it begins with; and as one that there never was.
    for id in [schedule.id.as_str(), &schedule.id[..3], "zzzzzzzzzz"] {
        for (what, code) in all_of_a_schedule(&mut ben, id).await {
            assert_eq!(code, Code::NotFound, "{what} {id}");
        }
    }
    // The same terms are another schedule, of his own.
    let own = ben.add_schedule(add("org/secret-name")).await?.into_inner();
    assert!(!own.existing);
    assert_ne!(own.schedule.context("a schedule")?.id, schedule.id);

    // All of that has changed nothing.
    let listed = ann.list_schedules(v1::ListSchedulesRequest::default()).await?;
    let [still] = listed
        .into_inner()
        .schedules
        .try_into()
        .map_err(|found| anyhow::anyhow!("{found:?}"))?;
    assert!(
        still.id == schedule.id && !still.paused && still.last_runs.is_empty(),
        "{still:?}"
    );

    // An operator sees both, and may; and it stays the owner's.
    let listed = operator.list_schedules(v1::ListSchedulesRequest::default()).await?;
    assert_eq!(listed.into_inner().schedules.len(), 2);
    let pause = v1::PauseScheduleRequest {
        id: schedule.id.clone(),
    };
    let paused = operator.pause_schedule(pause).await?.into_inner().schedule;
    assert!(paused.is_some_and(|schedule| schedule.paused && schedule.uid == ANN));
    let get = v1::GetScheduleRequest {
        id: schedule.id.clone(),
    };
    let seen = ann.get_schedule(get).await?.into_inner().schedule;
    assert!(seen.is_some_and(|schedule| schedule.paused));
    let remove = v1::RemoveScheduleRequest { id: schedule.id };
    ann.remove_schedule(remove).await?;
    daemon.stop().await?;
    Ok(())
}
