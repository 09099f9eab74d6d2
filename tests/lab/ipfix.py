"""Reads IPFIX (RFC 7011), from whatever session it came or from a file (RFC 5655), and refuses what these do not allow.

Records are read by the templates of their session, in whatever order these have the fields. Elements of enterprises are
read as octets, until a type record (RFC 5610) has said what they are.

    python3 ipfix.py FILE        prints the records of a file, a line each
"""

import collections
import dataclasses
import functools
import socket
import struct
import sys
import time

HEADER, SET, FIELD = struct.Struct("!HHIII"), struct.Struct("!HH"), struct.Struct("!HH")
VERSION, TEMPLATES, OPTIONS, FIRST_DATA = 10, 2, 3, 256
VARIABLE, ENTERPRISE = 0xFFFF, 0x8000

# Information elements (the registry of IANA): name, type.
ELEMENTS = {
    1: ("octetDeltaCount", "unsigned64"), 2: ("packetDeltaCount", "unsigned64"),
    4: ("protocolIdentifier", "unsigned8"), 5: ("ipClassOfService", "unsigned8"), 6: ("tcpControlBits", "unsigned16"),
    7: ("sourceTransportPort", "unsigned16"), 8: ("sourceIPv4Address", "ipv4Address"),
    10: ("ingressInterface", "unsigned32"), 11: ("destinationTransportPort", "unsigned16"),
    12: ("destinationIPv4Address", "ipv4Address"), 14: ("egressInterface", "unsigned32"),
    27: ("sourceIPv6Address", "ipv6Address"), 28: ("destinationIPv6Address", "ipv6Address"),
    32: ("icmpTypeCodeIPv4", "unsigned16"), 34: ("samplingInterval", "unsigned32"),
    41: ("exportedMessageTotalCount", "unsigned64"), 42: ("exportedFlowRecordTotalCount", "unsigned64"),
    82: ("interfaceName", "string"), 89: ("forwardingStatus", "unsigned8"), 136: ("flowEndReason", "unsigned8"),
    139: ("icmpTypeCodeIPv6", "unsigned16"), 149: ("observationDomainId", "unsigned32"),
    152: ("flowStartMilliseconds", "dateTimeMilliseconds"), 153: ("flowEndMilliseconds", "dateTimeMilliseconds"),
    164: ("ignoredPacketTotalCount", "unsigned64"), 165: ("ignoredOctetTotalCount", "unsigned64"),
    166: ("notSentFlowTotalCount", "unsigned64"), 234: ("ingressVRFID", "unsigned32"),
    235: ("egressVRFID", "unsigned32"), 236: ("VRFname", "string"), 256: ("ethernetType", "unsigned16"),
    303: ("informationElementId", "unsigned16"), 305: ("samplingPacketInterval", "unsigned32"),
    306: ("samplingPacketSpace", "unsigned32"), 309: ("samplingSize", "unsigned32"),
    310: ("samplingPopulation", "unsigned32"), 339: ("informationElementDataType", "unsigned8"),
    341: ("informationElementName", "string"), 344: ("informationElementSemantics", "unsigned8"),
    346: ("privateEnterpriseNumber", "unsigned32"), 352: ("layer2OctetDeltaCount", "unsigned64"),
    417: ("postLayer2OctetDeltaCount", "unsigned64"),
}
# By their numbers (RFC 5610 3.1), those that are used here.
TYPES = {0: "octetArray", 1: "unsigned8", 2: "unsigned16", 3: "unsigned32", 4: "unsigned64", 13: "string",
         15: "dateTimeMilliseconds", 18: "ipv4Address", 19: "ipv6Address"}
FIXED = {"ipv4Address": 4, "ipv6Address": 16, "dateTimeMilliseconds": 8}
UNTYPED = ("", "octetArray")
UNSIGNED = {"unsigned8": 1, "unsigned16": 2, "unsigned32": 4, "unsigned64": 8}


class Malformed(Exception):
    """What the RFC does not allow."""


def demand(condition, what):
    if not condition:
        raise Malformed(what)


