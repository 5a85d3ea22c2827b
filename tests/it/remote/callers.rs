//! Who is let in, as whom, and to what.

use anyhow::Context as _;
use hfetch_proto::v1;
use hfetch_tests::{
    check,
    harness::{PATIENCE, eventually},
    pki::{Authority, private},
    sim::{RepoBuilder, SimHub},
};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use rustix::process::Signal;
use tonic::{Code, Request, client::Grpc};
use tonic_prost::ProstCodec;

use super::place::{Place, line};

fn hub() -> anyhow::Result<SimHub> {
    SimHub::builder()
        .repo(RepoBuilder::model("org/small").seeded("config.json", 700, 1))
        .start()
}

#[tokio::test]
async fn hfctl_does_from_afar_what_it_does_here() -> anyhow::Result<()> {
    let hub = hub()?;
    let place = Place::new(hub.endpoint(), "")?;
    let (daemon, port) = place.daemon().await?;
    let ann = [("HFCTL_TOKEN", "of-ann")];
    let path = place.hfctl(port, &["download", "org/small"], &ann).await?.ok()?;
    // Into the daemon's cache, whatever this shell calls its own.
    assert!(
        path.trim()
            .starts_with(place.scratch.cache().to_str().context("UTF-8")?),
        "{path}"
    );
    let listed = place.hfctl(port, &["list", "--json"], &ann).await?.json()?;
    let id = listed["jobs"][0]["id"].as_str().context("a job")?.to_owned();
    assert_eq!(listed["jobs"][0]["user"], "ann");
    // To another caller it does not exist; an operator sees it.
    let ben = [("HFCTL_TOKEN", "of-ben")];
    place.hfctl(port, &["show", &id], &ben).await?.exits(4)?;
    place
        .hfctl(port, &["show", &id], &[("HFCTL_TOKEN", "of-opa")])
        .await?
        .ok()?;
    // The owner of the daemon, by the socket.
    place.scratch.hfctl(["show", &id]).await?.ok()?;
    let events = place.hfctl(port, &["watch", &id, "--after", "0"], &ann).await?.ok()?;
    assert!(events.contains("done"), "{events}");
    let status = place.hfctl(port, &["daemon", "status", "--json"], &ann).await?.json()?;
    assert_eq!(
        (&status["caller"], &status["caller_is_operator"]),
        (&"ann".into(), &false.into())
    );
    place.hfctl(port, &["limit", "1M"], &ann).await?.exits(6)?;
    place.hfctl(port, &["daemon", "reload"], &ann).await?.exits(6)?;
    place
        .hfctl(port, &["submit", "org/small", "--local-dir", "m"], &ann)
        .await?
        .exits(6)?;
    place
        .hfctl(port, &["submit", "org/small", "--cache-dir", "/tmp/x"], &ann)
        .await?
        .exits(6)?;
    place
        .hfctl(port, &["daemon", "reload"], &[("HFCTL_TOKEN", "of-opa")])
        .await?
        .ok()?;
    let log = place.scratch.log();
    assert!(log.contains("user=\"ann\"") || log.contains("user=ann"), "{log}");
    assert!(!log.contains("of-ann"), "a token is in the log");
    daemon.stop().await?;
    check::sound(&place.scratch, &[&hub])
}

