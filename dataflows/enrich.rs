//! Requests by what a table says of their clients: the lesson that loads data about an IP address.

use std::path::PathBuf;

use thalweg::prelude::*;

/// lines of an access log by what a table says of their clients
#[derive(clap::Args)]
pub struct Enrich {
    #[command(flatten)]
    log: AccessLogOptions,
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

impl Dataflow for Enrich {
    const NAME: &'static str = "enrich";
    const SOURCE: &'static str = "file:data/access.log";

    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let Enrich { log, table: path, key, keys, column } = self;
        let table = flow.lookup(path, key, *keys)?;
        let column = table.column_of(column).ok_or_else(|| {
            let known = table.columns().join(", ");
            BuildError::new(format!("`--column {column}`: {} has the columns {known}", path.display()))
        })?;
        let log = flow.records(log.format());
        let values = log.by_each(text("value"), move |record, each| {
            let row = record.client().and_then(|client| table.get(client));
            each(row.map_or(b"-", |row| row.column(column)));
        });
        let requests = values.aggregate("requests", |all| {
            all.count("count").sum("bytes", |record| Some(record.size().bytes().unwrap_or(0)))
        });
        let about =
            "lines and bytes by the value in --column, by count; `-` for clients that are not in the table";
        requests.sorted_by(by_count).about(about).show("requests");
        Ok(())
    }
}
