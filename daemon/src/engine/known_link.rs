//! Where the bytes of a file lie, as its endpoints said.

use jiff::Timestamp;

use super::{progress::lock, transfer::FileTransfer};
use crate::hub::Link;

/// Where an endpoint says that the bytes of a file lie.
#[derive(Clone, Default)]
pub(super) struct KnownLink {
    /// Tells a new address from the one before.
    generation: u64,
    link: Option<Link>,
}

impl FileTransfer {
    /// Where the bytes lie, if endpoint `index` said so and it holds for a while yet.
    pub(super) fn link(&self, index: usize) -> Option<(u64, Link)> {
        let links = lock(&self.links);
        let known = &links[index];
        let link = known.link.as_ref().filter(|link| !link.is_stale(Timestamp::now()))?;
        Some((known.generation, link.clone()))
    }

    /// Keeps an address and gives its generation.
    pub(super) fn set_link(&self, index: usize, link: Link) -> u64 {
        lock(&self.sources).insert((index, link.host.clone()));
        let generation = {
            let known = &mut lock(&self.links)[index];
            known.generation += 1;
            known.link = Some(link);
            known.generation
        };
        self.linked.notify_one();
        generation
    }

    /// Drops the address of a generation; false when it was dropped or replaced before.
    pub(super) fn forget_link(&self, index: usize, generation: u64) -> bool {
        let known = &mut lock(&self.links)[index];
        let current = known.generation == generation && known.link.is_some();
        if current {
            known.link = None;
        }
        current
    }
}
