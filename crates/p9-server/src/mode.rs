//! Modes of files as 9P2000.u has them: permissions as everywhere, and bits of its own above them.

use crate::qid::{PERMISSIONS, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFSOCK};

/// The mode of a file whose `st_mode` is `mode`.
pub(crate) fn from_host(mode: u32) -> u32 {
    let kind = match mode & S_IFMT {
        S_IFDIR => DIRECTORY,
        S_IFLNK => SYMLINK,
        S_IFBLK | S_IFCHR => DEVICE,
        S_IFIFO => FIFO,
        S_IFSOCK => SOCKET,
        _ => 0,
    };
    let special = SPECIAL.iter().filter(|(_, host)| mode & host != 0);
    special.fold(kind | mode & RWX, |mode, (own, _)| mode | own)
}

/// The permissions that `mode` stands for, as in `st_mode`.
pub(crate) fn permissions(mode: u32) -> u32 {
    let special = SPECIAL.iter().filter(|(own, _)| mode & own != 0);
    special.fold(mode & RWX, |mode, (_, host)| mode | host) & PERMISSIONS
}

pub(crate) const DIRECTORY: u32 = 0x8000_0000;
pub(crate) const SYMLINK: u32 = 0x0200_0000;
/// One more name of a file: only where one is made.
pub(crate) const LINK: u32 = 0x0100_0000;
pub(crate) const DEVICE: u32 = 0x0080_0000;
pub(crate) const FIFO: u32 = 0x0020_0000;
pub(crate) const SOCKET: u32 = 0x0010_0000;
/// The bits that say what a file is.
pub(crate) const KIND: u32 = DIRECTORY | SYMLINK | LINK | DEVICE | FIFO | SOCKET;

const RWX: u32 = 0o777;
/// Set-user-ID, set-group-ID and sticky, here and in `st_mode`.
const SPECIAL: [(u32, u32); 3] = [
    (0x0008_0000, 0o4000),
    (0x0004_0000, 0o2000),
    (0x0001_0000, 0o1000),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_go_there_and_back() {
        for bits in 0..=PERMISSIONS {
            for (host, own) in [
                (S_IFDIR, DIRECTORY),
                (S_IFLNK, SYMLINK),
                (S_IFBLK, DEVICE),
                (S_IFCHR, DEVICE),
                (S_IFIFO, FIFO),
                (S_IFSOCK, SOCKET),
            ] {
                let mode = from_host(host | bits);
                assert_eq!((mode & KIND, permissions(mode)), (own, bits));
            }
        }
    }
}
