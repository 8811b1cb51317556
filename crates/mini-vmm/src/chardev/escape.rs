//! The escape keys of a terminal that the guest has: Ctrl-A, then a letter.

/// What an escape asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Ctrl-A x: end the VMM.
    Quit,
    /// Ctrl-A h: list the keys.
    Help,
}

/// Takes escapes out of what is typed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Escape {
    seen: bool,
}

impl Escape {
    /// Removes escapes from `typed`, leaving the bytes for the guest at its start. Returns their
    /// number and the last thing asked for.
    pub(super) fn filter(&mut self, typed: &mut [u8]) -> (usize, Option<Asked>) {
        let mut kept = 0;
        let mut asked = None;
        for at in 0..typed.len() {
            let Some(key) = typed.get(at).copied() else {
                break;
            };
            let escaped = std::mem::take(&mut self.seen);
            match key {
                PREFIX if !escaped => self.seen = true,
                b'x' if escaped => asked = Some(Asked::Quit),
                b'h' | b'?' if escaped => asked = asked.or(Some(Asked::Help)),
                _ => {
                    typed
                        .iter_mut()
                        .skip(kept)
                        .take(1)
                        .for_each(|slot| *slot = key);
                    kept += 1;
                }
            }
        }
        (kept, asked)
    }
}

/// What Ctrl-A h prints.
pub(super) const HELP: &str =
    "\r\nC-a x  end mini-vmm\r\nC-a C-a  send C-a\r\nC-a h  this list\r\n";
const PREFIX: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(escape: &mut Escape, typed: &[u8]) -> (Vec<u8>, Option<Asked>) {
        let mut typed = typed.to_vec();
        let (kept, asked) = escape.filter(&mut typed);
        typed.truncate(kept);
        (typed, asked)
    }

    #[test]
    fn escapes_are_taken_out() {
        let mut escape = Escape::default();
        assert_eq!(
            filter(&mut escape, b"ab\x01\x01c"),
            (b"ab\x01c".to_vec(), None)
        );
        assert_eq!(filter(&mut escape, b"a\x01"), (b"a".to_vec(), None));
        assert_eq!(filter(&mut escape, b"x"), (Vec::new(), Some(Asked::Quit)));
        assert_eq!(
            filter(&mut escape, b"x\x01hy"),
            (b"xy".to_vec(), Some(Asked::Help))
        );
        assert_eq!(
            filter(&mut escape, b"\x01xq\x01h"),
            (b"q".to_vec(), Some(Asked::Quit))
        );
    }
}
