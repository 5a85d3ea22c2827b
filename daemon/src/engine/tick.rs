//! What the dispatcher does twice a second while jobs are at work: rates, and who is shown as held, or leaves its place.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    dispatcher::{ActiveJob, Dispatcher, Ending},
    on_result::Outcome,
    progress::{Waiting, wall_time},
    stop::JobStop,
};
use crate::{model::JobMove, store::MoveNote};

/// A job that waits without a byte for so long is shown as held.
const SHOW_HELD_AFTER: Duration = Duration::from_secs(2);
/// Then, if others could use its place, it gives up its transfers and is tried again later.
const LEAVE_AFTER: Duration = Duration::from_secs(60);
/// How much later: a part of the time that it is stuck already, between these.
const RETURN_AFTER: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(300));

impl Dispatcher {
    /// Samples rates, and shows jobs as held while nothing of theirs moves.
    pub(super) async fn on_tick(&mut self) {
        self.shared.board.sample();
        self.look_for_who_is_full();
        self.look_for_left_places();
        self.shared.forecasts.sample(self.shared.gate.is_limited());
        let crowded = self.jobs.len() > 1;
        let give_up_after = self.shared.config().transfer.give_up_after;
        let mut closing = Vec::new();
        let mut moving = Vec::new();
        let mut leaving = Vec::new();
        let mut unstuck = Vec::new();
        let mut due = Vec::new();
        let now = Instant::now();
        for (id, active) in &self.jobs {
            if active.lane.is_due(now) {
                due.push(id.clone());
            }
            if active.stuck && active.context.progress.has_received() {
                unstuck.push(id.clone());
            }
            if active.ending.is_some() {
                if active.tasks == 0 {
                    closing.push(id.clone());
                }
            } else if let Some(stop) = leave(active, give_up_after).filter(|_| crowded) {
                leaving.push((id.clone(), stop));
            } else if let Some(job_move) = held_move(active) {
                moving.push((id.clone(), job_move));
            }
        }
        for id in closing {
            self.close_when_empty(&id).await;
        }
        for (id, stop) in leaving {
            self.end(&id, stop).await;
        }
        let most = self.shared.config().transfer.max_active_jobs as usize;
        let at_work = |active: &&ActiveJob| active.has_place() && active.ending.is_none();
        let mut at_work = self.jobs.values().filter(at_work).count();
        // The older ones keep their places.
        moving.sort_by_key(|(id, _)| self.jobs.get(id).map(|active| active.context.row));
        for (id, (job_move, note)) in moving {
            // Who only waits for other jobs needs no place.
            let needs_one = self.jobs.get(&id).is_some_and(|active| !active.stands_by());
            if job_move == JobMove::Start && needs_one {
                if at_work >= most {
                    // Others took the places meanwhile: it queues for one, and loses nothing.
                    self.stop_with(&id, Ending::Move(JobMove::Requeue, MoveNote::default()))
                        .await;
                    continue;
                }
                at_work += 1;
            }
            if self.try_move(&id, job_move, note).await == Outcome::Moved
                && let Some(active) = self.jobs.get_mut(&id)
            {
                active.held_until = match job_move {
                    JobMove::Hold(_) => active.context.progress.waiting().map(|waiting| waiting.until),
                    _ => None,
                };
                // A held job leaves its place to another.
                self.look_at_queue = true;
            }
        }
        for id in due {
            self.go_on(&id).await;
        }
        for id in unstuck {
            if let Some(active) = self.jobs.get_mut(&id)
                && self.shared.store.unstick(active.context.row).await.is_ok()
            {
                active.stuck = false;
            }
        }
        let unread = std::mem::take(&mut self.unread);
        self.stop_moved(unread).await;
    }
}

/// Whether a job has waited so long that it should leave its place: it returns later.
fn leave(active: &ActiveJob, give_up_after: Duration) -> Option<JobStop> {
    // Who waits for another job keeps its place in that line.
    let waiting = active
        .context
        .progress
        .own_waiting()
        .filter(|waiting| waiting.lasts() > LEAVE_AFTER)?;
    let wished = waiting.until.saturating_duration_since(Instant::now());
    let stuck_for = active.context.stuck_for + waiting.lasts();
    let retry_after = return_after(stuck_for, wished, give_up_after);
    Some(JobStop::Hold {
        reason: waiting.reason,
        detail: waiting.detail,
        retry_after,
    })
}

/// When a job that is stuck is tried again: not after the moment at which it is to be given up.
fn return_after(stuck_for: Duration, wished: Duration, give_up_after: Duration) -> Duration {
    let (least, most) = RETURN_AFTER;
    let left = give_up_after.saturating_sub(stuck_for);
    (stuck_for / 4).clamp(least, most).max(wished).min(left)
}

/// Whether the shown state of a job should change: between active and held, or to another time of the next attempt.
fn held_move(active: &ActiveJob) -> Option<(JobMove, MoveNote)> {
    match active.context.progress.waiting() {
        Some(waiting) if active.held_until != Some(waiting.until) && waiting.lasts() > SHOW_HELD_AFTER => {
            let Waiting {
                reason, detail, until, ..
            } = waiting;
            let note = MoveNote {
                detail,
                next_attempt_at: Some(wall_time(until)),
                ..MoveNote::default()
            };
            Some((JobMove::Hold(reason), note))
        }
        None if active.held_until.is_some() => Some((JobMove::Start, MoveNote::default())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stuck_job_comes_back_more_and_more_seldom_and_never_too_late() {
        let secs = Duration::from_secs;
        let day = secs(86_400);
        for (stuck_for, wished, give_up_after, wait) in [
            (secs(60), secs(0), day, secs(30)),
            (secs(400), secs(0), day, secs(100)),
            (secs(40_000), secs(0), day, secs(300)),
            // A server's wish.
            (secs(60), secs(700), day, secs(700)),
            // To be given up before.
            (secs(86_390), secs(0), day, secs(10)),
            (secs(90), secs(500), secs(100), secs(10)),
            (secs(200), secs(0), secs(100), secs(0)),
        ] {
            assert_eq!(return_after(stuck_for, wished, give_up_after), wait, "{stuck_for:?}");
        }
    }
}
