//! What is made to hold of an interface, and what is refused.

use station::port::{FrameSize, Frames};

const SMALL: Frames = Frames { size: FrameSize::Small, chains: false };
use station::port::af_xdp::{Nic, NicError, link_of, queue_count};

use super::lab::{Lab, PORTS};

#[test]
#[ignore = "needs root and network namespaces: run by scripts/test"]
fn queues_offload_and_promiscuity_are_set() {
    let lab = Lab::new(2);
    lab.in_station(|| {
        lab.output(&["ethtool", "-L", PORTS[0], "rx", "1", "tx", "1"]);
        assert_eq!(queue_count(PORTS[0]).unwrap(), 1);
        let on = |feature| lab.output(&["ethtool", "-k", PORTS[0]]).contains(feature);
        assert!(on("tx-vlan-stag-hw-insert: on") && on("tx-vlan-offload: on"));

        let nic = Nic::prepare(PORTS[0], 2, SMALL, None).unwrap();
        assert_eq!(queue_count(PORTS[0]).unwrap(), 2);
        assert!(on("tx-vlan-stag-hw-insert: off") && on("tx-vlan-offload: off"));
        assert!(on("rx-vlan-stag-hw-parse: off") && on("rx-vlan-offload: off"));
        assert_eq!(nic.link().mtu, 1500);
        assert_eq!(nic.link().index, link_of(PORTS[0]).unwrap().index);
        let promiscuity = || lab.output(&["ip", "-d", "link", "show", PORTS[0]]);
        assert!(promiscuity().contains("promiscuity 1"));
        drop(nic);
        assert!(promiscuity().contains("promiscuity 0"));
    });
}

#[test]
#[ignore = "needs root and network namespaces: run by scripts/test"]
fn what_cannot_be_is_refused_with_the_command_to_run() {
    let lab = Lab::new(2);
    lab.in_station(|| {
        let prepare = |queues| Nic::prepare(PORTS[0], queues, SMALL, None).unwrap_err();
        let error = prepare(3).to_string();
        assert!(error.contains("at most 2 receive and transmit queues"), "{error}");
        assert!(error.contains("list 2 CPUs as cpus in [station]"), "{error}");

        lab.ip(&["link", "set", PORTS[0], "mtu", "9000"]);
        let error = prepare(2);
        assert!(matches!(error, NicError::Mtu { mtu: 9000, most: 1770, .. }), "{error}");
        let large = Frames { size: FrameSize::Large, chains: false };
        let error = Nic::prepare(PORTS[0], 2, large, None).unwrap_err();
        assert!(matches!(error, NicError::Mtu { mtu: 9000, most: 3818, .. }), "{error}");
        let nic = Nic::prepare(PORTS[0], 2, Frames { chains: true, ..large }, None).unwrap();
        assert!(nic.needs_chains());

        lab.ip(&["link", "set", PORTS[0], "mtu", "1500", "down"]);
        let error = prepare(2).to_string();
        assert!(error.contains("ip link set dev p0 up"), "{error}");
        let error = Nic::prepare("lo", 1, SMALL, None).unwrap_err().to_string();
        assert!(error.contains("lo"), "{error}");
    });
}
