//! Tests that need a network of their own: names that lead where the test says, addresses that are not loopback, packets that
//! vanish. Such a test runs itself again in a new network and mount namespace, as root there; nothing of it is seen outside.
//!
//! Where the system allows no namespaces, one line is printed and the test returns; with `HFETCH_NO_SKIP=1` it fails.

use std::{
    ffi::OsStr,
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};

use crate::{harness::programs, python::skip};

/// Set in the process that has a network of its own.
pub const INSIDE: &str = "HFETCH_TEST_OWN_NETWORK";

/// Makes the namespaces, files of names in them, and the loopback device; then becomes the given command.
const ENTER: &str = r#"
set -e
ip link set lo up
ip addr add 127.0.0.1/8 dev lo 2>/dev/null || true
dir=$(mktemp -d)
mount -t tmpfs none "$dir"
printf '127.0.0.1 localhost\n' >"$dir/hosts"
printf 'nameserver 127.0.0.1\noptions timeout:1 attempts:1\n' >"$dir/resolv.conf"
printf 'hosts: files dns\n' >"$dir/nsswitch.conf"
for name in hosts resolv.conf nsswitch.conf; do
    [ ! -e "/etc/$name" ] || mount --bind "$dir/$name" "/etc/$name"
done
exec "$@"
"#;

/// Runs a test in a network of its own; `name` is its full name, as `cargo test` prints it.
///
/// # Errors
/// When it fails, with what it printed.
pub fn run(name: &str, test: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    if std::env::var_os(INSIDE).is_some() {
        return tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?
            .block_on(test);
    }
    let root = rustix::process::geteuid().is_root();
    let namespaces: &[&str] = match root {
        true => &["--net", "--mount"],
        false => &["--net", "--mount", "--user", "--map-root-user"],
    };
    let enter = |command: &[&OsStr]| {
        let mut unshare = Command::new("unshare");
        unshare
            .args(namespaces)
            .args(["sh", "-c", ENTER, "sh"])
            .args(command)
            .stdin(Stdio::null());
        unshare
    };
    let possible = enter(&[OsStr::new("true")]).output();
    if !possible.as_ref().is_ok_and(|output| output.status.success()) {
        skip(&format!("no network of its own: {possible:?}"));
        return Ok(());
    }
    // Before anything is built, which may put another file in this one's place.
    let this = std::env::current_exe()?;
    programs();
    let arguments = ["--exact", name, "--nocapture", "--test-threads=1"];
    let mut command = vec![this.as_os_str()];
    command.extend(arguments.iter().map(OsStr::new));
    let output = enter(&command)
        .env(INSIDE, "1")
        .output()
        .context("the test runs itself")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success() && text.contains("1 passed"),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Runs `ip` with these words, split at blanks.
///
/// # Errors
/// When it fails.
pub fn ip(words: &str) -> anyhow::Result<()> {
    let output = Command::new("ip").args(words.split(' ')).output()?;
    ensure!(
        output.status.success(),
        "ip {words}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Makes loopback a line of so many bytes per second, in packets as lines have them, before which so many bytes may wait: for
/// both directions together. `None`, and a visible line, where the system cannot.
///
/// # Errors
/// When it cannot be made for another reason.
pub fn slow_line(bytes_per_sec: u64, queue: u64) -> anyhow::Result<Option<()>> {
    ip("link set lo mtu 1500")?;
    let bits = bytes_per_sec * 8;
    let words = format!("qdisc add dev lo root tbf rate {bits} burst 16000 limit {queue}");
    let made = Command::new("tc").args(words.split(' ')).output();
    let made = made.map(|output| (output.status.success(), output.stderr));
    if !matches!(made, Ok((true, _))) {
        skip(&format!("no line can be shaped: {made:?}"));
        return Ok(None);
    }
    // As most senders do. Where it cannot be chosen, the system's own will do.
    let _kept = std::fs::write("/proc/sys/net/ipv4/tcp_congestion_control", "cubic");
    Ok(Some(()))
}

/// A counter of this network, by the kernel's name for it in `/proc/net/netstat`.
///
/// # Errors
/// When there is none.
pub fn counted(name: &str) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/net/netstat")?;
    let lines: Vec<&str> = text.lines().collect();
    // A line of names, and one of numbers below it.
    let mut pairs = lines
        .chunks_exact(2)
        .flat_map(|pair| pair[0].split(' ').zip(pair[1].split(' ')));
    let (_, number) = pairs.find(|(known, _)| *known == name).context("no such counter")?;
    Ok(number.parse()?)
}

/// Lets the network take so many bits per second; what is too much for it is lost.
///
/// # Errors
/// When the system cannot.
pub fn drop_above(megabits: u32) -> anyhow::Result<()> {
    // Packets as a real network has them: those of the loopback device are larger than what passes at once.
    ip("link set lo mtu 1500")?;
    let words = format!("qdisc add dev lo root tbf rate {megabits}mbit burst 32k limit 64k");
    let output = Command::new("tc").args(words.split(' ')).output()?;
    ensure!(
        output.status.success(),
        "tc {words}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Makes a network in which packets vanish: `198.51.100.0/24` and `2001:db8:100::/64`, where only `.1` and `::1` are we.
///
/// # Errors
/// When it cannot be made.
pub fn black_hole() -> anyhow::Result<()> {
    for words in [
        "link add hole0 type veth peer name hole1",
        "link set hole0 up",
        "link set hole1 up",
        "addr add 198.51.100.1/24 dev hole0",
        "-6 addr add 2001:db8:100::1/64 dev hole0 nodad",
        // A neighbour that is known and not there: nobody says that it cannot be reached.
        "neigh add 198.51.100.99 lladdr 02:00:00:00:00:99 dev hole0 nud permanent",
        "-6 neigh add 2001:db8:100::99 lladdr 02:00:00:00:00:99 dev hole0 nud permanent",
    ] {
        ip(words)?;
    }
    Ok(())
}
