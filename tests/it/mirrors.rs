//! Endpoints that lie, lack something or only pass on: each is named for what it does, and the origin's word counts.

mod expires;

use hfetch_tests::{
    check,
    harness::Scratch,
    sim::{Fault, Host, LinkedShape, Matcher, PlainShape, RepoBuilder, SimHub, Storage, Switches},
};
use serde_json::Value;

const MIB: u64 = 1 << 20;
const FILE: &str = "model.safetensors";

fn repo() -> RepoBuilder {
    RepoBuilder::model("org/m")
        .seeded_as(FILE, 5 * MIB, 5, Storage::Linked)
        .plain("config.json", b"{\"a\": 1}".to_vec())
}

fn hub_of(repo: RepoBuilder) -> anyhow::Result<SimHub> {
    SimHub::builder().repo(repo).start()
}

/// A configuration with an origin and a mirror; `first` says who stands first.
fn scratch(origin: &SimHub, mirror: &SimHub, mirror_first: bool) -> anyhow::Result<Scratch> {
    let (origin, mirror) = (origin.endpoint(), mirror.endpoint());
    let origin = format!("[[endpoints]]\nname = \"origin\"\nurl = \"{origin}\"\ntoken = \"own\"\n");
    let mirror = format!("[[endpoints]]\nname = \"mirror\"\nurl = \"{mirror}\"\ntoken = \"never\"\n");
    let text = match mirror_first {
        true => mirror + &origin,
        false => origin + &mirror,
    };
    Scratch::new("")?.config(&text)
}

/// Probes a mirror beside a faultless origin; gives what was said of the mirror.
async fn probed(mirror: &SimHub) -> anyhow::Result<Value> {
    let origin = hub_of(repo())?;
    probed_beside(&origin, mirror).await
}

async fn probed_beside(origin: &SimHub, mirror: &SimHub) -> anyhow::Result<Value> {
    let scratch = scratch(origin, mirror, true)?;
    let daemon = scratch.daemon().await?;
    let ran = scratch
        .hfctl(&["endpoint", "probe", "--repo", "org/m", "--json"])
        .await?;
    let answer: Value = serde_json::from_str(&ran.stdout)?;
    assert_eq!(answer["compared_with"], "origin", "{answer:#}");
    let [first, second] = [0, 1].map(|index| answer["endpoints"][index].clone());
    assert_eq!(second["name"], "origin");
    assert_eq!(
        (&second["state"], &second["trust"]),
        (&"good".into(), &"origin".into()),
        "{answer:#}"
    );
    assert_eq!(ran.code, i32::from(first["state"] == "bad"), "{ran:?}");
    // What was found is remembered.
    let listed = scratch.hfctl(&["endpoint", "list", "--json"]).await?;
    let listed: Value = serde_json::from_str(&listed.stdout)?;
    for key in [
        "state",
        "fault",
        "reason",
        "serves",
        "expires_at",
        "bytes_per_sec",
        "repo_id",
    ] {
        assert_eq!(listed[0][key], first[key], "{key}");
    }
    daemon.stop().await?;
    Ok(first)
}

/// Holds what was said of a mirror against the fault and what it is still good for.
fn named(said: &Value, fault: &str, serves: &str) {
    assert_eq!(
        (&said["fault"], &said["serves"]),
        (&fault.into(), &serves.into()),
        "{said:#}"
    );
    assert_eq!(said["state"], "bad");
    assert!(
        said["reason"].as_str().is_some_and(|reason| reason.len() > 10),
        "{said:#}"
    );
    assert!(said["expires_at"].as_str() > said["checked_at"].as_str(), "{said:#}");
}

