//! The wire over real connections whose buffers are small, plain and secured.

use std::num::NonZeroU32;

use futures_util::FutureExt;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::{TcpListener, TcpSocket},
};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, ServerName},
    },
};

use super::{super::protocol::OperationId, *};
use crate::http::connections::Seated;

const PREFIX: &[u8] = TEXT.as_bytes();
const TEXT: &str = r#"{"id":"1","type":"next","payload":"#;

/// What the peer reads from.
type Peer = Box<dyn AsyncRead + Unpin>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    Secured,
}

const KINDS: [Kind; 2] = [Kind::Plain, Kind::Secured];

/// A wire whose kernel buffers are small, and its peer.
async fn wire(kind: Kind, queue_bytes: u32) -> (Arc<SocketWriter>, Peer) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("small");
    let peer = socket.connect(listener.local_addr().expect("bound")).await.expect("connects");
    let (tcp, _) = listener.accept().await.expect("accepts");
    socket2::SockRef::from(&tcp).set_send_buffer_size(4_096).expect("small");
    tcp.writable().await.expect("open");
    let queue_bytes = NonZeroU32::new(queue_bytes).expect("above zero");
    let settings = SocketSettings { queue_bytes, ..SocketSettings::default() };
    if kind == Kind::Plain {
        return (
            Arc::new(SocketWriter::new(SocketConnection::Plain(Seated::uncounted(tcp)), &settings)),
            Box::new(peer),
        );
    }
    let (acceptor, connector) = tls();
    let name = ServerName::try_from("localhost").expect("a name");
    let (secured, peer) = tokio::join!(acceptor.accept(tcp), connector.connect(name, peer));
    let (tcp, session) = secured.expect("a handshake").into_inner();
    (
        Arc::new(SocketWriter::new(SocketConnection::secured(Seated::uncounted(tcp), session), &settings)),
        Box::new(peer.expect("a handshake")),
    )
}

fn tls() -> (TlsAcceptor, TlsConnector) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(ring::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let server = server.expect("versions").with_no_client_auth().with_single_cert(vec![certificate.clone()], key);
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("a root");
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let client = client.expect("versions").with_root_certificates(roots).with_no_client_auth();
    (Arc::new(server.expect("fits")).into(), Arc::new(client).into())
}

fn texts(numbers: std::ops::Range<usize>, size: usize) -> Vec<Arc<str>> {
    numbers.map(|number| format!("{number:0size$}").into()).collect()
}

/// Reads so many frames of the server's.
async fn frames(peer: &mut Peer, count: usize) -> Vec<String> {
    let mut frames = Vec::new();
    for _ in 0..count {
        let mut head = [0; 2];
        peer.read_exact(&mut head).await.expect("a header");
        assert_eq!(head[0], 0x81, "a whole text, not masked");
        let length = match head[1] {
            126 => usize::from(peer.read_u16().await.expect("a length")),
            127 => usize::try_from(peer.read_u64().await.expect("a length")).expect("small"),
            length => usize::from(length),
        };
        let mut text = vec![0; length];
        peer.read_exact(&mut text).await.expect("a text");
        frames.push(String::from_utf8(text).expect("UTF-8"));
    }
    frames
}

fn expected(payloads: &[Arc<str>]) -> Vec<String> {
    payloads.iter().map(|payload| format!("{TEXT}{payload}}}")).collect()
}

