//! The states of zones, and what leads from one to another.

use std::io::{self, ErrorKind};

use super::{Zone, ZoneAction, ZoneError, ZoneLayout, ZoneState};
use crate::FileRange;

/// All zones of a disk, in memory.
#[derive(Debug)]
pub(super) struct Table {
    layout: ZoneLayout,
    /// Bytes of the disk.
    size: u64,
    entries: Vec<Entry>,
    /// Zones that are open, and those that are open or closed.
    open: u32,
    active: u32,
}

/// What changes in a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    state: ZoneState,
    /// Bytes from the start on, also of a zone that was finished then.
    written: u64,
}

impl Table {
    /// The zones of a disk of `size` bytes, which has some, all of them empty.
    pub(super) fn new(layout: ZoneLayout, size: u64) -> Self {
        let count = size.div_ceil(layout.size);
        let entries = (0..count).map(|index| Entry::new(index < layout.conventional.into()));
        Self {
            layout,
            size,
            entries: entries.collect(),
            open: 0,
            active: 0,
        }
    }

    pub(super) fn entry(&self, index: usize) -> Entry {
        self.entries[index]
    }

    pub(super) fn zone(&self, index: usize) -> Zone {
        let (start, entry) = (self.start(index), self.entry(index));
        let conventional = entry.state == ZoneState::NotWritePointer;
        Zone {
            start,
            capacity: if conventional {
                self.len(index)
            } else {
                self.capacity(index)
            },
            write_pointer: start + entry.written,
            state: entry.state,
        }
    }

    /// The sequential zone that begins at `start`.
    pub(super) fn sequential(&self, start: u64) -> Result<usize, ZoneError> {
        let index = usize::try_from(start / self.layout.size).unwrap_or(usize::MAX);
        let entry = self.entries.get(index).ok_or(ZoneError::Invalid)?;
        let conventional = entry.state == ZoneState::NotWritePointer;
        match start == self.start(index) && !conventional {
            true => Ok(index),
            false => Err(ZoneError::Invalid),
        }
    }

    pub(super) fn readable(&self, range: FileRange) -> Result<u64, ZoneError> {
        let Some(index) = self.zone_of(range)? else {
            return Ok(range.len());
        };
        if self.entry(index).state == ZoneState::Offline {
            return Err(ZoneError::Invalid);
        }
        let end = self.start(index) + self.entry(index).written;
        Ok(end.saturating_sub(range.offset()).min(range.len()))
    }

    pub(super) fn write(&mut self, range: FileRange) -> Result<(), ZoneError> {
        match self.zone_of(range)? {
            Some(index) => self.take(index, range),
            None => Ok(()),
        }
    }

    pub(super) fn append(&mut self, start: u64, len: u64) -> Result<FileRange, ZoneError> {
        let index = self.sequential(start)?;
        let range = FileRange::new(start + self.entry(index).written, len);
        let range = range.map_err(|_| ZoneError::Invalid)?;
        self.take(index, range)?;
        Ok(range)
    }

    /// A write failed. A zone that was full or empty meanwhile stays so.
    pub(super) fn give_back(&mut self, range: FileRange) {
        let Ok(Some(index)) = self.zone_of(range) else {
            return;
        };
        let Entry { state, written } = self.entry(index);
        if state.is_active() && self.start(index) + written == range.offset() + range.len() {
            let written = range.offset() - self.start(index);
            self.entries[index].written = written;
            if written == 0 && state != ZoneState::ExplicitlyOpen {
                self.set(index, ZoneState::Empty);
            }
        }
    }

