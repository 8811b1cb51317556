//! Names in requests.

use rustix::io::Errno;

use crate::Result;

/// The name of an entry of a directory: one path component that is neither `.` nor `..`.
///
/// There is no other way to name something in a directory, so nothing can be named that is not in
/// that directory itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name<'a>(&'a [u8]);

/// A name of a request as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Component<'a> {
    Dot,
    DotDot,
    Name(Name<'a>),
}

impl<'a> Name<'a> {
    /// Takes `bytes` as a name.
    ///
    /// # Errors
    /// [`Errno::NOENT`] where they are empty or contain a slash or NUL, [`Errno::NAMETOOLONG`]
    /// where there are more than 255, and [`Errno::INVAL`] for `.` and `..`.
    pub fn new(bytes: &'a [u8]) -> Result<Self> {
        match Component::new(bytes)? {
            Component::Name(name) => Ok(name),
            Component::Dot | Component::DotDot => Err(Errno::INVAL),
        }
    }

    /// The bytes, at most 255.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }
}

impl<'a> Component<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self> {
        match bytes {
            b"." => Ok(Self::Dot),
            b".." => Ok(Self::DotDot),
            [] => Err(Errno::NOENT),
            _ if bytes.iter().any(|byte| matches!(byte, b'/' | 0)) => Err(Errno::NOENT),
            _ if bytes.len() > NAME_MAX => Err(Errno::NAMETOOLONG),
            _ => Ok(Self::Name(Name(bytes))),
        }
    }

    /// The name of something that is to be made.
    pub(crate) fn new_entry(self) -> Result<Name<'a>> {
        match self {
            Self::Name(name) => Ok(name),
            Self::Dot | Self::DotDot => Err(Errno::EXIST),
        }
    }

    /// The name of something that is to be removed.
    pub(crate) fn old_entry(self) -> Result<Name<'a>> {
        match self {
            Self::Name(name) => Ok(name),
            Self::Dot => Err(Errno::INVAL),
            Self::DotDot => Err(Errno::NOTEMPTY),
        }
    }
}

const NAME_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_component() {
        for good in [&b"a"[..], b"...", b"..a", b" ", b"\xff\xfe", &[b'a'; 255]] {
            assert_eq!(Name::new(good).map(Name::bytes), Ok(good));
        }
        for (bad, errno) in [
            (&b""[..], Errno::NOENT),
            (b"/", Errno::NOENT),
            (b" /", Errno::NOENT),
            (b"a/b", Errno::NOENT),
            (b"../b", Errno::NOENT),
            (b"a\0b", Errno::NOENT),
            (&[b'a'; 256], Errno::NAMETOOLONG),
            (b".", Errno::INVAL),
            (b"..", Errno::INVAL),
        ] {
            assert_eq!(Name::new(bad), Err(errno), "{bad:?}");
        }
    }
}
