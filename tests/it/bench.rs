//! The bench binary: that it measures, and says what it measured. Its figures are nobody's business here.

use std::process::Stdio;

use hfetch_tests::harness::{PATIENCE, programs};
use tokio::process::Command;

/// Runs it to a good end; what it said, and what it told on the way.
async fn ran(mut bench: Command) -> (String, String) {
    let output = bench.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE * 3, output)
        .await
        .expect("it ends")
        .expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    (String::from_utf8_lossy(&output.stdout).into_owned(), told)
}

#[tokio::test]
async fn measures_how_limits_hold() {
    programs();
    let folder = tempfile::tempdir().expect("folder");
    let mut bench = Command::new(env!("CARGO_BIN_EXE_bench"));
    bench
        .args(["--no-build", "--limits", "--quick", "--folder"])
        .arg(folder.path());
    let (said, told) = ran(bench).await;
    let rows: Vec<&str> = said.lines().skip(2).collect();
    // Without root nobody can be played.
    let expected = if told.contains("fairness: left out") { 6 } else { 8 };
    assert_eq!(rows.len(), expected, "{said}\n{told}");
    let figures = rows.iter().filter(|row| {
        row.split(" | ")
            .nth(1)
            .is_some_and(|found| found.contains(['%', 'x', 'm']))
    });
    assert_eq!(figures.count(), expected, "{said}");
    assert!(!said.contains("NaN") && !said.contains("inf"), "{said}");
    let left = std::fs::read_dir(folder.path()).expect("readable").count();
    assert_eq!(left, 0, "it cleans up");
}

#[tokio::test]
async fn measures_the_control_plane() {
    programs();
    let folder = tempfile::tempdir().expect("folder");
    let mut bench = Command::new(env!("CARGO_BIN_EXE_bench"));
    bench
        .args(["--no-build", "--service", "--quick", "--folder"])
        .arg(folder.path());
    let (said, told) = ran(bench).await;
    let rows: Vec<Vec<&str>> = said.lines().skip(2).map(|line| line.split(" | ").collect()).collect();
    assert_eq!(rows.len(), 9, "{said}\n{told}");
    for row in rows.iter().filter(|row| row[2] != " |") {
        assert!(
            row[1].contains(|found: char| ('1'..='9').contains(&found)),
            "{row:?}\n{said}"
        );
    }
    assert!(rows[2][0].contains("100 on 4 connections"), "{said}");
    let left = std::fs::read_dir(folder.path()).expect("readable").count();
    assert_eq!(left, 0, "it cleans up");
}

#[tokio::test]
async fn measures_rows_with_and_without_a_daemon() {
    // It takes what lies beside it.
    programs();
    let folder = tempfile::tempdir().expect("folder");
    let mut bench = Command::new(env!("CARGO_BIN_EXE_bench"));
    bench
        .args([
            "--no-build",
            "--runs",
            "1",
            "--divide",
            "64",
            "--tools",
            "hfctl",
            "--rows",
        ])
        .arg("per-connection,small,resets,kill,two-hubs")
        .arg("--folder")
        .arg(folder.path());
    let (said, told) = ran(bench).await;
    let cells: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| row") && !line.starts_with("| ---"))
        .map(|line| line.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default())
        .collect();
    assert_eq!(cells.len(), 10, "five rows in each of two tables:\n{said}\n{told}");
    for seconds in &cells[..5] {
        let number = seconds.trim_matches('*').parse::<f64>();
        assert!(number.is_ok_and(|seconds| seconds > 0.0), "{seconds}:\n{said}\n{told}");
    }
    for used in &cells[5..] {
        assert!(
            used.contains(" s") && used.contains(" MiB") && used.ends_with(" requests"),
            "{used}:\n{said}"
        );
    }
    let left = std::fs::read_dir(folder.path()).expect("readable").count();
    assert_eq!(left, 0, "it cleans up");
}
