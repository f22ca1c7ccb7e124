//! Sources against a naive split of the same bytes.
//!
//! The oracle splits whole files in memory, and computes each line's epoch from the rule in the module docs of
//! `ledger::cut` alone. Readers must give the same lines, each once, in the same epochs, for any number of workers.

#![expect(clippy::unwrap_used, reason = "test helpers fail by panicking")]

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use thalweg::ledger::{Conductor, Ended, LedgerOptions, Message, Moment, Opened, Reached};
use thalweg::source::{
    Access, FileKind, FileSource, Found as FoundPartition, OnDataLoss, Oversize, Partition, Pipe, Pool,
    ReadOptions, Reader, Share, Source, SourceError, Step, Wake,
};
use thalweg::time::{Time, TimeOptions};

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
                Found::Oversize(whole[..whole.len().min(Oversize::kept(max_line))].to_vec())
            } else {
                Found::Line(line.to_vec())
            },
        ));
        offset += raw.len() as u64;
    }
    found
}

/// How files are cut and read.
#[derive(Clone, Copy, Debug)]
struct Cut {
    chunk_bytes: u64,
    epoch_bytes: u64,
    max_line: usize,
}

fn wake() -> Wake {
    let worker = std::thread::current();
    Arc::new(move || worker.unpark())
}

/// Takes what `reader` gives of `epoch`, up to `upto`; returns the bytes that it took, and how it ended.
fn take(
    reader: &mut dyn Reader,
    upto: u64,
    epoch: u64,
    pool: &Pool,
    lines: &mut Lines,
) -> Result<(u64, Step), SourceError> {
    let mut consumed = 0;
    loop {
        match reader.poll(upto, pool)? {
            Step::Chunk(chunk) => {
                let partition = chunk.place.partition.to_string();
                consumed += chunk.consumed;
                let mut put = |offset, found| {
                    assert!(offset < upto, "given before {upto}: {partition} at {offset}");
                    let twice = lines.insert((partition.clone(), offset), (epoch, found));
                    assert_eq!(twice, None, "given twice: {partition} at {offset}");
                };
                for (offset, line) in chunk.lines() {
                    put(offset, Found::Line(line.to_vec()));
                }
                for oversize in &chunk.oversize {
                    assert_eq!(&*oversize.place.partition, partition);
                    put(oversize.place.offset, Found::Oversize(oversize.sample.clone()));
                }
            }
            Step::CaughtUp if upto == u64::MAX => std::thread::park_timeout(Duration::from_secs(10)),
            Step::Damaged(fault) => return Err(fault),
            step => return Ok((consumed, step)),
        }
    }
}

/// One worker's readers, as the ledger has them read.
struct Worker {
    share: Share,
    partitions: Vec<Partition>,
    readers: BTreeMap<u32, Box<dyn Reader>>,
    consumed: u64,
}

impl Worker {
    fn read(
        &mut self,
        opened: &Opened,
        source: &dyn Source,
        cut: Cut,
        lines: &mut Lines,
    ) -> Result<Ended, SourceError> {
        self.partitions.extend(opened.new.iter().cloned());
        let pool = Pool::default();
        let mut reached = Vec::new();
        for limit in &opened.limits {
            let partition = self.partitions.iter().find(|known| known.id == limit.partition).unwrap();
            if partition.reader(self.share.peers).is_some_and(|reader| reader != self.share.worker) {
                continue;
            }
            let reader = match self.readers.entry(limit.partition.0) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => {
                    let options = ReadOptions {
                        chunk_bytes: cut.chunk_bytes,
                        max_line: cut.max_line,
                        ..ReadOptions::default()
                    };
                    entry.insert(source.open(&partition.found, limit.from, self.share, options, wake())?)
                }
            };
            let (bytes, step) = take(reader.as_mut(), limit.upto, opened.epoch, &pool, lines)?;
            self.consumed += bytes;
            let ended = matches!(step, Step::Ended);
            let mut one = Reached::nothing(limit.partition);
            (one.offset, one.ended) = (reader.offset(), ended);
            reached.push(one);
        }
        Ok(Ended { epoch: opened.epoch, reached })
    }
}

