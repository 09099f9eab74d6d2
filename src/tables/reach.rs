//! Who reaches whom: by which prefixes what enters one VIF leaves by another, as the tables and routes say now. Not found
//! by trying: the routes part all addresses into spans that a packet meets the same fate in, and each span is judged once,
//! by the rules that the packet path judges packets by ([`super::rules`]).
//!
//! - Of a group counts who has a bucket now: a backup only while it carries.
//! - What a route leads to, it leads to for the addresses that no more specific route has and that a host may have.
//! - A permit of an exchange leads on in the exporting VRF, for the addresses of the permit's route; of two routes that a
//!   packet takes so, the longer names what is reached.
//! - Of sources it is asked whether there is any: that the ingress VIF's check admits and, by an exchange, the exporting VRF.
//!   They are outside addresses where the ingress VIF translates, and so is whatever it sends to.
//!   Which they are, is not told. Access lists and bandwidth are not: they may let a part pass.

mod hosts;
mod spans;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use ipnet::IpNet;

use super::rules::{admit, leads, leads_back, may_answer, may_leave};
use super::{AdjacencyKind, ExchangeId, GroupId, Snapshot, SourceCheck, Vif, VifId, VrfId};
use hosts::Hosts;
use spans::{Span, apart, effective};

/// IPv4 and IPv6, as places in arrays.
const FAMILIES: [usize; 2] = [0, 1];
/// All addresses of each.
const ALL: [Span; 2] =
    [Span { first: 0, last: u32::MAX as u128 }, Span { first: 0, last: u128::MAX }];

const fn family(net: &IpNet) -> usize {
    matches!(net, IpNet::V6(_)) as usize
}

/// What packets meet at a group of a VRF, as far as it matters here.
#[derive(Debug, Default)]
struct Class {
    /// The VIFs that they leave by: of another VRF, by no permit.
    egress: Vec<VifId>,
    /// The permits that they meet.
    permits: Vec<ExchangeId>,
    /// The VIFs that its members are on, whether they carry or not.
    on: Vec<VifId>,
    /// The VIFs that admit such a source, of those whose sources are checked.
    admits: Vec<VifId>,
    /// The VRFs that answers to such a source go back to; in a VRF that exchanges lead from.
    back: Vec<VrfId>,
}

/// The routes of one VRF.
#[derive(Debug, Default)]
struct Domain {
    /// By family, as the FIB has them; each with its class.
    routes: [Vec<(IpNet, usize)>; 2],
    classes: Vec<Class>,
}

/// The routes of VRFs, as they are read.
#[derive(Debug, Default)]
pub struct Survey {
    domains: BTreeMap<VrfId, Domain>,
    /// The classes of groups in tables of this generation.
    known: HashMap<(VrfId, GroupId), usize>,
    generation: u64,
}

impl Survey {
    /// Takes routes of a VRF: by family in the order of addresses, a shorter prefix before those that it covers, each
    /// VRF's from the first to the last. `tables`: those whose groups they lead to. They may be others for the next ones,
    /// of the same configuration.
    pub fn take(&mut self, tables: &Snapshot, vrf: VrfId, routes: &[(IpNet, GroupId)]) {
        if self.generation != tables.generation {
            self.known.clear();
            self.generation = tables.generation;
        }
        let domain = self.domains.entry(vrf).or_default();
        let role = Role::of(tables, vrf);
        for (prefix, group) in routes {
            let class = *self.known.entry((vrf, *group)).or_insert_with(|| {
                domain.classes.push(role.class(tables, *group));
                domain.classes.len() - 1
            });
            domain.routes[family(prefix)].push((*prefix, class));
        }
    }

