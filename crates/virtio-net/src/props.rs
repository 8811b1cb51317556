//! The properties of QEMU's `virtio-net` devices.

use virtio_device::props::{OnOffAuto, PropError};
use virtio_device::{Features, QueueSize};

use crate::{Mac, Offloads, features as f};

virtio_device::props! {
    /// Properties of a network device.
    pub struct NetProps {
        /// Back-end, by the id that the VMM knows it under.
        "netdev" => netdev: Option<String> = None,
        /// Ethernet address; the VMM's choice if unset.
        "mac" => mac: Option<Mac> = None,
        /// Offer several queue pairs.
        "mq" => mq: bool = false,
        /// Descriptors of each receive queue: a power of two from 256 to 1024.
        "rx_queue_size" => rx_queue_size: u16 = 256,
        /// Descriptors of each transmit queue: a power of two from 256 to 1024.
        "tx_queue_size" => tx_queue_size: u16 = 256,
        /// MTU that the driver is told, 68 to 65535; 0: none.
        "host_mtu" => host_mtu: u16 = 0,
        /// Speed that the driver is told, in Mbit/s; -1: none.
        "speed" => speed: i32 = -1,
        /// What the driver is told of the link: half or full.
        "duplex" => duplex: Option<String> = None,
        /// Take frames without checksums, where the back-end does.
        "csum" => csum: bool = true,
        /// Let the driver take frames without checksums.
        "guest_csum" => guest_csum: bool = true,
        /// Accepted for QEMU's command lines: bit 6, of legacy drivers before Linux 2.6.25, is not offered.
        "gso" => gso: bool = true,
        /// Let the driver take large TCP segments over IPv4.
        "guest_tso4" => guest_tso4: bool = true,
        /// Let the driver take large TCP segments over IPv6.
        "guest_tso6" => guest_tso6: bool = true,
        /// Let the driver take TCP segments with ECN.
        "guest_ecn" => guest_ecn: bool = true,
        /// Let the driver take unfragmented UDP.
        "guest_ufo" => guest_ufo: bool = true,
        /// Let the driver take unsegmented UDP over IPv4.
        "guest_uso4" => guest_uso4: bool = true,
        /// Let the driver take unsegmented UDP over IPv6.
        "guest_uso6" => guest_uso6: bool = true,
        /// Take large TCP segments over IPv4, where the back-end does.
        "host_tso4" => host_tso4: bool = true,
        /// Take large TCP segments over IPv6.
        "host_tso6" => host_tso6: bool = true,
        /// Take TCP segments with ECN.
        "host_ecn" => host_ecn: bool = true,
        /// Take unfragmented UDP.
        "host_ufo" => host_ufo: bool = true,
        /// Take unsegmented UDP.
        "host_uso" => host_uso: bool = true,
        /// Accepted for QEMU's command lines: no back-end takes frames in UDP tunnels.
        "guest_tunnel" => guest_tunnel: bool = true,
        /// Accepted for QEMU's command lines: no back-end takes frames in UDP tunnels.
        "guest_tunnel_csum" => guest_tunnel_csum: bool = true,
        /// Accepted for QEMU's command lines: no back-end takes frames in UDP tunnels.
        "host_tunnel" => host_tunnel: bool = true,
        /// Accepted for QEMU's command lines: no back-end takes frames in UDP tunnels.
        "host_tunnel_csum" => host_tunnel_csum: bool = true,
        /// Let one frame fill several receive buffers.
        "mrg_rxbuf" => mrg_rxbuf: bool = true,
        /// Tell the driver of the link.
        "status" => status: bool = true,
        /// Offer a control queue.
        "ctrl_vq" => ctrl_vq: bool = true,
        /// Offer receive modes and the table of addresses.
        "ctrl_rx" => ctrl_rx: bool = true,
        /// Offer more receive modes.
        "ctrl_rx_extra" => ctrl_rx_extra: bool = true,
        /// Offer a VLAN filter.
        "ctrl_vlan" => ctrl_vlan: bool = true,
        /// Let the driver change the address by a command.
        "ctrl_mac_addr" => ctrl_mac_addr: bool = true,
        /// Let the driver change its offloads at run time.
        "ctrl_guest_offloads" => ctrl_guest_offloads: bool = true,
        /// Let the driver announce itself when asked to.
        "guest_announce" => guest_announce: bool = true,
        /// Offer receive-side scaling.
        "rss" => rss: bool = false,
        /// Offer the hash of each received frame.
        "hash" => hash: bool = false,
        /// Offer coalescing of interrupts (QEMU does not have it).
        "notf_coal" => notf_coal: bool = false,
        /// Offer coalescing of interrupts queue by queue (QEMU does not have it).
        "vq_notf_coal" => vq_notf_coal: bool = false,
        /// Let the driver say exactly how long headers are (QEMU does not have it).
        "guest_hdrlen" => guest_hdrlen: bool = false,
        /// Not implemented but as off: segments are not joined for the driver.
        "guest_rsc_ext" => guest_rsc_ext: bool = false,
        /// Accepted for QEMU's command lines, with guest_rsc_ext=off of no effect.
        "rsc_interval" => rsc_interval: u32 = 300_000,
        /// Not implemented but as off: there is no migration to fail over.
        "failover" => failover: bool = false,
        /// Transmission on notification (bh); timer is not implemented.
        "tx" => tx: Option<String> = None,
        /// Accepted for QEMU's command lines, with tx=bh of no effect.
        "x-txtimer" => x_txtimer: u32 = 150_000,
        /// Accepted for QEMU's command lines: a batch is as long as the queue.
        "x-txburst" => x_txburst: i32 = 256,
        /// Not implemented: frames are steered by the device.
        "ebpf-rss-fds" => ebpf_rss_fds: Option<String> = None,
        /// Hash over IPv4 addresses; the device always can.
        "hash-ipv4" => hash_ipv4: OnOffAuto = OnOffAuto::Auto,
        /// Hash over IPv4 addresses and TCP ports; the device always can.
        "hash-tcp4" => hash_tcp4: OnOffAuto = OnOffAuto::Auto,
        /// Hash over IPv4 addresses and UDP ports; the device always can.
        "hash-udp4" => hash_udp4: OnOffAuto = OnOffAuto::Auto,
        /// Hash over IPv6 addresses; the device always can.
        "hash-ipv6" => hash_ipv6: OnOffAuto = OnOffAuto::Auto,
        /// Hash over IPv6 addresses and TCP ports; the device always can.
        "hash-tcp6" => hash_tcp6: OnOffAuto = OnOffAuto::Auto,
        /// Hash over IPv6 addresses and UDP ports; the device always can.
        "hash-udp6" => hash_udp6: OnOffAuto = OnOffAuto::Auto,
        /// Hash over addresses in IPv6 extension headers; the device always can.
        "hash-ipv6ex" => hash_ipv6ex: OnOffAuto = OnOffAuto::Auto,
        /// The same and TCP ports; the device always can.
        "hash-tcp6ex" => hash_tcp6ex: OnOffAuto = OnOffAuto::Auto,
        /// The same and UDP ports; the device always can.
        "hash-udp6ex" => hash_udp6ex: OnOffAuto = OnOffAuto::Auto,
    }
}