/// All that `peers` workers read of `source`, and how many epochs that takes.
fn read_cut(source: &Arc<dyn Source>, cut: Cut, peers: usize) -> Result<(Lines, u64), SourceError> {
    let pace = LedgerOptions {
        peers,
        time: TimeOptions::default(),
        tick: Duration::from_secs(1),
        epoch_bytes: cut.epoch_bytes,
        chunk_bytes: cut.chunk_bytes,
        max_open_epochs: 3,
        max_open_bytes: u64::MAX,
        event_time: false,
        horizon: Duration::ZERO,
        digest: false,
        on_data_loss: OnDataLoss::Fail,
        once: false,
        incarnation: 0,
    };
    let mut conductor = Conductor::new(pace, std::slice::from_ref(source))?;
    let bytes: u64 = source.find()?.iter().map(|found| found.bytes).sum();
    let mut workers: Vec<_> = (0..peers)
        .map(|worker| {
            let share = Share { worker, peers };
            Worker { share, partitions: Vec::new(), readers: BTreeMap::new(), consumed: 0 }
        })
        .collect();
    let mut lines = Lines::new();
    let mut epochs = 0;
    while !conductor.has_finished() {
        let now = Moment { at: Time(0), elapsed: Duration::ZERO };
        let closed = conductor.sealed_before();
        for message in conductor.turn(now, closed, true) {
            let Message::Opened(opened) = message else { continue };
            assert_eq!(opened.epoch, epochs);
            epochs += 1;
            for worker in &mut workers {
                let ended = worker.read(&opened, source.as_ref(), cut, &mut lines)?;
                conductor.receive(Message::Ended(ended));
            }
        }
    }
    assert_eq!(workers.iter().map(|worker| worker.consumed).sum::<u64>(), bytes);
    Ok((lines, epochs))
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

fn files(dir: &Path) -> Arc<dyn Source> {
    Arc::new(FileSource::new(&format!("{}/*", dir.display())))
}

fn cut(chunk_bytes: u64, epoch_bytes: u64, max_line: usize) -> Cut {
    Cut { chunk_bytes, epoch_bytes, max_line }
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

fn options() -> impl Strategy<Value = Cut> {
    let chunk_bytes = prop_oneof![6 => 0_u64..64, 3 => 64_u64..6_000, 1 => Just(u64::MAX)];
    let epoch_bytes = prop_oneof![6 => 0_u64..400, 2 => 400_u64..40_000, 1 => Just(u64::MAX)];
    (chunk_bytes, epoch_bytes, max_line()).prop_map(|(chunk, epoch, max_line)| cut(chunk, epoch, max_line))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn files_are_read_as_a_naive_split_in_the_same_epochs_by_any_number_of_workers(
        contents in vec((kind(), content()), 1..6),
        options in options(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let chunk_bytes = options.chunk_bytes.max(1);
        let chunks_per_epoch = (options.epoch_bytes / chunk_bytes).max(1);
        let mut expected = Lines::new();
        let (mut epoch, mut left) = (0, chunks_per_epoch);
        for (index, (kind, bytes)) in contents.iter().enumerate() {
            // No name tells the kind.
            let path = dir.path().join(format!("{index}.log"));
            let stored = store(*kind, bytes);
            std::fs::write(&path, &stored).unwrap();
            let partition = format!("file:{}", path.display());
            let (length, size) = (bytes.len() as u64, stored.len() as u64);
            if *kind == FileKind::Plain && length == 0 {
                continue;
            }
            if left == 0 {
                (epoch, left) = (epoch + 1, chunks_per_epoch);
            }
            // The first offset that is not in epoch `epoch`, `epoch` + 1, …
            let mut ends = vec![left.saturating_mul(chunk_bytes)];
            // What begins as names of columns do is read in order, by one worker, to an end that it finds.
            let in_order = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).starts_with(b"#");
            match kind {
                FileKind::Plain if !in_order => {
                    let chunks = length.div_ceil(chunk_bytes);
                    while *ends.last().unwrap() < length {
                        ends.push(ends.last().unwrap().saturating_add(chunks_per_epoch.saturating_mul(chunk_bytes)));
                    }
                    let given = left.saturating_add((ends.len() as u64 - 1).saturating_mul(chunks_per_epoch));
                    left = given.saturating_sub(chunks);
                }
                // Small, and so read to its end.
                _ if size <= chunk_bytes => {
                    ends = vec![u64::MAX];
                    left = left.saturating_sub((16 * size).div_ceil(chunk_bytes).max(1));
                }
                // That it has ended is found out when more is asked for than there is.
                _ => {
                    while *ends.last().unwrap() <= length {
                        ends.push(ends.last().unwrap().saturating_add(chunks_per_epoch.saturating_mul(chunk_bytes)));
                    }
                    left = 0;
                }
            }
            for (offset, found) in naive(bytes, options.max_line) {
                let later = ends.iter().take_while(|end| offset >= **end).count() as u64;
                expected.insert((partition.clone(), offset), (epoch + later, found));
            }
            epoch += ends.len() as u64 - 1;
        }
        let source = files(dir.path());
        for peers in 1..=5 {
            let (lines, epochs) = read_cut(&source, options, peers).unwrap();
            prop_assert_eq!(&lines, &expected, "{} workers", peers);
            prop_assert_eq!(epochs, epoch + 1);
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
        let (input, mut output) = io::pipe().unwrap();
        let writing = std::thread::spawn(move || {
            let (mut at, mut sizes) = (0, reads.into_iter().cycle());
            while at < bytes.len() {
                let size = sizes.next().unwrap().min(bytes.len() - at);
                output.write_all(&bytes[at..at + size]).unwrap();
                at += size;
            }
        });
        let mut source = Pipe::new("pipe:", input, max_line, wake()).unwrap();
        let mut lines = Lines::new();
        let (consumed, step) = take(&mut source, u64::MAX, 0, &Pool::default(), &mut lines).unwrap();
        writing.join().unwrap();
        prop_assert!(matches!(step, Step::Ended) && consumed == len);
        prop_assert_eq!(lines, expected);
        prop_assert_eq!(source.offset(), len);
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
            let stored = store(kind, &bytes);
            std::fs::write(&path, &stored).unwrap();
            let (source, options) = (files(dir.path()), cut(10_000, 50_000, max_line));
            // A compressed file that is smaller than a chunk is read in one go.
            let whole = kind != FileKind::Plain && stored.len() <= 10_000;
            let expected: Lines = naive(&bytes, max_line)
                .into_iter()
                .map(|(offset, found)| {
                    let epoch = if whole { 0 } else { offset / 50_000 };
                    ((format!("file:{}", path.display()), offset), (epoch, found))
                })
                .collect();
            assert!(read_cut(&source, options, 1).unwrap().0 == expected, "{kind:?} {max_line} by one");
            assert!(read_cut(&source, options, 3).unwrap().0 == expected, "{kind:?} {max_line} by three");
        }
    }
}

#[test]
fn sources_are_side_by_side_and_share_an_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for (name, lines) in [("a.1", 10), ("a", 30), ("b", 100)] {
        std::fs::write(at(name), b"line\n".repeat(lines)).unwrap();
    }
    let source =
        |pattern: &str| Arc::new(FileSource::new(&at(pattern).display().to_string())) as Arc<dyn Source>;
    let pace = LedgerOptions {
        peers: 1,
        time: TimeOptions::default(),
        tick: Duration::from_secs(1),
        epoch_bytes: 100,
        chunk_bytes: 10,
        max_open_epochs: 100,
        max_open_bytes: u64::MAX,
        event_time: false,
        horizon: Duration::ZERO,
        digest: false,
        on_data_loss: OnDataLoss::Fail,
        once: false,
        incarnation: 0,
    };
    let mut conductor = Conductor::new(pace, &[source("a*"), source("b")]).unwrap();
    let messages = conductor.turn(Moment { at: Time(0), elapsed: Duration::ZERO }, 0, true);
    let opened = messages.into_iter().filter_map(|message| match message {
        Message::Opened(opened) => Some(opened.limits),
        _ => None,
    });
    let limits: Vec<Vec<_>> =
        opened.map(|limits| limits.iter().map(|l| (l.partition.0, l.from, l.upto)).collect()).collect();
    // Half of each epoch is the one's and half the other's, until one of them ends.
    assert_eq!(
        limits[..5],
        [
            vec![(0, 0, 50), (2, 0, 50)],
            vec![(1, 0, 50), (2, 50, 100)],
            vec![(1, 50, 100), (2, 100, 150)],
            vec![(1, 100, 150), (2, 150, 200)],
            vec![(2, 200, 300)],
        ]
    );
}

#[test]
fn a_reader_goes_on_from_any_offset() {
    let bytes = long_content();
    let lines = naive(&bytes, 1 << 20);
    for kind in [FileKind::Plain, FileKind::Gzip, FileKind::Zstd] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("log"), store(kind, &bytes)).unwrap();
        let source = files(dir.path());
        let found: Vec<FoundPartition> = source.find().unwrap();
        for at in [1, 50, 399, lines.len() - 1] {
            let from = lines[at].0;
            let options = ReadOptions { chunk_bytes: 10_000, ..ReadOptions::default() };
            let share = Share { worker: 0, peers: 1 };
            let mut reader = source.open(&found[0], from, share, options, wake()).unwrap();
            let mut read = Lines::new();
            let (_, step) = take(reader.as_mut(), u64::MAX - 1, 0, &Pool::default(), &mut read).unwrap();
            assert!(matches!(step, Step::Ended));
            let read: Vec<_> = read.into_iter().map(|((_, offset), (_, found))| (offset, found)).collect();
            assert_eq!(read, lines[at..], "{kind:?} from {from}");
        }
    }
}