#[tokio::test]
async fn a_faithful_mirror_is_good() -> anyhow::Result<()> {
    let mirror = hub_of(repo())?;
    let said = probed(&mirror).await?;
    assert_eq!(
        (&said["state"], &said["serves"]),
        (&"good".into(), &"parts".into()),
        "{said:#}"
    );
    assert_eq!(
        (&said["lists"], &said["trust"], &said["token"]),
        (&true.into(), &"mirror".into(), &"never".into())
    );
    let cdn = mirror.cdn_endpoint().trim_start_matches("http://");
    assert_eq!(said["ends_at"], cdn);
    assert!(said["bytes_per_sec"].as_u64() > Some(1000), "{said:#}");
    // A part of one file is all that it cost.
    assert!(mirror.journal().bytes_sent_for(FILE) <= 4 * MIB);
    Ok(())
}

#[tokio::test]
async fn another_commit() -> anyhow::Result<()> {
    let mirror = hub_of(repo().plain("more.txt", b"newer".to_vec()))?;
    named(&probed(&mirror).await?, "other_commit", "nothing");
    Ok(())
}

#[tokio::test]
async fn missing_files_and_other_sizes_and_hashes() -> anyhow::Result<()> {
    let tree = |entries: &str| Fault::Answer(200, vec![], entries.as_bytes().to_vec());
    let linked = |size: u64, hash: &str| {
        format!(
            r#"{{"type":"file","path":"{FILE}","size":{size},"oid":"{}","lfs":{{"oid":"{hash}","size":{size}}}}}"#,
            "0".repeat(40)
        )
    };
    let listing = || Matcher::any().host(Host::Hub).path("*/tree/*");
    let mirror = hub_of(repo())?;
    mirror.fault(listing(), tree("[]"));
    named(&probed(&mirror).await?, "missing_files", "parts");
    mirror.faults().clear();
    mirror.fault(listing(), tree(&format!("[{}]", linked(5 * MIB, &"a".repeat(64)))));
    named(&probed(&mirror).await?, "other_content", "nothing");
    mirror.faults().clear();
    mirror.fault(listing(), tree(&format!("[{}]", linked(5 * MIB + 1, &"a".repeat(64)))));
    named(&probed(&mirror).await?, "other_content", "nothing");
    mirror.faults().clear();
    let bare = format!(
        r#"[{{"type":"file","path":"{FILE}","size":{}}},{{"type":"file","path":"config.json","size":8}}]"#,
        5 * MIB
    );
    mirror.fault(listing(), tree(&bare));
    named(&probed(&mirror).await?, "no_hashes", "parts");
    Ok(())
}

#[tokio::test]
async fn no_tree_is_no_fault_while_the_description_lists_all() -> anyhow::Result<()> {
    let mirror = SimHub::builder()
        .repo(repo())
        .switches(Switches {
            has_tree: false,
            ..Switches::default()
        })
        .start()?;
    let said = probed(&mirror).await?;
    assert_eq!(said["state"], "good", "{said:#}");
    Ok(())
}

#[tokio::test]
async fn ignored_and_wrong_ranges() -> anyhow::Result<()> {
    let mirror = hub_of(repo())?;
    let bytes = || Matcher::any().host(Host::Cdn).file(FILE);
    mirror.fault(bytes(), Fault::IgnoreRange);
    named(&probed(&mirror).await?, "no_ranges", "whole_files");
    mirror.faults().clear();
    mirror.fault(bytes(), Fault::OtherRange(1));
    named(&probed(&mirror).await?, "wrong_range", "nothing");
    Ok(())
}

#[tokio::test]
async fn a_web_page_in_place_of_everything() -> anyhow::Result<()> {
    let mirror = hub_of(repo())?;
    mirror.fault(Matcher::any(), Fault::Html);
    named(&probed(&mirror).await?, "not_the_file", "nothing");
    Ok(())
}

#[tokio::test]
async fn all_redirects_lead_to_the_origin() -> anyhow::Result<()> {
    let (origin, mirror) = (hub_of(repo())?, hub_of(repo())?);
    mirror.fault(
        Matcher::any().host(Host::Hub),
        Fault::RedirectTo(308, origin.endpoint().to_owned()),
    );
    named(&probed_beside(&origin, &mirror).await?, "leads_to_origin", "parts");
    Ok(())
}

