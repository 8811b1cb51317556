//! A request in a chain, from its first bytes to its reply.

use guest_io::Storage;
use p9_server::{Errno, FileSystem, Kind, Message, Patience, Reply, Served, Session};
use virtio_device::vm_memory::GuestMemory;
use virtio_device::{Chain, GuestView};

use crate::payload::ChainPayload;

/// What serving takes, used for one request after another.
#[derive(Default)]
pub(crate) struct Tools {
    storage: Storage,
    reply: Reply,
}

/// The start of a request, copied from guest memory once.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) message: Message,
    bytes: Vec<u8>,
}

impl Head {
    /// An empty one, with room for the longest.
    pub(crate) fn new() -> Self {
        Self {
            message: Message::parse([0; Message::LEN]),
            bytes: Vec::with_capacity(Message::MAX_HEAD),
        }
    }

    /// Copies the head of the request in `chain`.
    ///
    /// # Errors
    /// `None` where there is not even a tag to answer to, else what to answer.
    pub(crate) fn read<M: GuestMemory>(
        &mut self,
        chain: &Chain,
        view: &mut GuestView<'_, M>,
    ) -> Result<(), Option<Errno>> {
        let readable = chain.readable_len();
        // Most requests are that short, and so are read at once.
        self.bytes.resize(SHORT.min(readable as usize), 0);
        if chain.read_at(view, 0, &mut self.bytes).is_err() {
            self.bytes.truncate(Message::LEN);
            let read = chain.read_at(view, 0, &mut self.bytes);
            read.map_err(|_| None)?;
        }
        let start = self.bytes.first_chunk().copied().ok_or(None)?;
        self.message = Message::parse(start);
        if self.message.size > readable {
            return Err(Some(Errno::MSGSIZE));
        }
        let len = self.message.head().map_err(Some)?;
        let known = self.bytes.len().min(len);
        self.bytes.resize(len, 0);
        // No byte is read twice: the driver may have changed it.
        match self.bytes.get_mut(known..) {
            None | Some([]) => Ok(()),
            Some(rest) => {
                let read = chain.read_at(view, known as u32, rest);
                read.map_err(|_| Some(Errno::FAULT))
            }
        }
    }

    /// The tag of the request that a Tflush means.
    pub(crate) fn flushes(&self) -> Option<u16> {
        match *self.bytes.get(Message::LEN..)? {
            [low, high] if self.message.is(Kind::Tflush) => Some(u16::from_le_bytes([low, high])),
            _ => None,
        }
    }

    /// Serves the request. `None` if it has to wait, else the number of bytes of the reply.
    pub(crate) fn serve<F: FileSystem, M: GuestMemory>(
        &self,
        session: &Session<F>,
        (chain, view): (&Chain, &mut GuestView<'_, M>),
        patience: Patience<'_>,
        tools: &mut Tools,
    ) -> Option<u32> {
        let Tools { storage, reply } = tools;
        let mut payload = ChainPayload {
            chain,
            view,
            storage,
        };
        match session.serve(&self.message, &self.bytes, &mut payload, patience, reply) {
            Served::Later => None,
            Served::Done => Some(tools.answer(session, self.message.tag, (chain, view))),
        }
    }
}

impl Tools {
    /// Whether the last request was broken off.
    pub(crate) fn was_broken_off(&self) -> bool {
        self.reply.failure() == Some(Errno::INTR)
    }

    /// Answers the request `tag` with an error.
    pub(crate) fn refuse<F: FileSystem, M: GuestMemory>(
        &mut self,
        session: &Session<F>,
        (tag, errno): (u16, Errno),
        place: (&Chain, &mut GuestView<'_, M>),
    ) -> u32 {
        session.refuse(tag, errno, &mut self.reply);
        self.answer(session, tag, place)
    }

    /// Answers the Tflush `tag`.
    pub(crate) fn flushed<F: FileSystem, M: GuestMemory>(
        &mut self,
        session: &Session<F>,
        tag: u16,
        place: (&Chain, &mut GuestView<'_, M>),
    ) -> u32 {
        self.reply.flushed(tag);
        self.answer(session, tag, place)
    }

    /// Writes the reply, or an error where it is too long, and returns its length; 0 where there
    /// is no room even for that.
    fn answer<F: FileSystem, M: GuestMemory>(
        &mut self,
        session: &Session<F>,
        tag: u16,
        (chain, view): (&Chain, &mut GuestView<'_, M>),
    ) -> u32 {
        if self.reply.size() > chain.writable_len() {
            session.refuse(tag, Errno::MSGSIZE, &mut self.reply);
        }
        match chain.write_at(view, 0, self.reply.bytes()) {
            Ok(()) => self.reply.size(),
            Err(_) => 0,
        }
    }
}

/// Bytes of a request that are read in any case.
const SHORT: usize = 64;
