//! `-blockdev` and `blockdev-add`: one node of the graph of drives, with those below it, which are
//! other drives or are given with it.

use virtio_blk::ErrorPolicy;

use super::drive::{check_null, discards, null_size};
use super::{
    Backing, BadOption, Cache, DriveOptions, DriveSource, Key, KeyVals, Place, Throttling, help,
    values,
};

impl DriveOptions {
    /// What `-blockdev help` prints.
    pub fn blockdev_help() -> String {
        let keys: Vec<_> = KEYS.iter().chain(LINKS).copied().collect();
        let head = "Nodes that disks consist of (-blockdev DRIVER,node-name=ID[,...]):\n";
        head.to_owned() + &help::keys(&keys, 2)
    }

    /// Parses the value of `-blockdev`, or the arguments of `blockdev-add`: a file, a disk of
    /// zeroes, or one of them below a format.
    pub fn blockdev(mut kv: KeyVals) -> Result<Self, BadOption> {
        kv.check_with(is_known, KEYS.iter().chain(LINKS).map(|(name, _)| *name))?;
        let option = kv.option().to_owned();
        let id = kv.require("node-name", "an identifier")?;
        let (source, throttling) = top(&mut kv)?;
        let direct = ["cache.direct", "file.cache.direct"].map(|key| kv.take_switch(key, false));
        let direct = direct.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            id: values::identifier(&option, &id)?,
            source,
            read_only: kv.take_switch("read-only", false)?,
            cache: match direct.contains(&true) {
                true => Cache::None,
                false => Cache::WriteBack,
            },
            discard: discards(&mut kv)?,
            throttling,
            errors: ErrorPolicy::default(),
            zoning: None,
            disk: false,
        })
    }
}

/// The node itself, which alone may be one that limits those below it.
fn top(kv: &mut KeyVals) -> Result<(DriveSource, Throttling), BadOption> {
    let mut driver = kv.clone();
    if driver.take("driver").as_deref() != Some(THROTTLE) {
        return Ok((node(kv, "")?, Throttling::Unlimited));
    }
    kv.take("driver");
    let group = kv.require(GROUP, "the id of a -object throttle-group")?;
    let source = match kv.take("file") {
        Some(id) => DriveSource::Node(id),
        None => node(kv, "file.")?,
    };
    Ok((source, Throttling::Group(group)))
}

/// Keys of nodes that are given with another one begin with those of the links to them.
fn is_known(key: &str) -> bool {
    let mut key = key;
    for link in ["file.", "backing."] {
        while let Some(below) = key.strip_prefix(link) {
            key = below;
        }
    }
    let key = key.strip_prefix("file.").unwrap_or(key);
    KEYS.iter().chain(LINKS).any(|(name, _)| *name == key)
}

/// The node whose keys begin with `prefix`.
fn node(kv: &mut KeyVals, prefix: &str) -> Result<DriveSource, BadOption> {
    let (file, below) = (format!("{prefix}file"), format!("{prefix}file."));
    Ok(match kv.take_word(&format!("{prefix}driver"), DRIVERS)? {
        "qcow2" => {
            let file = match kv.take(&file) {
                Some(id) => Place::Node(id),
                None => {
                    kv.take_word(&format!("{below}driver"), FILES)?;
                    path(kv, &below)?
                }
            };
            DriveSource::Qcow2(file, backing(kv, prefix)?)
        }
        "raw" => match kv.take(&file) {
            Some(id) => DriveSource::File(Place::Node(id)),
            None => {
                let driver = kv.take_word(&format!("{below}driver"), PROTOCOLS)?;
                protocol(kv, &below, driver)?
            }
        },
        THROTTLE => {
            let (key, accepted) = (
                format!("{prefix}driver"),
                "a throttle node above all others",
            );
            let why = "below another node";
            return Err(BadOption::property(
                kv.option(),
                &key,
                THROTTLE,
                why,
                accepted,
            ));
        }
        driver => protocol(kv, prefix, driver)?,
    })
}

fn protocol(kv: &mut KeyVals, prefix: &str, driver: &str) -> Result<DriveSource, BadOption> {
    if driver != "null-co" {
        return path(kv, prefix).map(DriveSource::File);
    }
    check_null(kv, &[&format!("{prefix}read-zeroes")])?;
    null_size(kv, &format!("{prefix}size")).map(DriveSource::Null)
}

fn path(kv: &mut KeyVals, prefix: &str) -> Result<Place, BadOption> {
    let path = kv.require(&format!("{prefix}filename"), "the path of an image")?;
    Ok(path.into())
}

