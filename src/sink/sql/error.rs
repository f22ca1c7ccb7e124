//! What goes wrong with databases.

/// Why a database does not take what a sink writes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqlError {
    /// It refuses a statement, or whoever connects.
    #[error("the database refuses: {reason}")]
    Refused {
        /// Its reason.
        reason: String,
    },
    /// It could not be reached as the run began, or ended.
    #[error("the database cannot be reached: {reason}\n  hint: `wait=TIME` says how long it is waited for")]
    Unreachable {
        /// Why the last attempt failed.
        reason: String,
    },
    /// Another run writes the same table.
    #[error(
        "another run has taken over the table `{table}` (incarnation {incarnation}): nothing that this one does is written any more"
    )]
    TakenOver {
        /// The table.
        table: String,
        /// The number of the other run among those that have gone on from one another.
        incarnation: u64,
    },
    /// A table is there, and is another.
    #[error(
        "the table `{table}` is there, and is another than the view's: {difference}\n  \
         hint: drop it or rename it, or say `prefix=` for tables of another name"
    )]
    OtherTable {
        /// The table.
        table: String,
        /// What differs.
        difference: String,
    },
    /// The run goes on from an epoch that the table has not come to.
    #[error(
        "the run goes on from epoch {first}, and the table `{table}` {}: what lies between is no longer told\n  \
         hint: `mode=complete` writes all rows of the view", has.map_or("is new".to_owned(), |epoch| format!("has come to epoch {epoch}"))
    )]
    Behind {
        /// The table.
        table: String,
        /// The last epoch that it has.
        has: Option<u64>,
        /// The first that the run can show.
        first: u64,
    },
    /// Two views have tables of the same name.
    #[error("the views `{one}` and `{other}` would both have the table `{table}`")]
    SameTable {
        /// The table.
        table: String,
        /// One of the views.
        one: String,
        /// The other.
        other: String,
    },
    /// A table's name would be cut.
    #[error("the table `{name}` has a longer name than the database takes ({longest} bytes)")]
    LongName {
        /// The name.
        name: String,
        /// The longest one that there is.
        longest: usize,
    },
    /// Two rows of a view have the same key.
    #[error(
        "two rows for the table `{table}` have the same key ({key})\n  \
         hint: the dataflow calls these columns the key of the view: `.key([…])` names others"
    )]
    NoKey {
        /// The table.
        table: String,
        /// The columns of its key.
        key: String,
    },
    /// The password cannot be read.
    #[error("cannot read the password in {path}: {reason}")]
    PasswordFile {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {reason}")]
    Tls {
        /// Why, with the file.
        reason: String,
    },
    /// The system refuses something that the sink needs.
    #[error("cannot {what}: {reason}")]
    System {
        /// What was to be done.
        what: &'static str,
        /// The system's reason.
        reason: String,
    },
}
