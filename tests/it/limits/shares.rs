//! Shares of real users, as the kernel tells who they are.

use std::fs;

use hfetch_tests::{
    python,
    shares::{USERS, User, jain, open_to_all},
    sim::Record,
};

use super::*;

/// Of all together, in bytes per second.
const LIMIT: u64 = 4 * MB;
/// Of the one user, who wants all he can get.
const MANY: usize = 64;

/// What each user got while so many bytes came to both.
async fn shares(users: &mut [User; 2], ids: &[String; 2], bytes: u64) -> anyhow::Result<[f64; 2]> {
    let before = [users[0].bytes_done(&ids[0]).await?, users[1].bytes_done(&ids[1]).await?];
    // Both are asked for in turn, a moment apart: over the whole, that is nothing.
    let begun = before[0] + before[1];
    let mut tick = interval(Duration::from_millis(50));
    loop {
        let now = [users[0].bytes_done(&ids[0]).await?, users[1].bytes_done(&ids[1]).await?];
        if now[0] + now[1] >= begun + bytes {
            let got = [(now[0] - before[0]) as f64, (now[1] - before[1]) as f64];
            return Ok(got.map(|share| share / (got[0] + got[1])));
        }
        tick.tick().await;
    }
}

/// Fails unless the two get these shares, within 5 %, in one of three times ten seconds: others use this machine, too.
async fn divided(users: &mut [User; 2], ids: &[String; 2], wanted: [f64; 2]) -> anyhow::Result<()> {
    let mut all = Vec::new();
    for _ in 0..3 {
        let found = shares(users, ids, 10 * LIMIT).await?;
        let of_wanted = [found[0] / wanted[0], found[1] / wanted[1]];
        if of_wanted.iter().all(|part| (part - 1.0).abs() < 0.05) && jain(&of_wanted) > 0.997 {
            return Ok(());
        }
        all.push(found);
    }
    anyhow::bail!("{wanted:?} are wanted: {all:?}")
}

#[tokio::test]
async fn users_share_by_weight_whatever_the_number_of_their_connections() -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        python::skip("playing other users needs root");
        return Ok(());
    }
    let buffers = Switches {
        send_buffer: Some(32 << 10),
        ..Switches::default()
    };
    // Two repositories: what is the same for both would be fetched once.
    let repo = |name: &str, seed| RepoBuilder::model(name).seeded_as(FILE, 350 * MB, seed, Storage::Linked);
    let hub = SimHub::builder()
        .repo(repo("org/many", 5))
        .repo(repo("org/one", 6))
        .switches(buffers)
        .start()?;
    // Slow enough that each connection pays; once all are there, only our limit holds them.
    hub.pace().set_per_connection(Some(100_000));
    let scratch = Scratch::new(hub.endpoint())?;
    fs::create_dir_all(scratch.cache())?;
    let config = |weight: u32| {
        format!(
            "[storage]\ncache = \"{}\"\nmin_free = 0\n[transfer]\nconnections = {MANY}\nmax_connections = 128\n\
             [[endpoints]]\nname = \"hub\"\nurl = \"{}\"\nmax_connections = 128\n[users.{}]\nweight = {weight}\n",
            scratch.cache().display(),
            hub.endpoint(),
            USERS[0].1
        )
    };
    let (even, uneven) = (config(1), config(3));
    let state = scratch.state().display().to_string();
    // What systemd sets makes it a daemon for all.
    let scratch = scratch.env("STATE_DIRECTORY", &state).config(&even)?;
    let daemon = scratch.daemon().await?;
    open_to_all(&scratch.path(""), &scratch.state())?;
    let mut users = [
        User::connect(USERS[0].0, scratch.socket()).await?,
        User::connect(USERS[1].0, scratch.socket()).await?,
    ];
    let ids = [
        users[0].submit("org/many", u32::try_from(MANY)?).await?,
        users[1].submit("org/one", 1).await?,
    ];
    let open = || {
        let bodies = |record: &Record| record.host == Host::Cdn && record.ended.is_none();
        hub.journal().count(bodies)
    };
    hub.journal().wait_for("all connections", |_| open() > MANY).await;
    limit(&scratch, &["4MB/s"]).await?;
    hub.pace().set_per_connection(None);
    // What was under way to the many is theirs.
    shares(&mut users, &ids, 10 * MB).await?;
    divided(&mut users, &ids, [0.5, 0.5]).await?;
    fs::write(scratch.path("hfetch.toml"), uneven)?;
    scratch.hfctl(["daemon", "reload"]).await?.ok()?;
    shares(&mut users, &ids, MB).await?;
    divided(&mut users, &ids, [0.75, 0.25]).await?;
    // What one leaves goes to the other at once.
    scratch.hfctl(["pause", &ids[0]]).await?.ok()?;
    eventually("all of it for the other one", async || {
        let job = scratch.show(&ids[1]).await.map_err(|error| error.to_string())?;
        match job["bytes_per_sec"].as_u64().is_some_and(|rate| rate > LIMIT * 4 / 5) {
            true => Ok(()),
            false => Err(job.to_string()),
        }
    })
    .await?;
    for id in &ids {
        scratch.hfctl(["cancel", id]).await?.ok()?;
    }
    daemon.stop().await?;
    check::sound(&scratch, &[&hub])
}
