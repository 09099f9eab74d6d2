//! Events in words, and whom they are about.

#[cfg(test)]
mod tests;
mod words;

use std::fmt;

use self::words::{By, Peers, Target};
use super::{Event, Kind};

impl Event {
    /// The VIF that it names.
    pub fn vif(&self) -> Option<&str> {
        match self {
            Event::VifUp { vif, .. }
            | Event::VifDown { vif, .. }
            | Event::BgpUp { vif, .. }
            | Event::BgpDown { vif, .. }
            | Event::BgpRefused { vif, .. }
            | Event::BfdUp { vif, .. }
            | Event::BfdDown { vif, .. }
            | Event::PrefixLimit { vif, .. }
            | Event::PrefixLimitClear { vif, .. }
            | Event::Security { vif, .. }
            | Event::DrillBegin { vif, .. }
            | Event::DrillEnd { vif, .. }
            | Event::OutageBegin { vif, .. }
            | Event::ProbeDown { vif, .. }
            | Event::ProbeUp { vif, .. }
            | Event::ProbeDegraded { vif, .. }
            | Event::ProbeRestored { vif, .. }
            | Event::FlowLogCoarser { vif, .. }
            | Event::FlowLogRestored { vif, .. }
            | Event::OutageEnd { vif: Some(vif), .. } => Some(vif),
            _ => self.drained("vif"),
        }
    }

    /// The port that it names.
    pub fn port(&self) -> Option<&str> {
        match self {
            Event::PortUp { port, .. }
            | Event::PortDown { port, .. }
            | Event::PortRepair { port, .. }
            | Event::VifUp { port, .. }
            | Event::VifDown { port, .. } => Some(port),
            _ => self.drained("port"),
        }
    }

    /// What a drain or a mirror of this scope names.
    fn drained(&self, of: &str) -> Option<&str> {
        match self {
            Event::DrainBegin { scope, name, .. }
            | Event::DrainQuiet { scope, name, .. }
            | Event::DrainEnd { scope, name, .. }
            | Event::MirrorBegin { scope, name, .. }
            | Event::MirrorEnd { scope, name, .. } => name.as_deref().filter(|_| scope == of),
            _ => None,
        }
    }

    /// Whether it is about the whole station's service, and so about each VIF's.
    pub fn is_of_all_vifs(&self) -> bool {
        matches!(
            self,
            Event::StationStart { .. }
                | Event::StationStop { .. }
                | Event::OutageEnd { vif: None, .. }
                | Event::DrainBegin { name: None, .. }
                | Event::DrainQuiet { name: None, .. }
                | Event::DrainEnd { name: None, .. }
                | Event::Lost { .. }
        )
    }
}