    pub(super) fn act(&mut self, action: ZoneAction, index: usize) -> Result<(), ZoneError> {
        let Entry { state, written } = self.entry(index);
        let next = match (action, state) {
            (_, ZoneState::NotWritePointer | ZoneState::ReadOnly | ZoneState::Offline) => {
                return Err(ZoneError::Invalid);
            }
            (ZoneAction::Reset, _) => ZoneState::Empty,
            (ZoneAction::Finish, _) => ZoneState::Full,
            (_, ZoneState::Full) | (ZoneAction::Close, ZoneState::Empty) => {
                return Err(ZoneError::Invalid);
            }
            (ZoneAction::Close, _) => ZoneState::resting(written),
            (ZoneAction::Open, _) => {
                self.admit(state)?;
                ZoneState::ExplicitlyOpen
            }
        };
        self.set(index, next);
        Ok(())
    }

    /// Takes over what the storage says of a zone.
    pub(super) fn put(&mut self, index: usize, zone: Zone) {
        if index < self.entries.len() {
            self.set(index, zone.state);
            self.entries[index].written = zone.write_pointer - zone.start;
        }
    }

    /// Eight bytes for each zone.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        self.entries
            .iter()
            .copied()
            .flat_map(Entry::to_bytes)
            .collect()
    }

    /// Takes over what [`to_bytes`](Self::to_bytes) gave, or nothing.
    pub(super) fn load(&mut self, bytes: &[u8]) -> io::Result<()> {
        let bad = || io::Error::new(ErrorKind::InvalidData, "not the states of these zones");
        let (entries, rest) = bytes.as_chunks::<ENTRY>();
        if entries.len() != self.entries.len() || !rest.is_empty() {
            return Err(bad());
        }
        let mut table = Self::new(self.layout, self.size);
        for (index, bytes) in entries.iter().enumerate() {
            let conventional = index < self.layout.conventional as usize;
            let entry = Entry::from_bytes(*bytes, self.capacity(index), conventional);
            let entry = entry.ok_or_else(bad)?;
            table.set(index, entry.state);
            table.entries[index] = entry;
        }
        if exceeds(table.open, self.layout.max_open)
            || exceeds(table.active, self.layout.max_active)
        {
            return Err(bad());
        }
        *self = table;
        Ok(())
    }

    /// Closes all that is open, as losing power does.
    pub(super) fn close_all(&mut self) {
        for index in 0..self.entries.len() {
            let Entry { state, written } = self.entry(index);
            if state.is_open() {
                self.set(index, ZoneState::resting(written));
            }
        }
    }

    /// Bytes of a zone.
    pub(super) fn len(&self, index: usize) -> u64 {
        self.layout.len(index as u32, self.size)
    }

    /// Bytes of a sequential zone that can be written.
    fn capacity(&self, index: usize) -> u64 {
        self.layout.capacity.min(self.len(index))
    }

    fn start(&self, index: usize) -> u64 {
        index as u64 * self.layout.size
    }

    /// The sequential zone that `range` is in; `None` where all of it is in conventional ones.
    fn zone_of(&self, range: FileRange) -> Result<Option<usize>, ZoneError> {
        let last = range.offset() + range.len().saturating_sub(1);
        let [first, last] = [range.offset(), last].map(|at| at / self.layout.size);
        match last {
            last if last < self.layout.conventional.into() => Ok(None),
            last if first == last && last < self.entries.len() as u64 => Ok(Some(last as usize)),
            _ => Err(ZoneError::Invalid),
        }
    }

    /// Moves the write pointer over `range`.
    fn take(&mut self, index: usize, range: FileRange) -> Result<(), ZoneError> {
        let Entry { state, written } = self.entry(index);
        if !state.is_writable() {
            return Err(ZoneError::Invalid);
        }
        if range.offset() != self.start(index) + written {
            return Err(ZoneError::Unaligned);
        }
        if range.len() > self.capacity(index) - written {
            return Err(ZoneError::Invalid);
        }
        if range.is_empty() {
            return Ok(());
        }
        self.admit(state)?;
        self.entries[index].written += range.len();
        match self.entries[index].written == self.capacity(index) {
            true => self.set(index, ZoneState::Full),
            false if !state.is_open() => self.set(index, ZoneState::ImplicitlyOpen),
            false => {}
        }
        Ok(())
    }

    /// Makes room for a zone in `state` to be open. Another may be closed for it.
    fn admit(&mut self, state: ZoneState) -> Result<(), ZoneError> {
        if !state.is_active() && exceeds(self.active + 1, self.layout.max_active) {
            return Err(ZoneError::ActiveLimit);
        }
        if state.is_open() || !exceeds(self.open + 1, self.layout.max_open) {
            return Ok(());
        }
        let implicit = |entry: &Entry| entry.state == ZoneState::ImplicitlyOpen;
        let index = self.entries.iter().position(implicit);
        let index = index.ok_or(ZoneError::OpenLimit)?;
        self.set(index, ZoneState::resting(self.entry(index).written));
        Ok(())
    }

    fn set(&mut self, index: usize, state: ZoneState) {
        let entry = &mut self.entries[index];
        self.open -= u32::from(entry.state.is_open());
        self.active -= u32::from(entry.state.is_active());
        entry.state = state;
        if state == ZoneState::Empty {
            entry.written = 0;
        }
        self.open += u32::from(state.is_open());
        self.active += u32::from(state.is_active());
    }
}

