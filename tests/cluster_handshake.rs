//! The cluster handshake, over real sockets: processes are threads, and strays come from everywhere.
//!
//! Deadlines are short, so that all of it takes a few seconds; "quickly" means far below the time-out that a peer
//! would have to sit out if a stray could delay it.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]
#![expect(clippy::disallowed_methods, reason = "deadlines are what is tested")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, Once, mpsc};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use thalweg::runtime::cluster::{ClusterConfig, ClusterError, Fingerprint, Joined, Mismatch, Secret, join};

const HANDSHAKE: Duration = Duration::from_millis(400);
const QUICK: Duration = Duration::from_secs(2);
const HELLO_LENGTH: usize = 44;

type Joining = JoinHandle<Result<Joined, ClusterError>>;

// ---- helpers -------------------------------------------------------------------------------------------------------

/// Free ports below the range from which the system takes those of connecting sockets: the many short connections of
/// these tests cannot take one away between here and its use.
fn addresses(count: usize) -> Vec<String> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test processes that run at the same time have neighbouring ids; each has a hundred ports.
    let base = 20_000 + 100 * (std::process::id() % 120) as u16;
    let mut found = Vec::new();
    while found.len() < count {
        let address = format!("127.0.0.1:{}", base + NEXT.fetch_add(1, Ordering::Relaxed));
        if TcpListener::bind(&address).is_ok() {
            found.push(address);
        }
    }
    found
}

fn config(process: usize, addresses: &[String]) -> ClusterConfig {
    let mut config = ClusterConfig::new(process, addresses.to_vec(), 2, Fingerprint([7; 32]));
    config.secret = Some(Secret::new("s3cret").unwrap());
    config.join_timeout = Duration::from_secs(10);
    config.handshake_timeout = HANDSHAKE;
    config
}

fn start(config: ClusterConfig) -> Joining {
    let offer = format!("offer of {}", config.process).into_bytes();
    thread::spawn(move || join(&config, &offer))
}

fn finish(joining: Joining) -> Joined {
    joining.join().unwrap().unwrap()
}

fn error(joining: Joining) -> ClusterError {
    joining.join().unwrap().unwrap_err()
}

/// Connects as soon as somebody listens.
fn reach(address: &str) -> TcpStream {
    let deadline = Instant::now() + QUICK;
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => {
                stream.set_read_timeout(Some(QUICK)).unwrap();
                return stream;
            }
            Err(error) => assert!(Instant::now() < deadline, "nobody listens at {address}: {error}"),
        }
        sleep(Duration::from_millis(5));
    }
}

/// All that the other side says until it closes, gracefully or not.
fn rest(mut stream: &TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return all,
            Ok(bytes) => all.extend_from_slice(&buffer[..bytes]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return all,
            Err(error) => panic!("neither answered nor closed: {error}"),
        }
    }
}

fn hello(version: u32) -> Vec<u8> {
    [&b"\x89thalweg"[..], &version.to_be_bytes(), &[5; 32]].concat()
}

/// Every pair of processes must hold the two ends of one connection, and it must carry bytes.
fn assert_linked(cluster: &[Joined]) {
    for (i, joined) in cluster.iter().enumerate() {
        assert_eq!(joined.offer, b"offer of 0");
        assert_eq!(joined.sockets.len(), cluster.len());
        for (j, socket) in joined.sockets.iter().enumerate() {
            assert_eq!(socket.is_none(), i == j, "place {j} of process {i}");
            if let Some(mut socket) = socket.as_ref() {
                socket.write_all(&[i as u8, j as u8]).unwrap();
            }
        }
    }
    for (i, joined) in cluster.iter().enumerate() {
        for (j, socket) in joined.sockets.iter().enumerate() {
            if let Some(mut socket) = socket.as_ref() {
                let mut link = [9; 2];
                socket.read_exact(&mut link).unwrap();
                assert_eq!(link, [j as u8, i as u8]);
            }
        }
    }
}

/// Everything that was logged, to be searched for a connection's address.
struct Collector(Mutex<Vec<String>>);

static LOG: Collector = Collector(Mutex::new(Vec::new()));

