//! The simulated Hub as a program.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;

#[tokio::test]
async fn prints_its_endpoint_serves_and_ends_with_its_stdin() {
    let folder = tempfile::tempdir().expect("folder");
    std::fs::create_dir_all(folder.path().join("sub")).expect("folder");
    std::fs::write(folder.path().join("sub/hello.txt"), "hello\n").expect("file");
    let repo = format!("org/docs={}", folder.path().display());
    let mut program = Command::new(env!("CARGO_BIN_EXE_sim-hub"))
        .args([
            "--repo",
            &repo,
            "--seeded",
            "org/big=model.bin:1MiB:3",
            "--gated",
            "org/big",
            "--accept",
            "org/big=al",
        ])
        .args([
            "--token",
            "al=hf_al",
            "--rate",
            "200MB",
            "--renamed",
            "docs=org/docs",
            "--log",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("starts");
    let mut lines = BufReader::new(program.stdout.take().expect("stdout")).lines();
    let endpoint = lines.next_line().await.expect("readable").expect("a line");
    let address = endpoint.strip_prefix("http://").expect("an endpoint");
    for (path, token, begin, end) in [
        (
            "/org/docs/raw/main/sub/hello.txt",
            "",
            "HTTP/1.1 200 OK",
            "\r\n\r\nhello\n",
        ),
        (
            "/docs/raw/main/sub/hello.txt",
            "",
            "HTTP/1.1 307",
            "/org/docs/raw/main/sub/hello.txt",
        ),
        ("/org/big/resolve/main/model.bin", "", "HTTP/1.1 401", ""),
        (
            "/org/big/resolve/main/model.bin",
            "Authorization: Bearer hf_al\r\n",
            "HTTP/1.1 302",
            "",
        ),
    ] {
        let mut stream = TcpStream::connect(address).await.expect("connect");
        let text = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{token}Connection: close\r\n\r\n");
        stream.write_all(text.as_bytes()).await.expect("write");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("read");
        assert!(answer.starts_with(begin) && answer.ends_with(end), "{path}: {answer}");
    }
    drop(program.stdin.take());
    let output = program.wait_with_output().await.expect("ends");
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}: {log}", output.status);
    assert!(log.contains("GET /org/docs/raw/main/sub/hello.txt -> 200"), "{log}");
}

#[tokio::test]
async fn a_taken_port_is_told_without_a_panic() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_sim-hub"))
        .args(["--port", &port])
        .stdin(Stdio::null())
        .output()
        .await
        .expect("starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("in use") && !said.contains("panicked"), "{said}");
}
