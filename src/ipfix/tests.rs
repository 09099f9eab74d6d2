//! Messages as a collector reads them, and sinks that fail.

use std::collections::HashMap;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use super::*;
use crate::config::model::{Collector, Transport};
use crate::worker::flows::{EndReason, Family, Flow};

const FORMAT: Format = Format { domain: 7, enterprise: Some(32_473) };

fn word(octets: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([octets[at], octets[at + 1]])
}

/// What a collector knows of a session: templates as fields of (element, length), by id.
#[derive(Default)]
struct Reader {
    templates: HashMap<u16, Vec<(u16, u16)>>,
    sequence: u32,
}

type Record = HashMap<u16, Vec<u8>>;

impl Reader {
    /// Reads a message: records by template.
    fn read(&mut self, message: &[u8]) -> Vec<(u16, Record)> {
        assert_eq!((word(message, 0), usize::from(word(message, 2))), (10, message.len()));
        let sequence = u32::from_be_bytes(message[8..12].try_into().unwrap());
        assert_eq!(sequence, self.sequence);
        assert_eq!(message[12..16], FORMAT.domain.to_be_bytes());
        let (mut at, mut records) = (16, Vec::new());
        while at < message.len() {
            let (id, end) = (word(message, at), at + usize::from(word(message, at + 2)));
            let set = &message[at + 4..end];
            match id {
                2 => self.learn(set, 4),
                3 => self.learn(set, 6),
                _ => records.extend(self.records(id, set).into_iter().map(|record| (id, record))),
            }
            at = end;
        }
        self.sequence += u32::try_from(records.len()).unwrap();
        records
    }

    fn learn(&mut self, set: &[u8], head: usize) {
        let mut at = 0;
        while at < set.len() {
            let (id, count) = (word(set, at), word(set, at + 2));
            at += head;
            let mut fields = Vec::new();
            for _ in 0..count {
                let element = word(set, at);
                fields.push((element, word(set, at + 2)));
                at += if element >> 15 == 1 { 8 } else { 4 };
            }
            self.templates.insert(id, fields);
        }
    }

    fn records(&self, id: u16, set: &[u8]) -> Vec<Record> {
        let (mut at, mut records) = (0, Vec::new());
        while at < set.len() {
            let mut record = Record::new();
            for &(element, length) in &self.templates[&id] {
                let length = if length == 65_535 {
                    at += 1;
                    usize::from(set[at - 1])
                } else {
                    length.into()
                };
                record.insert(element, set[at..at + length].to_vec());
                at += length;
            }
            records.push(record);
        }
        records
    }
}

fn flow(packets: u64) -> Flow {
    let mut flow = Flow::default();
    flow.key.source = 0x0a01_0009;
    flow.key.destination = 0x0a40_0001;
    flow.key.ports = 4000 << 16 | 443;
    flow.key.interval = 100;
    (flow.key.protocol, flow.key.family) = (6, Family::V4);
    (flow.counts.packets, flow.counts.start_ns, flow.end) = (packets, 5_000_000, EndReason::Idle);
    flow
}

fn messages(flows: u64) -> Vec<Arc<Message>> {
    let mut packer = Packer::default();
    let from = Interface { vif: 4, vrf: 2 };
    let seen = Seen { from, to: Interface::default(), epoch_ms: 1_000_000 };
    (1..=flows).for_each(|packets| FORMAT.flow(&mut packer, &flow(packets), &seen));
    packer.take(true).into_iter().map(Arc::new).collect()
}

fn common() -> Arc<Common> {
    Arc::new(Common::new(FORMAT, Names::default()))
}

