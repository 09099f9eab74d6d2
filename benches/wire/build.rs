//! Compiles the BPF programs with clang into OUT_DIR, from where the program embeds them.

use std::path::Path;
use std::process::{Command, exit};

fn main() {
    println!("cargo::rerun-if-changed=bpf");
    println!("cargo::rerun-if-env-changed=CLANG");
    for name in ["generate", "account", "forward"] {
        if let Err(reason) = compile(name) {
            println!("cargo::error={reason}");
            exit(1);
        }
    }
}

fn compile(name: &str) -> Result<(), String> {
    let out = std::env::var("OUT_DIR").map_err(|e| format!("OUT_DIR: {e}"))?;
    let source = format!("bpf/{name}.bpf.c");
    let clang = std::env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let mut command = Command::new(&clang);
    command.args(["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-Wall", "-Wextra", "-Werror"]);
    // Debian keeps the asm/ headers in a directory of the architecture's name.
    let arch = std::env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    command.args(["-idirafter", &format!("/usr/include/{arch}-linux-gnu")]);
    command.args(["-c", &source, "-o"]).arg(Path::new(&out).join(format!("{name}.bpf.o")));
    let status = command.status().map_err(|e| {
        format!("cannot run `{clang}`: {e}; install it (apt-get install clang) or set CLANG")
    })?;
    if status.success() {
        return Ok(());
    }
    Err(format!(
        "`{clang}` could not compile {source}; libbpf-dev and linux-libc-dev have the headers"
    ))
}
