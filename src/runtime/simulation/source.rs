//! Logs that are written while they are read.

use std::sync::{Arc, Mutex};

use crate::source::{
    Access, Chunk, Found, Pool, ReadOptions, Reader, Share, Source, SourceError, Step, Wake,
};

/// A log: lines, of which there may be more later.
#[derive(Clone, Debug, Default)]
pub(super) struct SimLog(Arc<Mutex<Written>>);

#[derive(Debug, Default)]
struct Written {
    bytes: Vec<u8>,
    ended: bool,
    /// Up to where somebody has read.
    read: usize,
}

impl SimLog {
    pub(super) fn write(&self, bytes: &[u8]) {
        self.0.lock().unwrap().bytes.extend_from_slice(bytes);
    }

    pub(super) fn end(&self) {
        self.0.lock().unwrap().ended = true;
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().bytes.clone()
    }
}

/// Logs that can be read again, or pipes, which give everything once.
#[derive(Debug)]
pub(super) struct SimSource {
    uri: String,
    logs: Vec<SimLog>,
    pipes: bool,
    /// Whether the logs are read up to where they end as they are found.
    bounded: bool,
}

impl SimSource {
    pub(super) fn files(logs: &[SimLog], bounded: bool) -> Self {
        SimSource { uri: "files:".to_owned(), logs: logs.to_vec(), pipes: false, bounded }
    }

    pub(super) fn pipe(log: &SimLog) -> Self {
        SimSource { uri: "pipe:".to_owned(), logs: vec![log.clone()], pipes: true, bounded: false }
    }
}

impl Source for SimSource {
    fn uri(&self) -> &str {
        &self.uri
    }

    fn is_bounded(&self) -> bool {
        self.bounded
    }

    fn is_replayable(&self) -> bool {
        !self.pipes
    }

    fn find(&self) -> Result<Vec<Found>, SourceError> {
        let found = self.logs.iter().enumerate().map(|(number, log)| {
            let length = self.bounded.then(|| log.0.lock().unwrap().bytes.len() as u64);
            Found {
                name: format!("{}{number}", self.uri).into(),
                identity: format!("{}{number}", self.uri),
                access: if self.pipes { Access::Pinned } else { Access::Sequential },
                length,
                bytes: length.unwrap_or(0),
                detail: number.to_string(),
            }
        });
        Ok(found.collect())
    }

    fn open(
        &self,
        partition: &Found,
        from: u64,
        _: Share,
        _: ReadOptions,
        _: Wake,
    ) -> Result<Box<dyn Reader>, SourceError> {
        let log = self.logs[partition.detail.parse::<usize>().expect("its own number")].clone();
        if self.pipes {
            let mut written = log.0.lock().unwrap();
            if from > 0 || written.read > 0 {
                return Err(SourceError::Gone { partition: partition.name.to_string(), offset: from });
            }
            written.read = written.read.max(1);
        }
        let until = partition.length.map(|length| length as usize);
        Ok(Box::new(SimReader { name: Arc::clone(&partition.name), log, at: from as usize, until }))
    }
}

#[derive(Debug)]
struct SimReader {
    name: Arc<str>,
    log: SimLog,
    at: usize,
    until: Option<usize>,
}

impl Reader for SimReader {
    fn poll(&mut self, upto: u64, _: &Pool) -> Result<Step, SourceError> {
        let written = self.log.0.lock().unwrap();
        let there = self.until.map_or(written.bytes.len(), |until| until.min(written.bytes.len()));
        let upto = usize::try_from(upto).unwrap_or(usize::MAX).min(there);
        if self.at >= upto {
            return Ok(match () {
                () if self.at < there => Step::Reached,
                () if written.ended || self.until.is_some() => Step::Ended,
                () => Step::CaughtUp,
            });
        }
        // Lines that begin before, a few at a time.
        let mut end = self.at;
        for _ in 0..3 {
            if end < upto {
                end += written.bytes[end..].iter().position(|byte| *byte == b'\n').expect("whole lines") + 1;
            }
        }
        let mut chunk = Chunk::from_bytes(&self.name, self.at as u64, &written.bytes[self.at..end]);
        chunk.consumed = (end - self.at) as u64;
        self.at = end;
        Ok(Step::Chunk(chunk))
    }

    fn offset(&self) -> u64 {
        self.at as u64
    }
}
