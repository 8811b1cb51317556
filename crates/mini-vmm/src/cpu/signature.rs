//! The processor's signature: family, model and stepping, as CPUID packs them.

use crate::options::Signature;

impl Signature {
    /// `eax` of CPUID leaf 1, with what this signature says differently.
    pub(super) fn amend(&self, eax: u32) -> u32 {
        let family = self.family.map_or(eax & FAMILY, |family| {
            let base = family.min(0xf);
            (family - base) << 20 | base << 8
        });
        let model = self
            .model
            .map_or(eax & MODEL, |model| (model >> 4) << 16 | (model & 0xf) << 4);
        let stepping = self.stepping.unwrap_or(eax & STEPPING);
        eax & !(FAMILY | MODEL | STEPPING) | family | model | stepping
    }
}

/// Extended family, which is added, and family.
const FAMILY: u32 = 0xff << 20 | 0xf << 8;
/// Extended model, which comes before it, and model.
const MODEL: u32 = 0xf << 16 | 0xf << 4;
const STEPPING: u32 = 0xf;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_packed_as_cpuid_has_them() {
        let signature = |family, model, stepping| Signature {
            family,
            model,
            stepping,
        };
        let host = 0x0006_0fb1;
        for (wanted, eax) in [
            (signature(None, None, None), host),
            (signature(Some(23), None, None), 0x0086_0fb1),
            (signature(Some(6), None, None), 0x0006_06b1),
            (signature(None, Some(0x31), None), 0x0003_0f11),
            (signature(None, None, Some(0)), 0x0006_0fb0),
            (signature(Some(270), Some(0xff), Some(0xf)), 0x0fff_0fff),
        ] {
            assert_eq!(wanted.amend(host), eax, "{wanted:?}");
        }
    }
}