#[tokio::test]
async fn who_is_not_known_is_told_what_is_missing() -> anyhow::Result<()> {
    let place = Place::new("http://127.0.0.1:9", "")?;
    let (daemon, port) = place.daemon().await?;
    for (env, code, word) in [
        (&[][..], 6, "HFCTL_TOKEN"),
        (&[("HFCTL_TOKEN", "of-eve")], 6, "none of those"),
        (
            &[("HFCTL_TOKEN", "of-ann"), ("HFCTL_CA", "/dev/null")],
            1,
            "no certificate",
        ),
    ] {
        let ran = place.hfctl(port, &["list"], env).await?;
        assert!(
            ran.code == code && ran.stderr.contains(word),
            "{env:?}: {}: {}",
            ran.code,
            ran.stderr
        );
    }
    // An authority that did not sign the daemon's certificate: no token is sent.
    std::fs::write(place.scratch.path("other.pem"), Authority::new()?.pem())?;
    let other = place.scratch.path("other.pem").display().to_string();
    let ran = place
        .hfctl(port, &["list"], &[("HFCTL_TOKEN", "of-ann"), ("HFCTL_CA", &other)])
        .await?;
    assert!(
        ran.code == 3 && ran.stderr.contains("authority"),
        "{}: {}",
        ran.code,
        ran.stderr
    );
    // A name that the certificate does not have.
    let wrong = format!("https://127.0.0.2:{port}");
    let ran = place
        .hfctl(port, &["list"], &[("HFCTL_TOKEN", "of-ann"), ("HFCTL_ADDRESS", &wrong)])
        .await?;
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    // A token from a file under the daemon's own name.
    let folder = place
        .scratch
        .path(&format!("elsewhere/.config/hfetch/hosts/localhost:{port}"));
    std::fs::create_dir_all(&folder)?;
    private(&folder.join("token"), "of-ann\n")?;
    place.hfctl(port, &["list"], &[]).await?.ok()?;
    daemon.stop().await?;
    Ok(())
}

#[tokio::test]
async fn without_a_token_there_is_nothing() -> anyhow::Result<()> {
    let place = Place::new("http://127.0.0.1:9", "")?;
    let (daemon, port) = place.daemon().await?;
    let channel = place.channel(port).await?;
    let mut paths = vec![
        "/grpc.health.v1.Health/Check".to_owned(),
        "/grpc.health.v1.Health/Watch".to_owned(),
    ];
    for file in FileDescriptorSet::decode(hfetch_proto::FILE_DESCRIPTOR_SET)?.file {
        for service in file.service.iter().filter(|_| file.package() == "hfetch.v1") {
            paths.extend(
                service
                    .method
                    .iter()
                    .map(|method| format!("/hfetch.v1.{}/{}", service.name(), method.name())),
            );
        }
    }
    assert!(paths.len() > 20, "{paths:?}");
    for path in paths {
        let mut grpc = Grpc::new(channel.clone());
        grpc.ready().await?;
        let codec = ProstCodec::<(), ()>::default();
        let answer = grpc.server_streaming(Request::new(()), path.parse()?, codec).await;
        assert_eq!(
            answer.map(drop).map_err(|status| status.code()),
            Err(Code::Unauthenticated),
            "{path}"
        );
    }
    daemon.stop().await?;
    Ok(())
}

