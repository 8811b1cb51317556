//! Operands, exceptions, and the instructions that are not about one program.

use std::sync::Arc;

use crate::support::*;
use virtio_ccw::css::{
    AttachError, DeviceNumber, Effect, Instruction, Interruption, Isc, IscMask, Place,
    ProgramException, SubchannelId,
};
use virtio_ccw::intercept::TschIntercept;

const SPECIFICATION: Effect = Effect::Program(ProgramException::Specification);
const OPERAND_EXCEPTION: Effect = Effect::Program(ProgramException::Operand);

fn with_operand(subchannel: u32, address: u64) -> [Instruction; 4] {
    let operand = operand(address);
    [
        Instruction::Msch {
            subchannel,
            schib: operand,
        },
        Instruction::Ssch {
            subchannel,
            orb: operand,
        },
        Instruction::Stsch {
            subchannel,
            schib: operand,
        },
        Instruction::Tsch {
            subchannel,
            irb: operand,
        },
    ]
}

fn without_operand(subchannel: u32) -> [Instruction; 4] {
    [
        Instruction::Csch { subchannel },
        Instruction::Hsch { subchannel },
        Instruction::Rsch { subchannel },
        Instruction::Xsch { subchannel },
    ]
}

#[test]
fn operands_are_words() {
    let guest = Guest::new();
    for misaligned in 1..4 {
        for instruction in with_operand(SUBCHANNEL, OPERAND + misaligned) {
            assert_eq!(guest.execute(instruction), SPECIFICATION);
        }
        let crw = operand(OPERAND + misaligned);
        assert_eq!(guest.execute(Instruction::Stcrw { crw }), SPECIFICATION);
        let code = crw;
        let enabled = IscMask::ALL;
        assert_eq!(
            guest.execute(Instruction::Tpi { code, enabled }),
            SPECIFICATION
        );
    }
    let block = operand(OPERAND + 0x800);
    assert_eq!(guest.execute(Instruction::Chsc { block }), SPECIFICATION);
}

#[test]
fn operands_are_accessible() {
    let guest = Guest::new();
    guest.css.report_changes();
    let place = Place::default();
    guest
        .css
        .reserve(place)
        .unwrap()
        .install(Arc::new(Toy::default()));
    // Also where the condition code would be 3, and before an operand exception.
    for subchannel in [SUBCHANNEL, SUBCHANNEL + 9, 0] {
        for instruction in with_operand(subchannel, UNMAPPED) {
            assert_eq!(guest.execute(instruction), Effect::Access);
        }
    }
    let crw = operand(UNMAPPED);
    assert_eq!(guest.execute(Instruction::Stcrw { crw }), Effect::Access);
    let block = operand(UNMAPPED);
    assert_eq!(guest.execute(Instruction::Chsc { block }), Effect::Access);
    // The word was not lost.
    let crw = operand(OPERAND);
    assert_eq!(code(guest.execute(Instruction::Stcrw { crw })), Cc0);
    assert_eq!(guest.load::<4>(OPERAND as u32), [3, 4, 0, 1]);
}

#[test]
fn a_subchannel_has_a_name() {
    let guest = Guest::new();
    for word in [0, 0x2_0000, 0x9_0000, 0x0101_0000, 0x11_0000] {
        assert_eq!(SubchannelId::from_word(word), None);
        for instruction in without_operand(word)
            .into_iter()
            .chain(with_operand(word, OPERAND))
        {
            assert_eq!(guest.execute(instruction), OPERAND_EXCEPTION, "{word:#x}");
        }
    }
}

#[test]
fn what_is_not_there_is_not_operational() {
    let guest = Guest::new();
    guest.store(OPERAND as u32, &[0; 64]);
    for word in [SUBCHANNEL + 1, SUBCHANNEL + 0xffff, 0x3_0000, 0x7_0000] {
        for instruction in without_operand(word)
            .into_iter()
            .chain(with_operand(word, OPERAND))
        {
            assert_eq!(code(guest.execute(instruction)), Cc3, "{word:#x}");
        }
    }
}

