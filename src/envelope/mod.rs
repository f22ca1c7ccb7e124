//! What stands around lines, and is peeled off before a format reads them: what syslog, containers and the journal add.
//!
//! | envelope | a line of it | the fields beside the line |
//! |---|---|---|
//! | `docker` | `{"log":"GET /\n","stream":"stdout","time":"…Z"}` | `stream`; `container` (its id, of the path); what `--log-opt tag` and the like add |
//! | `cri` | `2016-10-06T00:17:09.669794202Z stdout F GET /` | `stream`; of the path `namespace`, `pod`, `container`, and `uid` and `restart`, or `id` |
//! | `journald` | `{"MESSAGE":"GET /","_SYSTEMD_UNIT":"web.service",…}` | `unit`, `identifier`, `priority`, `host`, `pid`, `facility`, and any field by its own name |
//! | `syslog` | `<190>Oct 11 22:14:15 host web: GET /` | `facility`, `severity`, `host`, `app`, `procid`, `msgid`, and `ID.NAME` of the structured data |
//!
//! The path of a container's log has its id in Docker; its name is in each line where Docker is told so (`--log-opt tag={{.Name}}`): `tag`.
//!
//! What is inside is a line of whatever format the dataflow reads. Its fields are had from
//! [`Parsed::envelope`](crate::door::Parsed::envelope); and the envelope tells the time of a line that tells none itself.
//!
//! # Lines in pieces
//!
//! Docker splits lines longer than 16 KiB into records of which all but the last have a `log` that does not end with `\n` (`copier.go`
//! and `jsonfilelog` of moby), and CRI into those with the tag `P` and a last one with `F` (`pkg/kubelet/kuberuntime/logs` of
//! Kubernetes). Pieces are joined, each stream (`stdout`, `stderr`) for itself, and the line stands where its first piece does. So what is peeled
//! has to begin and end where no line is in pieces: whoever cuts chunks asks [`Pieces`].
//!
//! This module knows bytes. It knows no source, no dataflow and no clock.

mod cri;
mod docker;
mod fields;
mod journald;
mod path;
mod peel;

use std::str::FromStr;

pub use fields::EnvelopeFields;
pub use peel::{GivenUp, Peeled, PeeledLine, Peeler, Pieces, Streams};

use crate::format::Syslog;

/// What is around lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnvelopeKind {
    /// Docker's `json-file`.
    Docker,
    /// What container runtimes write for Kubernetes.
    Cri,
    /// What `journalctl -o json` writes.
    Journald,
    /// Syslog, of whatever dialect.
    Syslog,
}

impl EnvelopeKind {
    /// All of them, with their names.
    pub const ALL: [(&'static str, EnvelopeKind); 4] = [
        ("cri", EnvelopeKind::Cri),
        ("docker", EnvelopeKind::Docker),
        ("journald", EnvelopeKind::Journald),
        ("syslog", EnvelopeKind::Syslog),
    ];

    /// Its name, as it stands before a source: `docker`.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// Whether a line may be in pieces.
    pub fn has_pieces(self) -> bool {
        matches!(self, EnvelopeKind::Docker | EnvelopeKind::Cri)
    }
}

impl FromStr for EnvelopeKind {
    type Err = String;

    /// Reads a name.
    ///
    /// ```
    /// use thalweg::envelope::EnvelopeKind;
    /// assert_eq!("cri".parse(), Ok(EnvelopeKind::Cri));
    /// assert!("gelf".parse::<EnvelopeKind>().unwrap_err().contains("cri, docker, journald, syslog"));
    /// ```
    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind);
        found.ok_or_else(|| format!("the envelopes are {}", Self::ALL.map(|(name, _)| name).join(", ")))
    }
}

/// An envelope, and by which rules it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// What it is.
    pub kind: EnvelopeKind,
    /// How lines of syslog are read: their zone, and their year.
    pub syslog: Syslog,
    /// The longest line that pieces are joined to, in bytes; what is longer is oversize.
    pub max_line: usize,
}

impl Envelope {
    /// One of this kind, with the rules that hold where nothing is said.
    ///
    /// ```
    /// use thalweg::envelope::{Envelope, EnvelopeKind};
    /// assert_eq!(Envelope::new(EnvelopeKind::Docker).max_line, 1 << 20);
    /// ```
    pub fn new(kind: EnvelopeKind) -> Self {
        Envelope { kind, syslog: Syslog::default(), max_line: 1 << 20 }
    }
}
