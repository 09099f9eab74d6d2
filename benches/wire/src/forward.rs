//! `wire-bench forward`: the in-kernel XDP router of `bpf/forward.bpf.c`.

use aya::programs::{Xdp, XdpMode};
use aya::{EbpfLoader, include_bytes_aligned};
use clap::Args;

use crate::Error;
use crate::place::Place;

static PROGRAM: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/forward.bpf.o"));

#[derive(Args)]
pub struct Options {
    /// Where frames come in
    #[arg(long, value_name = "[NS:]IFACE")]
    from: Place,
    /// The VLAN of frames that come in
    #[arg(long, default_value_t = 0)]
    in_vlan: u32,
    /// The VLAN of frames that leave
    #[arg(long, default_value_t = 0)]
    out_vlan: u32,
    /// The routing table; 0 is the interface's own
    #[arg(long, default_value_t = 0)]
    table: u32,
}

pub fn run(options: &Options) -> Result<(), Error> {
    if (options.in_vlan == 0) != (options.out_vlan == 0) {
        return Err(Error::Usage("give both --in-vlan and --out-vlan, or neither".into()));
    }
    options.from.enter()?;
    let mut program = EbpfLoader::new()
        .override_global("in_vlan", &options.in_vlan, true)
        .override_global("out_vlan", &options.out_vlan, true)
        .override_global("table", &options.table, true)
        .load(PROGRAM)
        .map_err(|e| Error::Bpf("the router's program", e))?;
    let found = program
        .program_mut("forward")
        .ok_or_else(|| Error::Usage("no program `forward`".into()))?;
    <&mut Xdp>::try_from(found)
        .and_then(|xdp| {
            xdp.load().and_then(|()| xdp.attach(&options.from.interface, XdpMode::Driver))
        })
        .map_err(|e| Error::Program("attach the router", e))?;
    println!("ready");
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())
        .map_err(|e| Error::System("standard input".into(), e))?;
    Ok(())
}
