//! `-netdev`: the host end of a network device.

use super::keyval::Key;
use super::{BadOption, DatagramOptions, KeyVals, help, near, values};
use crate::files::Endpoint;

/// One `-netdev`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetdevOptions {
    /// Its identifier, which devices refer to.
    pub id: String,
    /// What it is.
    pub kind: NetdevKind,
}

/// The kinds of network back-end, as QEMU names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetdevKind {
    /// A tap interface of the host.
    Tap(TapOptions),
    /// Frames on a stream socket, each after its length.
    Stream(StreamOptions),
    /// Frames as datagrams.
    Datagram(DatagramOptions),
    /// A port of a hub in this process.
    Hub {
        /// Number of the hub.
        hub: u32,
    },
    /// The network as a process of this user sees it, by way of `passt`.
    User {
        /// The program, looked for as a shell does.
        program: String,
    },
}

/// Which tap interface, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapOptions {
    /// Name of the interface; the kernel chooses one if unset.
    pub ifname: Option<String>,
    /// Open descriptors, in place of a name.
    pub fds: Vec<u32>,
    /// Queues of the interface.
    pub queues: u16,
    /// Checksums and segmentation are left to the interface.
    pub vnet_hdr: bool,
}

/// Where a stream socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamOptions {
    /// It is open.
    Fd(u32),
    /// It is to connect.
    Connect(Endpoint),
    /// It is to listen, for one peer at a time.
    Listen(Endpoint),
}

impl NetdevOptions {
    /// Parses the value of `-netdev`.
    pub fn parse(text: &str) -> Result<Self, BadOption> {
        Self::of(KeyVals::parse_any("-netdev", text, "type")?)
    }

    /// Takes pairs, those of `-netdev` or the arguments of `netdev_add`.
    pub fn of(mut kv: KeyVals) -> Result<Self, BadOption> {
        let option = kv.option().to_owned();
        let kind = kv.require("type", &Self::kinds().collect::<Vec<_>>().join(", "))?;
        let Some((_, keys, build)) = KINDS.iter().find(|(name, ..)| *name == kind) else {
            let names = near::accepted(&kind, Self::kinds());
            return Err(BadOption::value(&option, &kind, "unknown type", names));
        };
        kv.check(keys)?;
        let id = kv.require("id", "an identifier")?;
        let id = values::identifier(&option, &id)?;
        let kind = build(&mut kv)?;
        Ok(Self { id, kind })
    }

    /// Names of the types.
    pub(super) fn kinds() -> impl Iterator<Item = &'static str> + Clone {
        KINDS.iter().map(|(name, ..)| *name)
    }

    /// What `-netdev help` prints, or, of one `kind`, `-netdev KIND,help`.
    pub fn help(kind: &str) -> String {
        let kinds = KINDS.iter().map(|(name, keys, _)| (*name, *keys));
        help::kinds("Network back-ends (-netdev TYPE,id=ID[,...]):", kinds, kind)
    }
}

type Build = fn(&mut KeyVals) -> Result<NetdevKind, BadOption>;

fn tap(kv: &mut KeyVals) -> Result<NetdevKind, BadOption> {
    for (key, only) in [
        ("vhost", "off"),
        ("vhostforce", "off"),
        ("script", "no"),
        ("downscript", "no"),
    ] {
        refuse_unless(kv, key, only)?;
    }
    let ifname = kv.take("ifname").filter(|name| !name.is_empty());
    if let Some(name) = ifname.as_ref().filter(|name| name.len() > MAX_IFNAME) {
        let accepted = "up to 15 bytes";
        return Err(BadOption::property(
            kv.option(),
            "ifname",
            name,
            "too long",
            accepted,
        ));
    }
    let fds = [kv.take("fd"), kv.take("fds")];
    let fds = fds.iter().flatten().flat_map(|fds| fds.split(':'));
    let fds = fds.map(|text| descriptor(kv.option(), text));
    let fds = fds.collect::<Result<Vec<_>, _>>()?;
    let queues = kv.take_number("queues", 1..=MAX_QUEUES)?;
    if !fds.is_empty() && (ifname.is_some() || queues.is_some()) {
        let accepted = "fds alone, one for each queue";
        return Err(BadOption::new(
            kv.option(),
            "fd= with ifname= or queues=",
            accepted,
        ));
    }
    Ok(NetdevKind::Tap(TapOptions {
        ifname,
        queues: queues.unwrap_or(1) as u16,
        fds,
        vnet_hdr: kv.take_switch("vnet_hdr", true)?,
    }))
}

