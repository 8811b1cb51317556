//! Saving and restoring, with states that were tampered with.

use crate::support::*;
use proptest::prelude::*;
use virtio_ccw::css::{Effect, Outcome, ProgramState, SubchannelState, SubsystemState};
use virtio_ccw::virtio_device::Error;

/// A guest with a suspended program, whose first status was fetched.
fn suspended() -> Guest {
    let guest = Guest::new();
    guest.program(&[ccw(Toy::CONTROL, SUSPEND, 0, 0)]);
    assert_eq!(guest.ssch(FORMAT_1 | 0x0800_0000), Cc0);
    guest.fetch();
    guest
}

#[test]
fn a_suspended_program_goes_on_elsewhere() {
    let before = suspended();
    let state = before.attachment.save().unwrap();
    let after = Guest::cold();
    after.attachment.restore(&state).unwrap();
    assert_eq!(after.stsch(), before.stsch());
    assert_eq!(after.attachment.save().unwrap(), state);
    assert_eq!(after.interruption(), None);
    after.program(&[ccw(Toy::WRITE, 0, 1, DATA)]);
    assert_eq!(after.rsch(), Cc0);
    assert_eq!(after.fetch().control, START | ENDING);
    assert_eq!(after.toy.commands(), [Toy::WRITE]);
}

#[test]
fn pending_status_interrupts_elsewhere() {
    let before = Guest::new();
    before.program(&[ccw(0xf1, 0, 0, 0)]);
    before.ssch(FORMAT_1);
    let after = Guest::cold();
    let state = before.attachment.save().unwrap();
    after.attachment.restore(&state).unwrap();
    assert_eq!(after.interruption(), before.interruption());
    assert_eq!(after.tsch().1.0, before.tsch().1.0);
    after.run(&[ccw(0x04, SLI, 1, DATA)]);
    assert_eq!(after.load::<1>(DATA), [0x80]);
}

#[test]
fn a_program_at_work_is_not_saved() {
    let guest = Guest::new();
    guest.program(&[ccw(Toy::DEFER, 0, 0, 0)]);
    guest.ssch(FORMAT_1);
    assert!(matches!(guest.attachment.save(), Err(Error::Misuse(_))));
    guest.toy.finish(Outcome::End);
    assert!(guest.attachment.save().is_ok());
    guest.attachment.detach();
    assert!(matches!(guest.attachment.save(), Err(Error::Misuse(_))));
}

#[test]
fn states_that_cannot_be_are_refused_and_change_nothing() {
    let good = suspended().attachment.save().unwrap();
    let guest = Guest::new();
    let before = guest.stsch();
    let refused = |name: &str, change: fn(&mut SubchannelState)| {
        let mut state = good.clone();
        change(&mut state);
        let result = guest.attachment.restore(&state);
        assert!(matches!(result, Err(Error::State(_))), "{name}");
        assert_eq!(guest.stsch(), before, "{name}");
    };
    refused("version", |state| state.version = 2);
    refused("device number", |state| state.pmcw[6] = 9);
    refused("reserved bit", |state| state.pmcw[4] |= 1);
    refused("disabled", |state| state.pmcw[5] &= 0x7f);
    refused("active", |state| state.scsw[3] |= 0x80);
    refused("resume pending", |state| state.scsw[2] |= 0x08);
    refused("halted", |state| state.scsw[2] |= 0x20);
    refused("no program", |state| state.suspended = None);
    refused("status that is not pending", |state| state.scsw[3] |= 0x10);
    refused("bit that is none", |state| state.scsw[2] |= 0x80);
    refused("program", |state| {
        state.suspended = Some(ProgramState {
            orb: [0xff; 12],
            address: 0,
        });
    });
    refused("idle program", |state| {
        (state.scsw[2], state.scsw[3]) = (0, 0);
    });
    refused("alert of an idle subchannel", |state| {
        (state.scsw[2], state.scsw[3]) = (0, 0);
        state.suspended = None;
        state.alert = true;
    });
}

#[test]
fn the_subsystem_is_saved_apart() {
    let guest = Guest::new();
    guest.css.report_changes();
    guest.attachment.detach();
    let state = guest.css.save();
    assert_eq!(state.reports, [0x0304_0000]);
    let other = Guest::new();
    other.css.restore(&state).unwrap();
    assert_eq!(other.css.save(), state);
    let mut wrong = state.clone();
    wrong.reports = vec![0; 1000];
    assert!(matches!(other.css.restore(&wrong), Err(Error::State(_))));
    let version = SubsystemState::VERSION + 1;
    let wrong = SubsystemState { version, ..state };
    assert!(matches!(other.css.restore(&wrong), Err(Error::State(_))));
}

#[cfg(feature = "serde")]
#[test]
fn states_are_serialised() {
    let state = suspended().attachment.save().unwrap();
    let json = serde_json::to_string(&state).unwrap();
    let back: SubchannelState = serde_json::from_str(&json).unwrap();
    assert_eq!(back, state);
}

proptest! {
    /// Whatever was restored, the guest can get its subchannel back.
    #[test]
    fn what_is_restored_can_be_cleared(
        flags in any::<u16>(),
        control in any::<u16>(),
        orb in proptest::option::of(any::<[u8; 12]>()),
        address in any::<u32>(),
        alert in any::<bool>(),
        resume in any::<bool>(),
    ) {
        let guest = Guest::cold();
        let mut state = guest.attachment.save().unwrap();
        state.pmcw[4..6].copy_from_slice(&(flags & 0xf8ff).to_be_bytes());
        state.scsw[2..4].copy_from_slice(&control.to_be_bytes());
        state.suspended = orb.map(|orb| ProgramState { orb, address });
        state.alert = alert;
        if guest.attachment.restore(&state).is_err() {
            return Ok(());
        }
        prop_assert_eq!(guest.attachment.save().unwrap().scsw, state.scsw);
        if resume {
            guest.rsch();
        }
        if guest.attachment.is_enabled() {
            prop_assert_eq!(guest.csch(), Cc0);
            guest.fetch();
        }
        prop_assert_eq!(guest.msch(schib(0x1880)), Effect::ConditionCode(Cc0));
        guest.run(&[ccw(Toy::CONTROL, 0, 0, 0)]);
    }
}
