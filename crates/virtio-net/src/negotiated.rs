//! What driver and device agreed on.

use virtio_device::{ByteOrder, Features};

use crate::{features as f, header};

/// The features of a running device, and what follows from them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Negotiated {
    pub(crate) features: Features,
    pub(crate) order: ByteOrder,
    /// Bytes before each frame.
    pub(crate) header_len: u32,
    /// Index of the control queue, if there is one.
    pub(crate) control: Option<u16>,
}

impl Negotiated {
    /// For a device with at most `pairs` pairs of queues (section 5.1.2).
    pub(crate) fn new(features: Features, order: ByteOrder, pairs: u16) -> Self {
        let pairs = if features.intersects(f::MQ | f::RSS) {
            pairs
        } else {
            1
        };
        Self {
            features,
            order,
            header_len: header::len(features),
            control: features.contains(f::CTRL_VQ).then_some(2 * pairs),
        }
    }

    /// Whether `feature` was negotiated.
    #[inline]
    pub(crate) fn has(&self, feature: Features) -> bool {
        self.features.contains(feature)
    }

    /// Whether any of `features` was.
    #[inline]
    pub(crate) fn any(&self, features: Features) -> bool {
        self.features.intersects(features)
    }
}
