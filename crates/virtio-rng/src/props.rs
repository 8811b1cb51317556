//! The properties of QEMU's `virtio-rng` devices.

use virtio_device::props::PropError;

virtio_device::props! {
    /// Properties of an entropy device.
    pub struct RngProps {
        /// Source of entropy, by the id that the VMM knows it under; the host kernel's if unset.
        "rng" => rng: Option<String> = None,
        /// Bytes that the guest may draw in each period, below 2^63.
        "max-bytes" => max_bytes: u64 = MAX_BYTES,
        /// Length of the period in milliseconds, above 0.
        "period" => period: u32 = 1 << 16,
    }
}

impl RngProps {
    /// Checks what the types of the properties do not.
    ///
    /// # Errors
    /// [`PropError::Value`] for the first property that is out of range.
    pub fn check(&self) -> Result<(), PropError> {
        let refuse = |name, value: String, accepts| PropError::Value {
            name,
            value,
            accepts,
        };
        let Self {
            rng: _,
            max_bytes,
            period,
        } = self;
        if *max_bytes > MAX_BYTES {
            let accepts = "a number from 0 to 2^63 - 1";
            return Err(refuse("max-bytes", max_bytes.to_string(), accepts));
        }
        if *period == 0 {
            let accepts = "a number from 1 to 4294967295";
            return Err(refuse("period", period.to_string(), accepts));
        }
        Ok(())
    }
}

const MAX_BYTES: u64 = i64::MAX as u64;
