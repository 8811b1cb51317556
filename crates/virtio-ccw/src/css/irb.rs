//! The interruption-response block (chapter 16): what TEST SUBCHANNEL stores.

use super::Sense;
use super::pmcw::Pmcw;
use super::scsw::Scsw;

/// Subchannel-status word, extended-status word, extended-control word.
pub(super) type Irb = [u8; 64];

/// The block for `scsw`. Sense data, if it is to be there, goes into the extended-control word.
pub(super) fn irb(mut scsw: Scsw, last_path_used: u8, sense: Option<&Sense>) -> Irb {
    let mut irb = [0; 64];
    if scsw.is_pending() {
        irb[13] = last_path_used;
    }
    if scsw.is_pending() && scsw.subchannel & Scsw::CHANNEL_CONTROL_CHECK != 0 {
        scsw.flags |= Scsw::LOGOUT;
        irb[12..16].copy_from_slice(&LOGOUT.to_be_bytes());
    }
    if let Some(sense) = sense {
        scsw.flags |= Scsw::EXTENDED_CONTROL;
        irb[16..20].copy_from_slice(&CONCURRENT.to_be_bytes());
        irb[32..].copy_from_slice(&sense.0);
    }
    irb[..Scsw::LEN].copy_from_slice(&scsw.bytes());
    irb
}

/// Subchannel logout: the only path, its field valid, and nothing else to say.
const LOGOUT: u32 = (Pmcw::PATH as u32) << 16 | 0x4000;
/// Extended-report word: concurrent sense, with its count.
const CONCURRENT: u32 = 0x0100_0000 | (Sense::LEN as u32) << 16;
