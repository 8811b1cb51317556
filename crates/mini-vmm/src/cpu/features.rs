//! CPU features by the names that QEMU's users know.

use kvm_bindings::kvm_cpuid_entry2;

/// A bit of CPUID.
#[derive(Clone, Copy, Debug)]
pub(super) struct Feature {
    pub(super) name: &'static str,
    leaf: u32,
    subleaf: u32,
    register: Register,
    bit: u32,
    /// Features that mean nothing without this one.
    pub(super) dependants: &'static [&'static str],
}

impl Feature {
    /// Whether the bit is set in `entries`.
    pub(super) fn is_set(&self, entries: &[kvm_cpuid_entry2]) -> bool {
        entries
            .iter()
            .any(|entry| self.is_in(entry) && self.register.value(entry) & (1 << self.bit) != 0)
    }

    /// Sets or clears the bit.
    pub(super) fn set(&self, entries: &mut [kvm_cpuid_entry2], on: bool) {
        for entry in entries.iter_mut().filter(|entry| self.is_in(entry)) {
            let register = self.register.of(entry);
            *register = *register & !(1 << self.bit) | u32::from(on) << self.bit;
        }
    }

    fn is_in(&self, entry: &kvm_cpuid_entry2) -> bool {
        entry.function == self.leaf && entry.index == self.subleaf
    }
}

/// Looks a feature up by name.
pub(super) fn find(name: &str) -> Option<&'static Feature> {
    FEATURES.iter().find(|feature| feature.name == name)
}

/// The names of all features in the table.
pub fn names() -> impl Iterator<Item = &'static str> + Clone {
    FEATURES.iter().map(|feature| feature.name)
}

#[derive(Clone, Copy, Debug)]
enum Register {
    Eax,
    Ebx,
    Ecx,
    Edx,
}

impl Register {
    fn value(self, entry: &kvm_cpuid_entry2) -> u32 {
        match self {
            Self::Eax => entry.eax,
            Self::Ebx => entry.ebx,
            Self::Ecx => entry.ecx,
            Self::Edx => entry.edx,
        }
    }

    fn of(self, entry: &mut kvm_cpuid_entry2) -> &mut u32 {
        match self {
            Self::Eax => &mut entry.eax,
            Self::Ebx => &mut entry.ebx,
            Self::Ecx => &mut entry.ecx,
            Self::Edx => &mut entry.edx,
        }
    }
}

macro_rules! features {
    ($($leaf:literal.$subleaf:literal $register:ident { $($bit:literal $name:literal $([$($dep:literal),*])?),* $(,)? })*) => {
        &[$($(Feature {
            name: $name, leaf: $leaf, subleaf: $subleaf, register: Register::$register, bit: $bit,
            dependants: &[$($($dep),*)?],
        }),*),*]
    };
}

const FEATURES: &[Feature] = features! {
    0x1 .0 Ecx {
        0 "pni", 1 "pclmulqdq", 3 "monitor", 5 "vmx", 9 "ssse3", 12 "fma", 13 "cx16", 17 "pcid",
        19 "sse4.1", 20 "sse4.2", 21 "x2apic", 22 "movbe", 23 "popcnt", 24 "tsc-deadline", 25 "aes",
        26 "xsave" ["xsaveopt", "xsavec", "xgetbv1", "xsaves", "avx", "pku"],
        28 "avx" ["fma", "f16c", "avx2", "avx512f", "vaes", "vpclmulqdq", "avx-vnni", "xop", "fma4"],
        29 "f16c", 30 "rdrand", 31 "hypervisor",
    }
    0x1 .0 Edx { 4 "tsc", 9 "apic", 12 "mtrr", 13 "pge", 14 "mca", 16 "pat", 19 "clflush" }
    0x6 .0 Eax { 2 "arat" }
    0x7 .0 Ebx {
        0 "fsgsbase", 1 "tsc-adjust", 3 "bmi1", 5 "avx2", 7 "smep", 8 "bmi2", 9 "erms", 10 "invpcid",
        16 "avx512f" ["avx512dq", "avx512ifma", "avx512cd", "avx512bw", "avx512vl", "avx512vbmi",
            "avx512vbmi2", "avx512vnni", "avx512bitalg", "avx512-vpopcntdq", "avx512-bf16"],
        17 "avx512dq", 18 "rdseed", 19 "adx", 20 "smap", 21 "avx512ifma", 23 "clflushopt", 24 "clwb",
        28 "avx512cd", 29 "sha-ni", 30 "avx512bw", 31 "avx512vl",
    }
    0x7 .0 Ecx {
        1 "avx512vbmi", 2 "umip", 3 "pku", 6 "avx512vbmi2", 8 "gfni", 9 "vaes", 10 "vpclmulqdq",
        11 "avx512vnni", 12 "avx512bitalg", 14 "avx512-vpopcntdq", 16 "la57", 22 "rdpid",
    }
    0x7 .0 Edx { 4 "fsrm", 10 "md-clear", 26 "spec-ctrl", 27 "stibp", 29 "arch-capabilities", 31 "ssbd" }
    0x7 .1 Eax { 4 "avx-vnni", 5 "avx512-bf16" }
    0xd .1 Eax { 0 "xsaveopt", 1 "xsavec", 2 "xgetbv1", 3 "xsaves" }
    0x80000001 .0 Ecx { 2 "svm", 5 "abm", 6 "sse4a", 11 "xop", 16 "fma4", 22 "topoext" }
    0x80000001 .0 Edx { 20 "nx", 26 "pdpe1gb", 27 "rdtscp" }
    0x80000007 .0 Edx { 8 "invtsc" }
    0x40000001 .0 Eax {
        0 "kvmclock", 3 "kvmclock2", 4 "kvm-asyncpf", 5 "kvm-steal-time", 6 "kvm-pv-eoi",
        7 "kvm-pv-unhalt", 9 "kvm-pv-tlb-flush", 11 "kvm-pv-ipi", 12 "kvm-poll-control",
        13 "kvm-pv-sched-yield", 24 "kvmclock-stable-bit",
    }
};