impl Entry {
    fn new(conventional: bool) -> Self {
        let state = match conventional {
            true => ZoneState::NotWritePointer,
            false => ZoneState::Empty,
        };
        Self { state, written: 0 }
    }

    /// The bytes written, little-endian, with the state in place of the highest.
    pub(super) fn to_bytes(self) -> [u8; ENTRY] {
        let mut bytes = self.written.to_le_bytes();
        bytes[ENTRY - 1] = self.state as u8;
        bytes
    }

    /// `None` for what no zone can be like.
    fn from_bytes(mut bytes: [u8; ENTRY], capacity: u64, conventional: bool) -> Option<Self> {
        let state = ZoneState::from_byte(std::mem::take(&mut bytes[ENTRY - 1]))?;
        let written = u64::from_le_bytes(bytes);
        let possible = match state {
            ZoneState::NotWritePointer | ZoneState::Empty => written == 0,
            ZoneState::ImplicitlyOpen | ZoneState::ExplicitlyOpen => written < capacity,
            ZoneState::Closed => (1..capacity).contains(&written),
            ZoneState::Full => written <= capacity,
            ZoneState::ReadOnly | ZoneState::Offline => false,
        };
        let kind = conventional == (state == ZoneState::NotWritePointer);
        let whole = written.is_multiple_of(super::SECTOR);
        (possible && kind && whole).then_some(Self { state, written })
    }
}

impl ZoneState {
    pub(super) fn is_open(self) -> bool {
        matches!(self, Self::ImplicitlyOpen | Self::ExplicitlyOpen)
    }

    fn is_active(self) -> bool {
        self.is_open() || self == Self::Closed
    }

    fn is_writable(self) -> bool {
        self.is_active() || self == Self::Empty
    }

    /// That of a zone with so many bytes which is open no more.
    fn resting(written: u64) -> Self {
        match written {
            0 => Self::Empty,
            _ => Self::Closed,
        }
    }

    /// That with a number, which is the same in virtio, in the kernel and in records.
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        ALL.into_iter().find(|state| *state as u8 == byte)
    }
}

/// Whether so many are too many; 0 is no limit.
fn exceeds(count: u32, limit: u32) -> bool {
    limit != 0 && count > limit
}

/// Bytes of an entry.
pub(super) const ENTRY: usize = 8;
const ALL: [ZoneState; 8] = [
    ZoneState::NotWritePointer,
    ZoneState::Empty,
    ZoneState::ImplicitlyOpen,
    ZoneState::ExplicitlyOpen,
    ZoneState::Closed,
    ZoneState::ReadOnly,
    ZoneState::Full,
    ZoneState::Offline,
];
