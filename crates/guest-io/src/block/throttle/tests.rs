//! Channels of members under a clock of the test's own.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

use super::*;
use crate::block::{
    Backend, Channel, Direction, Failures, NullChannel, NullDisk, RawImage, Verdict,
};
use crate::{Deferred, FileRange, Flags, Iovecs, Mode, Storage, SubmitError, Submitted};

type Guard = Arc<GuestMemoryMmap>;
type Null = ThrottledChannel<NullChannel, Guard>;

#[derive(Clone, Default)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    fn advance(&self, milliseconds: u64) {
        self.0.fetch_add(milliseconds, Ordering::Relaxed);
    }

    fn group(&self, rates: Rates) -> Arc<ThrottleGroup> {
        let now = self.0.clone();
        let clock = move || Duration::from_millis(now.load(Ordering::Relaxed));
        Arc::new(ThrottleGroup::with_clock(rates, clock))
    }
}

fn total(rate: u64) -> Option<Limit> {
    NonZeroU64::new(rate).map(|rate| Limit::Total(Rate::new(rate)))
}

/// Ten in a second: two at once, then one in 100 ms.
fn ten() -> Rates {
    Rates {
        operations: total(10),
        ..Rates::default()
    }
}

fn member(group: &Arc<ThrottleGroup>) -> Arc<ThrottleMember> {
    let member = ThrottleMember::new();
    member.join(Some(group.clone()));
    Arc::new(member)
}

fn channel(member: &Arc<ThrottleMember>) -> Null {
    let disk = Throttled::new(NullDisk::new(1 << 20).unwrap(), member.clone());
    disk.channel(DEPTH).unwrap()
}

fn memory() -> Guard {
    Arc::new(GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 1 << 16)]).unwrap())
}

fn transfer<C: Channel<Guard>>(
    channel: &mut C,
    direction: Direction,
    memory: &Guard,
    token: u64,
) -> Result<Submitted, SubmitError> {
    let (mut storage, segment) = (Storage::new(), (GuestAddress(4096), 512));
    let mut iovecs = Iovecs::new(&mut storage);
    iovecs.push(memory.get_slice(segment.0, segment.1).unwrap());
    let deferred = Deferred {
        token,
        memory,
        segments: [segment],
    };
    match direction {
        Direction::Read => channel.read(512, &mut iovecs, deferred),
        Direction::Write => channel.write(512, Flags::NONE, &mut iovecs, deferred),
    }
}

/// Whether a read was done at once.
fn read(channel: &mut Null, token: u64) -> bool {
    match transfer(channel, Direction::Read, &memory(), token).unwrap() {
        Submitted::Done(result) => result.unwrap() == 512,
        Submitted::InFlight => false,
    }
}

/// Tokens of what has ended, and well.
fn ended(channel: &mut Null) -> Vec<u64> {
    let completions = std::iter::from_fn(|| channel.poll());
    completions
        .filter(|it| it.result.is_ok())
        .map(|it| it.token)
        .collect()
}

#[test]
fn without_a_group_nothing_waits() {
    let mut channel = channel(&Arc::default());
    assert!((0..1000).all(|token| read(&mut channel, token)));
    assert!(channel.poll().is_none());
}

#[test]
fn what_waits_begins_in_its_time_and_order() {
    let clock = Clock::default();
    let mut channel = channel(&member(&clock.group(ten())));
    let done: Vec<bool> = (0..5).map(|token| read(&mut channel, token)).collect();
    assert_eq!(done, [true, true, false, false, false]);
    assert!(ended(&mut channel).is_empty());
    clock.advance(100);
    assert_eq!(ended(&mut channel), [2]);
    assert!(!read(&mut channel, 5), "others are before it");
    clock.advance(99);
    assert!(ended(&mut channel).is_empty());
    clock.advance(1);
    for token in 3..6 {
        assert_eq!(ended(&mut channel), [token]);
        clock.advance(100);
    }
}