@dataclasses.dataclass(frozen=True)
class Field:
    """A field specifier (RFC 7011 3.2)."""

    element: int
    length: int
    enterprise: int = 0

    @functools.cached_property
    def key(self):
        """How a record has it: its name, or (enterprise, element)."""
        return (self.enterprise, self.element) if self.enterprise else ELEMENTS[self.element][0]

    @property
    def least(self):
        """The fewest octets that it takes."""
        return 1 if self.length == VARIABLE else self.length

    def check(self):
        demand(self.element, "an information element 0")
        demand(self.length, f"{self}: no octets")
        if self.enterprise:
            return
        demand(self.element in ELEMENTS, f"{self}: nobody here knows it")
        kind = ELEMENTS[self.element][1]
        # Reduced-size encoding (RFC 7011 6.2) is for numbers alone.
        fits = self.length == FIXED[kind] if kind in FIXED else self.length <= UNSIGNED.get(kind, VARIABLE)
        demand(fits, f"{self}: a {kind} is not so long")


@dataclasses.dataclass(frozen=True)
class Template:
    number: int
    fields: tuple
    scopes: int = 0  # how many of the fields are the scope; 0: no options template

    @functools.cached_property
    def least(self):
        """The fewest octets of a record."""
        return sum(field.least for field in self.fields)


@dataclasses.dataclass
class Record:
    """A data record: `record["packetDeltaCount"]`, `record[32473, 1]`."""

    template: Template
    values: dict
    exported: int  # the time of the message, in seconds
    domain: int

    @property
    def number(self):
        return self.template.number

    def __getitem__(self, key):
        return self.values[key]

    def get(self, key, default=None):
        return self.values.get(key, default)


