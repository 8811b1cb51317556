//! Tap interfaces of the host (`linux/if_tun.h`).

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use libc::{c_int, c_ulong, ifreq};
use rustix::fs::OFlags;
use virtio_net::{Facts, FrameFd, HEADER, Offloads};

use super::{Way, inherited};
use crate::files::Files;
use crate::options::{BadOption, TapOptions};

/// A tap interface, with a descriptor for each of its queues.
pub(super) struct Tap {
    queues: Vec<OwnedFd>,
    facts: Facts,
}

impl Tap {
    /// Opens the interface of `options`.
    pub(super) fn open(
        option: &str,
        options: &TapOptions,
        files: &Files,
    ) -> Result<Self, BadOption> {
        let opened = match options.fds.is_empty() {
            true => attach(options, files),
            false => take(options),
        };
        opened.map_err(|error| {
            let error = explain(error);
            if let [first, ..] = options.fds[..] {
                let accepted = "open descriptors of one tap interface";
                return BadOption::property(option, "fd", &first.to_string(), error, accepted);
            }
            let name = options.ifname.as_deref().unwrap_or_default();
            let accepted =
                "an interface that this user may use and nobody else does, with as many queues";
            BadOption::property(option, "ifname", name, error, accepted)
        })
    }

    /// A way for each queue.
    pub(super) fn ways(&self) -> io::Result<Vec<Way>> {
        let way = |queue: &OwnedFd| FrameFd::new(queue.try_clone()?).map(Way::Frames);
        self.queues.iter().map(way).collect()
    }

    pub(super) fn facts(&self) -> Facts {
        self.facts
    }

    /// What may be read from it is what the driver takes.
    pub(super) fn set_offloads(&self, offloads: Offloads) -> io::Result<()> {
        match self.queues.first() {
            Some(queue) => control(queue, TUNSETOFFLOAD, flags(offloads)),
            None => Ok(()),
        }
    }

    /// Frames come to the first `count` queues only.
    pub(super) fn set_lines(&self, count: u16) -> io::Result<()> {
        if self.queues.len() < 2 {
            return Ok(());
        }
        for (index, queue) in self.queues.iter().enumerate() {
            let flag = match index < usize::from(count) {
                true => libc::IFF_ATTACH_QUEUE,
                false => libc::IFF_DETACH_QUEUE,
            };
            let mut request = request("", flag);
            match exchange(queue, TUNSETQUEUE, &mut request) {
                // It is as it is to be.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
                result => result?,
            }
        }
        Ok(())
    }

    fn new(queues: Vec<OwnedFd>, vnet_hdr: bool) -> io::Result<Self> {
        let mut offloads = Offloads::NONE;
        for queue in &queues {
            rustix::io::ioctl_fionbio(queue, true)?;
            if vnet_hdr {
                let mut len = HEADER as c_int;
                exchange(queue, TUNSETVNETHDRSZ, &mut len)?;
            }
        }
        if let (Some(queue), true) = (queues.first(), vnet_hdr) {
            offloads = probe(queue)?;
        }
        let header = vnet_hdr;
        Ok(Self {
            queues,
            facts: Facts { header, offloads },
        })
    }
}

/// Opens queues of an interface, which is made if it is not there and this user may.
fn attach(options: &TapOptions, files: &Files) -> io::Result<Tap> {
    let mut name = options.ifname.clone().unwrap_or_default();
    let mut flags = libc::IFF_TAP | libc::IFF_NO_PI;
    if options.vnet_hdr {
        flags |= libc::IFF_VNET_HDR;
    }
    if options.queues > 1 {
        flags |= libc::IFF_MULTI_QUEUE;
    }
    let mut queues = Vec::new();
    for _ in 0..options.queues {
        let file: File = files.open(Path::new("/dev/net/tun"), OFlags::RDWR)?;
        let queue = OwnedFd::from(file);
        let mut request = request(&name, flags);
        exchange(&queue, TUNSETIFF, &mut request)?;
        name = name_of(&request);
        queues.push(queue);
    }
    Tap::new(queues, options.vnet_hdr)
}

