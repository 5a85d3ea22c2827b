//! What becomes of the bytes of one file in the ledger: thrown away, or come again.

use super::{progress::lock, transfer::FileTransfer};
use crate::{hub::Charge, model::ByteRange};

impl FileTransfer {
    /// An endpoint's bytes are counted there from now on.
    pub(super) fn paid_by(&self, index: usize, charge: &Charge) {
        lock(&self.charges).insert(index, charge.clone());
    }

    /// Where what an endpoint sent was counted; of an earlier run nobody knows, and any other one has to do.
    fn charge(&self, index: Option<usize>) -> Charge {
        let charges = lock(&self.charges);
        let known = index.and_then(|index| charges.get(&index)).or(charges.values().next());
        known.cloned().unwrap_or_default()
    }

    /// All that was written was for nothing: it was wrong, or it is right and has to come again all the same.
    pub(super) fn thrown_away(&self, is_wrong: bool) {
        let written = lock(&self.segments).written().len();
        match is_wrong {
            true => self.charge(None).wasted(written),
            false => self.charge(None).repeated(written),
        }
    }

    /// Takes bytes for not written: they are fetched again. `from` is the endpoint that is said to have sent them.
    pub(super) fn forget(&self, range: ByteRange, from: Option<usize>) {
        let gone = {
            let mut segments = lock(&self.segments);
            let before = segments.written().len();
            segments.forget(range);
            before - segments.written().len()
        };
        self.counted.take(gone);
        self.charge(from).wasted(gone);
        self.staging.holds_again(range.start);
        self.frontier.comes_again(range.start);
    }
}
