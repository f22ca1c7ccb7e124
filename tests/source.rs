//! Sources against a naive split of the same bytes.
//!
//! The oracle splits whole files in memory, and computes each line's epoch from the rule in the module docs of
//! `source::plan` alone. Readers must give the same lines, each once, in the same epochs, for any number of workers.

#![expect(clippy::unwrap_used, reason = "test helpers fail by panicking")]

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use thalweg::source::{FileKind, Oversize, Plan, PlanOptions, Pool, Reader, SourceError, Stdin, Step};

/// What stands at a partition's offset: a line, or the sample of one that is too long.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    Line(Vec<u8>),
    Oversize(Vec<u8>),
}

/// (partition, offset) to what is there, and its epoch.
type Lines = BTreeMap<(String, u64), (u64, Found)>;

fn naive(bytes: &[u8], max_line: usize) -> Vec<(u64, Found)> {
    let mut found = Vec::new();
    let mut offset = 0;
    for raw in bytes.split_inclusive(|&byte| byte == b'\n') {
        let whole = raw.strip_suffix(b"\n").unwrap_or(raw);
        let line = whole.strip_suffix(b"\r").unwrap_or(whole);
        found.push((
            offset,
            if line.len() > max_line {
                Found::Oversize(whole[..whole.len().min(Oversize::SAMPLE)].to_vec())
            } else {
                Found::Line(line.to_vec())
            },
        ));
        offset += raw.len() as u64;
    }
    found
}

/// Polls to the end; returns what was given, the bytes consumed and the epochs ended.
fn drain(reader: &mut dyn Reader, pool: &Pool, lines: &mut Lines) -> Result<(u64, u64), SourceError> {
    let (mut consumed, mut epoch) = (0, 0);
    let mut last = None;
    loop {
        match reader.poll(pool)? {
            Step::Chunk(chunk) => {
                let partition = chunk.place.partition.to_string();
                consumed += chunk.consumed;
                let mut put = |offset, found| {
                    let twice = lines.insert((partition.clone(), offset), (epoch, found));
                    assert_eq!(twice, None, "given twice: {partition} at {offset}");
                    last = last.clone().max(Some((partition.clone(), offset)));
                };
                for (offset, line) in chunk.lines() {
                    put(offset, Found::Line(line.to_vec()));
                }
                for oversize in &chunk.oversize {
                    assert_eq!(&*oversize.place.partition, partition);
                    put(oversize.place.offset, Found::Oversize(oversize.sample.clone()));
                }
            }
            Step::EndEpoch => {
                epoch += 1;
                let position = reader.position();
                assert_eq!(position.len(), 1);
                let upto = Some((position[0].0.to_string(), position[0].1));
                assert!(last < upto, "given before epoch {epoch}: {last:?}, but not before {upto:?}");
            }
            Step::Idle => std::thread::park_timeout(Duration::from_secs(10)),
            Step::Done => {
                assert!(matches!(reader.poll(pool)?, Step::Done));
                return Ok((consumed, epoch));
            }
        }
    }
}

/// All that `peers` workers read.
fn read_plan(plan: &Plan, peers: usize) -> Result<Lines, SourceError> {
    let mut lines = Lines::new();
    let mut consumed = 0;
    let mut shared_epochs = 0;
    while plan.shared_end(shared_epochs).is_some() {
        shared_epochs += 1;
    }
    let compressed = plan.files().iter().filter(|file| file.kind != FileKind::Plain).count();
    for worker in 0..peers {
        let pool = Pool::default();
        let mut readers = plan.readers(worker, peers);
        let lanes = (0..compressed.min(16)).filter(|lane| lane % peers == worker).count();
        for reader in &mut readers {
            let (bytes, epochs) = drain(reader.as_mut(), &pool, &mut lines)?;
            consumed += bytes;
            if compressed == 0 {
                assert_eq!(epochs, shared_epochs, "worker {worker} of {peers}");
            }
        }
        assert!(readers.len() == lanes || readers.len() == lanes + 1);
    }
    assert_eq!(consumed, plan.total_bytes());
    Ok(lines)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// Bytes as stored in a file of `kind`, in two members or frames.
fn store(kind: FileKind, bytes: &[u8]) -> Vec<u8> {
    let (front, back) = bytes.split_at(bytes.len() / 3);
    match kind {
        FileKind::Gzip => [gzip(front), gzip(back)].concat(),
        FileKind::Zstd => [zstd(front), zstd(back)].concat(),
        _ => bytes.to_vec(),
    }
}

fn plan(dir: &Path, options: PlanOptions) -> Plan {
    Plan::new(&[format!("{}/*", dir.display())], options).unwrap()
}

fn small(chunk_bytes: u64, epoch_bytes: u64, max_line: usize) -> PlanOptions {
    PlanOptions { chunk_bytes, epoch_bytes, max_line }
}

/// Content with line ends of all sorts, and lines of a few bytes to many chunks.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => Just(b"\n".to_vec()),
        2 => Just(b"\r\n".to_vec()),
        1 => Just(b"\r".to_vec()),
        1 => Just(b"\0".to_vec()),
        4 => vec(any::<u8>(), 0..12),
        2 => (0_usize..200).prop_map(|len| vec![b'x'; len]),
        1 => (3_000_usize..9_000).prop_map(|len| vec![b'y'; len]),
    ];
    vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn kind() -> impl Strategy<Value = FileKind> {
    prop_oneof![3 => Just(FileKind::Plain), 1 => Just(FileKind::Gzip), 1 => Just(FileKind::Zstd)]
}

