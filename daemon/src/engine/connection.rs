//! One connection of one file: fetches one segment and writes it. The crew tells it when to end earlier.

use std::{
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{
    progress::lock,
    shared::JobContext,
    sources::{Slot, SourceMeter},
    stop::JobStop,
    transfer::FileTransfer,
    writer::SegmentWriter,
};
use crate::{
    hub::{Body, Charge, HubError, ReceiveBuffer},
    model::ByteRange,
    plan::LeaseId,
    sched::rate::RateMeter,
};

/// So long after our own limits let it go on, its speed is still theirs.
const HELD_LATELY: Duration = Duration::from_secs(15);
/// What may be under way to a connection whose end came nearer: the rest of it would come for nothing.
const SHORTENED_WINDOW: u32 = 64 << 10;
/// What is under way at the end of the work is read for so long, or until nothing came for so long.
const LAST_READS: (Duration, Duration) = (Duration::from_millis(400), Duration::from_millis(80));
/// Meanwhile no more than this is asked for.
const LAST_WINDOW: usize = 4 << 10;
/// The disk is behind when it keeps a connection waiting for so long.
const DISK_IS_BEHIND: Duration = Duration::from_millis(250);
/// What the system had taken in before may take longer on a busy machine; so much of it is what still comes.
const BACKLOG: (Duration, u64) = (Duration::from_secs(2), 16 << 10);

/// What a connection is to do.
pub(super) struct Task {
    /// Number of the endpoint in the job.
    pub(super) index: usize,
    pub(super) lease: LeaseId,
    pub(super) range: ByteRange,
    pub(super) slot: Slot,
    pub(super) flow: Arc<Flow>,
}

/// What became of it. What was fetched is written and recorded either way.
pub(super) struct Ended {
    pub(super) index: usize,
    pub(super) lease: LeaseId,
    pub(super) outcome: Result<(), SegmentEnd>,
}

/// Why a segment was not finished.
pub(super) enum SegmentEnd {
    /// The generation of the link that was used, and what went wrong.
    Hub(Option<u64>, HubError),
    /// The crew ended it.
    Cut,
    Stop(JobStop),
}

impl<E: Into<JobStop>> From<E> for SegmentEnd {
    fn from(stop: E) -> Self {
        Self::Stop(stop.into())
    }
}

/// How far a connection has come; seen by its crew, which may end it earlier.
pub(super) struct Flow {
    started: Instant,
    ahead: Mutex<Ahead>,
    /// Where its bytes arrive, once it is answered.
    buffer: OnceLock<ReceiveBuffer>,
    /// Ends it at once; what came is kept.
    pub(super) cut: CancellationToken,
}

struct Ahead {
    /// The next byte that is expected.
    at: u64,
    /// It ends here; the crew may set an earlier end, never one behind what has come.
    end: u64,
    first_byte: Option<Instant>,
    last_byte: Option<Instant>,
    /// Our own limits keep it from reading on, or did so until then.
    held: Option<Held>,
    received: u64,
    meter: RateMeter,
    recent: u64,
    /// The crew has set an earlier end, and the connection does not know it yet.
    shortened: bool,
}

/// What our own limits do to a connection.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Held {
    Now,
    Until(Instant),
}

/// A reading of a [`Flow`].
#[derive(Debug, Clone, Copy)]
pub(super) struct FlowReading {
    pub(super) left: u64,
    pub(super) received: u64,
    /// Since the last byte, or since it asked for the first.
    pub(super) idle: Duration,
    pub(super) age: Duration,
    /// From asking to the first byte, once it has come.
    pub(super) first_byte: Option<Duration>,
    /// Over the last seconds, or since the first byte.
    pub(super) bytes_per_sec: u64,
    /// Our own limits held it lately: its speed says nothing of the server.
    pub(super) held_by_us: bool,
}

impl Flow {
    pub(super) fn new(range: ByteRange) -> Arc<Self> {
        Arc::new(Self {
            started: Instant::now(),
            ahead: Mutex::new(Ahead {
                at: range.start,
                end: range.end,
                first_byte: None,
                last_byte: None,
                held: None,
                received: 0,
                meter: RateMeter::default(),
                recent: 0,
                shortened: false,
            }),
            buffer: OnceLock::new(),
            cut: CancellationToken::new(),
        })
    }

