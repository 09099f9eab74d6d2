use super::*;
use crate::config::parse;
use crate::control::commit::{Limits, PortFacts};
use crate::control::compile::compile;
use crate::tables::AdjacencyTable;
use crate::wire::ethernet::Mac;

const CONFIG: &str = r#"
[[port]]
name = "cust0"
interface = "c"
role = "customer"
[[port]]
name = "core0"
interface = "p"
role = "core"
[[vrf]]
name = "red"
kind = "vpc"
[[vrf]]
name = "blue"
kind = "vpc"
[[vif]]
name = "red-office"
port = "cust0"
vlan = 1
kind = "private"
vrf = "red"
addresses = ["10.0.0.1/24"]
[[vif]]
name = "blue-office"
port = "cust0"
vlan = "2.7"
kind = "private"
vrf = "blue"
addresses = ["10.0.0.1/24"]
[[vif]]
name = "blue-core"
port = "core0"
vlan = 2
vrf = "blue"
addresses = ["10.9.0.1/24"]
[[route]]
vrf = "red"
prefix = "20.0.0.0/8"
via = [{ address = "10.0.0.2" }, { address = "10.0.0.3", weight = 0 }]
[[route]]
vrf = "blue"
prefix = "20.0.0.0/8"
via = [{ address = "10.9.0.2" }]
[[exchange]]
name = "red-to-blue"
from = "blue"
to = "red"
prefixes = ["10.9.0.0/24"]
"#;

fn compiled() -> (State, Config) {
    let config = parse(CONFIG, std::path::Path::new("/nonexistent")).unwrap();
    let facts = PortFacts { mac: Mac([2; 6]), mtu: 1500, link_up: true };
    let state = State::new(Limits::for_vifs(16));
    let state = compile(&state, None, &config, &[facts, facts]).unwrap();
    (state, config)
}

/// What the gate says where somebody has changed the tables.
fn met(change: impl FnOnce(&mut State)) -> String {
    let (mut state, config) = compiled();
    change(&mut state);
    check(&state, &config).unwrap_err().to_string()
}

fn vif_of(state: &mut State, name: &str, change: impl Fn(&mut Vif)) {
    let mut vifs = state.tables.vifs.to_vec();
    vifs.iter_mut().flatten().filter(|vif| *vif.name == *name).for_each(change);
    state.tables.vifs = vifs.into();
}

fn adjacencies(state: &mut State, change: impl Fn(&mut Adjacency)) {
    let mut table = state.tables.adjacencies.to_vec();
    table.iter_mut().for_each(change);
    state.tables.adjacencies = Arc::new(AdjacencyTable::new(table));
}

fn id_of(state: &State, vrf: &str) -> VrfId {
    crate::control::compile::vrf_id(state.vrfs.get(vrf).unwrap())
}

#[test]
fn what_is_declared_passes() {
    let (state, config) = compiled();
    check(&state, &config).unwrap();
}

#[test]
fn a_vif_in_another_vrf_does_not_pass() {
    let said = met(|state| {
        let blue = id_of(state, "blue");
        vif_of(state, "red-office", |vif| vif.vrf = blue);
    });
    assert!(said.contains("vif red-office would be in vrf blue, not in red"), "{said}");
    let said = met(|state| vif_of(state, "red-office", |vif| vif.name = "other".into()));
    assert!(said.contains("vif other would be there"), "{said}");
    let said = met(|state| vif_of(state, "red-office", |vif| vif.kind = None));
    assert!(said.contains("of another kind or wire"), "{said}");
}

#[test]
fn tags_that_lead_elsewhere_do_not_pass() {
    for (name, tags) in [
        ("red-office", Tags { outer: 3, inner: None, service: false }),
        ("blue-office", Tags { outer: 2, inner: Some(8), service: false }),
        ("red-office", Tags { outer: 1, inner: None, service: true }),
    ] {
        let (mut state, mut config) = compiled();
        vif_of(&mut state, name, |vif| vif.tags = tags);
        // Also where the configuration says so: the port's map does not.
        config.vifs.iter_mut().filter(|vif| *vif.name == *name).for_each(|vif| vif.tags = tags);
        let said = check(&state, &config).unwrap_err().to_string();
        assert!(said.contains(&format!("the frames of vif {name} would not come to it")), "{said}");
    }
    let said = met(|state| {
        let mut vifs = state.tables.vifs.to_vec();
        vifs.iter_mut()
            .filter(|vif| vif.as_ref().is_some_and(|vif| &*vif.name == "red-office"))
            .for_each(|vif| *vif = None);
        state.tables.vifs = vifs.into();
    });
    assert!(said.contains("3 tags would be taken for VIFs, and 2 are"), "{said}");
}

#[test]
fn a_way_out_of_another_vrf_does_not_pass() {
    let said = met(|state| {
        let (red, blue) = (id_of(state, "red"), id_of(state, "blue"));
        let office = |adjacency: &mut Adjacency| {
            if adjacency.vrf == red && adjacency.kind.is_on_vif() {
                adjacency.vrf = blue;
            }
        };
        adjacencies(state, office);
    });
    assert!(said.contains("a route of vrf red would lead into vrf blue"), "{said}");
    // A backup carries nothing now.
    let said = met(|state| {
        let blue = state.vifs.get("blue-core").unwrap();
        let backup = |adjacency: &mut Adjacency| {
            if adjacency.address.to_string() == "10.0.0.3" {
                adjacency.vif = crate::control::compile::vif_id(blue);
            }
        };
        adjacencies(state, backup);
    });
    assert!(said.contains("would lead into vrf blue, to vif blue-core"), "{said}");
}

#[test]
fn a_permit_that_is_not_declared_does_not_pass() {
    let tampered = |change: fn(&mut Config)| {
        let (state, mut config) = compiled();
        change(&mut config);
        check(&state, &config).unwrap_err().to_string()
    };
    let said = tampered(|config| config.exchanges.clear());
    assert!(said.contains("exchange red-to-blue would join vrf red to vrf blue"), "{said}");
    let said = tampered(|config| {
        let exchange = &mut config.exchanges[0];
        std::mem::swap(&mut exchange.from, &mut exchange.to);
    });
    assert!(said.contains("would join vrf red to vrf blue"), "{said}");
    let said = tampered(|config| config.exchanges[0].prefixes.clear());
    assert!(said.contains("exchange red-to-blue would let 10.9.0.0/24 pass"), "{said}");
}
