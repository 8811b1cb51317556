//! Vectored, positioned and io_uring I/O between file descriptors and guest memory.
