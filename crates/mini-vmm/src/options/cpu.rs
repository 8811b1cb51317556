//! `-cpu` and `-smp`.

use super::keyval::Key;
use super::{BadOption, KeyVals, values};

/// The CPU model: the host's, with features taken away or asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuOptions {
    /// Features and whether each is wanted, in the order given.
    pub features: Vec<(String, bool)>,
}

impl CpuOptions {
    /// Parses the value of `-cpu`: `host` or `max`, then `-feature`, `+feature`, `feature=on|off`.
    pub fn parse(text: &str) -> Result<Self, BadOption> {
        let mut items = text.split(',');
        let model = items.next().unwrap_or_default();
        if !MODELS.contains(&model) {
            return Err(BadOption::value(
                CPU,
                model,
                "unknown CPU model",
                MODELS.join(", "),
            ));
        }
        let features = items.map(feature).collect::<Result<_, _>>()?;
        Ok(Self { features })
    }
}

/// The number of vCPUs from the value of `-smp`: `2`, `cpus=2` or a product of a topology.
pub(super) fn smp(text: &str) -> Result<u8, BadOption> {
    let mut kv = KeyVals::parse(SMP, text, Some("cpus"));
    kv.check(SMP_KEYS)?;
    let most = 1..=u64::from(MOST_CPUS);
    let given = kv.take_number("cpus", most.clone())?;
    let mut product = 1u64;
    for key in ["sockets", "dies", "clusters", "cores", "threads"] {
        product = product.saturating_mul(kv.take_number(key, most.clone())?.unwrap_or(1));
    }
    let cpus = given.unwrap_or(product);
    let maximum = kv.take_number("maxcpus", most.clone())?.unwrap_or(cpus);
    if product != 1 && product != cpus || maximum != cpus {
        let why = "sockets, cores, threads and maxcpus do not give cpus";
        return Err(BadOption::value(
            SMP,
            text,
            why,
            "a product equal to cpus; no CPU hot-plug",
        ));
    }
    u8::try_from(cpus)
        .ok()
        .filter(|cpus| *cpus <= MOST_CPUS)
        .ok_or_else(|| BadOption::value(SMP, text, "too many", format!("1 to {MOST_CPUS}")))
}

fn feature(item: &str) -> Result<(String, bool), BadOption> {
    let (name, on) = match (
        item.strip_prefix('-'),
        item.strip_prefix('+'),
        item.split_once('='),
    ) {
        (Some(name), ..) => (name, false),
        (_, Some(name), _) => (name, true),
        (.., Some((name, value))) => (name, values::switch(CPU, name, value)?),
        _ => (item, true),
    };
    Ok((name.replace('_', "-"), on))
}

const CPU: &str = "-cpu";
const SMP: &str = "-smp";
const MODELS: &[&str] = &["host", "max"];
/// APIC ids of 8 bits, less the broadcast id and the I/O APIC's.
const MOST_CPUS: u8 = 254;
const SMP_KEYS: &[Key] = &[
    ("cpus", "number of vCPUs"),
    ("maxcpus", "equal to cpus"),
    ("sockets", ""),
    ("dies", ""),
    ("clusters", ""),
    ("cores", ""),
    ("threads", ""),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_cpus() {
        for (text, cpus) in [
            ("2", 2),
            ("cpus=2", 2),
            ("4,sockets=2,cores=2", 4),
            ("cores=3", 3),
            ("254", 254),
        ] {
            assert_eq!(smp(text), Ok(cpus), "{text}");
        }
        for text in [
            "0",
            "255",
            "two",
            "-1",
            "cpu=2",
            "2,cores=3",
            "2,maxcpus=4",
            "cores=20,sockets=20",
        ] {
            let error = smp(text).unwrap_err().to_string();
            assert!(
                error.starts_with("-smp ") && error.contains("; accepted: "),
                "{error}"
            );
        }
    }

    #[test]
    fn cpu_features() {
        let cpu = CpuOptions::parse("host,-xsave,+x2apic,avx=off,tsc_deadline=on,smep").unwrap();
        let expected = [
            ("xsave", false),
            ("x2apic", true),
            ("avx", false),
            ("tsc-deadline", true),
            ("smep", true),
        ];
        assert_eq!(
            cpu.features,
            expected.map(|(name, on)| (name.to_owned(), on))
        );
        assert!(CpuOptions::parse("pentium").is_err());
        assert!(CpuOptions::parse("host,avx=maybe").is_err());
    }
}
