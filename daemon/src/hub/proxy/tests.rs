use super::*;

fn rules(pairs: &[(&str, &str)]) -> ProxyRules {
    ProxyRules::from_lookup(|name| {
        pairs
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| (*value).to_owned())
    })
    .unwrap()
}

fn via(rules: &ProxyRules, url: &str) -> Option<String> {
    match rules.ask(&Url::parse(url).unwrap()) {
        BySetting::Proxy(_, proxy) => Some(proxy.to_string()),
        BySetting::Exempt(_) | BySetting::Unset => None,
    }
}

#[test]
fn variables_as_curl_reads_them() {
    let http = "http://h.example/";
    let https = "https://h.example/";
    let check = |pairs: &[(&str, &str)], url, expected: Option<&str>| {
        assert_eq!(via(&rules(pairs), url).as_deref(), expected, "{pairs:?} {url}");
    };
    check(&[], https, None);
    check(&[("https_proxy", "http://p:1")], https, Some("http://p:1/"));
    check(&[("HTTPS_PROXY", "http://p:1")], https, Some("http://p:1/"));
    check(
        &[("HTTPS_PROXY", "http://P:1"), ("https_proxy", "http://p:2")],
        https,
        Some("http://p:2/"),
    );
    check(
        &[("HTTPS_PROXY", "http://p:1"), ("https_proxy", "")],
        https,
        Some("http://p:1/"),
    );
    check(&[("HTTPS_PROXY", "http://p:1")], http, None);
    check(&[("http_proxy", "http://p:1")], http, Some("http://p:1/"));
    check(&[("HTTP_PROXY", "http://p:1")], http, Some("http://p:1/"));
    check(
        &[("HTTP_PROXY", "http://p:1"), ("http_proxy", "http://p:2")],
        http,
        Some("http://p:2/"),
    );
    check(
        &[("HTTP_PROXY", "http://p:1"), ("all_proxy", "http://p:2")],
        http,
        Some("http://p:1/"),
    );
    // A web server may have made it of a header `Proxy:`.
    check(&[("HTTP_PROXY", "http://p:1"), ("REQUEST_METHOD", "GET")], http, None);
    check(&[("HTTP_PROXY", "http://p:1")], https, None);
    check(&[("http_proxy", "http://p:1")], https, None);
    check(&[("ALL_PROXY", "socks5h://p:1")], http, Some("socks5h://p:1"));
    check(&[("ALL_PROXY", "socks5h://p:1")], https, Some("socks5h://p:1"));
    check(
        &[("all_proxy", "http://a:1"), ("ALL_PROXY", "http://b:1")],
        https,
        Some("http://a:1/"),
    );
    check(
        &[("all_proxy", "http://a:1"), ("HTTPS_PROXY", "http://b:1")],
        https,
        Some("http://b:1/"),
    );
    check(
        &[("https_proxy", "p.example:3128")],
        https,
        Some("http://p.example:3128/"),
    );
    check(&[("https_proxy", "p.example")], https, Some("http://p.example:1080/"));
    check(
        &[("https_proxy", "http://p.example:80")],
        https,
        Some("http://p.example/"),
    );
    check(
        &[("https_proxy", "https://p.example")],
        https,
        Some("https://p.example/"),
    );
    check(
        &[("https_proxy", "socks5://p.example")],
        https,
        Some("socks5://p.example:1080"),
    );
    check(
        &[("https_proxy", "http://u:p%40w@p:1/x")],
        https,
        Some("http://u:p%40w@p:1/"),
    );
    check(&[("https_proxy", "http://[::1]:8")], https, Some("http://[::1]:8/"));
}

#[test]
fn exemptions_as_curl_reads_them() {
    let check = |list: &str, url: &str, direct: bool| {
        let rules = rules(&[("all_proxy", "http://p:1"), ("NO_PROXY", list)]);
        assert_eq!(via(&rules, url).is_none(), direct, "{list} {url}");
    };
    check("*", "https://any/", true);
    check("h.example", "https://h.example/", true);
    check("h.example", "https://H.EXAMPLE:8443/", true);
    check("H.Example.", "https://h.example/", true);
    check("example", "https://h.example/", true);
    check(".example", "https://h.example/", true);
    check(".h.example", "https://h.example/", true);
    check("h.example", "https://h.example./", true);
    check("ample", "https://h.example/", false);
    check("other, h.example", "https://h.example/", true);
    check("other h.example", "https://h.example/", true);
    check("*,other", "https://h.example/", false);
    check("*.example", "https://h.example/", false);
    check("127.0.0.1", "http://127.0.0.1:99/", true);
    check("127.0.0.0/8", "http://127.9.9.9/", true);
    check("127.0.0.0/8", "http://128.0.0.1/", false);
    check("0.0.0.0/0", "http://1.2.3.4/", true);
    check("10.0.0.0/99", "http://10.0.0.1/", false);
    check("fd00::/8", "http://[fd12::1]/", true);
    check("[::1]", "http://[::1]/", true);
    check("::1", "http://[::1]/", true);
    check("::1", "http://127.0.0.1/", false);
    check("", "http://127.0.0.1/", false);
    check("", "http://localhost/", false);
    check("0.0.1", "http://127.0.0.1/", false);
}

#[test]
fn small_no_proxy_wins() {
    let both = rules(&[("all_proxy", "http://p:1"), ("no_proxy", "a"), ("NO_PROXY", "b")]);
    assert!(via(&both, "http://a/").is_none() && via(&both, "http://b/").is_some());
}

#[test]
fn all_bad_variables_are_told() {
    let told = |pairs: &[(&str, &str)]| {
        let bad = ProxyRules::mistakes(|name| {
            let found = pairs.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        });
        bad.into_iter().map(|bad| bad.variable).collect::<Vec<_>>()
    };
    assert_eq!(told(&[("http_proxy", "http://p:1")]), [] as [&str; 0]);
    assert_eq!(told(&[("ALL_PROXY", "ftp://p")]), ["ALL_PROXY"]);
    let two = [("HTTP_PROXY", "ftp://p"), ("https_proxy", "ftp://p")];
    assert_eq!(told(&two), ["HTTP_PROXY", "https_proxy"]);
}

#[test]
fn mistakes_are_told_without_the_password() {
    for bad in [
        "ftp://u:secret@p",
        "http://",
        "http://u:secret@",
        "socks9://u:secret@p",
        "http://u:secret@p:99999",
    ] {
        let error = ProxyRules::from_lookup(|name| (name == "all_proxy").then(|| bad.to_owned())).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    let shown = format!("{:?}", rules(&[("all_proxy", "http://u:secret@p:1")]));
    assert!(!shown.contains("secret") && shown.contains("p:1"), "{shown}");
}
