//! Several CPUs and a worker at one subchannel.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::support::*;
use virtio_ccw::css::{
    Command, Completion, ConditionCode, ControlUnit, Effect, Instruction, Outcome, SenseId, Signal,
    Transfer,
};

/// Defers every other command, and notices if it is given two at a time.
struct Exclusive {
    inside: AtomicBool,
    overlaps: AtomicUsize,
    executed: AtomicUsize,
    deferred: Mutex<Vec<Completion>>,
}

impl ControlUnit for Exclusive {
    fn sense_id(&self) -> SenseId {
        Toy::default().sense_id()
    }

    fn execute(&self, _: Command, transfer: &mut Transfer<'_>) -> Outcome {
        if self.inside.swap(true, Ordering::SeqCst) {
            self.overlaps.fetch_add(1, Ordering::SeqCst);
        }
        transfer.write(&[1; 8]);
        thread::yield_now();
        let defers = self
            .executed
            .fetch_add(1, Ordering::SeqCst)
            .is_multiple_of(2);
        let outcome = match defers {
            true => {
                lock(&self.deferred).push(transfer.defer());
                Outcome::Pending
            }
            false => Outcome::End,
        };
        self.inside.store(false, Ordering::SeqCst);
        outcome
    }

    fn signal(&self, _: Signal) {
        thread::yield_now();
    }

    fn notify(&self, _: u64, _: u64) -> Option<u64> {
        None
    }
}

#[test]
fn commands_come_one_at_a_time_whatever_other_cpus_do() {
    let guest = Guest::new();
    let unit = Arc::new(Exclusive {
        inside: AtomicBool::new(false),
        overlaps: AtomicUsize::new(0),
        executed: AtomicUsize::new(0),
        deferred: Mutex::default(),
    });
    guest.attachment.install(unit.clone());
    guest.program(&[
        ccw(0x02, CC, 8, DATA),
        ccw(0x02, CC | PCI, 8, DATA),
        ccw(0x02, 0, 8, DATA),
    ]);
    let orb = [0, FORMAT_1, PROGRAM].map(u32::to_be_bytes).concat();
    guest.store(OPERAND as u32, &orb);
    let (subchannel, orb) = (SUBCHANNEL, operand(OPERAND));
    let started = AtomicUsize::new(0);
    let guest = &guest;
    let execute = |instruction| {
        let effect = guest.execute(instruction);
        if effect == Effect::ConditionCode(ConditionCode::Cc0) {
            started.fetch_add(1, Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        for cpu in 0..2u64 {
            let irb = operand(0x6000 + 0x100 * cpu);
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    execute(Instruction::Ssch { subchannel, orb });
                    execute(Instruction::Tsch { subchannel, irb });
                }
            });
        }
        scope.spawn(|| {
            for round in 0..ROUNDS {
                execute(match round % 3 {
                    0 => Instruction::Csch { subchannel },
                    1 => Instruction::Hsch { subchannel },
                    _ => Instruction::Xsch { subchannel },
                });
            }
        });
        scope.spawn(|| {
            for _ in 0..ROUNDS {
                let completions = std::mem::take(&mut *lock(&unit.deferred));
                completions
                    .into_iter()
                    .for_each(|completion| completion.finish(Outcome::End));
                guest.attachment.alert();
            }
        });
    });
    assert_eq!(unit.overlaps.load(Ordering::SeqCst), 0);
    assert_eq!(guest.csch(), Cc0);
    assert_eq!(guest.fetch().control, CLEAR | PENDING);
    assert_eq!(guest.ssch(FORMAT_1), Cc0);
    assert!(unit.executed.load(Ordering::SeqCst) > 0);
}

const ROUNDS: usize = 2000;
