//! The control plane of the network device.

use std::sync::Arc;

use virtio_device::{
    Activation, AddressSpace, ConfigCell, DeviceId, Error, Features, Info, Placed, QueueSize,
    Result, SavedState, VirtioDevice,
};

use crate::config_space::{self, ANNOUNCE, Contents};
use crate::negotiated::Negotiated;
use crate::pair::Pair;
use crate::rules::Rules;
use crate::shared::Shared;
use crate::{
    Backend, Line, Mac, NetError, NetHandle, NetProps, NetWorker, Offloads, features as f, saved,
};

/// A network device, with a pair of queues for each line of its back-end and a control queue.
///
/// Each pair has a worker of its own, unless the driver negotiates VIRTIO_NET_F_RSS: as a frame can
/// then be for any queue, one worker has them all.
pub struct Net<L> {
    info: Info,
    shared: Arc<Shared>,
    /// Those that no worker has.
    pairs: Vec<Pair<L>>,
    /// Of the driver that runs the device.
    negotiated: Option<Features>,
}

impl<L: Line> Net<L> {
    /// A device on `backend` and its lines. The property `netdev` is for the VMM, which chose the
    /// back-end by it, and so is `mac` where it is unset: all such devices have the same address.
    ///
    /// # Errors
    /// Where a property is out of range, there are too many lines or none, or the host refuses
    /// something.
    pub fn new(
        props: &NetProps,
        backend: impl Backend,
        lines: Vec<L>,
    ) -> std::result::Result<Self, NetError> {
        props.check()?;
        let count = lines.len();
        let lines_fit = (1..=MAX_PAIRS).contains(&count);
        let pairs = u16::try_from(count).ok().filter(|_| lines_fit);
        let pairs = pairs.ok_or(NetError::Lines(count))?;
        let features = props.features(backend.facts().offloads);
        let mac = props.mac.unwrap_or(DEFAULT_MAC);
        let config = config_space::new(
            features,
            &Contents {
                mac,
                pairs,
                mtu: props.host_mtu,
                speed: props.speed as u32,
                duplex: props.duplex_number(),
            },
        );
        backend.set_lines(1)?;
        let shared = Shared::new(Box::new(backend), config, (mac, props.host_mtu, pairs))?;
        let pairs = (0..).zip(lines).map(|(index, line)| Pair::new(index, line));
        Ok(Self {
            info: Info {
                id: DeviceId::NET,
                features,
                dependencies: f::DEPENDENCIES,
                queue_sizes: queue_sizes(props.queue_sizes()?, count),
            },
            shared: Arc::new(shared),
            pairs: pairs.collect::<std::io::Result<_>>()?,
            negotiated: None,
        })
    }

    /// A hold on the device for when a transport owns it.
    pub fn handle(&self) -> NetHandle {
        NetHandle {
            shared: self.shared.clone(),
            vlans_filtered: self.info.features.contains(f::CTRL_VLAN),
        }
    }

    /// Tells the back-end what the driver wants of it.
    fn set_up_backend(&self, features: Features) -> Result<()> {
        let mut rules = self.shared.change();
        let offered = features & Offloads::ALL.driver_features();
        let taken = *rules.taken.get_or_insert(offered);
        let pairs = rules.pairs;
        drop(rules);
        if self.shared.facts.header {
            self.shared
                .backend
                .set_offloads(Offloads::of_driver(taken))?;
        }
        self.shared.backend.set_lines(pairs)?;
        Ok(())
    }
}

impl<L: Line> VirtioDevice for Net<L> {
    type Worker<AS: AddressSpace> = NetWorker<L>;

    fn info(&self) -> Info {
        self.info.clone()
    }

    fn config(&self) -> Arc<ConfigCell> {
        self.shared.config.clone()
    }

