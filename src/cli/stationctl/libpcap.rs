//! Filter expressions, compiled by the machine's own libpcap (pcap-filter(7)). It is opened only when an expression is
//! given, so that neither the build nor the daemon needs it.

#![allow(unsafe_code)] // dlopen(3) and libpcap's functions

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};

use super::Failure;
use crate::admin::protocol::Filter;

/// The kind of link: Ethernet (DLT_EN10MB).
const ETHERNET: c_int = 1;
/// Octets of a frame that a program may want.
const SNAP: c_int = 262_144;
/// No netmask is known (PCAP_NETMASK_UNKNOWN).
const NO_NETMASK: c_uint = u32::MAX;
/// What libpcap is called at run time.
const LIBRARIES: [&CStr; 3] = [c"libpcap.so.0.8", c"libpcap.so.1", c"libpcap.so"];

/// `struct bpf_insn`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Instruction {
    code: u16,
    jt: u8,
    jf: u8,
    k: u32,
}

/// `struct bpf_program`.
#[repr(C)]
struct Program {
    len: c_uint,
    instructions: *mut Instruction,
}

type OpenDead = unsafe extern "C" fn(c_int, c_int) -> *mut c_void;
type Compile =
    unsafe extern "C" fn(*mut c_void, *mut Program, *const c_char, c_int, c_uint) -> c_int;
type GetErr = unsafe extern "C" fn(*mut c_void) -> *mut c_char;
type FreeCode = unsafe extern "C" fn(*mut Program);
type Close = unsafe extern "C" fn(*mut c_void);

/// The filter of an expression, as it goes to the station.
///
/// # Errors
/// As of [`compile`].
pub(super) fn filter(expression: &str) -> Result<Filter, Failure> {
    let program = compile(expression).map_err(Failure::Usage)?;
    Ok(Filter { expression: expression.to_owned(), program })
}

/// Compiles an expression for frames with no tag, one or two. An expression that speaks of VLANs itself is taken as it
/// is.
///
/// # Errors
/// What is wrong with the expression, or that there is no libpcap.
fn compile(expression: &str) -> Result<Vec<(u16, u8, u8, u32)>, String> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    // First alone, so that an error is about what was written.
    let own = program(expression)?;
    if expression.trim().is_empty() || expression.split(|c| !is_word(c)).any(|word| word == "vlan")
    {
        return Ok(own);
    }
    // Each `vlan` moves what stands behind it in the whole expression by one tag (pcap-filter(7)).
    program(&format!("({expression}) or (vlan and ({expression})) or (vlan and ({expression}))"))
}

fn program(expression: &str) -> Result<Vec<(u16, u8, u8, u32)>, String> {
    let bad = |why: &str| format!("--filter: {why}: see pcap-filter(7)");
    let text = CString::new(expression).map_err(|_| bad("a NUL in the expression"))?;
    // SAFETY: a name that ends with NUL; the library stays open until the process ends.
    let open = |name: &CStr| unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) };
    let library = LIBRARIES.iter().map(|name| open(name)).find(|library| !library.is_null());
    let Some(library) = library else {
        return Err("--filter needs libpcap: apt install libpcap0.8".to_owned());
    };
    let find = |name: &CStr| {
        // SAFETY: an open library and a name that ends with NUL.
        let symbol = unsafe { libc::dlsym(library, name.as_ptr()) };
        if symbol.is_null() {
            Err("the machine's libpcap lacks what --filter needs")
        } else {
            Ok(symbol)
        }
    };
    // SAFETY: the types are those of <pcap/pcap.h>, which libpcap keeps for its soname.
    let (open_dead, compile, geterr, freecode, close) = unsafe {
        (
            std::mem::transmute::<*mut c_void, OpenDead>(find(c"pcap_open_dead")?),
            std::mem::transmute::<*mut c_void, Compile>(find(c"pcap_compile")?),
            std::mem::transmute::<*mut c_void, GetErr>(find(c"pcap_geterr")?),
            std::mem::transmute::<*mut c_void, FreeCode>(find(c"pcap_freecode")?),
            std::mem::transmute::<*mut c_void, Close>(find(c"pcap_close")?),
        )
    };
    // SAFETY: plain numbers.
    let handle = unsafe { open_dead(ETHERNET, SNAP) };
    if handle.is_null() {
        return Err("--filter: libpcap has no memory".to_owned());
    }
    let mut program = Program { len: 0, instructions: std::ptr::null_mut() };
    // SAFETY: `handle` is open, `program` is written to, `text` ends with NUL; 1 asks for optimized code.
    let result = unsafe { compile(handle, &raw mut program, text.as_ptr(), 1, NO_NETMASK) };
    let code = if result == 0 && !program.instructions.is_null() {
        // SAFETY: libpcap has made `len` instructions there, which live until `freecode`.
        let made =
            unsafe { std::slice::from_raw_parts(program.instructions, program.len as usize) };
        Ok(made.iter().map(|one| (one.code, one.jt, one.jf, one.k)).collect())
    } else {
        // SAFETY: a text that ends with NUL and lives until `close`.
        Err(bad(&unsafe { CStr::from_ptr(geterr(handle)) }.to_string_lossy()))
    };
    // SAFETY: both were made above, and are not used again.
    unsafe {
        if result == 0 {
            freecode(&raw mut program);
        }
        close(handle);
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the machine has libpcap; the tests' machine has it, tcpdump needs it.
    #[test]
    fn expressions_become_programs() {
        match compile("udp port 53") {
            Ok(program) => assert!(program.len() > 10),
            Err(why) => return println!("skipped: {why}"),
        }
        // Its own tags are not doubled.
        assert_eq!(compile("vlan 100 and tcp"), program("vlan 100 and tcp"));
        assert!(compile("tcp").unwrap().len() > program("tcp").unwrap().len());
        assert!(compile("ether host 02:00:00:00:00:01").is_ok());
        let why = compile("udp prt 53").unwrap_err();
        assert!(why.starts_with("--filter: ") && why.contains("pcap-filter(7)"), "{why}");
        assert!(compile("tcp\0").is_err());
    }
}
