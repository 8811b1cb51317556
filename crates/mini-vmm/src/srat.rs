//! ACPI's System Resource Affinity Table (ACPI 6.5, section 5.2.16): all processors and all memory in
//! one proximity domain.
//!
//! It tells a kernel nothing that it would not assume. But it is asked first, and where there is none
//! Linux looks for the northbridge of an old AMD processor in all slots of the root bus.

use acpi_tables::Aml;
use acpi_tables::sdt::Sdt;
use acpi_tables::srat::MemoryAffinity;

use crate::layout::Range;

/// A table for processors whose APIC ids count from 0, and the ranges of `memory`.
pub fn srat(cpus: u8, memory: &[Range], (oem, oem_table): ([u8; 6], [u8; 8])) -> Sdt {
    let mut srat = Sdt::new(*b"SRAT", HEADER, REVISION, oem, oem_table, 1);
    for id in 0..cpus {
        srat.append_slice(&processor(id));
    }
    for range in memory {
        let affinity = MemoryAffinity::new(DOMAIN, range.base, range.size).enabled();
        let mut bytes = Vec::new();
        affinity.to_aml_bytes(&mut bytes);
        srat.append_slice(&bytes);
    }
    // Reserved, and has to be 1 (table 5.59).
    srat.write_u32(RESERVED, 1);
    srat
}

/// A Processor Local APIC Affinity structure (section 5.2.16.1).
fn processor(id: u8) -> [u8; PROCESSOR_LENGTH] {
    let mut structure = [0; PROCESSOR_LENGTH];
    structure[1] = PROCESSOR_LENGTH as u8;
    structure[2] = DOMAIN as u8;
    structure[3] = id;
    structure[4] = ENABLED;
    structure
}

const DOMAIN: u32 = 0;
const REVISION: u8 = 3;
const RESERVED: usize = 36;
/// With the two reserved fields.
const HEADER: u32 = 48;
const PROCESSOR_LENGTH: usize = 16;
const ENABLED: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn srat_has_every_processor_and_all_memory_in_one_domain() {
        let ranges = [(0, 0xc000_0000), (1 << 32, 0x4000_0000)];
        let memory = ranges.map(|(base, size)| Range { base, size });
        let table = srat(3, &memory, (*b"OEMOEM", *b"OEMTABLE"));
        let bytes = table.as_slice();
        let sum = bytes
            .iter()
            .fold(0, |sum: u8, byte| sum.wrapping_add(*byte));
        assert_eq!((bytes.len(), sum), (48 + 3 * 16 + 2 * 40, 0));
        assert_eq!(bytes[36..40], [1, 0, 0, 0]);
        for (id, processor) in (0..3).zip(bytes[48..96].chunks(16)) {
            assert_eq!(processor[..8], [0, 16, 0, id, 1, 0, 0, 0]);
        }
        for (memory, (base, size)) in bytes[96..].chunks(40).zip(ranges) {
            let field = |at: usize| u64::from_le_bytes(memory[at..at + 8].try_into().unwrap());
            assert_eq!(memory[..8], [1, 40, 0, 0, 0, 0, 0, 0]);
            assert_eq!((field(8), field(16), memory[28]), (base, size, 1));
        }
    }
}
