//! The information elements of the records, and their templates. Names and numbers are IANA's ("IP Flow Information Export
//! (IPFIX) Entities").

/// A field of a template: the element and its length in octets; [`VARIABLE`] where each record says it.
pub(super) type Field = (u16, u16);

/// A length that each record says (RFC 7011 section 7).
pub(super) const VARIABLE: u16 = 65_535;
/// The bit of an element's number that says that an enterprise number follows (RFC 7011 3.2).
pub(super) const ENTERPRISE: u16 = 1 << 15;
/// The station's own element, under the operator's enterprise number: the verdict in words.
pub(super) const VERDICT: u16 = 1;

/// Sets' ids: templates and options templates have RFC 7011's, records have their template's.
pub(super) const TEMPLATES: u16 = 2;
pub(super) const OPTIONS_TEMPLATES: u16 = 3;
pub(super) const FLOW4: u16 = 256;
pub(super) const FLOW6: u16 = 257;
pub(super) const FLOW_OTHER: u16 = 258;
pub(super) const INTERFACE: u16 = 259;
pub(super) const VRF: u16 = 260;
pub(super) const EXPORTED: u16 = 261;
pub(super) const TYPE: u16 = 262;

const START_MS: Field = (152, 8);
const END_MS: Field = (153, 8);
const INGRESS_INTERFACE: Field = (10, 4);
const INGRESS_VRF: Field = (234, 4);

/// What a record of each family begins with.
const HEAD4: [Field; 10] = [
    START_MS,
    END_MS,
    (8, 4),  // sourceIPv4Address
    (12, 4), // destinationIPv4Address
    (7, 2),  // sourceTransportPort
    (11, 2), // destinationTransportPort
    (4, 1),  // protocolIdentifier
    (5, 1),  // ipClassOfService
    (6, 1),  // tcpControlBits, of which collectors read but one octet
    (32, 2), // icmpTypeCodeIPv4
];
const HEAD6: [Field; 10] = [
    START_MS,
    END_MS,
    (27, 16), // sourceIPv6Address
    (28, 16), // destinationIPv6Address
    (7, 2),
    (11, 2),
    (4, 1),
    (5, 1),
    (6, 1),
    (139, 2), // icmpTypeCodeIPv6
];
const HEAD_OTHER: [Field; 3] = [START_MS, END_MS, (256, 2)]; // ethernetType

/// What every record goes on with.
const TAIL: [Field; 12] = [
    INGRESS_INTERFACE,
    (14, 4), // egressInterface
    INGRESS_VRF,
    (235, 4), // egressVRFID
    (2, 8),   // packetDeltaCount
    (1, 8),   // octetDeltaCount
    (352, 8), // layer2OctetDeltaCount
    (417, 8), // postLayer2OctetDeltaCount
    (310, 4), // samplingPopulation
    (34, 4),  // samplingInterval: the same, as collectors read it
    (89, 1),  // forwardingStatus
    (136, 1), // flowEndReason
];

/// An options template: its id, and its scope and other fields.
type Options = (u16, &'static [Field], &'static [Field]);

const OPTIONS: [Options; 3] = [
    (INTERFACE, &[INGRESS_INTERFACE], &[(82, VARIABLE)]), // interfaceName
    (VRF, &[INGRESS_VRF], &[(236, VARIABLE)]),            // VRFname
    (
        EXPORTED,
        &[(149, 4)], // observationDomainId
        // exportedMessageTotalCount, exportedFlowRecordTotalCount, ignoredPacketTotalCount,
        // ignoredOctetTotalCount, notSentFlowTotalCount
        &[(41, 8), (42, 8), (164, 8), (165, 8), (166, 8)],
    ),
];

/// RFC 5610: privateEnterpriseNumber and informationElementId; informationElementDataType, informationElementSemantics,
/// informationElementName.
const TYPES: Options = (TYPE, &[(346, 4), (303, 2)], &[(339, 1), (344, 1), (341, VARIABLE)]);

/// The sets of all templates, with the station's own element where there is an enterprise number for it.
pub(super) fn templates(enterprise: Option<u32>) -> Vec<u8> {
    let mut sets = Vec::new();
    let mut set = |id: u16, templates: Vec<u8>| {
        put(&mut sets, &[id, u16::try_from(templates.len() + 4).unwrap_or(u16::MAX)]);
        sets.extend(templates);
    };
    let mut flows = Vec::new();
    for (id, head) in [(FLOW4, &HEAD4[..]), (FLOW6, &HEAD6), (FLOW_OTHER, &HEAD_OTHER)] {
        put(&mut flows, &[id, count(head) + count(&TAIL) + u16::from(enterprise.is_some())]);
        fields(&mut flows, head.iter().chain(&TAIL));
        if let Some(number) = enterprise {
            put(&mut flows, &[ENTERPRISE | VERDICT, VARIABLE]);
            flows.extend(number.to_be_bytes());
        }
    }
    set(TEMPLATES, flows);
    // A set each: there are collectors that read but the first of a set.
    for (id, scope, others) in OPTIONS.into_iter().chain(enterprise.map(|_| TYPES)) {
        let mut options = Vec::new();
        put(&mut options, &[id, count(scope) + count(others), count(scope)]);
        fields(&mut options, scope.iter().chain(others));
        set(OPTIONS_TEMPLATES, options);
    }
    sets
}

fn count(fields: &[Field]) -> u16 {
    u16::try_from(fields.len()).unwrap_or(u16::MAX)
}

fn put(to: &mut Vec<u8>, numbers: &[u16]) {
    numbers.iter().for_each(|number| to.extend(number.to_be_bytes()));
}

fn fields<'a>(to: &mut Vec<u8>, fields: impl Iterator<Item = &'a Field>) {
    fields.for_each(|&(element, length)| put(to, &[element, length]));
}
