//! The keys of a configuration's BGP sessions, for the slow path.

use std::sync::Arc;

use super::compile::{same_place, vif_id};
use super::state::State;
use crate::config::model::Config;
use crate::tables::{Keys, SessionKey};

/// The keys of all sessions. What was found of one that stays as it was, on the same wire, is kept.
pub(super) fn keys(old: &State, new: &State, config: &Config) -> Keys {
    let mut keys = Vec::new();
    for vif in &config.vifs {
        let id = new.vifs.get(&*vif.name).map(vif_id);
        let stays = id.is_some_and(|id| same_place(old, new, id));
        for bgp in &vif.bgp {
            let known = old.tables.keys.get(&vif.name, bgp.peer).filter(|known| {
                let was = (known.local, &known.password, known.ttl_security);
                stays && was == (bgp.local, &bgp.password, bgp.ttl_security)
            });
            let key = known.cloned().unwrap_or_else(|| {
                Arc::new(SessionKey::new(bgp.local, bgp.password.clone(), bgp.ttl_security))
            });
            keys.push(((vif.name.clone(), bgp.peer), key));
        }
    }
    keys.into_iter().collect()
}