class Octets:
    """What is left of a message or of a set."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def __len__(self):
        return len(self.data) - self.at

    def take(self, count, what):
        start = self.at
        self.at += count
        if self.at > len(self.data):
            raise Malformed(f"{what}: {count} octets where {len(self.data) - start} are left")
        return self.data[start:self.at]

    def unpack(self, form, what):
        return form.unpack(self.take(form.size, what))


class Session:
    """A transport session, and what it has defined. `transport`: "udp", "tcp" or "file"; no message is from before
    `earliest`."""

    def __init__(self, transport, earliest=None):
        self.transport = transport
        self.latest = int(time.time()) - 86_400 if earliest is None else int(earliest)
        self.templates = {}  # by domain and number
        self.defined = collections.Counter()  # how often, by number
        self.types = {}  # of enterprises' elements: name and type
        self.expected = {}  # the next sequence number, by domain
        self.gaps = []  # (domain, sequence number expected, and found)
        self.messages = self.octets = 0

    def message(self, data):
        """The data records of a message, which is these octets and no others."""
        octets = Octets(data)
        version, length, exported, sequence, domain = octets.unpack(HEADER, "a header")
        demand(version == VERSION, f"version {version}")
        demand(length == len(data), f"a message of {len(data)} octets says {length}")
        now = time.time()
        demand(self.latest <= exported <= now, f"exported at {exported}, after {self.latest}; it is {now:.0f}")
        self.latest = exported
        records = []
        while len(octets):
            records += self.set(octets, exported, domain)
        self.count(domain, sequence, len(records))
        self.messages += 1
        self.octets += len(data)
        return records

    def count(self, domain, sequence, records):
        """The number of data records before this message (RFC 7011 3.1). By UDP the beginning may have been missed."""
        expected = self.expected.get(domain, sequence if self.transport == "udp" else 0)
        if sequence != expected:
            self.gaps.append((domain, expected, sequence))
        self.expected[domain] = (sequence + records) % 2**32

    def set(self, octets, exported, domain):
        """The data records of the next set (RFC 7011 3.3)."""
        number, length = octets.unpack(SET, "a set's header")
        demand(length > SET.size, f"set {number} has a length of {length}: no record")
        inside = Octets(octets.take(length - SET.size, f"set {number}"))
        if number in (TEMPLATES, OPTIONS):
            # A template needs more than 3 octets.
            while len(inside) > 3:
                self.define(inside, number, domain)
            least, records = 4, []
        else:
            demand(number >= FIRST_DATA, f"set id {number} is reserved")
            demand((domain, number) in self.templates, f"a set of template {number}, which nobody defined")
            template = self.templates[domain, number]
            least, records = template.least, []
            while len(inside) >= least:
                records.append(self.record(inside, template, exported, domain))
            demand(records, f"a set of template {number} without a record")
        padding = inside.take(len(inside), "padding")
        demand(len(padding) < least and not any(padding), f"set {number}: padding {padding.hex()}")
        return records

    def define(self, inside, kind, domain):
        """Takes a template (RFC 7011 3.4), or its withdrawal (8.1)."""
        number, count = inside.unpack(FIELD, "a template's header")
        if not count:
            return self.withdraw(number, kind, domain)
        demand(number >= FIRST_DATA, f"template {number}: the number is reserved")
        scopes = int.from_bytes(inside.take(2, "a scope field count"), "big") if kind == OPTIONS else 0
        right = (kind == OPTIONS) == (scopes > 0) and scopes <= count
        demand(right, f"template {number}: {scopes} of {count} fields are the scope")
        template = Template(number, tuple(self.field(inside) for _ in range(count)), scopes)
        # The RFC allows it, but a record is a dictionary here.
        demand(len({field.key for field in template.fields}) == count, f"template {number} has a field twice")
        self.defined[number] += 1
        known = self.templates.setdefault((domain, number), template)
        demand(known == template, f"template {number} changes without a withdrawal: {known}, {template}")
        return None

    def withdraw(self, number, kind, domain):
        demand(self.transport == "tcp", f"template {number} is withdrawn by {self.transport}")
        options = kind == OPTIONS
        every = [key for key, template in self.templates.items()
                 if key[0] == domain and bool(template.scopes) == options]
        gone = every if number == kind else [key for key in every if key[1] == number]
        demand(gone or number == kind, f"template {number} is withdrawn, which nobody defined")
        for key in gone:
            del self.templates[key]

    @staticmethod
    def field(inside):
        element, length = inside.unpack(FIELD, "a field specifier")
        enterprise = 0
        if element & ENTERPRISE:
            enterprise = int.from_bytes(inside.take(4, "an enterprise number"), "big")
            demand(enterprise, "enterprise 0: that is IANA's, and has no enterprise bit")
        field = Field(element & ~ENTERPRISE, length, enterprise)
        field.check()
        return field

    def record(self, inside, template, exported, domain):
        values = {}
        for field in template.fields:
            length = field.length
            if length == VARIABLE:  # RFC 7011 7
                length = inside.take(1, "a length")[0]
                if length == 255:
                    length = int.from_bytes(inside.take(2, "a long length"), "big")
            values[field.key] = self.value(field, inside.take(length, field.key))
        record = Record(template, values, exported, domain)
        self.learn(record)
        times(record)
        return record

    def value(self, field, octets):
        kind = self.types.get(field.key, UNTYPED)[1] if field.enterprise else ELEMENTS[field.element][1]
        if kind == "string":
            try:
                return octets.decode()
            except UnicodeDecodeError as error:
                raise Malformed(f"{field.key}: {error}") from None
        if kind in ("ipv4Address", "ipv6Address"):
            family = socket.AF_INET6 if kind == "ipv6Address" else socket.AF_INET
            return socket.inet_ntop(family, octets)
        return octets if kind == "octetArray" else int.from_bytes(octets, "big")

    def learn(self, record):
        """What a type record says of an enterprise's element (RFC 5610 3)."""
        if "informationElementDataType" not in record.values:
            return
        number = record["informationElementDataType"]
        demand(number in TYPES, f"an element of type {number}")
        # The enterprise bit is not to be there, and to be ignored.
        key = record["privateEnterpriseNumber"], record["informationElementId"] & ~ENTERPRISE
        told = record["informationElementName"], TYPES[number]
        demand(self.types.setdefault(key, told) == told, f"element {key} was {self.types[key]} and is {told}")


def times(record):
    """A flow begins before it ends, and has ended when it is told. The message tells whole seconds, rounded down."""
    start, end = record.get("flowStartMilliseconds"), record.get("flowEndMilliseconds")
    if start is not None and not start <= end < (record.exported + 1) * 1000:
        raise Malformed(f"a flow from {start} to {end} ms, told at {record.exported} s")


def split(stream):
    """The messages of a stream of octets, and what is left at its end of one that is not all there."""
    messages, at = [], 0
    while at + HEADER.size <= len(stream):
        version, length = SET.unpack_from(stream, at)
        demand(version == VERSION and length >= HEADER.size, f"at octet {at}: version {version}, length {length}")
        if at + length > len(stream):
            break
        messages.append(bytes(stream[at:at + length]))
        at += length
    return messages, bytes(stream[at:])


def read(stream, session):
    """The data records of a whole stream or file."""
    messages, rest = split(stream)
    demand(not rest, f"{len(rest)} octets behind the last message")
    return [record for message in messages for record in session.message(message)]


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as file:
        for found in read(file.read(), Session("file")):
            print(found.number, found.values)