    /// Who reaches whom by all of these. `tables`: of the same configuration, as they are now.
    pub fn finish(self, tables: Snapshot) -> Reachability {
        let mut reached = HashMap::new();
        let mut senders = HashMap::new();
        let mut beyond = Beyond { domains: &self.domains, spans: HashMap::new() };
        for (vrf, domain) in &self.domains {
            senders.insert((*vrf, None), domain.senders(&tables, *vrf, None));
            let exchanges = exchanges(&tables).filter(|(_, exchange)| exchange.importer == *vrf);
            for (id, exchange) in exchanges {
                let exporter = self.domains.get(&exchange.exporter);
                senders.insert((*vrf, Some(id)), domain.senders(&tables, *vrf, exporter));
            }
            reached.insert(*vrf, domain.reached(&tables, *vrf, &mut beyond));
        }
        Reachability { tables, reached, senders }
    }
}

fn exchanges(tables: &Snapshot) -> impl Iterator<Item = (ExchangeId, &super::Exchange)> {
    let all = (0..=u16::MAX).map(ExchangeId).zip(tables.exchanges.iter());
    all.filter_map(|(id, exchange)| Some((id, exchange.as_ref()?)))
}

/// What of a VRF's groups is asked.
struct Role {
    vrf: VrfId,
    /// The VRFs that exchanges lead into from this one.
    importers: BTreeSet<VrfId>,
    /// The VIFs whose sources are checked.
    checked: Vec<(VifId, SourceCheck)>,
}

impl Role {
    fn of(tables: &Snapshot, vrf: VrfId) -> Role {
        let from = exchanges(tables).filter(|(_, exchange)| exchange.exporter == vrf);
        let importers = from.map(|(_, exchange)| exchange.importer).collect();
        let checked = vifs_of(tables, vrf)
            .filter(|(_, vif)| vif.source_check != SourceCheck::Off)
            .map(|(id, vif)| (id, vif.source_check));
        Role { vrf, importers, checked: checked.collect() }
    }

    fn class(&self, tables: &Snapshot, group: GroupId) -> Class {
        let mut class = Class::default();
        let carrying: BTreeSet<_> = tables.groups.buckets(group).iter().collect();
        for adjacency in carrying.into_iter().map(|id| tables.adjacency(*id)) {
            match adjacency.kind {
                AdjacencyKind::Exchange(id) => class.permits.push(id),
                // Behind a permit too: another permit and the router itself lead to no VIF, see `rules::cross`.
                _ => class.egress.extend(leads(adjacency, Some(self.vrf)).ok()),
            }
        }
        class.egress.sort_unstable();
        class.egress.dedup();
        let members = tables.groups.members(group).iter().map(|id| tables.adjacency(*id));
        class.on = members.filter(|to| to.kind.is_on_vif()).map(|to| to.vif).collect();
        let admits = |(id, mode): &(VifId, SourceCheck)| {
            admit(tables, group, *id, *mode).is_ok().then_some(*id)
        };
        class.admits = self.checked.iter().filter_map(admits).collect();
        let back = self.importers.iter().filter(|vrf| leads_back(tables, group, **vrf));
        class.back = back.copied().collect();
        class
    }
}

fn vifs_of(tables: &Snapshot, vrf: VrfId) -> impl Iterator<Item = (VifId, &Vif)> {
    tables.vifs_by_id().filter(move |(_, vif)| vif.vrf == vrf)
}

/// A VIF that packets of a VRF leave by, whoever sends.
#[derive(Debug)]
struct Egress {
    to: VifId,
    by: Option<ExchangeId>,
    /// By family, in order.
    prefixes: [Vec<IpNet>; 2],
}

impl Domain {
    fn spans(&self, family: usize) -> impl Iterator<Item = Span> {
        self.routes[family].iter().map(|(prefix, _)| Span::of(prefix))
    }

    fn class(&self, family: usize, place: usize) -> &Class {
        &self.classes[self.routes[family][place].1]
    }