#[tokio::test]
async fn guessing_ends_soon() -> anyhow::Result<()> {
    let place = Place::new("http://127.0.0.1:9", "")?;
    let (daemon, port) = place.daemon().await?;
    let info = v1::GetServerInfoRequest::default();
    for _ in 0..5 {
        let wrong = place.admin(port, "of-eve").await?.get_server_info(info).await;
        assert_eq!(
            wrong.map(drop).map_err(|status| status.code()),
            Err(Code::Unauthenticated)
        );
    }
    // Not even a right one is looked at now; who is on this machine has the socket.
    let banned = place.admin(port, "of-ann").await?.get_server_info(info).await;
    assert_eq!(
        banned.map(drop).map_err(|status| status.code()),
        Err(Code::ResourceExhausted)
    );
    place.scratch.hfctl(["list"]).await?.ok()?;
    daemon.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_reload_takes_a_token_back_in_the_middle_of_a_watch() -> anyhow::Result<()> {
    let place = Place::new("http://127.0.0.1:9", "")?;
    let (daemon, port) = place.daemon().await?;
    let mut events = v1::event_service_client::EventServiceClient::new(place.wire(port, "of-ann").await?);
    let mut watch = events.watch(v1::WatchRequest::default()).await?.into_inner();
    private(
        &place.scratch.path("tokens"),
        &(line("ben", "of-ben") + &line("cid", "of-cid")),
    )?;
    daemon.signal(Signal::HUP)?;
    // Heartbeats may come before; the end must.
    let end = async { while let Ok(Some(_)) = watch.message().await {} };
    tokio::time::timeout(PATIENCE, end).await?;
    let info = v1::GetServerInfoRequest::default();
    let code = async |token: &str| -> anyhow::Result<Code> {
        let answer = place.admin(port, token).await?.get_server_info(info).await;
        Ok(answer.map_or_else(|status| status.code(), |_| Code::Ok))
    };
    assert_eq!(code("of-ann").await?, Code::Unauthenticated);
    assert_eq!(code("of-cid").await?, Code::Ok);
    // A broken file changes nothing.
    private(&place.scratch.path("tokens"), "ben\n")?;
    daemon.signal(Signal::HUP)?;
    eventually("the complaint", async || match place.scratch.log() {
        log if log.contains("stays as it was") => Ok(()),
        log => Err(log),
    })
    .await?;
    assert_eq!(code("of-ben").await?, Code::Ok);
    daemon.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_certificate_takes_the_place_of_a_token() -> anyhow::Result<()> {
    let people = Authority::new()?;
    let place = Place::new("http://127.0.0.1:9", "")?;
    let folder = place.scratch.path("");
    std::fs::write(place.scratch.path("people.pem"), people.pem())?;
    people.caller("dora")?.write(&folder, "dora")?;
    people.caller("root")?.write(&folder, "root")?;
    Authority::new()?.caller("dora")?.write(&folder, "eve")?;
    let config = std::fs::read_to_string(place.scratch.path("hfetch.toml"))?;
    let more = format!("client_ca = '{}people.pem'\n", folder.display());
    std::fs::write(place.scratch.path("hfetch.toml"), config + &more)?;
    let (daemon, port) = place.daemon().await?;
    let file = |name: &str| place.scratch.path(name).display().to_string();
    let as_who = |name: &str| (file(&format!("{name}.pem")), file(&format!("{name}.key")));
    for (name, token, code) in [("dora", None, 0), ("dora", Some("of-ann"), 6), ("root", None, 6)] {
        let (certificate, key) = as_who(name);
        let mut env = vec![("HFCTL_CERT", certificate.as_str()), ("HFCTL_KEY", key.as_str())];
        env.extend(token.map(|token| ("HFCTL_TOKEN", token)));
        let ran = place.hfctl(port, &["daemon", "status", "--json"], &env).await?;
        assert_eq!(ran.code, code, "{name} {token:?}: {}", ran.stderr);
        if code == 0 {
            assert_eq!(ran.json()?["caller"], "dora");
        }
    }
    // One that somebody else signed does not even get through the handshake.
    let (certificate, key) = as_who("eve");
    let env = [("HFCTL_CERT", certificate.as_str()), ("HFCTL_KEY", key.as_str())];
    let ran = place.hfctl(port, &["daemon", "status"], &env).await?;
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    // And a token alone goes on being enough.
    place.hfctl(port, &["list"], &[("HFCTL_TOKEN", "of-ann")]).await?.ok()?;
    daemon.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_key_of_another_certificate_is_told_before_anything_starts() -> anyhow::Result<()> {
    let place = Place::new("http://127.0.0.1:9", "")?;
    private(&place.scratch.path("server.key"), &place.authority.caller("x")?.key)?;
    let mut check = place.scratch.command(hfetch_tests::harness::programs().join("hfetchd"));
    let output = check
        .arg("--check-config")
        .arg("--config")
        .arg(place.scratch.path("hfetch.toml"))
        .output()
        .await?;
    let text = String::from_utf8(output.stderr)?;
    assert!(
        output.status.code() == Some(78) && text.contains("control.tls_key"),
        "{text}"
    );
    let mut start = place.scratch.command(hfetch_tests::harness::programs().join("hfetchd"));
    start
        .arg("--state-dir")
        .arg(place.scratch.state())
        .arg("--config")
        .arg(place.scratch.path("hfetch.toml"));
    assert_eq!(start.output().await?.status.code(), Some(78));
    Ok(())
}
