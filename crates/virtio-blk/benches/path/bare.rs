//! What the kernel takes by itself.

use std::fs::File;
use std::io::IoSliceMut;
use std::os::fd::AsRawFd;

use io_uring::{IoUring, opcode, types};

use crate::{BLOCK, Contender};

/// A loop of `preadv`, one request after the other.
pub(crate) struct Preadv {
    file: File,
    buffers: Vec<Vec<u8>>,
}

impl Preadv {
    pub(crate) fn new(file: &File) -> Self {
        Self {
            file: file.try_clone().expect("a descriptor"),
            buffers: buffers(),
        }
    }
}

impl Contender for Preadv {
    fn read(&mut self, blocks: &[u64]) {
        for (block, i) in blocks.iter().zip((0..BUFFERS).cycle()) {
            let mut iovecs = [IoSliceMut::new(&mut self.buffers[i])];
            let offset = block * BLOCK as u64;
            let count = rustix::io::preadv(&self.file, &mut iovecs, offset);
            assert_eq!(count, Ok(BLOCK));
        }
    }
}

/// A loop of io_uring: all that the depth allows is submitted by one system call.
pub(crate) struct Ring {
    ring: IoUring,
    buffers: Vec<Vec<u8>>,
    depth: usize,
}

impl Ring {
    pub(crate) fn new(file: &File, depth: usize) -> Self {
        let ring = IoUring::new(depth as u32).expect("io_uring");
        let files = [file.as_raw_fd()];
        ring.submitter().register_files(&files).expect("the file");
        Self {
            ring,
            buffers: buffers(),
            depth,
        }
    }

    fn push(&mut self, block: u64, index: usize) {
        let buffer = self.buffers[index].as_mut_ptr();
        let entry = opcode::Read::new(types::Fixed(0), buffer, BLOCK as u32)
            .offset(block * BLOCK as u64)
            .build()
            .user_data(index as u64);
        // SAFETY: The buffer is as long as it says, and not touched before its completion. All
        // completions are awaited before `read` returns.
        unsafe { self.ring.submission().push(&entry) }.expect("a place in the ring");
    }
}

impl Contender for Ring {
    fn read(&mut self, blocks: &[u64]) {
        let mut blocks = blocks.iter().copied();
        let mut free: Vec<usize> = (0..self.depth).collect();
        loop {
            while let Some(index) = free.pop() {
                let Some(block) = blocks.next() else {
                    free.push(index);
                    break;
                };
                self.push(block, index);
            }
            if free.len() == self.depth {
                return;
            }
            self.ring.submit_and_wait(1).expect("io_uring");
            for entry in self.ring.completion() {
                assert_eq!(entry.result(), BLOCK as i32);
                free.push(entry.user_data() as usize);
            }
        }
    }
}

/// As many as the device has, so that all use the processor's caches alike.
fn buffers() -> Vec<Vec<u8>> {
    vec![vec![0; BLOCK]; BUFFERS]
}

const BUFFERS: usize = 128;
