//! Guests that do anything: no panic, bounded work, no write where no program names it, and states
//! that the architecture knows.

use std::sync::atomic::Ordering;

use crate::support::*;
use proptest::prelude::*;
use virtio_ccw::css::{
    Effect, Instruction, IscMask, Operand, OperandAccess, Outcome, Sense, SubchannelId,
};
use virtio_ccw::intercept::Intercept;

/// A word of a program, with its data in `DATA..`, in a list, or nowhere.
fn word() -> impl Strategy<Value = [u8; 8]> {
    let command = prop_oneof![
        4 => Just(Toy::READ),
        2 => Just(Toy::WRITE),
        1 => Just(Toy::SELECT),
        1 => Just(Toy::CONTROL),
        1 => Just(Toy::DEFER),
        1 => Just(Toy::EARLY),
        1 => Just(0x03u8),
        1 => Just(0x04u8),
        1 => Just(0xe4u8),
        1 => any::<u8>().prop_filter("no transfer", |command| command & 0xf != 8),
    ];
    let flags = prop_oneof![Just(0u8), Just(CC), Just(CC | SLI), Just(CD), any::<u8>()];
    let count = prop_oneof![0u16..64, 0u16..0x1800, any::<u16>()];
    let transfer = (0u32..24).prop_map(|to| tic(PROGRAM + 8 * to));
    prop_oneof![
        6 => (command, flags, count, data_address(), 0u32..64).prop_map(
            |(command, flags, count, data, list)| {
                let address = match flags & (IDA | MIDA) {
                    0 => data,
                    _ => LIST + 4 * list,
                };
                ccw(command, flags, count, address)
            }
        ),
        1 => transfer,
    ]
}

fn data_address() -> impl Strategy<Value = u32> {
    prop_oneof![8 => DATA..END, 1 => END..0x8000_0000, 1 => Just(END - 5)]
}

/// A list of either format of indirect words and of modified ones, one after the other.
fn lists() -> impl Strategy<Value = Vec<u8>> {
    let narrow = data_address().prop_map(|address| (address & !0x7ff).to_be_bytes().to_vec());
    let wide = data_address().prop_map(|a| u64::from(a & !0xfff).to_be_bytes().to_vec());
    let modified = (
        data_address(),
        0u16..0x400,
        prop::sample::select(vec![0u8, 0x40, 0x80]),
    )
        .prop_map(|(address, count, flags)| {
            let word = u128::from(flags) << 80 | u128::from(count) << 64 | u128::from(address);
            word.to_be_bytes().to_vec()
        });
    prop::collection::vec(prop_oneof![narrow, wide, modified], 16..32)
        .prop_map(|words| words.concat())
}

/// Controls of a format-1 operation-request block, valid.
fn controls() -> impl Strategy<Value = u32> {
    any::<u32>().prop_map(|bits| bits & !0x0004_003e | FORMAT_1)
}

const LIST: u32 = 0x4000;

/// Every byte that some word of `program`, or some indirect word in `lists`, names.
fn named(program: &[[u8; 8]], lists: &[u8]) -> Vec<bool> {
    let mut named = vec![false; END as usize];
    let mut name = |address: u64, len: u64| {
        let end = address.saturating_add(len).min(END.into());
        (address..end).for_each(|at| named[at as usize] = true);
    };
    for word in program {
        let [_, flags, c0, c1, address @ ..] = *word;
        if flags & (IDA | MIDA | SKIP) == 0 {
            let address = u32::from_be_bytes(address);
            name(address.into(), u16::from_be_bytes([c0, c1]).into());
        }
    }
    // Wherever a list may begin: a word is a multiple of four bytes into it.
    for at in (0..lists.len()).step_by(4) {
        let bytes = |len| lists.get(at..at + len).map(<[u8]>::to_vec);
        if let Some(narrow) = bytes(4) {
            let address = u64::from(u32::from_be_bytes(narrow.try_into().unwrap()));
            name(address, 0x800 - address % 0x800);
        }
        if let Some(wide) = bytes(8) {
            let address = u64::from_be_bytes(wide.try_into().unwrap());
            name(address, 0x1000 - address % 0x1000);
        }
        if let Some(modified) = bytes(16) {
            let word = u128::from_be_bytes(modified.try_into().unwrap());
            name(word as u64, u64::from((word >> 64) as u16));
        }
    }
    named
}

