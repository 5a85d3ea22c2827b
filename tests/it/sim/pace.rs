//! Speeds, gates, and how fast it can be at all.

use std::time::Duration;

use hfetch_tests::sim::{Host, Matcher, RepoBuilder, SimHub};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::{get, get_url, head};

fn hub(size: u64) -> SimHub {
    let repo = RepoBuilder::model("o/m").giant("m.bin", size, 1, &"cd".repeat(32));
    SimHub::builder().repo(repo).start().expect("starts")
}

async fn location(hub: &SimHub) -> String {
    head(hub, "/o/m/resolve/main/m.bin").await.location().to_owned()
}

/// How long the last exchange at the CDN took.
fn took(hub: &SimHub) -> Duration {
    let records = hub.journal().filter(|record| record.host == Host::Cdn);
    let last = records.last().expect("one");
    last.ended.expect("ended") - last.started
}

#[tokio::test]
async fn rates_hold_and_change_while_a_body_is_under_way() {
    let hub = hub(1_000_000);
    let location = location(&hub).await;
    hub.pace().set_total(Some(5_000_000));
    assert_eq!(get_url(&hub, &location, &[]).await.body.len(), 1_000_000);
    let slow = took(&hub);
    assert!(slow >= Duration::from_millis(150), "{slow:?}");
    hub.pace().set_total(None);
    hub.pace().set_per_connection(Some(1000));
    let transfer = get_url(&hub, &location, &[]);
    let faster = async {
        let begun =
            |journal: &hfetch_tests::sim::Journal| journal.open_exchanges().iter().any(|one| one.body_bytes > 0);
        hub.journal().wait_for("the first bytes", begun).await;
        hub.pace().set_per_connection(None);
    };
    let (answer, ()) = tokio::join!(transfer, faster);
    assert_eq!(
        answer.body.len(),
        1_000_000,
        "at the first rate this would take a quarter of an hour"
    );
    hub.pace().set_latency(Duration::from_millis(40));
    get(&hub, "/api/models/o/m").await;
    let record = hub.journal().records().pop().expect("one");
    assert!(record.ended.expect("ended") - record.started >= Duration::from_millis(40));
}

#[tokio::test]
async fn gates_hold_answers_and_let_bytes_through() {
    let hub = hub(100_000);
    let location = location(&hub).await;
    let answers = hub.hold_answers(Matcher::any().path("/api/*"));
    let held = async {
        answers.reached().await;
        assert_eq!(hub.journal().open_exchanges().len(), 1);
        answers.release();
    };
    let (answer, ()) = tokio::join!(get(&hub, "/api/models/o/m"), held);
    assert_eq!(answer.status, 200);

    let bodies = hub.hold_bodies("m.*", 1000);
    let (first, second) = (get_url(&hub, &location, &[]), get_url(&hub, &location, &[]));
    let steps = async {
        bodies.held_by(2).await;
        assert_eq!(hub.journal().bytes_sent_for("m.bin"), 1000, "of both together");
        bodies.let_through(500);
        hub.journal()
            .wait_for("500 more", |journal| journal.bytes_sent_for("m.bin") == 1500)
            .await;
        bodies.held_by(2).await;
        drop(bodies);
    };
    let (first, second, ()) = tokio::join!(first, second, steps);
    assert_eq!((first.body.len(), second.body.len()), (100_000, 100_000));
}

#[tokio::test]
async fn one_connection_takes_many_requests() {
    let hub = hub(1000);
    let mut stream = TcpStream::connect(hub.address(Host::Hub)).await.expect("connect");
    let request = "GET /api/models/o/m/treesize/main HTTP/1.1\r\nHost: x\r\n";
    let text = format!("{request}\r\n{request}\r\n{request}Connection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).await.expect("write");
    let mut all = String::new();
    stream.read_to_string(&mut all).await.expect("read");
    assert_eq!(all.matches("HTTP/1.1 200 OK").count(), 3);
    let connections: Vec<u64> = hub.journal().records().iter().map(|record| record.connection).collect();
    assert_eq!(connections, [0, 0, 0]);
}

/// Not a benchmark with a limit: it prints what this machine gives, and fails only when bytes are missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serves_a_seed_at_full_speed() {
    let size = 1_u64 << 30;
    let hub = hub(size);
    let location = location(&hub).await;
    let path = location.strip_prefix(hub.cdn_endpoint()).expect("CDN").to_owned();
    let mut stream = TcpStream::connect(hub.address(Host::Cdn)).await.expect("connect");
    let text = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).await.expect("write");
    let mut buffer = vec![0; 1 << 20];
    let mut total = 0;
    loop {
        let count = stream.read(&mut buffer).await.expect("read");
        if count == 0 {
            break;
        }
        total += count as u64;
    }
    assert!(total > size);
    println!("{:.2} GB/s", size as f64 / 1e9 / took(&hub).as_secs_f64());
}
