//! What has gone wrong with TLS, in words, with what to do about it.

use std::io::{self, ErrorKind};

use rustls::{AlertDescription, CertificateError, Error, PeerMisbehaved};

use super::verify::Refused;
use super::x509::Facts;

/// Which side this program is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// It has connected to a server.
    Client,
    /// Somebody has connected to it.
    Server,
}

/// Why a connection failed; `refused` says whose certificate was refused, where one was.
pub(super) fn describe(error: &io::Error, refused: &Refused, side: Side) -> String {
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return match error.kind() {
            ErrorKind::UnexpectedEof => "it was cut off".to_owned(),
            _ => error.to_string(),
        };
    };
    let (reason, hint) = of_tls(error, refused, side);
    if hint.is_empty() { reason } else { format!("{reason}\n  hint: {hint}") }
}

fn of_tls(error: &Error, refused: &Refused, side: Side) -> (String, &'static str) {
    let other = match side {
        Side::Client => "the server",
        Side::Server => "the client",
    };
    match error {
        Error::InvalidCertificate(error) => {
            let refused = refused.take();
            let whose = refused.as_ref().map_or_else(String::new, |facts| format!(" (`{}`)", facts.subject));
            let (reason, hint) = of_certificate(error, refused.as_ref(), side);
            (format!("the certificate of {other}{whose} is refused: {reason}"), hint)
        }
        Error::NoCertificatesPresented => (
            format!("{other} shows no certificate"),
            "`tls-clients=FILE` has only those in whose certificate an authority in FILE has signed",
        ),
        Error::InvalidMessage(_) => (
            format!("{other} does not speak TLS"),
            match side {
                Side::Client => "is it the right port? Without `tls=` lines are read in clear",
                Side::Server => "lines in clear go to a port without `tls-cert=`",
            },
        ),
        Error::AlertReceived(alert) => (format!("{other} refuses: {alert:?}"), of_alert(*alert, side)),
        Error::PeerIncompatible(reason) => (
            format!("{other} and this side have nothing in common: {reason:?}"),
            "TLS 1.2 and 1.3 are spoken, with forward secrecy",
        ),
        Error::PeerMisbehaved(PeerMisbehaved::TooManyRenegotiationRequests) => {
            (format!("{other} wants to negotiate anew, which is not done"), "")
        }
        error => (error.to_string(), ""),
    }
}

fn of_certificate(error: &CertificateError, refused: Option<&Facts>, side: Side) -> (String, &'static str) {
    use CertificateError as E;
    match error {
        E::Expired | E::ExpiredContext { .. } => (
            refused.map_or("it has expired".to_owned(), |facts| format!("it expired at {}", facts.not_after)),
            "have it renewed where it is used; or set this machine's clock",
        ),
        E::NotValidYet | E::NotValidYetContext { .. } => (
            refused.map_or("it is not valid yet".to_owned(), |facts| {
                format!("it is valid from {} on, and not yet", facts.not_before)
            }),
            "set the clock of this machine, or of the one that made it",
        ),
        E::UnknownIssuer => (
            "nobody whom this side trusts has signed it".to_owned(),
            match side {
                Side::Client => "`tls=FILE` names the authority that has",
                Side::Server => "`tls-clients=FILE` names the authorities of clients",
            },
        ),
        E::NotValidForName | E::NotValidForNameContext { .. } => (
            error.to_string(),
            "`tls-name=NAME` says by which name the server goes, where that is not the host's",
        ),
        // There is an authority of that name, which is another.
        E::BadSignature => (
            "nobody whom this side trusts has signed it, but somebody by the same name".to_owned(),
            "the file that names the authority may be of an older one: take its present certificate",
        ),
        error if error.to_string().contains("CaUsedAsEndEntity") => (
            "it is that of an authority, and no server's or client's".to_owned(),
            "make one that is none: `openssl req -x509 … -addext basicConstraints=critical,CA:FALSE`",
        ),
        error => (error.to_string(), ""),
    }
}

fn of_alert(alert: AlertDescription, side: Side) -> &'static str {
    use AlertDescription as A;
    match (alert, side) {
        (A::CertificateRequired | A::HandshakeFailure | A::BadCertificate, Side::Client) => {
            "the server may want a client's certificate: `tls-cert=FILE&tls-key=FILE`"
        }
        (
            A::UnknownCA | A::CertificateUnknown | A::CertificateExpired | A::UnsupportedCertificate,
            Side::Client,
        ) => "the server does not take this side's certificate (`tls-cert=`)",
        (A::UnknownCA | A::CertificateUnknown | A::BadCertificate | A::CertificateExpired, Side::Server) => {
            "it does not trust this side's certificate (`tls-cert=`): give it that of the authority, and the name that is in it"
        }
        (A::UnrecognisedName, Side::Client) => "`tls-name=NAME` says by which name the server goes",
        _ => "",
    }
}
