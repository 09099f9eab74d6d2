//! `wire-bench trial`: one trial as of RFC 2544, of a given rate and length.

use std::str::FromStr;
use std::sync::mpsc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use ipnet::Ipv4Net;
use serde_json::{Value, json};

use crate::Error;
use crate::place::Place;
use crate::receiver::{Hook, Receiver, STREAMS};
use crate::sender::{Sender, State};

#[derive(Args)]
pub struct Options {
    /// Where frames leave: the far end of the router's first port
    #[arg(long, value_name = "[NS:]IFACE")]
    from: Place,
    /// Where they arrive: the far end of its second
    #[arg(long, value_name = "[NS:]IFACE")]
    to: Place,
    /// Frames a second of all streams together; without it as many as possible
    #[arg(long)]
    rate: Option<f64>,
    /// How long to send
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// How long to wait for the last frames
    #[arg(long, default_value_t = 50)]
    settle_ms: u64,
    /// Size of the frames
    #[arg(long, value_enum, default_value_t = Size::S64)]
    pub size: Size,
    /// VLAN ids, FIRST or FIRST-LAST, taken in turn; without it frames are not tagged
    #[arg(long)]
    pub vlans: Option<Vlans>,
    /// Their source MAC
    #[arg(long, default_value = "02:00:00:00:00:01")]
    pub source_mac: Mac,
    /// The router's MAC
    #[arg(long)]
    pub destination_mac: Mac,
    /// Source addresses, taken in turn
    #[arg(long, default_value = "10.1.0.0/24")]
    pub sources: Ipv4Net,
    /// Destination addresses, taken in turn
    #[arg(long, default_value = "198.18.1.0/24")]
    pub destinations: Ipv4Net,
    /// CPUs that send, one stream each
    #[arg(long, value_delimiter = ',', default_value = "0")]
    pub cpus: Vec<usize>,
    /// Every n-th frame carries the time; a prime does not fall into step with bursts
    #[arg(long, default_value_t = 31, value_parser = clap::value_parser!(u32).range(1..))]
    pub stamp_every: u32,
    /// The largest burst, as time: what a sender that was held up catches up with at most
    #[arg(long, default_value_t = 20.0)]
    pub catch_up_us: f64,
    /// Where frames are received
    #[arg(long, value_enum, default_value_t = Hook::Xdp)]
    receive: Hook,
}

/// Octets include 4 of FCS, which an interface adds, and not the tag, as in RFC 2544.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Size {
    /// 64 octets
    #[value(name = "64")]
    S64,
    /// 7 x 64, 4 x 570 and 1 x 1518 octets
    #[value(name = "imix")]
    Imix,
    /// Packets of 1500 octets
    #[value(name = "1500")]
    S1500,
}

impl Size {
    /// The frames of a cycle, as the sender's interface takes them: without FCS.
    pub fn octets(self, tagged: bool) -> Vec<u16> {
        let frames: &[u16] = match self {
            Size::S64 => &[64],
            Size::Imix => &[64, 570, 64, 64, 570, 64, 1518, 64, 570, 64, 64, 570],
            Size::S1500 => &[1518],
        };
        frames.iter().map(|octets| octets - 4 + if tagged { 4 } else { 0 }).collect()
    }
}

/// A range of VLAN ids.
#[derive(Clone, Copy, Debug)]
pub struct Vlans {
    pub first: u32,
    pub count: u32,
}

impl FromStr for Vlans {
    type Err = String;

    fn from_str(text: &str) -> Result<Vlans, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.parse::<u32>(), last.parse::<u32>()) {
            (Ok(first), Ok(last)) if 1 <= first && first <= last && last <= 4094 => {
                Ok(Vlans { first, count: last - first + 1 })
            }
            _ => Err("write a VLAN id of 1-4094, or two as FIRST-LAST".into()),
        }
    }
}

/// A MAC address.
#[derive(Clone, Copy, Debug)]
pub struct Mac(pub [u8; 6]);

impl FromStr for Mac {
    type Err = String;

    fn from_str(text: &str) -> Result<Mac, String> {
        let octets: Option<Vec<u8>> =
            text.split(':').map(|part| u8::from_str_radix(part, 16).ok()).collect();
        octets
            .and_then(|octets| octets.try_into().ok())
            .map(Mac)
            .ok_or_else(|| "write it as 02:00:00:00:00:01".into())
    }
}