    /// Where the VRF's routes lead, whoever sends.
    fn reached(&self, tables: &Snapshot, vrf: VrfId, beyond: &mut Beyond<'_>) -> Vec<Egress> {
        let mut ways: BTreeMap<(Option<ExchangeId>, VifId), [Vec<IpNet>; 2]> = BTreeMap::new();
        let hosts = Hosts::of(tables, vrf);
        for family in FAMILIES {
            let mut alive = vec![false; self.routes[family].len()];
            let mut permitted = Vec::new();
            effective(self.spans(family), |place, span| {
                let class = self.class(family, place);
                for part in hosts.of_route(family, span, &class.on) {
                    alive[place] = true;
                    if class.permits.is_empty() {
                        break;
                    }
                    permitted.push((place, part));
                }
            });
            // Prefixes by class, so that a way is found once for all of them.
            let mut by_class = vec![Vec::new(); self.classes.len()];
            for ((prefix, class), _) in self.routes[family].iter().zip(alive).filter(|of| of.1) {
                by_class[*class].push(*prefix);
            }
            for (class, prefixes) in self.classes.iter().zip(by_class) {
                for to in &class.egress {
                    ways.entry((None, *to)).or_default()[family].extend(&prefixes);
                }
            }
            for (place, part) in permitted {
                for id in &self.class(family, place).permits {
                    let Some(exchange) = tables.exchange(*id) else { continue };
                    let prefix = self.routes[family][place].0;
                    for (longer, class) in beyond.routes(exchange.exporter, family, part) {
                        let named =
                            if longer.prefix_len() > prefix.prefix_len() { longer } else { prefix };
                        for to in &class.egress {
                            ways.entry((Some(*id), *to)).or_default()[family].push(named);
                        }
                    }
                }
            }
        }
        let ways = ways.into_iter().map(|((by, to), mut prefixes)| {
            for prefixes in &mut prefixes {
                prefixes.sort_unstable();
                prefixes.dedup();
            }
            Egress { to, by, prefixes }
        });
        ways.collect()
    }

    /// The VIFs of this VRF some packet of which passes, by family: there is a source that they admit and, by an exchange,
    /// that the exporting VRF routes back or not at all.
    fn senders(
        &self,
        tables: &Snapshot,
        vrf: VrfId,
        exporter: Option<&Domain>,
    ) -> [HashSet<VifId>; 2] {
        let hosts = Hosts::of(tables, vrf);
        let unchecked = vifs_of(tables, vrf)
            .filter(|(_, vif)| vif.source_check == SourceCheck::Off)
            .map(|(id, _)| id);
        let unchecked: Vec<VifId> = unchecked.collect();
        let inside = Inside::of(tables, vrf);
        FAMILIES.map(|family| {
            let mut elsewhere = Vec::new();
            if let Some(exporter) = exporter {
                effective(exporter.spans(family), |place, span| {
                    if !exporter.class(family, place).back.contains(&vrf) {
                        elsewhere.push(span);
                    }
                });
            }
            let elsewhere = apart(elsewhere);
            let mut senders = HashSet::new();
            let mut done = vec![false; self.classes.len()];
            let passes = |part: Span| part.without(&elsewhere).collect::<Vec<_>>();
            effective(self.spans(family), |place, span| {
                let (_, number) = self.routes[family][place];
                if done[number] {
                    return;
                }
                let class = &self.classes[number];
                let parts = hosts.of_route(family, span, &class.on).flat_map(passes);
                let parts: Vec<Span> = parts.collect();
                // Of a VIF that translates another span of the class may have what this one has not.
                done[number] = true;
                for id in class.admits.iter().chain(&unchecked) {
                    if inside.leaves_some(*id, family, &parts) {
                        senders.insert(*id);
                    }
                    done[number] &= senders.contains(id);
                }
            });
            // Sources without a route here, too.
            let anywhere = ALL[family].without(&hosts.none[family]).flat_map(passes);
            let anywhere: Vec<Span> = anywhere.collect();
            let open = unchecked.iter().filter(|id| inside.leaves_some(**id, family, &anywhere));
            senders.extend(open);
            senders
        })
    }
}

/// The inside addresses of the VIFs of a VRF that translate, by family: no packet of theirs has such a source there.
struct Inside(HashMap<VifId, [Vec<Span>; 2]>);

impl Inside {
    fn of(tables: &Snapshot, vrf: VrfId) -> Inside {
        let of_vif = |(id, vif): (VifId, &Vif)| {
            let all = &vif.translations.as_ref()?.all;
            let inside = all.iter().map(|pair| pair.inside);
            let of = |which| inside.clone().filter(move |net| family(net) == which);
            Some((id, FAMILIES.map(|which| apart(of(which).map(|net| Span::of(&net)).collect()))))
        };
        Inside(vifs_of(tables, vrf).filter_map(of_vif).collect())
    }

