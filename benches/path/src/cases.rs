//! What is measured.

use crate::acl::Rules;
use crate::packets::Families;
use crate::station::{Shape, Tunnels, Vrfs};

pub struct Case {
    pub shape: Shape,
    pub families: Families,
    /// "inside" (every prefix as likely), "zipf" (of destinations), or "flows" (those of "inside", as often as Zipf's law
    /// says); small VRFs have one kind.
    pub pattern: &'static str,
    /// Part of a quick run.
    pub quick: bool,
    /// DPDK's l3fwd takes part, with the same packets untagged.
    pub rival: bool,
    /// `scripts/test` watches its instructions.
    pub guard: bool,
}

const fn case(
    vrfs: Vrfs,
    vifs: u16,
    qinq: bool,
    families: Families,
    pattern: &'static str,
    part_of: &[Part],
) -> Case {
    let (mut quick, mut rival, mut guard) = (false, false, false);
    let mut shape = Shape { vrfs, vifs, qinq, ..Shape::PLAIN };
    let mut i = 0;
    while i < part_of.len() {
        match part_of[i] {
            Quick => quick = true,
            Rival => rival = true,
            Guard => guard = true,
            Metered => shape.metered = true,
            Limited => shape.limited = true,
            Talkers => shape.talkers = true,
            Translated => shape.translated = true,
            Logged(interval) => shape.logged = interval,
            Timed(sample) => shape.timed = sample,
            Mirrored => shape.mirrored = true,
            Classed => shape.classed = true,
            Into => shape.tunnels = Tunnels::Out,
            From => shape.tunnels = Tunnels::In,
        }
        i += 1;
    }
    Case { shape, families, pattern, quick, rival, guard }
}

/// A case of 100 small VRFs whose customers have an access list.
const fn acl(kind: Rules, rules: usize, families: Families, part_of: &[Part]) -> Case {
    let mut case = case(Small, 100, false, families, "inside", part_of);
    case.shape.acl = Some((kind, rules));
    case
}

/// What a case is for besides a full run, and what its station does besides.
enum Part {
    Quick,
    Rival,
    Guard,
    /// Customers' VIFs have a bandwidth.
    Metered,
    /// Each of the customers' addresses has a limit.
    Limited,
    /// Customers' VIFs keep track of their largest addresses.
    Talkers,
    /// Customers' VIFs translate.
    Translated,
    /// Flows of customers' VIFs are logged, of one of so many packets.
    Logged(u16),
    /// Packets of the customers' port are timed, one of so many.
    Timed(u32),
    /// One of the customers' VIFs is mirrored, both ways.
    Mirrored,
    /// The upstream VIF has a policy of classes, and its port keeps up.
    Classed,
    /// Packets leave in tunnels.
    Into,
    /// Packets come in tunnels.
    From,
}

use Families::{Mixed, V4, V6};
use Part::{
    Classed, From, Guard, Into, Limited, Logged, Metered, Mirrored, Quick, Rival, Talkers, Timed,
    Translated,
};
use Vrfs::{Full, Small};

/// What is sold, all at once.
const TOGETHER: &[Part] = &[Guard, Metered, Limited, Translated, Classed, Logged(1000)];