#[tokio::test]
async fn answers_of_its_own_are_fine() -> anyhow::Result<()> {
    // As Olah does: no redirect, no X-Linked headers.
    let mirror = SimHub::builder()
        .repo(repo())
        .switches(Switches {
            plain: PlainShape::Direct,
            linked: LinkedShape::Direct,
            ..Switches::default()
        })
        .start()?;
    let said = probed(&mirror).await?;
    assert_eq!(said["state"], "good", "{said:#}");
    let host = mirror.endpoint().trim_start_matches("http://");
    assert_eq!(said["ends_at"], host);
    Ok(())
}

#[tokio::test]
async fn nobody_there_and_not_now() -> anyhow::Result<()> {
    let mirror = hub_of(repo())?;
    mirror.fault(Matcher::any(), Fault::too_many_seconds(40));
    let said = probed(&mirror).await?;
    named(&said, "rate_limited", "nothing");
    mirror.take_down(Host::Hub).await;
    named(&probed(&mirror).await?, "unreachable", "nothing");
    Ok(())
}

/// The mirror stands first, but the origin's word counts: the job says so, and the mirror's other hash is told.
#[tokio::test]
async fn the_origin_tells_the_hashes() -> anyhow::Result<()> {
    let (origin, mirror) = (hub_of(repo())?, hub_of(repo())?);
    let lie = format!(
        r#"[{{"type":"file","path":"config.json","size":8,"oid":"{}"}},{{"type":"file","path":"{FILE}","size":{},"oid":"{}"}}]"#,
        "b".repeat(40),
        5 * MIB,
        "c".repeat(40)
    );
    let listing = Matcher::any().host(Host::Hub).path("*/tree/*");
    mirror.fault(listing, Fault::Answer(200, vec![], lie.into_bytes()));
    let scratch = scratch(&origin, &mirror, true)?;
    let daemon = scratch.daemon().await?;
    let id = scratch.submit(&["org/m"]).await?;
    scratch.wait_done(&[&id]).await?;
    let job = scratch.show(&id).await?;
    assert_eq!(job["trust"], "origin");
    let told = scratch.hfctl(&["watch", "--json", "--after", "0", &id]).await?.stdout;
    assert!(told.contains("with hash bbbb") && told.contains("counts"), "{told}");
    daemon.stop().await?;
    check::finished(&scratch, &[&origin, &mirror])?;
    Ok(())
}

/// Nobody here knows which of them lies, so nothing is fetched, and never parts from both.
#[tokio::test]
async fn mirrors_that_contradict_each_other_stop_the_job() -> anyhow::Result<()> {
    let listing = |size: u64, digit: &str| {
        let hash = digit.repeat(64);
        let text = format!(
            r#"[{{"type":"file","path":"{FILE}","size":{size},"oid":"{}","lfs":{{"oid":"{hash}","size":{size}}}}}]"#,
            "0".repeat(40)
        );
        Fault::Answer(200, vec![], text.into_bytes())
    };
    for other in [listing(5 * MIB, "c"), listing(5 * MIB + 1, "c")] {
        let (one, two) = (hub_of(repo())?, hub_of(repo())?);
        two.fault(Matcher::any().host(Host::Hub).path("*/tree/*"), other);
        let mirror = |name: &str, hub: &SimHub| {
            let url = hub.endpoint();
            format!("[[endpoints]]\nname = \"{name}\"\nurl = \"{url}\"\ntoken = \"never\"\n")
        };
        let scratch = Scratch::new("")?.config(&(mirror("one", &one) + &mirror("two", &two)))?;
        let daemon = scratch.daemon().await?;
        for [first, second] in [["one", "two"], ["two", "one"]] {
            let args = ["org/m", "--endpoint", first, "--endpoint", second];
            let id = scratch.submit(&args).await?;
            scratch.hfctl(["wait", &id]).await?.exits(5)?;
            let failure = scratch.show(&id).await?["failure"].clone();
            assert_eq!(failure["kind"], "integrity", "{failure:#}");
            let (message, hint) = (failure["message"].to_string(), failure["hint"].to_string());
            for hub in [&one, &two] {
                let host = hub.endpoint().trim_start_matches("http://");
                assert!(message.contains(host), "no {host} in {message}");
            }
            assert!(message.contains(FILE) && hint.contains("--endpoint"), "{failure:#}");
        }
        for hub in [&one, &two] {
            assert_eq!(hub.journal().bytes_sent_for(FILE), 0, "{}", hub.journal().text());
        }
        // Who is trusted is asked alone.
        let id = scratch.submit(&["org/m", "--endpoint", "one"]).await?;
        scratch.wait_done(&[&id]).await?;
        daemon.stop().await?;
        check::finished(&scratch, &[&one, &two])?;
    }
    Ok(())
}

