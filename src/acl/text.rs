//! Rules as people write them: station.toml(5) has the grammar.

use std::fmt;
use std::str::FromStr;

use ipnet::IpNet;

use super::packet::SCTP;
use super::rule::{Action, Family, Flags, Rule, Span};
use crate::wire::ipv4::{ICMP, TCP, UDP};
use crate::wire::ipv6::ICMPV6;

/// Why a text is no rule, and what to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// What is wrong.
    pub message: String,
    /// What to write.
    pub help: String,
}

/// A rule of which the rest may be left out.
const EXAMPLE: &str = "permit tcp from 10.0.0.0/8 to any port 443";

fn wrong<T>(message: impl Into<String>, help: impl Into<String>) -> Result<T, RuleError> {
    Err(RuleError { message: message.into(), help: help.into() })
}

/// The protocols that have names, and the family that a name goes with.
const PROTOCOLS: [(&str, Option<u8>, Option<Family>); 12] = [
    ("ip", None, None),
    ("ipv4", None, Some(Family::V4)),
    ("ipv6", None, Some(Family::V6)),
    ("tcp", Some(TCP), None),
    ("udp", Some(UDP), None),
    ("sctp", Some(SCTP), None),
    ("icmp", Some(ICMP), Some(Family::V4)),
    ("icmp6", Some(ICMPV6), Some(Family::V6)),
    ("gre", Some(47), None),
    ("esp", Some(50), None),
    ("ah", Some(51), None),
    ("ospf", Some(89), None),
];

/// The flags of TCP (RFC 9293 3.1), from the lowest bit on.
const FLAGS: [&str; 8] = ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"];
/// ACK or RST: no segment that opens a connection.
const ESTABLISHED: u8 = 0x14;

/// The words of a rule that are left.
struct Words<'a>(std::iter::Peekable<std::str::SplitAsciiWhitespace<'a>>);

impl<'a> Words<'a> {
    fn take(&mut self, word: &str) -> bool {
        self.0.next_if(|next| *next == word).is_some()
    }

    fn need(&mut self, after: &str, example: &str) -> Result<&'a str, RuleError> {
        let next = self.0.next();
        next.map_or_else(|| wrong(format!("ends after {after:?}"), format!("write {example}")), Ok)
    }
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Rule, RuleError> {
        let mut words = Words(text.split_ascii_whitespace().peekable());
        let action = match words.0.next() {
            Some("permit") => Action::Permit,
            Some("deny") => Action::Deny,
            Some("reject") => Action::Reject,
            Some(word) => {
                let help = format!("begin with permit, deny or reject: {EXAMPLE:?}");
                return wrong(format!("begins with {word:?}"), help);
            }
            None => return wrong("is empty", format!("write a rule like {EXAMPLE:?}")),
        };
        let mut rule = Rule {
            action,
            family: None,
            protocol: None,
            source: None,
            destination: None,
            source_ports: Span::ALL,
            destination_ports: Span::ALL,
            flags: Flags::default(),
            icmp: None,
            fragment: false,
        };
        protocol(&mut words, &mut rule)?;
        if words.take("from") {
            (rule.source, rule.source_ports) = end(&mut words, "from", rule.protocol)?;
        }
        if words.take("to") {
            (rule.destination, rule.destination_ports) = end(&mut words, "to", rule.protocol)?;
        }
        while let Some(word) = words.0.next() {
            option(word, &mut words, &mut rule)?;
        }
        families(&rule)?;
        if rule.fragment && rule.beyond().needs_upper() {
            let message = "fragments other than the first have neither ports, flags nor types";
            return wrong(message, "leave out fragment, or what it does not go with");
        }
        Ok(rule)
    }
}