impl fmt::Display for Event {
    /// In a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::StationStart { version, configuration, ports, vifs } => write!(
                f,
                "station {version} started: configuration {configuration}, {ports} ports, {vifs} VIFs"
            ),
            Event::StationStop { sessions_kept: true } => {
                f.write_str("station stops, and leaves its BGP sessions")
            }
            Event::StationStop { sessions_kept: false } => f.write_str("station stops"),
            Event::PortUp { port, interface } => write!(f, "port {port} ({interface}) up"),
            Event::PortDown { port, interface, reason } => {
                write!(f, "port {port} ({interface}) down: {reason}")
            }
            Event::PortRepair { port, reason, repairs } => {
                write!(f, "port {port} put right: {reason} ({repairs} since the start)")
            }
            Event::VifUp { vif, port } => write!(f, "vif {vif} on port {port} up"),
            Event::VifDown { vif, port, cause } => {
                write!(f, "vif {vif} on port {port} down: {}", cause.word())
            }
            Event::BgpUp { vif, peer, peer_as } => {
                write!(f, "vif {vif}: BGP with {peer} (AS {peer_as}) up")
            }
            Event::BgpDown { vif, peer, peer_as, reason, code, subcode, .. } => {
                write!(f, "vif {vif}: BGP with {peer} (AS {peer_as}) down: {reason}")?;
                match (code, subcode) {
                    (Some(code), Some(subcode)) => write!(f, " (NOTIFICATION {code}/{subcode})"),
                    (Some(code), None) => write!(f, " (NOTIFICATION {code})"),
                    _ => Ok(()),
                }
            }
            Event::BgpRefused { vif, peer, peer_as, reason, count, .. } => write!(
                f,
                "vif {vif}: BGP with {peer} (AS {peer_as}) does not come up: {reason} ({count} times)"
            ),
            Event::RemoteStationDown { remote_station, vifs } => {
                write!(
                    f,
                    "station {remote_station} is lost: no tunnel of {} is up",
                    vifs.join(", ")
                )
            }
            Event::RpkiCacheDown { cache, server, reason } => {
                write!(f, "RPKI cache {cache} at {server} is lost: {reason}")
            }
            Event::RpkiCacheUp { cache, server } => {
                write!(f, "RPKI cache {cache} at {server} is reached again")
            }
            Event::CollectorDown { collector, reason } => {
                write!(f, "flows do not reach {collector}: {reason}")
            }
            Event::CollectorUp { collector } => write!(f, "flows reach {collector} again"),
            Event::ProbeDown { probe, vif, reason } => {
                write!(f, "probe {probe} of vif {vif} is down: {reason}")
            }
            Event::ProbeUp { probe, vif, down_ms } => {
                write!(f, "probe {probe} of vif {vif} is up again after {down_ms} ms")
            }
            Event::ProbeDegraded { probe, target, measure, value, limit, .. }
            | Event::ProbeRestored { probe, target, measure, value, limit, .. } => {
                let unit = if measure == "loss" { "%" } else { " us" };
                let again = if self.kind() == Kind::ProbeRestored { " again" } else { "" };
                write!(
                    f,
                    "probe {probe}: {measure} of {target} is {value}{unit}{again}, its limit {limit}{unit}"
                )
            }
            Event::FlowLogCoarser { vif, interval } => {
                write!(f, "flows of vif {vif} are logged of 1 in {interval} packets")
            }
            Event::FlowLogRestored { vif, interval } => {
                write!(f, "flows of vif {vif} are logged of 1 in {interval} packets again")
            }
            Event::RemoteStationUp { remote_station, .. } => {
                write!(f, "station {remote_station} is reached again")
            }
            Event::BfdUp { vif, peer } => write!(f, "vif {vif}: BFD with {peer} up"),
            Event::BfdDown { vif, peer, switched_off: false } => {
                write!(f, "vif {vif}: BFD with {peer} down")
            }
            Event::BfdDown { vif, peer, switched_off: true } => {
                write!(f, "vif {vif}: BFD with {peer} switched off by the peer")
            }
            Event::PrefixLimit {
                vif,
                peer,
                peer_as,
                percent,
                accepted,
                max_prefixes,
                shut,
                ..
            } => {
                write!(f, "vif {vif}: {peer} (AS {peer_as}) has ")?;
                match accepted {
                    Some(accepted) => write!(f, "{accepted} of {max_prefixes}")?,
                    None => write!(f, "more than {max_prefixes}")?,
                }
                write!(f, " prefixes ({percent} %)")?;
                f.write_str(if *shut { ": the session is shut" } else { "" })
            }
            Event::PrefixLimitClear { vif, peer, peer_as, accepted, max_prefixes } => write!(
                f,
                "vif {vif}: {peer} (AS {peer_as}) has {accepted} of {max_prefixes} prefixes again"
            ),
            Event::RoutingDown { reason } => write!(f, "routing is not as configured: {reason}"),
            Event::RoutingFollowed { configuration, after_ms } => {
                write!(f, "routing follows configuration {configuration} after {after_ms} ms")
            }
            Event::RoutingUp {} => f.write_str("routing is as configured again"),
            Event::Md5Failure { vif, peer, peer_as, cause, count, help } => {
                write!(f, "vif {vif}: BGP with {peer} (AS {peer_as}): {cause} +{count}: {help}")
            }
            Event::Security { vif, counter, count, help } => {
                write!(f, "vif {vif}: {counter} +{count}: {help}")
            }
            Event::RouteRepair { vrf, family, mismatches, repaired } => write!(
                f,
                "vrf {vrf}: {mismatches} {family} routes were not what the kernel has, {repaired} put right"
            ),
            Event::Commit {
                configuration,
                command,
                changes,
                uid,
                login_uid,
                sudo_user,
                comment,
                until_ms,
            }
            | Event::Rollback {
                configuration,
                command,
                changes,
                uid,
                login_uid,
                sudo_user,
                comment,
                until_ms,
            } => {
                let unconfirmed = if until_ms.is_some() { ", not confirmed yet" } else { "" };
                let by = By(*uid, *login_uid, sudo_user, comment);
                write!(
                    f,
                    "configuration {configuration} ({command}, {changes} changes{unconfirmed}){by}"
                )
            }
            Event::Confirm { configuration, uid, login_uid, sudo_user } => {
                let by = By(*uid, *login_uid, sudo_user, &None);
                write!(f, "configuration {configuration} confirmed{by}")
            }
            Event::Request { request, uid, login_uid, sudo_user, comment, refused, .. } => {
                let by = By(Some(*uid), *login_uid, sudo_user, comment);
                write!(f, "request {request}{by}")?;
                refused.iter().try_for_each(|why| write!(f, ", refused: {why}"))
            }
            Event::Denied { request, uid, pid, count } => {
                let request = request.as_deref().unwrap_or("a connection");
                write!(f, "denied: {request} by uid {uid}, process {pid} ({count} times)")
            }
            Event::OutageBegin { vif, cause, .. } => {
                write!(f, "outage of vif {vif} begins: {}", cause.word())
            }
            Event::OutageEnd { vif, cause, duration_ms, frames_lost, .. } => {
                match vif {
                    Some(vif) => write!(f, "outage of vif {vif} over: ")?,
                    None => f.write_str("outage of all VIFs over: ")?,
                }
                write!(f, "{}, {duration_ms} ms", cause.word())?;
                frames_lost.iter().try_for_each(|lost| write!(f, ", {lost} frames lost"))
            }
            Event::DrainBegin {
                scope,
                name,
                dark_prefixes,
                uid,
                login_uid,
                sudo_user,
                comment,
            } => {
                write!(f, "drain of {} begins", Target(scope, name))?;
                if *dark_prefixes > 0 {
                    write!(f, ", no other way to {dark_prefixes} prefixes")?;
                }
                write!(f, "{}", By(*uid, *login_uid, sudo_user, comment))
            }
            Event::DrainQuiet { scope, name, after_ms } => {
                let target = Target(scope, name);
                write!(f, "drain of {target}: quiet after {after_ms} ms, safe to unplug")
            }
            Event::DrainEnd { scope, name, after_ms, uid, login_uid, sudo_user } => {
                let by = By(*uid, *login_uid, sudo_user, &None);
                write!(f, "drain of {} over after {after_ms} ms{by}", Target(scope, name))
            }
            Event::DrillBegin {
                vif,
                peers,
                dark_prefixes,
                comment,
                uid,
                login_uid,
                sudo_user,
                ..
            } => {
                write!(f, "drill of vif {vif} begins: BGP with {} down", Peers(peers))?;
                if *dark_prefixes > 0 {
                    write!(f, ", no other way to {dark_prefixes} prefixes")?;
                }
                write!(f, "{}", By(*uid, *login_uid, sudo_user, comment))
            }
            Event::DrillEnd {
                vif,
                reason,
                after_ms,
                frames_lost,
                uid,
                login_uid,
                sudo_user,
                ..
            } => {
                write!(f, "drill of vif {vif} over after {after_ms} ms ({reason})")?;
                frames_lost.iter().try_for_each(|lost| write!(f, ", {lost} frames lost"))?;
                write!(f, "{}", By(*uid, *login_uid, sudo_user, &None))
            }
            Event::MirrorBegin {
                mirror,
                scope,
                name,
                direction,
                to,
                filter,
                comment,
                uid,
                login_uid,
                sudo_user,
                ..
            } => {
                let of = Target(scope, name);
                write!(f, "mirror {mirror} begins: {of}, {direction}, to {to}")?;
                filter.iter().try_for_each(|filter| write!(f, ", filter {filter:?}"))?;
                write!(f, "{}", By(*uid, *login_uid, sudo_user, comment))
            }
            Event::MirrorEnd {
                mirror,
                scope,
                name,
                reason,
                copies,
                after_ms,
                uid,
                login_uid,
                sudo_user,
            } => {
                let (of, by) = (Target(scope, name), By(*uid, *login_uid, sudo_user, &None));
                write!(
                    f,
                    "mirror {mirror} of {of} over after {after_ms} ms ({reason}), {copies} copies{by}"
                )
            }
            Event::BillingLost { .. } => {
                f.write_str("billing: what the daemon before counted after its last bin is lost")
            }
            Event::BillingDamage { file, from_octet, to_octet, cut }
            | Event::ProbeHistoryDamage { file, from_octet, to_octet, cut } => {
                let bins = self.kind() == Kind::BillingDamage;
                let (of, what) = if bins { ("billing", "bins") } else { ("probes", "hours") };
                write!(f, "{of}: octets {from_octet} to {to_octet} of {file} are no {what}")?;
                f.write_str(if *cut { ": a torn end, cut off" } else { "" })
            }
            Event::BillingClock { step_ms, .. } => {
                write!(f, "billing: the clock was set by {step_ms} ms, bins are marked")
            }
            Event::BillingUnwritten { reason } => {
                write!(f, "billing: bins wait, since they cannot be written: {reason}")
            }
            Event::BillingWritten { bins } => write!(f, "billing: {bins} bins are written again"),
            Event::ProbeHistoryUnwritten { reason } => write!(f, "probes: hours wait: {reason}"),
            Event::ProbeHistoryWritten { hours, lost } => {
                write!(f, "probes: {hours} hours are written again, {lost} are lost")
            }
            Event::MappingsConnected { source, generation, position, mappings } => {
                write!(f, "mappings: source {source} is connected; {mappings} hold")?;
                generation.iter().try_for_each(|n| write!(f, ", generation {n}"))?;
                position.iter().try_for_each(|n| write!(f, ", position {n}"))
            }
            Event::MappingsLost { source, syncing, mappings } => {
                write!(f, "mappings: source {source} is lost; {mappings} hold")?;
                syncing.iter().try_for_each(|n| write!(f, ", sync {n} has not ended"))
            }
            Event::MappingsSynced { source, generation, mappings, swept } => write!(
                f,
                "mappings: source {source} has ended sync {generation}: {mappings} hold, {swept} are swept"
            ),
            Event::MappingsLimit { source, reason, count } => {
                write!(f, "mappings: {count} refused of source {source}: {reason}")
            }
            Event::Lost { count } => write!(f, "{count} events are missing here"),
        }
    }
}
