//! Compiles the XDP program with clang into OUT_DIR, from where the loader embeds it.

use std::path::{Path, PathBuf};
use std::process::{Command, exit};

const SOURCE: &str = "xdp/station.bpf.c";

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-env-changed=CLANG");
    if let Err(reason) = compile() {
        println!("cargo::error={reason}");
        exit(1);
    }
}

fn compile() -> Result<(), String> {
    let out = std::env::var("OUT_DIR").map_err(|e| format!("OUT_DIR: {e}"))?;
    let object: PathBuf = Path::new(&out).join("station.bpf.o");
    let clang = std::env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let mut command = Command::new(&clang);
    command.args(["-O2", "-g", "-target", "bpf", "-Wall", "-Wextra", "-Werror"]);
    // Atomic additions that give the old value: the kernel has them since 5.12.
    command.arg("-mcpu=v3");
    // Debian keeps the asm/ headers of linux-libc-dev in a directory of the architecture's name,
    // where clang does not look when it compiles for BPF.
    let arch = std::env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let multiarch = format!("/usr/include/{arch}-linux-gnu");
    if Path::new(&multiarch).is_dir() {
        command.args(["-idirafter", &multiarch]);
    }
    command.args(["-c", SOURCE, "-o"]).arg(&object);
    let output = command.output().map_err(|e| {
        format!("cannot run `{clang}` to compile {SOURCE}: {e}; install it (apt-get install clang) or set CLANG")
    })?;
    if output.status.success() {
        return Ok(());
    }
    let messages = String::from_utf8_lossy(&output.stderr);
    for line in messages.lines() {
        println!("cargo::warning={line}");
    }
    let hint = if messages.contains("file not found") {
        "; the kernel's headers are missing (apt-get install linux-libc-dev)"
    } else {
        ""
    };
    Err(format!("`{clang}` could not compile {SOURCE} for BPF{hint}"))
}