fn socket(kv: &mut KeyVals) -> Result<NetdevKind, BadOption> {
    let given = ["fd", "connect", "listen", "mcast", "udp"].map(|key| kv.take(key));
    let options = match given.each_ref().map(Option::as_deref) {
        [Some(text), None, None, None, None] => StreamOptions::Fd(descriptor(kv.option(), text)?),
        [None, Some(text), None, None, None] => {
            StreamOptions::Connect(tcp(kv.option(), "connect", text)?)
        }
        [None, None, Some(text), None, None] => {
            StreamOptions::Listen(tcp(kv.option(), "listen", text)?)
        }
        [None, None, None, Some(text), None] => {
            return DatagramOptions::multicast(kv, text).map(NetdevKind::Datagram);
        }
        [None, None, None, None, Some(text)] => {
            return DatagramOptions::udp(kv, text).map(NetdevKind::Datagram);
        }
        _ => {
            let accepted = "one of fd=N, connect=HOST:PORT, listen=[HOST]:PORT, \
                            mcast=GROUP:PORT, udp=HOST:PORT";
            return Err(BadOption::new(kv.option(), "no place given", accepted));
        }
    };
    match kv.take("localaddr") {
        None => Ok(NetdevKind::Stream(options)),
        Some(address) => {
            let why = "not for a stream socket";
            let accepted = "mcast=, udp=";
            Err(BadOption::property(
                kv.option(),
                "localaddr",
                &address,
                why,
                accepted,
            ))
        }
    }
}

fn stream(kv: &mut KeyVals) -> Result<NetdevKind, BadOption> {
    let server = kv.take_switch("server", false)?;
    let option = kv.option().to_owned();
    let kind = kv.require("addr.type", "unix, inet, fd")?;
    let endpoint = match kind.as_str() {
        "unix" => Endpoint::Unix(kv.require("addr.path", "the path of a UNIX socket")?.into()),
        "inet" => {
            let host = kv.take("addr.host").unwrap_or_default();
            let port = kv.require("addr.port", "a port")?;
            tcp(&option, "addr.port", &format!("{host}:{port}"))?
        }
        "fd" => {
            let text = kv.require("addr.str", "a descriptor, or the name of one")?;
            match descriptor(&option, &text) {
                Ok(fd) => return Ok(NetdevKind::Stream(StreamOptions::Fd(fd))),
                Err(_) => Endpoint::Passed(text),
            }
        }
        _ => {
            let why = "not accepted";
            return Err(BadOption::property(
                &option,
                "addr.type",
                &kind,
                why,
                "unix, inet, fd",
            ));
        }
    };
    Ok(NetdevKind::Stream(match server {
        true => StreamOptions::Listen(endpoint),
        false => StreamOptions::Connect(endpoint),
    }))
}

fn dgram(kv: &mut KeyVals) -> Result<NetdevKind, BadOption> {
    DatagramOptions::dgram(kv).map(NetdevKind::Datagram)
}

fn hubport(kv: &mut KeyVals) -> Result<NetdevKind, BadOption> {
    let hub = kv.take_number("hubid", 0..=u64::from(u32::MAX))?;
    let hub = hub.ok_or_else(|| {
        let accepted = "the number of a hub";
        BadOption::property(kv.option(), "hubid", "", "missing", accepted)
    })?;
    Ok(NetdevKind::Hub { hub: hub as u32 })
}

fn user(kv: &mut KeyVals) -> Result<NetdevKind, BadOption> {
    let program = kv.take("path").unwrap_or_else(|| "passt".to_owned());
    Ok(NetdevKind::User { program })
}