fn at(address: SocketAddr, transport: Transport) -> Target {
    Target::Collector(Collector { transport, address })
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_is_written_is_read_by_its_templates() {
    let (mut reader, counts) = (Reader::default(), Counts::default());
    let mut sequence = 0;
    let mut read = |message: &Message| {
        let octets = message.stamped(1_800_000_000, sequence, FORMAT.domain);
        assert!(octets.len() <= 1400, "{}", octets.len());
        sequence += message.records;
        reader.read(&octets)
    };
    for message in FORMAT.preamble(&Names::default(), &counts) {
        read(&message);
    }
    let records: Vec<_> = messages(100).iter().flat_map(|message| read(message)).collect();
    assert_eq!(records.len(), 100);
    for (number, (template, record)) in (1_u64..).zip(records) {
        assert_eq!(template, 256);
        assert_eq!(record[&2], number.to_be_bytes());
        assert_eq!(record[&8], [10, 1, 0, 9]);
        assert_eq!((word(&record[&7], 0), word(&record[&11], 0)), (4000, 443));
        assert_eq!((&record[&10][..], &record[&14][..]), (&[0, 0, 0, 4][..], &[0; 4][..]));
        assert_eq!(record[&152], 1_000_005_u64.to_be_bytes());
        assert_eq!(record[&310], 100_u32.to_be_bytes());
        assert_eq!((&record[&89][..], &record[&136][..]), (&[64][..], &[1][..]));
        assert_eq!(record[&(1 << 15 | 1)], b"forward");
    }
}

/// Datagrams that a collector's host refuses are lost, and counted; it is told once.
#[test]
fn a_dead_collector_by_udp_is_counted() {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap();
    drop(port);
    let (told, tell) = mpsc::channel();
    let tell_it = move |what| told.send(what).unwrap();
    let sink = Sink::start(at(address, Transport::Udp), common(), tell_it).unwrap();
    for message in messages(200) {
        sink.send(&message);
    }
    let stats = sink.stats();
    let done = || stats.counts().lost_records + stats.counts().records >= 199;
    wait_until("all are sent or lost", done);
    assert!(stats.counts().lost_records > 80, "{:?}", stats.counts());
    assert!(matches!(tell.recv().unwrap(), Told::Down(_)));
    sink.end().join().unwrap();
    assert!(tell.try_recv().is_err(), "told once");
}

/// Reads a session to its end, or until `enough`, and closes it.
fn read_session(listener: &TcpListener, enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let (mut connection, _) = listener.accept().unwrap();
    let (mut octets, mut piece) = (Vec::new(), [0; 4096]);
    while !enough(&octets) {
        match connection.read(&mut piece).unwrap() {
            0 => break,
            n => octets.extend(&piece[..n]),
        }
    }
    octets
}

/// Flows in the messages of a session.
fn flows_in(octets: &[u8]) -> u64 {
    let mut reader = Reader::default();
    let mut read =
        |message| reader.read(message).iter().filter(|(id, _)| *id == 256).count() as u64;
    split(octets).into_iter().map(&mut read).sum()
}

fn split(octets: &[u8]) -> Vec<&[u8]> {
    let (mut at, mut messages) = (0, Vec::new());
    while at + 16 <= octets.len() {
        let end = at + usize::from(word(octets, at + 2));
        let Some(message) = octets.get(at..end) else { break };
        messages.push(message);
        at = end;
    }
    messages
}

/// A connection begins with templates each time, and what the collector's end has not taken is sent in the next one.
#[test]
fn a_collector_by_tcp_that_restarts_gets_all() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = at(listener.local_addr().unwrap(), Transport::Tcp);
    let sink = Sink::start(target, common(), |_| {}).unwrap();
    messages(300).iter().for_each(|message| sink.send(message));
    let first = flows_in(&read_session(&listener, |octets| flows_in(octets) == 300));
    messages(200).iter().for_each(|message| sink.send(message));
    let thread = std::thread::spawn(move || flows_in(&read_session(&listener, |_| false)));
    let stats = sink.stats();
    wait_until("all are sent", || stats.counts().records == 500);
    sink.end().join().unwrap();
    let counts = stats.counts();
    assert_eq!((first, thread.join().unwrap()), (300, 200));
    assert_eq!((counts.records, counts.lost_records, counts.sessions), (500, 0, 2));
}

/// A collector that takes nothing: what its host never acknowledged is lost with the connection, and counted.
#[test]
fn a_collector_by_tcp_that_hangs_is_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::sockopt::set_socket_recv_buffer_size(&listener, 4096).unwrap();
    let target = at(listener.local_addr().unwrap(), Transport::Tcp);
    let sink = Sink::start(target, common(), |_| {}).unwrap();
    let (connection, _) = listener.accept().unwrap();
    let stats = sink.stats();
    messages(1000).iter().for_each(|message| sink.send(message));
    wait_until("all are sent", || stats.counts().records == 1000);
    drop(connection);
    wait_until("it is noticed", || {
        messages(1).iter().for_each(|message| sink.send(message));
        stats.counts().lost_records > 0
    });
    let counts = stats.counts();
    assert!((900..1000).contains(&counts.lost_records), "{counts:?}");
    sink.end().join().unwrap();
}

/// What is written into files is as what is sent; old files make room for new ones.
#[test]
fn files_are_whole_and_few() {
    let directory = std::env::temp_dir().join(format!("station-ipfix-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let target = Target::Files { directory: directory.clone(), octets: 160_000 };
    let sink = Sink::start(target, common(), |_| {}).unwrap();
    let stats = sink.stats();
    let mut sent = 0;
    for _ in 0..60 {
        for message in messages(100) {
            sink.send(&message);
        }
        sent += 100;
        wait_until("they are written", || stats.counts().records == sent);
    }
    sink.end().join().unwrap();
    let (mut octets, mut files) = (0, 0);
    for entry in std::fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(path.extension().unwrap(), "ipfix");
        let content = std::fs::read(&path).unwrap();
        let mut reader = Reader::default();
        let messages = split(&content);
        assert_eq!(messages.iter().map(|message| message.len()).sum::<usize>(), content.len());
        assert!(messages.into_iter().map(|message| reader.read(message).len()).sum::<usize>() > 1);
        (octets, files) = (octets + content.len(), files + 1);
    }
    assert!(files > 10 && octets <= 160_000, "{files} files of {octets} octets");
    std::fs::remove_dir_all(&directory).unwrap();
}
