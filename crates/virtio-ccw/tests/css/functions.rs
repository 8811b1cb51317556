//! Start, resume, cancel, halt and clear functions: status and condition codes.

use crate::support::*;
use virtio_ccw::css::{Effect, Interruption, Isc, Outcome, Sense, Signal, SubchannelId};

/// The interruption of the subchannel of a [`Guest`].
fn its_interruption() -> Interruption {
    Interruption::Subchannel {
        id: SubchannelId::new(0, 0).unwrap(),
        parameter: PARAMETER,
        isc: Isc::new(3).unwrap(),
    }
}

/// Format 1, suspend control.
const MAY_SUSPEND: u32 = FORMAT_1 | 0x0800_0000;
/// That, without an interruption at the suspension.
const QUIET: u32 = MAY_SUSPEND | 0x0008_0000;

#[test]
fn a_start_function_interrupts_once_and_is_over_when_fetched() {
    let guest = Guest::new();
    guest.program(&[ccw(Toy::CONTROL, 0, 0, 0)]);
    assert_eq!(guest.ssch(FORMAT_1), Cc0);
    assert_eq!(guest.status().control, START | ENDING);
    assert_eq!(guest.interruption(), Some(its_interruption()));
    assert_eq!(guest.interruption(), None);
    assert_eq!(guest.ssch(FORMAT_1), Cc1, "status pending");
    assert_eq!(guest.fetch().control, START | ENDING);
    assert_eq!(guest.status().control, 0);
    let (code, irb) = guest.tsch();
    assert_eq!((code, irb.scsw().control), (Cc1, 0));
}

#[test]
fn fetching_the_status_withdraws_the_interruption() {
    let guest = Guest::new();
    guest.run(&[ccw(Toy::CONTROL, 0, 0, 0)]);
    assert_eq!(guest.interruption(), None);
}

#[test]
fn without_a_path_the_condition_code_is_deferred() {
    let guest = Guest::new();
    guest.program(&[ccw(Toy::CONTROL, 0, 0, 0)]);
    assert_eq!(guest.ssch(FORMAT_1 & !0x8000 | 0x4000), Cc0);
    let status = guest.fetch();
    assert_eq!(status.flags & 0x0300, 0x0300);
    assert_eq!(status.control, START | ALERT | PENDING);
    assert!(guest.toy.commands().is_empty());
    assert_eq!(guest.ssch(FORMAT_1), Cc0);
    assert_eq!(guest.fetch().flags, 0x0080);
}

#[test]
fn a_deferred_command_keeps_the_subchannel_busy_until_it_ends() {
    let guest = Guest::new();
    guest.program(&[ccw(Toy::DEFER, CC, 0, 0), ccw(Toy::CONTROL, 0, 0, 0)]);
    assert_eq!(guest.ssch(FORMAT_1), Cc0);
    assert_eq!(guest.status().control, START | ACTIVE);
    assert_eq!(guest.tsch().0, Cc1);
    assert_eq!(guest.ssch(FORMAT_1), Cc2);
    assert_eq!(guest.msch(schib(0)), Effect::ConditionCode(Cc2));
    assert_eq!(guest.xsch(), Cc2);
    assert_eq!(guest.interruption(), None);
    guest.toy.finish(Outcome::End);
    assert_eq!(guest.toy.commands(), [Toy::DEFER, Toy::CONTROL]);
    assert_eq!(guest.interruption(), Some(its_interruption()));
    let status = guest.fetch();
    assert_eq!(status.control, START | ENDING);
    assert_eq!(status.address, PROGRAM + 0x10);
}

#[test]
fn a_deferred_command_can_fail() {
    let guest = Guest::new();
    guest.program(&[ccw(Toy::DEFER, CC, 0, 0), ccw(Toy::CONTROL, 0, 0, 0)]);
    guest.ssch(FORMAT_1);
    guest
        .toy
        .finish(Outcome::UnitCheck(Sense::INTERVENTION_REQUIRED));
    assert_eq!(guest.fetch().device, CHANNEL_AND_DEVICE_END | UNIT_CHECK);
    guest.run(&[ccw(0x04, SLI, 1, DATA)]);
    assert_eq!(guest.load::<1>(DATA), [0x40]);
}

#[test]
fn a_command_may_be_completed_before_it_returns() {
    let guest = Guest::new();
    let status = guest.run(&[ccw(Toy::EARLY, CC, 0, 0), ccw(Toy::EARLY, 0, 0, 0)]);
    assert_eq!(status.device, CHANNEL_AND_DEVICE_END);
    assert_eq!(guest.toy.commands(), [Toy::EARLY, Toy::EARLY]);
}

