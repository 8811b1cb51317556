//! Guest-side driver model, in-memory bus and the device conformance suite.
#![forbid(unsafe_code)]
