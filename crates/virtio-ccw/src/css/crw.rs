//! Channel-report words (chapter 17): how the guest hears of devices that come and go.

use std::collections::VecDeque;

use super::SubchannelId;

/// The words that wait for STORE CHANNEL REPORT WORD.
#[derive(Debug, Default)]
pub(super) struct ChannelReports {
    pub(super) words: VecDeque<u32>,
    /// Devices that come and go are reported.
    pub(super) reporting: bool,
    /// A machine check was made, and the guest has not found the queue empty since.
    pub(super) announced: bool,
}

impl ChannelReports {
    /// More words than this are lost; the last one says so.
    pub(super) const MAX_WORDS: usize = 256;

    /// The subchannel may have changed: it is as just installed. With several subchannel sets, a
    /// second word says which. True where the host is to make a machine check.
    pub(super) fn subchannel_changed(&mut self, id: SubchannelId, sets: bool) -> bool {
        if !self.reporting {
            return false;
        }
        let number = SUBCHANNEL_INSTALLED | u32::from(id.number());
        let set = SUBCHANNEL_INSTALLED | u32::from(id.set()) << 4;
        match sets {
            true => self.push(&[number | CHAINED, set]),
            false => self.push(&[number]),
        }
        !std::mem::replace(&mut self.announced, true)
    }

    /// The next word. With none left, the next report makes a machine check again.
    pub(super) fn take(&mut self) -> Option<u32> {
        let word = self.words.pop_front();
        self.announced &= word.is_some();
        word
    }

    /// Undoes [`take`](Self::take), whose result could not be stored.
    pub(super) fn put_back(&mut self, word: Option<u32>) {
        self.announced |= word.is_some();
        if let Some(word) = word {
            self.words.push_front(word);
        }
    }

    /// As after power-on; what comes and goes is reported as before.
    pub(super) fn reset(&mut self) {
        let Self {
            words,
            reporting: _,
            announced,
        } = self;
        words.clear();
        *announced = false;
    }

    fn push(&mut self, report: &[u32]) {
        if self.words.len() + report.len() <= Self::MAX_WORDS {
            self.words.extend(report);
        } else if let Some(last) = self.words.back_mut() {
            *last |= OVERFLOW;
        }
    }
}

const OVERFLOW: u32 = 0x2000_0000;
const CHAINED: u32 = 0x1000_0000;
/// Reporting source: subchannel. Error-recovery code: installed parameters initialised.
const SUBCHANNEL_INSTALLED: u32 = 0x0304_0000;

#[cfg(test)]
mod tests {
    use super::*;

    fn reports() -> ChannelReports {
        ChannelReports {
            reporting: true,
            ..ChannelReports::default()
        }
    }

    fn id(set: u8, number: u16) -> SubchannelId {
        SubchannelId::new(set, number).unwrap()
    }

    #[test]
    fn one_machine_check_until_the_queue_was_found_empty() {
        let mut reports = reports();
        assert!(reports.subchannel_changed(id(0, 5), false));
        assert!(!reports.subchannel_changed(id(0, 6), false));
        assert_eq!(reports.take(), Some(0x0304_0005));
        assert!(!reports.subchannel_changed(id(0, 7), false));
        assert_eq!(reports.take(), Some(0x0304_0006));
        assert_eq!(reports.take(), Some(0x0304_0007));
        assert_eq!(reports.take(), None);
        assert!(reports.subchannel_changed(id(0, 8), false));
    }

    #[test]
    fn with_several_sets_two_words_are_chained() {
        let mut reports = reports();
        reports.subchannel_changed(id(2, 1), true);
        assert_eq!(reports.take(), Some(0x1304_0001));
        assert_eq!(reports.take(), Some(0x0304_0020));
    }

    #[test]
    fn the_last_word_says_that_others_were_lost() {
        let mut reports = reports();
        for number in 0..300 {
            reports.subchannel_changed(id(0, number), false);
        }
        let words: Vec<_> = std::iter::from_fn(|| reports.take()).collect();
        assert_eq!(words.len(), ChannelReports::MAX_WORDS);
        assert_eq!(words.last(), Some(&(0x2304_0000 | 255)));
        assert!(words[..255].iter().all(|word| word & OVERFLOW == 0));
    }

    #[test]
    fn nothing_is_reported_before_the_machine_runs() {
        let mut reports = ChannelReports::default();
        assert!(!reports.subchannel_changed(id(0, 5), false));
        assert_eq!(reports.take(), None);
    }
}