#[test]
fn reserved_bits_of_operands_are_operand_exceptions() {
    let guest = Guest::new();
    let before = guest.stsch();
    assert_eq!(guest.msch(schib(0x0180)), OPERAND_EXCEPTION);
    assert_eq!(guest.msch(schib(0x00e0)), OPERAND_EXCEPTION);
    assert_eq!(guest.stsch(), before);
    let orb = [0, FORMAT_1 | 2, PROGRAM].map(u32::to_be_bytes).concat();
    guest.store(OPERAND as u32, &orb);
    let [_, ssch, ..] = with_operand(SUBCHANNEL, OPERAND);
    assert_eq!(guest.execute(ssch), OPERAND_EXCEPTION);
}

#[test]
fn msch_waits_for_status_to_be_fetched() {
    let guest = Guest::new();
    guest.attachment.alert();
    assert_eq!(guest.msch(schib(0)), Effect::ConditionCode(Cc1));
    guest.fetch();
    assert_eq!(guest.msch(schib(0)), Effect::ConditionCode(Cc0));
}

#[test]
fn stsch_sees_gaps_before_the_last_subchannel() {
    let guest = Guest::new();
    let place = Place {
        subchannel: Some(3),
        ..Place::default()
    };
    let attachment = guest.css.reserve(place).unwrap();
    let stsch = |number| {
        guest.store(OPERAND as u32, &[0xff; 52]);
        let [_, _, stsch, _] = with_operand(SUBCHANNEL + number, OPERAND);
        (code(guest.execute(stsch)), guest.load::<8>(OPERAND as u32))
    };
    attachment.install(Arc::new(Toy::default()));
    assert_eq!(stsch(1), (Cc0, [0; 8]));
    assert_eq!(stsch(3), (Cc0, [0, 0, 0, 0, 0, 1, 0, 0]));
    assert_eq!(stsch(4).0, Cc3);
}

#[test]
fn places_are_taken_once() {
    let guest = Guest::cold();
    let reserve = |set, device: Option<u16>, subchannel| {
        let device = device.map(DeviceNumber);
        let place = Place {
            set,
            device,
            subchannel,
        };
        let attachment = guest.css.reserve(place)?;
        Ok((attachment.id().number(), attachment.device().0))
    };
    assert_eq!(reserve(4, None, None), Err(AttachError::NoSet(4)));
    assert_eq!(
        reserve(0, Some(0x1234), None),
        Err(AttachError::DeviceInUse(DeviceNumber(0x1234)))
    );
    let first = SubchannelId::new(0, 0).unwrap();
    assert_eq!(
        reserve(0, None, Some(0)),
        Err(AttachError::SubchannelInUse(first))
    );
    assert_eq!(reserve(0, None, None), Ok((1, 0)));
    assert_eq!(reserve(0, None, None), Ok((2, 1)));
    assert_eq!(reserve(1, Some(0x1234), None), Ok((0, 0x1234)));
}

#[test]
fn tsch_puts_back_what_it_cannot_store() {
    let guest = Guest::new();
    let mut modified = schib(0x1880);
    modified[27] = 1;
    assert_eq!(guest.msch(modified), Effect::ConditionCode(Cc0));
    guest.program(&[ccw(0xf1, 0, 0, 0)]);
    guest.ssch(FORMAT_1);
    let before = guest.stsch();
    guest.interruption().expect("an interruption");
    let [.., tsch] = with_operand(SUBCHANNEL, UNMAPPED);
    assert_eq!(guest.execute(tsch), Effect::Access);
    assert_eq!(guest.stsch(), before);
    assert!(guest.interruption().is_some(), "raised once more");
    assert_eq!(guest.tsch().1.0[32], 0x80, "with its sense bytes");
}

#[test]
fn the_tsch_intercept_gives_the_interruption_back_when_suppressed() {
    let guest = Guest::new();
    guest.attachment.alert();
    let dequeued = guest.interruption();
    let mut intercept = TschIntercept {
        dequeued,
        ipb: 0x2000_0000,
        gprs: [0; 16],
        psw_mask: 3 << 31,
    };
    intercept.gprs[1] = SUBCHANNEL.into();
    let mut storage = Storage(guest.memory.clone());
    for (address, effect) in [(OPERAND + 2, SPECIFICATION), (UNMAPPED, Effect::Access)] {
        intercept.gprs[2] = address;
        assert_eq!(intercept.execute(&guest.css, &mut storage), effect);
        assert_eq!(guest.interruption(), dequeued);
    }
    intercept.gprs[2] = OPERAND;
    assert_eq!(code(intercept.execute(&guest.css, &mut storage)), Cc0);
    assert_eq!(guest.interruption(), None);
}

