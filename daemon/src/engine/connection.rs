//! One connection of one file: takes a segment, fetches it, writes it, takes the next.

use std::sync::Arc;

use bytes::Bytes;
use tokio::{sync::MutexGuard, task::JoinHandle};

use super::{
    retry::Next,
    shared::JobContext,
    stop::JobStop,
    transfer::{FileTransfer, TransferEnd},
};
use crate::{
    cache::CacheError,
    hub::{FileTarget, HubError, Link},
    model::ByteRange,
    plan::LeaseId,
};

/// Bytes that go to the disk in one call: large enough to be few, small enough that a hundred connections are cheap.
const WRITE_BYTES: usize = 512 << 10;

/// Why a segment was not finished.
enum SegmentEnd<'a> {
    /// Endpoint, the generation of the link that was used, what went wrong, and the right to ask where the bytes lie.
    Hub(usize, Option<u64>, HubError, Option<MutexGuard<'a, ()>>),
    /// The gate closed while this connection waited for its turn to ask. Nothing of its own went wrong.
    GateClosed,
    Stop(JobStop),
}

impl<E: Into<JobStop>> From<E> for SegmentEnd<'_> {
    fn from(stop: E) -> Self {
        Self::Stop(stop.into())
    }
}

/// Works until no segment is missing that nobody else has.
pub(super) async fn run(context: Arc<JobContext>, transfer: Arc<FileTransfer>) -> Result<(), TransferEnd> {
    while let Some((lease, range)) = transfer.lease() {
        let outcome = fetch(&context, &transfer, lease, range).await;
        transfer.release(lease);
        match outcome {
            Ok(()) | Err(SegmentEnd::GateClosed) => {}
            Err(SegmentEnd::Stop(stop)) => return Err(stop.into()),
            Err(SegmentEnd::Hub(index, link, error, _asking)) => {
                if matches!(error, HubError::LinkRefused { .. })
                    && let Some(generation) = link
                    && !transfer.forget_link(generation)
                {
                    // Another connection has a new one already: one refusal of the old one counts once.
                    continue;
                }
                let next = transfer.retry.failed(&context, index, &error).await?;
                // In one piece, what broke off cannot be gone on with; what never began can be tried again as it is.
                if next == Next::WholeFile || (transfer.in_one_piece && transfer.front() > 0) {
                    return Err(TransferEnd::WholeFile);
                }
            }
        }
    }
    Ok(())
}

