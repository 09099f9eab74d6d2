//! The engine: holds the running configuration, its tables and the FIB, and publishes generations. How it
//! gets from one configuration to the next is in `candidate`.

use std::sync::Arc;

use ipnet::IpNet;

use super::candidate::{Commit, introduce};
use super::learn::Learnings;
use super::state::State;
use crate::config::Diff;
use crate::config::model::Config;
use crate::fib::{Fib, FibError};
use crate::publish::Publisher;
use crate::tables::{PortId, Snapshot, VifId, VrfId};
use crate::wire::ethernet::Mac;

/// How snapshots reach the workers.
pub trait Publish {
    /// Makes `snapshot` the one that workers take up with their next burst.
    fn publish(&mut self, snapshot: Snapshot);

    /// Returns once every worker has ended the bursts that it began before the call, and has taken
    /// up what was published before it. Synchronizes with the workers (acquire).
    fn synchronize(&mut self);
}

impl Publish for Publisher<Snapshot> {
    fn publish(&mut self, snapshot: Snapshot) {
        Publisher::publish(self, snapshot);
    }

    fn synchronize(&mut self) {
        Publisher::synchronize(self);
    }
}

/// What the configuration cannot say about a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortFacts {
    /// Its MAC.
    pub mac: Mac,
    /// The interface's MTU: the longest IP packet, in octets.
    pub mtu: u16,
    /// Frames can be sent.
    pub link_up: bool,
}

impl PortFacts {
    /// Of an interface that is not there, and of an id that no port has.
    pub const UNKNOWN: PortFacts = PortFacts { mac: Mac([0; 6]), mtu: u16::MAX, link_up: false };

    /// Of an interface as the kernel tells of it.
    pub fn of(mac: [u8; 6], mtu: u32, link_up: bool) -> PortFacts {
        PortFacts { mac: Mac(mac), mtu: u16::try_from(mtu).unwrap_or(u16::MAX), link_up }
    }
}

/// How much there may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// VIFs; counters are allocated for this many.
    pub vifs: u16,
    /// VRFs; no more than the FIB's.
    pub vrfs: u16,
    /// Next hops, neighbors, and addresses of VIFs.
    pub adjacencies: u32,
    /// Workers, which count the hits of access lists each for itself.
    pub workers: usize,
    /// Ports; no more than [`PortId::FIRST_VTEP`].
    pub ports: usize,
}

impl Limits {
    /// Limits of a station with room for this many VIFs, and one worker.
    pub fn for_vifs(vifs: u16) -> Limits {
        let ports = PortId::FIRST_VTEP.index();
        Limits { vifs, vrfs: vifs, adjacencies: 64 * u32::from(vifs), workers: 1, ports }
    }
}

/// Why a configuration was refused. Everything is as before then.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// What changed cannot change while the station runs.
    #[error("needs a restart: {}", .0.join(", "))]
    NeedsRestart(Vec<String>),
    /// The facts are about other ports.
    #[error("nothing is known of port {0}")]
    Facts(Arc<str>),
    /// There is no memory for another port.
    #[error(
        "the station has started with memory for {0} ports, those among them that are just being closed: \
         raise max_ports in [station], and start it again"
    )]
    Ports(usize),
    /// A VIF's packets do not fit its port.
    #[error(
        "vif {vif}: mtu {mtu} is more than the {limit} of port {port}'s interface; \
         lower it, or raise the interface's (ip link set ... mtu)"
    )]
    Mtu {
        /// The VIF.
        vif: Arc<str>,
        /// Its MTU.
        mtu: u16,
        /// Its port.
        port: Arc<str>,
        /// The interface's MTU.
        limit: u16,
    },
    /// A name that nothing has.
    #[error("there is no {0} {1}")]
    Unknown(&'static str, Arc<str>),
    /// A name or VLAN id that two have.
    #[error("{0} {1} is there twice")]
    Twice(&'static str, Arc<str>),
    /// A route would lead out of its VRF.
    #[error("a next hop is on vif {0}, which is in another VRF than its route")]
    OtherVrf(Arc<str>),
    /// The compiled tables let meet what the configuration keeps apart.
    #[error(
        "isolation: {0}, which the configuration does not declare; nothing has changed. This is a fault of the station: \
         report it with the configuration"
    )]
    Isolation(Arc<str>),
    /// The base of a candidate is no more what runs.
    #[error("the configuration or the interfaces changed meanwhile: try again")]
    Stale,
    /// The routing daemon does not take what the configuration makes.
    #[error("{0}")]
    Routing(String),
    /// No id is left. Ids of what a change removes are free only after it.
    #[error("too many {0}; if this change also removes some, remove those first")]
    Full(&'static str),
    /// Access lists would take too much memory.
    #[error(
        "access lists would take {0} MiB, more than {1}: use fewer rules; of all lists acl {2} is the \
         largest with {3} MiB"
    )]
    Lists(usize, usize, Arc<str>, usize),
    /// The FIB refused, most likely for lack of memory.
    #[error("vrf {vrf}: {source}")]
    Fib {
        /// The VRF.
        vrf: Arc<str>,
        /// Why.
        source: FibError,
    },
    /// The FIB refused, and then refused to take back what it had accepted.
    #[error("{refused}; and the old routes of vrf {vrf} could not be restored ({source}): restart")]
    Broken {
        /// The first refusal.
        refused: Box<CommitError>,
        /// The VRF that is incomplete now.
        vrf: Arc<str>,
        /// Why.
        source: FibError,
    },
}

