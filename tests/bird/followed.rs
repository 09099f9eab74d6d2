//! That BIRD does as it was told once its supervisor says so, and what is said until then.

use std::path::Path;
use std::time::Duration;

use station::admin::rows::{Routing, RoutingState};
use station::bird::Following;

use crate::live::{router, tenants};
use crate::wire::{Wire, becomes};

/// More than BIRD takes for anything here, on the slowest machine.
const LONG: Duration = Duration::from_secs(30);

fn followed(following: &Following) -> Routing {
    let routing = following.wait(LONG);
    assert_eq!(routing.state, RoutingState::Followed, "{routing:?}");
    routing
}

#[test]
#[ignore = "needs root and BIRD"]
fn what_was_followed_holds_at_once() {
    let mut wire = Wire::new(tenants(3, "", ""));
    wire.routers(&[1, 2, 3].map(|vlan| router(vlan, &["10.1.0.0/16", "10.2.0.0/16"])));
    wire.wait_established(3);
    let counts = |wire: &Wire| [1, 2, 3].map(|i| wire.kernel(10_000 + 2 * (i - 1)).len());
    becomes(|| counts(&wire), [2, 2, 2]);
    // A session less: when BIRD follows it has ended, and what it had brought is gone from BIRD.
    let mut config = wire.config.clone();
    config.vifs[2].bgp.clear();
    let following = wire.apply(config.clone());
    assert_eq!(followed(&following).refiltered, 0);
    let protocols = wire.bird_says("show protocols");
    assert!(protocols.contains("b.v0.1.") && !protocols.contains("b.v0.3."), "{protocols}");
    assert_eq!(counts(&wire)[..2], [2, 2], "nobody else's session");
    // Another limit.
    config.vifs[0].bgp[0].max_prefixes = 3;
    followed(&wire.apply(config.clone()));
    let limit = wire.bird_says("show protocols all \"b.v0.1.*\"");
    assert!(limit.lines().any(|line| line.trim() == "Import limit:   3"), "{limit}");
    // Another filter: the peer sends its routes again.
    config.vifs[1].bgp[0].import = Some(vec![]);
    assert_eq!(followed(&wire.apply(config.clone())).refiltered, 1);
    becomes(|| counts(&wire)[..2] == [2, 0], true);
    config.vifs[1].bgp[0].prepend = 2;
    assert_eq!(followed(&wire.apply(config.clone())).refiltered, 1);
    // No session at all: BIRD has ended.
    config.vifs.iter_mut().for_each(|vif| vif.bgp.clear());
    followed(&wire.apply(config));
    assert_eq!(wire.pid(), None);
}

#[test]
#[ignore = "needs root and BIRD"]
fn what_is_pending_is_said() {
    let mut wire = Wire::new(tenants(2, "", ""));
    let mut config = wire.config.clone();
    config.vifs[0].bgp[0].max_prefixes = 50;
    followed(&wire.apply(config.clone()));
    let pid = wire.pid().unwrap();
    let signal = |name: &str| {
        let done = std::process::Command::new("kill").args([name, &pid]).status().unwrap();
        assert!(done.success());
    };
    config.vifs[1].bgp.clear();
    signal("-STOP");
    let following = wire.apply(config.clone());
    let routing = following.wait(Duration::from_millis(500));
    signal("-CONT");
    assert_eq!(routing.state, RoutingState::Pending);
    assert_eq!(routing.reason, "BIRD has not answered yet");
    assert!((500..10_000).contains(&routing.waited_ms), "{routing:?}");
    followed(&following);
    // BIRD reads what it cannot take: it goes on with what it had, and follows the next configuration.
    config.vifs[1].bgp.clone_from(&wire.config.vifs[0].bgp);
    let refused = wire.apply_in(config.clone(), Path::new("/nonexistent")).wait(LONG);
    assert_eq!(refused.state, RoutingState::Refused, "{refused:?}");
    assert!(refused.reason.contains("/nonexistent"), "{refused:?}");
    assert_eq!(wire.pid().as_ref(), Some(&pid));
    let protocols = wire.bird_says("show protocols");
    assert!(protocols.contains("b.v0.1.") && !protocols.contains("b.v0.2."), "{protocols}");
    followed(&wire.apply(config));
    assert!(wire.bird_says("show protocols").contains("b.v0.2."));
}