/// Takes queues that the caller has opened.
fn take(options: &TapOptions) -> io::Result<Tap> {
    let queues = options.fds.iter().map(|&fd| inherited(fd));
    let queues = queues.collect::<io::Result<Vec<_>>>()?;
    let mut vnet_hdr = true;
    for queue in &queues {
        let mut request = request("", 0);
        exchange(queue, TUNGETIFF, &mut request)?;
        // SAFETY: the kernel has filled in the flags.
        let flags = unsafe { request.ifr_ifru.ifru_flags };
        vnet_hdr &= c_int::from(flags) & libc::IFF_VNET_HDR != 0;
    }
    if !vnet_hdr && options.vnet_hdr {
        log::info!("an interface without headers has no offloads");
    }
    Tap::new(queues, vnet_hdr)
}

/// What the kernel can do; the interface is left with none of it.
fn probe(queue: &OwnedFd) -> io::Result<Offloads> {
    let can = |offloads| control(queue, TUNSETOFFLOAD, flags(offloads)).is_ok();
    let csum = Offloads {
        csum: true,
        ..Offloads::NONE
    };
    let segments = Offloads {
        tso4: true,
        tso6: true,
        ecn: true,
        ..csum
    };
    let ufo = can(Offloads { ufo: true, ..csum });
    let uso = can(Offloads {
        uso4: true,
        uso6: true,
        ..csum
    });
    let found = match (can(segments), can(csum)) {
        (true, _) => Offloads {
            ufo,
            uso4: uso,
            uso6: uso,
            ..segments
        },
        (false, csum) => Offloads {
            csum,
            ..Offloads::NONE
        },
    };
    control(queue, TUNSETOFFLOAD, 0)?;
    Ok(found)
}

fn flags(offloads: Offloads) -> c_ulong {
    let Offloads {
        csum,
        tso4,
        tso6,
        ecn,
        ufo,
        uso4,
        uso6,
    } = offloads;
    let bits = [csum, tso4, tso6, ecn && (tso4 || tso6), ufo, uso4, uso6];
    let bits = bits.iter().enumerate();
    let mut bits = bits.fold(0, |bits, (bit, &on)| bits | c_ulong::from(on) << bit);
    if !csum {
        bits = 0;
    }
    bits
}

fn request(name: &str, flags: c_int) -> ifreq {
    // SAFETY: all fields are numbers, of which 0 is one.
    let mut request: ifreq = unsafe { std::mem::zeroed() };
    let bytes = name.bytes().take(libc::IFNAMSIZ - 1);
    let places = request.ifr_name.iter_mut();
    places.zip(bytes).for_each(|(to, from)| *to = from as _);
    request.ifr_ifru.ifru_flags = flags as _;
    request
}

fn name_of(request: &ifreq) -> String {
    let bytes = request.ifr_name.iter().take_while(|&&byte| byte != 0);
    bytes.map(|&byte| byte as u8 as char).collect()
}

/// An ioctl that reads and writes what `data` is, which is the type that its number stands for.
fn exchange<T>(fd: &OwnedFd, number: u16, data: &mut T) -> io::Result<()> {
    let data: *mut T = data;
    // SAFETY: the numbers passed here are those of requests that take a pointer to a `T`, which
    // lives for the call.
    done(unsafe { libc::ioctl(fd.as_raw_fd(), encoded(number), data) })
}

/// An ioctl that takes a number.
fn control(fd: &OwnedFd, number: u16, data: c_ulong) -> io::Result<()> {
    // SAFETY: the request takes a number.
    done(unsafe { libc::ioctl(fd.as_raw_fd(), encoded(number), data) })
}

/// The requests of tun(4) that are used here have an `int` or a pointer as their size, and write
/// (`_IOW`), or read (`_IOR`) where the kernel fills something in.
fn encoded(number: u16) -> c_ulong {
    let (direction, size) = match number {
        TUNGETIFF => (2, 4),
        _ => (1, 4),
    };
    direction << 30 | size << 16 | c_ulong::from(number)
}

fn done(result: c_int) -> io::Result<()> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// The kernel's reasons, where they are those of tun(4).
fn explain(error: io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EBUSY) => "in use elsewhere".to_owned(),
        Some(libc::EPERM) => "not allowed".to_owned(),
        Some(libc::EINVAL) => "not a tap interface of this kind, or with as many queues".to_owned(),
        _ => error.to_string(),
    }
}

const TUNSETIFF: u16 = 0x54ca;
const TUNSETOFFLOAD: u16 = 0x54d0;
const TUNGETIFF: u16 = 0x54d2;
const TUNSETVNETHDRSZ: u16 = 0x54d8;
const TUNSETQUEUE: u16 = 0x54d9;