/// What is under a qcow2 image: nothing where a null says so, whatever the image says.
fn backing(kv: &mut KeyVals, prefix: &str) -> Result<Option<Box<Backing>>, BadOption> {
    let (key, below) = (format!("{prefix}backing"), format!("{prefix}backing."));
    let backing = match kv.take(&key).as_deref() {
        Some("") => Backing::Inline(DriveSource::Null(0)),
        Some(id) => Backing::Node(id.to_owned()),
        None if kv.has_below(&below) => Backing::Inline(node(kv, &below)?),
        None => return Ok(None),
    };
    Ok(Some(Box::new(backing)))
}

const THROTTLE: &str = "throttle";
const GROUP: &str = "throttle-group";
const DRIVERS: &[&str] = &["raw", "file", "host_device", "null-co", "qcow2", THROTTLE];
const PROTOCOLS: &[&str] = &["file", "host_device", "null-co"];
const FILES: &[&str] = &["file", "host_device"];
const LINKS: &[Key] = &[
    (
        "file",
        "under raw, qcow2 and throttle: node-name of another -blockdev, or file.KEY for one of its own",
    ),
    (
        "backing",
        "under qcow2: node-name of another, or backing.KEY; nothing is opened by the image's word alone",
    ),
];
const KEYS: &[Key] = &[
    ("driver", "raw, qcow2; file, host_device, null-co; throttle"),
    ("node-name", "identifier, for a device's drive= property"),
    (
        "filename",
        "of file and host_device: path of an image or a block device",
    ),
    ("size", "of null-co: bytes of a disk of zeroes (default 1G)"),
    ("read-zeroes", ""),
    ("read-only", "on: refuse writes (default off)"),
    ("auto-read-only", ""),
    (
        "discard",
        "unmap: hand discards to the host; ignore (default)",
    ),
    (
        "cache.direct",
        "on: not through the page cache (default off)",
    ),
    ("cache.no-flush", ""),
    (GROUP, "of throttle: id of an -object throttle-group"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn blockdev(text: &str) -> Result<DriveOptions, String> {
        let kv = KeyVals::parse("-blockdev", text, Some("driver"));
        DriveOptions::blockdev(kv).map_err(|error| error.to_string())
    }

    #[test]
    fn a_disk_of_zeroes_has_a_size() {
        let drive = blockdev("driver=null-co,read-zeroes=on,node-name=n,size=64M").unwrap();
        assert_eq!(drive.source, DriveSource::Null(64 << 20));
        assert_eq!(drive.id, "n");
    }

    #[test]
    fn blockdevs_are_files_with_or_without_a_format() {
        for text in [
            "raw,node-name=d,file.driver=file,file.filename=a,file.cache.direct=on,discard=unmap",
            "file,node-name=d,filename=a,cache.direct=on,discard=unmap",
        ] {
            let drive = blockdev(text).unwrap();
            assert_eq!(drive.source, DriveSource::File("a".into()), "{text}");
            assert_eq!((drive.cache, drive.discard), (Cache::None, true));
        }
        for (text, expected) in [
            (
                "vmdk,node-name=d",
                "driver=vmdk: not accepted; accepted: raw, file",
            ),
            ("file,node-name=d", "filename=: missing"),
            ("qcow2,node-name=d", "file.filename=: missing"),
            (
                "qcow2,node-name=d,file.driver=null-co",
                "file.driver=null-co: not accepted; accepted: file, host_device",
            ),
            ("file,filename=a", "node-name=: missing"),
            ("file,filename=a,node-name=0", "not an identifier"),
            (
                "file,filenam=a,node-name=d",
                "unknown name; accepted: filename",
            ),
        ] {
            let error = blockdev(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn formats_are_above_nodes_that_are_there_or_given_with_them() {
        let place = |id: &str| Place::Node(id.to_owned());
        let raw = blockdev("raw,node-name=d,file=p").unwrap();
        assert_eq!(raw.source, DriveSource::File(place("p")));
        let inline = |source| Some(Box::new(Backing::Inline(source)));
        for (text, backing, nodes) in [
            ("file=p", None, &["p"][..]),
            (
                "file=p,backing=b",
                Some(Box::new(Backing::Node("b".to_owned()))),
                &["p", "b"],
            ),
            ("file=p,backing=", inline(DriveSource::Null(0)), &["p"]),
            (
                "file=p,backing.driver=raw,backing.file.filename=a",
                inline(DriveSource::File("a".into())),
                &["p"],
            ),
            (
                "file=p,backing.driver=qcow2,backing.file.filename=a,backing.backing=c",
                inline(DriveSource::Qcow2(
                    "a".into(),
                    Some(Box::new(Backing::Node("c".to_owned()))),
                )),
                &["p", "c"],
            ),
        ] {
            let source = blockdev(&format!("qcow2,node-name=d,{text}"))
                .unwrap()
                .source;
            assert_eq!(source, DriveSource::Qcow2(place("p"), backing), "{text}");
            assert_eq!(source.nodes(), nodes, "{text}");
        }
    }
}
