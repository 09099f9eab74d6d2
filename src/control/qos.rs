//! From the configuration's policies to classes. The limits of classes keep their buckets as others do ([`super::meters`]).

use std::collections::HashMap;
use std::sync::Arc;

use super::commit::CommitError;
use super::compile::vif_id;
use super::meters::Planner;
use super::state::State;
use crate::config::model::{Config, QosConfig, VifConfig};
use crate::tables::qos::{CLASSES, Policy, Qos, VifQos};
use crate::tables::{Vif, VifId};

/// The policies of VIFs, whose new table this is. `state` still has the old one.
pub(super) fn qos(
    state: &State,
    config: &Config,
    vifs: &[Option<Vif>],
    planner: &mut Planner<'_>,
) -> Result<Option<Arc<Qos>>, CommitError> {
    let policies = config.qos.iter().map(|policy| {
        let classes = policy.classes.iter().map(|class| class.class.clone()).collect();
        let compiled = Arc::new(Policy::new(policy.name.clone(), classes));
        (&*policy.name, (policy, compiled))
    });
    let policies: HashMap<&str, (&QosConfig, Arc<Policy>)> = policies.collect();
    let mut of_vifs: Vec<(VifId, VifQos)> = Vec::new();
    for vif in &config.vifs {
        let Some(name) = &vif.qos else { continue };
        let (id, found) = (state.vifs.get(&*vif.name), policies.get(&**name));
        let (Some(id), Some((policy, compiled))) = (id, found) else {
            return Err(CommitError::Unknown("qos policy", name.clone()));
        };
        of_vifs.push((vif_id(id), of_vif(vif, policy, compiled, planner)));
    }
    let before = (&*state.tables.vifs, state.tables.qos.as_deref());
    Ok(Qos::new(vifs, of_vifs, before, state.epoch).map(Arc::new))
}

fn of_vif(
    vif: &VifConfig,
    policy: &QosConfig,
    compiled: &Arc<Policy>,
    planner: &mut Planner<'_>,
) -> VifQos {
    let limits: [_; CLASSES] = std::array::from_fn(|at| {
        // By name: the compiled policy has another order.
        let name = &compiled.classes().get(at)?.name;
        let class = policy.classes.iter().find(|class| class.class.name == *name)?;
        planner.class(vif.name.clone(), name.clone(), class.bandwidth)
    });
    VifQos { policy: compiled.clone(), limits }
}