fn max_line() -> impl Strategy<Value = usize> {
    prop_oneof![3 => 0_usize..300, 1 => 300_usize..10_000, 1 => Just(1 << 20), 1 => Just(usize::MAX)]
}

fn options() -> impl Strategy<Value = PlanOptions> {
    let chunk_bytes = prop_oneof![6 => 0_u64..64, 3 => 64_u64..6_000, 1 => Just(u64::MAX)];
    let epoch_bytes = prop_oneof![6 => 0_u64..400, 2 => 400_u64..40_000, 1 => Just(u64::MAX)];
    (chunk_bytes, epoch_bytes, max_line()).prop_map(|(chunk, epoch, max_line)| small(chunk, epoch, max_line))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn files_are_read_as_a_naive_split_in_the_same_epochs_by_any_number_of_workers(
        files in vec((kind(), content()), 0..6),
        options in options(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let chunk_bytes = options.chunk_bytes.max(1);
        let chunks_per_epoch = (options.epoch_bytes / chunk_bytes).max(1);
        let lanes = files.iter().filter(|(kind, _)| *kind != FileKind::Plain).count();
        let quota = (options.epoch_bytes / lanes.max(1) as u64 / chunk_bytes).max(1).saturating_mul(chunk_bytes);
        let mut expected = Lines::new();
        let mut first_chunk = 0;
        for (index, (kind, bytes)) in files.iter().enumerate() {
            // No name tells the kind.
            let path = dir.path().join(format!("{index}.log"));
            std::fs::write(&path, store(*kind, bytes)).unwrap();
            for (offset, found) in naive(bytes, options.max_line) {
                let epoch = match kind {
                    FileKind::Plain => (first_chunk + offset / chunk_bytes) / chunks_per_epoch,
                    // At most five compressed files, and so each has a lane of its own.
                    _ => offset / quota,
                };
                expected.insert((format!("file:{}", path.display()), offset), (epoch, found));
            }
            if *kind == FileKind::Plain {
                first_chunk += (bytes.len() as u64).div_ceil(chunk_bytes);
            }
        }
        if files.is_empty() {
            return Ok(());
        }
        let plan = plan(dir.path(), options);
        for peers in 1..=5 {
            prop_assert_eq!(&read_plan(&plan, peers).unwrap(), &expected, "{} workers", peers);
        }
    }

    #[test]
    fn files_of_one_lane_follow_one_another(files in vec(content(), 17..40), options in options()) {
        let dir = tempfile::tempdir().unwrap();
        let chunk_bytes = options.chunk_bytes.max(1);
        let quota = (options.epoch_bytes / 16 / chunk_bytes).max(1).saturating_mul(chunk_bytes);
        let mut expected = Lines::new();
        let mut lane_bytes = [0; 16];
        for (index, bytes) in files.iter().enumerate() {
            let path = dir.path().join(format!("{index:02}"));
            std::fs::write(&path, store(FileKind::Zstd, bytes)).unwrap();
            for (offset, found) in naive(bytes, options.max_line) {
                let epoch = (lane_bytes[index % 16] + offset) / quota;
                expected.insert((format!("file:{}", path.display()), offset), (epoch, found));
            }
            lane_bytes[index % 16] += bytes.len() as u64;
        }
        let plan = plan(dir.path(), options);
        for peers in [1, 3, 20] {
            prop_assert_eq!(&read_plan(&plan, peers).unwrap(), &expected, "{} workers", peers);
        }
    }

    #[test]
    fn a_pipe_gives_a_naive_split_however_it_is_read(
        bytes in content(),
        reads in vec(1_usize..100, 1..20),
        max_line in max_line(),
    ) {
        let expected: Lines = naive(&bytes, max_line)
            .into_iter()
            .map(|(offset, found)| (("pipe:".to_owned(), offset), (0, found)))
            .collect();
        let len = bytes.len() as u64;
        let read = Dribble { bytes, at: 0, reads: reads.into_iter().cycle().take(100_000).collect() };
        let mut source = Stdin::from_read("pipe:", read, max_line, std::thread::current()).unwrap();
        let mut lines = Lines::new();
        prop_assert_eq!(drain(&mut source, &Pool::default(), &mut lines).unwrap(), (len, 0));
        prop_assert_eq!(lines, expected);
        prop_assert_eq!(source.position(), [("pipe:".into(), len)]);
    }
}

/// Gives as many bytes at a time as it was told.
struct Dribble {
    bytes: Vec<u8>,
    at: usize,
    reads: std::collections::VecDeque<usize>,
}

impl Read for Dribble {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let len =
            self.reads.pop_front().unwrap_or(usize::MAX).min(into.len()).min(self.bytes.len() - self.at);
        into[..len].copy_from_slice(&self.bytes[self.at..self.at + len]);
        self.at += len;
        Ok(len)
    }
}

