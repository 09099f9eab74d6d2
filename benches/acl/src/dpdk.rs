//! rte_acl, through `rte_acl.c`.

use std::ffi::{c_int, c_void};
use std::time::Instant;

use ipnet::IpNet;

use crate::acl::{Addresses, Classifier, Fields, Rule};

/// As `struct packet`: what is compared is in network order.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Packet {
    protocol: u8,
    pad: [u8; 3],
    addresses: [u32; 2],
    ports: [u16; 2],
}

/// As `struct rule`.
#[repr(C)]
struct AclRule {
    addresses: [u32; 2],
    lengths: [u8; 2],
    protocol: u8,
    protocol_mask: u8,
    first: [u16; 2],
    last: [u16; 2],
}

unsafe extern "C" {
    fn acl_start() -> c_int;
    fn acl_new(rules: *const AclRule, n: u32) -> *mut c_void;
    fn acl_free(ctx: *mut c_void);
    fn acl_find(
        ctx: *mut c_void,
        packets: *const Packet,
        n: usize,
        scalar: c_int,
        out: *mut u32,
    ) -> u64;
}

/// Whether DPDK runs here.
pub fn start() -> bool {
    // SAFETY: called once, before anything else of DPDK.
    unsafe { acl_start() >= 0 }
}

pub struct Acl {
    ctx: *mut c_void,
    pub build_ms: f64,
    pub mib: f64,
}

fn resident() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<f64>().ok());
    pages.unwrap_or(0.0) * 4096.0 / f64::from(1 << 20)
}

pub fn packets(fields: &[Fields]) -> Vec<Packet> {
    let packet = |fields: &Fields| {
        let Addresses::V4 { source, destination } = fields.addresses else {
            return Packet::default();
        };
        let upper = fields.upper.unwrap_or_default();
        Packet {
            protocol: fields.protocol,
            pad: [0; 3],
            addresses: [source.to_be(), destination.to_be()],
            ports: [upper.first.to_be(), upper.second.to_be()],
        }
    };
    fields.iter().map(packet).collect()
}

impl Acl {
    pub fn new(rules: &[Rule]) -> Option<Acl> {
        let end = |net: Option<IpNet>| match net {
            Some(IpNet::V4(net)) => (net.network().to_bits(), net.prefix_len()),
            _ => (0, 0),
        };
        let rule = |rule: &Rule| {
            let (source, destination) = (end(rule.source), end(rule.destination));
            AclRule {
                addresses: [source.0, destination.0],
                lengths: [source.1, destination.1],
                protocol: rule.protocol.unwrap_or(0),
                protocol_mask: if rule.protocol.is_some() { 0xff } else { 0 },
                first: [rule.source_ports.first, rule.destination_ports.first],
                last: [rule.source_ports.last, rule.destination_ports.last],
            }
        };
        let all: Vec<AclRule> = rules.iter().map(rule).collect();
        let (began, before) = (Instant::now(), resident());
        // SAFETY: the rules are as many as it says, and are copied.
        let ctx = unsafe { acl_new(all.as_ptr(), all.len() as u32) };
        let build_ms = began.elapsed().as_secs_f64() * 1e3;
        (!ctx.is_null()).then(|| Acl { ctx, build_ms, mib: (resident() - before).max(0.0) })
    }

    pub fn find(&self, packets: &[Packet], scalar: bool) -> u64 {
        let out = std::ptr::null_mut();
        // SAFETY: the packets are as many as it says.
        unsafe { acl_find(self.ctx, packets.as_ptr(), packets.len(), scalar.into(), out) }
    }

    /// Both find the same rules.
    pub fn check(&self, ours: &Classifier, fields: &[Fields], packets: &[Packet]) {
        let mut found = vec![0; packets.len()];
        // SAFETY: there is room for what is found of each packet.
        unsafe { acl_find(self.ctx, packets.as_ptr(), packets.len(), 0, found.as_mut_ptr()) };
        for (fields, found) in fields.iter().zip(found) {
            assert_eq!(ours.find(fields), found as usize, "{fields:?}");
        }
    }
}

impl Drop for Acl {
    fn drop(&mut self) {
        // SAFETY: it is used no more.
        unsafe { acl_free(self.ctx) };
    }
}