impl NetProps {
    /// Checks what the types of the properties do not.
    ///
    /// # Errors
    /// [`PropError::Value`] for the first property that is out of range, or not implemented.
    pub fn check(&self) -> Result<(), PropError> {
        self.check_mac()?;
        queue_size("rx_queue_size", self.rx_queue_size)?;
        queue_size("tx_queue_size", self.tx_queue_size)?;
        let mtu = self.host_mtu;
        ensure(mtu == 0 || mtu >= 68, "host_mtu", mtu, "0, or 68 to 65535")?;
        ensure(self.speed >= -1, "speed", self.speed, "-1 or more")?;
        let duplex = self.duplex.as_deref().unwrap_or("full");
        let known = ["half", "full"].contains(&duplex);
        ensure(known, "duplex", duplex, "half or full")?;
        self.check_unimplemented()
    }

    /// The features that they ask for, as far as a back-end with `offloads` allows.
    pub(crate) fn features(&self, offloads: Offloads) -> Features {
        let control = self.ctrl_vq;
        let by_command = f::CTRL_VQ
            | f::CTRL_RX.when(self.ctrl_rx)
            | f::CTRL_RX_EXTRA.when(self.ctrl_rx_extra)
            | f::CTRL_VLAN.when(self.ctrl_vlan)
            | f::CTRL_MAC_ADDR.when(self.ctrl_mac_addr)
            | f::CTRL_GUEST_OFFLOADS.when(self.ctrl_guest_offloads)
            | f::GUEST_ANNOUNCE.when(self.guest_announce)
            | f::MQ.when(self.mq)
            | f::RSS.when(self.rss)
            | f::HASH_REPORT.when(self.hash)
            | f::NOTF_COAL.when(self.notf_coal)
            | f::VQ_NOTF_COAL.when(self.vq_notf_coal);
        f::MAC
            | f::MRG_RXBUF.when(self.mrg_rxbuf)
            | f::STATUS.when(self.status)
            | f::MTU.when(self.host_mtu != 0)
            | f::SPEED_DUPLEX.when(self.speed >= 0 || self.duplex.is_some())
            | f::GUEST_HDRLEN.when(self.guest_hdrlen)
            | by_command.when(control)
            | self.driver_offloads(offloads).driver_features()
            | self.device_offloads(offloads).device_features()
    }

