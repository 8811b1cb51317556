//! One call's view of guest memory, which remembers the regions it was in last.

use guest_io::Area;
use vm_memory::bitmap::BS;
use vm_memory::{
    Address, GuestAddress, GuestMemory, GuestMemoryBackend, GuestMemoryRegion, Permissions,
    VolatileSlice,
};

use crate::{Buffer, MemoryError};

/// The slice type of a memory map `M`: dirty-tracked where `M` is.
pub(crate) type Slice<'m, M> = VolatileSlice<'m, BS<'m, <M as GuestMemory>::Bitmap>>;

/// Turns guest addresses into slices of host memory.
///
/// Finding the region of an address costs some 130 instructions in vm-memory; two regions are
/// remembered here, so that rings and buffers, which mostly share them, cost a comparison. Behind
/// an IOMMU, where no region can be remembered, every access is translated.
///
/// Cheap to create and to clone; create one per wake-up.
pub struct GuestView<'m, M: GuestMemory> {
    memory: &'m M,
    regions: [Option<Region<'m, M>>; 2],
}

struct Region<'m, M: GuestMemory> {
    start: u64,
    area: Area<'m, BS<'m, M::Bitmap>>,
}

impl<'m, M: GuestMemory> GuestView<'m, M> {
    /// A view that remembers nothing yet.
    pub fn new(memory: &'m M) -> Self {
        Self {
            memory,
            regions: [None, None],
        }
    }

    /// The memory map underneath.
    pub fn memory(&self) -> &'m M {
        self.memory
    }

    /// The host memory of `len` bytes at guest `address`, if it is there in one piece.
    ///
    /// # Errors
    /// Where a byte of it is not guest memory, or it lies in several pieces
    /// ([`for_each_slice`](Self::for_each_slice) takes those).
    #[inline(always)]
    pub fn slice(&mut self, address: u64, len: u32) -> Result<Slice<'m, M>, MemoryError> {
        match self.regions[0]
            .as_ref()
            .and_then(|region| region.slice(address, len))
        {
            Some(slice) => Ok(slice),
            None => self.slice_elsewhere(address, len),
        }
    }

    /// Calls `f` with the host memory of `len` bytes at `address`, piece by piece and in order.
    /// The whole range is checked before the first call.
    ///
    /// # Errors
    /// Where a byte of the range is not guest memory, or not accessible as `access` says; `f` was
    /// then not called.
    #[inline]
    pub fn for_each_slice(
        &mut self,
        address: u64,
        len: u32,
        access: Permissions,
        mut f: impl FnMut(Slice<'m, M>),
    ) -> Result<(), MemoryError> {
        if len == 0 {
            return Ok(());
        }
        if let Ok(slice) = self.slice(address, len) {
            f(slice);
            return Ok(());
        }
        self.for_each_piece(address, len, access, &mut f)
    }

    /// Whether all `len` bytes at `address` are guest memory, accessible as `access` says.
    pub fn check(&mut self, address: u64, len: u32, access: Permissions) -> bool {
        self.for_each_slice(address, len, access, |_| ()).is_ok()
    }

    #[cold]
    fn for_each_piece(
        &self,
        address: u64,
        len: u32,
        access: Permissions,
        f: &mut dyn FnMut(Slice<'m, M>),
    ) -> Result<(), MemoryError> {
        let error = MemoryError::OutOfRange {
            address,
            len: len.into(),
        };
        // An IOTLB look-up of a wrapping range must not be made.
        address.checked_add(u64::from(len)).ok_or(error)?;
        let slices = || {
            self.memory
                .get_slices(GuestAddress(address), len as usize, access)
        };
        let mut found = 0;
        for slice in slices().map_err(|_| error)? {
            found += slice.map_err(|_| error)?.len();
        }
        if found != len as usize {
            return Err(error);
        }
        slices()
            .map_err(|_| error)?
            .filter_map(Result::ok)
            .for_each(f);
        Ok(())
    }

    /// Looks in the other region, which then becomes the first to look in, and then everywhere.
    #[cold]
    fn slice_elsewhere(&mut self, address: u64, len: u32) -> Result<Slice<'m, M>, MemoryError> {
        let error = MemoryError::OutOfRange {
            address,
            len: len.into(),
        };
        address
            .checked_add(u64::from(len))
            .filter(|_| len > 0)
            .ok_or(error)?;
        self.regions.swap(0, 1);
        let known = self.regions[0].as_ref();
        if let Some(slice) = known.and_then(|region| region.slice(address, len)) {
            return Ok(slice);
        }
        if let Some(region) = self.find_region(address) {
            let slice = region.slice(address, len).ok_or(error);
            self.regions[0] = Some(region);
            return slice;
        }
        let access = Permissions::ReadWrite;
        let mut slices = self
            .memory
            .get_slices(GuestAddress(address), len as usize, access)
            .map_err(|_| error)?;
        let slice = slices.next().and_then(Result::ok).ok_or(error)?;
        if slice.len() == len as usize {
            Ok(slice)
        } else {
            Err(error)
        }
    }

    /// The region around `address`; `None` where there is none or regions have no meaning.
    fn find_region(&self, address: u64) -> Option<Region<'m, M>> {
        let region = self
            .memory
            .physical_memory()?
            .find_region(GuestAddress(address))?;
        let (start, len) = (region.start_addr(), usize::try_from(region.len()).ok()?);
        let mut slices = self
            .memory
            .get_slices(start, len, Permissions::ReadWrite)
            .ok()?;
        let slice = slices.next()?.ok()?;
        let area = Area::new(&slice).filter(|area| area.len() == len)?;
        Some(Region {
            start: start.raw_value(),
            area,
        })
    }
}

impl<M: GuestMemory> Clone for GuestView<'_, M> {
    fn clone(&self) -> Self {
        Self {
            memory: self.memory,
            regions: self.regions.clone(),
        }
    }
}

impl<'m, M: GuestMemory> Region<'m, M> {
    #[inline(always)]
    fn slice(&self, address: u64, len: u32) -> Option<Slice<'m, M>> {
        // An address below the region wraps to an offset that no length fits.
        let offset = usize::try_from(address.wrapping_sub(self.start)).ok()?;
        self.area.slice(offset, len as usize)
    }
}

impl<M: GuestMemory> Clone for Region<'_, M> {
    fn clone(&self) -> Self {
        Self {
            start: self.start,
            area: self.area.clone(),
        }
    }
}

impl<'m, M: GuestMemory> GuestView<'m, M> {
    /// Calls `f` with the host memory of each buffer in turn, once all of them are known to be
    /// guest memory.
    #[cold]
    pub(crate) fn for_each_buffer(
        &mut self,
        buffers: impl Iterator<Item = Buffer> + Clone,
        access: Permissions,
        f: &mut dyn FnMut(Slice<'m, M>),
    ) -> Result<(), MemoryError> {
        for Buffer { address, len } in buffers.clone() {
            self.for_each_slice(address, len, access, |_| ())?;
        }
        for Buffer { address, len } in buffers {
            self.for_each_slice(address, len, access, &mut *f)?;
        }
        Ok(())
    }
}