impl log::Log for Collector {
    fn enabled(&self, _: &log::Metadata) -> bool {
        true
    }
    fn log(&self, record: &log::Record) {
        self.0.lock().unwrap().push(format!("{} {}", record.level(), record.args()));
    }
    fn flush(&self) {}
}

fn collect_log() {
    static SET: Once = Once::new();
    SET.call_once(|| {
        log::set_logger(&LOG).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
    });
}

/// Waits until a line has been logged that contains each of `phrases`.
fn await_log(phrases: &[&str]) {
    let deadline = Instant::now() + QUICK;
    while !LOG.0.lock().unwrap().iter().any(|line| phrases.iter().all(|phrase| line.contains(phrase))) {
        assert!(Instant::now() < deadline, "nothing was logged with {phrases:?}");
        sleep(Duration::from_millis(5));
    }
}

fn assert_warned(remote: SocketAddr, reason: &str) {
    await_log(&["WARN", &format!("{remote}:"), reason]);
}

/// What a relay does with a connection: how many of the acceptor's bytes to pass on before, instead of passing on the
/// next one, it cuts both sides.
type Cut = Option<usize>;

/// Stands between a connector and `target`; reports the connector's bytes. One connection for each of `cuts`.
fn relay(target: &str, cuts: Vec<Cut>) -> (String, mpsc::Receiver<Vec<u8>>) {
    let address = addresses(1).remove(0);
    let listener = TcpListener::bind(&address).unwrap();
    let target = target.to_owned();
    let (report, reports) = mpsc::channel();
    thread::spawn(move || {
        for cut in cuts {
            let (connector, _) = listener.accept().unwrap();
            let acceptor = reach(&target);
            let (mut from, mut to) = (connector.try_clone().unwrap(), acceptor.try_clone().unwrap());
            let report = report.clone();
            thread::spawn(move || {
                let mut said = Vec::new();
                let mut buffer = [0; 1024];
                while let Ok(bytes @ 1..) = from.read(&mut buffer) {
                    said.extend_from_slice(&buffer[..bytes]);
                    if report.send(said.clone()).is_err() || to.write_all(&buffer[..bytes]).is_err() {
                        break;
                    }
                }
            });
            thread::spawn(move || {
                let limit = cut.unwrap_or(usize::MAX) as u64;
                let _ = std::io::copy(&mut (&acceptor).take(limit), &mut &connector);
                let _ = (&acceptor).read(&mut [0]);
                for socket in [&acceptor, &connector] {
                    let _ = socket.shutdown(Shutdown::Both);
                }
            });
        }
    });
    (address, reports)
}

/// All that a connector said up to its confirmation, as soon as it has said it.
fn await_confirmation(said: &mpsc::Receiver<Vec<u8>>) -> Vec<u8> {
    loop {
        let said = said.recv_timeout(QUICK).unwrap();
        if said.len() == HELLO_LENGTH + 37 + 109 + 37 {
            return said;
        }
    }
}

// ---- meeting -------------------------------------------------------------------------------------------------------

#[test]
fn processes_meet_in_any_order() {
    let orders: [&[usize]; 5] = [&[0, 1], &[1, 0], &[0, 1, 2], &[2, 1, 0], &[1, 2, 0]];
    let clusters = orders.map(|order| {
        let addresses = addresses(order.len());
        thread::spawn(move || {
            let mut joining: Vec<(usize, Joining)> = Vec::new();
            for process in order {
                joining.push((*process, start(config(*process, &addresses))));
                sleep(Duration::from_millis(40));
            }
            joining.sort_by_key(|(process, _)| *process);
            let cluster: Vec<Joined> = joining.into_iter().map(|(_, joining)| finish(joining)).collect();
            assert_linked(&cluster);
        })
    });
    for cluster in clusters {
        cluster.join().unwrap();
    }
}

#[test]
fn sockets_are_ready_for_timely() {
    let addresses = addresses(2);
    let cluster = [0, 1].map(|process| start(config(process, &addresses))).map(finish);
    for socket in cluster.iter().flat_map(|joined| joined.sockets.iter().flatten()) {
        let options = socket2::SockRef::from(socket);
        assert!(socket.nodelay().unwrap());
        assert_eq!((socket.read_timeout().unwrap(), socket.write_timeout().unwrap()), (None, None));
        assert!(options.keepalive().unwrap());
        #[cfg(target_os = "linux")]
        {
            assert_eq!(options.tcp_keepalive_time().unwrap(), Duration::from_secs(1));
            assert_eq!(options.tcp_user_timeout().unwrap(), Some(Duration::from_secs(5)));
            assert!(!options.nonblocking().unwrap());
        }
    }
}

