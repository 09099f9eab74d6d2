//! The way of a burst, one line per stage. Each stage sees the lanes that the stages before it left
//! live; what is live at the end is forwarded.

use crate::cpu::{Work, widest};
use crate::stage::{
    Burst, Context, Filtered, acl, acl_in, acl_out, address, classify, copy, decapsulate,
    encapsulate, exchange, exchanged, filter, group, ipv4, ipv6, meter_in, meter_out, mtu, police,
    qos, ready, resolve, rewrite, route, routing, source, translate_in, translate_out, ttl,
};

filter::filtered! {
    source,  // RFC 8704: may this VIF use this source?
    acl_in,  // the access list of the ingress VIF
    resolve, // local, blackhole, isolation
    ttl,     // RFC 1812 5.3.1
    acl_out, // the access list of the egress VIF
    mtu,     // egress MTU
    ready,   // the next hop's MAC, options
}

/// Gives every frame of the burst its verdict, and rewrites those to forward.
#[inline(never)]
pub fn run(burst: &mut Burst, context: &mut Context<'_>) {
    widest(Path { burst, context, watch: Nobody });
}

/// As [`run`], with somebody who looks on, and so not compiled for vectors too: it need not be fast.
#[inline(never)]
pub fn run_watched(burst: &mut Burst, context: &mut Context<'_>, watch: impl Watch) {
    Path { burst, context, watch }.run();
}

/// Looks on as a burst goes its way.
pub trait Watch {
    /// A stage has run.
    fn after(&mut self, stage: &'static str, burst: &Burst, context: &Context<'_>);

    /// The filtered stages, in their order, will see the lanes that they concern.
    fn before_filtered(&mut self, stages: &[Filtered], burst: &Burst, context: &Context<'_>);
}

/// Workers have nobody look on: it costs them nothing.
struct Nobody;

impl Watch for Nobody {
    #[inline(always)]
    fn after(&mut self, _: &'static str, _: &Burst, _: &Context<'_>) {}

