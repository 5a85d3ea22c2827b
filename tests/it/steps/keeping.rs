//! A day of keeping order: pinning, removing and pruning in the cache, the partial file of a cancelled job that goes in time, and a
//! second job that takes over the first one's plan.

use hfetch_tests::{
    python::skip,
    sim::{RepoBuilder, SimHub},
};

use super::{
    Day, Site, can_strace,
    day::Step::{self, Begun, Cancel, Done, Run, Submit},
    kill_at, sample, strike_all, undisturbed,
};

const MIB: u64 = 1 << 20;
/// A revision that no branch means.
const LOOSE: &str = "1234567890123456789012345678901234567890";
/// Sites of each call over the whole day, and at its end, where order is kept.
const OF_EACH: usize = 2;
const LAST_OF_EACH: usize = 3;
/// What is asked of a repository that is gone.
const GONE: &str = "is not in the cache";

const STEPS: &[Step] = &[
    Submit("slow", &["org/slow", "--cache-dir", "DIR/slow"]),
    Submit("old", &["org/old"]),
    Submit("loose", &["org/loose", "--revision", LOOSE]),
    Submit("first", &["org/m"]),
    Submit("second", &["org/m"]),
    Begun("slow"),
    Done(5),
    Cancel("slow"),
    Run(&["cache", "pin", "org/m"], ""),
    Run(&["cache", "rm", "org/old", "--yes"], GONE),
    Run(&["cache", "prune", "--yes"], ""),
];

fn day() -> anyhow::Result<Day> {
    let hub = SimHub::builder()
        .repo(
            RepoBuilder::model("org/m")
                .seeded("model.safetensors", 3 * MIB, 1)
                .file("config.json", "{}"),
        )
        .repo(
            RepoBuilder::model("org/old")
                .seeded("a.bin", 2 * MIB, 2)
                .file("config.json", "{}")
                .file("folder/b.txt", "b"),
        )
        .repo(
            RepoBuilder::model("org/loose")
                .seeded("a.bin", 2 * MIB, 3)
                .commit_as("loose", LOOSE),
        )
        .repo(RepoBuilder::model("org/slow").seeded("slow.bin", 12 * MIB, 4))
        .start()?;
    Ok(Day::of(hub, STEPS, "[storage]\nkeep_partials = '1s'\n"))
}

/// The last sites of each call.
fn last(sites: &[Site]) -> Vec<Site> {
    let by_call = sites.chunk_by(|one, next| one.call == next.call);
    let ends = by_call.map(|of_call| &of_call[of_call.len().saturating_sub(LAST_OF_EACH)..]);
    ends.flatten().cloned().collect()
}

#[tokio::test]
async fn dying_while_order_is_kept_leaves_nothing_wrong() -> anyhow::Result<()> {
    if !can_strace().await {
        skip("strace cannot follow a program here");
        return Ok(());
    }
    let day = day()?;
    let (wanted, sites) = undisturbed(&day).await?;
    let listings = day
        .hub
        .journal()
        .count(|record| record.path.contains("/api/models/org/m/tree/"));
    assert_eq!(listings, 1, "the second job has listed for itself");
    let mut struck = sample(&sites, OF_EACH, 2);
    struck.extend(last(&sites));
    struck.sort_by(|one, other| (&one.call, one.nth).cmp(&(&other.call, other.nth)));
    struck.dedup_by(|one, other| (&one.call, one.nth) == (&other.call, other.nth));
    let (day, wanted) = (&day, &wanted);
    let outcome = strike_all(
        "killed",
        struck,
        |site| async move { kill_at(day, wanted, &site).await },
    )
    .await;
    println!("{} of {}", outcome.summary(), sites.len());
    assert!(outcome.faults.is_empty(), "{}", outcome.faults.join("\n\n"));
    // A rig that strikes nobody proves nothing.
    assert!(outcome.died() * 2 > outcome.struck, "most sites were not reached");
    Ok(())
}
