//! Requests of clients, each to what answers it. What changes something goes to the thread for changes.

use super::change::Order;
use super::control_thread::Control;
use super::{
    acls, address_limits, answer, bandwidth, bgp, billing, captures, counters, drain, drill, drops,
    event_stream, exchanges, explain, failover, flow_log, history, latency, mappings, mirrors,
    outages, ping, port_details, probe_history, probes, qos, rates, reachability, routes, rpki,
    stations, talkers, translations, tunnels, view,
};
use crate::admin::protocol::Request;
use crate::admin::server::Call;

impl Control {
    /// Answers a request, or has it answered.
    pub(super) fn call(&mut self, call: Call) {
        let Call { request, terms, text, author, reply } = call;
        let answer = match &request {
            Request::Version => answer::version(self),
            Request::ShowPorts => answer::ports(self),
            Request::ShowPortDetails => port_details::show(self),
            Request::ShowVifs => view::show_vifs(self),
            Request::ShowRates(filter) => rates::show(self, filter),
            Request::ShowBandwidth => bandwidth::show(self),
            Request::ShowAddressLimits(filter) => address_limits::show(self, filter),
            Request::ShowQos => qos::show(self),
            Request::ShowVrfs => view::show_vrfs(self),
            Request::ShowAcl(filter) => acls::show(self, filter),
            Request::ShowExchanges => exchanges::show(self),
            Request::ShowReachability(filter) => reachability::show(self, filter),
            Request::ShowRoutes(filter) => routes::show(self, filter),
            Request::ShowNeighbors => view::show_neighbors(self),
            Request::ShowTranslations => translations::show(self),
            Request::ShowFlowLog => flow_log::show(self),
            Request::ShowLatency => latency::show(self),
            Request::ShowTalkers(filter) => talkers::show(self, filter),
            Request::ShowProbes => probes::show(self),
            Request::ShowProbeHistory(filter) => probe_history::show(self, filter),
            Request::ShowCollectors => flow_log::show_collectors(self),
            Request::ShowTunnels => tunnels::show(self),
            Request::ShowStations => stations::show(self),
            Request::ShowRpki => rpki::show(self),
            Request::ShowMappings => mappings::show(self),
            Request::ShowVrfMappings(filter) => mappings::show_vrf(self, filter),
            Request::Mappings(source) => mappings::take_in(self, source),
            Request::ShowCounters(filter) => counters::show(self, filter),
            Request::ShowDrops(filter) => drops::show(self, filter),
            Request::ShowWorkers => answer::workers(self),
            Request::ShowConsistency => failover::consistency(self),
            Request::ShowOutages(period) => outages::outages(self, period),
            Request::ShowSla(period) => outages::sla(self, period),
            Request::ShowBgp { vif } => bgp::show(self, vif.as_deref()),
            Request::ShowBgpRoutes { vif, direction } => bgp::routes(self, vif, *direction),
            Request::BgpReset { vif, peer } => bgp::reset(self, vif, *peer, terms.yes),
            Request::ShowDrains => drain::show(self),
            Request::ShowDrills { over } => drill::show(self, *over),
            Request::ShowMirrors => mirrors::show(self),
            Request::ShowBilling(filter) => billing::show(self, filter),
            Request::Capture(request) => captures::start(self, request),
            Request::Events(filter) => event_stream::show(self, filter),
            Request::Lookup(request) => answer::lookup(self, request),
            Request::Explain(request) => explain::explain(self, request),
            Request::Ping(request) => ping::start(self, request),
            Request::ClearCounters => counters::clear(self),
            Request::ConfigHistory => history::history(self),
            Request::ConfigShow { number, secrets } => history::show(self, *number, *secrets),
            Request::ConfigDiff { from, to, secrets } => history::diff(self, *from, *to, *secrets),
            _ => {
                let order = Order { request, terms, text, by: Some(author) };
                return self.change_for(order, Some(reply));
            }
        };
        reply.send(answer);
    }
}
