//! Memory for bytes on their way from the network to the disk: pieces of one size, and so many of them for all connections
//! together. Who finds none left writes what it has, and reads on when there is one.

use std::sync::{Arc, Mutex};

use bytes::{Buf as _, Bytes};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::progress::lock;

/// Bytes of a piece: a write of so many is a good one.
const PIECE: usize = 64 << 10;
/// All pieces together, unless there are so many connections that it would be less than [`LEAST`] for each.
const BUDGET: usize = 8 << 20;
/// Pieces for each connection: one to fill while the other is written.
const LEAST: usize = 2;
/// Pieces that are kept for the next who asks, while nobody has them.
const KEPT: usize = 32;

/// The pieces that there are.
pub(super) struct Buffers {
    budget: Arc<Semaphore>,
    free: Mutex<Vec<Vec<u8>>>,
}

/// One piece; given back when it is dropped.
pub(super) struct Piece {
    bytes: Vec<u8>,
    buffers: Arc<Buffers>,
    _permit: OwnedSemaphorePermit,
}

impl Buffers {
    /// For at most so many connections.
    pub(super) fn new(connections: u32) -> Arc<Self> {
        let connections = usize::try_from(connections).unwrap_or(usize::MAX);
        let pieces = (BUDGET / PIECE).max(connections.saturating_mul(LEAST));
        Arc::new(Self {
            budget: Arc::new(Semaphore::new(pieces.min(Semaphore::MAX_PERMITS))),
            free: Mutex::default(),
        })
    }

    /// A piece, if one is left.
    pub(super) fn try_piece(self: &Arc<Self>) -> Option<Piece> {
        let permit = self.budget.clone().try_acquire_owned().ok()?;
        Some(self.piece_with(permit))
    }

    /// Waits for a piece. Hold none meanwhile: others may wait for yours.
    pub(super) async fn piece(self: &Arc<Self>) -> Piece {
        match self.budget.clone().acquire_owned().await {
            Ok(permit) => self.piece_with(permit),
            // It is never closed.
            Err(_) => std::future::pending().await,
        }
    }

    fn piece_with(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Piece {
        let known = lock(&self.free).pop();
        Piece {
            bytes: known.unwrap_or_else(|| Vec::with_capacity(PIECE)),
            buffers: self.clone(),
            _permit: permit,
        }
    }
}

impl Piece {
    /// Copies as much of a chunk as there is room for, and takes it off the chunk. A copy, for a chunk keeps all of the
    /// buffer alive that it was read into, many times its own size.
    pub(super) fn fill(&mut self, chunk: &mut Bytes) {
        let some = chunk.len().min(PIECE - self.bytes.len());
        self.bytes.extend_from_slice(&chunk[..some]);
        chunk.advance(some);
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= PIECE
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        let mut free = lock(&self.buffers.free);
        if free.len() < KEPT {
            free.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn there_are_only_so_many() {
        let buffers = Buffers::new(1);
        let mut all: Vec<Piece> = std::iter::from_fn(|| buffers.try_piece()).collect();
        assert_eq!(all.len(), BUDGET / PIECE);
        assert!(buffers.piece().now_or_never().is_none());
        all.truncate(10);
        assert!(buffers.piece().now_or_never().is_some());
        drop(all);
        assert!(lock(&buffers.free).len() <= KEPT);
        // Everybody gets some, however many there are.
        let many = Buffers::new(1000);
        assert_eq!(std::iter::from_fn(|| many.try_piece()).collect::<Vec<_>>().len(), 2000);
    }

    #[test]
    fn a_piece_takes_what_fits() {
        let buffers = Buffers::new(1);
        let mut chunk = Bytes::from(vec![7; PIECE + 5]);
        let mut piece = buffers.try_piece().unwrap();
        piece.fill(&mut chunk);
        assert!(piece.is_full() && chunk.len() == 5);
        drop(piece);
        let mut next = buffers.try_piece().unwrap();
        next.fill(&mut chunk);
        assert_eq!((next.as_ref(), chunk.len()), (&[7; 5][..], 0));
    }
}
