//! Cuts a stream into JSON values, which need not end in a newline.

/// A stream and how far it has been looked at.
#[derive(Debug, Default)]
pub(super) struct Framer {
    bytes: Vec<u8>,
    /// Where the next value begins, and how far it has been looked at.
    start: usize,
    scanned: usize,
    depth: usize,
    text: Text,
    /// The value is too long; what is left of its line is not kept.
    skipping: bool,
}

/// Where in a string the scan is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Text {
    #[default]
    Outside,
    /// In one that ends with this quote.
    Inside(u8),
    /// After a backslash.
    Escaped(u8),
}

/// What was cut out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// Bytes that may be a value.
    Value(Vec<u8>),
    /// A value that is too long to be kept.
    TooLong,
}

impl Framer {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.scanned -= self.start;
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next value. What cannot be part of one is cut off where one may start again.
    pub(super) fn next(&mut self) -> Option<Frame> {
        if self.skipping && !self.skip() {
            return None;
        }
        if self.depth == 0 {
            self.drop_space();
        }
        while let Some(byte) = self.bytes.get(self.scanned).copied() {
            self.scanned += 1;
            if self.ends_at(byte) {
                return Some(Frame::Value(self.cut()));
            }
        }
        if self.depth == 0 && self.scanned > self.start {
            return Some(Frame::Value(self.cut()));
        }
        if self.scanned - self.start > LONGEST {
            self.cut();
            self.skipping = true;
            return Some(Frame::TooLong);
        }
        None
    }

    /// Whether a value, or what is none, ends with `byte`.
    fn ends_at(&mut self, byte: u8) -> bool {
        self.text = match (self.text, byte) {
            _ if self.depth > 0 && self.is_nowhere_allowed(byte) => return true,
            (Text::Outside, b'"' | b'\'') if self.depth > 0 => Text::Inside(byte),
            (Text::Escaped(quote), _) => Text::Inside(quote),
            (Text::Inside(quote), b'\\') => Text::Escaped(quote),
            (Text::Inside(quote), _) if byte == quote => Text::Outside,
            (text, _) => text,
        };
        match byte {
            _ if self.text != Text::Outside => false,
            b'{' | b'[' if self.depth == 0 && self.scanned - self.start > 1 => {
                // Garbage ends where a value starts.
                self.scanned -= 1;
                true
            }
            b'{' | b'[' => {
                self.depth += 1;
                false
            }
            b'}' | b']' if self.depth > 0 => {
                self.depth -= 1;
                self.depth == 0
            }
            b'\n' => self.depth == 0,
            _ => false,
        }
    }

    /// What no value has here ends it at once: who waits for the answer may not say more.
    fn is_nowhere_allowed(&self, byte: u8) -> bool {
        match self.text {
            Text::Outside => !(byte.is_ascii_graphic() || byte.is_ascii_whitespace()),
            // No string goes over the end of a line, nor are there such bytes in UTF-8.
            _ => byte < b' ' || matches!(byte, 0xc0 | 0xc1 | 0xf5..),
        }
    }

    fn cut(&mut self) -> Vec<u8> {
        let frame = self.bytes.get(self.start..self.scanned);
        let frame = frame.unwrap_or_default().to_vec();
        self.start = self.scanned;
        (self.depth, self.text) = (0, Text::Outside);
        frame
    }

    fn drop_space(&mut self) {
        let rest = self.bytes.get(self.start..).unwrap_or_default();
        let space = rest.iter().take_while(|byte| byte.is_ascii_whitespace());
        self.start += space.count();
        self.scanned = self.start;
    }

    /// Skips to the end of the line; true where it is there.
    fn skip(&mut self) -> bool {
        let rest = self.bytes.get(self.start..).unwrap_or_default();
        let end = rest.iter().position(|byte| *byte == b'\n');
        self.start += end.map_or(rest.len(), |end| end + 1);
        self.scanned = self.start;
        self.skipping = end.is_none();
        !self.skipping
    }
}