/// Lines of all lengths up to far beyond a chunk, more than any buffer holds.
fn long_content() -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in 0..400_usize {
        let len = if number % 40 == 7 { number * 1_000 } else { number };
        bytes.extend(std::iter::repeat_n(b'a' + (number % 26) as u8, len));
        bytes.extend(if number % 3 == 0 { &b"\r\n"[..] } else { b"\n" });
    }
    bytes.extend(b"no line end");
    bytes
}

#[test]
fn lines_of_many_chunks_are_read_whole_or_reported() {
    let bytes = long_content();
    for kind in [FileKind::Plain, FileKind::Gzip, FileKind::Zstd] {
        for max_line in [100_000, 1 << 20] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("log");
            std::fs::write(&path, store(kind, &bytes)).unwrap();
            let plan = plan(dir.path(), small(10_000, 50_000, max_line));
            assert_eq!(plan.files()[0].kind, kind);
            let expected: Lines = naive(&bytes, max_line)
                .into_iter()
                .map(|(offset, found)| {
                    ((format!("file:{}", path.display()), offset), (offset / 50_000, found))
                })
                .collect();
            assert!(read_plan(&plan, 1).unwrap() == expected, "{kind:?} max_line {max_line} by one");
            assert!(read_plan(&plan, 3).unwrap() == expected, "{kind:?} max_line {max_line} by three");
        }
    }
}

#[test]
fn every_worker_ends_every_epoch_even_without_a_chunk_in_it() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("log"), b"line\n".repeat(10)).unwrap();
    // Ten chunks, one in an epoch; worker 3 of 4 has chunks 3 and 7.
    let plan = plan(dir.path(), small(5, 5, 100));
    let pool = Pool::default();
    let mut reader = plan.readers(3, 4).remove(0);
    let mut steps = String::new();
    loop {
        match reader.poll(&pool).unwrap() {
            Step::Chunk(_) => steps.push('c'),
            Step::EndEpoch => steps.push('|'),
            Step::Idle => steps.push('?'),
            Step::Done => break,
        }
    }
    assert_eq!(steps, "|||c||||c|||");
    assert_eq!(plan.readers(11, 12).len(), 0, "no chunk, no reader");
}

