//! Windows and beginnings as a user sees them. That whole weeks of nights are right is tested beside the engine.

use hfetch_proto::v1::{GetLimitRequest, bandwidth_service_client::BandwidthServiceClient};
use jiff::{SignedDuration, Timestamp};

use super::*;

/// A period of the daemon's clock (UTC here) that begins and ends so many minutes from now.
fn period(from: i64, to: i64) -> String {
    let at = |minutes: i64| {
        (Timestamp::now() + SignedDuration::from_mins(minutes))
            .strftime("%H:%M")
            .to_string()
    };
    format!("{}-{}", at(from), at(to))
}

#[tokio::test]
async fn a_job_outside_its_window_is_held_until_it_opens_or_is_taken_away() -> anyhow::Result<()> {
    let hub = hub(MB)?;
    let scratch = Scratch::new(hub.endpoint())?
        .config("[bandwidth]\ntimezone = 'UTC'\n[windows.never]\nperiods = ['Mon 00:00-00:01']")?;
    let daemon = scratch.daemon().await?;
    let mut bandwidth = BandwidthServiceClient::new(scratch.channel().await?);
    let windows = bandwidth.get_limit(GetLimitRequest {}).await?.into_inner().windows;
    assert_eq!(windows.len(), 1, "{windows:?}");
    assert!(
        windows[0].name == "never" && windows[0].next_change_at.is_some(),
        "{windows:?}"
    );
    let closed = period(60, 120);
    let id = scratch.submit(&["org/m", "--window", &closed]).await?;
    let held = scratch.until(&id, "held (window)").await?;
    let next = held["next_attempt_at"].as_str().unwrap_or_default().to_owned();
    assert!(next.ends_with(&format!("{}:00Z", &closed[..5])), "{held}");
    assert!(
        held["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("outside its window")),
        "{held}"
    );
    assert_eq!(hub.journal().bytes_sent_for(FILE), 0);
    // Another window that is closed too, by its name; then one that is open.
    scratch.hfctl(["set", &id, "--window", &period(-5, 60)]).await?.ok()?;
    scratch.wait_done(&[&id]).await?;
    let unknown = scratch.hfctl(["submit", "org/m", "--window", "nihgt"]).await?;
    assert!(
        unknown.code == 2 && unknown.stderr.contains("there are: never"),
        "{unknown:?}"
    );
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

#[tokio::test]
async fn a_window_that_is_taken_off_stops_a_running_job_inside_its_file_and_nothing_comes_twice() -> anyhow::Result<()>
{
    let hub = hub(30 * MB)?;
    let scratch = Scratch::new(hub.endpoint())?.config("[bandwidth]\ntimezone = 'UTC'\nlimit = '4MB/s'")?;
    let daemon = scratch.daemon().await?;
    let id = scratch.submit(&["org/m", "-x", "2"]).await?;
    hub.journal()
        .wait_for("a part of the file", |journal| journal.bytes_sent_for(FILE) > 3 * MB)
        .await;
    scratch.hfctl(["set", &id, "--window", &period(60, 120)]).await?.ok()?;
    scratch.until(&id, "held (window)").await?;
    let stopped = hub.journal().bytes_sent_for(FILE);
    assert!(stopped < 29 * MB, "{stopped}");
    // A kill now costs nothing: what came is claimed.
    daemon.kill().await?;
    let daemon = scratch.daemon().await?;
    let held = scratch.until(&id, "held (window)").await?;
    let kept = held["bytes_done"].as_u64().unwrap_or_default();
    assert!(kept > 2 * MB, "{held}");
    limit(&scratch, &["off"]).await?;
    scratch.hfctl(["set", &id, "--window", "off"]).await?.ok()?;
    scratch.wait_done(&[&id]).await?;
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])?;
    // What was in the sockets when the window closed.
    let again = hub.journal().bytes_sent_for(FILE) - 30 * MB;
    assert!(again <= 2 * IN_FLIGHT, "{again} bytes came twice");
    Ok(())
}

#[tokio::test]
async fn a_job_begins_at_its_time() -> anyhow::Result<()> {
    let hub = hub(MB)?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let begin = (Timestamp::now() + SignedDuration::from_secs(2)).to_string();
    let id = scratch.submit(&["org/m", "--at", &begin]).await?;
    let job = scratch.show(&id).await?;
    assert!(job["start_at"].is_string(), "{job}");
    scratch.wait_done(&[&id]).await?;
    let job = scratch.show(&id).await?;
    let started: Timestamp = job["started_at"].as_str().unwrap_or_default().parse()?;
    assert!(started >= begin.parse::<Timestamp>()?, "{job}");
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}
