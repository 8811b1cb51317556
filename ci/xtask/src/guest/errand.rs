//! What a guest has done outside of it while it runs: a line on a port says what, a line answers.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use anyhow::Result;

use crate::socket;

/// Has `act` do what each line says that comes from the port at the socket `port`, and answers `ok`
/// and what it found, or why it could not. Ends when the VMM does; returns the number of lines.
pub fn serve(port: &Path, mut act: impl FnMut(&str) -> Result<String>) -> Result<usize> {
    let port = socket::connect(port)?;
    // A guest may do other things for as long as it likes.
    port.set_read_timeout(None)?;
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

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::Shutdown;
    use std::os::unix::net::UnixListener;
    use std::thread::spawn;

    use anyhow::bail;
    use tempfile::TempDir;

    use super::serve;

    #[test]
    fn each_line_is_answered_by_a_line() {
        let directory = TempDir::new().unwrap();
        let port = directory.path().join("port");
        let listener = UnixListener::bind(&port).unwrap();
        let host = spawn(move || {
            serve(&port, |line| match line {
                "find" => Ok("7 MiB".to_owned()),
                "do" => Ok(String::new()),
                _ => bail!("what is\n{line:?}?"),
            })
        });
        let (mut guest, _) = listener.accept().unwrap();
        guest.write_all(b"find\ndo\nflee\n").unwrap();
        guest.shutdown(Shutdown::Write).unwrap();
        let answers: Vec<_> = BufReader::new(guest).lines().map(Result::unwrap).collect();
        assert_eq!(answers, ["ok 7 MiB", "ok", "what is \"flee\"?"]);
        assert_eq!(host.join().unwrap().unwrap(), 3);
    }
}
