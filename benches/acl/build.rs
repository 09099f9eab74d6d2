//! Compiles the harness of rte_acl where libdpdk-dev is installed.

use std::process::Command;

fn pkg_config(what: &str) -> Option<Vec<String>> {
    let output = Command::new("pkg-config").args([what, "libdpdk"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.split_whitespace().map(str::to_owned).collect())
}

fn main() {
    println!("cargo::rerun-if-changed=rte_acl.c");
    println!("cargo::rustc-check-cfg=cfg(dpdk)");
    let Some(flags) = pkg_config("--cflags") else {
        println!("cargo::warning=libdpdk-dev is not installed: rte_acl is left out");
        return;
    };
    let mut build = cc::Build::new();
    build.file("rte_acl.c").opt_level(3);
    for flag in flags {
        build.flag(flag);
    }
    build.flag("-march=native").compile("acl_harness");
    for library in ["rte_acl", "rte_eal"] {
        println!("cargo::rustc-link-lib=dylib={library}");
    }
    println!("cargo::rustc-cfg=dpdk");
}
