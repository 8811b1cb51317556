//! An initramfs: a `newc` cpio archive, written in memory.
//!
//! The format is described in the kernel's `driver-api/early-userspace/buffer-format`.

/// An archive under construction. Every entry belongs to root and has no time stamp, so equal
/// contents give equal bytes.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// An empty archive.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a directory; its parent must have been added before.
    pub fn directory(&mut self, path: &str) -> &mut Self {
        self.entry(path, 0o040_755, &[])
    }

    /// Adds a regular file that anybody may execute.
    pub fn file(&mut self, path: &str, contents: &[u8]) -> &mut Self {
        self.entry(path, 0o100_755, contents)
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, target: &str) -> &mut Self {
        self.entry(path, 0o120_777, target.as_bytes())
    }

    /// Ends the archive and hands its bytes over.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, contents: &[u8]) -> &mut Self {
        self.entries += 1;
        let (links, name) = (1, path.len() + 1);
        let header = [
            self.entries,
            mode,
            0,
            0,
            links,
            0,
            contents.len() as u32,
            0,
            0,
            0,
            0,
            name as u32,
            0,
        ];
        self.bytes.extend_from_slice(MAGIC);
        for field in header {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(contents);
        self.align();
        self
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

const MAGIC: &[u8] = b"070701";

#[cfg(test)]
mod tests {
    use super::Archive;

    #[test]
    fn cpio_lists_what_was_added() {
        let mut archive = Archive::new();
        archive
            .directory("bin")
            .file("bin/sh", b"hello")
            .link("init", "bin/sh");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(text.matches("070701").count(), 4);
        assert!(text.contains("hello") && text.contains("TRAILER!!!"));
    }
}