/// Bytes of a value.
const LONGEST: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(framer: &mut Framer) -> Vec<String> {
        let frames = std::iter::from_fn(|| framer.next());
        let shown = |frame| match frame {
            Frame::Value(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Frame::TooLong => "too long".to_owned(),
        };
        frames.map(shown).collect()
    }

    fn cut(text: &str) -> Vec<String> {
        let mut framer = Framer::default();
        framer.push(text.as_bytes());
        frames(&mut framer)
    }

    #[test]
    fn values_end_where_their_brackets_close() {
        assert_eq!(
            cut(r#" {"a": [1]}{"b":{}} "#),
            [r#"{"a": [1]}"#, r#"{"b":{}}"#]
        );
        assert_eq!(cut(r#"{"}": "\"}\\"}[]"#), [r#"{"}": "\"}\\"}"#, "[]"]);
        assert_eq!(cut("{\n\"a\":\n1}\n"), ["{\n\"a\":\n1}"]);
        assert_eq!(cut(r#"{"a": "#), [""; 0]);
    }

    #[test]
    fn what_is_no_value_ends_where_one_may_start() {
        assert_eq!(cut("help{}"), ["help", "{}"]);
        assert_eq!(cut("help\n{}"), ["help\n", "{}"]);
        assert_eq!(cut("}}{}"), ["}}", "{}"]);
        assert_eq!(cut("\"x {}"), ["\"x ", "{}"]);
        assert_eq!(cut("{\"a\n{}"), ["{\"a\n", "{}"]);
    }

    #[test]
    fn what_no_value_has_is_answered_at_once() {
        let mut framer = Framer::default();
        for text in [
            &b"{\xff"[..],
            b"{\x01",
            b"{\"a\xff",
            b"{'a\n",
            b"{'\"a\t",
            b"\xfe",
        ] {
            framer.push(text);
            assert_eq!(framer.next(), Some(Frame::Value(text.to_vec())));
            framer.push(b"{}");
            assert_eq!(
                framer.next(),
                Some(Frame::Value(b"{}".to_vec())),
                "{text:?}"
            );
        }
        assert_eq!(cut("{\"\u{fc}\u{1f600}\"}"), ["{\"\u{fc}\u{1f600}\"}"]);
    }

    #[test]
    fn strings_may_be_in_either_quotes() {
        assert_eq!(cut(r#"{'}": "\'}': 1}{}"#), [r#"{'}": "\'}': 1}"#, "{}"]);
        assert_eq!(cut(r#"{"'}": 1}{}"#), [r#"{"'}": 1}"#, "{}"]);
    }

    #[test]
    fn the_cut_does_not_depend_on_how_bytes_arrive() {
        let text = r#"{"a": "x\"y"} {"b": [{}, "]"]} {"c": 1}"#;
        let mut framer = Framer::default();
        let mut found = Vec::new();
        for byte in text.bytes() {
            framer.push(&[byte]);
            found.extend(frames(&mut framer));
        }
        assert_eq!(found, cut(text));
    }

    #[test]
    fn a_long_value_is_not_kept_and_the_next_line_counts() {
        let mut framer = Framer::default();
        framer.push(b"{\"a\": \"");
        let mut found = Vec::new();
        for _ in 0..3 * LONGEST / 1024 {
            framer.push(&[b'x'; 1024]);
            found.extend(frames(&mut framer));
            assert!(framer.bytes.len() <= LONGEST + 1024);
        }
        framer.push(b"\"}\n{}");
        found.extend(frames(&mut framer));
        assert_eq!(found, ["too long", "{}"]);
    }

    #[test]
    fn any_bytes_are_survived() {
        let mut seed = 1u32;
        let mut framer = Framer::default();
        for _ in 0..100_000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let alphabet = b"{}[]\"'\\\n a\xff";
            framer.push(&[alphabet[(seed >> 24) as usize % alphabet.len()]]);
            for frame in frames(&mut framer) {
                assert!(!frame.is_empty());
            }
        }
        assert!(framer.bytes.len() <= 100_000);
    }
}
