//! Power cuts. A download runs on a file system (ext4) whose disk remembers every write and every flush; then the power fails
//! at many moments of it, and the machine starts again with what the disk may have kept: all that was flushed, and of each later
//! write none, some or all blocks. A program that only seems to sync is found out, which is tried as well.
//!
//! Cuts: 10 by default; `HFETCH_CUTS=500` is the release lane.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
};

use hfetch_tests::{
    check,
    harness::{Scratch, eventually},
    own_network,
    recorder::{Log, Recorder, run},
    sim::{RepoBuilder, SimHub},
    tree::{self, Entry},
};

const MIB: u64 = 1 << 20;
const FILE: &str = "model.safetensors";
/// Large enough for several claims.
const SIZE: u64 = 72 * MIB;
/// So much of it is claimed before the rest comes.
const CLAIMED: u64 = 36 * MIB;
const DISK: u64 = 256 * MIB;
/// The daemon's syncs succeed, and nothing is synced.
const SYNCS_LIE: [&str; 10] = [
    "strace",
    "-D",
    "-f",
    "-qq",
    "-o",
    "/dev/null",
    "-e",
    "trace=fsync,fdatasync",
    "-e",
    "inject=fsync,fdatasync:retval=0",
];

fn wanted_cuts() -> usize {
    std::env::var("HFETCH_CUTS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(10)
}

/// A machine whose daemon keeps all it has on one disk.
struct Machine {
    hub: SimHub,
    scratch: Scratch,
    starts: u32,
}

/// A download, and its great moments in the log of the disk.
struct Day {
    id: String,
    log: Log,
    submitted: usize,
    /// Claims of [`CLAIMED`] bytes are on the disk.
    claimed: usize,
    done: usize,
    /// What it left.
    left: BTreeMap<PathBuf, Entry>,
}

impl Machine {
    fn new(within: &[&str]) -> anyhow::Result<Self> {
        let repo = RepoBuilder::model("org/m")
            .seeded(FILE, SIZE, 5)
            .seeded("tokenizer.json", 3 * MIB, 6)
            .file("config.json", "{\"a\": 1}")
            .file("empty", "");
        let hub = SimHub::builder().repo(repo).start()?;
        hub.pace().set_total(Some(60_000_000));
        let scratch = Scratch::new(hub.endpoint())?
            .config("[storage]\nmin_free = \"1MiB\"\n")?
            .daemon_within(within);
        let machine = Self {
            hub,
            scratch,
            starts: 0,
        };
        for folder in ["mnt", "state", "hub"] {
            std::fs::create_dir(machine.scratch.path(folder))?;
        }
        File::create(machine.scratch.path("empty"))?.set_len(DISK)?;
        let [empty, folder] = ["empty", "mnt"].map(|name| machine.text(name));
        run(&["mkfs.ext4", "-q", "-F", "-E", "nodiscard", &empty])?;
        run(&["mount", "-o", "loop", &empty, &folder])?;
        for name in ["state", "hub"] {
            std::fs::create_dir(machine.scratch.path("mnt").join(name))?;
        }
        run(&["chmod", "700", &format!("{folder}/state")])?;
        run(&["umount", &folder])?;
        Ok(machine)
    }

    fn text(&self, name: &str) -> String {
        self.scratch.path(name).display().to_string()
    }

    /// The disk at its beginning.
    fn new_disk(&self, name: &str) -> anyhow::Result<PathBuf> {
        run(&["cp", "--sparse=always", &self.text("empty"), &self.text(name)])?;
        Ok(self.scratch.path(name))
    }

    /// Mounts a disk where the daemon has its state and the cache; it is another boot of the machine.
    fn power_on(&mut self, disk: &Path) -> anyhow::Result<()> {
        const BOOT: &str = "/proc/sys/kernel/random/boot_id";
        self.starts += 1;
        let boot = self.scratch.path("boot");
        std::fs::write(&boot, format!("00000000-0000-4000-8000-{:012}\n", self.starts))?;
        if self.starts == 1 {
            run(&["mount", "--bind", &self.text("boot"), BOOT])?;
        }
        assert!(std::fs::read_to_string(BOOT)?.contains(&format!("{:012}", self.starts)));
        let folder = self.text("mnt");
        run(&["mount", "-o", "loop", &disk.display().to_string(), &folder])?;
        for name in ["state", "hub"] {
            run(&["mount", "--bind", &format!("{folder}/{name}"), &self.text(name)])?;
        }
        Ok(())
    }

    fn power_off(&self) -> anyhow::Result<()> {
        for name in ["state", "hub", "mnt"] {
            run(&["umount", &self.text(name)])?;
        }
        Ok(())
    }

    /// Bytes that the daemon's journal says are in the partial file.
    fn claimed(&self) -> anyhow::Result<u64> {
        let db = check::open(&self.scratch.state().join("progress.db"))?;
        let ranges: String = db.query_row("SELECT ranges FROM claims ORDER BY size DESC", [], |row| row.get(0))?;
        let ranges: Vec<[u64; 2]> = serde_json::from_str(&ranges)?;
        Ok(ranges.iter().map(|[start, end]| end - start).sum())
    }

    /// Downloads on a disk that remembers.
    async fn day(&mut self) -> anyhow::Result<Day> {
        let disk = self.new_disk("recorded")?;
        let recorder = Recorder::mount(&self.scratch.path("fuse"), &disk, &self.scratch.path("bytes"))?;
        self.power_on(&recorder.disk())?;
        let daemon = self.scratch.daemon().await?;
        let gate = self.hub.hold_bodies(FILE, 48 * MIB);
        let id = self.scratch.submit(&["org/m"]).await?;
        let submitted = recorder.now();
        gate.reached().await;
        eventually("the claims", async || match self.claimed() {
            Ok(bytes) if bytes >= CLAIMED => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await?;
        // A claim is a hint, and the daemon leaves it to the system when it goes to the disk; here it does now.
        run(&["sync", "-f", &self.text("mnt")])?;
        let claimed = recorder.now();
        gate.release();
        self.scratch.wait_done(&[&id]).await?;
        let done = recorder.now();
        daemon.stop().await?;
        let left = tree::entries(&self.scratch.cache())?;
        self.power_off()?;
        Ok(Day {
            id,
            log: recorder.unmount()?,
            submitted,
            claimed,
            done,
            left,
        })
    }

    /// Cuts the power at a moment of a day, starts again, and lets the job come to its end. Gives what is wrong, and the bytes
    /// of the large file that came again, each once: connections that help each other may bring some twice.
    async fn after_a_cut(&mut self, day: &Day, moment: usize, seed: u64) -> anyhow::Result<(Vec<String>, u64)> {
        let disk = self.new_disk("cut")?;
        day.log.cut(moment, &disk, &mut fastrand::Rng::with_seed(seed))?;
        self.power_on(&disk)?;
        let mut faults = tree::faults(&self.scratch.cache())?;
        let (told, answers) = (self.scratch.log().len(), self.hub.journal().len());
        let daemon = self.scratch.daemon().await?;
        let known = self.scratch.hfctl(["list", "--all", "--json"]).await?.ok()?;
        if known.contains(&day.id) {
            self.scratch.wait_done(&[&day.id]).await?;
        } else if moment >= day.submitted {
            faults.push(format!("the job is lost: {known}"));
        } else {
            let id = self.scratch.submit(&["org/m"]).await?;
            self.scratch.wait_done(&[&id]).await?;
        }
        daemon.stop().await?;
        if faults.is_empty() {
            check::tidied(&self.scratch, &[&self.hub])?;
            let left = tree::entries(&self.scratch.cache())?;
            if left != day.left {
                faults.push(format!("{left:#?} instead of {:#?}", day.left));
            }
        }
        // A claim that was made of bytes that were not on the disk.
        let log = self.scratch.log();
        let doubts = log[told..].lines().filter(|line| line.contains("changed on the disk"));
        faults.extend(doubts.map(str::to_owned));
        self.power_off()?;
        std::fs::remove_file(disk)?;
        Ok((faults, check::sent_since(&self.hub, FILE, answers)))
    }
}

/// Makes a file system in a file and mounts it, in the mounts of this test.
const A_DISK: &str = r#"truncate -s 8M "$0" && mkfs.ext4 -q -F "$0" && mount -o loop "$0" /mnt && umount /mnt"#;

/// Whether disks can be made here: most containers have no devices for it.
fn possible() -> bool {
    let fuse = std::fs::File::options().read(true).write(true).open("/dev/fuse");
    let disk = tempfile::NamedTempFile::new().is_ok_and(|file| {
        let path = file.path().display().to_string();
        run(&["sh", "-c", A_DISK, &path]).is_ok()
    });
    if fuse.is_err() || !disk {
        writeln!(std::io::stderr(), "no FUSE or no loop devices here: {fuse:?}").ok();
        return false;
    }
    true
}

#[test]
fn a_power_cut_costs_bytes_and_never_truth() -> anyhow::Result<()> {
    own_network::run("power::a_power_cut_costs_bytes_and_never_truth", async {
        if !possible() {
            return Ok(());
        }
        let mut machine = Machine::new(&[])?;
        let day = machine.day().await?;
        assert!(0 < day.submitted && day.submitted < day.claimed && day.claimed < day.done);
        let mut random = fastrand::Rng::with_seed(42);
        let mut moments = vec![day.submitted, day.claimed, day.done];
        while moments.len() < wanted_cuts() {
            moments.push(random.usize(1..=day.log.end()));
        }
        for (seed, moment) in (0..).zip(moments) {
            let (faults, again) = machine.after_a_cut(&day, moment, seed).await?;
            assert!(
                faults.is_empty(),
                "cut {seed} at {moment} of {}: {faults:#?}\n{}",
                day.log.end(),
                machine.scratch.log()
            );
            let most = if moment < day.claimed { SIZE } else { SIZE - CLAIMED };
            assert!(
                again <= most + MIB,
                "{} MiB came again, {seed} at {moment}",
                again / MIB
            );
        }
        Ok(())
    })
}

/// The rig sees what it is there to see.
#[test]
fn a_program_whose_syncs_do_nothing_is_found_out() -> anyhow::Result<()> {
    own_network::run("power::a_program_whose_syncs_do_nothing_is_found_out", async {
        if !possible() {
            return Ok(());
        }
        let mut machine = Machine::new(&SYNCS_LIE)?;
        let day = machine.day().await?;
        let mut found = Vec::new();
        for moment in [day.submitted, day.done] {
            found.extend(machine.after_a_cut(&day, moment, 1).await?.0);
        }
        assert!(!found.is_empty(), "nothing was lost that was never synced");
        Ok(())
    })
}