    /// `duplex` of the configuration space, with the numbers that drivers know (Linux's
    /// `ethtool.h`).
    pub(crate) fn duplex_number(&self) -> u8 {
        match self.duplex.as_deref() {
            Some("half") => 0,
            Some("full") => 1,
            _ => 0xff,
        }
    }

    /// Descriptors of queue pairs: receive, transmit.
    pub(crate) fn queue_sizes(&self) -> Result<[QueueSize; 2], PropError> {
        Ok([
            queue_size("rx_queue_size", self.rx_queue_size)?,
            queue_size("tx_queue_size", self.tx_queue_size)?,
        ])
    }

    fn driver_offloads(&self, possible: Offloads) -> Offloads {
        let csum = self.guest_csum && possible.csum;
        let (tso4, tso6) = (
            csum && self.guest_tso4 && possible.tso4,
            csum && self.guest_tso6 && possible.tso6,
        );
        Offloads {
            csum,
            tso4,
            tso6,
            ecn: self.guest_ecn && possible.ecn && (tso4 || tso6),
            ufo: csum && self.guest_ufo && possible.ufo,
            uso4: csum && self.guest_uso4 && possible.uso4,
            uso6: csum && self.guest_uso6 && possible.uso6,
        }
    }

    fn device_offloads(&self, possible: Offloads) -> Offloads {
        let csum = self.csum && possible.csum;
        let (tso4, tso6) = (
            csum && self.host_tso4 && possible.tso4,
            csum && self.host_tso6 && possible.tso6,
        );
        let uso = csum && self.host_uso && possible.uso4 && possible.uso6;
        Offloads {
            csum,
            tso4,
            tso6,
            ecn: self.host_ecn && possible.ecn && (tso4 || tso6),
            ufo: csum && self.host_ufo && possible.ufo,
            uso4: uso,
            uso6: uso,
        }
    }

    fn check_mac(&self) -> Result<(), PropError> {
        match self.mac {
            Some(mac) if mac.is_multicast() || mac == Mac::default() => {
                Err(refuse("mac", mac, "the address of one station"))
            }
            _ => Ok(()),
        }
    }

    fn check_unimplemented(&self) -> Result<(), PropError> {
        let off = "off; on is not implemented";
        ensure(!self.guest_rsc_ext, "guest_rsc_ext", "on", off)?;
        ensure(!self.failover, "failover", "on", off)?;
        let tx = self.tx.as_deref().unwrap_or("bh");
        ensure(tx == "bh", "tx", tx, "bh; timer is not implemented")?;
        let fds = self.ebpf_rss_fds.as_deref().unwrap_or_default();
        let none = "nothing: it is not implemented";
        ensure(fds.is_empty(), "ebpf-rss-fds", fds, none)?;
        let hashes = [
            ("hash-ipv4", self.hash_ipv4),
            ("hash-tcp4", self.hash_tcp4),
            ("hash-udp4", self.hash_udp4),
            ("hash-ipv6", self.hash_ipv6),
            ("hash-tcp6", self.hash_tcp6),
            ("hash-udp6", self.hash_udp6),
            ("hash-ipv6ex", self.hash_ipv6ex),
            ("hash-tcp6ex", self.hash_tcp6ex),
            ("hash-udp6ex", self.hash_udp6ex),
        ];
        let always = "auto or on; off is not implemented";
        let mut off = hashes.iter().filter(|(_, hash)| *hash == OnOffAuto::Off);
        off.next()
            .map_or(Ok(()), |(name, _)| Err(refuse(name, "off", always)))
    }
}

fn queue_size(name: &'static str, size: u16) -> Result<QueueSize, PropError> {
    let fits = size.is_power_of_two() && (256..=1024).contains(&size);
    QueueSize::new(size)
        .ok()
        .filter(|_| fits)
        .ok_or_else(|| refuse(name, size, "a power of two from 256 to 1024"))
}

/// An error unless `holds`.
fn ensure(
    holds: bool,
    name: &'static str,
    value: impl ToString,
    accepts: &'static str,
) -> Result<(), PropError> {
    if holds {
        Ok(())
    } else {
        Err(refuse(name, value, accepts))
    }
}

fn refuse(name: &'static str, value: impl ToString, accepts: &'static str) -> PropError {
    PropError::Value {
        name,
        value: value.to_string(),
        accepts,
    }
}
