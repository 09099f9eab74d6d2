//! Frames in tunnels (VXLAN, RFC 7348) that the slow path takes and sends. Their headers are those of the fast path.

use std::net::IpAddr;

use super::View;
use crate::tables::rules::{flow, under};
use crate::tables::{PortId, Tunnel, VifId};
use crate::wire::ethernet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, HEADER_LEN, be32};

/// The priority and drop eligibility of the outer frame of a packet that begins at `l3`, as a TCI's upper four bits have
/// them; `None` where the VNI is not the tunnel's: the frame is older than the VIF.
pub fn priority_if_from(tunnel: &Tunnel, frame: &[u8], l3: usize) -> Option<u8> {
    let vni = frame.get(l3.checked_sub(HEADER_LEN + 4)?..l3)?;
    (be32(vni, 0) >> 8 == tunnel.vni).then(|| frame[HEADER_LEN] >> 4)
}

/// An inner frame in its tunnel to a VTEP, and the port and the underlay's VIF that it leaves by; `None` where the underlay
/// has no way there now.
pub fn wrap(
    view: &View<'_>,
    tunnel: &Tunnel,
    remote: IpAddr,
    inner: &[u8],
    priority: u8,
) -> Option<(PortId, VifId, Vec<u8>)> {
    let packet = inner.get(HEADER_LEN..)?;
    let flow = flow(&view.snapshot.flow_keys, packet);
    let way = view.snapshot.groups.way((view.fib)(tunnel.underlay, remote));
    let to = under(view.snapshot, tunnel.underlay, way, flow).ok()?;
    let mut frame = to.l2().to_vec();
    if to.preserve_pcp {
        frame[12..].chunks_exact_mut(4).for_each(|tag| tag[2] |= priority << 4);
    }
    let ethertype = if remote.is_ipv4() { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 };
    frame.extend(ethertype.to_be_bytes());
    frame.extend(tunnel.packet(remote, inner, flow));
    Some((to.port, to.vif, frame))
}
