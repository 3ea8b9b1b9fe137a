//! Clients that leave, and clients that do not read.

use super::client::{Conn, is_served};
use super::client_h2::{self, h2c, piece};
use super::house::{
    House, Plan, Program, fake, figure, is_empty, on_both, on_both_crossed, quick, until,
};
use super::words::Ask;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use stokehold::fake::Ended;

/// Passes bytes between the router and a provider, and counts connections and what the provider said.
pub struct Wire {
    pub at: SocketAddr,
    counts: Arc<[AtomicU64; 2]>,
}

impl Wire {
    pub fn to(provider: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("bound");
        let counts = Arc::new([const { AtomicU64::new(0) }; 2]);
        let counted = Arc::clone(&counts);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                counted[0].fetch_add(1, Ordering::Relaxed);
                let Ok(server) = TcpStream::connect(provider) else {
                    return;
                };
                let (from, to) = (client.try_clone(), server.try_clone());
                let counted = Arc::clone(&counted);
                std::thread::spawn(move || pass(client, server, None));
                std::thread::spawn(move || {
                    pass(
                        to.expect("a handle"),
                        from.expect("a handle"),
                        Some(&counted[1]),
                    );
                });
            }
        });
        Self { at, counts }
    }

    pub fn connections(&self) -> u64 {
        self.counts[0].load(Ordering::Relaxed)
    }

    pub fn bytes(&self) -> u64 {
        self.counts[1].load(Ordering::Relaxed)
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, counted: Option<&AtomicU64>) {
    let mut some = [0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut some) {
        if to.write_all(&some[..count]).is_err() {
            break;
        }
        counted.inspect(|c| {
            c.fetch_add(count as u64, Ordering::Relaxed);
        });
    }
    // Either side's end is the other's.
    let _ = from.shutdown(std::net::Shutdown::Both);
    let _ = to.shutdown(std::net::Shutdown::Both);
}

/// An ask whose provider falls silent: before its head, or after some events.
fn silent(text: &str) -> Ask {
    Ask::chat("own", text)
        .streamed()
        .with("x-stokehold-on-disconnect", "cancel")
}

fn hung_up(house: &House) -> usize {
    let book = house.book();
    book.entries().filter(|e| e.ended == Ended::HungUp).count()
}

/// The provider is left within a second, with room for a busy machine.
fn is_left_soon(house: &House, count: usize) {
    let left = Instant::now();
    until("the provider is left", || hung_up(house) == count);
    assert!(
        left.elapsed() < Duration::from_millis(1_500),
        "{:?}",
        left.elapsed()
    );
}

#[test]
fn a_client_that_leaves_while_its_provider_is_silent_is_missed_within_a_second() {
    on_both(|plan| {
        let house = House::open(&plan);
        let mut client = house.connect();
        client.send(&silent("[[fake: first_token=60000]]").http1());
        until("it is asked", || house.figure("calls_open") == 1.0);
        drop(client);
        is_left_soon(&house, 1);
        let mut client = house.connect();
        client.send(&silent("[[fake: stall_after=3]]").http1());
        client.until_said("data:");
        drop(client);
        is_left_soon(&house, 2);
        house.is_well();
    });
}

#[test]
fn a_reset_stream_of_http2_and_a_lost_connection_of_http2_are_missed_within_a_second() {
    on_both(|plan| {
        let house = House::open(&plan);
        h2c(house.at, async |mut send| {
            let reset = client_h2::send(&mut send, &silent("[[fake: stall_after=3]]"));
            let mut body = reset.await.expect("an answer").into_body();
            piece(&mut body).await.expect("some").expect("some");
            drop(body);
            let gone = async {
                while hung_up(&house) < 1 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            let soon = Duration::from_millis(1_500);
            tokio::time::timeout(soon, gone)
                .await
                .expect("it is missed");
            let lost = client_h2::send(&mut send, &silent("[[fake: stall_after=3]]"));
            let mut body = lost.await.expect("an answer").into_body();
            piece(&mut body).await.expect("some").expect("some");
        });
        is_left_soon(&house, 2);
        house.is_well();
    });
}

#[test]
fn an_answer_whose_client_left_is_finished_and_billed_where_the_tenant_wants_that() {
    on_both(|plan| {
        let mut house = House::open(&plan);
        let ask = Ask::chat("own", "[[fake: between_tokens=20 output_tokens=30]]").streamed();
        let mut client = house.connect();
        client.send(&ask.http1());
        client.until_said("data:");
        drop(client);
        until("it is finished", || house.book().entries().count() == 1);
        house.stop();
        let rows = super::books::rows(&house.ledger());
        assert_eq!((rows.len(), &*rows[0].outcome), (1, "done"), "{rows:?}");
        assert_eq!(rows[0].tokens[4], 30);
    });
}

/// A client whose kernel takes little, so that what is not read soon waits at the router.
pub fn narrow(at: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    socket.set_recv_buffer_size(4 << 10).expect("an option");
    socket.connect(&at.into()).expect("connects");
    let stream = TcpStream::from(socket);
    stream
        .set_read_timeout(Some(Duration::from_secs(15)))
        .expect("a bound");
    stream
}

const READERS: u64 = 3;

/// 100,000 tokens are over 20 MB of events.
fn long() -> Ask {
    Ask::chat("at-far", "[[fake: between_tokens=0 output_tokens=100000]]").streamed()
}

#[test]
fn who_does_not_read_pauses_its_provider_within_bounded_memory_is_dropped_in_time_and_harms_nobody()
{
    on_both_crossed(|plan| {
        let (fakes, provider) = fake(quick());
        let wire = Wire::to(provider);
        let limits = "{client_buffer_bytes: 64KiB, slow_client: 3s}".to_owned();
        let program = Program::start(&Plan { limits, ..plan }.other("far", wire.at, ""));
        is_served(program.at);
        let before = program.memory();
        let slow: Vec<Conn> = (0..READERS)
            .map(|_| {
                let mut client = Conn::over(narrow(program.at));
                client.send(&long().http1());
                client
            })
            .collect();
        until("the providers speak", || wire.bytes() > 100_000);
        let mut seen = 0;
        until("the providers are paused", || {
            std::thread::sleep(Duration::from_millis(300));
            std::mem::replace(&mut seen, wire.bytes()) == wire.bytes()
        });
        // What the kernels between hold is theirs; the whole would be 60 MB and more.
        assert!(wire.bytes() < 32 << 20, "{}", wire.bytes());
        is_served(program.at);
        let grown = program.memory().saturating_sub(before);
        // The allocator keeps what it was given back for a while; what is held for a reader is a few hundred KiB.
        assert!(grown < 32 << 20, "{grown} bytes for {READERS} slow readers");
        until("they are dropped", || {
            figure(program.operator, "slow_clients_dropped_total") == READERS as f64
        });
        is_served(program.at);
        for mut client in slow {
            let got = client.rest();
            assert!(
                !got.ends_with(b"0\r\n\r\n"),
                "a cut answer never looks whole"
            );
        }
        until("the answers are read on for the books", || {
            fakes.books()[0].entries().count() == READERS as usize
        });
        is_empty(program.operator);
    });
}
