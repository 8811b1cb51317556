//! What is done about failed requests, as a property.

use guest_io::block::OnError;

use super::PropValue;

/// What is done about failed requests of a disk; `None`: what its back-end says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OnErrorAuto(pub Option<OnError>);

impl PropValue for OnErrorAuto {
    const ACCEPTS: &'static str = "report|ignore|enospc|stop|auto";

    fn parse(text: &str) -> Option<Self> {
        let word = WORDS.iter().find(|(word, _)| *word == text);
        word.map(|&(_, value)| Self(value))
    }

    fn show(&self) -> String {
        let word = WORDS.iter().find(|(_, value)| *value == self.0);
        word.map_or("", |(word, _)| word).to_owned()
    }
}

const WORDS: [(&str, Option<OnError>); 5] = [
    ("report", Some(OnError::Report)),
    ("ignore", Some(OnError::Ignore)),
    ("enospc", Some(OnError::Enospc)),
    ("stop", Some(OnError::Stop)),
    ("auto", None),
];
