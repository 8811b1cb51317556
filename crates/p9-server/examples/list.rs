//! Serves a directory to a client in this process, which lists it:
//! `cargo run -p p9-server --example list -- DIRECTORY`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use p9_server::{
    Buffers, Limits, Local, LocalOptions, Message, Patience, Reply, Served, Session, WRITE_DATA,
};
use testkit::p9::{Client, Wire};

/// The client's way to the server: a call.
struct InProcess(Session<Local>);

impl Wire for InProcess {
    fn exchange(&mut self, request: &[u8]) -> Vec<u8> {
        let message = Message::parse(*request.first_chunk().expect("a message"));
        let mut reply = Reply::new();
        let mut payload = Buffers {
            request: request.get(WRITE_DATA..).unwrap_or_default().to_vec(),
            reply: vec![0; 32 << 10],
        };
        let head = message.head().expect("the size of a request");
        let (head, patience) = (&request[..head], Patience::Host);
        let served = self
            .0
            .serve(&message, head, &mut payload, patience, &mut reply);
        assert_eq!(served, Served::Done);
        [reply.bytes(), &payload.reply[..reply.data() as usize]].concat()
    }
}

fn main() -> ExitCode {
    let directory = std::env::args_os().nth(1).map(PathBuf::from);
    let directory = directory.unwrap_or_else(|| PathBuf::from("."));
    let options = LocalOptions {
        read_only: true,
        ..LocalOptions::default()
    };
    let local = match Local::new(&directory, options) {
        Ok(local) => Arc::new(local),
        Err(error) => {
            eprintln!("{}: {error}", directory.display());
            return ExitCode::from(2);
        }
    };
    let mut client = Client::attached(InProcess(Session::new(local, Limits::default())));
    for entry in client.list(0, 1, 8192).unwrap_or_default() {
        let kind = if entry.qid.kind & 0x80 != 0 { "/" } else { "" };
        println!("{}{kind}", String::from_utf8_lossy(&entry.name));
    }
    ExitCode::SUCCESS
}