    /// Takes as much of a chunk as is still wanted; true when that was the last.
    pub(super) fn take(&self, chunk: &mut Bytes) -> bool {
        let mut ahead = lock(&self.ahead);
        let now = Instant::now();
        let room = usize::try_from(ahead.end - ahead.at).unwrap_or(usize::MAX);
        chunk.truncate(room);
        ahead.at += chunk.len() as u64;
        ahead.received += chunk.len() as u64;
        ahead.first_byte.get_or_insert(now);
        ahead.last_byte = Some(now);
        ahead.at >= ahead.end
    }

    /// Leaves the owner at most `keep` more bytes and gives the new end. Nothing from there on is ever written by it.
    pub(super) fn end_after(&self, keep: u64) -> u64 {
        let mut ahead = lock(&self.ahead);
        let end = ahead.end.min(ahead.at.saturating_add(keep));
        ahead.shortened |= end < ahead.end;
        ahead.end = end;
        ahead.end
    }

    /// Whether it was shortened since the last call, and is so slow that the small window does not hold it up.
    fn wants_less(&self) -> bool {
        let mut ahead = lock(&self.ahead);
        let answer = ahead.first_byte.map_or(Duration::ZERO, |first| first - self.started);
        let round_trip = (answer * 2).max(Duration::from_millis(20)).as_secs_f64();
        let shortened = std::mem::take(&mut ahead.shortened);
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let under_way = ahead.recent as f64 * round_trip;
        shortened && under_way < f64::from(SHORTENED_WINDOW)
    }

    /// Bytes that have come to this machine and were not read yet: who asks for them elsewhere gets them twice.
    pub(super) fn unread(&self) -> u64 {
        self.buffer.get().map_or(0, ReceiveBuffer::unread)
    }

    /// Our own limits keep it from reading on, or do so no more. The time of that is no silence of the server.
    pub(super) fn hold(&self, held: bool) {
        let now = Instant::now();
        let mut ahead = lock(&self.ahead);
        ahead.held = Some(if held { Held::Now } else { Held::Until(now) });
        ahead.last_byte = Some(now);
    }

    pub(super) fn read(&self) -> FlowReading {
        let mut ahead = lock(&self.ahead);
        let now = Instant::now();
        let age = now - self.started;
        let received = ahead.received;
        ahead.recent = ahead.meter.sample(age, received);
        let flowing = ahead.first_byte.map_or(Duration::ZERO, |first| now - first);
        // The meter needs two looks; until then the mean will do.
        let bytes_per_sec = match flowing < Duration::from_secs(1) {
            true => mean_rate(received, flowing),
            false => ahead.recent,
        };
        FlowReading {
            left: ahead.end - ahead.at,
            received,
            idle: match ahead.held {
                Some(Held::Now) => Duration::ZERO,
                _ => now - ahead.last_byte.unwrap_or(self.started),
            },
            age,
            first_byte: ahead.first_byte.map(|first| first - self.started),
            bytes_per_sec,
            held_by_us: match ahead.held {
                None => false,
                Some(Held::Now) => true,
                Some(Held::Until(then)) => now - then < HELD_LATELY,
            },
        }
    }
}

/// Bytes per second; 0 when the time is too short to tell.
fn mean_rate(bytes: u64, time: Duration) -> u64 {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    match millis < 20 {
        true => 0,
        false => bytes.saturating_mul(1000) / millis,
    }
}

/// Fetches the segment. Never to be aborted: a write on the blocking pool would go on holding the partial file.
pub(super) async fn run(context: Arc<JobContext>, transfer: Arc<FileTransfer>, task: Task) -> Ended {
    let outcome = fetch(&context, &transfer, &task).await;
    let reading = task.flow.read();
    if let Some(first_byte) = reading.first_byte {
        let took = reading.age.saturating_sub(first_byte);
        context
            .shared
            .sources
            .observed(task.slot.source, reading.received, took, first_byte);
    }
    Ended {
        index: task.index,
        lease: task.lease,
        outcome,
    }
}