#[tokio::test]
async fn what_the_kernel_takes_is_not_kept_and_the_rest_follows_whole_and_in_order() {
    for kind in KINDS {
        let (wire, mut peer) = wire(kind, 200_000).await;
        wire.open(1);
        let small = texts(0..3, 10);
        assert_eq!(wire.offer(1, PREFIX, small.iter()), Ok(3));
        assert!(!wire.has_waiting(), "nothing waits behind nothing");
        // More than the kernel takes at once, so that one of them is cut.
        let large = texts(3..43, 3_000);
        assert_eq!(wire.offer(1, PREFIX, large.iter()), Ok(40));
        assert!(wire.has_waiting());
        let more = texts(43..45, 10);
        assert_eq!(wire.offer(1, PREFIX, more.iter()), Ok(2));
        let all = [small, large, more].concat();
        let (read, drained) = tokio::join!(frames(&mut peer, all.len()), wire.drain());
        assert_eq!(read, expected(&all));
        assert!(drained);
        assert_eq!(wire.state().taken, 0);
    }
}

#[tokio::test]
async fn who_has_lost_the_right_gets_answers_to_mutations_and_nothing_else_that_waits() {
    for kind in KINDS {
        let (wire, mut peer) = wire(kind, 200_000).await;
        let (feed, query, mutation) = (numbered(1, false), numbered(2, false), numbered(3, true));
        for number in [feed, query, mutation] {
            wire.open(number);
        }
        // So much that the kernel keeps some of it waiting.
        let taken = wire.offer(feed, PREFIX, texts(0..40, 3_000).iter()).expect("open");
        assert!(wire.has_waiting());
        let answer = |text: &str| Frame::Next(OperationId::new("1").expect("an id"), text.into());
        for (number, text) in [(query, "\"query\""), (mutation, "\"mutation\"")] {
            assert_eq!(wire.send(number, answer(text)).await, Ok(()));
        }
        wire.keep_answers();
        assert_eq!(wire.send(query, answer("\"late\"")).await, Err(Unsent::Gone));
        assert_eq!(wire.offer(feed, PREFIX, texts(0..1, 10).iter()), Err(Unsent::Gone));
        wire.close(true);
        let read = async {
            let mut read = frames(&mut peer, 1).await;
            while read.last().is_some_and(|frame| !frame.contains("mutation")) {
                read.extend(frames(&mut peer, 1).await);
            }
            read
        };
        let (read, drained) = tokio::join!(read, wire.drain());
        assert!(drained && read.len() < taken && !read.iter().any(|frame| frame.contains("query")), "{}", read.len());
    }
}

#[tokio::test]
async fn no_more_waits_than_may_and_room_comes_back() {
    for kind in KINDS {
        let (wire, mut peer) = wire(kind, 100_000).await;
        wire.open(1);
        let payloads = texts(0..2_000, 1_000);
        let taken = wire.offer(1, PREFIX, payloads.iter()).expect("open");
        assert!((1..2_000).contains(&taken));
        assert_eq!(wire.offer(1, PREFIX, payloads[taken..].iter()), Ok(0), "there is no room");
        let waits = wire.state().taken;
        assert!(waits <= 100_000, "{waits} bytes wait");
        let room = wire.room(1_000);
        let (read, ()) = tokio::join!(frames(&mut peer, taken), async {
            tokio::join!(room, wire.drain());
        });
        assert_eq!(read, expected(&payloads[..taken]));
        let too_large = [Arc::from("x".repeat(100_000))];
        assert_eq!(wire.offer(1, PREFIX, too_large.iter()), Err(Unsent::TooLarge));
        assert_eq!(wire.reserve(100_001).await.err(), Some(Unsent::TooLarge));
    }
}

#[tokio::test]
async fn nothing_is_taken_after_the_rights_have_ended() {
    for kind in KINDS {
        let (wire, _peer) = wire(kind, 1_000_000).await;
        let revoked = CancellationToken::new();
        wire.open(1);
        wire.until_revoked(revoked.clone());
        let payloads = texts(0..1, 10);
        assert_eq!(wire.offer(1, PREFIX, payloads.iter()), Ok(1));
        revoked.cancel();
        assert_eq!(wire.offer(1, PREFIX, payloads.iter()), Err(Unsent::Gone));
    }
}

