//! From the chunks of one connection to the disk: gathers, and writes while the next chunks come.

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::{buffers::Piece, shared::JobContext, stop::JobStop, transfer::FileTransfer};
use crate::{cache::CacheError, hub::Charge, plan::LeaseId};

/// Gathers chunks and writes them in the background, one write at a time, while the next ones come.
pub(super) struct SegmentWriter<'a> {
    context: &'a Arc<JobContext>,
    transfer: &'a Arc<FileTransfer>,
    lease: LeaseId,
    /// Where the next gathered byte goes.
    offset: u64,
    gathered: Vec<Piece>,
    gathered_bytes: usize,
    /// Bytes that the job's figures say are still to be written.
    to_write: u64,
    /// Bytes that are counted as being in hand.
    counted: u64,
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
            to_write: 0,
            counted: 0,
            write_bytes: context.shared.sources.gather_bytes(),
            writing: None,
            charge,
        }
    }

    pub(super) async fn take(&mut self, mut chunk: Bytes) -> Result<(), JobStop> {
        self.to_write += chunk.len() as u64;
        self.context.progress.to_write(chunk.len() as u64);
        self.wait_for_claims().await?;
        self.gathered_bytes += chunk.len();
        self.count(chunk.len());
        while !chunk.is_empty() {
            match self.gathered.last_mut().filter(|piece| !piece.is_full()) {
                Some(piece) => piece.fill(&mut chunk),
                None => {
                    let piece = self.piece(chunk.len()).await?;
                    self.gathered.push(piece);
                }
            }
        }
        if self.gathered_bytes >= self.write_bytes {
            self.write().await?;
            self.write_bytes = self.context.shared.sources.gather_bytes();
        }
        Ok(())
    }

    /// Reads no further while the disk is behind: what is in hand is lost by a crash as what is written and not claimed is.
    async fn wait_for_claims(&mut self) -> Result<(), JobStop> {
        if !self.transfer.unclaimed.is_much() {
            return Ok(());
        }
        // The disk is behind, not the network.
        self.context.shared.sources.held_by_us();
        self.write().await?;
        self.settle().await?;
        match self.context.unless_stopped(self.transfer.unclaimed.below_limit()).await {
            // Stopped: what is in hand is written all the same.
            Ok(()) | Err(JobStop::Cancelled) => Ok(()),
            Err(stop) => Err(stop),
        }
    }

    fn count(&mut self, bytes: usize) {
        self.counted += bytes as u64;
        self.transfer.unclaimed.in_hand(bytes as u64);
    }

    /// One more piece, while so many bytes of what was counted have none yet.
    async fn piece(&mut self, missing: usize) -> Result<Piece, JobStop> {
        let shared = self.context.shared.clone();
        if let Some(piece) = shared.buffers.try_piece() {
            return Ok(piece);
        }
        // The disk is behind. What is in hand goes first, or all would wait for each other. Not given up when the job is
        // stopped: the pieces come back as others write.
        shared.sources.held_by_us();
        self.gathered_bytes -= missing;
        self.write().await?;
        self.settle().await?;
        self.gathered_bytes = missing;
        Ok(shared.buffers.piece().await)
    }

    /// Waits for the write under way, then starts the next.
    async fn write(&mut self) -> Result<(), JobStop> {
        self.settle().await?;
        if self.gathered.is_empty() {
            return Ok(());
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
            self.to_write -= bytes;
            self.counted -= bytes;
            self.transfer.unclaimed.out_of_hand(bytes);
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

/// What could not be written is in nobody's hand any more.
impl Drop for SegmentWriter<'_> {
    fn drop(&mut self) {
        self.transfer.unclaimed.out_of_hand(self.counted);
        self.context.progress.no_more_to_write(self.to_write);
    }
}