#[test]
fn a_pipe_that_is_stopped_gives_all_that_it_has_taken() {
    let (input, mut output) = io::pipe().unwrap();
    let mut rest = input.try_clone().unwrap();
    let mut pipe = Pipe::new("pipe:", input, 100, wake()).unwrap();
    output.write_all(b"one\ntwo\nthr").unwrap();
    let (pool, mut lines) = (Pool::default(), Vec::new());
    let mut stopped = false;
    while !pipe.has_stopped() {
        match pipe.poll(u64::MAX, &pool).unwrap() {
            Step::Chunk(chunk) => lines.extend(chunk.lines().map(|(_, line)| line.to_vec())),
            Step::CaughtUp => std::thread::park_timeout(Duration::from_millis(10)),
            step => panic!("{step:?}"),
        }
        if !lines.is_empty() && !std::mem::replace(&mut stopped, true) {
            pipe.stop();
        }
    }
    // What is written from now on stays in the pipe, for whoever reads it next.
    output.write_all(b"ee\nfour\n").unwrap();
    drop(output);
    assert!(matches!(pipe.poll(u64::MAX, &pool).unwrap(), Step::CaughtUp));
    let mut left = String::new();
    rest.read_to_string(&mut left).unwrap();
    assert_eq!(left, "ee\nfour\n");
    assert_eq!(lines, [b"one", b"two"]);
}

