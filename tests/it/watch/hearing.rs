//! Watching, by gRPC and with `hfctl`, one message at a time.

use std::process::Stdio;

use anyhow::{Context as _, bail, ensure};
use hfetch_proto::v1::{
    Event, Job, JobState, ListJobsRequest, ProgressSample, WatchRequest, WatchResponse, watch_response::Body,
};
use hfetch_tests::harness::{PATIENCE, Ran, Scratch, programs};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout},
    time::timeout,
};
use tonic::{Code, Status, Streaming};

/// What a watch has told so far.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) events: Vec<Event>,
    pub(crate) snapshot: Vec<Job>,
    pub(crate) ready: Option<u64>,
    pub(crate) samples: Vec<ProgressSample>,
}

/// A watch by gRPC.
pub(crate) struct Watch {
    stream: Streaming<WatchResponse>,
    pub(crate) heard: Heard,
}

impl Watch {
    pub(crate) async fn open(scratch: &Scratch, request: WatchRequest) -> anyhow::Result<Self> {
        let stream = scratch.events().await?.watch(request).await?.into_inner();
        Ok(Self {
            stream,
            heard: Heard::default(),
        })
    }

    /// Everything after a number.
    pub(crate) async fn after(scratch: &Scratch, seq: u64) -> anyhow::Result<Self> {
        let request = WatchRequest {
            after_seq: Some(seq),
            ..WatchRequest::default()
        };
        Self::open(scratch, request).await
    }

    /// Takes one message. `None` at the end of the stream, with its status when it had one.
    pub(crate) async fn step(&mut self) -> anyhow::Result<Option<Result<(), Status>>> {
        let message = timeout(PATIENCE, self.stream.message()).await;
        let body = match message.context("the stream is silent")? {
            Ok(Some(message)) => message.body.context("an empty message")?,
            Ok(None) => return Ok(None),
            Err(status) => return Ok(Some(Err(status))),
        };
        match body {
            Body::Job(job) => {
                ensure!(self.heard.ready.is_none(), "a snapshot after Ready");
                self.heard.snapshot.push(job);
            }
            Body::Ready(ready) => ensure!(self.heard.ready.replace(ready.seq).is_none(), "Ready twice"),
            Body::Event(event) => {
                ensure!(self.heard.ready.is_some(), "an event before Ready");
                self.heard.events.push(event);
            }
            Body::Progress(sample) => self.heard.samples.push(sample),
            Body::Heartbeat(_) => {}
        }
        Ok(Some(Ok(())))
    }

    /// Takes messages until a condition holds.
    pub(crate) async fn until(&mut self, what: &str, mut enough: impl FnMut(&Heard) -> bool) -> anyhow::Result<()> {
        // Over all: heartbeats come for ever.
        let took = timeout(PATIENCE, async {
            while !enough(&self.heard) {
                match self.step().await? {
                    Some(Ok(())) => {}
                    Some(Err(status)) => bail!("the stream ended before {what}: {status}"),
                    None => bail!("the stream ended before {what}"),
                }
            }
            Ok(())
        });
        took.await.with_context(|| format!("{what} never came"))?
    }

    /// Takes messages until the stream ends.
    pub(crate) async fn rest(mut self) -> anyhow::Result<(Heard, Option<Status>)> {
        let end = timeout(PATIENCE, async {
            loop {
                match self.step().await? {
                    Some(Ok(())) => {}
                    Some(Err(status)) => return Ok::<_, anyhow::Error>(Some(status)),
                    None => return Ok(None),
                }
            }
        });
        let status = end.await.context("the stream does not end")??;
        Ok((self.heard, status))
    }
}

/// All events after a number up to the newest.
pub(crate) async fn replay(scratch: &Scratch, after: u64) -> anyhow::Result<Vec<Event>> {
    let newest = newest(scratch).await?;
    let mut watch = Watch::after(scratch, after).await?;
    watch
        .until("the newest event", |heard| {
            heard.events.last().map_or(after, |event| event.seq) >= newest
        })
        .await?;
    Ok(watch.heard.events)
}

pub(super) async fn newest(scratch: &Scratch) -> anyhow::Result<u64> {
    let list = scratch.jobs().await?.list_jobs(ListJobsRequest::default()).await?;
    Ok(list.into_inner().event_seq)
}

pub(super) fn ended(heard: &[Event], id: &str, state: JobState) -> bool {
    heard.iter().any(|event| event.job_id == id && event.state() == state)
}

pub(super) fn strictly_increasing(events: &[Event]) -> bool {
    events.windows(2).all(|pair| pair[0].seq < pair[1].seq)
}

/// The stable reason is part of a status's details.
pub(super) fn is_pruned(status: Option<&Status>) -> bool {
    status.is_some_and(|status| {
        let details = String::from_utf8_lossy(status.details()).into_owned();
        status.code() == Code::OutOfRange && details.contains("EVENTS_PRUNED")
    })
}

/// `hfctl watch`, its output line by line.
pub(super) struct Told {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    pub(super) heard: Vec<Value>,
}

impl Told {
    pub(super) fn start(scratch: &Scratch, args: &[&str]) -> anyhow::Result<Self> {
        let mut command = scratch.command(programs().join("hfctl"));
        let mut child = command
            .arg("watch")
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().context("a pipe")?;
        Ok(Self {
            child,
            lines: BufReader::new(stdout).lines(),
            heard: Vec::new(),
        })
    }

    /// The next line.
    pub(super) async fn line(&mut self) -> anyhow::Result<Option<String>> {
        let line = timeout(PATIENCE, self.lines.next_line()).await;
        Ok(line.context("hfctl watch says nothing")??)
    }

    /// The next line, which must be one JSON object.
    pub(super) async fn next(&mut self) -> anyhow::Result<Option<&Value>> {
        let Some(line) = self.line().await? else {
            return Ok(None);
        };
        let value: Value = serde_json::from_str(&line).with_context(|| format!("not JSON: {line}"))?;
        ensure!(value.is_object(), "not an object: {line}");
        self.heard.push(value);
        Ok(self.heard.last())
    }

    /// Reads until a line of this type.
    pub(super) async fn until(&mut self, wanted: &str) -> anyhow::Result<()> {
        while let Some(value) = self.next().await? {
            if value["type"] == wanted {
                return Ok(());
            }
        }
        bail!("hfctl watch ended before a line of type {wanted}: {:?}", self.heard)
    }

    /// Reads the rest; gives all lines and the exit code.
    pub(super) async fn end(mut self) -> anyhow::Result<(Vec<Value>, Ran)> {
        while self.next().await?.is_some() {}
        self.exit().await
    }

    /// The same of one that prints no JSON: its lines are gone.
    pub(super) async fn exit(mut self) -> anyhow::Result<(Vec<Value>, Ran)> {
        while self.line().await?.is_some() {}
        let output = timeout(PATIENCE, self.child.wait_with_output()).await??;
        Ok((self.heard, Ran::from(output)))
    }
}

/// Lines of events only.
pub(super) fn events_of(lines: &[Value]) -> Vec<&Value> {
    lines.iter().filter(|line| line["type"] == "event").collect()
}