#[test]
fn a_large_offer_arrives_whole_and_a_larger_one_is_refused() {
    let addresses = addresses(2);
    let plan: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    let (mut first, mut second) = (config(0, &addresses), config(1, &addresses));
    first.handshake_timeout = Duration::from_secs(5);
    second.handshake_timeout = Duration::from_secs(5);
    let offer = plan.clone();
    let first = thread::spawn(move || join(&first, &offer));
    assert!(finish(thread::spawn(move || join(&second, b""))).offer == plan);
    assert!(finish(first).offer == plan);

    let offer = vec![0; (16 << 20) + 1];
    let error = join(&config(0, &addresses), &offer).unwrap_err();
    assert!(matches!(error, ClusterError::OfferTooLarge { bytes, limit } if bytes == limit + 1));
}

// ---- strays --------------------------------------------------------------------------------------------------------

#[test]
fn strays_are_refused_and_logged_and_delay_nobody() {
    collect_log();
    let addresses = addresses(2);
    // So long that whoever had to wait for a stray's deadline would not be quick.
    let patient = |process| {
        let mut config = config(process, &addresses);
        config.handshake_timeout = 2 * QUICK;
        start(config)
    };
    let first = patient(0);

    // What each says, how much it is told, and what the log says of it.
    let other_secret: Vec<u8> = [hello(1), vec![1, 0, 0, 0, 0], vec![3; 32]].concat();
    let early_claim: Vec<u8> = [hello(1), vec![2, 0, 0, 0, 72], vec![3; 104]].concat();
    let endless: Vec<u8> = [hello(1), vec![1, 255, 255, 255, 255]].concat();
    let strays: [(&[u8], usize, &str); 8] = [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 0, r#"it began with "GET / HTTP/1.1\r\nHost"#),
        (b"\x16\x03\x01\x02\x00\x01", 0, r#"it began with "\x16\x03\x01\x02\x00\x01""#),
        (&[0; 4096], 0, "it does not speak our protocol"),
        (b"\x89thalweG", 0, "it does not speak our protocol"),
        (&hello(99), HELLO_LENGTH, "it speaks version 99 of the handshake, we speak version 1"),
        (&other_secret, HELLO_LENGTH, "it does not know the cluster secret"),
        (&early_claim, HELLO_LENGTH, "it sent 72 bytes of message 2, where its Proof"),
        (&endless, HELLO_LENGTH, "it sent 4294967295 bytes of message 1, where its Proof of at most 0"),
    ];
    for (bytes, case, reason) in strays {
        let started = Instant::now();
        let mut stray = reach(&addresses[0]);
        stray.write_all(bytes).unwrap();
        // A reset may overtake what we were told; it never makes it more.
        assert!(rest(&stray).len() <= case, "{reason}");
        assert!(started.elapsed() < QUICK, "{reason}: refused as soon as it is known");
        assert_warned(stray.local_addr().unwrap(), reason);
    }

    // Port scans, and more silent connections than may be open at a time, while the real peer comes.
    let scan = addresses[0].clone();
    let scan = thread::spawn(move || (0..200).for_each(|_| drop(TcpStream::connect(&scan))));
    let silent: Vec<TcpStream> = (0..100).map(|_| reach(&addresses[0])).collect();
    let started = Instant::now();
    let second = finish(patient(1));
    assert_linked(&[finish(first), second]);
    assert!(started.elapsed() < QUICK, "took {:?}", started.elapsed());
    scan.join().unwrap();
    assert_warned(silent[0].local_addr().unwrap(), "it is the oldest");
}

#[test]
fn one_deadline_covers_a_whole_handshake() {
    collect_log();
    let addresses = addresses(2);
    let first = start(config(0, &addresses));

    let silent = reach(&addresses[0]);
    let mut dripping = reach(&addresses[0]);
    let started = Instant::now();
    // A byte at a time, never idle for long: far longer than the deadline if each byte earned new time.
    let all = hello(1).into_iter().take_while(|byte| {
        sleep(HANDSHAKE / 10);
        dripping.write_all(&[*byte]).is_ok()
    });
    assert!(all.count() < 20);
    assert!(rest(&silent).is_empty());
    assert!(started.elapsed() >= HANDSHAKE && started.elapsed() < QUICK);
    for stray in [&silent, &dripping] {
        assert_warned(stray.local_addr().unwrap(), "it was too slow");
    }
    let second = start(config(1, &addresses));
    assert_linked(&[finish(first), finish(second)]);
}

#[test]
fn a_recorded_handshake_cannot_be_played_again() {
    collect_log();
    let addresses = addresses(3);
    let first = start(config(0, &addresses));
    // Process 1 joins through a relay that writes down what it says; process 0 then waits for process 2.
    let (through, said) = relay(&addresses[0], vec![None]);
    let mut second = config(1, &addresses);
    second.addresses[0] = through;
    let second = start(second);
    let recorded = await_confirmation(&said);

    let mut replay = reach(&addresses[0]);
    replay.write_all(&recorded).unwrap();
    assert!(rest(&replay).len() <= HELLO_LENGTH);
    assert_warned(replay.local_addr().unwrap(), "it does not know the cluster secret");

    let third = start(config(2, &addresses));
    assert_linked(&[finish(first), finish(second), finish(third)]);
}

#[test]
fn an_acceptor_that_echoes_proves_nothing() {
    let addresses = addresses(2);
    let echo = TcpListener::bind(&addresses[0]).unwrap();
    thread::spawn(move || {
        let (stream, _) = echo.accept().unwrap();
        std::io::copy(&mut &stream, &mut &stream)
    });
    let error = error(start(config(1, &addresses)));
    assert!(matches!(&error, ClusterError::Unproved { peer } if peer.process == 0), "{error}");
}

// ---- refusals ------------------------------------------------------------------------------------------------------

/// A change to a configuration that is right, and the error that must come of it.
type Wrong = (fn(&mut ClusterConfig), fn(&ClusterError) -> bool, &'static [&'static str]);