/// FIB changes of one VRF: the group of each prefix, `None` to withdraw it.
pub(super) type VrfUpdates = (VrfId, Vec<(IpNet, Option<u32>)>);

/// The control engine.
pub struct Engine<P> {
    pub(super) config: Option<Arc<Config>>,
    pub(super) state: State,
    /// The commit that is under way: what the FIB leads to is partly its.
    pub(super) commit: Option<Commit>,
    /// Counts what a candidate cannot take over from its base: all but links and peers.
    pub(super) moves: u64,
    pub(super) fib: Fib,
    pub(super) publisher: P,
    /// What learned routes went through.
    pub(super) learnings: Learnings,
    generation: u64,
    /// The tag of FIB memory that was unlinked last.
    sealed: u64,
    /// The FIB is not what the state says: no id may ever mean something else.
    pub(super) broken: bool,
}

impl<P: Publish> Engine<P> {
    /// An engine that runs no configuration yet. `fib` is empty and has room for `limits.vrfs`.
    pub fn new(fib: Fib, publisher: P, limits: Limits) -> Self {
        let state = State::new(limits);
        Engine {
            config: None,
            state,
            commit: None,
            moves: 0,
            fib,
            publisher,
            learnings: Learnings::default(),
            generation: 0,
            sealed: 0,
            broken: false,
        }
    }

    /// VIFs that run, but send nothing, because their port's interface has shrunk since they were
    /// configured: name, MTU, and the interface's.
    pub fn misfits(&self) -> Vec<(Arc<str>, u16, u16)> {
        let misfit = |(&id, &limit): (&VifId, &u16)| {
            let vif = self.state.tables.vif(id)?;
            Some((vif.name.clone(), vif.mtu, limit))
        };
        self.state.misfits.iter().filter_map(misfit).collect()
    }

    /// Makes `config` what the station runs, or changes nothing. `facts` are about its ports, by
    /// their ids. A new or changed VIF has to fit its port; see [`Engine::misfits`].
    ///
    /// # Errors
    /// [`CommitError`]; everything is as before then.
    pub fn commit(&mut self, config: &Config, facts: &[PortFacts]) -> Result<Diff, CommitError> {
        let candidate = self.base().compile(Arc::new(config.clone()), facts)?;
        self.begin(candidate, facts)?;
        loop {
            if let Some(diff) = self.step()? {
                return Ok(diff);
            }
        }
    }

    /// Publishes the state's tables as the next generation, and beside them what the FIB may lead to
    /// because of a commit that is under way.
    pub(super) fn publish(&mut self) {
        let introduced =
            self.commit.as_ref().and_then(|commit| introduce(&self.state, &commit.next));
        self.send(introduced.unwrap_or_else(|| self.state.tables.clone()));
        self.state.tables.generation = self.generation;
    }

    pub(super) fn send(&mut self, tables: Snapshot) {
        self.generation += 1;
        self.publisher.publish(Snapshot { generation: self.generation, ..tables });
    }

    /// Waits for every worker; then what the FIB has unlinked so far is free.
    pub(super) fn synchronize(&mut self) {
        self.sealed += 1;
        self.fib.reclaim(self.sealed, self.sealed - 1);
        self.publisher.synchronize();
        self.fib.reclaim(self.sealed, self.sealed);
    }

    /// After a wait: publishes tables without what nothing leads to, and frees its ids once no
    /// worker knows them any more.
    pub(super) fn clean_up(&mut self) {
        if self.state.has_unwanted() && !self.broken {
            self.state.sweep();
            self.publish();
            self.synchronize();
            self.state.recycle();
        }
    }
}
