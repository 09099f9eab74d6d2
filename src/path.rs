//! The way of a burst, one line per stage. Each stage sees the lanes that the stages before it left
//! live; what is live at the end is forwarded.

use crate::cpu::{Work, widest};
use crate::stage::{
    Burst, Context, classify, group, ipv4, ipv6, mtu, plain, police, resolve, rewrite, route,
    routing, source, ttl,
};

/// Gives every frame of the burst its verdict, and rewrites those to forward.
#[inline(never)]
pub fn run(burst: &mut Burst, context: &mut Context<'_>) {
    widest(Path { burst, context });
}

struct Path<'a, 'b> {
    burst: &'a mut Burst,
    context: &'a mut Context<'b>,
}

impl Work for Path<'_, '_> {
    #[inline(always)]
    fn run(self) {
        let Path { burst, context } = self;
        burst.start();
        classify::run(burst, context); // Ethernet, tags -> VIF
        ipv4::run(burst, context); //     RFC 1812 5.2.2
        ipv6::run(burst, context); //     RFC 8200 3
        route::run(burst, context); //    VRF FIB: destination and source -> next-hop groups
        group::run(burst, context); //    next-hop group -> adjacency
        plain::run(burst, context); //    the stages from here to rewrite: only those not plain
        source::run(burst, context); //   RFC 8704: may this VIF use this source?
        resolve::run(burst, context); //  local, blackhole, isolation
        ttl::run(burst, context); //      RFC 1812 5.3.1
        mtu::run(burst, context); //      egress MTU
        rewrite::run(burst, context); //  MACs, tags, TTL, checksum
        routing::run(burst, context); //  BGP and BFD among what is for the router
        police::run(burst, context); //   budgets of the slow path
    }
}