/// One whose device stays where it is.
fn rooted() -> Guest {
    let guest = Guest::new();
    guest.toy.stays.store(true, Ordering::Relaxed);
    guest
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn programs_write_only_where_they_say(
        program in prop::collection::vec(word(), 1..24),
        lists in lists(),
        control in controls(),
        outcome in prop::sample::select(vec![Outcome::End, Outcome::UnitException]),
    ) {
        let guest = rooted();
        guest.set_readable(&vec![0xa5; 0x1000]);
        guest.program(&program);
        guest.store(LIST, &lists);
        let named = named(&program, &lists);
        assert_eq!(guest.ssch(control | 0x8000), Cc0);
        for _ in 0..8 {
            if lock(&guest.toy.deferred).is_some() {
                guest.toy.finish(outcome);
            }
        }
        let memory = guest.load_all(0, END as usize);
        for at in DATA..END {
            let at = at as usize;
            prop_assert!(memory[at] == 0 || named[at], "{at:#x}");
        }
        prop_assert_eq!(&memory[LIST as usize..][..lists.len()], &lists[..]);
        prop_assert_eq!(guest.csch(), Cc0);
        prop_assert_eq!(guest.fetch().control, CLEAR | PENDING);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Start(Vec<[u8; 8]>, u32),
    Csch,
    Hsch,
    Rsch,
    Xsch,
    Tsch,
    Tpi,
    Msch(u16),
    Finish(bool),
    Alert,
    Reset,
    Any(u16, u32, [u64; 6]),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let start = (prop::collection::vec(word(), 1..6), controls());
    let step = prop_oneof![
        6 => start.prop_map(|(program, control)| Step::Start(program, control)),
        1 => Just(Step::Csch),
        1 => Just(Step::Hsch),
        2 => Just(Step::Rsch),
        1 => Just(Step::Xsch),
        6 => Just(Step::Tsch),
        1 => Just(Step::Tpi),
        1 => any::<u16>().prop_map(|flags| Step::Msch(flags & 0xf8ff)),
        3 => any::<bool>().prop_map(Step::Finish),
        2 => Just(Step::Alert),
        1 => Just(Step::Reset),
        1 => (0xb230u16..0xb240, any::<u32>(), any::<[u64; 6]>())
            .prop_map(|(ipa, ipb, gprs)| Step::Any(ipa, ipb, gprs)),
    ];
    prop::collection::vec(step, 1..40)
}

fn step(guest: &Guest, step: Step) {
    match step {
        Step::Start(program, control) => {
            guest.program(&program);
            guest.ssch(control | 0x8000);
        }
        Step::Csch => {
            guest.csch();
        }
        Step::Hsch => {
            guest.hsch();
        }
        Step::Rsch => {
            guest.rsch();
        }
        Step::Xsch => {
            guest.xsch();
        }
        Step::Tsch => {
            guest.tsch();
        }
        Step::Tpi => {
            let code = operand(OPERAND);
            let enabled = IscMask::ALL;
            let _ = guest.execute(Instruction::Tpi { code, enabled });
        }
        Step::Msch(flags) => {
            let _ = guest.msch(schib(flags));
        }
        Step::Finish(good) => {
            // The control unit may be told to execute the next command at once.
            let deferred = lock(&guest.toy.deferred).take();
            if let Some(completion) = deferred {
                completion.finish(match good {
                    true => Outcome::End,
                    false => Outcome::UnitCheck(Sense::EQUIPMENT_CHECK),
                });
            }
        }
        Step::Alert => guest.attachment.alert(),
        Step::Reset => guest.css.reset(),
        Step::Any(ipa, ipb, values) => intercept(guest, ipa, ipb, values),
    }
}

/// An instruction with whatever is in the registers.
fn intercept(guest: &Guest, ipa: u16, ipb: u32, values: [u64; 6]) {
    let mut gprs = [0; 16];
    gprs[..6].copy_from_slice(&values);
    gprs[1] = u64::from(SUBCHANNEL) + (gprs[1] & 1);
    gprs[2] &= 0xf_fffc;
    let intercept = Intercept {
        ipa,
        ipb,
        gprs,
        psw_mask: values[5],
        cr6: values[4],
    };
    if let Some(instruction) = intercept.decode() {
        let _ = guest.execute(instruction);
    }
}

/// What the architecture says of every subchannel-status word.
fn check(guest: &Guest) -> Result<(), TestCaseError> {
    let status = guest.status();
    let has = |bits: u16| status.control & bits != 0;
    prop_assert!(!has(0x8000), "a bit that is none");
    prop_assert!(!has(0x001e) || has(PENDING), "status that is not pending");
    prop_assert!(
        !has(0x0300),
        "a halt or clear function that nobody performs"
    );
    prop_assert!(!has(0x0400), "a start function that nobody performs");
    prop_assert!(!has(SUSPENDED | ACTIVE | RESUME_PENDING) || has(START));
    prop_assert!(!(has(SUSPENDED) && has(ACTIVE)), "suspended and active");
    prop_assert!(!has(CLEAR) || !has(START | HALT), "clear is alone");
    prop_assert!(!has(INTERMEDIATE) || has(START), "intermediate of nothing");
    let enabled = guest.attachment.is_enabled();
    prop_assert!(enabled || !has(PENDING | 0x7000), "disabled and at work");
    Ok(())
}

/// The interruption is pending exactly as long as the status, unless it was taken.
fn check_interruption(guest: &Guest, taken: &mut bool) -> Result<(), TestCaseError> {
    let pending = guest.status().control & PENDING != 0;
    let waiting = guest.host.is_pending();
    prop_assert!(!waiting || pending, "an interruption without status");
    prop_assert!(!pending || waiting || *taken, "status without interruption");
    *taken &= pending;
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_is_executed_the_status_is_one(steps in steps()) {
        let guest = rooted();
        let mut taken = false;
        for one in steps {
            taken |= matches!(one, Step::Tpi | Step::Any(0xb236, ..));
            step(&guest, one);
            check(&guest)?;
            check_interruption(&guest, &mut taken)?;
        }
        guest.css.reset();
        prop_assert_eq!(guest.msch(schib(0x1880)), Effect::ConditionCode(Cc0));
        guest.run(&[ccw(Toy::CONTROL, 0, 0, 0)]);
    }

    #[test]
    fn words_of_any_bits_do_no_harm(
        program in prop::collection::vec(any::<[u8; 8]>(), 1..64),
        orb in any::<[u8; 12]>(),
        valid in any::<bool>(),
    ) {
        let guest = rooted();
        guest.set_readable(&[0xff; 300]);
        guest.program(&program);
        let mut orb = orb;
        if valid {
            (orb[4], orb[5], orb[6], orb[7]) = (orb[4], orb[5] & !4, 0x80, orb[7] & 0xc0);
            orb[8..].copy_from_slice(&PROGRAM.to_be_bytes());
        }
        guest.store(OPERAND as u32, &orb);
        let _ = guest.execute(Instruction::Ssch {
            subchannel: SUBCHANNEL,
            orb: operand(OPERAND),
        });
        prop_assert_eq!(guest.csch(), Cc0);
        guest.fetch();
    }

    #[test]
    fn chsc_requests_of_any_bits_stay_in_their_page(request in any::<[u8; 16]>(), command in 0u8..0x40) {
        let guest = rooted();
        let mut request = request;
        (request[0], request[2], request[3]) = (request[0] & 0x0f, 0, command);
        guest.store(0x5000, &request);
        let mut storage = Watched(Storage(guest.memory.clone()));
        let _ = guest.css.execute(Instruction::Chsc { block: operand(0x5000) }, &mut storage);
    }

    #[test]
    fn names_are_words_and_back(word in any::<u32>()) {
        if let Some(id) = SubchannelId::from_word(word) {
            prop_assert_eq!(id.word(), word);
        }
    }
}

/// Storage that is accessed in the page at 0x5000 only.
struct Watched(Storage);

impl Watched {
    fn check(operand: Operand, len: usize) {
        assert!(operand.address >= 0x5000 && operand.address + len as u64 <= 0x6000);
    }
}

impl OperandAccess for Watched {
    fn read(
        &mut self,
        operand: Operand,
        data: &mut [u8],
    ) -> Result<(), virtio_ccw::css::AccessException> {
        Self::check(operand, data.len());
        self.0.read(operand, data)
    }

    fn write(
        &mut self,
        operand: Operand,
        data: &[u8],
    ) -> Result<(), virtio_ccw::css::AccessException> {
        Self::check(operand, data.len());
        self.0.write(operand, data)
    }

    fn check_write(
        &mut self,
        operand: Operand,
        len: usize,
    ) -> Result<(), virtio_ccw::css::AccessException> {
        Self::check(operand, len);
        self.0.check_write(operand, len)
    }
}
