//! What a change of the configuration does between two packets.

use crate::common::packets::{packet, udp_flow};
use crate::common::{A, A_CORE, A_SMALL, B, B_CORE, B_S, CONFIG, Lab, expected};
use crate::{SHARED, changed, ways, with, without};

#[test]
fn the_loss_of_a_member_moves_its_flows_only() {
    let mut lab = Lab::with(&with(SHARED));
    let flows: Vec<Vec<u8>> =
        (0..1000).map(|i| udp_flow("10.1.0.9", "10.70.0.1", (1024 + i, 443), 64)).collect();
    let before = ways(&mut lab, &flows);
    let config = with(SHARED).replace("mtu = 1280", "up = false\nmtu = 1280");
    lab.commit(&config);
    assert!(ways(&mut lab, &flows).iter().all(|vlan| *vlan == 1100));
    lab.commit(&with(SHARED));
    assert_eq!(ways(&mut lab, &flows), before);
    lab.check();
}

#[test]
fn a_vif_goes_down_and_comes_back() {
    let mut lab = Lab::new();
    let (out, back) = (packet("10.1.0.9", "10.64.0.1"), packet("10.64.0.1", "10.1.0.9"));
    let down = changed("name = \"a\"\n", "name = \"a\"\nup = false\n");
    for _ in 0..3 {
        lab.forwards(A, &out, A_CORE);
        lab.forwards(A_CORE, &back, A);
        lab.commit(&down);
        lab.drops("cust0", &A.frame(&out), "vif a drop vif_down");
        lab.drops("core0", &A_CORE.frame(&back), "vif a-core drop egress_down");
        // The tenant with the same addresses notices nothing.
        lab.forwards(B, &out, B_CORE);
        lab.commit(CONFIG);
    }
}

#[test]
fn a_deleted_vif_is_gone_and_its_id_serves_another() {
    let mut lab = Lab::new();
    let start = CONFIG.find("[[vif]]\nname = \"b-s\"").unwrap();
    let end = start + CONFIG[start..].find("[[vif]]\nname = \"b-core\"").unwrap();
    let route = "[[route]]\nvrf = \"vpc-b\"\nprefix = \"10.3.0.0/16\"\nvia = [{ address = \"10.9.3.2\" }]\n";
    let neighbor =
        "[[neighbor]]\nvif = \"b-s\"\naddress = \"10.9.3.2\"\nmac = \"02:00:00:00:b3:02\"\n";
    let gone = without(&CONFIG[start..end]).replace(route, "").replace(neighbor, "");
    lab.forwards(B_S, &packet("10.3.0.9", "10.1.0.9"), B);
    lab.commit(&gone);
    let frame = B_S.frame(&packet("10.3.0.9", "10.1.0.9"));
    lab.drops("cust1", &frame, "port cust1 drop unexpected_service_tag");
    lab.forwards(B, &packet("10.1.0.9", "10.3.0.9"), B_CORE);
    // A new VIF of another tenant takes the VLAN: nothing of the old one's is left.
    let other = format!(
        "{gone}\n[[vif]]\nname = \"a-s\"\nport = \"cust1\"\nvlan = \"300\"\nservice_tag = true\n\
         kind = \"private\"\nvrf = \"vpc-a\"\naddresses = [\"10.9.3.1/24\"]\n"
    );
    lab.commit(&other);
    let spoofed = B_S.frame(&packet("10.3.0.9", "10.1.0.9"));
    lab.drops("cust1", &spoofed, "vif a-s drop spoofed_source");
    let counters = ["vif a-s forwarded"];
    let own = packet("10.9.3.9", "10.64.0.1");
    assert_eq!(
        lab.expect("cust1", &B_S.frame(&own), &counters),
        [("core0".to_owned(), expected(&own, A_CORE))]
    );
}

#[test]
fn a_route_changes_between_two_packets() {
    let mut lab = Lab::new();
    let flow = packet("10.1.0.9", "10.70.0.1");
    lab.forwards(A, &flow, A_CORE);
    let extra = "[[route]]\nvrf = \"vpc-a\"\nprefix = \"10.70.0.0/16\"\nvia = [{ address = \"10.255.2.2\" }]\n";
    lab.commit(&with(extra));
    lab.forwards(A, &flow, A_SMALL);
    lab.commit(CONFIG);
    lab.forwards(A, &flow, A_CORE);
}
