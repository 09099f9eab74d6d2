//! Paths of tunnels that carry less than the underlay's VIFs: the adjacencies of their tunnels say so for a time, and are
//! what they were after it. Groups and prefixes are not touched.

use std::collections::BTreeSet;

use super::commit::{Engine, Publish};
use super::state::State;
use crate::slowpath::TooBig;
use crate::tables::{AdjacencyId, Tunnel, TunnelPath};

/// How long a path is believed to carry less: 10 minutes (RFC 1191 6.3, RFC 8201 4).
const LOWERED_NS: u64 = 600 * 1_000_000_000;

/// What a path is believed to carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lowered {
    /// Longest outer IP packet, in octets.
    pub mtu: u16,
    /// Until when, by the clock of who called [`Engine::too_big`].
    pub until_ns: u64,
}

impl<P: Publish> Engine<P> {
    /// Takes in what routers of underlays say of paths, with one publication. It makes none longer, and what is said of
    /// paths that no tunnel has (any more) is ignored: there are never more than tunnels.
    /// The paths that carry less now.
    pub fn too_big(&mut self, told: &[TooBig], now_ns: u64) -> BTreeSet<TunnelPath> {
        let mut changed = BTreeSet::new();
        for &TooBig { path, mtu } in told {
            let known = self.state.lowered.get(&path);
            if known.is_some_and(|known| known.mtu <= mtu) || !self.state.has_path(path) {
                continue;
            }
            let until_ns = now_ns.saturating_add(LOWERED_NS);
            self.state.lowered.insert(path, Lowered { mtu, until_ns });
            changed.insert(path);
        }
        self.publish_paths(&changed);
        changed
    }

    /// Forgets what was said of paths too long ago. Which they are.
    pub fn expire_lowered(&mut self, now_ns: u64) -> BTreeSet<TunnelPath> {
        let over = self.state.lowered.iter().filter(|(_, lowered)| lowered.until_ns <= now_ns);
        let over: BTreeSet<TunnelPath> = over.map(|(path, _)| *path).collect();
        self.state.lowered.retain(|path, _| !over.contains(path));
        self.publish_paths(&over);
        over
    }

    /// What a path is believed to carry, if that is less than the underlay's VIFs do.
    pub fn lowered(&self, path: TunnelPath) -> Option<Lowered> {
        self.state.lowered.get(&path).copied()
    }

    fn publish_paths(&mut self, changed: &BTreeSet<TunnelPath>) {
        if changed.is_empty() {
            return;
        }
        self.moves += 1;
        let state = &mut self.state;
        let on_path = |id: &AdjacencyId| {
            let tunnel = state.tunnel_of(*id);
            tunnel.is_some_and(|(tunnel, remote)| changed.contains(&tunnel.path(remote)))
        };
        let all = state.adjacencies.wanted().map(|(id, _)| AdjacencyId(id));
        let touched: Vec<AdjacencyId> = all.filter(on_path).collect();
        state.render_adjacencies(&touched);
        self.publish();
    }
}

impl State {
    /// Longest IP packet in a tunnel that its path carries, as far as is known.
    pub(super) fn path_mtu(&self, path: TunnelPath) -> u16 {
        let lowered = self.lowered.get(&path);
        lowered.map_or(u16::MAX, |known| known.mtu.saturating_sub(Tunnel::overhead(path.local)))
    }

    /// Whether a tunnel has a path.
    fn has_path(&self, path: TunnelPath) -> bool {
        let mut tunnels = self.tables.vifs.iter().flatten().filter_map(|vif| vif.tunnel());
        tunnels
            .any(|tunnel| tunnel.path(path.remote) == path && tunnel.remotes.contains(&path.remote))
    }

    /// Forgets the paths that no tunnel has any more.
    pub(super) fn keep_lowered(&mut self) {
        let mut lowered = std::mem::take(&mut self.lowered);
        lowered.retain(|path, _| self.has_path(*path));
        self.lowered = lowered;
    }
}