/// An origin that is not there does not hold the job, which says whose word its hashes are.
#[tokio::test]
async fn without_the_origin_the_mirror_tells_them() -> anyhow::Result<()> {
    let (origin, mirror) = (hub_of(repo())?, hub_of(repo())?);
    origin.take_down(Host::Hub).await;
    let scratch = scratch(&origin, &mirror, false)?;
    let daemon = scratch.daemon().await?;
    let id = scratch.submit(&["org/m"]).await?;
    scratch.wait_done(&[&id]).await?;
    assert_eq!(scratch.show(&id).await?["trust"], "mirror");
    let told = scratch.hfctl(&["watch", "--json", "--after", "0", &id]).await?.stdout;
    assert!(told.contains("word, for") && told.contains("cannot be asked"), "{told}");
    daemon.stop().await?;
    check::finished(&scratch, &[&origin, &mirror])?;
    Ok(())
}

/// An endpoint that wants a pause is asked for no plan meanwhile, by no job: neither as the origin, nor to be compared.
#[tokio::test]
async fn an_endpoint_that_wants_a_pause_is_left_out_of_plans() -> anyhow::Result<()> {
    let section = |name: &str, hub: &SimHub, token: &str| {
        let url = hub.endpoint();
        format!("[[endpoints]]\nname = \"{name}\"\nurl = \"{url}\"\ntoken = \"{token}\"\n")
    };
    for (token, trust) in [("own", "an origin"), ("never", "a mirror")] {
        let other = || RepoBuilder::model("org/other").plain("config.json", b"{}".to_vec());
        let hub = || SimHub::builder().repo(repo()).repo(other()).start();
        let (pausing, serving) = (hub()?, hub()?);
        pausing.fault(Matcher::any(), Fault::too_many_seconds(600));
        let config = section("pausing", &pausing, token) + &section("serving", &serving, "never");
        let scratch = Scratch::new("")?.config(&config)?;
        let daemon = scratch.daemon().await?;
        for repo in ["org/m", "org/other"] {
            let id = scratch.submit(&[repo]).await?;
            scratch.wait_done(&[&id]).await?;
            let job = scratch.show(&id).await?;
            assert_eq!(job["trust"], "mirror", "{job}");
        }
        // Nor by who only asks what a job would do.
        scratch.hfctl(["submit", "org/m", "--dry-run"]).await?.ok()?;
        let asked = pausing.journal().len();
        assert_eq!(asked, 1, "{trust}\n{}", pausing.journal().text());
        // By itself, there is nothing to do but to wait.
        let alone = ["submit", "org/m", "--dry-run", "--endpoint", "pausing"];
        let ran = scratch.hfctl(alone).await?;
        assert!(
            ran.code != 0 && ran.stderr.contains("asked for fewer requests"),
            "{ran:?}"
        );
        assert_eq!(pausing.journal().len(), asked);
        daemon.stop().await?;
        check::finished(&scratch, &[&pausing, &serving])?;
    }
    Ok(())
}
