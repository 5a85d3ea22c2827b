//! How many connections a user may have, of all jobs together. Who has all of theirs waits, and nobody waits behind them.

use super::{super::progress::lock, Sources, book::Holder};
use crate::model::Owner;

impl Sources {
    /// A user who has a job at work may have so many connections.
    pub(in crate::engine) fn bound(&self, owner: &Owner, most: Option<u32>) {
        let mut book = lock(&self.book);
        let user = book.users.entry(owner.uid).or_default();
        user.name.clone_from(&owner.user);
        user.most = most;
    }

    /// The configuration changed. What is open beyond it ends with its segment.
    pub(in crate::engine) fn bound_all(&self, most: impl Fn(&str) -> Option<u32>) {
        for user in lock(&self.book).users.values_mut() {
            user.most = most(&user.name);
        }
        self.give();
    }

    /// For what a user waits who has all the connections that they may have; for people, before the name of a file.
    pub(in crate::engine) fn user_is_full(&self, user: u32) -> Option<String> {
        let book = lock(&self.book);
        let Holder { name, most, .. } = book.users.get(&user).filter(|_| !book.user_has_room(user))?;
        most.map(|most| format!("waiting for one of {name}'s {most} connections (users.NAME.max_connections) for"))
    }
}
