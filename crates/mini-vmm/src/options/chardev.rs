//! `-chardev`: where characters come from and go to on the host.

use std::path::PathBuf;

use super::keyval::Key;
use super::{BadOption, KeyVals, near, values};

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
    /// A UNIX stream socket.
    Socket {
        /// Path of the socket.
        path: PathBuf,
        /// Listens, where a client would connect.
        server: bool,
        /// As a server, waits for the first client before the guest starts.
        wait: bool,
    },
}

impl ChardevOptions {
    /// Parses the value of `-chardev`.
    pub fn parse(text: &str) -> Result<Self, BadOption> {
        let mut kv = KeyVals::parse("-chardev", text, Some("backend"));
        let backend = kv.require("backend", &backends())?;
        let Some((_, keys, build)) = BACKENDS.iter().find(|(name, ..)| *name == backend) else {
            let names = near::accepted(&backend, BACKENDS.iter().map(|(name, ..)| *name));
            return Err(BadOption::value(
                "-chardev",
                &backend,
                "unknown back-end",
                names,
            ));
        };
        kv.check(keys)?;
        let id = kv.require("id", "an identifier")?;
        let id = values::identifier("-chardev", &id)?;
        Ok(Self {
            id,
            kind: build(&mut kv)?,
        })
    }

    /// What `-chardev help` prints.
    pub fn help() -> String {
        let mut text = String::from("Character device back-ends (-chardev BACKEND,id=ID[,...]):\n");
        for (name, keys, _) in BACKENDS {
            text.push_str(&format!("  {name}\n"));
            for (key, help) in *keys {
                text.push_str(&format!("      {key:<10} {help}\n"));
            }
        }
        text
    }
}

impl ChardevKind {
    /// Parses the short form of `-serial`: `null`, `stdio`, `pty`, `file:PATH`, `unix:PATH[,...]`.
    pub fn parse_short(option: &str, text: &str) -> Result<Self, BadOption> {
        match text.split_once(':').unwrap_or((text, "")) {
            ("null", "") => Ok(Self::Null),
            ("stdio", "") | ("mon", "stdio") => Ok(Self::Stdio { signal: false }),
            ("pty", "") => Ok(Self::Pty),
            ("file", path) if !path.is_empty() => Ok(Self::File {
                path: path.into(),
                append: false,
            }),
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
    let path = kv.require("path", "the path of a UNIX socket")?.into();
    let server = kv.take_switch("server", false)?;
    let wait = kv.take_switch("wait", server)?;
    if wait && !server {
        return Err(BadOption::property(
            kv.option(),
            "wait",
            "on",
            "only with server=on",
            "off",
        ));
    }
    Ok(ChardevKind::Socket { path, server, wait })
}

const ID: Key = ("id", "identifier");
const SOCKET: &[Key] = &[
    ID,
    ("path", "path of a UNIX stream socket"),
    ("server", "on: listen; off: connect (default off)"),
    (
        "wait",
        "with server=on, hold the guest until a client is there (default on)",
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
    ("pty", &[ID], pty),
    ("socket", SOCKET, socket),
];
const SHORT_FORMS: &str =
    "none, null, stdio, mon:stdio, pty, file:PATH, unix:PATH[,server=on][,wait=off], chardev:ID";
