//! When a job that is stuck comes back.

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