    #[inline(always)]
    fn before_filtered(&mut self, _: &[Filtered], _: &Burst, _: &Context<'_>) {}
}

struct Path<'a, 'b, W> {
    burst: &'a mut Burst,
    context: &'a mut Context<'b>,
    watch: W,
}

impl<W: Watch> Work for Path<'_, '_, W> {
    #[inline(always)]
    fn run(self) {
        let Path { burst, context, mut watch } = self;
        macro_rules! stage {
            ($stage:ident) => {
                $stage::run(burst, context);
                watch.after(stringify!($stage), burst, context);
            };
        }
        burst.start();
        stage!(classify); // Ethernet, tags -> VIF
        stage!(decapsulate); // VXLAN to a VTEP -> VIF of the VNI
        stage!(copy); //     for mirrors, what came as it came
        burst.sort();
        stage!(ipv4); //     RFC 1812 5.2.2
        stage!(ipv6); //     RFC 8200 3
        stage!(translate_in); // source: inside -> outside
        stage!(route); //    VRF FIB: destination and source -> next-hop groups
        stage!(group); //    next-hop group -> adjacency
        stage!(exchange); // a permit -> the exporting VRF's FIB -> adjacency
        stage!(acl); //      access lists of ordinary packets, for the filtered stages below
        watch.before_filtered(FILTERED, burst, context);
        filter::run(burst, context, concerns, verdict); // the filtered stages
        stage!(address); //  limits of addresses
        stage!(meter_in); // bandwidth of VIFs, meter groups and ports: what is received
        stage!(qos); //      classes of the egress VIF: police, mark
        stage!(meter_out); // bandwidth: what is sent
        stage!(translate_out); // destination: outside -> inside
        stage!(rewrite); //  MACs, tags, TTL, checksum
        stage!(encapsulate); // VXLAN from a VTEP, by the underlay's routes
        stage!(exchanged); // counters of exchanges
        stage!(routing); //  BGP and BFD among what is for the router
        stage!(police); //   budgets of the slow path
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::fib::{self, Fib};
    use crate::port::{FrameSize, Pool};
    use crate::stage::copy::Copies;
    use crate::stage::encapsulate::Entrances;
    use crate::stage::police::Budgets;
    use crate::stage::{Flags, Lanes};
    use crate::tables::counters::WorkerCounters;
    use crate::tables::tunnel::{Dscp, Marking};
    use crate::tables::{
        Adjacency, AdjacencyId, AdjacencyKind, AdjacencyTable, DropReason, GroupId, GroupTable,
        Ingress, Member, Overlay, Pcp, Port, PortId, PortRole, Role, Snapshot, SourceCheck, Tags,
        Tunnel, Verdict, Vif, VifId, VifKind, Vrf, VrfId, VrfKind,
    };
    use crate::wire::ethernet::Mac;

    /// A stage as the recipe of `lib.rs` adds one: it is about ordinary packets.
    mod banned {
        use super::*;

        pub const BANNED: u32 = 0x0a63_0001;

        pub fn concerns(burst: &Burst, lane: usize) -> u32 {
            u32::from(burst.v4_addresses.destination[lane] == BANNED)
        }

        pub fn verdict(_: &Burst, _: &Context<'_>, _: usize) -> Result<(), Verdict> {
            Err(Verdict::Drop(DropReason::Blackhole))
        }
    }

    mod with_banned {
        use super::banned;
        use crate::stage::{acl_in, acl_out, filter, mtu, ready, resolve, source, ttl};

        filter::filtered! { source, acl_in, resolve, ttl, acl_out, mtu, ready, banned }

        pub const LIST: super::Filter = (concerns, verdict);
        pub const NAMES: &[super::Filtered] = FILTERED;
    }

    type Filter =
        (fn(&Burst, usize) -> u32, fn(&Burst, &Context<'_>, usize) -> Result<(), Verdict>);

    const VIFS: u16 = 7;

    /// Two tenants, one with a customer's VIF and two that nobody's source is checked on; two customers of a public VRF; and
    /// of the first tenant a VIF that leads to another station, and one that joins it.
    fn tables() -> Snapshot {
        let vif = |n: u16, vrf, kind, source_check| Vif {
            name: format!("vif{n}").into(),
            up: true,
            kind,
            port: PortId(0),
            tags: Tags { outer: 100 + n, inner: None, service: false },
            vrf: VrfId(vrf),
            mtu: 1500,
            source_check,
            pcp: Pcp::Preserve,
            overlay: Default::default(),
            joins_stations: false,
            metered: [false; 2],
            limited: [false; 2],
            top_talkers: false,
            acl_in: None,
            acl_out: None,
            flow_log: 0,
            twamp_reflector: false,
            translations: None,
            addresses: ["169.254.0.1/30".parse().unwrap()].into(),
            peers: [].into(),
        };
        let (private, public) = (Some(VifKind::Private), Some(VifKind::Public));
        let mut vifs = [
            vif(0, 0, private, SourceCheck::Strict),
            vif(1, 0, None, SourceCheck::Off),
            vif(2, 1, private, SourceCheck::Loose),
            vif(3, 2, public, SourceCheck::Strict),
            vif(4, 2, public, SourceCheck::Off),
            vif(5, 0, None, SourceCheck::Off),
            vif(6, 0, private, SourceCheck::Off),
        ];
        vifs[5].overlay = Overlay::Within(Tunnel {
            vni: 1,
            underlay: VrfId(3),
            local: "10.255.0.1".parse().unwrap(),
            remotes: ["169.254.0.2".parse().unwrap()].into(),
            station: Some("two".into()),
            marking: Marking::new(Dscp::Copy),
        });
        vifs[6].joins_stations = true;
        let mut adjacencies = vec![Adjacency::special(AdjacencyKind::NoRoute, VrfId(0))];
        for (id, vif) in (0..).map(VifId).zip(&vifs) {
            use AdjacencyKind::{Blackhole, EgressDown, Glean, Local, Prohibited, Unresolved};
            let address = "169.254.0.2".parse().unwrap();
            adjacencies.push(Adjacency::forward(id, vif, address, Mac([2; 6]), Mac([4; 6])));
            for kind in [Glean, Local, Unresolved, EgressDown] {
                adjacencies.push(Adjacency::on_vif(kind, id, vif, address));
            }
            for kind in [Blackhole, Prohibited] {
                adjacencies.push(Adjacency::special(kind, vif.vrf));
            }
        }
        let mut groups = GroupTable::default();
        let member = |adjacency: AdjacencyId| Member {
            adjacency,
            weight: 1,
            role: Role::Primary,
            usable: true,
        };
        for id in (1..).take(adjacencies.len() - 1) {
            groups.set(GroupId(id), &[member(AdjacencyId(id))]);
        }
        let kinds = [VrfKind::Vpc, VrfKind::Vpc, VrfKind::Public];
        Snapshot {
            ports: [Arc::new(Port::new("port".into(), Mac([4; 6]), PortRole::Customer))].into(),
            vifs: vifs.map(Some).into(),
            vrfs: kinds
                .map(|kind| Some(Vrf { name: "vrf".into(), kind, reserved: [].into() }))
                .into(),
            groups: groups.into(),
            adjacencies: AdjacencyTable::new(adjacencies).into(),
            ..Snapshot::default()
        }
    }

    fn with_context(tables: &Snapshot, run: impl FnOnce(&mut Context<'_>)) {
        let mut fib =
            Fib::new(fib::Limits { max_vrfs: 4, max_bytes: 64 << 20, ..Default::default() })
                .unwrap();
        (0..3).for_each(|vrf| fib.add_vrf(vrf).unwrap());
        run(&mut Context {
            tables,
            fib: &fib.reader(),
            counters: &WorkerCounters::new(1, VIFS.into()),
            pool: &mut Pool::new(64, FrameSize::Small).unwrap(),
            budgets: &mut Budgets::new(VIFS.into()),
            entrances: &mut Entrances::default(),
            copies: &mut Copies::default(),
            port: PortId(0),
            now: 1,
        });
    }

    /// A burst of one IPv4 lane of 100 octets, from a VIF to a group, from a source that another group leads back to.
    fn lane(tables: &Snapshot, from: u16, to: u32, back: u32, flags: Flags) -> Burst {
        let vif = tables.vif(VifId(from)).unwrap();
        let Ingress { place, rules } = Ingress::of(VifId(from), vif);
        let mut burst = Burst::default();
        (burst.live, burst.known, burst.v4) = (Lanes(1), Lanes(1), Lanes(1));
        (burst.place[0], burst.rules[0], burst.flags[0]) = (place, rules, flags.bits());
        (burst.vrf[0], burst.ip_len[0], burst.ttl[0]) = (vif.vrf.0.into(), 100, 64);
        (burst.to_group[0], burst.back_group[0]) = (to, back);
        burst.v4_addresses.destination[0] = banned::BANNED;
        burst.checked = true;
        burst
    }

    /// Every flag, every VIF to every adjacency, from a source behind every adjacency: where a stage's condition does not
    /// hold, the stage has nothing to say. (Those of `ttl`, `mtu` and `ready` are the checks themselves.)
    #[test]
    fn a_condition_that_does_not_hold_hides_no_verdict() {
        let tables = tables();
        let (mut held, mut open) = (0, 0);
        with_context(&tables, |context| {
            let ids = (0..).take(tables.adjacencies.len());
            for (from, to) in (0..VIFS).flat_map(|from| ids.clone().map(move |to| (from, to))) {
                for (back, flags) in
                    ids.clone().flat_map(|back| (0..16).map(move |bits| (back, bits)))
                {
                    let mut burst = lane(&tables, from, to, back, Flags::from_bits(flags));
                    group::run(&mut burst, context);
                    if source::concerns(&burst, 0) != 0 {
                        held += 1;
                    } else if burst.rules[0] & Ingress::CHECKED != 0 {
                        open += 1;
                        assert_eq!(source::verdict(&burst, context, 0), Ok(()), "{from} {back}");
                    }
                    if resolve::concerns(&burst, 0) != 0 {
                        held += 1;
                    } else {
                        open += 1;
                        let said = resolve::verdict(&burst, context, 0);
                        assert_eq!(said, Ok(()), "{from} {to} {flags}");
                    }
                }
            }
        });
        assert!(held > 100_000 && open > 2_000, "{held} {open}");
    }

    /// Lanes without a frame read lane 0's, not the frames that they had in an earlier burst: these may be the kernel's.
    #[test]
    fn idle_lanes_read_the_frame_of_lane_0() {
        let tables = tables();
        with_context(&tables, |context| {
            let mut burst = Burst::default();
            for count in [64, 3, 61, 1, 64] {
                for n in 0..count {
                    burst.frames.push(context.pool.take_with(&[n + count; 100]).unwrap());
                }
                run(&mut burst, context);
                let count = usize::from(count);
                let of_lane_0 = burst.at[0];
                assert!(burst.at[count..][..8].iter().all(|&at| at == of_lane_0), "{count}");
                for word in &burst.words[..6] {
                    let (first, idle) = (word[0], &word[count..count.next_multiple_of(8)]);
                    assert!(
                        idle.iter().all(|&idle| idle == first),
                        "{count}: {first:#x} {idle:x?}"
                    );
                }
                burst.frames.drain(..).for_each(|frame| context.pool.give(frame));
            }
        });
    }

    /// What the fast path takes for ordinary, a stage that the list has and the filter knows nothing else of still sees.
    #[test]
    fn a_stage_in_the_list_sees_ordinary_packets() {
        let tables = tables();
        with_context(&tables, |context| {
            let mut ordinary = lane(&tables, 1, 1, 0, Flags::default());
            group::run(&mut ordinary, context);
            filter::run(&mut ordinary, context, concerns, verdict);
            assert!(ordinary.live.has(0), "today's stages forward it");
            let (concerns, verdict) = with_banned::LIST;
            let last = with_banned::NAMES.last().map(|stage| stage.name);
            assert_eq!((FILTERED.len() + 1, last), (with_banned::NAMES.len(), Some("banned")));
            filter::run(&mut ordinary, context, concerns, verdict);
            assert_eq!(
                (ordinary.live, ordinary.verdicts[0]),
                (Lanes(0), Verdict::Drop(DropReason::Blackhole))
            );
        });
    }
}