#[test]
fn epochs_of_the_shared_lane_end_where_the_plan_says() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a"), vec![b'\n'; 25]).unwrap();
    std::fs::write(dir.path().join("b"), gzip(b"not in the shared lane")).unwrap();
    std::fs::write(dir.path().join("c"), b"").unwrap();
    std::fs::write(dir.path().join("d"), vec![b'\n'; 31]).unwrap();
    // Chunks: a 0..10, 10..20, 20..25; d 0..10, 10..20, 20..30, 30..31.
    let plan = plan(dir.path(), small(10, 20, 100));
    let ends: Vec<_> = (0..5).map(|epoch| plan.shared_end(epoch)).collect();
    assert_eq!(ends, [Some((0, 20)), Some((3, 10)), Some((3, 30)), Some((3, 31)), None]);
    assert_eq!(plan.shared_end(u64::MAX), None);
}

#[test]
fn a_plan_survives_the_wire() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a"), b"one\n").unwrap();
    let plan = plan(dir.path(), PlanOptions::default());
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
}

#[test]
fn patterns_name_files_once_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for name in ["b.log", "a.log", "c[1].log", ".hidden.log", "other.txt"] {
        std::fs::write(at(name), b"line\n").unwrap();
    }
    std::fs::create_dir(at("dir.log")).unwrap();
    std::os::unix::fs::symlink(at("a.log"), at("latest.log")).unwrap();
    let names = |patterns: &[&str]| -> Result<Vec<String>, SourceError> {
        let patterns: Vec<_> =
            patterns.iter().map(|pattern| format!("{}/{pattern}", dir.path().display())).collect();
        let plan = Plan::new(&patterns, PlanOptions::default())?;
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        Ok(plan.files().iter().map(|file| name(&file.path)).collect())
    };
    assert_eq!(names(&["*.log"]).unwrap(), ["a.log", "b.log", "c[1].log"]);
    assert_eq!(names(&["b.log", "*.log", "./b.log"]).unwrap(), ["b.log", "a.log", "c[1].log"]);
    assert_eq!(names(&["c[1].log"]).unwrap(), ["c[1].log"], "a name before a glob");
    assert_eq!(names(&["[ab].log"]).unwrap(), ["a.log", "b.log"]);
    assert!(matches!(names(&["*.gz"]), Err(SourceError::NotFound { .. })));
    assert!(matches!(names(&["missing.log"]), Err(SourceError::NotFound { .. })));
    assert!(matches!(names(&["a***"]), Err(SourceError::BadGlob { .. })));
    let error = names(&["dir.log"]).unwrap_err().to_string();
    assert!(
        error.contains("dir.log is a directory, not a regular file\n  hint: name the files in it"),
        "{error}"
    );
    assert!(matches!(names(&["a.log", "b.log/x"]), Err(SourceError::Open { .. })));
}

#[test]
fn a_named_pipe_is_refused_without_waiting_for_a_writer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    let error = Plan::new(&[path.display().to_string()], PlanOptions::default()).unwrap_err();
    assert!(matches!(error, SourceError::NotAFile { kind: "a named pipe", .. }), "{error}");
}

#[test]
fn an_unreadable_file_is_an_error_before_the_first_line() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    std::fs::write(&path, b"line\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o0)).unwrap();
    if std::fs::File::open(&path).is_ok() {
        eprintln!("skipped: this user may read anything");
        return;
    }
    let error = Plan::new(&[path.display().to_string()], PlanOptions::default()).unwrap_err();
    assert!(matches!(error, SourceError::Open { .. }), "{error}");
}

/// Lines before the error, and the error.
fn until_error(plan: &Plan) -> (Vec<u64>, SourceError) {
    let mut lines = Lines::new();
    let mut readers = plan.readers(0, 1);
    assert_eq!(readers.len(), 1);
    let error = drain(readers[0].as_mut(), &Pool::default(), &mut lines).unwrap_err();
    (lines.into_keys().map(|(_, offset)| offset).collect(), error)
}

#[test]
fn a_file_that_shrinks_is_an_error_and_one_that_grows_is_not_read_further() {
    for kind in [FileKind::Plain, FileKind::Gzip, FileKind::Zstd] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let bytes = store(kind, b"one\ntwo\nthree");
        std::fs::write(&path, &bytes).unwrap();
        let plan = plan(dir.path(), small(4, 4, 100));

        let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(&store(kind, b"33\nfour\n")).unwrap();
        let lines = read_plan(&plan, 2).unwrap();
        let texts: Vec<_> = lines.into_values().map(|(_, found)| found).collect();
        assert_eq!(texts, ["one", "two", "three"].map(|line| Found::Line(line.into())), "{kind:?}");

        file.set_len(bytes.len() as u64 - 3).unwrap();
        let (_, error) = until_error(&plan);
        let SourceError::Shrunk { offset, expected, .. } = error else { panic!("{kind:?}: {error}") };
        assert_eq!((offset, expected), (bytes.len() as u64 - 3, bytes.len() as u64), "{kind:?}");

        std::fs::remove_file(&path).unwrap();
        assert!(matches!(until_error(&plan), (_, SourceError::Open { .. })), "{kind:?}");
    }
}

