//! The bytes of one segment on their way to the disk.

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::{shared::JobContext, stop::JobStop, transfer::FileTransfer};
use crate::{cache::CacheError, hub::Charge, plan::LeaseId};

/// Gathers chunks and writes them in the background, one write at a time, while the next ones come.
pub(super) struct SegmentWriter<'a> {
    context: &'a Arc<JobContext>,
    transfer: &'a Arc<FileTransfer>,
    lease: LeaseId,
    /// Where the next gathered byte goes.
    offset: u64,
    gathered: Vec<Bytes>,
    gathered_bytes: usize,
    /// Bytes that go to the disk in one call.
    write_bytes: usize,
    writing: Option<(u64, JoinHandle<Result<(), CacheError>>)>,
    charge: Charge,
}

impl<'a> SegmentWriter<'a> {
    pub(super) fn new(
        context: &'a Arc<JobContext>,
        transfer: &'a Arc<FileTransfer>,
        (lease, offset): (LeaseId, u64),
        charge: Charge,
    ) -> Self {
        Self {
            context,
            transfer,
            lease,
            offset,
            gathered: Vec::new(),
            gathered_bytes: 0,
            write_bytes: context.shared.sources.gather_bytes(),
            writing: None,
            charge,
        }
    }

    pub(super) async fn take(&mut self, chunk: Bytes) -> Result<(), JobStop> {
        self.gathered_bytes += chunk.len();
        self.gathered.push(chunk);
        if self.gathered_bytes >= self.write_bytes {
            self.write().await?;
            self.write_bytes = self.context.shared.sources.gather_bytes();
        }
        Ok(())
    }

    /// Waits for the write under way, then starts the next.
    async fn write(&mut self) -> Result<(), JobStop> {
        self.settle().await?;
        if self.gathered.is_empty() {
            return Ok(());
        }
        if self.transfer.unclaimed.is_much() {
            // The disk is behind, not the network.
            self.context.shared.sources.held_by_us();
            let waited = self.context.unless_stopped(self.transfer.unclaimed.below_limit()).await;
            // Stopped: what is in hand is written all the same.
            waited.or_else(|stop| {
                if matches!(stop, JobStop::Cancelled) {
                    Ok(())
                } else {
                    Err(stop)
                }
            })?;
        }
        let turn = self.transfer.writing.clone().acquire_owned().await;
        let (staging, offset) = (self.transfer.staging.clone(), self.offset);
        let gathered = std::mem::take(&mut self.gathered);
        let bytes = std::mem::take(&mut self.gathered_bytes) as u64;
        let write = self.context.shared.disk.spawn(move || {
            let written = staging.write_at(offset, &gathered);
            drop(turn);
            written
        });
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
            self.context.progress.no_more_to_write(bytes);
            if self.transfer.wrote(self.lease, bytes) {
                self.transfer.counted.add(bytes);
                self.transfer.unclaimed.add(bytes);
            } else {
                self.charge.repeated(bytes);
            }
        }
        Ok(())
    }

    pub(super) async fn finish(mut self) -> Result<(), JobStop> {
        self.write().await?;
        self.settle().await
    }
}