#[test]
fn data_moves_when_the_request_begins() {
    let clock = Clock::default();
    let file = tempfile::tempfile().unwrap();
    file.set_len(1 << 20).unwrap();
    let image = RawImage::new(file).unwrap().mode(Mode::Sync);
    let member = member(&clock.group(ten()));
    let mut channel = Throttled::new(image, member).channel(DEPTH).unwrap();
    let memory = memory();
    for token in 0..3 {
        memory.write_obj(token + 1, GuestAddress(4096)).unwrap();
        transfer(&mut channel, Direction::Write, &memory, token).unwrap();
    }
    transfer(&mut channel, Direction::Read, &memory, 3).unwrap();
    memory.write_obj(7_u64, GuestAddress(4096)).unwrap();
    clock.advance(1000);
    // The read has a turn of its own, and comes first.
    assert_eq!(channel.poll().unwrap().token, 3);
    assert_eq!(memory.read_obj::<u64>(GuestAddress(4096)).unwrap(), 2);
    memory.write_obj(9_u64, GuestAddress(4096)).unwrap();
    assert_eq!(channel.poll().unwrap().token, 2);
    transfer(&mut channel, Direction::Read, &memory, 4).unwrap();
    assert_eq!(memory.read_obj::<u64>(GuestAddress(4096)).unwrap(), 9);
}

#[test]
fn everything_that_moves_data_counts() {
    let clock = Clock::default();
    let bytes = total(1000);
    let rates = Rates {
        bytes,
        ..Rates::default()
    };
    let range = FileRange::new(0, 2000).unwrap();
    let requests: [fn(&mut Null, FileRange) -> _; 3] = [
        |channel, range| Channel::<Guard>::discard(channel, 0, range),
        |channel, range| Channel::<Guard>::write_zeroes(channel, 0, range, true),
        |channel, range| Channel::<Guard>::overwrite(channel, 0, range),
    ];
    for request in requests {
        let mut channel = channel(&member(&clock.group(rates)));
        assert!(matches!(
            request(&mut channel, range),
            Ok(Submitted::Done(_))
        ));
        assert!(matches!(
            request(&mut channel, range),
            Ok(Submitted::InFlight)
        ));
        assert!(matches!(channel.sync_data(1), Ok(Submitted::Done(_))));
        clock.advance(1899);
        assert!(ended(&mut channel).is_empty());
        clock.advance(1);
        assert_eq!(ended(&mut channel), [0]);
    }
}

#[test]
fn members_take_turns_however_much_they_ask_for() {
    let clock = Clock::default();
    let group = clock.group(ten());
    let busy = member(&group);
    let (mut queues, mut other) = ([channel(&busy), channel(&busy)], channel(&member(&group)));
    for token in 0..8 {
        queues.iter_mut().for_each(|queue| _ = read(queue, token));
    }
    (0..4).for_each(|token| _ = read(&mut other, token));
    let (mut turns, mut order) = ([0; 3], VecDeque::new());
    for _ in 0..8 {
        clock.advance(100);
        for (at, channel) in queues.iter_mut().chain([&mut other]).enumerate() {
            let count = ended(channel).len();
            turns[at] += count;
            order.extend((0..count).map(|_| at));
        }
    }
    assert_eq!(turns, [2, 2, 4], "{order:?}");
}

#[test]
fn reads_do_not_wait_for_writes() {
    let clock = Clock::default();
    let write = NonZeroU64::new(10).map(Rate::new);
    let operations = Some(Limit::Each { read: None, write });
    let rates = Rates {
        operations,
        ..Rates::default()
    };
    let mut channel = channel(&member(&clock.group(rates)));
    for token in 0..4 {
        transfer(&mut channel, Direction::Write, &memory(), token).unwrap();
    }
    assert!((4..100).all(|token| read(&mut channel, token)));
    clock.advance(200);
    assert_eq!(ended(&mut channel), [2, 3]);
}

#[test]
fn a_drain_begins_all_and_counts_it() {
    let clock = Clock::default();
    let group = clock.group(ten());
    let (mut first, mut second) = (channel(&member(&group)), channel(&member(&group)));
    for token in 0..6 {
        read(&mut first, token);
    }
    assert!(!read(&mut second, 0));
    Channel::<Guard>::drain(&mut first, true);
    assert_eq!(ended(&mut first), [2, 3, 4, 5]);
    assert!(read(&mut first, 6), "nothing waits meanwhile");
    Channel::<Guard>::drain(&mut first, false);
    assert!(!read(&mut first, 7));
    clock.advance(599);
    assert!(ended(&mut second).is_empty());
    clock.advance(1);
    assert_eq!(ended(&mut second), [0]);
}

