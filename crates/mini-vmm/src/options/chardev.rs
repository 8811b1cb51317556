//! `-chardev`: where characters come from and go to on the host.

use std::path::PathBuf;
use std::time::Duration;

use super::keyval::Key;
use super::{BadOption, KeyVals, help, near, values};
use crate::files::Endpoint;

/// One `-chardev`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChardevOptions {
    /// Its identifier, which devices and `-serial chardev:ID` refer to.
    pub id: String,
    /// What it is.
    pub kind: ChardevKind,
}

/// The kinds of character device, as QEMU names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChardevKind {
    /// Takes everything, gives nothing.
    Null,
    /// Standard input and output of this process.
    Stdio {
        /// Whether an interrupt character typed on the terminal stops the VMM, not the guest.
        signal: bool,
    },
    /// Output to a file.
    File {
        /// Path of the file, made where it does not exist.
        path: PathBuf,
        /// Adds to the file, which is otherwise emptied.
        append: bool,
    },
    /// A new pseudo-terminal, whose name is printed.
    Pty,
    /// A UNIX or TCP stream socket.
    Socket(SocketOptions),
    /// Two FIFOs, `PATH.in` and `PATH.out`, or where they are not there, one at `PATH`.
    Pipe {
        /// Path without the endings.
        path: PathBuf,
    },
    /// Memory that holds the last bytes written, for monitors to read.
    Ring {
        /// Bytes, a power of two.
        size: usize,
    },
}

/// A socket, and how it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// Where it is.
    pub endpoint: Endpoint,
    /// Listens, where a client would connect.
    pub server: bool,
    /// As a server, waits for the first client before the guest starts.
    pub wait: bool,
    /// As a client, tries again so long after the server went or was not there.
    pub reconnect: Option<Duration>,
    /// Sends small packets at once (TCP).
    pub nodelay: bool,
}

impl SocketOptions {
    /// A socket at `endpoint`, which connects, or listens and waits for nobody.
    pub fn new(endpoint: Endpoint, server: bool) -> Self {
        Self {
            endpoint,
            server,
            wait: false,
            reconnect: None,
            nodelay: false,
        }
    }
}

impl ChardevOptions {
    /// Parses the value of `-chardev`.
    pub fn parse(text: &str) -> Result<Self, BadOption> {
        let kv = KeyVals::parse("-chardev", text, Some("backend"));
        Self::of(kv)
    }

    /// Takes pairs, those of `-chardev` or the arguments of `chardev-add`.
    pub fn of(mut kv: KeyVals) -> Result<Self, BadOption> {
        let option = kv.option().to_owned();
        let backend = kv.require("backend", &backends())?;
        let Some((_, keys, build)) = BACKENDS.iter().find(|(name, ..)| *name == backend) else {
            let names = near::accepted(&backend, BACKENDS.iter().map(|(name, ..)| *name));
            return Err(BadOption::value(
                &option,
                &backend,
                "unknown back-end",
                names,
            ));
        };
        kv.check(keys)?;
        let id = kv.require("id", "an identifier")?;
        let id = values::identifier(&option, &id)?;
        Ok(Self {
            id,
            kind: build(&mut kv)?,
        })
    }

    /// What `-chardev help` prints, or, of one `kind`, `-chardev KIND,help`.
    pub fn help(kind: &str) -> String {
        let kinds = BACKENDS.iter().map(|(name, keys, _)| (*name, *keys));
        let head = "Character device back-ends (-chardev BACKEND,id=ID[,...]):";
        help::kinds(head, kinds, kind)
    }
}

impl ChardevKind {
    /// Parses the short form of `-serial`: `null`, `stdio`, `pty`, `file:PATH`, `pipe:PATH`,
    /// `unix:PATH[,...]`, `tcp:HOST:PORT[,...]`.
    pub fn parse_short(option: &str, text: &str) -> Result<Self, BadOption> {
        match text.split_once(':').unwrap_or((text, "")) {
            ("null", "") => Ok(Self::Null),
            ("stdio", "") | ("mon", "stdio") => Ok(Self::Stdio { signal: false }),
            ("pty", "") => Ok(Self::Pty),
            ("file", path) if !path.is_empty() => Ok(Self::File {
                path: path.into(),
                append: false,
            }),
            ("pipe", path) if !path.is_empty() => Ok(Self::Pipe { path: path.into() }),
            ("tcp", rest) if !rest.is_empty() => {
                let (place, rest) = rest.split_once(',').unwrap_or((rest, ""));
                let (host, port) = place.rsplit_once(':').unwrap_or(("", place));
                let mut kv = KeyVals::parse(option, rest, None);
                kv.check(SOCKET)?;
                kv.put("host", host.trim_matches(['[', ']']));
                kv.put("port", port);
                socket(&mut kv)
            }
            ("unix", rest) if !rest.is_empty() => {
                let mut kv = KeyVals::parse(option, rest, Some("path"));
                kv.check(SOCKET)?;
                socket(&mut kv)
            }
            _ => Err(BadOption::value(
                option,
                text,
                "not a character device",
                SHORT_FORMS,
            )),
        }
    }
}

type Build = fn(&mut KeyVals) -> Result<ChardevKind, BadOption>;

fn backends() -> String {
    BACKENDS
        .iter()
        .map(|(name, ..)| *name)
        .collect::<Vec<_>>()
        .join(", ")
}

fn null(_: &mut KeyVals) -> Result<ChardevKind, BadOption> {
    Ok(ChardevKind::Null)
}

fn stdio(kv: &mut KeyVals) -> Result<ChardevKind, BadOption> {
    Ok(ChardevKind::Stdio {
        signal: kv.take_switch("signal", false)?,
    })
}