#[test]
fn a_pipe_tells_by_its_bytes_whether_they_are_compressed() {
    let text = long_content();
    for kind in [FileKind::Plain, FileKind::Gzip, FileKind::Zstd] {
        let (input, mut output) = io::pipe().unwrap();
        let bytes = store(kind, &text);
        let writing = std::thread::spawn(move || output.write_all(&bytes));
        let mut pipe = Pipe::new("pipe:", input, 1 << 20, wake()).unwrap();
        let mut lines = Lines::new();
        take(&mut pipe, u64::MAX, 0, &Pool::default(), &mut lines).unwrap();
        writing.join().unwrap().unwrap();
        let read: Vec<_> = lines.into_iter().map(|((_, offset), (_, found))| (offset, found)).collect();
        assert!(read == naive(&text, 1 << 20), "{kind:?}");
    }
    // Short of a whole magic number, it is text.
    for text in ["\u{1f}", "(", "P*M", ""] {
        let (input, mut output) = io::pipe().unwrap();
        output.write_all(text.as_bytes()).unwrap();
        drop(output);
        let mut pipe = Pipe::new("pipe:", input, 100, wake()).unwrap();
        let mut lines = Lines::new();
        take(&mut pipe, u64::MAX, 0, &Pool::default(), &mut lines).unwrap();
        assert_eq!(lines.len(), usize::from(!text.is_empty()), "{text:?}");
    }
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
        let mut names = Vec::new();
        for pattern in patterns {
            for found in FileSource::new(&at(pattern).display().to_string()).find()? {
                names.push(found.name.rsplit('/').next().unwrap().to_owned());
            }
        }
        Ok(names)
    };
    assert_eq!(names(&["*.log"]).unwrap(), ["a.log", "b.log", "c[1].log"]);
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

    // Of several sources, each file is read once, for the first that names it.
    let source =
        |pattern: &str| Arc::new(FileSource::new(&at(pattern).display().to_string())) as Arc<dyn Source>;
    let pace = LedgerOptions {
        peers: 1,
        time: TimeOptions::default(),
        tick: Duration::from_secs(1),
        epoch_bytes: 1 << 20,
        chunk_bytes: 1 << 10,
        max_open_epochs: 1,
        max_open_bytes: u64::MAX,
        event_time: false,
        horizon: Duration::ZERO,
        digest: false,
        on_data_loss: OnDataLoss::Fail,
        once: false,
        incarnation: 0,
    };
    let conductor = Conductor::new(pace, &[source("b.log"), source("*.log"), source("./b.log")]).unwrap();
    assert_eq!(conductor.partitions(), 3);
}