/// The protocol, where the next word is one.
fn protocol(words: &mut Words<'_>, rule: &mut Rule) -> Result<(), RuleError> {
    let Some(word) = words.0.peek().copied() else { return Ok(()) };
    let named = PROTOCOLS.iter().find(|(name, ..)| *name == word);
    if let Some(&(_, protocol, family)) = named {
        (rule.protocol, rule.family) = (protocol, family);
    } else if word == "protocol" {
        words.0.next();
        let number = words.need("protocol", "a number from 0 to 255 behind it")?;
        let Ok(number) = number.parse() else {
            let help = "write a number from 0 to 255 behind protocol";
            return wrong(format!("{number:?} is no protocol number"), help);
        };
        rule.protocol = Some(number);
        return Ok(());
    } else if matches!(word, "from" | "to" | "fragment" | "established" | "flags" | "type") {
        return Ok(());
    } else {
        let names: Vec<&str> = PROTOCOLS.iter().map(|(name, ..)| *name).collect();
        let help = format!(
            "write one of {}, protocol NUMBER, or nothing for all; then from and to: {EXAMPLE:?}",
            names.join(", ")
        );
        return wrong(format!("{word:?} is no protocol"), help);
    }
    words.0.next();
    Ok(())
}

/// An address or prefix and its ports, behind `from` or `to`.
fn end(
    words: &mut Words<'_>,
    which: &str,
    protocol: Option<u8>,
) -> Result<(Option<IpNet>, Span), RuleError> {
    let word = words.need(which, "any, an address or a prefix behind it")?;
    let net = match word {
        "any" => None,
        word => Some(prefix(word)?),
    };
    if !words.take("port") {
        return Ok((net, Span::ALL));
    }
    if !matches!(protocol, Some(TCP | UDP | SCTP)) {
        let help = "write tcp, udp or sctp behind the action, or leave the port out";
        return wrong("has a port, and no protocol that has ports", help);
    }
    let word = words.need("port", "a port like 443, or a range like 8000-8080")?;
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if first <= last => Ok((net, Span { first, last })),
        (Ok(first), Ok(last)) => {
            let help = format!("write {last}-{first}");
            wrong(format!("the range {word} ends before it begins"), help)
        }
        _ => {
            let help = "write a number from 0 to 65535, or two like 8000-8080";
            wrong(format!("{word:?} is no port"), help)
        }
    }
}

fn prefix(word: &str) -> Result<IpNet, RuleError> {
    let net =
        word.parse().or_else(|_| word.parse().map(|address: std::net::IpAddr| address.into()));
    let Ok(net) = net else {
        let help = "write any, an address, or a prefix like 10.0.0.0/8 or 2001:db8::/32";
        return wrong(format!("{word:?} is no prefix"), help);
    };
    let net: IpNet = net;
    if net.trunc() != net {
        let help = format!("write {}", net.trunc());
        return wrong(format!("{net} has bits set after /{}", net.prefix_len()), help);
    }
    // What all packets of a family have is `any`, and the family.
    Ok(net)
}