fn file(kv: &mut KeyVals) -> Result<ChardevKind, BadOption> {
    let path = kv.require("path", "a path")?.into();
    Ok(ChardevKind::File {
        path,
        append: kv.take_switch("append", false)?,
    })
}

fn pty(_: &mut KeyVals) -> Result<ChardevKind, BadOption> {
    Ok(ChardevKind::Pty)
}

fn socket(kv: &mut KeyVals) -> Result<ChardevKind, BadOption> {
    let endpoint = endpoint(kv)?;
    let server = kv.take_switch("server", false)?;
    let wait = kv.take_switch("wait", server)?;
    let reconnect = reconnect(kv)?;
    let bad = |key, value: &str, why, accepted| {
        Err(BadOption::property(kv.option(), key, value, why, accepted))
    };
    match (server, wait, reconnect) {
        (false, true, _) => return bad("wait", "on", "only with server=on", "off"),
        (true, _, Some(_)) => return bad("reconnect-ms", "", "only with server=off", "0"),
        _ => {}
    }
    Ok(ChardevKind::Socket(SocketOptions {
        endpoint,
        server,
        wait,
        reconnect,
        nodelay: kv.take_switch("nodelay", false)?,
    }))
}

fn endpoint(kv: &mut KeyVals) -> Result<Endpoint, BadOption> {
    let option = kv.option().to_owned();
    if let Some(name) = kv.take("fd") {
        return Ok(Endpoint::Passed(name));
    }
    match (kv.take("path"), kv.take("host"), kv.take("port")) {
        (Some(path), None, None) if !path.is_empty() => Ok(Endpoint::Unix(path.into())),
        (None, host, Some(port)) => {
            let accepted = "a number from 0 to 65535";
            let number = values::number(&port).and_then(|port| u16::try_from(port).ok());
            let number = number.ok_or_else(|| {
                BadOption::property(&option, "port", &port, "not a port", accepted)
            })?;
            let host = host.unwrap_or_default();
            Ok(Endpoint::Tcp { host, port: number })
        }
        (Some(path), ..) if !path.is_empty() => Err(BadOption::property(
            &option,
            "path",
            &path,
            "a second place",
            "path=PATH, or host=HOST and port=PORT",
        )),
        _ => Err(BadOption::new(
            &option,
            "no place given",
            "path=PATH, or host=HOST and port=PORT",
        )),
    }
}

/// In milliseconds, or in seconds as it was written earlier.
fn reconnect(kv: &mut KeyVals) -> Result<Option<Duration>, BadOption> {
    let most = 0..=u64::from(u32::MAX);
    let seconds = kv.take_number("reconnect", most.clone())?.unwrap_or(0);
    let milliseconds = kv.take_number("reconnect-ms", most)?.unwrap_or(0);
    let delay = Duration::from_secs(seconds) + Duration::from_millis(milliseconds);
    Ok(Some(delay).filter(|delay| !delay.is_zero()))
}

fn pipe(kv: &mut KeyVals) -> Result<ChardevKind, BadOption> {
    let path = kv.require("path", "the path of FIFOs, without .in and .out")?;
    Ok(ChardevKind::Pipe { path: path.into() })
}

fn ring(kv: &mut KeyVals) -> Result<ChardevKind, BadOption> {
    let Some(text) = kv.take("size") else {
        return Ok(ChardevKind::Ring { size: RING_SIZE });
    };
    let size = values::size(kv.option(), Some("size"), &text, 1)?;
    let size = usize::try_from(size).ok();
    let size = size.filter(|size| size.is_power_of_two() && *size <= MOST_RING);
    let size = size.ok_or_else(|| {
        let accepted = "a power of two, up to 1M";
        BadOption::property(kv.option(), "size", &text, "not accepted", accepted)
    })?;
    Ok(ChardevKind::Ring { size })
}

const RING_SIZE: usize = 64 << 10;
const MOST_RING: usize = 1 << 20;
const ID: Key = ("id", "identifier");
const SOCKET: &[Key] = &[
    ID,
    ("path", "path of a UNIX stream socket"),
    ("host", "of a TCP socket: name or address"),
    ("port", "of a TCP socket"),
    ("fd", "name of a socket that a monitor has passed"),
    ("server", "on: listen; off: connect (default off)"),
    (
        "wait",
        "with server=on, hold the guest until a client is there (default on)",
    ),
    (
        "reconnect-ms",
        "with server=off, milliseconds after which to try again",
    ),
    ("reconnect", ""),
    (
        "nodelay",
        "on: send small packets at once (TCP; default off)",
    ),
];
const BACKENDS: &[(&str, &[Key], Build)] = &[
    ("null", &[ID], null),
    (
        "stdio",
        &[ID, ("signal", "on: Ctrl-C stops the VMM (default off)")],
        stdio,
    ),
    (
        "file",
        &[
            ID,
            ("path", "path of the output file"),
            ("append", "on: keep what it holds"),
        ],
        file,
    ),
    (
        "pipe",
        &[
            ID,
            ("path", "FIFOs are PATH.in and PATH.out, or PATH both ways"),
        ],
        pipe,
    ),
    ("pty", &[ID], pty),
    (
        "ringbuf",
        &[ID, ("size", "bytes, a power of two (default 64K)")],
        ring,
    ),
    ("socket", SOCKET, socket),
];
const SHORT_FORMS: &str = "none, null, stdio, mon:stdio, pty, file:PATH, pipe:PATH, unix:PATH[,server=on][,wait=off], \
     tcp:HOST:PORT[,server=on][,wait=off], chardev:ID";