async fn fetch<'a>(
    context: &Arc<JobContext>,
    transfer: &'a Arc<FileTransfer>,
    lease: LeaseId,
    range: ByteRange,
) -> Result<(), SegmentEnd<'a>> {
    // The gate first: who waits there holds no slot. It may have closed while we waited for the slot.
    let (index, access, _slot) = loop {
        let (index, access) = transfer.retry.pass_gate(context).await?;
        let slot = context.unless_stopped(context.shared.connections.acquire()).await?;
        if context.shared.gates.closed_until(&access.gate()).is_none() {
            break (index, access, slot);
        }
    };
    let target = FileTarget {
        kind: context.spec.kind,
        repo_id: context.spec.repo_id.clone(),
        commit: transfer.commit.clone(),
        path: transfer.file.path.clone(),
        size: transfer.file.size,
        digest: transfer.file.digest,
    };
    let hub = &context.shared.hub;
    let _counted = context.progress.connected();
    let open = |link: Option<Link>| {
        let (target, access) = (&target, &access);
        async move {
            hub.open(&access.endpoint, access.token.as_ref(), target, range, link.as_ref())
                .await
        }
    };
    // One connection asks where the bytes lie, the others wait for its answer: one request to the Hub a file.
    let (generation, opened) = match transfer.link(index) {
        Some((generation, link)) => (Some(generation), context.unless_stopped(open(Some(link))).await?),
        None => {
            let asking = context.unless_stopped(transfer.asking.lock()).await?;
            match transfer.link(index) {
                Some((generation, link)) => (Some(generation), context.unless_stopped(open(Some(link))).await?),
                // Who asked before us may have been told to stay away: that is meant for all.
                None if context.shared.gates.closed_until(&access.gate()).is_some() => {
                    return Err(SegmentEnd::GateClosed);
                }
                None => {
                    let opened = context.unless_stopped(open(None)).await?;
                    let opened = match opened {
                        Ok(opened) => opened,
                        // The right to ask is kept over the wait that follows: nobody asks the same in vain meanwhile.
                        Err(error) => return Err(SegmentEnd::Hub(index, None, error, Some(asking))),
                    };
                    (Some(transfer.set_link(index, opened.link.clone())), Ok(opened))
                }
            }
        }
    };
    let mut body = opened
        .map_err(|error| SegmentEnd::Hub(index, generation, error, None))?
        .body;
    let mut writer = SegmentWriter::new(context, transfer, lease, range.start);
    let outcome = loop {
        match context.unless_stopped(body.chunk()).await {
            Err(stop) => break Err(SegmentEnd::Stop(stop)),
            Ok(Err(error)) => break Err(SegmentEnd::Hub(index, generation, error, None)),
            Ok(Ok(None)) => break Ok(()),
            Ok(Ok(Some(chunk))) => {
                transfer.retry.progressed();
                context.progress.received(chunk.len() as u64);
                writer.take(chunk).await?;
            }
        }
    };
    // Also after a failure and at the end of the daemon: what came is kept.
    writer.finish().await?;
    outcome
}

/// Gathers chunks and writes them in the background, one write at a time, while the next ones come.
struct SegmentWriter<'a> {
    context: &'a Arc<JobContext>,
    transfer: &'a Arc<FileTransfer>,
    lease: LeaseId,
    /// Where the next gathered byte goes.
    offset: u64,
    gathered: Vec<Bytes>,
    gathered_bytes: usize,
    writing: Option<(u64, JoinHandle<Result<(), CacheError>>)>,
}

impl<'a> SegmentWriter<'a> {
    fn new(context: &'a Arc<JobContext>, transfer: &'a Arc<FileTransfer>, lease: LeaseId, offset: u64) -> Self {
        Self {
            context,
            transfer,
            lease,
            offset,
            gathered: Vec::new(),
            gathered_bytes: 0,
            writing: None,
        }
    }

    async fn take(&mut self, chunk: Bytes) -> Result<(), JobStop> {
        self.gathered_bytes += chunk.len();
        self.gathered.push(chunk);
        if self.gathered_bytes >= WRITE_BYTES {
            self.write().await?;
        }
        Ok(())
    }

    /// Waits for the write under way, then starts the next.
    async fn write(&mut self) -> Result<(), JobStop> {
        self.settle().await?;
        if self.gathered.is_empty() {
            return Ok(());
        }
        self.context
            .unless_stopped(self.transfer.unclaimed.below_limit())
            .await
            .or_else(|stop| match stop {
                // Stopped: what is in hand is written all the same.
                JobStop::Cancelled => Ok(()),
                other => Err(other),
            })?;
        let (staging, offset) = (self.transfer.staging.clone(), self.offset);
        let gathered = std::mem::take(&mut self.gathered);
        let bytes = std::mem::take(&mut self.gathered_bytes) as u64;
        let write = tokio::task::spawn_blocking(move || staging.write_at(offset, &gathered));
        self.writing = Some((bytes, write));
        self.offset += bytes;
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), JobStop> {
        if let Some((bytes, write)) = self.writing.take() {
            match write.await {
                Ok(written) => written?,
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => return Err(JobStop::Cancelled),
            }
            if self.transfer.wrote(self.lease, bytes) {
                self.transfer.counted.add(bytes);
                self.transfer.unclaimed.add(bytes);
            }
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<(), JobStop> {
        self.write().await?;
        self.settle().await
    }
}
