//! Base64 (RFC 4648, section 4), in which bytes that are no text are carried.

pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            text.push(match at <= group.len() {
                true => letter(bits >> (18 - 6 * at)),
                false => PADDING,
            });
        }
    }
    text
}

/// `None` where `text` is none.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_ascii().as_bytes();
    let padded = text.iter().rev().take_while(|byte| **byte == PADDING as u8);
    let padded = padded.count();
    if !text.len().is_multiple_of(4) || padded > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let letters = text.get(..text.len() - padded)?;
    for group in letters.chunks(4) {
        let mut bits = 0;
        for at in 0..4 {
            bits = bits << 6 | group.get(at).map_or(Some(0), |letter| value(*letter))?;
        }
        let [_, whole @ ..] = u32::to_be_bytes(bits);
        bytes.extend(whole.get(..group.len().checked_sub(1)?)?);
    }
    Some(bytes)
}

fn letter(bits: u32) -> char {
    let letter = ALPHABET.get((bits & 0x3f) as usize);
    char::from(letter.copied().unwrap_or_default())
}

fn value(letter: u8) -> Option<u32> {
    let at = ALPHABET.iter().position(|known| *known == letter)?;
    u32::try_from(at).ok()
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const PADDING: char = '=';

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        // RFC 4648, section 10.
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text).as_deref(), Some(bytes.as_bytes()));
        }
        let all: Vec<_> = (0..=255).collect();
        assert_eq!(decode(&encode(&all)), Some(all));
        for text in ["Zg", "Z===", "====", "Zg=a", "Z-==", "Zm9v Zg=="] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
