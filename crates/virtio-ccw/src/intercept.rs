//! What KVM on s390x reports of an I/O instruction, and what it wants back.
//!
//! KVM leaves SIE with intercept code 4 (KVM_EXIT_S390_SIEIC) for each instruction here, but for
//! TEST SUBCHANNEL, which has an exit of its own (KVM_EXIT_S390_TSCH), since KVM first takes the
//! interruption off its queue. TEST PENDING INTERRUPTION never comes. Any other way to catch these
//! instructions, such as an emulator, can fill in the same fields.
//!
//! ```text
//! KVM_EXIT_S390_SIEIC  -> Intercept     .decode() -> Instruction -> css.execute() -> Effect
//! KVM_EXIT_S390_TSCH   -> TschIntercept .execute(css, ..)                         -> Effect
//! ```
//!
//! KVM has checked by then that the guest was in the supervisor state. What it has not done is to
//! set the condition code, or to inject the program interruption, that an
//! [`Effect`] asks for.

use crate::css::{ChannelSubsystem, Effect, Instruction, Interruption, IscMask};
use crate::css::{Operand, OperandAccess};

/// An intercepted instruction: intercept code 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intercept {
    /// First halfword of the instruction.
    pub ipa: u16,
    /// Its second and third halfword.
    pub ipb: u32,
    /// General registers.
    pub gprs: [u64; 16],
    /// PSW mask: has the addressing mode.
    pub psw_mask: u64,
    /// Control register 6, for TEST PENDING INTERRUPTION only. 0 where that never comes.
    pub cr6: u64,
}

impl Intercept {
    /// The instruction; `None` where it is none of ours. The VMM then sees whether it is somebody
    /// else's, or injects an operation exception.
    pub fn decode(&self) -> Option<Instruction> {
        let subchannel = self.gprs[1] as u32;
        let operand = self.storage_operand();
        Some(match self.ipa {
            CSCH => Instruction::Csch { subchannel },
            HSCH => Instruction::Hsch { subchannel },
            MSCH => Instruction::Msch {
                subchannel,
                schib: operand,
            },
            SSCH => Instruction::Ssch {
                subchannel,
                orb: operand,
            },
            STSCH => Instruction::Stsch {
                subchannel,
                schib: operand,
            },
            TSCH => Instruction::Tsch {
                subchannel,
                irb: operand,
            },
            TPI => Instruction::Tpi {
                code: operand,
                enabled: IscMask::from_cr6(self.cr6),
            },
            RSCH => Instruction::Rsch { subchannel },
            STCRW => Instruction::Stcrw { crw: operand },
            XSCH => Instruction::Xsch { subchannel },
            CHSC => Instruction::Chsc {
                block: self.register_operand(),
            },
            _ => return self.decode_diagnose(),
        })
    }

    /// DIAGNOSE: its function code is the low half of an address that is computed like any other.
    fn decode_diagnose(&self) -> Option<Instruction> {
        let function = self.storage_operand().address & 0xffff;
        let ours = (self.ipa >> 8, function, self.gprs[1]) == (DIAGNOSE, HYPERCALL, NOTIFY);
        ours.then_some(Instruction::Notify {
            subchannel: self.gprs[2],
            queue: self.gprs[3],
            cookie: self.gprs[4],
        })
    }

    /// Of an instruction of format S or RS: base register and displacement.
    fn storage_operand(&self) -> Operand {
        let base = (self.ipb >> 28) as usize;
        let displacement = u64::from(self.ipb >> 16 & 0xfff);
        let start = match base {
            0 => 0,
            _ => self.gprs[base],
        };
        self.operand(start.wrapping_add(displacement), base)
    }

    /// Of an instruction of format RRE: its first register has the address.
    fn register_operand(&self) -> Operand {
        let register = (self.ipb >> 20 & 0xf) as usize;
        self.operand(self.gprs[register], register)
    }

    fn operand(&self, address: u64, register: usize) -> Operand {
        let mask = match (self.psw_mask & EXTENDED != 0, self.psw_mask & BASIC != 0) {
            (true, _) => u64::MAX,
            (false, true) => 0x7fff_ffff,
            (false, false) => 0x00ff_ffff,
        };
        Operand {
            address: address & mask,
            access_register: register as u8,
        }
    }
}

/// KVM_EXIT_S390_TSCH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TschIntercept {
    /// The interruption that was taken off the queue (`dequeued` and the fields before it).
    pub dequeued: Option<Interruption>,
    /// Second and third halfword of the instruction.
    pub ipb: u32,
    /// General registers.
    pub gprs: [u64; 16],
    /// PSW mask.
    pub psw_mask: u64,
}

impl TschIntercept {
    /// Executes TEST SUBCHANNEL. If it is suppressed, the interruption is raised once more.
    pub fn execute(&self, css: &ChannelSubsystem, storage: &mut dyn OperandAccess) -> Effect {
        let effect = css.execute(self.decode(), storage);
        // An access exception puts the status back, which raises its interruption.
        if let (Effect::Program(_), Some(interruption)) = (effect, self.dequeued) {
            css.raise(interruption);
        }
        effect
    }