    /// A legacy driver that knows no command for it sets the address here (section 5.1.4.2).
    fn write_config(&mut self, offset: u64, data: &[u8]) {
        let by_command = Features::VERSION_1 | f::CTRL_MAC_ADDR;
        let is_legacy = self
            .negotiated
            .is_some_and(|features| !features.intersects(by_command));
        let mut mac = [0; 6];
        self.shared.config.read(0, &mut mac);
        let place = usize::try_from(offset).ok();
        let place = place.and_then(|offset| mac.get_mut(offset..));
        if let (Some(place), true) = (place, is_legacy) {
            place
                .iter_mut()
                .zip(data)
                .for_each(|(to, from)| *to = *from);
            self.shared.change().filter.mac = Mac(mac);
            self.shared.config.write(config_space::MAC.offset, &mac);
        }
    }

    fn activate<AS: AddressSpace>(
        &mut self,
        activation: Activation,
    ) -> Result<Vec<Placed<NetWorker<L>>>> {
        let Activation {
            features,
            order,
            queues: _,
            host,
        } = activation;
        if self.pairs.len() != usize::from(self.shared.pairs) {
            return Err(AT_WORK);
        }
        self.set_up_backend(features)?;
        let negotiated = Negotiated::new(features, order, self.shared.pairs);
        let announces = features.contains(f::GUEST_ANNOUNCE);
        self.shared.connect(Some(host), announces);
        self.negotiated = Some(features);
        let used = match features.intersects(f::MQ | f::RSS) {
            true => self.pairs.len(),
            false => 1,
        };
        let mut used: Vec<_> = self.pairs.drain(..used).collect();
        let mut groups = Vec::new();
        if features.contains(f::RSS) {
            groups.push(used);
        } else {
            groups.extend(used.drain(..).map(|pair| vec![pair]));
        }
        let mut control = negotiated.control;
        let place = |pairs: Vec<Pair<L>>| {
            let queues = pairs.iter().flat_map(Pair::queues);
            let queues = queues.chain(control.take()).collect();
            let worker = NetWorker::new(self.shared.clone(), negotiated, pairs);
            Placed { worker, queues }
        };
        Ok(groups.into_iter().map(place).collect())
    }

    fn deactivate<AS: AddressSpace>(&mut self, workers: Vec<NetWorker<L>>) {
        self.pairs
            .extend(workers.into_iter().flat_map(NetWorker::into_pairs));
        self.pairs.sort_by_key(|pair| pair.index);
        self.shared.connect(None, false);
        self.negotiated = None;
    }

    fn reset(&mut self) {
        let Self {
            info: _,
            shared,
            pairs,
            negotiated,
        } = self;
        shared.reset();
        pairs.iter_mut().for_each(Pair::reset);
        *negotiated = None;
    }

    fn save(&self) -> Result<SavedState> {
        let announces = config_space::has_status(&self.shared.config, ANNOUNCE);
        let bytes = saved::encode(&self.shared.rules(), announces);
        Ok(SavedState::new(saved::KIND, saved::VERSION, bytes))
    }

    fn restore(&mut self, state: &SavedState) -> Result<()> {
        let bytes = state.expect(saved::KIND, saved::VERSION)?;
        let (rules, announces) = saved::decode(bytes, self.shared.pairs)?;
        let Rules { filter, .. } = &rules;
        self.shared
            .config
            .update(|bytes| config_space::set_mac(bytes, filter.mac));
        config_space::set_status(&self.shared.config, ANNOUNCE, announces);
        *self.shared.change() = rules;
        Ok(())
    }
}

/// Receive and transmit queues in turn, then the control queue.
fn queue_sizes(pair: [QueueSize; 2], pairs: usize) -> Vec<QueueSize> {
    let data = std::iter::repeat_n(pair, pairs).flatten();
    data.chain([CONTROL_SIZE]).collect()
}

/// Queue indices are limited to 1024 by the transports that QEMU's users know.
const MAX_PAIRS: usize = 511;
const CONTROL_SIZE: QueueSize = QueueSize::of(64);
const DEFAULT_MAC: Mac = Mac([0x52, 0x54, 0x00, 0x12, 0x34, 0x56]);
const AT_WORK: Error = Error::Misuse("the lines are with workers");