#[test]
fn a_process_that_does_not_fit_fails_at_once_and_the_right_one_still_joins() {
    let addresses = addresses(2);
    let first = start(config(0, &addresses));
    let wrongs: [Wrong; 6] = [
        (
            |config| config.secret = Some(Secret::new("other").unwrap()),
            |error| matches!(error, ClusterError::SecretRefused { peer, attempts: 5 } if peer.process == 0),
            &["process 0 at 127.0.0.1:", "refused us before the secret was proved", "--cluster-secret-file"],
        ),
        (
            |config| config.secret = None,
            |error| matches!(error, ClusterError::SecretRefused { .. }),
            &["is the cluster secret the same"],
        ),
        (
            // HMAC would take this key for the empty one; neither is ours.
            |config| config.secret = Some(Secret::new([0]).unwrap()),
            |error| matches!(error, ClusterError::SecretRefused { .. }),
            &[],
        ),
        (
            |config| config.fingerprint = Fingerprint([8; 32]),
            |error| {
                let fingerprints =
                    Mismatch::Fingerprint { ours: Fingerprint([8; 32]), theirs: Fingerprint([7; 32]) };
                matches!(error, ClusterError::Mismatch { mismatch, .. } if *mismatch == fingerprints)
            },
            &["0707070707070707", "0808080808080808", "hint: start every process from the same binary"],
        ),
        (
            |config| config.workers = 3,
            |error| {
                let workers = Mismatch::Workers { ours: 3, theirs: 2 };
                matches!(error, ClusterError::Mismatch { mismatch, .. } if *mismatch == workers)
            },
            &["it runs with `-w 2`, we with `-w 3`", "hint: "],
        ),
        (
            |config| {
                config.addresses.push("127.0.0.1:1".to_owned());
                config.process = 2;
                // Its process 1 is never reached: the refusal of process 0 must not wait for it.
                config.addresses[1] = "127.0.0.1:1".to_owned();
            },
            |error| {
                let processes = Mismatch::Processes { ours: 3, theirs: 2 };
                matches!(error, ClusterError::Mismatch { mismatch, .. } if *mismatch == processes)
            },
            &["it runs with `-n 2`, we with `-n 3`"],
        ),
    ];
    for (change, expected, phrases) in wrongs {
        let mut wrong = config(1, &addresses);
        change(&mut wrong);
        let started = Instant::now();
        let error = error(start(wrong));
        assert!(expected(&error), "{error:?}");
        assert!(started.elapsed() < QUICK, "{error}: took {:?}", started.elapsed());
        for phrase in phrases {
            assert!(error.to_string().contains(phrase), "no `{phrase}` in: {error}");
        }
    }
    let second = start(config(1, &addresses));
    assert_linked(&[finish(first), finish(second)]);
}

