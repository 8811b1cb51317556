//! Guest drivers of another project, driven in process.
