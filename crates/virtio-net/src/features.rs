//! Feature bits (section 5.1.3).

use virtio_device::{Dependency, Features};

/// VIRTIO_NET_F_CSUM: the device takes frames without checksums.
pub(crate) const CSUM: Features = Features::bit(0);
/// VIRTIO_NET_F_GUEST_CSUM: the driver does.
pub(crate) const GUEST_CSUM: Features = Features::bit(1);
/// VIRTIO_NET_F_CTRL_GUEST_OFFLOADS: the driver changes its offloads at run time.
pub(crate) const CTRL_GUEST_OFFLOADS: Features = Features::bit(2);
/// VIRTIO_NET_F_MTU: `mtu` is valid.
pub(crate) const MTU: Features = Features::bit(3);
/// VIRTIO_NET_F_MAC: `mac` is valid.
pub(crate) const MAC: Features = Features::bit(5);
/// VIRTIO_NET_F_GUEST_TSO4.
pub(crate) const GUEST_TSO4: Features = Features::bit(7);
/// VIRTIO_NET_F_GUEST_TSO6.
pub(crate) const GUEST_TSO6: Features = Features::bit(8);
/// VIRTIO_NET_F_GUEST_ECN.
pub(crate) const GUEST_ECN: Features = Features::bit(9);
/// VIRTIO_NET_F_GUEST_UFO.
pub(crate) const GUEST_UFO: Features = Features::bit(10);
/// VIRTIO_NET_F_HOST_TSO4.
pub(crate) const HOST_TSO4: Features = Features::bit(11);
/// VIRTIO_NET_F_HOST_TSO6.
pub(crate) const HOST_TSO6: Features = Features::bit(12);
/// VIRTIO_NET_F_HOST_ECN.
pub(crate) const HOST_ECN: Features = Features::bit(13);
/// VIRTIO_NET_F_HOST_UFO.
pub(crate) const HOST_UFO: Features = Features::bit(14);
/// VIRTIO_NET_F_MRG_RXBUF: a frame may fill several receive buffers.
pub(crate) const MRG_RXBUF: Features = Features::bit(15);
/// VIRTIO_NET_F_STATUS: `status` is valid.
pub(crate) const STATUS: Features = Features::bit(16);
/// VIRTIO_NET_F_CTRL_VQ: there is a control queue.
pub(crate) const CTRL_VQ: Features = Features::bit(17);
/// VIRTIO_NET_F_CTRL_RX: receive modes.
pub(crate) const CTRL_RX: Features = Features::bit(18);
/// VIRTIO_NET_F_CTRL_VLAN: VLAN filter.
pub(crate) const CTRL_VLAN: Features = Features::bit(19);
/// VIRTIO_NET_F_CTRL_RX_EXTRA: more receive modes.
pub(crate) const CTRL_RX_EXTRA: Features = Features::bit(20);
/// VIRTIO_NET_F_GUEST_ANNOUNCE: the driver announces itself when asked to.
pub(crate) const GUEST_ANNOUNCE: Features = Features::bit(21);
/// VIRTIO_NET_F_MQ: several queue pairs.
pub(crate) const MQ: Features = Features::bit(22);
/// VIRTIO_NET_F_CTRL_MAC_ADDR: the driver sets its address by a command.
pub(crate) const CTRL_MAC_ADDR: Features = Features::bit(23);
/// VIRTIO_NET_F_VQ_NOTF_COAL: coalescing of interrupts, queue by queue.
pub(crate) const VQ_NOTF_COAL: Features = Features::bit(52);
/// VIRTIO_NET_F_NOTF_COAL: coalescing of interrupts.
pub(crate) const NOTF_COAL: Features = Features::bit(53);
/// VIRTIO_NET_F_GUEST_USO4.
pub(crate) const GUEST_USO4: Features = Features::bit(54);
/// VIRTIO_NET_F_GUEST_USO6.
pub(crate) const GUEST_USO6: Features = Features::bit(55);
/// VIRTIO_NET_F_HOST_USO.
pub(crate) const HOST_USO: Features = Features::bit(56);
/// VIRTIO_NET_F_HASH_REPORT: received frames come with their hash.
pub(crate) const HASH_REPORT: Features = Features::bit(57);
/// VIRTIO_NET_F_GUEST_HDRLEN: the driver says exactly how long headers are.
pub(crate) const GUEST_HDRLEN: Features = Features::bit(59);
/// VIRTIO_NET_F_RSS: receive queues are chosen by hash.
pub(crate) const RSS: Features = Features::bit(60);
/// VIRTIO_NET_F_SPEED_DUPLEX: `speed` and `duplex` are valid.
pub(crate) const SPEED_DUPLEX: Features = Features::bit(63);

/// What the bits require of one another (section 5.1.3.1).
pub(crate) const DEPENDENCIES: &[Dependency] = &[
    Dependency::new(GUEST_TSO4, GUEST_CSUM),
    Dependency::new(GUEST_TSO6, GUEST_CSUM),
    Dependency::new(GUEST_ECN, GUEST_TSO4.with(GUEST_TSO6)),
    Dependency::new(GUEST_UFO, GUEST_CSUM),
    Dependency::new(GUEST_USO4, GUEST_CSUM),
    Dependency::new(GUEST_USO6, GUEST_CSUM),
    Dependency::new(HOST_TSO4, CSUM),
    Dependency::new(HOST_TSO6, CSUM),
    Dependency::new(HOST_ECN, HOST_TSO4.with(HOST_TSO6)),
    Dependency::new(HOST_UFO, CSUM),
    Dependency::new(HOST_USO, CSUM),
    Dependency::new(CTRL_RX, CTRL_VQ),
    Dependency::new(CTRL_VLAN, CTRL_VQ),
    Dependency::new(CTRL_RX_EXTRA, CTRL_VQ),
    Dependency::new(GUEST_ANNOUNCE, CTRL_VQ),
    Dependency::new(MQ, CTRL_VQ),
    Dependency::new(CTRL_MAC_ADDR, CTRL_VQ),
    Dependency::new(NOTF_COAL, CTRL_VQ),
    Dependency::new(VQ_NOTF_COAL, CTRL_VQ),
    Dependency::new(RSS, CTRL_VQ),
    Dependency::new(HASH_REPORT, CTRL_VQ),
];