#[test]
fn tpi_takes_the_most_urgent_interruption() {
    let guest = Guest::new();
    let isc = |number| Isc::new(number).unwrap();
    guest.attachment.alert();
    guest.css.adapter_interrupt(isc(5));
    guest.attachment.adapter_interrupt(isc(5));
    guest.css.adapter_interrupt(isc(2));
    let tpi = |address, cr6| {
        guest.execute(Instruction::Tpi {
            code: operand(address),
            enabled: IscMask::from_cr6(cr6),
        })
    };
    assert_eq!(code(tpi(OPERAND, 0x8000_0000)), Cc0, "nothing enabled");
    assert_eq!(
        tpi(0, 0xff00_0000),
        Effect::InterruptionCode([0, 0, 0x9000_0000])
    );
    assert_eq!(tpi(UNMAPPED, 0xff00_0000), Effect::Access);
    assert_eq!(code(tpi(OPERAND, 0xff00_0000)), Cc1);
    assert_eq!(
        guest.load::<8>(OPERAND as u32),
        [0, 1, 0, 0, 0xca, 0xfe, 0xf0, 0x0d]
    );
    assert_eq!(
        tpi(0, 0x0400_0000),
        Effect::InterruptionCode([0, 0, 0xa800_0000])
    );
    assert_eq!(code(tpi(0, 0xff00_0000)), Cc0);
    assert_eq!(
        guest.fetch().control,
        ALERT | PENDING,
        "the status is still there"
    );
}

#[test]
fn interruption_words() {
    let id = SubchannelId::new(2, 7).unwrap();
    let interruption = Interruption::Subchannel {
        id,
        parameter: 9,
        isc: Isc::new(6).unwrap(),
    };
    assert_eq!(interruption.subchannel_word(), 0x0005_0007);
    assert_eq!(SubchannelId::from_word(0x0005_0007), Some(id));
    assert_eq!(interruption.word(), 0x3000_0000);
    assert_eq!(id.to_string(), "0.2.0007");
}

#[test]
fn devices_come_and_go_with_reports() {
    let guest = Guest::new();
    let stcrw = || {
        let crw = operand(OPERAND);
        let code = code(guest.execute(Instruction::Stcrw { crw }));
        (code, u32::from_be_bytes(guest.load(OPERAND as u32)))
    };
    let checks = || guest.host.reports();
    assert_eq!(stcrw(), (Cc1, 0), "the machine was put together with it");
    guest.css.report_changes();
    let attachment = guest.css.reserve(Place::default()).unwrap();
    assert_eq!(checks(), 0);
    attachment.install(Arc::new(Toy::default()));
    assert_eq!(checks(), 1);
    let [_, _, stsch, _] = with_operand(SUBCHANNEL + 1, OPERAND);
    assert_eq!(code(guest.execute(stsch)), Cc0);
    attachment.detach();
    attachment.detach();
    assert_eq!(checks(), 1, "the first was not answered yet");
    assert_eq!(code(guest.execute(stsch)), Cc3);
    assert_eq!(stcrw(), (Cc0, 0x0304_0001));
    assert_eq!(stcrw(), (Cc0, 0x0304_0001));
    assert_eq!(stcrw(), (Cc1, 0));
    // The place is free again.
    let again = guest.css.reserve(Place::default()).unwrap();
    assert_eq!(again.id(), attachment.id());
    attachment.alert();
    attachment.install(Arc::new(Toy::default()));
    assert_eq!(
        code(guest.execute(stsch)),
        Cc3,
        "the old attachment is dead"
    );
}

