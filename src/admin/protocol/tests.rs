use super::*;

#[test]
fn requests_read_back_as_they_were_sent() {
    for request in [
        Request::Version,
        Request::Reload { dry_run: true },
        Request::ShowRoutes(RouteFilter {
            vrf: "a".into(),
            family: Some(Family::Ipv6),
            prefix: Some("2001:db8::/32".parse().unwrap()),
        }),
        Request::ConfigApply(Apply { octets: 5, name: "lab.toml".into(), confirm_s: Some(60) }),
        Request::ConfigRollback { number: None, confirm_s: None },
        Request::RouteAdd(RouteAdd {
            vrf: "a".into(),
            prefix: "10.0.0.0/8".parse().unwrap(),
            via: vec![Via { address: "10.0.0.1".parse().unwrap(), vif: None, weight: Some(2) }],
            action: None,
        }),
    ] {
        let terms = Terms { comment: Some("order 4711".into()), yes: true, no_wait: true };
        let line = encode(&request, &terms).unwrap();
        assert_eq!(decode(&line), Ok((request.clone(), terms)));
        let line = encode(&request, &Terms::default()).unwrap();
        assert_eq!(decode(&line), Ok((request, Terms::default())));
    }
}

#[test]
fn a_comment_is_one_short_line() {
    let long = "\u{e4}".repeat(MAX_COMMENT);
    for (comment, fine) in [(&*long, true), (&*format!("{long}x"), false), ("a\\nb", false)] {
        let line = format!("{{\"v\":1,\"request\":\"config_confirm\",\"comment\":\"{comment}\"}}");
        assert_eq!(decode(line.as_bytes()).is_ok(), fine, "{comment}");
    }
    assert!(decode(b"{\"v\":1,\"request\":\"config_confirm\",\"yes\":1}").is_err());
}

#[test]
fn requests_are_refused_by_kind() {
    let kind = |line: &str| {
        decode(line.as_bytes()).map(|(request, _)| request).map_err(|refusal| refusal.kind)
    };
    assert_eq!(kind("{\"v\":1,\"request\":\"show_vifs\"}"), Ok(Request::ShowVifs));
    assert_eq!(kind("{\"v\":2,\"request\":\"show_vifs\"}"), Err(ErrorKind::Version));
    assert_eq!(kind("{\"request\":\"show_vifs\"}"), Err(ErrorKind::Version));
    for bad in [
        "",
        "x",
        "[]",
        "{\"v\":1}",
        "{\"v\":1,\"request\":\"reboot\"}",
        "{\"v\":1,\"request\":\"vif_up\"}",
        "{\"v\":1,\"request\":\"vif_up\",\"name\":1}",
        "{\"v\":1,\"request\":\"vif_up\",\"name\":\"a\",\"force\":true}",
        "{\"v\":1,\"request\":\"reload\",\"dryrun\":true}",
        "{\"v\":1,\"request\":\"lookup\",\"address\":\"10.0.0.256\"}",
        &"[".repeat(60_000),
    ] {
        assert_eq!(kind(bad), Err(ErrorKind::Invalid), "{bad:.60}");
    }
}

#[test]
fn a_filter_matches_within_its_prefix() {
    let filter = RouteFilter {
        vrf: "a".into(),
        family: Some(Family::Ipv4),
        prefix: Some("10.0.0.0/8".parse().unwrap()),
    };
    for (prefix, shown) in
        [("10.0.0.0/8", true), ("10.1.0.0/16", true), ("0.0.0.0/0", false), ("::/0", false)]
    {
        assert_eq!(filter.matches(&prefix.parse().unwrap()), shown, "{prefix}");
    }
}
