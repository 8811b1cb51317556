//! What the VMM has captured of a back-end's frames (`filter-dump`), in a file of the format pcap.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::tap::Tap;
use crate::guest::machine::Machine;

/// Has what passes `tap` captured.
pub(super) fn equip(machine: &mut Machine, tap: &Tap) {
    let (netdev, file) = (tap.netdev_id(), machine.file(FILE));
    let file = file.display();
    machine.option(
        "-object",
        &format!("filter-dump,id=capture,netdev={netdev},file={file},maxlen={KEPT}"),
    );
}

/// The guest's pings, each with its answer, among all that was captured.
pub(super) fn look(machine: &Machine) -> Result<String> {
    let capture = fs::read(machine.file(FILE))?;
    let (header, mut rest) = capture.split_at_checked(24).context("no header")?;
    ensure!(header.starts_with(&MAGIC), "the header is {header:02x?}");
    let (mut all, mut requests, mut replies) = (0, 0, 0);
    while !rest.is_empty() {
        let (record, length) = next(&mut rest).context("the last record is cut")?;
        ensure!(
            record.len() == length.min(KEPT),
            "{} bytes of {length}",
            record.len()
        );
        all += 1;
        match icmp(record).filter(|_| length == PING) {
            Some(ECHO) => requests += 1,
            Some(ECHO_REPLY) => replies += 1,
            _ => {}
        }
    }
    ensure!(
        (requests, replies) == (PINGS, PINGS),
        "{requests} requests and {replies} replies in {all} frames"
    );
    Ok(format!(
        "{all} frames, {PINGS} pings and their answers among them"
    ))
}

/// What was kept of the next frame, and its length on the wire.
fn next<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], usize)> {
    let (header, after) = rest.split_at_checked(16)?;
    let field = |at| {
        header
            .get(at..at + 4)?
            .try_into()
            .ok()
            .map(u32::from_le_bytes)
    };
    let (record, after) = after.split_at_checked(field(8)? as usize)?;
    *rest = after;
    Some((record, field(12)? as usize))
}

/// The type of an ICMP message in an IPv4 packet without options.
fn icmp(frame: &[u8]) -> Option<u8> {
    let is_icmp = frame.get(12..15)? == [8, 0, 0x45] && *frame.get(23)? == 1;
    frame.get(34).copied().filter(|_| is_icmp)
}

const FILE: &str = "capture";
/// Little-endian, with microseconds, version 2.4.
const MAGIC: [u8; 8] = [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0];
/// Of a frame.
const KEPT: usize = 128;
/// Of the guest's pings: how many, and their length with all headers for 100 bytes of data.
const PINGS: usize = 5;
const PING: usize = 142;
const ECHO: u8 = 8;
const ECHO_REPLY: u8 = 0;