#[tokio::test]
async fn a_retired_operation_says_nothing_more_but_a_frame_that_was_cut_is_finished() {
    for kind in KINDS {
        let (wire, mut peer) = wire(kind, 1_000_000).await;
        wire.open(1);
        wire.open(2);
        let large = texts(0..200, 3_000);
        assert_eq!(wire.offer(1, PREFIX, large.iter()), Ok(200));
        let other = OperationId::new("2").expect("valid");
        wire.send(2, Frame::Next(other.clone(), "2".into())).await.expect("room");
        wire.retire(1);
        assert_eq!(wire.offer(1, PREFIX, large.iter()), Err(Unsent::Gone));
        let room = wire.reserve(10).await.expect("room");
        wire.finish(2, Frame::Complete(other), room);
        wire.close(true);
        let (read, _) = tokio::join!(
            async {
                let mut read = frames(&mut peer, 1).await;
                while !read.last().is_some_and(|last| last.contains("complete")) {
                    read.extend(frames(&mut peer, 1).await);
                }
                read
            },
            wire.drain()
        );
        let of_the_first = read.len() - 2;
        assert!(of_the_first < 200, "what had not begun to leave is gone");
        assert_eq!(read[..of_the_first], expected(&large[..of_the_first]));
        assert!(read[of_the_first].contains(r#""id":"2","type":"next""#));
        let state = wire.state();
        assert_eq!((state.taken, state.answers, state.waiting.len()), (0, 0, 0));
    }
}

#[tokio::test]
async fn answers_have_room_of_their_own_and_no_more() {
    for kind in KINDS {
        let (wire, _peer) = wire(kind, 100).await;
        let rooms: Vec<Room> = std::iter::from_fn(|| wire.try_answer()).collect();
        assert_eq!(rooms.len(), ANSWERS);
        drop(rooms);
        wire.answer(Frame::Ack, wire.answer_room().await);
        wire.close(false);
        assert!(wire.try_answer().is_none());
    }
}

/// What is taken only alone must be waited for until it would be: not asked for again and again.
#[tokio::test]
async fn room_for_more_than_half_is_waited_for() {
    for kind in KINDS {
        let (wire, mut peer) = wire(kind, 100_000).await;
        wire.open(1);
        // The kernel takes nothing more, and far less than half waits.
        let small = texts(0..1, 3_000);
        let mut sent = 0;
        while wire.state().taken < 10_000 {
            sent += wire.offer(1, PREFIX, small.iter()).expect("open");
        }
        let large = [Arc::from("x".repeat(95_000))];
        assert_eq!(wire.offer(1, PREFIX, large.iter()), Ok(0));
        assert!(wire.room(95_000).now_or_never().is_none(), "there is none for it");
        let (_, drained, ()) = tokio::join!(frames(&mut peer, sent), wire.drain(), wire.room(95_000));
        assert!(drained);
        assert_eq!(wire.offer(1, PREFIX, large.iter()), Ok(1));
    }
}

/// A session that sleeps in the pump is woken by any writer, also when what is left waits in TLS alone.
#[tokio::test]
async fn what_the_kernel_does_not_take_wakes_the_pump() {
    for kind in KINDS {
        let (wire, mut peer) = wire(kind, 1_000_000).await;
        wire.open(1);
        let mut pump = std::pin::pin!(wire.pump());
        assert!(pump.as_mut().now_or_never().is_none(), "nothing waits");
        let small = texts(0..1, 1_000);
        let mut sent = 0;
        while !wire.has_waiting() {
            sent += wire.offer(1, PREFIX, small.iter()).expect("open");
        }
        assert_eq!(kind == Kind::Secured, wire.state().waiting.is_empty(), "TLS takes more than the kernel");
        assert_eq!(pump.as_mut().now_or_never(), Some(Pumped::Woken));
        let (read, drained) = tokio::join!(frames(&mut peer, sent), wire.drain());
        assert!(drained && read.len() == sent && !wire.has_waiting());
    }
}
