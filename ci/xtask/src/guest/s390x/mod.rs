//! Guests on s390x, whose devices are on channel I/O.
//!
//! QEMU emulates the CPUs, so these guests run on any machine. Their I/O instructions come to
//! `ccw-host`, which has the devices; see the crates `ccw-host` and `ccw-bridge`.

mod image;
mod scenarios;

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use tempfile::TempDir;

use crate::cargo;
use crate::debian::{Debian, Program};
use crate::guest::demo;
use crate::guest::image::Image;
use crate::guest::machine::Vmm;
use crate::guest::run::GUESTS;
use crate::guest::scenario::Selection;
use crate::guest::suite::Suite;
use crate::report::Count;
use scenarios::{COURSES, Course, Release};

/// Guests, ready to run.
#[derive(Debug)]
pub struct Guests {
    /// Of the long-term kernel and the newest one.
    images: [Image; 2],
    qemu: Program,
    programs: PathBuf,
    share: PathBuf,
}

impl Guests {
    /// Gets packages, builds the images, the host and the bridge.
    pub fn prepare() -> Result<Self> {
        let target = cargo::target()?;
        let share = target.join(GUESTS).join("s390x-share");
        let _ = fs::remove_dir_all(&share);
        fs::create_dir_all(&share)?;
        Ok(Self {
            images: images()?,
            qemu: Debian::new(&target).program("qemu-system-s390x")?,
            programs: cargo::build_for_guests()?,
            share,
        })
    }

    /// Runs the scenarios that are selected.
    pub fn test(&self, selection: &Selection) -> Result<Count> {
        let mut count = Count::default();
        let filter = &selection.filter;
        for course in COURSES.iter().filter(|course| course.matches(filter)) {
            count.add(self.run(course, selection)?);
        }
        Ok(count)
    }

    /// Boots one guest and shows what it found.
    pub fn demo(&self) -> Result<()> {
        let work = TempDir::new()?;
        let good = demo::run(&self.vmm(), self.image(Release::Newest), work.path())?;
        ensure!(good, "the demo failed; its console is shown above");
        Ok(())
    }

    fn run(&self, course: &Course, selection: &Selection) -> Result<Count> {
        let (work, image) = (TempDir::new()?, self.image(course.kernel).clone());
        Suite::new(self.vmm(), image, &self.share, work.path(), 1)?
            .labelled(course.label)
            .processors(course.processors)
            .run(course.scenarios, selection)
    }

    fn image(&self, release: Release) -> &Image {
        match release {
            Release::LongTerm => &self.images[0],
            Release::Newest => &self.images[1],
        }
    }

    fn vmm(&self) -> Vmm {
        let host = self.programs.join("ccw-host");
        Vmm::ccw_host(self.qemu.clone(), &host, &self.programs.join(BRIDGE))
    }
}

/// Gets what s390x guests take from Debian, unless it is there, and makes the images: of the long-term
/// kernel and of the newest one.
pub fn images() -> Result<[Image; 2]> {
    let target = cargo::target()?;
    let (debian, guests) = (Debian::s390x(&target)?, target.join(GUESTS));
    // All packages first: an image is made anew when there are others.
    let kernels = [debian.long_term_kernel()?, debian.newest_kernel()?];
    image::get_programs(&debian)?;
    Debian::new(&target).program("qemu-system-s390x")?;
    let [long_term, newest] = kernels.map(|kernel| image::build(&debian, &kernel, &guests));
    Ok([long_term?, newest?])
}

/// Whether a scenario for s390x has a name that contains `filter`.
pub fn has(filter: &str) -> bool {
    COURSES.iter().any(|course| course.matches(filter))
}

const BRIDGE: &str = "libccw_bridge.so";