#[test]
fn a_completion_that_is_lost_is_an_equipment_check() {
    let guest = Guest::new();
    guest.program(&[ccw(Toy::DEFER, 0, 0, 0)]);
    guest.ssch(FORMAT_1);
    drop(lock(&guest.toy.deferred).take());
    assert_eq!(guest.fetch().device, CHANNEL_AND_DEVICE_END | UNIT_CHECK);
    let status = guest.run(&[ccw(Toy::FORGET, 0, 0, 0)]);
    assert_eq!(status.device, CHANNEL_AND_DEVICE_END | UNIT_CHECK);
    guest.run(&[ccw(0x04, SLI, 1, DATA)]);
    assert_eq!(guest.load::<1>(DATA), [0x10]);
}

#[test]
fn clear_ends_a_deferred_command_whose_completion_is_then_too_late() {
    let guest = Guest::new();
    guest.program(&[ccw(Toy::DEFER, CC, 0, 0), ccw(Toy::CONTROL, 0, 0, 0)]);
    guest.ssch(FORMAT_1);
    assert_eq!(guest.csch(), Cc0);
    assert_eq!(guest.toy.signals(), [Signal::Clear]);
    assert_eq!(guest.interruption(), Some(its_interruption()));
    let status = guest.fetch();
    assert_eq!(status.control, CLEAR | PENDING);
    assert_eq!((status.device, status.subchannel), (0, 0));
    guest.toy.finish(Outcome::End);
    assert_eq!(guest.status().control, 0);
    assert_eq!(guest.toy.commands(), [Toy::DEFER]);
    // Nor does it end the next one.
    let old = {
        guest.ssch(FORMAT_1);
        guest.csch();
        guest.fetch();
        lock(&guest.toy.deferred).take().unwrap()
    };
    guest.ssch(FORMAT_1);
    old.finish(Outcome::End);
    assert_eq!(guest.status().control, START | ACTIVE);
    guest.toy.finish(Outcome::End);
    assert_eq!(guest.fetch().control, START | ENDING);
}

#[test]
fn clear_takes_pending_status_away() {
    let guest = Guest::new();
    guest.program(&[ccw(0xf1, 0, 0, 0)]);
    guest.ssch(FORMAT_1);
    assert_eq!(guest.csch(), Cc0);
    assert_eq!(guest.csch(), Cc0);
    assert_eq!(guest.interruption(), Some(its_interruption()));
    assert_eq!(guest.interruption(), None);
    assert_eq!(guest.fetch().control, CLEAR | PENDING);
    assert_eq!(guest.tsch().0, Cc1);
}

#[test]
fn halt_ends_what_is_active_with_ending_status() {
    let guest = Guest::new();
    guest.program(&[ccw(Toy::DEFER, 0, 0, 0)]);
    guest.ssch(FORMAT_1);
    assert_eq!(guest.hsch(), Cc0);
    assert_eq!(guest.toy.signals(), [Signal::Halt]);
    assert_eq!(guest.hsch(), Cc1);
    let status = guest.fetch();
    assert_eq!(status.control, START | HALT | ENDING);
    assert_eq!(status.device, CHANNEL_AND_DEVICE_END);
    assert_eq!(guest.status().control, 0);
}

#[test]
fn halt_of_what_is_idle_has_status_alone() {
    let guest = Guest::new();
    assert_eq!(guest.hsch(), Cc0);
    assert_eq!(guest.fetch().control, HALT | PENDING);
    guest.program(&[ccw(Toy::CONTROL, 0, 0, 0)]);
    guest.ssch(FORMAT_1);
    assert_eq!(guest.hsch(), Cc1);
}

#[test]
fn a_program_suspends_itself_and_is_resumed() {
    let guest = Guest::new();
    guest.program(&[
        ccw(Toy::CONTROL, CC, 0, 0),
        ccw(Toy::WRITE, SUSPEND, 1, DATA),
    ]);
    assert_eq!(guest.ssch(MAY_SUSPEND), Cc0);
    assert_eq!(guest.interruption(), Some(its_interruption()));
    assert_eq!(guest.rsch(), Cc1, "status pending");
    let status = guest.fetch();
    assert_eq!(status.control, START | SUSPENDED | INTERMEDIATE | PENDING);
    assert_eq!(status.address, PROGRAM + 0x10);
    assert_eq!(guest.status().control, START | SUSPENDED);
    assert_eq!(guest.ssch(MAY_SUSPEND), Cc2);
    // Resumed with the word unchanged, it suspends itself again.
    assert_eq!(guest.rsch(), Cc0);
    assert_eq!(
        guest.fetch().control,
        START | SUSPENDED | INTERMEDIATE | PENDING
    );
    guest.store(PROGRAM + 8, &ccw(Toy::WRITE, 0, 1, DATA));
    assert_eq!(guest.rsch(), Cc0);
    assert_eq!(guest.fetch().control, START | ENDING);
    assert_eq!(guest.toy.commands(), [Toy::CONTROL, Toy::WRITE]);
}

