//! CPUID of the guest: what KVM supports, less what is switched off, with the guest's topology.

use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES, kvm_cpuid_entry2};
use kvm_ioctls::{Cap, Kvm};

use super::features::{self, Feature};
use crate::options::{BadOption, CpuOptions, Signature, near_matches};

/// A CPU model: the CPUID entries common to all vCPUs.
#[derive(Clone, Debug)]
pub struct Model {
    entries: Vec<kvm_cpuid_entry2>,
    cpus: u32,
}

impl Model {
    /// The host's CPU as KVM offers it, with what `options` say differently, for `cpus` vCPUs.
    ///
    /// # Errors
    /// An unknown feature, or one that the host cannot give.
    pub fn new(kvm: &Kvm, options: &CpuOptions, cpus: u8) -> Result<Self, BadOption> {
        let supported = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES);
        let supported = supported.map_err(|error| BadOption::new("-cpu host", error, ""))?;
        let mut model = Self {
            entries: supported.as_slice().to_vec(),
            cpus: u32::from(cpus),
        };
        model.switch("hypervisor", true);
        model.switch("tsc-deadline", kvm.check_extension(Cap::TscDeadlineTimer));
        model.sign(&options.signature);
        for (name, on) in &options.features {
            model.apply(name, *on)?;
        }
        model.set_topology();
        Ok(model)
    }

    /// The entries of vCPU `index`, whose APIC id is its index.
    ///
    /// # Errors
    /// Where the entries are more than KVM takes.
    pub fn of(&self, index: u8) -> std::io::Result<CpuId> {
        let mut entries = self.entries.clone();
        let apic_id = u32::from(index);
        for entry in &mut entries {
            match entry.function {
                0x1 => entry.ebx = entry.ebx & 0x00ff_ffff | apic_id << 24,
                0xb | 0x1f => entry.edx = apic_id,
                0x8000_001e => {
                    entry.eax = apic_id;
                    entry.ebx = apic_id & 0xff;
                }
                _ => {}
            }
        }
        CpuId::from_entries(&entries).map_err(|error| std::io::Error::other(format!("{error:?}")))
    }

    fn apply(&mut self, name: &str, on: bool) -> Result<(), BadOption> {
        let option = format!("-cpu host,{}{name}", if on { '+' } else { '-' });
        let Some(feature) = features::find(name) else {
            let names = near_matches(name, features::names());
            return Err(BadOption::new(&option, "unknown feature", names));
        };
        if on && !feature.is_set(&self.entries) {
            return Err(BadOption::new(
                &option,
                "not supported by this host",
                self.feature_list(),
            ));
        }
        self.switch(name, on);
        Ok(())
    }

    fn feature_list(&self) -> String {
        let set = |name: &&str| features::find(name).is_some_and(|f| f.is_set(&self.entries));
        features::names().filter(set).collect::<Vec<_>>().join(", ")
    }

    fn switch(&mut self, name: &str, on: bool) {
        let mut pending: Vec<&Feature> = features::find(name).into_iter().collect();
        while let Some(feature) = pending.pop() {
            feature.set(&mut self.entries, on);
            if !on {
                let set = |f: &&Feature| f.is_set(&self.entries);
                let dependants = feature
                    .dependants
                    .iter()
                    .filter_map(|name| features::find(name));
                pending.extend(dependants.filter(set));
            }
        }
        if name == "xsave" && !on {
            self.entries.retain(|entry| entry.function != XSAVE_LEAF);
        }
    }

    /// AMD has the signature in a second place, which others leave empty.
    fn sign(&mut self, signature: &Signature) {
        for entry in &mut self.entries {
            if entry.function == 0x1 || entry.function == 0x8000_0001 && entry.eax != 0 {
                entry.eax = signature.amend(entry.eax);
            }
        }
    }

    /// One socket, one thread a core.
    fn set_topology(&mut self) {
        let cpus = self.cpus;
        self.entries
            .retain(|entry| !matches!(entry.function, 0xb | 0x1f));
        self.entries.extend([
            topology(0, 0, 1, SMT_LEVEL),
            topology(1, id_bits(cpus), cpus, CORE_LEVEL),
        ]);
        for entry in &mut self.entries {
            match entry.function {
                0x1 => {
                    entry.ebx = entry.ebx & 0xff00_ffff | cpus.next_power_of_two().min(255) << 16;
                    entry.edx = entry.edx & !(1 << 28) | u32::from(cpus > 1) << 28;
                }
                // Caches are private to a core, but for the third level.
                0x4 => {
                    let sharers = if (entry.eax >> 5) & 7 >= 3 { cpus } else { 1 };
                    entry.eax = entry.eax & 0x3fff
                        | (cpus.next_power_of_two().min(64) - 1) << 26
                        | (sharers - 1) << 14;
                }
                0x8000_0001 => entry.ecx = entry.ecx & !2 | u32::from(cpus > 1) << 1,
                0x8000_0008 => entry.ecx = (id_bits(cpus) << 12) | (cpus - 1),
                0x8000_001d => {
                    let sharers = if (entry.eax >> 5) & 7 >= 3 { cpus } else { 1 };
                    entry.eax = entry.eax & 0x3fff | (sharers - 1) << 14;
                }
                0x8000_001e => entry.ecx = 0,
                _ => {}
            }
        }
        let leaves = self.entries.iter().map(|entry| entry.function);
        let last = leaves
            .filter(|leaf| *leaf < 0x4000_0000)
            .max()
            .unwrap_or_default();
        for entry in self.entries.iter_mut().filter(|entry| entry.function == 0) {
            entry.eax = last;
        }
    }
}

/// A level of the extended topology leaf.
fn topology(index: u32, shift: u32, count: u32, level: u32) -> kvm_cpuid_entry2 {
    kvm_cpuid_entry2 {
        function: 0xb,
        index,
        flags: kvm_bindings::KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
        eax: shift,
        ebx: count,
        ecx: index | level << 8,
        ..Default::default()
    }
}

/// Bits of the APIC id that tell cores apart.
fn id_bits(cpus: u32) -> u32 {
    cpus.next_power_of_two().trailing_zeros()
}

const XSAVE_LEAF: u32 = 0xd;
const SMT_LEVEL: u32 = 1;
const CORE_LEVEL: u32 = 2;
