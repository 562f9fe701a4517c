//! Peers that send as fast as they can: the server's one worker answers others meanwhile, and a peer that sends what no
//! client sends is cut off, also after the close frame.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

use lancewire::clock::Clock;
use serde_json::json;

use crate::support::app::{Database, TestApp, until};

/// More than the server would ever have to take; a debug build that takes all of it is busy for seconds.
const MOST: usize = 24 * 1024 * 1024;

/// A thread that sends the same bytes again and again.
struct Flood {
    sent: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    /// Whether the server has ended it.
    thread: JoinHandle<bool>,
}

impl Flood {
    /// Sends `first` and then `again`, until it is stopped, cut off, or has sent [`MOST`].
    fn start(addr: SocketAddr, hello: &[u8], first: &[u8], again: &[u8]) -> Self {
        let (sent, stop) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (counted, stopped) = (Arc::clone(&sent), Arc::clone(&stop));
        let (hello, first, again) = (hello.to_vec(), first.to_vec(), again.repeat(4096 / again.len() + 1));
        let thread = std::thread::spawn(move || {
            let mut stream = TcpStream::connect(addr).expect("connects");
            if !hello.is_empty() {
                stream.write_all(&hello).expect("an upgrade");
                let mut answer = [0; 2048];
                let mut read = 0;
                while !answer[..read].windows(14).any(|window| window == b"connection_ack") {
                    read += stream.read(&mut answer[read..]).expect("an acknowledgement");
                }
            }
            stream.write_all(&first).expect("it begins");
            // What the server answers is read, or it would have a reason to stop.
            let mut reader = stream.try_clone().expect("both ways");
            let reading = std::thread::spawn(move || while matches!(reader.read(&mut [0; 8_192]), Ok(1..)) {});
            let mut cut = false;
            while !stopped.load(Ordering::Relaxed) && counted.load(Ordering::Relaxed) < MOST && !cut {
                cut = stream.write_all(&again).is_err();
                counted.fetch_add(again.len(), Ordering::Relaxed);
            }
            let _ = stream.shutdown(std::net::Shutdown::Both);
            reading.join().expect("it reads");
            cut
        });
        Self { sent, stop, thread }
    }

    fn is_under_way(&self) -> bool {
        self.sent.load(Ordering::Relaxed) > 256 * 1024 || self.thread.is_finished()
    }
}

/// A frame with this first byte and nothing in it, masked with zeros.
fn empty(first: u8) -> [u8; 6] {
    [first, 0x80, 0, 0, 0, 0]
}

/// An upgrade and a `connection_init`.
fn hello() -> Vec<u8> {
    let upgrade = "GET /graphql HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n";
    let init = br#"{"type":"connection_init"}"#;
    let length = 0x80 | u8::try_from(init.len()).expect("short");
    [upgrade.as_bytes(), &[0x81, length, 0, 0, 0, 0], init].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_flood_of_frames_delays_nobody_and_is_cut_off() {
    let app = TestApp::start_with(Database::Sqlite, "", Clock::system()).await;
    let other = app.socket(None).await;
    for (what, first, again) in [
        ("pings", &[][..], empty(0x89)),
        ("pongs", &[], empty(0x8A)),
        ("empty fragments", &empty(0x01), empty(0x00)),
        ("messages that are none", &[], empty(0x81)),
        ("pings after its own close frame", &empty(0x88), empty(0x89)),
    ] {
        let flood = Flood::start(app.addr, &hello(), first, &again);
        until("it is under way", || flood.is_under_way()).await;
        other.ping(json!({ "during": what })).await;
        let sent = flood.sent.load(Ordering::Relaxed);
        assert!(sent < MOST, "{what}: it was answered after all {sent} bytes");
        until("the flood has ended", || flood.thread.is_finished()).await;
        assert!(flood.thread.join().expect("it ends well"), "{what}: all {MOST} bytes were taken");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_pipeline_of_requests_delays_nobody() {
    let app = TestApp::start_with(Database::Sqlite, "", Clock::system()).await;
    let other = app.socket(None).await;
    for request in ["GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n", "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let flood = Flood::start(app.addr, &[], &[], request.as_bytes());
        until("it is under way", || flood.is_under_way()).await;
        other.ping(json!({ "during": request })).await;
        let sent = flood.sent.load(Ordering::Relaxed);
        flood.stop.store(true, Ordering::Relaxed);
        assert!(sent < MOST, "it was answered after all {sent} bytes");
        until("the flood has ended", || flood.thread.is_finished()).await;
    }
    app.finish().await;
}