#[test]
fn suspension_can_be_quiet() {
    let guest = Guest::new();
    guest.program(&[ccw(Toy::CONTROL, SUSPEND, 0, 0)]);
    assert_eq!(guest.ssch(QUIET), Cc0);
    assert_eq!(guest.interruption(), None);
    assert_eq!(guest.status().control, START | SUSPENDED);
    guest.program(&[tic(PROGRAM + 8), ccw(Toy::CONTROL, 0, 0, 0)]);
    assert_eq!(guest.rsch(), Cc0);
    assert_eq!(guest.fetch().control, START | ENDING);
}

#[test]
fn a_program_that_is_resumed_early_does_not_stop_once() {
    let guest = Guest::new();
    guest.program(&[
        ccw(Toy::DEFER, CC, 0, 0),
        ccw(Toy::CONTROL, SUSPEND | CC, 0, 0),
        ccw(Toy::WRITE, 0, 1, DATA),
    ]);
    guest.ssch(QUIET);
    assert_eq!(guest.rsch(), Cc0);
    assert_eq!(guest.status().control, START | ACTIVE | RESUME_PENDING);
    assert_eq!(guest.rsch(), Cc2);
    guest.toy.finish(Outcome::End);
    // The word still asks for it.
    assert_eq!(guest.status().control, START | SUSPENDED);
}

#[test]
fn resume_needs_a_program_that_may_suspend_itself() {
    let guest = Guest::new();
    assert_eq!(guest.rsch(), Cc2);
    guest.program(&[ccw(Toy::DEFER, 0, 0, 0)]);
    guest.ssch(FORMAT_1);
    assert_eq!(guest.rsch(), Cc2);
    guest.csch();
    assert_eq!(guest.rsch(), Cc1);
    guest.fetch();
}

#[test]
fn a_suspended_program_can_be_cancelled() {
    let guest = Guest::new();
    assert_eq!(guest.xsch(), Cc2);
    guest.program(&[ccw(Toy::CONTROL, SUSPEND, 0, 0)]);
    guest.ssch(MAY_SUSPEND);
    assert_eq!(guest.xsch(), Cc1);
    guest.fetch();
    assert_eq!(guest.xsch(), Cc0);
    assert_eq!(guest.status().control, 0);
    assert!(guest.toy.commands().is_empty());
    guest.ssch(QUIET);
    assert_eq!(guest.xsch(), Cc0);
}

#[test]
fn a_suspended_program_can_be_halted_and_cleared() {
    let guest = Guest::new();
    guest.program(&[ccw(Toy::CONTROL, SUSPEND, 0, 0)]);
    guest.ssch(MAY_SUSPEND);
    assert_eq!(guest.hsch(), Cc0);
    assert_eq!(guest.fetch().control, START | HALT | PENDING);
    guest.ssch(QUIET);
    assert_eq!(guest.csch(), Cc0);
    assert_eq!(guest.fetch().control, CLEAR | PENDING);
    assert_eq!(guest.toy.signals(), [Signal::Halt, Signal::Clear]);
}

#[test]
fn a_word_can_ask_for_an_interruption() {
    let guest = Guest::new();
    guest.program(&[ccw(Toy::CONTROL, CC | PCI, 0, 0), ccw(Toy::DEFER, 0, 0, 0)]);
    guest.ssch(FORMAT_1);
    assert_eq!(guest.interruption(), Some(its_interruption()));
    let status = guest.fetch();
    assert_eq!(status.control, START | ACTIVE | INTERMEDIATE | PENDING);
    assert_eq!(status.subchannel, 0x80);
    assert_eq!(guest.status().control, START | ACTIVE);
    guest.toy.finish(Outcome::End);
    let status = guest.fetch();
    assert_eq!((status.control, status.subchannel), (START | ENDING, 0));
}

#[test]
fn it_is_part_of_the_ending_status_if_nobody_fetches_it() {
    let guest = Guest::new();
    let status = guest.run(&[ccw(Toy::WRITE, CD, 1, DATA), ccw(0, PCI, 1, DATA)]);
    assert_eq!(status.control, START | INTERMEDIATE | ENDING);
    assert_eq!(status.subchannel, 0x80);
}