fn option(word: &str, words: &mut Words<'_>, rule: &mut Rule) -> Result<(), RuleError> {
    let tcp = |rule: &Rule| match rule.protocol {
        Some(TCP) => Ok(()),
        _ => wrong(format!("{word} goes with tcp"), format!("write tcp, or leave out {word}")),
    };
    match word {
        "fragment" => rule.fragment = true,
        "established" => {
            tcp(rule)?;
            rule.flags.any = ESTABLISHED;
        }
        "flags" => {
            tcp(rule)?;
            let list = words.need("flags", "flags behind it, like syn,!ack")?;
            for name in list.split(',') {
                let (name, set) = name.strip_prefix('!').map_or((name, true), |name| (name, false));
                let Some(bit) = FLAGS.iter().position(|flag| *flag == name) else {
                    let help = format!("write some of {}, with ! for not", FLAGS.join(", "));
                    return wrong(format!("{name:?} is no TCP flag"), help);
                };
                *(if set { &mut rule.flags.set } else { &mut rule.flags.clear }) |= 1 << bit;
            }
            if rule.flags.set & rule.flags.clear != 0 {
                return wrong(
                    format!("{list} asks for a flag and for its absence"),
                    "leave one out",
                );
            }
        }
        "type" | "code" => {
            let is_icmp = matches!(rule.protocol, Some(ICMP | ICMPV6)) && rule.family.is_some();
            if !is_icmp {
                let help = format!("write icmp or icmp6, or leave out {word}");
                return wrong(format!("{word} goes with icmp and icmp6"), help);
            }
            let text = words.need(word, "a number from 0 to 255 behind it")?;
            let Ok(number) = text.parse() else {
                let help = format!("write a number from 0 to 255 behind {word}");
                return wrong(format!("{text:?} is no ICMP {word}"), help);
            };
            rule.icmp = match (word, rule.icmp) {
                ("type", None) => Some((number, None)),
                ("code", Some((kind, None))) => Some((kind, Some(number))),
                ("code", None) => {
                    return wrong("has a code without a type", "write type NUMBER code NUMBER");
                }
                _ => return wrong(format!("has two of {word}"), "make two rules of it"),
            };
        }
        "from" | "to" | "port" => {
            let message = format!("{word:?} stands where it does not belong");
            return wrong(message, format!("write from before to, each once: {EXAMPLE:?}"));
        }
        _ => {
            let help = "behind the addresses there may be established, flags, type, code, fragment";
            return wrong(format!("{word:?} is unknown"), help);
        }
    }
    Ok(())
}

/// Refuses what no packet can be.
fn families(rule: &Rule) -> Result<(), RuleError> {
    let of = |net: &IpNet| if net.addr().is_ipv4() { Family::V4 } else { Family::V6 };
    let all = [rule.family, rule.source.as_ref().map(of), rule.destination.as_ref().map(of)];
    let mut all = all.into_iter().flatten();
    let first = all.next();
    if all.any(|family| Some(family) != first) {
        let help = "write both addresses and the protocol of one family";
        return wrong("is about IPv4 and IPv6 at once", help);
    }
    Ok(())
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Action::Permit => "permit",
            Action::Deny => "deny",
            Action::Reject => "reject",
        })
    }
}

impl fmt::Display for Rule {
    /// As the grammar has it. Rules that match the same by the same words are shown the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.action)?;
        let named = PROTOCOLS
            .iter()
            .find(|(_, number, family)| *number == self.protocol && *family == self.family);
        match (named, self.protocol) {
            (Some((name, ..)), _) => write!(f, " {name}")?,
            (None, Some(number)) => write!(f, " protocol {number}")?,
            (None, None) => {}
        }
        let end = |f: &mut fmt::Formatter<'_>, word, net: Option<IpNet>, ports: Span| {
            match net {
                Some(net) if net.prefix_len() == net.max_prefix_len() => {
                    write!(f, " {word} {}", net.addr())?;
                }
                Some(net) => write!(f, " {word} {net}")?,
                None => write!(f, " {word} any")?,
            }
            match ports {
                Span::ALL => Ok(()),
                Span { first, last } if first == last => write!(f, " port {first}"),
                Span { first, last } => write!(f, " port {first}-{last}"),
            }
        };
        end(f, "from", self.source, self.source_ports)?;
        end(f, "to", self.destination, self.destination_ports)?;
        let Flags { set, clear, any } = self.flags;
        if any != 0 {
            f.write_str(" established")?;
        }
        let names = |bits: u8, not: &str| {
            let bits = FLAGS.iter().enumerate().filter(move |(bit, _)| bits >> bit & 1 == 1);
            bits.map(|(_, name)| format!("{not}{name}")).collect::<Vec<_>>()
        };
        let flags = [names(set, ""), names(clear, "!")].concat();
        if !flags.is_empty() {
            write!(f, " flags {}", flags.join(","))?;
        }
        if let Some((kind, code)) = self.icmp {
            write!(f, " type {kind}")?;
            code.map_or(Ok(()), |code| write!(f, " code {code}"))?;
        }
        if self.fragment {
            f.write_str(" fragment")?;
        }
        Ok(())
    }
}
