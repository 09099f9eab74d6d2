//! Compiles the DPDK harness where libdpdk-dev is installed.

use std::process::Command;

fn pkg_config(what: &str) -> Option<Vec<String>> {
    let output = Command::new("pkg-config").args([what, "libdpdk"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.split_whitespace().map(str::to_owned).collect())
}

fn main() {
    println!("cargo::rerun-if-changed=dpdk.c");
    println!("cargo::rustc-check-cfg=cfg(dpdk)");
    let Some(flags) = pkg_config("--cflags") else {
        println!("cargo::warning=libdpdk-dev is not installed: DPDK's tables are left out");
        return;
    };
    let mut build = cc::Build::new();
    build.file("dpdk.c").opt_level(3);
    for flag in flags {
        build.flag(flag);
    }
    // Valgrind, which counts instructions, knows no AVX-512; DPDK has its own code for that in its libraries.
    build.flag("-march=native").flag_if_supported("-mno-avx512f").compile("dpdk_harness");
    for library in [
        "rte_lpm",
        "rte_fib",
        "rte_rib",
        "rte_eal",
        "rte_hash",
        "rte_mempool",
        "rte_ring",
        "rte_rcu",
    ] {
        println!("cargo::rustc-link-lib=dylib={library}");
    }
    println!("cargo::rustc-cfg=dpdk");
}
