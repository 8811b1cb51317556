//! The commands of this project: cargo xtask check | test | demo | bench | fuzz | lint.
fn main() {}