#[test]
fn limits_change_under_what_waits() {
    let clock = Clock::default();
    let (group, slow) = (clock.group(ten()), clock.group(ten()));
    let member = member(&group);
    let mut channel = channel(&member);
    for token in 0..6 {
        read(&mut channel, token);
    }
    group.set_rates(ten());
    assert_eq!(ended(&mut channel), [2, 3], "of the new tenth of a second");
    member.join(Some(slow.clone()));
    assert_eq!(ended(&mut channel), [4, 5], "of the new group's");
    assert!(!read(&mut channel, 6));
    slow.set_rates(Rates::default());
    assert_eq!(ended(&mut channel), [6]);
    slow.set_rates(ten());
    (7..10).for_each(|token| _ = read(&mut channel, token));
    member.join(None);
    assert_eq!(ended(&mut channel), [9]);
    assert!(member.group().is_none() && group.rates() == ten());
}

#[test]
fn who_goes_gives_up_its_turn() {
    let clock = Clock::default();
    let group = clock.group(ten());
    let (mut first, mut second) = (channel(&member(&group)), channel(&member(&group)));
    (0..8).for_each(|token| _ = read(&mut first, token));
    read(&mut second, 0);
    drop(first);
    clock.advance(100);
    assert_eq!(ended(&mut second), [0]);
}

#[test]
fn a_request_that_waits_can_be_called_off() {
    let clock = Clock::default();
    let group = clock.group(ten());
    let (mut first, mut second) = (channel(&member(&group)), channel(&member(&group)));
    (0..4).for_each(|token| _ = read(&mut first, token));
    read(&mut second, 0);
    for token in [2, 3, 77] {
        Channel::<Guard>::cancel(&mut first, token);
    }
    let errors: Vec<_> = std::iter::from_fn(|| Channel::<Guard>::poll(&mut first))
        .map(|it| (it.token, it.result.unwrap_err()))
        .collect();
    assert_eq!(errors.len(), 2);
    for ((token, error), expected) in errors.into_iter().zip([2, 3]) {
        assert_eq!(token, expected);
        assert_eq!(
            Failures::default().judge(Direction::Read, &error),
            Verdict::Keep
        );
    }
    clock.advance(100);
    assert_eq!(ended(&mut second), [0], "its turn comes at once");
}

#[test]
fn no_more_wait_than_the_channel_is_for() {
    let mut channel = channel(&member(&Clock::default().group(ten())));
    (0..u64::from(DEPTH) + 2).for_each(|token| _ = read(&mut channel, token));
    let refused = transfer(&mut channel, Direction::Read, &memory(), 0);
    assert!(matches!(refused, Err(SubmitError::Full)));
}

#[test]
fn memory_that_is_gone_by_then_is_an_error() {
    let clock = Clock::default();
    let mut channel = channel(&member(&clock.group(ten())));
    (0..2).for_each(|token| _ = read(&mut channel, token));
    let (memory, mut storage) = (memory(), Storage::new());
    let deferred = Deferred {
        token: 2,
        memory: &memory,
        segments: [(GuestAddress(u64::MAX - 1), 512)],
    };
    let mut iovecs = Iovecs::new(&mut storage);
    iovecs.push(memory.get_slice(GuestAddress(0), 512).unwrap());
    channel.read(0, &mut iovecs, deferred).unwrap();
    clock.advance(100);
    let completion = channel.poll().unwrap();
    assert_eq!((completion.token, completion.result.is_err()), (2, true));
}

#[test]
fn the_timer_wakes_whose_turn_it_is() {
    let group = Arc::new(ThrottleGroup::new(Rates {
        operations: total(100),
        ..Rates::default()
    }));
    let mut channel = channel(&member(&group));
    let expected = (0..40).filter(|&token| !read(&mut channel, token));
    let expected: Vec<u64> = expected.collect();
    let mut all = Vec::new();
    while all.len() < expected.len() {
        let fd = Channel::<Guard>::timer_fd(&channel)
            .unwrap()
            .try_clone_to_owned();
        let fd = fd.unwrap();
        let limit = Timespec {
            tv_sec: 60,
            tv_nsec: 0,
        };
        let ready = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit));
        assert_eq!(ready.unwrap(), 1, "nobody is woken");
        all.extend(ended(&mut channel));
    }
    assert_eq!(all, expected);
}

const DEPTH: u16 = 64;
