use super::*;

#[test]
fn a_command_that_is_given_again_is_the_same_request() {
    let first = Wish {
        name: "llama-2".into(),
        window: "night".into(),
        start_at: Some(jiff::Timestamp::UNIX_EPOCH),
        preferred_endpoint: "https://hf-mirror.com".into(),
        ..Wish::default()
    };
    let later = Wish {
        start_at: Some(jiff::Timestamp::MAX),
        preferred_cache_dir: "/hub".into(),
        preferred_endpoint: String::new(),
        resolved: crate::names::parse("me/llama-2@v1").ok(),
        ..first.clone()
    };
    assert_eq!(fingerprint(&first), fingerprint(&later));
    for other in [
        Wish {
            name: "llama-3".into(),
            ..first.clone()
        },
        Wish {
            window: String::new(),
            ..first.clone()
        },
        Wish {
            endpoints: vec!["https://hf-mirror.com".into()],
            ..first.clone()
        },
    ] {
        assert_ne!(fingerprint(&first), fingerprint(&other), "{other:?}");
    }
}

#[test]
fn pages_of_the_hub_and_of_endpoints_only() {
    let endpoints = [Endpoint::parse("", "http://127.0.0.1:8090/hf").unwrap()];
    for good in [
        "org/model",
        "hf://org/model",
        "https://huggingface.co/org/model",
        "https://www.HuggingFace.co/org/model",
        "https://hf-mirror.com/org/model",
        "http://127.0.0.1:8090/hf/org/model",
    ] {
        assert!(check_host(good, &endpoints).is_ok(), "{good}");
    }
    for bad in [
        "https://gitlab.example/org/model",
        "https://huggingface.co.evil.example/org/model",
        "https://hugginface.co/org/model",
    ] {
        assert!(check_host(bad, &endpoints).is_err(), "{bad}");
    }
}