    /// Whether some of these addresses may be the source of a VIF's packets.
    fn leaves_some(&self, id: VifId, family: usize, parts: &[Span]) -> bool {
        match self.0.get(&id) {
            None => !parts.is_empty(),
            Some(inside) => parts.iter().any(|part| part.without(&inside[family]).next().is_some()),
        }
    }
}

/// The routes behind permits, in order; made where they are first asked for.
struct Beyond<'a> {
    domains: &'a BTreeMap<VrfId, Domain>,
    spans: HashMap<(VrfId, usize), Vec<(Span, usize)>>,
}

impl<'a> Beyond<'a> {
    /// The routes of a VRF that have addresses of a span, each with its class.
    fn routes(
        &mut self,
        vrf: VrfId,
        family: usize,
        part: Span,
    ) -> impl Iterator<Item = (IpNet, &'a Class)> {
        let domain = self.domains.get(&vrf);
        let spans = self.spans.entry((vrf, family)).or_insert_with(|| {
            let mut spans = Vec::new();
            if let Some(domain) = domain {
                effective(domain.spans(family), |place, span| spans.push((span, place)));
            }
            spans
        });
        let from = spans.partition_point(|(span, _)| span.last < part.first);
        let within = spans[from..].iter().take_while(move |(span, _)| span.first <= part.last);
        let within = within.filter_map(move |(_, place)| {
            let domain = domain?;
            Some((domain.routes[family][*place].0, domain.class(family, *place)))
        });
        within.collect::<Vec<_>>().into_iter()
    }
}

/// Who reaches whom.
#[derive(Debug)]
pub struct Reachability {
    tables: Snapshot,
    reached: HashMap<VrfId, Vec<Egress>>,
    /// The VIFs of a VRF that have anything to send in it, or by an exchange; by family.
    senders: HashMap<(VrfId, Option<ExchangeId>), [HashSet<VifId>; 2]>,
}

/// A VIF that another one reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach<'a> {
    /// The egress VIF.
    pub to: VifId,
    /// The exchange by which.
    pub by: Option<ExchangeId>,
    /// The IPv4 and the IPv6 prefixes by which, in order; not both empty.
    pub prefixes: [&'a [IpNet]; 2],
}

impl Reachability {
    /// The tables by which it was judged.
    pub const fn tables(&self) -> &Snapshot {
        &self.tables
    }

    /// What packets reach that enter by a VIF: first in its own VRF, then by exchanges. Nothing enters by a VIF that is
    /// down, nor by a tunnel whose underlay is.
    pub fn of(&self, ingress: VifId) -> impl Iterator<Item = Reach<'_>> {
        let tables = &self.tables;
        // What may be answered by the VIF that it came by, came.
        let is_up = |id: VifId| may_answer(tables, id, None, id).is_ok();
        let carries = |underlay: VrfId| vifs_of(tables, underlay).any(|(id, _)| is_up(id));
        let vif = tables.vif(ingress).filter(|vif| {
            is_up(ingress) && vif.tunnel().is_none_or(|tunnel| carries(tunnel.underlay))
        });
        let ways = vif.and_then(|vif| self.reached.get(&vif.vrf)).into_iter().flatten();
        ways.filter_map(move |Egress { to, by, prefixes }| {
            may_leave(tables, ingress, *by, *to).ok()?;
            let passes = |family: usize| {
                let senders = vif.and_then(|vif| self.senders.get(&(vif.vrf, *by)));
                senders.is_some_and(|senders| senders[family].contains(&ingress))
            };
            let of = |family: usize| if passes(family) { &*prefixes[family] } else { &[] };
            let prefixes = FAMILIES.map(of);
            let some = prefixes.iter().any(|prefixes| !prefixes.is_empty());
            some.then_some(Reach { to: *to, by: *by, prefixes })
        })
    }
}
