//! `-cpu` and `-smp`.

use super::keyval::Key;
use super::{BadOption, KeyVals, values};

/// The CPU model: the host's, with features taken away or asked for, under another signature.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuOptions {
    /// Features and whether each is wanted, in the order given.
    pub features: Vec<(String, bool)>,
    /// What is to differ from the host's signature.
    pub signature: Signature,
}

/// What a processor's signature consists of; `None` is the host's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signature {
    /// Family, with the extended one added.
    pub family: Option<u32>,
    /// Model, with the extended one before it.
    pub model: Option<u32>,
    /// Stepping.
    pub stepping: Option<u32>,
}

impl CpuOptions {
    /// Parses the value of `-cpu`: `host` or `max`, then `-feature`, `+feature`, `feature=on|off`,
    /// `family=N`, `model=N`, `stepping=N`.
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
        let mut cpu = Self::default();
        for item in items {
            if !cpu.signature.take(item)? {
                cpu.features.push(feature(item)?);
            }
        }
        Ok(cpu)
    }
}

impl Signature {
    /// Whether `item` is a part of the signature, which is then set.
    fn take(&mut self, item: &str) -> Result<bool, BadOption> {
        let Some((name, value)) = item.split_once('=') else {
            return Ok(false);
        };
        let (part, most) = match name {
            "family" => (&mut self.family, MOST_FAMILY),
            "model" => (&mut self.model, MOST_MODEL),
            "stepping" => (&mut self.stepping, MOST_STEPPING),
            _ => return Ok(false),
        };
        let number = values::number(value).and_then(|number| u32::try_from(number).ok());
        let number = number.filter(|number| *number <= most).ok_or_else(|| {
            BadOption::property(CPU, name, value, "not accepted", format!("0 to {most}"))
        })?;
        *part = Some(number);
        Ok(true)
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
/// The largest family and the largest extended family, whose sum counts.
const MOST_FAMILY: u32 = 0xf + 0xff;
const MOST_MODEL: u32 = 0xff;
const MOST_STEPPING: u32 = 0xf;
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
        assert_eq!(cpu.signature, Signature::default());
        assert!(CpuOptions::parse("pentium").is_err());
        assert!(CpuOptions::parse("host,avx=maybe").is_err());
    }

    #[test]
    fn cpu_signatures() {
        let cpu = CpuOptions::parse("host,family=23,-xsave,model=0x31,stepping=0").unwrap();
        let expected = Signature {
            family: Some(23),
            model: Some(0x31),
            stepping: Some(0),
        };
        assert_eq!(cpu.signature, expected);
        assert_eq!(cpu.features, [("xsave".to_owned(), false)]);
        for text in [
            "host,family=271",
            "host,model=256",
            "host,stepping=-1",
            "max,family=",
        ] {
            let error = CpuOptions::parse(text).unwrap_err().to_string();
            assert!(error.contains("; accepted: 0 to "), "{error}");
        }
    }
}
