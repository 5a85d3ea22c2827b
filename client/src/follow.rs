//! Following jobs through the event stream, across restarts of the daemon: no event is lost and none is told twice. The
//! [`Cursor`] decides (pure, tested); the [`Follower`] owns the stream and reconnects.

use std::collections::BTreeSet;
use std::time::Duration;

use hfetch_proto::reason;
use hfetch_proto::v1::watch_response::Body;
use hfetch_proto::v1::{Event, HoldReason, Job, JobState, ProgressSample, WatchRequest, WatchResponse};
use tokio::time::Instant;
use tonic::{Code, Status, Streaming};

use crate::connect::Daemon;
use crate::error::{CliError, reason_of};
use crate::exit::Exit;
use crate::retry::{Backoff, is_passing};

/// How long a follower waits for a daemon to come back.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a follower hears.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Item {
    /// A job as it is now, before [`Item::Ready`]; comes again after [`Item::Pruned`].
    Job(Box<Job>),
    /// The snapshot is complete; events after this number follow.
    Ready(u64),
    /// Something happened. Each number comes once, in order.
    Event(Box<Event>),
    /// A sample of a moving job; may be missing.
    Progress(ProgressSample),
    /// Nothing happened for a while: everything up to this number was told.
    Heartbeat(u64),
    /// The connection was lost; said once per outage.
    Lost,
    /// The connection is back.
    Back,
    /// Events between were deleted by the daemon; a fresh snapshot follows.
    Pruned,
}

/// Whether a job in this state goes on without anybody's help.
pub(crate) fn has_ended(state: JobState) -> bool {
    matches!(state, JobState::Done | JobState::Failed | JobState::Cancelled)
}

/// Whether nothing more will come of a job unless somebody does something: it has ended, or its user must first be given
/// access, or say yes.
pub(crate) fn has_settled(state: JobState, reason: HoldReason) -> bool {
    has_ended(state) || (state == JobState::Held && matches!(reason, HoldReason::Access | HoldReason::Approval))
}

/// Where a follower stands in the stream.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    job_ids: Vec<String>,
    progress_interval_ms: u32,
    after: Option<u64>,
}

impl Cursor {
    /// Starts with a snapshot, or after event `after`.
    pub(crate) fn new(job_ids: Vec<String>, progress_interval_ms: u32, after: Option<u64>) -> Cursor {
        Cursor {
            job_ids,
            progress_interval_ms,
            after,
        }
    }

    fn request(&self) -> WatchRequest {
        WatchRequest {
            after_seq: self.after,
            job_ids: self.job_ids.clone(),
            progress_interval_ms: self.progress_interval_ms,
            snapshot: self.after.is_none(),
        }
    }

    /// Notes the number and drops what was told before.
    fn accept(&mut self, answer: WatchResponse) -> Option<Item> {
        match answer.body? {
            Body::Job(job) => Some(Item::Job(Box::new(job))),
            Body::Ready(ready) if self.after.is_none() => {
                self.after = Some(ready.seq);
                Some(Item::Ready(ready.seq))
            }
            Body::Ready(_) => None,
            Body::Event(event) if self.after.is_some_and(|after| event.seq <= after) => None,
            Body::Event(event) => {
                self.after = Some(event.seq);
                Some(Item::Event(Box::new(event)))
            }
            Body::Progress(sample) => Some(Item::Progress(sample)),
            Body::Heartbeat(beat) => {
                self.after = self.after.map(|after| after.max(beat.seq));
                Some(Item::Heartbeat(beat.seq))
            }
        }
    }

    /// The asked-for events are gone.
    fn restart(&mut self) {
        self.after = None;
    }
}

/// The stream and its reconnection.
#[derive(Debug)]
pub(crate) struct Follower<'a> {
    daemon: &'a Daemon,
    cursor: Cursor,
    stream: Option<Streaming<WatchResponse>>,
    lost_since: Option<Instant>,
    backoff: Backoff,
    /// An answer that arrived with the end of an outage and is told after [`Item::Back`].
    pending: Option<Item>,
}