async fn fetch(context: &Arc<JobContext>, transfer: &Arc<FileTransfer>, task: &Task) -> Result<(), SegmentEnd> {
    let access = &context.endpoints[task.index];
    let target = context.target(&transfer.commit, &transfer.file);
    let _counted = context.progress.connected();
    let known = transfer.link(task.index);
    let (generation, link) = known.map_or((None, None), |(generation, link)| (Some(generation), Some(link)));
    let opening = context.shared.hub.open(
        &access.endpoint,
        access.token.as_ref(),
        &target,
        task.range,
        link.as_ref(),
    );
    let opened = unless_cut(context, task, opening)
        .await?
        .map_err(|error| SegmentEnd::Hub(generation, error))?;
    task.slot.serves();
    let generation = match generation {
        Some(generation) => generation,
        None => transfer.set_link(task.index, opened.link.clone()),
    };
    let mut body = opened.body;
    let charge = body.charge().clone();
    transfer.paid_by(task.index, &charge);
    if let Some(buffer) = body.receive_buffer() {
        task.flow.buffer.get_or_init(|| buffer);
    }
    let meter = context.shared.sources.meter(task.slot.source);
    let mut toll = context
        .shared
        .gate
        .toll(context.row, &access.endpoint.origin().ascii_serialization());
    let on_hold = |held| {
        task.flow.hold(held);
        context.shared.sources.held_by_us();
    };
    let mut writer = SegmentWriter::new(context, transfer, (task.lease, task.range.start), charge.clone());
    let outcome = loop {
        if let Some(window) = toll.new_window() {
            body.set_window(window);
        }
        match unless_cut(context, task, body.chunk()).await {
            Err(end) => break Err(end),
            Ok(Err(error)) => break Err(SegmentEnd::Hub(Some(generation), error)),
            Ok(Ok(None)) => break Ok(()),
            Ok(Ok(Some(mut chunk))) => {
                let came = chunk.len() as u64;
                arrived(context, &meter, came);
                let last = task.flow.take(&mut chunk);
                let taken = chunk.len() as u64;
                // What is cut off comes to somebody else as well.
                charge.repeated(came - taken + context.progress.repeats(taken));
                to_disk(&mut writer, chunk, on_hold).await?;
                if task.flow.wants_less() {
                    body.set_window(SHORTENED_WINDOW as usize);
                }
                if let Err(end) = unless_cut(context, task, toll.pay(came, on_hold)).await {
                    break Err(end);
                }
                // Shortened by the crew: what else comes is another's. At the natural end the body is read out, so that the
                // connection can be used again.
                if last && body.got() < task.range.len() {
                    break Ok(());
                }
            }
        }
    };
    if let Err(SegmentEnd::Stop(_)) = &outcome {
        read_what_came(context, task, &mut body, &mut writer, &charge).await?;
    }
    // Also after a failure and at the end of the daemon: what came is kept.
    writer.finish().await?;
    outcome
}

/// Hands a chunk on. Who waits for the disk meanwhile is not slow, and needs no help: what lies in its socket would come twice.
async fn to_disk(writer: &mut SegmentWriter<'_>, chunk: Bytes, on_hold: impl Fn(bool)) -> Result<(), JobStop> {
    let mut taking = std::pin::pin!(writer.take(chunk));
    if let Ok(taken) = timeout(DISK_IS_BEHIND, &mut taking).await {
        return taken;
    }
    on_hold(true);
    let taken = taking.await;
    on_hold(false);
    taken
}

/// At the end of the work: what the system has taken in for us would come a second time, so it is taken, and the server is
/// asked for no more.
async fn read_what_came(
    context: &Arc<JobContext>,
    task: &Task,
    body: &mut Body,
    writer: &mut SegmentWriter<'_>,
    charge: &Charge,
) -> Result<(), JobStop> {
    let (longest, quiet) = LAST_READS;
    let last = Instant::now() + BACKLOG.0;
    let mut deadline = Instant::now() + longest;
    body.set_window(LAST_WINDOW);
    loop {
        let mut chunk = match timeout_at(deadline.min(Instant::now() + quiet), body.chunk()).await {
            Ok(Ok(Some(chunk))) => chunk,
            Err(_) if Instant::now() < last && task.flow.unread() > BACKLOG.1 => {
                deadline = last.min(Instant::now() + longest);
                continue;
            }
            _ => break,
        };
        let came = chunk.len() as u64;
        context.progress.received(came);
        let is_all = task.flow.take(&mut chunk);
        let taken = chunk.len() as u64;
        charge.repeated(came - taken + context.progress.repeats(taken));
        writer.take(chunk).await?;
        if is_all {
            break;
        }
    }
    Ok(())
}

/// Bytes came over the network.
pub(super) fn arrived(context: &JobContext, meter: &SourceMeter, bytes: u64) {
    context.progress.received(bytes);
    context.shared.forecasts.received(bytes);
    meter.received(bytes);
}

/// Waits unless the job is stopped or the crew cuts this connection.
async fn unless_cut<T>(context: &JobContext, task: &Task, future: impl Future<Output = T>) -> Result<T, SegmentEnd> {
    tokio::select! {
        biased;
        () = context.cancel.cancelled() => Err(SegmentEnd::Stop(JobStop::Cancelled)),
        () = task.flow.cut.cancelled() => Err(SegmentEnd::Cut),
        value = future => Ok(value),
    }
}
