//! MODE SELECT (SPC-4 sections 6.14 and 6.15).

use crate::Sense;
use crate::mode::{self, CACHING, CONTROL, Facts, Modes};

/// The modes after the parameter list `list`. All of it is checked before anything is changed.
pub(crate) fn parse(list: &[u8], long: bool, current: Modes, facts: Facts) -> Result<Modes, Sense> {
    if list.is_empty() {
        return Ok(current);
    }
    let (mut pages, descriptor) = split_header(list, long)?;
    check_descriptor(descriptor, facts)?;
    let mut modes = current;
    while let Some((page, rest)) = split_page(pages)? {
        check_page(page, current, facts)?;
        let bit = page.get(2).is_some_and(|byte| byte & 0x04 != 0);
        match page.first() {
            Some(&CACHING) => modes.write_back = bit,
            Some(&CONTROL) => modes.descriptor_sense = bit,
            _ => {}
        }
        pages = rest;
    }
    Ok(modes)
}

/// The pages, and the block descriptor.
fn split_header(list: &[u8], long: bool) -> Result<(&[u8], &[u8]), Sense> {
    let header = if long { 8 } else { 4 };
    let (header, rest) = list.split_at_checked(header).ok_or(Sense::LIST_LENGTH)?;
    let len = match *header {
        [_, _, _, len] => len.into(),
        [.., high, low] => u16::from_be_bytes([high, low]).into(),
        _ => 0,
    };
    let (descriptor, pages) = rest.split_at_checked(len).ok_or(Sense::LIST_LENGTH)?;
    Ok((pages, descriptor))
}

/// None, or one that leaves the size of a block as it is.
fn check_descriptor(descriptor: &[u8], facts: Facts) -> Result<(), Sense> {
    match *descriptor {
        [] => Ok(()),
        [_, _, _, _, _, a, b, c] => {
            let size = u32::from_be_bytes([0, a, b, c]);
            let same = facts.blocks.is_none_or(|(_, own)| own == size);
            if same {
                Ok(())
            } else {
                Err(Sense::INVALID_LIST)
            }
        }
        _ => Err(Sense::INVALID_LIST),
    }
}

/// The next page, and what comes after it.
type Split<'a> = Option<(&'a [u8], &'a [u8])>;

fn split_page(pages: &[u8]) -> Result<Split<'_>, Sense> {
    match *pages {
        [] => Ok(None),
        [_, len, ..] => {
            let page = pages.split_at_checked(usize::from(len) + 2);
            page.map(Some).ok_or(Sense::LIST_LENGTH)
        }
        _ => Err(Sense::LIST_LENGTH),
    }
}

/// What cannot be changed must be as it is.
fn check_page(page: &[u8], current: Modes, facts: Facts) -> Result<(), Sense> {
    let code = page.first().copied().unwrap_or(0);
    if !mode::codes(facts.cdrom).contains(&code) {
        return Err(Sense::INVALID_LIST);
    }
    let (own, mask) = (mode::page(code, current, facts), mode::mask(code, facts));
    let fixed = own.iter().zip(page).zip(&mask).skip(2);
    let same = fixed
        .into_iter()
        .all(|((own, given), mask)| (own ^ given) & !mask == 0);
    match same && own.len() == page.len() {
        true => Ok(()),
        false => Err(Sense::INVALID_LIST),
    }
}
