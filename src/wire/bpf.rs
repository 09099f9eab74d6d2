//! Filters in the kernel's classic BPF, as libpcap compiles them ("The BSD Packet Filter", McCanne and Jacobson,
//! 1993). A program comes from outside, so it is checked once before it may run: jumps lead forward and stay within,
//! it ends, it divides by no constant zero. So a run takes at most as many steps as the program has instructions,
//! reads nothing but the frame and cannot fail.

use super::Start;

/// The most instructions of a program: what one frame costs at most.
pub const MAX_INSTRUCTIONS: usize = 512;
/// Words of scratch memory.
const MEMORY: usize = 16;

/// One instruction: operation, jump if true, jump if false, operand.
pub type Instruction = (u16, u8, u8, u32);

/// Why a program is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadProgram {
    /// It is empty or too long.
    #[error(
        "a filter has 1 to {MAX_INSTRUCTIONS} instructions; this one has {0}: make the expression shorter"
    )]
    Length(usize),
    /// An instruction that is none, or must not be.
    #[error(
        "instruction {0} of the filter is refused: it is none, leads out of the program, or divides by zero"
    )]
    Instruction(usize),
    /// It does not end.
    #[error("the filter does not end with a return")]
    End,
}

/// A program that has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program(Box<[Instruction]>);

// Classes (the lower three bits), then sizes and modes of loads, operations and sources.
const LD: u16 = 0;
const LDX: u16 = 1;
const ST: u16 = 2;
const STX: u16 = 3;
const ALU: u16 = 4;
const JMP: u16 = 5;
const RET: u16 = 6;
const MISC: u16 = 7;
const SIZE: u16 = 0x18;
const HALF: u16 = 0x08;
const BYTE: u16 = 0x10;
const MODE: u16 = 0xe0;
const IMM: u16 = 0x00;
const ABS: u16 = 0x20;
const IND: u16 = 0x40;
const MEM: u16 = 0x60;
const LEN: u16 = 0x80;
const MSH: u16 = 0xa0;
const OPERATION: u16 = 0xf0;
const SOURCE_X: u16 = 0x08;
const DIV: u16 = 0x30;
const MOD: u16 = 0x90;
const TAX: u16 = 0x00;
const TXA: u16 = 0x80;

impl Program {
    /// Checks a program.
    ///
    /// # Errors
    /// [`BadProgram`].
    pub fn new(code: &[Instruction]) -> Result<Program, BadProgram> {
        if code.is_empty() || code.len() > MAX_INSTRUCTIONS {
            return Err(BadProgram::Length(code.len()));
        }
        if let Some(bad) = (0..code.len()).find(|&at| !is_allowed(code, at)) {
            return Err(BadProgram::Instruction(bad));
        }
        match code.last() {
            Some((last, ..)) if last & 7 == RET => Ok(Program(code.into())),
            _ => Err(BadProgram::End),
        }
    }

    /// How many instructions a run takes at most.
    pub fn instructions(&self) -> usize {
        self.0.len()
    }

    /// Whether the program takes a frame.
    pub fn takes<'a>(&self, frame: impl Into<Start<'a>>) -> bool {
        self.run(frame.into()).is_some_and(|octets| octets != 0)
    }

    /// What the program returns: how many octets of the frame it wants. `Some(0)` for a frame that ends before a load:
    /// as in the kernel, that is no match.
    fn run(&self, frame: Start<'_>) -> Option<u32> {
        let Start { octets: frame, len } = frame;
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        let (mut a, mut x, mut at) = (0_u32, 0_u32, 0_usize);
        let mut memory = [0_u32; MEMORY];
        let cell = |k: u32| k as usize % MEMORY;
        // Jumps lead forward, so this ends.
        while let Some(&(code, yes, no, k)) = self.0.get(at) {
            at += 1;
            match code & 7 {
                LD => {
                    a = match code & MODE {
                        IMM => k,
                        MEM => memory[cell(k)],
                        LEN => len,
                        mode => {
                            let base = if mode == IND { x } else { 0 };
                            match load(frame, base, k, code & SIZE) {
                                Some(value) => value,
                                None => return Some(0),
                            }
                        }
                    }
                }
                LDX => {
                    x = match code & MODE {
                        IMM => k,
                        MEM => memory[cell(k)],
                        LEN => len,
                        // The length of an IPv4 header, in octets.
                        _ => match load(frame, 0, k, BYTE) {
                            Some(octet) => (octet & 0xf) * 4,
                            None => return Some(0),
                        },
                    }
                }
                ST => memory[cell(k)] = a,
                STX => memory[cell(k)] = x,
                ALU => {
                    let operand = if code & SOURCE_X == 0 { k } else { x };
                    match arithmetic(code & OPERATION, a, operand) {
                        Some(value) => a = value,
                        None => return Some(0),
                    }
                }
                JMP => {
                    let operand = if code & SOURCE_X == 0 { k } else { x };
                    let taken = match code & OPERATION {
                        0x00 => {
                            at += k as usize;
                            continue;
                        }
                        0x10 => a == operand,
                        0x20 => a > operand,
                        0x30 => a >= operand,
                        _ => a & operand != 0,
                    };
                    at += usize::from(if taken { yes } else { no });
                }
                MISC if code & 0xf8 == TXA => a = x,
                MISC => x = a,
                _ => return Some(if code & 0x18 == 0x10 { a } else { k }),
            }
        }
        None
    }
}