#[test]
fn a_named_pipe_is_refused_without_waiting_for_a_writer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    let error = FileSource::new(&path.display().to_string()).find().unwrap_err();
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
    let error = FileSource::new(&path.display().to_string()).find().unwrap_err();
    assert!(matches!(error, SourceError::Open { .. }), "{error}");
}

/// What one worker reads of a file that was found as `found`: the offsets of lines before the error, and the error.
fn until_error(source: &dyn Source, found: &FoundPartition) -> (Vec<u64>, SourceError) {
    let (mut lines, pool) = (Lines::new(), Pool::default());
    let options = ReadOptions { chunk_bytes: 4, max_line: 100, ..ReadOptions::default() };
    let opened = source.open(found, 0, Share { worker: 0, peers: 1 }, options, wake());
    let error =
        opened.and_then(|mut reader| take(reader.as_mut(), u64::MAX, 0, &pool, &mut lines)).unwrap_err();
    (lines.into_keys().map(|(_, offset)| offset).collect(), error)
}

#[test]
fn a_file_that_shrinks_is_an_error_and_one_that_grows_is_not_read_further() {
    for kind in [FileKind::Plain, FileKind::Gzip, FileKind::Zstd] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let bytes = store(kind, b"one\ntwo\nthree");
        std::fs::write(&path, &bytes).unwrap();
        let source = files(dir.path());
        let found = source.find().unwrap().remove(0);

        let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(&store(kind, b"33\nfour\n")).unwrap();
        let mut lines = Lines::new();
        for worker in 0..2 {
            let options = ReadOptions { chunk_bytes: 4, max_line: 100, ..ReadOptions::default() };
            if found.access != Access::Shared && worker > 0 {
                continue;
            }
            let mut reader = source.open(&found, 0, Share { worker, peers: 2 }, options, wake()).unwrap();
            take(reader.as_mut(), u64::MAX, 0, &Pool::default(), &mut lines).unwrap();
        }
        let texts: Vec<_> = lines.into_values().map(|(_, found)| found).collect();
        assert_eq!(texts, ["one", "two", "three"].map(|line| Found::Line(line.into())), "{kind:?}");

        file.set_len(bytes.len() as u64 - 3).unwrap();
        let (_, error) = until_error(source.as_ref(), &found);
        assert!(matches!(error, SourceError::Differs { .. }), "{kind:?}: {error}");

        std::fs::remove_file(&path).unwrap();
        assert!(matches!(until_error(source.as_ref(), &found), (_, SourceError::Open { .. })), "{kind:?}");
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
            let source = files(dir.path());
            let (lines, error) = until_error(source.as_ref(), &source.find().unwrap()[0]);
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
    let source = files(dir.path());
    let (lines, error) = until_error(source.as_ref(), &source.find().unwrap()[0]);
    assert_eq!(lines.len(), 0);
    assert!(error.to_string().contains("needs more than 128 MiB"), "{error}");
}

#[test]
fn a_live_pipe_gives_each_line_at_once_and_wakes_the_worker() {
    let (input, mut output) = io::pipe().unwrap();
    let pool = Pool::default();
    let mut source = Pipe::new("live:", input, 100, wake()).unwrap();
    assert!(matches!(source.poll(u64::MAX, &pool).unwrap(), Step::CaughtUp));
    let mut next = |text: &str| {
        output.write_all(text.as_bytes()).unwrap();
        loop {
            match source.poll(u64::MAX, &pool).unwrap() {
                Step::CaughtUp => std::thread::park_timeout(Duration::from_secs(10)),
                Step::Chunk(chunk) => return String::from_utf8(chunk.bytes().to_vec()).unwrap(),
                step => panic!("{step:?}"),
            }
        }
    };
    assert_eq!(next("one\n"), "one\n");
    assert_eq!(next("two\nth"), "two\n");
    assert_eq!(next("r"), "");
    assert_eq!(next("ee\n"), "three\n");
}