impl<'a> Follower<'a> {
    /// Connects at the first [`Follower::next`].
    pub(crate) fn new(daemon: &'a Daemon, cursor: Cursor) -> Follower<'a> {
        Follower {
            daemon,
            cursor,
            stream: None,
            lost_since: None,
            backoff: Backoff::default(),
            pending: None,
        }
    }

    /// The next thing. Never ends by itself: the caller knows when it has heard enough.
    ///
    /// # Errors
    /// When the call is refused for good, or the daemon has not come back within [`PATIENCE`].
    pub(crate) async fn next(&mut self) -> Result<Item, CliError> {
        loop {
            if let Some(item) = self.pending.take() {
                return Ok(item);
            }
            let Some(stream) = &mut self.stream else {
                match self.daemon.events().watch(self.cursor.request()).await {
                    Ok(answer) => self.stream = Some(answer.into_inner()),
                    Err(status) => {
                        if let Some(item) = self.failed(status).await? {
                            return Ok(item);
                        }
                    }
                }
                continue;
            };
            match stream.message().await {
                Ok(Some(answer)) => {
                    let item = self.cursor.accept(answer);
                    self.backoff = Backoff::default();
                    if self.lost_since.take().is_some() {
                        self.pending = item;
                        return Ok(Item::Back);
                    }
                    if let Some(item) = item {
                        return Ok(item);
                    }
                }
                Ok(None) => {
                    self.stream = None;
                    if let Some(item) = self.failed(Status::unavailable("the stream ended")).await? {
                        return Ok(item);
                    }
                }
                Err(status) => {
                    self.stream = None;
                    if let Some(item) = self.failed(status).await? {
                        return Ok(item);
                    }
                }
            }
        }
    }

    async fn failed(&mut self, status: Status) -> Result<Option<Item>, CliError> {
        let pruned = status.code() == Code::OutOfRange || reason_of(&status).as_deref() == Some(reason::EVENTS_PRUNED);
        if pruned && self.cursor.after.is_some() {
            self.cursor.restart();
            return Ok(Some(Item::Pruned));
        }
        if !is_passing(&status) {
            return Err(status.into());
        }
        let Some(since) = self.lost_since else {
            self.lost_since = Some(Instant::now());
            return Ok(Some(Item::Lost));
        };
        if since.elapsed() > PATIENCE {
            return Err(CliError::new(
                Exit::Unreachable,
                format!("hfetchd has not come back within {} s", PATIENCE.as_secs()),
            )
            .hint("jobs go on when it runs again; start it with `hfctl daemon start`"));
        }
        tokio::time::sleep(self.backoff.step()).await;
        Ok(None)
    }
}

/// Follows until every job of `ids` (full ids) is over; `tell` hears every item.
///
/// # Errors
/// Those of [`Follower::next`] and of `tell`; not found when a job is gone.
pub(crate) async fn until_ended(
    follower: &mut Follower<'_>,
    ids: &[String],
    is_over: fn(JobState, HoldReason) -> bool,
    tell: &mut dyn FnMut(&Item) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let mut open: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
    let mut unseen = open.clone();
    while !open.is_empty() {
        let item = follower.next().await?;
        tell(&item)?;
        match &item {
            Item::Job(job) => {
                unseen.remove(job.id.as_str());
                if is_over(job.state(), job.hold_reason()) {
                    open.remove(job.id.as_str());
                }
            }
            Item::Event(event) => {
                unseen.remove(event.job_id.as_str());
                if is_over(event.state(), event.hold_reason()) {
                    open.remove(event.job_id.as_str());
                }
            }
            Item::Pruned => unseen.clone_from(&open),
            Item::Ready(_) => {
                if let Some(id) = unseen.first() {
                    return Err(CliError::new(Exit::NotFound, format!("job {id} is gone")));
                }
            }
            Item::Progress(_) | Item::Heartbeat(_) | Item::Lost | Item::Back => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hfetch_proto::v1::{Heartbeat, Ready};

    fn event(seq: u64) -> WatchResponse {
        WatchResponse {
            body: Some(Body::Event(Event {
                seq,
                ..Event::default()
            })),
        }
    }

    fn seqs(cursor: &mut Cursor, answers: impl IntoIterator<Item = WatchResponse>) -> Vec<u64> {
        let accepted = answers.into_iter().filter_map(|answer| cursor.accept(answer));
        accepted
            .filter_map(|item| {
                if let Item::Event(event) = item {
                    Some(event.seq)
                } else {
                    None
                }
            })
            .collect()
    }

    #[test]
    fn begins_with_a_snapshot_and_goes_on_after_the_last_number() {
        let mut cursor = Cursor::new(vec!["a".to_owned()], 500, None);
        assert_eq!((cursor.request().after_seq, cursor.request().snapshot), (None, true));
        let ready = WatchResponse {
            body: Some(Body::Ready(Ready { seq: 10 })),
        };
        assert_eq!(cursor.accept(ready), Some(Item::Ready(10)));
        assert_eq!(seqs(&mut cursor, [event(11), event(12)]), [11, 12]);
        assert_eq!(
            (cursor.request().after_seq, cursor.request().snapshot),
            (Some(12), false)
        );
    }

    #[test]
    fn nothing_is_told_twice() {
        let mut cursor = Cursor::new(Vec::new(), 0, Some(3));
        assert_eq!(
            seqs(
                &mut cursor,
                [event(2), event(3), event(4), event(4), event(6), event(5)]
            ),
            [4, 6]
        );
        // A Ready of a stream without snapshot must not skip events that are still to come.
        assert_eq!(
            cursor.accept(WatchResponse {
                body: Some(Body::Ready(Ready { seq: 90 }))
            }),
            None
        );
        assert_eq!(cursor.request().after_seq, Some(6));
    }

    #[test]
    fn a_heartbeat_moves_the_number_only_after_the_snapshot() {
        let beat = || WatchResponse {
            body: Some(Body::Heartbeat(Heartbeat { seq: 9 })),
        };
        let mut cursor = Cursor::new(Vec::new(), 0, None);
        cursor.accept(beat());
        assert_eq!(cursor.request().after_seq, None);
        let mut cursor = Cursor::new(Vec::new(), 0, Some(3));
        cursor.accept(beat());
        assert_eq!(cursor.request().after_seq, Some(9));
    }

    #[test]
    fn pruned_events_bring_a_snapshot() {
        let mut cursor = Cursor::new(Vec::new(), 0, Some(3));
        cursor.restart();
        assert!(cursor.request().snapshot);
    }
}
