//! A server in this process, and a client of it.

#![allow(dead_code, unreachable_pub, reason = "each test uses some of it")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use p9_server::{
    Buffers, FileSystem, Limits, Local, LocalOptions, Message, Patience, Reply, SecurityModel,
    Served, Session, WRITE_DATA,
};
use tempfile::TempDir;
use testkit::p9::{Client, Wire};

/// A session, spoken to directly.
pub struct Direct<F: FileSystem>(pub Arc<Session<F>>);

impl<F: FileSystem> Wire for Direct<F> {
    fn exchange(&mut self, request: &[u8]) -> Vec<u8> {
        exchange(&self.0, request)
    }
}

pub fn exchange<F: FileSystem>(session: &Session<F>, request: &[u8]) -> Vec<u8> {
    let message = Message::parse(*request.first_chunk().unwrap());
    let mut reply = Reply::new();
    let Ok(head) = message.head() else {
        session.refuse(message.tag, p9_server::Errno::MSGSIZE, &mut reply);
        return reply.bytes().to_vec();
    };
    let mut payload = Buffers {
        request: request.get(WRITE_DATA..).unwrap_or_default().to_vec(),
        reply: vec![0; 64 << 10],
    };
    let served = session.serve(
        &message,
        &request[..head],
        &mut payload,
        Patience::Host,
        &mut reply,
    );
    assert_eq!(served, Served::Done);
    let mut bytes = reply.bytes().to_vec();
    bytes.extend(&payload.reply[..reply.data() as usize]);
    assert!(bytes.len() as u32 <= session.msize(), "a reply fits");
    bytes
}

/// A shared directory with something beside it that must not be reached.
pub struct Share {
    directory: TempDir,
}

impl Share {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("root")).unwrap();
        std::fs::write(directory.path().join("secret"), "secret").unwrap();
        Self { directory }
    }

    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    pub fn secret(&self) -> PathBuf {
        self.directory.path().join("secret")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    pub fn session(&self, options: LocalOptions) -> Arc<Session<Local>> {
        session(&self.root(), options)
    }

    pub fn client(&self, model: SecurityModel) -> Client<Direct<Local>> {
        self.client_with(with_model(model))
    }

    pub fn client_with(&self, options: LocalOptions) -> Client<Direct<Local>> {
        Client::attached(Direct(self.session(options)))
    }
}

pub fn with_model(security_model: SecurityModel) -> LocalOptions {
    LocalOptions {
        security_model,
        ..LocalOptions::default()
    }
}

pub fn session(root: &Path, options: LocalOptions) -> Arc<Session<Local>> {
    let local = Local::new(root, options).unwrap();
    Arc::new(Session::new(Arc::new(local), Limits::default()))
}

/// The security models that can be tested: two of them want a privileged server.
pub fn models() -> Vec<SecurityModel> {
    let mapped = [SecurityModel::MappedXattr, SecurityModel::MappedFile];
    let own = [SecurityModel::None, SecurityModel::Passthrough];
    mapped
        .into_iter()
        .chain(own.into_iter().filter(|_| privileged()))
        .collect()
}

/// Whether this process may make device nodes and give files away.
pub fn privileged() -> bool {
    rustix::process::geteuid().is_root()
}

pub const RDONLY: u32 = 0;
pub const WRONLY: u32 = 1;
pub const RDWR: u32 = 2;
pub const CREAT: u32 = 0o100;
pub const EXCL: u32 = 0o200;
pub const TRUNC: u32 = 0o1000;
pub const REMOVEDIR: u32 = 0x200;

pub const EPERM: u32 = 1;
pub const ENOENT: u32 = 2;
pub const EBADF: u32 = 9;
pub const EACCES: u32 = 13;
pub const EEXIST: u32 = 17;
pub const ENXIO: u32 = 6;
pub const ENODEV: u32 = 19;
pub const ENOTDIR: u32 = 20;
pub const EISDIR: u32 = 21;
pub const EINVAL: u32 = 22;
pub const ENFILE: u32 = 23;
pub const ENOSPC: u32 = 28;
pub const EROFS: u32 = 30;
pub const ENOTEMPTY: u32 = 39;
pub const ELOOP: u32 = 40;
pub const ENODATA: u32 = 61;
pub const EPROTO: u32 = 71;
pub const EMSGSIZE: u32 = 90;
pub const EOPNOTSUPP: u32 = 95;
