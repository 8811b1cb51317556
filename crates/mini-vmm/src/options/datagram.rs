//! `udp=` and `mcast=` of `-netdev socket`, and `-netdev dgram`: each frame is a datagram.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::netdev::{descriptor, place};
use super::{BadOption, KeyVals};

/// Where datagrams go and come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatagramOptions {
    /// A socket that is open and connected.
    Fd(u32),
    /// Two UDP ports: of this host, and of the peer.
    Udp {
        /// Host and port.
        local: (String, u16),
        /// Host and port.
        remote: (String, u16),
    },
    /// A group that all members hear, ourselves included.
    Multicast {
        /// Its address and port.
        group: SocketAddrV4,
        /// Address of the interface; the host chooses one if unset.
        interface: Option<Ipv4Addr>,
    },
}

impl DatagramOptions {
    /// `socket,udp=HOST:PORT,localaddr=HOST:PORT`.
    pub(super) fn udp(kv: &mut KeyVals, remote: &str) -> Result<Self, BadOption> {
        let local = kv.require("localaddr", "HOST:PORT to receive at")?;
        Ok(Self::Udp {
            local: place(kv.option(), "localaddr", &local)?,
            remote: place(kv.option(), "udp", remote)?,
        })
    }

    /// `socket,mcast=GROUP:PORT[,localaddr=HOST]`.
    pub(super) fn multicast(kv: &mut KeyVals, group: &str) -> Result<Self, BadOption> {
        let (host, port) = place(kv.option(), "mcast", group)?;
        let interface = kv.take("localaddr");
        let wrong = |value| {
            let accepted = "ADDRESS:PORT, from 224.0.0.0 to 239.255.255.255";
            BadOption::property(kv.option(), "mcast", value, "no multicast group", accepted)
        };
        let address = group_of(&host).ok_or_else(|| wrong(group))?;
        Ok(Self::Multicast {
            group: SocketAddrV4::new(address, port),
            interface: interface
                .map(|text| interface_of(kv, "localaddr", &text))
                .transpose()?,
        })
    }

    /// `dgram,local.*,remote.*`.
    pub(super) fn dgram(kv: &mut KeyVals) -> Result<Self, BadOption> {
        let [local, remote] = ["local", "remote"].map(|end| {
            let kind = kv.take_word(&format!("{end}.type"), &["inet", "fd"])?;
            let host = kv.take(&format!("{end}.host")).unwrap_or_default();
            let port = kv.take_number(&format!("{end}.port"), 0..=u16::MAX.into())?;
            Ok((kind, host, port.map(|port| port as u16)))
        });
        let (local, remote): (End, End) = (local?, remote?);
        match (local, remote) {
            (("fd", ..), (_, peer, None)) if peer.is_empty() => {
                let text = kv.require("local.str", "the number of an open descriptor")?;
                Ok(Self::Fd(descriptor(kv.option(), &text)?))
            }
            ((_, host, None), ("inet", group, Some(port))) if group_of(&group).is_some() => {
                Self::group(kv, &host, &group, port)
            }
            ((_, host, Some(port)), ("inet", peer, Some(there))) => Ok(Self::Udp {
                local: (host, port),
                remote: (peer, there),
            }),
            _ => Err(BadOption::new(
                kv.option(),
                "no two ends",
                "local.host, local.port, remote.host, remote.port; a group as remote.host and \
                 remote.port, without local.port; local.type=fd,local.str=N",
            )),
        }
    }

    fn group(kv: &KeyVals, local: &str, group: &str, port: u16) -> Result<Self, BadOption> {
        let interface = Some(local).filter(|local| !local.is_empty());
        let address = group_of(group).unwrap_or(Ipv4Addr::UNSPECIFIED);
        Ok(Self::Multicast {
            group: SocketAddrV4::new(address, port),
            interface: interface
                .map(|text| interface_of(kv, "local.host", text))
                .transpose()?,
        })
    }
}

/// Type, host and port.
type End = (&'static str, String, Option<u16>);

fn group_of(text: &str) -> Option<Ipv4Addr> {
    let address: Ipv4Addr = text.parse().ok()?;
    address.is_multicast().then_some(address)
}

fn interface_of(kv: &KeyVals, key: &str, text: &str) -> Result<Ipv4Addr, BadOption> {
    text.parse().map_err(|_| {
        let accepted = "the IPv4 address of an interface";
        BadOption::property(kv.option(), key, text, "no address", accepted)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{NetdevKind, NetdevOptions};

    fn parse(text: &str) -> Result<DatagramOptions, String> {
        match NetdevOptions::parse(&format!("{text},id=a")) {
            Ok(options) => match options.kind {
                NetdevKind::Datagram(options) => Ok(options),
                other => panic!("{other:?}"),
            },
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn both_spellings_mean_the_same() {
        let place = |host: &str, port| (host.to_owned(), port);
        let udp = DatagramOptions::Udp {
            local: place("127.0.0.1", 5),
            remote: place("localhost", 7),
        };
        let text = "socket,udp=localhost:7,localaddr=127.0.0.1:5";
        assert_eq!(parse(text).as_ref(), Ok(&udp));
        let local = "local.type=inet,local.host=127.0.0.1,local.port=5";
        let text = format!("dgram,{local},remote.type=inet,remote.host=localhost,remote.port=7");
        assert_eq!(parse(&text).as_ref(), Ok(&udp));
        let group = |interface| DatagramOptions::Multicast {
            group: SocketAddrV4::new(Ipv4Addr::new(230, 0, 0, 1), 1234),
            interface,
        };
        assert_eq!(parse("socket,mcast=230.0.0.1:1234"), Ok(group(None)));
        let text = "dgram,local.host=127.0.0.1,remote.host=230.0.0.1,remote.port=1234";
        assert_eq!(parse(text), Ok(group(Some(Ipv4Addr::LOCALHOST))));
        let text = "dgram,local.type=fd,local.str=7";
        assert_eq!(parse(text), Ok(DatagramOptions::Fd(7)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, expected) in [
            ("socket,udp=:7", "localaddr=: missing"),
            ("socket,udp=here,localaddr=:5", "accepted: HOST:PORT"),
            (
                "socket,mcast=10.0.0.1:5",
                "accepted: ADDRESS:PORT, from 224.0.0.0",
            ),
            (
                "socket,mcast=230.0.0.1:5,localaddr=lo",
                "the IPv4 address of an interface",
            ),
            ("socket,mcast=230.0.0.1:5,udp=:7", "accepted: one of fd=N"),
            ("socket,connect=:7,localaddr=:5", "accepted: mcast=, udp="),
            ("dgram", "accepted: local.host"),
            ("dgram,local.host=::1,local.port=5", "no two ends"),
            ("dgram,local.type=fd", "local.str=: missing"),
            ("dgram,local.type=unix", "accepted: inet, fd"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