#[test]
fn the_initial_status_can_interrupt() {
    let guest = Guest::new();
    let initial = FORMAT_1 | 0x0020_0000;
    guest.program(&[ccw(Toy::DEFER, 0, 0, 0)]);
    guest.ssch(initial);
    let status = guest.fetch();
    assert_eq!(status.control, START | ACTIVE | INTERMEDIATE | PENDING);
    assert_eq!(status.flags & 4, 4, "zero condition code");
    guest.toy.finish(Outcome::End);
    assert_eq!(guest.fetch().flags & 4, 0);
    guest.program(&[ccw(Toy::CONTROL, 0, 0, 0)]);
    guest.ssch(initial);
    assert_eq!(
        guest.fetch().control,
        START | ENDING,
        "it has ended already"
    );
}

#[test]
fn halt_takes_intermediate_status_away() {
    let guest = Guest::new();
    guest.program(&[ccw(Toy::DEFER, PCI, 0, 0)]);
    guest.ssch(FORMAT_1);
    assert_eq!(guest.hsch(), Cc0);
    let status = guest.fetch();
    assert_eq!(status.control, START | HALT | ENDING);
    assert_eq!(status.subchannel, 0);
}

#[test]
fn unsolicited_status_is_an_alert() {
    let guest = Guest::new();
    guest.attachment.alert();
    guest.attachment.alert();
    assert_eq!(guest.interruption().map(Interruption::isc), Isc::new(3));
    assert_eq!(guest.interruption(), None);
    assert_eq!(guest.fetch().control, ALERT | PENDING);
    assert_eq!(guest.tsch().0, Cc1);
}

#[test]
fn a_disabled_subchannel_has_no_alerts() {
    let guest = Guest::cold();
    guest.attachment.alert();
    assert_eq!(guest.interruption(), None);
    assert_eq!(guest.msch(schib(0x1880)), Effect::ConditionCode(Cc0));
    assert_eq!(guest.tsch().0, Cc1);
}

#[test]
fn the_end_of_a_program_is_an_alert_as_well() {
    let guest = Guest::new();
    guest.run(&[ccw(Toy::ALERT, 0, 0, 0)]);
    assert_eq!(guest.tsch().0, Cc1);
    guest.program(&[ccw(Toy::DEFER, PCI, 0, 0)]);
    guest.ssch(FORMAT_1);
    guest.attachment.alert();
    guest.fetch();
    guest.attachment.alert();
    assert_eq!(guest.tsch().0, Cc1, "intermediate status was not the end");
    guest.toy.finish(Outcome::End);
    assert_eq!(guest.fetch().control, START | ENDING);
    assert_eq!(guest.tsch().0, Cc1);
}

#[test]
fn an_alert_survives_a_program_that_never_was() {
    let guest = Guest::new();
    guest.program(&[ccw(Toy::CONTROL, SUSPEND, 0, 0)]);
    guest.ssch(QUIET);
    guest.attachment.alert();
    assert_eq!(guest.tsch().0, Cc1);
    assert_eq!(guest.xsch(), Cc0);
    assert_eq!(guest.fetch().control, ALERT | PENDING);
}

#[test]
fn disabling_is_told_to_the_control_unit() {
    let guest = Guest::new();
    assert_eq!(guest.msch(schib(0x1880)), Effect::ConditionCode(Cc0));
    assert_eq!(guest.toy.signals(), []);
    assert!(guest.attachment.is_enabled());
    assert_eq!(guest.msch(schib(0x1800)), Effect::ConditionCode(Cc0));
    assert_eq!(guest.toy.signals(), [Signal::Disable]);
    assert!(!guest.attachment.is_enabled());
    assert_eq!(guest.ssch(FORMAT_1), Cc3);
    assert_eq!(guest.tsch().0, Cc3);
    for function in [Guest::csch, Guest::hsch, Guest::rsch, Guest::xsch] {
        assert_eq!(function(&guest), Cc3);
    }
}

#[test]
fn a_reset_leaves_a_new_subchannel() {
    let guest = Guest::new();
    let new = Guest::cold().stsch();
    guest.program(&[ccw(0xf1, 0, 0, 0)]);
    guest.ssch(FORMAT_1);
    guest.fetch();
    guest.program(&[ccw(Toy::DEFER, PCI, 0, 0)]);
    guest.ssch(FORMAT_1);
    guest.css.reset();
    assert_eq!(guest.toy.signals(), [Signal::Reset]);
    assert_eq!(guest.stsch(), new);
    assert_eq!(guest.interruption(), None);
    guest.toy.finish(Outcome::End);
    assert_eq!(guest.stsch(), new, "the completion is too late");
    assert_eq!(guest.msch(schib(0x1880)), Effect::ConditionCode(Cc0));
    guest.run(&[ccw(0x04, SLI, 1, DATA)]);
    assert_eq!(guest.load::<1>(DATA), [0], "no sense bytes");
}