#[test]
fn faulty_compressed_files_give_their_whole_lines_and_then_say_what_is_wrong() {
    let text: Vec<u8> = (0..100_000).flat_map(|number| format!("line {number}\n").into_bytes()).collect();
    for kind in [FileKind::Gzip, FileKind::Zstd] {
        let whole = store(kind, &text);
        let mut flipped = whole.clone();
        flipped[whole.len() * 2 / 3] ^= 0x55;
        let cases = [
            ("truncated", whole[..whole.len() - 2].to_vec()),
            ("truncated", whole[..whole.len() / 2].to_vec()),
            ("followed by bytes", [&whole[..], b"this is something else"].concat()),
            ("corrupt", flipped),
        ];
        for (number, (reason, bytes)) in cases.into_iter().enumerate() {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("log"), bytes).unwrap();
            let (lines, error) = until_error(&plan(dir.path(), PlanOptions::default()));
            let SourceError::Read { offset, source, .. } = error else {
                panic!("{kind:?} {number}: {error}")
            };
            assert!(source.to_string().contains(reason), "{kind:?} {number}: {source}");
            if number == 3 {
                // Where a flipped bit is noticed is the decoder's affair: gzip's checksum comes last.
                continue;
            }
            // Every whole line before the fault, and nothing after it.
            let before = &text[..offset as usize];
            let whole_lines = before.iter().filter(|&&byte| byte == b'\n').count();
            assert_eq!(lines.len(), whole_lines, "{kind:?} {number}");
            assert!(whole_lines > 10_000, "{kind:?} {number}");
        }
    }
}

#[test]
fn a_zstd_frame_that_wants_too_much_memory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(dir.path().join("log")).unwrap();
    let mut encoder = zstd::Encoder::new(file, 1).unwrap();
    encoder.window_log(28).unwrap();
    encoder.write_all(b"line\n").unwrap();
    encoder.flush().unwrap();
    encoder.finish().unwrap();
    let (lines, error) = until_error(&plan(dir.path(), PlanOptions::default()));
    assert_eq!(lines.len(), 0);
    assert!(error.to_string().contains("needs more than 128 MiB"), "{error}");
}

#[test]
fn a_live_pipe_gives_each_line_at_once_and_wakes_the_worker() {
    /// Gives what is sent, when it is sent.
    struct Live(mpsc::Receiver<io::Result<&'static str>>);
    impl Read for Live {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let text = self.0.recv().unwrap_or(Ok(""))?;
            into[..text.len()].copy_from_slice(text.as_bytes());
            Ok(text.len())
        }
    }
    let (send, receive) = mpsc::sync_channel(8);
    let pool = Pool::default();
    let mut source = Stdin::from_read("live:", Live(receive), 100, std::thread::current()).unwrap();
    assert!(matches!(source.poll(&pool).unwrap(), Step::Idle));
    let mut next = |text| {
        send.send(text).unwrap();
        loop {
            match source.poll(&pool) {
                Ok(Step::Idle) => std::thread::park_timeout(Duration::from_secs(10)),
                Ok(Step::Chunk(chunk)) => return Ok(String::from_utf8(chunk.bytes().to_vec()).unwrap()),
                Ok(step) => panic!("{step:?}"),
                Err(error) => return Err(error.to_string()),
            }
        }
    };
    assert_eq!(next(Ok("one\n")).unwrap(), "one\n");
    assert_eq!(next(Ok("two\nth")).unwrap(), "two\n");
    assert_eq!(next(Ok("r")).unwrap(), "");
    assert_eq!(next(Ok("ee\n")).unwrap(), "three\n");
    let error = next(Err(io::Error::other("the line is dead"))).unwrap_err();
    assert_eq!(error, "cannot read live: at byte 14: the line is dead");
}