    /// The instruction by itself.
    pub fn decode(&self) -> Instruction {
        let intercept = Intercept {
            ipa: TSCH,
            ipb: self.ipb,
            gprs: self.gprs,
            psw_mask: self.psw_mask,
            cr6: 0,
        };
        Instruction::Tsch {
            subchannel: self.gprs[1] as u32,
            irb: intercept.storage_operand(),
        }
    }
}

const CSCH: u16 = 0xb230;
const HSCH: u16 = 0xb231;
const MSCH: u16 = 0xb232;
const SSCH: u16 = 0xb233;
const STSCH: u16 = 0xb234;
const TSCH: u16 = 0xb235;
const TPI: u16 = 0xb236;
const RSCH: u16 = 0xb238;
const STCRW: u16 = 0xb239;
const CHSC: u16 = 0xb25f;
const XSCH: u16 = 0xb276;
/// The first byte: registers follow.
const DIAGNOSE: u16 = 0x83;
const HYPERCALL: u64 = 0x500;
const NOTIFY: u64 = 3;

/// Addressing mode: with both, 64 bits; with the second alone, 31 bits.
const EXTENDED: u64 = 1 << 32;
const BASIC: u64 = 1 << 31;

#[cfg(test)]
mod tests {
    use super::*;

    fn intercept(ipa: u16, ipb: u32) -> Intercept {
        let mut gprs = std::array::from_fn(|register| 0x1_8000_0000 + 0x1000 * register as u64);
        gprs[1] = 0x1_0005;
        Intercept {
            ipa,
            ipb,
            gprs,
            psw_mask: EXTENDED | BASIC,
            cr6: 0x1000_0000,
        }
    }

    #[test]
    fn each_instruction_is_known() {
        let subchannel = 0x1_0005;
        let operand = Operand {
            address: 0x1_8000_2010,
            access_register: 2,
        };
        let decode = |ipa| intercept(ipa, 0x2010_0000).decode();
        let all = [
            (0xb230, Instruction::Csch { subchannel }),
            (0xb231, Instruction::Hsch { subchannel }),
            (
                0xb232,
                Instruction::Msch {
                    subchannel,
                    schib: operand,
                },
            ),
            (
                0xb233,
                Instruction::Ssch {
                    subchannel,
                    orb: operand,
                },
            ),
            (
                0xb234,
                Instruction::Stsch {
                    subchannel,
                    schib: operand,
                },
            ),
            (
                0xb235,
                Instruction::Tsch {
                    subchannel,
                    irb: operand,
                },
            ),
            (
                0xb236,
                Instruction::Tpi {
                    code: operand,
                    enabled: IscMask::from_cr6(0x1000_0000),
                },
            ),
            (0xb238, Instruction::Rsch { subchannel }),
            (0xb239, Instruction::Stcrw { crw: operand }),
            (0xb276, Instruction::Xsch { subchannel }),
        ];
        for (ipa, instruction) in all {
            assert_eq!(decode(ipa), Some(instruction), "{ipa:#x}");
        }
        for (ipa, name) in [
            (0xb237, "SAL"),
            (0xb23b, "RCHP"),
            (0xb23c, "SCHM"),
            (0xb274, "SIGA"),
        ] {
            assert_eq!(decode(ipa), None, "{name}");
        }
    }

    #[test]
    fn chsc_has_its_address_in_a_register() {
        let block = Operand {
            address: 0x1_8000_3000,
            access_register: 3,
        };
        let decoded = intercept(0xb25f, 0x0030_0000).decode();
        assert_eq!(decoded, Some(Instruction::Chsc { block }));
    }

    #[test]
    fn addresses_wrap_as_the_mode_has_it() {
        let address = |psw_mask| {
            let mut intercept = intercept(0xb234, 0x2010_0000);
            intercept.gprs[2] = 0xffff_ffff_ffff_fff8;
            intercept.psw_mask = psw_mask;
            intercept.storage_operand().address
        };
        assert_eq!(address(EXTENDED | BASIC), 8);
        assert_eq!(address(BASIC), 8);
        let mut small = intercept(0xb234, 0x2010_0000);
        small.gprs[2] = 0x1234_5678;
        small.psw_mask = 0;
        assert_eq!(small.storage_operand().address, 0x34_5688);
        assert_eq!(intercept(0xb234, 0x0010_0000).storage_operand().address, 16);
    }

    #[test]
    fn only_the_notification_of_diagnose_500_is_ours() {
        let decode = |ipa, ipb, subcode| {
            let mut intercept = intercept(ipa, ipb);
            intercept.gprs[1..5].copy_from_slice(&[subcode, 0x1_0000, 2, 9]);
            intercept.decode()
        };
        let notify = Instruction::Notify {
            subchannel: 0x1_0000,
            queue: 2,
            cookie: 9,
        };
        assert_eq!(decode(0x8324, 0x0500_0000, 3), Some(notify));
        assert_eq!(decode(0x8324, 0x0500_0000, 4), None, "storage limit");
        assert_eq!(decode(0x8324, 0x0501_0000, 3), None, "another function");
    }
}
