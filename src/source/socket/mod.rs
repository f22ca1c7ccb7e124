//! Lines from sockets: [`TcpSource`] connects to a server, [`TcpListenSource`] lets clients connect.
//!
//! A thread for each source has the system say which connections have something to read (`poller`); what is read, a worker reads
//! when it wants it (`reader`), so that a connection costs no thread, no queue and no copy of its own, and one that is not
//! read makes its peer wait. Bytes become lines in `incoming`.

mod accept;
mod address;
mod backoff;
mod connect;
mod incoming;
mod listen;
mod poller;
mod reader;

pub(crate) use backoff::Backoff;
pub use connect::TcpSource;
pub use listen::TcpListenSource;
