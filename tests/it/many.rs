//! Repositories of very many files: what each of them costs does not grow with their number. 8,000 files by default;
//! `HFETCH_FILES=100000` is the release lane.

use hfetch_tests::{
    check,
    harness::{Scratch, cpu_seconds, file_bytes},
    sim::{PlainShape, RepoBuilder, SimHub},
};

const MIB: u64 = 1 << 20;
/// Files of one page of a listing.
const PAGE: u64 = 1000;

fn wanted_files() -> u64 {
    let said = std::env::var("HFETCH_FILES").ok();
    said.and_then(|text| text.parse().ok()).unwrap_or(8000)
}

/// What a download took.
#[derive(Debug)]
struct Cost {
    cpu_seconds: f64,
    /// Into files, those of the databases included.
    written: u64,
    memory: u64,
}

async fn cost(files: u64) -> anyhow::Result<Cost> {
    let repo = (0..files).fold(RepoBuilder::dataset("org/many"), |repo, number| {
        let path = format!("data/{:03}/{number:06}.json", number / 100);
        repo.seeded(&path, 100 + number % 50, number)
    });
    let hub = SimHub::builder().repo(repo).start()?;
    hub.switch(|switches| switches.plain = PlainShape::Direct);
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let pid = daemon.pid();
    let (idle, cpu_before, (_, before)) = (daemon.peak_memory(), cpu_seconds(pid)?, file_bytes(pid)?);
    let id = scratch.submit(&["org/many", "--dataset"]).await?;
    // For a hundred thousand it takes longer than anybody who waits for one job is patient.
    while scratch.hfctl(["wait", "--timeout", "60s", &id]).await?.code != 0 {
        let state = scratch.state_of(&id).await?;
        anyhow::ensure!(["queued", "active", "done"].contains(&state.as_str()), "it is {state}");
    }
    let cost = Cost {
        cpu_seconds: cpu_seconds(pid)? - cpu_before,
        written: file_bytes(pid)?.1 - before,
        memory: daemon.peak_memory() - idle,
    };
    let done = scratch.show(&id).await?;
    assert_eq!(done["files_done"], files, "{done}");
    daemon.stop().await?;
    let journal = hub.journal();
    let pages = journal.count(|record| record.path.contains("/tree/")) as u64;
    let heads = journal.count(|record| record.method == "HEAD");
    // Folders are listed as well: one for each hundred files, and the one that they are in.
    let entries = files + files.div_ceil(100) + 1;
    assert_eq!((pages, heads), (entries.div_ceil(PAGE), 0));
    // The commit, the pages, and each file once.
    assert_eq!(journal.len(), 1 + pages + files, "requests");
    check::finished(&scratch, &[&hub])?;
    Ok(cost)
}

#[tokio::test]
async fn each_file_costs_the_same_however_many_there_are() -> anyhow::Result<()> {
    let files = wanted_files();
    let (few, many) = (cost(files / 4).await?, cost(files).await?);
    println!("{few:?} for {} files, {many:?} for {files}", files / 4);
    // Four times the work; a step that looks at all files for each would make it sixteen.
    assert!(many.cpu_seconds < 8.0 * few.cpu_seconds, "{few:?} {many:?}");
    // Stored in batches: a transaction of its own would write a page of four tables and their indexes for each file.
    assert!(many.written < 6 * few.written, "{few:?} {many:?}");
    assert!(many.written / files < 16 << 10, "{} bytes a file", many.written / files);
    assert!(many.memory < 48 * MIB, "{} MiB", many.memory / MIB);
    Ok(())
}
