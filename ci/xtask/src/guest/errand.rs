//! What a guest has done outside of it while it runs: a line on a port says what, a line answers.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use anyhow::Result;

use crate::socket;

/// Has `act` do what each line says that comes from the port at the socket `port`, and answers `ok`
/// and what it found, or why it could not. Ends when the VMM does; returns the number of lines.
pub fn serve(port: &Path, mut act: impl FnMut(&str) -> Result<String>) -> Result<usize> {
    let port = socket::connect(port)?;
    let mut count = 0;
    for line in BufReader::new(&port).lines().map_while(Result::ok) {
        let answer = match act(&line) {
            Ok(found) => format!("ok {found}"),
            Err(error) => format!("{error:#}"),
        };
        writeln!(&port, "{}", answer.trim_end().replace('\n', " "))?;
        count += 1;
    }
    Ok(count)
}