/// Cases of one shape follow each other: its station is built once.
pub const CASES: [Case; 41] = [
    case(Full, 100, false, V4, "inside", &[Quick, Rival, Guard]),
    case(Full, 100, false, V4, "zipf", &[Quick, Rival]),
    case(Full, 100, false, V6, "inside", &[Quick, Rival, Guard]),
    case(Full, 100, false, V6, "zipf", &[Rival]),
    case(Full, 100, false, Mixed, "inside", &[Quick]),
    case(Full, 100, true, V4, "inside", &[Quick]),
    case(Full, 100, true, Mixed, "inside", &[]),
    case(Full, 1, false, V4, "inside", &[Quick]),
    case(Full, 4000, false, V4, "inside", &[Quick]),
    case(Full, 4000, false, V6, "inside", &[]),
    case(Full, 100, false, V4, "inside", &[Quick, Guard, Metered]),
    case(Full, 100, false, V4, "inside", &[Quick, Limited, Guard]),
    case(Full, 100, false, V4, "inside", &[Quick, Talkers, Guard]),
    case(Full, 100, false, V4, "inside", &[Quick, Guard, Translated]),
    case(Full, 100, false, V6, "inside", &[Translated]),
    case(Full, 100, false, V4, "inside", &[Quick, Timed(64)]),
    case(Full, 100, false, V4, "inside", &[Guard, Timed(256)]),
    case(Full, 100, false, V4, "inside", &[Quick, Guard, Mirrored]),
    case(Full, 100, false, V4, "inside", &[Quick, Classed, Guard]),
    case(Full, 100, false, V4, "flows", &[Quick]),
    case(Full, 100, false, V4, "flows", &[Quick, Guard, Logged(1000)]),
    case(Full, 100, false, V4, "flows", &[Quick, Guard, Logged(1)]),
    case(Full, 100, false, V4, "inside", &[Quick, Guard, Into]),
    case(Full, 100, false, V4, "inside", &[Quick, Guard, From]),
    case(Small, 1, false, V4, "inside", &[Quick]),
    case(Small, 100, true, Mixed, "inside", &[Guard]),
    case(Small, 4000, false, V4, "inside", &[Quick]),
    case(Small, 4000, false, V6, "inside", &[]),
    case(Small, 4000, true, Mixed, "inside", &[]),
    case(Small, 100, false, V4, "inside", &[]),
    acl(Rules::Real, 1, V4, &[]),
    acl(Rules::Real, 10, V4, &[]),
    acl(Rules::Real, 100, V4, &[]),
    acl(Rules::Real, 1_000, V4, &[]),
    acl(Rules::Real, 10_000, V4, &[]),
    acl(Rules::Real, 1_000, V4, TOGETHER),
    acl(Rules::Cross, 1_000, V4, &[]),
    acl(Rules::Cross, 10_000, V4, &[]),
    acl(Rules::Halves, 10_000, V4, &[]),
    acl(Rules::Ranges, 1_000, V4, &[]),
    acl(Rules::Ranges, 10_000, V4, &[]),
];

impl Case {
    /// What the case is called in reports.
    pub fn name(&self) -> String {
        let Shape { vrfs, vifs, qinq, metered, translated, logged, timed, .. } = self.shape;
        let Shape { limited, talkers, mirrored, classed, tunnels, acl, .. } = self.shape;
        let limited = if limited { ", addresses limited" } else { "" };
        let talkers = if talkers { ", top talkers" } else { "" };
        let classed = if classed { ", classes at the egress" } else { "" };
        let mirrored = if mirrored { ", one VIF mirrored" } else { "" };
        let routes = match vrfs {
            Full => "full table",
            Small => "small VRFs",
        };
        let tags = if qinq { "QinQ" } else { "tagged" };
        let metered = if metered { ", policed" } else { "" };
        let translated = if translated { ", translated" } else { "" };
        let logged = match logged {
            0 => String::new(),
            interval => format!(", logged 1:{interval}"),
        };
        let timed = match timed {
            0 => String::new(),
            sample => format!(", timed 1:{sample}"),
        };
        let tunnels = match tunnels {
            Tunnels::None => "",
            Tunnels::Out => ", into tunnels",
            Tunnels::In => ", out of tunnels",
        };
        let acl = acl.map_or_else(String::new, |(kind, rules)| {
            format!(", access list of {rules} rules {}", kind.name())
        });
        format!(
            "{routes}, {vifs} VIFs, {tags} {}{metered}{limited}{talkers}{translated}{logged}{timed}{mirrored}{classed}{tunnels}{acl}",
            self.traffic()
        )
    }

    /// The packets and where they go.
    pub fn traffic(&self) -> String {
        let families = match self.families {
            V4 => "IPv4",
            V6 => "IPv6",
            Mixed => "mixed",
        };
        let pattern = match self.pattern {
            "inside" => "random",
            "flows" => "Zipf flows",
            other => other,
        };
        format!("{families}, {pattern}")
    }
}