#[test]
fn a_listener_that_is_not_the_expected_process_is_told_at_once() {
    // Two lines of the host file are swapped: the address of process 0 belongs to process 1.
    let addresses = addresses(3);
    let swapped = vec![addresses[1].clone(), addresses[0].clone(), addresses[2].clone()];
    let mut second = config(1, &addresses);
    second.join_timeout = Duration::from_millis(500);
    let second = start(second);
    let failure = error(start(config(2, &swapped)));
    let misplaced = Mismatch::Misplaced { expected: 0, theirs: 1 };
    assert!(
        matches!(&failure, ClusterError::Mismatch { mismatch, .. } if *mismatch == misplaced),
        "{failure}"
    );
    assert!(matches!(error(second), ClusterError::Timeout { .. }));

    // Another service, and another version.
    for (answer, expected) in [
        (b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(), "it began with \"SSH-2.0-OpenSSH_9.6\\r\\n\""),
        (hello(2), "speaks version 2 of the cluster handshake, we speak version 1"),
    ] {
        let service = TcpListener::bind(&addresses[0]).unwrap();
        let answering = thread::spawn(move || {
            let (mut stream, _) = service.accept().unwrap();
            stream.write_all(&answer).unwrap();
            rest(&stream)
        });
        let error = error(start(config(2, &addresses)));
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(answering.join().unwrap().len(), HELLO_LENGTH, "nothing but a nonce was told");
    }
}

#[test]
fn an_index_that_should_not_connect_is_refused() {
    collect_log();
    // Process 1 of 3 is reached, by a host file gone wrong, by another process 1 that takes it for process 0.
    let mut addresses = addresses(4);
    let elsewhere = addresses.pop().unwrap();
    let mut second = config(1, &addresses);
    second.join_timeout = Duration::from_millis(500);
    let second = start(second);
    let mut twin = config(1, &addresses);
    twin.addresses = vec![addresses[1].clone(), elsewhere, addresses[2].clone()];
    assert!(matches!(error(start(twin)), ClusterError::Mismatch { .. }));
    assert!(matches!(error(second), ClusterError::Timeout { .. }));
    await_log(&["WARN", "it says that it is process 1, which does not connect to process 1 of 3"]);
}

// ---- trying again --------------------------------------------------------------------------------------------------

/// How many bytes process 0 has sent before its welcome.
const OFFERED: usize = HELLO_LENGTH + 37 + 109 + 37 + "offer of 0".len();

#[test]
fn a_handshake_that_breaks_anywhere_is_tried_again() {
    let addresses = addresses(2);
    let first = start(config(0, &addresses));
    // Within the hello; before and within the proof (not often enough for a refusal); within the claim and the offer.
    let cuts = [10, HELLO_LENGTH, HELLO_LENGTH + 10, HELLO_LENGTH + 50, OFFERED - 5].map(Some);
    let (through, _said) = relay(&addresses[0], [&cuts[..], &[None]].concat());
    let mut second = config(1, &addresses);
    second.addresses[0] = through;
    let second = start(second);
    assert_linked(&[finish(first), finish(second)]);
}

#[test]
fn who_missed_the_welcome_joins_again() {
    let addresses = addresses(3);
    let first = start(config(0, &addresses));
    // Process 0 has seated the first connection, whose other end does not know it.
    let (through, said) = relay(&addresses[0], vec![Some(OFFERED), None]);
    let mut second = config(1, &addresses);
    second.addresses[0] = through;
    let second = start(second);
    for _ in 0..2 {
        await_confirmation(&said);
    }
    let third = start(config(2, &addresses));
    assert_linked(&[finish(first), finish(second), finish(third)]);
}