#[test]
fn a_device_that_goes_takes_its_program_with_it() {
    let guest = Guest::new();
    guest.program(&[ccw(Toy::DEFER, CC | PCI, 0, 0), ccw(Toy::CONTROL, 0, 0, 0)]);
    guest.ssch(FORMAT_1);
    guest.attachment.detach();
    assert_eq!(guest.interruption(), None);
    assert_eq!(guest.tsch().0, Cc3);
    guest.toy.finish(virtio_ccw::css::Outcome::End);
    assert_eq!(guest.toy.commands(), [Toy::DEFER]);
}

#[test]
fn a_device_can_go_in_the_middle_of_its_program() {
    let guest = Guest::new();
    guest.program(&[ccw(Toy::DETACH, CC, 0, 0), ccw(Toy::CONTROL, 0, 0, 0)]);
    assert_eq!(guest.ssch(FORMAT_1), Cc0);
    assert_eq!(guest.toy.commands(), [Toy::DETACH]);
    assert_eq!(guest.interruption(), None);
    assert_eq!(guest.tsch().0, Cc3);
}

#[test]
fn other_subchannel_sets_have_to_be_enabled() {
    let guest = Guest::new();
    guest.css.report_changes();
    let place = Place {
        set: 2,
        ..Place::default()
    };
    let attachment = guest.css.reserve(place).unwrap();
    attachment.install(Arc::new(Toy::default()));
    let [_, _, stsch, _] = with_operand(attachment.id().word(), OPERAND);
    assert_eq!(code(guest.execute(stsch)), Cc3);
    assert_eq!(guest.host.reports(), 0);
    assert_eq!(chsc(&guest, 0x400, 0x31, [2, 0, 0]).0, 1);
    assert_eq!(code(guest.execute(stsch)), Cc0);
    attachment.detach();
    assert_eq!(guest.host.reports(), 1);
    guest.css.reset();
    assert_eq!(
        chsc(&guest, 0x10, 4, [0x20_0000, 0, 0]).0,
        3,
        "disabled by it"
    );
}

/// CHANNEL SUBSYSTEM CALL: response code, parameter, data.
fn chsc(guest: &Guest, len: u16, command: u16, words: [u32; 3]) -> (u16, u32, Vec<u8>) {
    let block = 0x5000u32;
    let mut request = vec![0xee; 0x1000];
    request[..2].copy_from_slice(&len.to_be_bytes());
    request[2..4].copy_from_slice(&command.to_be_bytes());
    request[4..16].copy_from_slice(&words.map(u32::to_be_bytes).concat());
    guest.store(block, &request);
    let effect = guest.execute(Instruction::Chsc {
        block: operand(block.into()),
    });
    assert_eq!(effect, Effect::ConditionCode(Cc0));
    let response = guest.load::<0x1000>(block)[usize::from(len)..].to_vec();
    let half = |at: usize| u16::from_be_bytes([response[at], response[at + 1]]);
    let length = usize::from(half(0));
    assert!(response[length..].iter().all(|&byte| byte == 0xee));
    let parameter = u32::from(half(4)) << 16 | u32::from(half(6));
    (half(2), parameter, response[8..length].to_vec())
}

#[test]
fn chsc_describes_the_channel_path() {
    let guest = Guest::new();
    let (code, format, data) = chsc(&guest, 16, 2, [0, 0xff, 0]);
    assert_eq!((code, format), (1, 0));
    assert_eq!(data, [0x80, 0, 0x32, 0, 0, 0, 0, 0]);
    let (code, format, data) = chsc(&guest, 16, 2, [0x1000_0100, 0, 0]);
    assert_eq!((code, format, data.len()), (1, 1, 32));
    let (.., data) = chsc(&guest, 16, 2, [1, 0xff, 0]);
    assert!(data.is_empty(), "there is no other");
    assert_eq!(chsc(&guest, 16, 2, [1, 0, 0]).0, 3);
    assert_eq!(chsc(&guest, 24, 2, [0, 0, 0]).0, 3);
    assert_eq!(chsc(&guest, 16, 2, [0x0100_0000, 0, 0]).0, 7);
    assert_eq!(chsc(&guest, 16, 2, [0x0000_0300, 0, 0]).0, 7);
    assert_eq!(chsc(&guest, 16, 2, [0x0001_0000, 0, 0]).0, 8);
}

