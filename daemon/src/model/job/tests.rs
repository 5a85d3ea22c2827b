//! Every move from every state.

use super::*;

#[test]
fn every_pair_of_state_and_move_is_decided() {
    use JobState as S;
    let hold = JobMove::Hold(HoldReason::Disk);
    let moves = [
        JobMove::Start,
        hold,
        JobMove::Requeue,
        JobMove::Pause,
        JobMove::Resume,
        JobMove::Approve,
        JobMove::Cancel,
        JobMove::Finish,
        JobMove::Fail,
        JobMove::Retry,
    ];
    // Rows: from; columns: the moves above; a dash is refused.
    let table = [
        (S::Queued, "active held - paused - - cancelled - failed -"),
        (S::Active, "- held queued paused - - cancelled done failed -"),
        (S::Held, "active held queued paused - queued cancelled - failed queued"),
        (S::Paused, "- - - - queued - cancelled - - -"),
        (S::Done, "- - - - - - - - - -"),
        (S::Failed, "- - - - - - - - - queued"),
        (S::Cancelled, "- - - - - - - - - queued"),
    ];
    for (from, row) in table {
        for (job_move, expected) in moves.into_iter().zip(row.split(' ')) {
            let actual = from.apply(job_move).map_or("-", JobState::as_str);
            assert_eq!(actual, expected, "{from} + {job_move:?}");
        }
    }
}