#[test]
fn a_restarted_process_takes_its_place_again() {
    let addresses = addresses(3);
    let first = start(config(0, &addresses));
    // Joins process 0, and dies of its time-out waiting for process 2.
    let mut second = config(1, &addresses);
    second.join_timeout = Duration::from_millis(300);
    assert!(matches!(error(start(second)), ClusterError::Timeout { .. }));
    let second = start(config(1, &addresses));
    let third = start(config(2, &addresses));
    assert_linked(&[finish(first), finish(second), finish(third)]);
}

#[test]
fn of_two_processes_with_one_index_the_older_gives_up() {
    collect_log();
    let mut addresses = addresses(4);
    let elsewhere = addresses.pop().unwrap();
    let first = start(config(0, &addresses));
    // On another host, that is, at another address of its own.
    let mut older = config(1, &addresses);
    older.addresses[1] = elsewhere;
    let older = start(older);
    // Process 0 knows it by the address in its own host file.
    await_log(&[&format!("{} joined from", addresses[1])]);
    let newer = start(config(1, &addresses));
    let error = error(older);
    assert!(matches!(&error, ClusterError::Lost { peer, ours: 1 } if peer.process == 0), "{error}");
    let third = start(config(2, &addresses));
    assert_linked(&[finish(first), finish(newer), finish(third)]);
}

// ---- giving up -----------------------------------------------------------------------------------------------------

#[test]
fn the_timeout_names_who_is_missing() {
    let addresses = addresses(3);
    let mut second = config(1, &addresses);
    second.join_timeout = Duration::from_millis(200);
    let started = Instant::now();
    let failure = error(start(second));
    assert!(started.elapsed() < QUICK);
    let ClusterError::Timeout { process: 1, missing, .. } = &failure else { panic!("{failure}") };
    assert_eq!(missing.iter().map(|missing| missing.peer.process).collect::<Vec<_>>(), [0, 2]);
    let text = failure.to_string();
    assert!(text.contains(&format!("process 0 at {} (the connection failed: ", addresses[0])), "{text}");
    assert!(text.contains(&format!("process 2 at {} (it has not connected to us)", addresses[2])), "{text}");
}

#[test]
fn what_cannot_be_right_is_found_before_anything_is_opened() {
    let loopback = addresses(2);
    let error = join(&config(2, &loopback), b"").unwrap_err();
    assert!(matches!(error, ClusterError::NoSuchProcess { process: 2, processes: 2 }));
    let error = join(&config(0, &[]), b"").unwrap_err();
    assert!(matches!(error, ClusterError::NoSuchProcess { process: 0, processes: 0 }));

    let mut misspelt = config(0, &loopback);
    misspelt.addresses[1] = "localhost".to_owned();
    assert!(matches!(join(&misspelt, b"").unwrap_err(), ClusterError::BadAddress(peer) if peer.process == 1));

    for open in ["0.0.0.0:2101", "10.0.0.7:2101", "[::]:2101"] {
        for place in [0, 1] {
            let mut exposed = config(0, &loopback);
            exposed.secret = None;
            exposed.addresses[place] = open.to_owned();
            let error = join(&exposed, b"").unwrap_err();
            assert!(matches!(&error, ClusterError::Insecure { peer } if peer.address == open), "{error}");
            let text = error.to_string();
            assert!(text.contains("--cluster-secret-file") && text.contains("--insecure-cluster"), "{text}");
        }
    }

    let _taken = TcpListener::bind(&loopback[0]).unwrap();
    let error = join(&config(0, &loopback), b"").unwrap_err();
    assert!(matches!(&error, ClusterError::Bind { peer, .. } if peer.process == 0), "{error}");
}

#[test]
fn an_insecure_cluster_may_be_asked_for() {
    let loopback = addresses(2);
    let open: Vec<String> = loopback.iter().map(|address| address.replace("127.0.0.1", "0.0.0.0")).collect();
    let cluster = [(0, &open), (1, &loopback)].map(|(process, addresses)| {
        let mut config = config(process, addresses);
        config.secret = None;
        config.insecure = true;
        start(config)
    });
    assert_linked(&cluster.map(finish));
}