#[test]
fn chsc_describes_subchannels() {
    let guest = Guest::new();
    let (code, _, data) = chsc(&guest, 16, 4, [0, 1, 0]);
    assert_eq!((code, data.len()), (1, 64));
    assert_eq!(data[..8], [0xc0, 0x34, 0x12, 0x34, 0x80, 0, 0, 0]);
    assert_eq!(data[32..], [0; 32], "there is no other");
    let (code, _, data) = chsc(&guest, 16, 6, [0, 0, 0]);
    assert_eq!(code, 1);
    assert_eq!(data[..8], [0xc0, 0x80, 0x12, 0x34, 0, 0, 0, 0]);
    let (code, _, data) = chsc(&guest, 16, 4, [0, 0xffff, 0]);
    assert_eq!((code, data.len()), (1, 127 * 32), "as many as fit");
    assert_eq!(chsc(&guest, 16, 4, [2, 1, 0]).0, 3);
    assert_eq!(chsc(&guest, 16, 4, [0x10_0000, 0, 0]).0, 3, "another set");
    assert_eq!(chsc(&guest, 16, 6, [0x2000_0000, 0, 0]).0, 3);
    assert_eq!(chsc(&guest, 16, 4, [0, 0, 1]).0, 3);
}

#[test]
fn chsc_has_no_optional_facilities() {
    let guest = Guest::new();
    let (code, parameter, data) = chsc(&guest, 16, 0x10, [0; 3]);
    assert_eq!((code, parameter), (1, 0));
    assert_eq!(data, [0; 4072]);
    assert_eq!(chsc(&guest, 24, 0x10, [0; 3]).0, 3);
    assert_eq!(chsc(&guest, 16, 0x10, [0x1_0000, 0, 0]).0, 7);
    assert_eq!(chsc(&guest, 16, 0x10, [0x100, 0, 0]).0, 8);
    assert_eq!(chsc(&guest, 16, 0x10, [1, 0, 0]).0, 3);
    assert_eq!(
        chsc(&guest, 0x400, 0x31, [0; 3]).0,
        0x101,
        "several subsystems"
    );
    assert_eq!(chsc(&guest, 16, 0x31, [2, 0, 0]).0, 3);
    assert_eq!(chsc(&guest, 0x400, 0x31, [0x0100_0002, 0, 0]).0, 7);
    for command in [0x0e, 0x12, 0x16, 0x21, 0x24, 0x26, 0xffff] {
        let refused = (4, 0, vec![]);
        assert_eq!(chsc(&guest, 16, command, [0; 3]), refused, "{command:#x}");
    }
}

#[test]
fn chsc_requests_have_a_length() {
    let guest = Guest::new();
    let block = operand(0x5000);
    for len in [0u16, 8, 17, 4089, 4096, 0xfff8] {
        guest.store(0x5000, &len.to_be_bytes());
        let effect = guest.execute(Instruction::Chsc { block });
        assert_eq!(effect, OPERAND_EXCEPTION, "{len}");
    }
    // The longest request leaves room for a header.
    assert_eq!(chsc(&guest, 4088, 0x10, [0; 3]).0, 3);
    assert_eq!(chsc(&guest, 4088, 0x77, [0; 3]).0, 4);
}

#[test]
fn notifications_find_their_control_unit() {
    let guest = Guest::new();
    let notify = |subchannel: u32, queue| {
        let effect = guest.execute(Instruction::Notify {
            subchannel: subchannel.into(),
            queue,
            cookie: 6,
        });
        match effect {
            Effect::Register { number: 2, value } => value as i64,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(notify(SUBCHANNEL, 1), 7);
    assert_eq!(notify(SUBCHANNEL, 2), -22);
    assert_eq!(notify(SUBCHANNEL, u64::MAX), -22);
    assert_eq!(notify(SUBCHANNEL + 1, 1), -22);
    assert_eq!(notify(0, 1), -22);
    assert_eq!(guest.msch(schib(0)), Effect::ConditionCode(Cc0));
    assert_eq!(notify(SUBCHANNEL, 1), -22, "disabled");
}
