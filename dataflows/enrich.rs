//! Requests by what a table says of their clients: the lesson that loads data about an IP address.

use thalweg::prelude::*;

/// `enrich`.
pub struct Enrich;

const TABLE: Opt = Opt {
    name: "table",
    value: "FILE",
    default: "data/networks.csv",
    about: "the table: comma-separated values under a header",
};
const KEY: Opt = Opt {
    name: "key",
    value: "COLUMN",
    default: "network",
    about: "the column that clients are looked up in",
};
const KEYS: Opt = Opt {
    name: "keys",
    value: "FORM",
    default: "networks",
    about: "what stands there: networks (10.0.0.0/8), or clients as the log has them (exact)",
};
const COLUMN: Opt = Opt {
    name: "column",
    value: "COLUMN",
    default: "site",
    about: "the column by which requests are counted",
};

/// What clients are counted under that are not in the table.
const UNKNOWN: &[u8] = b"-";

impl Dataflow for Enrich {
    fn name(&self) -> &'static str {
        "enrich"
    }

    fn about(&self) -> &'static str {
        "lines of an access log by what a table says of their clients"
    }

    fn views(&self) -> &'static [View] {
        &[View {
            name: "requests",
            columns: &["value", "count", "bytes"],
            about: "lines and bytes by the value in --column, by count; `-` for clients that are not in the table",
        }]
    }

    fn options(&self) -> &'static [Opt] {
        &[TABLE, KEY, KEYS, COLUMN]
    }

    fn default_source(&self) -> &'static str {
        "file:data/access.log"
    }

    fn prepare(&self, options: &Options) -> Result<Build, OptionError> {
        let path = options.text(TABLE.name);
        let keys = options.get::<LookupKeys>(KEYS.name)?;
        let table = Lookup::read(path, options.text(KEY.name), keys)
            .map_err(|error| OptionError::new(TABLE.name, path, error))?;
        let column = table.column_of(options.text(COLUMN.name)).ok_or_else(|| {
            let known = table.columns().join(", ");
            OptionError::new(
                COLUMN.name,
                options.text(COLUMN.name),
                format!("{path} has the columns {known}"),
            )
        })?;
        let digest = table.digest();
        let build = Build::new(move |flow| {
            let table = table.clone();
            let mut records = flow.records(AccessLog);
            let requests = records.totals_by::<Bytes, (isize, i128)>("requests", move |record, sums| {
                let row = table.get(record.client);
                let (count, bytes) = sums.entry(row.map_or(UNKNOWN, |row| row.column(column)));
                *count += 1;
                *bytes += i128::from(record.size.bytes().unwrap_or(0));
            });
            let requests = requests.map(|(value, (count, bytes))| (value, count, bytes));
            flow.view_by("requests", requests, |a, b| b.1.cmp(&a.1));
        });
        Ok(build.reading(&digest))
    }
}
