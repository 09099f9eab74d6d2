use super::Event;

#[test]
fn what_a_vif_measures_is_found_by_it() {
    for rest in [
        r#""kind":"probe_down","probe":"p","reason":"r""#,
        r#""kind":"probe_up","probe":"p","down_ms":1"#,
        r#""kind":"probe_degraded","probe":"p","target":"10.1.0.1","measure":"rtt","value":2,"limit":1"#,
        r#""kind":"probe_restored","probe":"p","target":"10.1.0.1","measure":"loss","value":1,"limit":2"#,
        r#""kind":"flow_log_coarser","interval":2"#,
        r#""kind":"flow_log_restored","interval":1"#,
        r#""kind":"mirror_end","mirror":"m","scope":"vif","name":"a","reason":"r","copies":1,"after_ms":1"#,
    ] {
        let event: Event = serde_json::from_str(&format!(r#"{{"vif":"a",{rest}}}"#)).unwrap();
        assert_eq!(event.vif(), Some("a"), "{rest}");
    }
}