/// Takes a key of which we implement one value only.
fn refuse_unless(kv: &mut KeyVals, key: &str, only: &str) -> Result<(), BadOption> {
    match kv.take(key) {
        Some(value) if value != only => {
            let why = "not implemented";
            Err(BadOption::property(kv.option(), key, &value, why, only))
        }
        _ => Ok(()),
    }
}

/// The number of an open descriptor.
pub(super) fn descriptor(option: &str, text: &str) -> Result<u32, BadOption> {
    let number = values::number(text).and_then(|number| u32::try_from(number).ok());
    number
        .filter(|&number| number > 2 && number <= i32::MAX as u32)
        .ok_or_else(|| {
            let accepted = "the number of an open descriptor, from 3 on";
            BadOption::property(option, "fd", text, "not accepted", accepted)
        })
}

fn tcp(option: &str, key: &str, text: &str) -> Result<Endpoint, BadOption> {
    let (host, port) = place(option, key, text)?;
    Ok(Endpoint::Tcp { host, port })
}

/// A host, which may be empty, and a port.
pub(super) fn place(option: &str, key: &str, text: &str) -> Result<(String, u16), BadOption> {
    let place = text.rsplit_once(':');
    let place = place.and_then(|(host, port)| Some((host, values::number(port)?)));
    let place = place.and_then(|(host, port)| Some((host, u16::try_from(port).ok()?)));
    let (host, port) = place
        .ok_or_else(|| BadOption::property(option, key, text, "no place", "HOST:PORT, or :PORT"))?;
    Ok((host.trim_matches(['[', ']']).to_owned(), port))
}

const MAX_IFNAME: usize = 15;
const MAX_QUEUES: u64 = 255;
const TYPE: Key = ("type", "");
const ID: Key = ("id", "identifier");
const PATH: Key = ("path", "the program passt (default: the one in PATH)");
const KINDS: &[(&str, &[Key], Build)] = &[
    (
        "tap",
        &[
            TYPE,
            ID,
            (
                "ifname",
                "name of the interface, which must be there or be allowed to be made",
            ),
            ("fd", "open descriptor of an interface"),
            ("fds", "open descriptors, one for each queue, as A:B:..."),
            ("queues", "queues of the interface (default 1)"),
            (
                "vnet_hdr",
                "off: no checksum and segmentation offloads (default on)",
            ),
            ("script", "no; others are not run"),
            ("downscript", "no; others are not run"),
            ("vhost", "off; the kernel's own device is not used"),
            ("vhostforce", "off"),
        ],
        tap,
    ),
    (
        "socket",
        &[
            TYPE,
            ID,
            ("fd", "open descriptor of a stream socket"),
            ("connect", "HOST:PORT to connect to"),
            ("listen", "[HOST]:PORT to listen at, for one peer at a time"),
            (
                "mcast",
                "GROUP:PORT of a multicast group, all of whose members hear all",
            ),
            (
                "udp",
                "HOST:PORT that frames go to and come from, as datagrams",
            ),
            (
                "localaddr",
                "with udp, HOST:PORT to receive at; with mcast, address of an interface",
            ),
        ],
        socket,
    ),
    (
        "stream",
        &[
            TYPE,
            ID,
            ("server", "on: listen; off: connect (default off)"),
            ("addr.type", "unix, inet, fd"),
            ("addr.path", "path of a UNIX socket"),
            ("addr.host", "host of a TCP socket"),
            ("addr.port", "port of a TCP socket"),
            (
                "addr.str",
                "open descriptor, or the name of one that a monitor has passed",
            ),
        ],
        stream,
    ),
    (
        "dgram",
        &[
            TYPE,
            ID,
            ("local.type", "inet, fd (default inet)"),
            (
                "local.host",
                "address to receive at, or of an interface for a group",
            ),
            ("local.port", "port to receive at; none for a group"),
            ("local.str", "open descriptor of a socket that is connected"),
            ("remote.type", "inet"),
            (
                "remote.host",
                "host that frames go to and come from, or a group",
            ),
            ("remote.port", "its port"),
        ],
        dgram,
    ),
    (
        "hubport",
        &[TYPE, ID, ("hubid", "number of the hub")],
        hubport,
    ),
    ("user", &[TYPE, ID, PATH], user),
    ("passt", &[TYPE, ID, PATH], user),
];
