//! Requests by what a table says of their clients: the lesson that loads data about an IP address.

use std::path::PathBuf;

use thalweg::prelude::*;

/// `enrich`.
#[derive(clap::Args)]
pub struct Enrich {
    /// the table: comma-separated values under a header
    #[arg(long, value_name = "FILE", default_value = "data/networks.csv")]
    table: PathBuf,
    /// the column that clients are looked up in
    #[arg(long, value_name = "COLUMN", default_value = "network")]
    key: String,
    /// what stands there: networks (10.0.0.0/8), or clients as the log has them (exact)
    #[arg(long, value_name = "FORM", default_value = "networks")]
    keys: LookupKeys,
    /// the column by which requests are counted
    #[arg(long, value_name = "COLUMN", default_value = "site")]
    column: String,
}

/// What clients are counted under that are not in the table.
const UNKNOWN: &[u8] = b"-";

impl Dataflow for Enrich {
    const NAME: &'static str = "enrich";

    const ABOUT: &'static str = "lines of an access log by what a table says of their clients";

    const VIEWS: &'static [View] = &[View {
        name: "requests",
        columns: &["value", "count", "bytes"],
        about: "lines and bytes by the value in --column, by count; `-` for clients that are not in the table",
    }];

    const SOURCE: &'static str = "file:data/access.log";

    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let Enrich { table: path, key, keys, column } = self;
        let table = flow.lookup(path, key, *keys)?;
        let column = table.column_of(column).ok_or_else(|| {
            let (path, known) = (path.display(), table.columns().join(", "));
            BuildError::new(format!("`--column {column}`: {path} has the columns {known}"))
        })?;
        let mut records = flow.records(AccessLog);
        let requests = records.totals_by::<Bytes, (isize, i128)>("requests", move |record, sums| {
            let row = table.get(record.client);
            let (count, bytes) = sums.entry(row.map_or(UNKNOWN, |row| row.column(column)));
            *count += 1;
            *bytes += i128::from(record.size.bytes().unwrap_or(0));
        });
        let requests = requests.map(|(value, (count, bytes))| (value, count, bytes));
        flow.view_by("requests", requests, |a, b| b.1.cmp(&a.1));
        Ok(())
    }
}