/// `None` where the frame ends before.
fn load(frame: &[u8], base: u32, k: u32, size: u16) -> Option<u32> {
    let rest = frame.get(usize::try_from(base.checked_add(k)?).ok()?..)?;
    match size {
        BYTE => rest.first().map(|&octet| octet.into()),
        HALF => rest.first_chunk().map(|octets| u16::from_be_bytes(*octets).into()),
        _ => rest.first_chunk().map(|octets| u32::from_be_bytes(*octets)),
    }
}

/// `None` for a division by zero.
fn arithmetic(operation: u16, a: u32, operand: u32) -> Option<u32> {
    Some(match operation {
        0x00 => a.wrapping_add(operand),
        0x10 => a.wrapping_sub(operand),
        0x20 => a.wrapping_mul(operand),
        DIV => a.checked_div(operand)?,
        0x40 => a | operand,
        0x50 => a & operand,
        0x60 => a.checked_shl(operand).unwrap_or(0),
        0x70 => a.checked_shr(operand).unwrap_or(0),
        0x80 => a.wrapping_neg(),
        MOD => a.checked_rem(operand)?,
        _ => a ^ operand,
    })
}

/// Whether an instruction may stand where it stands. As the kernel's `bpf_check_classic`, without the kernel's own
/// extensions.
fn is_allowed(program: &[Instruction], at: usize) -> bool {
    let (code, yes, no, k) = program[at];
    // Instructions behind this one.
    let behind = program.len() - at - 1;
    let within = |jump: usize| jump < behind;
    let (mode, size) = (code & MODE, code & SIZE);
    if code > 0xff {
        return false;
    }
    match code & 7 {
        LD => match mode {
            IMM | LEN => size == 0,
            MEM => size == 0 && (k as usize) < MEMORY,
            ABS | IND => matches!(size, 0 | HALF | BYTE),
            _ => false,
        },
        LDX => match mode {
            IMM | LEN => size == 0,
            MEM => size == 0 && (k as usize) < MEMORY,
            MSH => size == BYTE,
            _ => false,
        },
        ST | STX => code >> 3 == 0 && (k as usize) < MEMORY,
        ALU => {
            let operation = code & OPERATION;
            let by_zero = matches!(operation, DIV | MOD) && code & SOURCE_X == 0 && k == 0;
            operation <= 0xa0 && !by_zero
        }
        JMP => match code & OPERATION {
            0x00 => code & SOURCE_X == 0 && within(k as usize),
            0x10 | 0x20 | 0x30 | 0x40 => within(yes.into()) && within(no.into()),
            _ => false,
        },
        RET => matches!(code & 0xf8, 0x00 | 0x10),
        _ => matches!(code & 0xf8, TAX | TXA),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `tcpdump -dd 'vlan 100 and udp port 53'`, made shorter: tag 100, IPv4, UDP, port 53 either way, no options.
    const UDP_53: &[Instruction] = &[
        (0x28, 0, 0, 12),
        (0x15, 0, 13, 0x8100),
        (0x28, 0, 0, 14),
        (0x54, 0, 0, 0xfff),
        (0x15, 0, 10, 100),
        (0x28, 0, 0, 16),
        (0x15, 0, 8, 0x800),
        (0x30, 0, 0, 27),
        (0x15, 0, 6, 17),
        (0xb1, 0, 0, 18),
        (0x48, 0, 0, 18),
        (0x15, 2, 0, 53),
        (0x48, 0, 0, 20),
        (0x15, 0, 1, 53),
        (0x06, 0, 0, 262_144),
        (0x06, 0, 0, 0),
    ];

    fn frame(vid: u8, source: u8, destination: u8) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([0x81, 0, 0x60, vid, 8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0]);
        frame.extend([10, 0, 0, 1, 10, 0, 0, 2, 0, source, 0, destination, 0, 8, 0, 0]);
        frame
    }

    #[test]
    fn a_compiled_expression_takes_what_it_says() {
        let program = Program::new(UDP_53).unwrap();
        assert!(program.takes(&frame(100, 53, 7)) && program.takes(&frame(100, 7, 53)));
        assert!(!program.takes(&frame(101, 53, 7)) && !program.takes(&frame(100, 7, 8)));
        // Whatever ends early is no match.
        let whole = frame(100, 53, 7);
        assert!((0..36).all(|end| !program.takes(&whole[..end])));
    }

    #[test]
    fn what_could_run_on_or_fail_is_refused() {
        let end = (0x06, 0, 0, 0);
        let bad = |at| Err(BadProgram::Instruction(at));
        for (code, expected) in [
            (vec![], Err(BadProgram::Length(0))),
            (vec![end; MAX_INSTRUCTIONS + 1], Err(BadProgram::Length(MAX_INSTRUCTIONS + 1))),
            (vec![(0x28, 0, 0, 12)], Err(BadProgram::End)),
            (vec![(0x05, 0, 0, 1), end], bad(0)),
            // Backward: as a 32-bit number a jump of -1.
            (vec![end, (0x05, 0, 0, u32::MAX), end], bad(1)),
            (vec![(0x15, 0, 9, 1), end], bad(0)),
            (vec![(0x34, 0, 0, 0), end], bad(0)),
            (vec![(0x94, 0, 0, 0), end], bad(0)),
            (vec![(0x60, 0, 0, 16), end], bad(0)),
            (vec![(0x02, 0, 0, 16), end], bad(0)),
            (vec![(0x0ff, 0, 0, 0), end], bad(0)),
            (vec![(0x1006, 0, 0, 0), end], bad(0)),
            (vec![(0xb0, 0, 0, 0), end], bad(0)),
        ] {
            assert_eq!(Program::new(&code).map(|_| ()), expected, "{code:?}");
        }
        assert!(Program::new(&[(0x15, 0, 1, 1), end, end]).is_ok());
    }

    #[test]
    fn arithmetic_is_that_of_32_bits() {
        let run = |code: &[Instruction]| Program::new(code).unwrap().run([7; 20][..].into());
        // 0x07070707 * 3, shifted by more than there is, divided by X = 0.
        assert_eq!(run(&[(0x20, 0, 0, 0), (0x24, 0, 0, 3), (0x16, 0, 0, 0)]), Some(0x1515_1515));
        assert_eq!(run(&[(0x20, 0, 0, 0), (0x64, 0, 0, 40), (0x16, 0, 0, 0)]), Some(0));
        assert_eq!(run(&[(0x00, 0, 0, 9), (0x3c, 0, 0, 0), (0x16, 0, 0, 0)]), Some(0));
        assert_eq!(
            run(&[
                (0x80, 0, 0, 0),
                (0x02, 0, 0, 3),
                (0x61, 0, 0, 3),
                (0x87, 0, 0, 0),
                (0x16, 0, 0, 0)
            ]),
            Some(20)
        );
        // An offset that wraps round is beyond the frame.
        assert_eq!(run(&[(0x01, 0, 0, 9), (0x50, 0, 0, u32::MAX), (0x06, 0, 0, 1)]), Some(0));
    }

    proptest! {
        /// Whatever passes the check runs to a return on any frame.
        #[test]
        fn what_is_not_refused_ends(
            mut code in prop::collection::vec(
                (prop_oneof![0..0x100_u16, Just(0x15), Just(0x28), Just(0x05)], 0..4_u8, 0..4_u8,
                 prop_oneof![0..64_u32, any::<u32>()]), 1..24),
            frame in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            code.push((0x06, 0, 0, 1));
            let kept: Vec<_> = (0..code.len()).filter(|&at| is_allowed(&code, at)).map(|at| code[at]).collect();
            if let Ok(program) = Program::new(&kept) {
                prop_assert!(program.run((&frame).into()).is_some());
            }
        }
    }
}