/// Runs a trial and prints it.
pub fn run(options: &Options) -> Result<(), Error> {
    if options.cpus.is_empty() || options.cpus.len() > STREAMS {
        return Err(Error::Usage(format!("--cpus: 1 to {STREAMS} of them")));
    }
    if !(0.001..=100.0).contains(&options.seconds)
        || options.rate.is_some_and(|rate| !(1.0..=1e9).contains(&rate))
    {
        return Err(Error::Usage(
            "--seconds: 0.001 to 100; --rate: 1 to 1e9 frames a second".into(),
        ));
    }
    options.to.enter()?;
    let receiver = Receiver::attach(&options.to.interface, options.receive)?;
    let sent = send(options)?;
    std::thread::sleep(Duration::from_millis(options.settle_ms));
    println!("{}", report(&sent, &receiver)?);
    Ok(())
}

/// Sends for the trial's time.
fn send(options: &Options) -> Result<Vec<State>, Error> {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: the handler does nothing; without SA_RESTART the signal ends a system call.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
        libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut());
    }
    let rate = options.rate.map(|rate| rate / options.cpus.len() as f64);
    std::thread::scope(|scope| {
        let (started, starts) = mpsc::channel();
        let mut threads = Vec::new();
        for stream in 0..options.cpus.len() {
            let started = started.clone();
            threads.push(scope.spawn(move || {
                let interface = options.from.enter()?;
                Sender::new(options, stream, rate, interface)?.run(&started)
            }));
        }
        drop(started);
        // A sender that fails to start closes its end of the channel; its error is returned below.
        let ids: Vec<libc::pid_t> = starts.iter().take(options.cpus.len()).collect();
        if ids.len() == options.cpus.len() {
            std::thread::sleep(Duration::from_secs_f64(options.seconds));
        }
        let end = |id: libc::pid_t| {
            // SAFETY: a signal to a thread of this process, which at worst has ended.
            unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), id, libc::SIGUSR1) };
        };
        // A signal between two calls is lost on the sender: again until it has ended.
        while !threads.iter().all(|thread| thread.is_finished()) {
            ids.iter().copied().for_each(end);
            std::thread::sleep(Duration::from_millis(5));
        }
        threads
            .into_iter()
            .map(|thread| {
                thread.join().unwrap_or_else(|_| Err(Error::Usage("a sender panicked".into())))
            })
            .collect()
    })
}

fn report(sent: &[State], receiver: &Receiver) -> Result<Value, Error> {
    let arrived =
        (0..sent.len()).map(|stream| receiver.stream(stream)).collect::<Result<Vec<_>, _>>()?;
    let total = |of: fn(&crate::receiver::Stream) -> u64| arrived.iter().map(of).sum::<u64>();
    let span = |firsts: Vec<u64>, lasts: Vec<u64>| {
        let first = firsts.into_iter().filter(|&ns| ns > 0).min().unwrap_or(0);
        lasts.into_iter().max().unwrap_or(0).saturating_sub(first) as f64 / 1e9
    };
    let sending =
        span(sent.iter().map(|s| s.first).collect(), sent.iter().map(|s| s.last).collect());
    let receiving =
        span(arrived.iter().map(|s| s.first).collect(), arrived.iter().map(|s| s.last).collect());
    let frames: u64 = sent.iter().map(|s| s.sent).sum();
    let received = total(|s| s.received);
    let rate =
        |frames: u64, seconds: f64| if seconds > 0.0 { frames as f64 / seconds } else { 0.0 };
    let latencies = receiver.latencies()?;
    let us = |percentile: f64| {
        (!latencies.is_empty()).then(|| latencies.value_at_percentile(percentile) as f64 / 1e3)
    };
    Ok(json!({
        "sent": frames,
        "sent_octets": sent.iter().map(|s| s.octets).sum::<u64>(),
        "sent_seconds": sending,
        "sent_pps": rate(frames, sending),
        // Pauses of the sender itself (another program, the hypervisor): frames that were not sent.
        "paused_seconds": sent.iter().map(State::forgiven_ns).sum::<u64>() as f64 / 1e9,
        "not_made": sent.iter().map(|s| s.failed).sum::<u64>(),
        "received": received,
        "received_octets": total(|s| s.octets),
        "received_seconds": receiving,
        "received_pps": rate(received, receiving),
        "lost": frames.saturating_sub(received),
        "duplicated": total(|s| s.duplicated),
        "reordered": total(|s| s.reordered),
        "furthest": arrived.iter().map(|s| s.furthest).max(),
        "stale": total(|s| s.stale),
        "latency_us": {
            "frames": latencies.len(),
            "min": us(0.0), "p50": us(50.0), "p99": us(99.0), "p999": us(99.9), "max": us(100.0),
            "mean": latencies.mean() / 1e3,
        },
    }))
}
