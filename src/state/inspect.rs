//! What people want to know of the snapshots in a storage.

use std::io::{self, Write};

use serde_json::{Map, Number, Value};

use crate::data::{Column, ColumnType, Data};
use crate::state::disk::{Door, Line, Manifest, Part};
use crate::state::storage::Storage;
use crate::state::{StateError, Table};
use crate::time::Epoch;

/// A snapshot as `ls` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The name of its manifest.
    pub manifest: String,
    /// The first epoch that is not in it.
    pub frontier: Epoch,
    /// Its doors, in the order in which the dataflow has them.
    pub doors: Vec<DoorSummary>,
}

/// A door in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoorSummary {
    /// Its name.
    pub name: String,
    /// Rows of all of its files: those that were replaced since and those that were taken away count, too, until they
    /// are merged.
    pub rows: u64,
    /// Bytes of all of its files.
    pub bytes: u64,
    /// How many files it has.
    pub files: usize,
}

impl Summary {
    /// That of manifest `name`.
    pub fn of(name: &str, manifest: &Manifest) -> Self {
        let sum = |door: &Door, of: fn(&Part) -> u64| {
            door.parts().map(|(part, _)| of(part)).fold(0, u64::saturating_add)
        };
        let door = |door: &Door| DoorSummary {
            name: door.identity().name().to_owned(),
            rows: sum(door, |part| part.rows),
            bytes: sum(door, |part| part.bytes),
            files: door.parts().count(),
        };
        let doors = manifest.doors().iter().map(door).collect();
        Summary { manifest: name.to_owned(), frontier: manifest.frontier(), doors }
    }
}

/// The snapshots of `line`, the newest first: what each is, or what is wrong with its manifest. Files are not read.
///
/// # Errors
///
/// When the storage cannot be listed.
pub fn list(storage: &dyn Storage, line: &Line) -> Result<Vec<Result<Summary, StateError>>, StateError> {
    let summary = |name: String| Ok(Summary::of(&name, &Manifest::read(storage, &name)?));
    Ok(line.manifests(storage)?.into_iter().map(summary).collect())
}

/// All that is wrong with the snapshot whose manifest is `name`: every byte of every file is looked at. Nothing, if it
/// is whole.
pub fn verify(storage: &dyn Storage, name: &str) -> Vec<StateError> {
    match Manifest::read(storage, name) {
        Ok(manifest) => manifest.doors().iter().flat_map(|door| door.damage(storage)).collect(),
        Err(error) => vec![error],
    }
}

/// Writes the rows of `table` as JSON, one a line, with a member for each column: times in milliseconds since 1970,
/// bytes as text where they are UTF-8 and else as `{"hex":"…"}`, as are those that only the door can read.
///
/// # Errors
///
/// When `to` takes no more.
pub fn write_rows(table: &Table, to: &mut impl Write) -> io::Result<()> {
    let identity = table.identity();
    let key = identity.key().iter().zip(&table.rows.key);
    let columns: Vec<_> = key.chain(identity.value().iter().zip(&table.rows.value)).collect();
    for row in 0..table.len() {
        let cells = columns.iter().map(|(field, column)| (field.name.clone(), cell(column, row)));
        serde_json::to_writer(&mut *to, &cells.collect::<Map<_, _>>())?;
        to.write_all(b"\n")?;
    }
    Ok(())
}

fn cell(column: &Column, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match (column.data(), column.kind()) {
        (Data::Words(words), ColumnType::U64) => words[row].into(),
        (Data::Words(words), _) => (words[row] as i64).into(),
        // Beyond 64 bits JSON's readers have no numbers; text loses nothing.
        (Data::Wide(wide), _) => {
            let number = wide[row] as i128;
            Number::from_i128(number).map_or_else(|| number.to_string().into(), Value::Number)
        }
        (Data::Bits(bits), _) => bits[row].into(),
        (Data::Bytes { ends, bytes }, kind) => {
            let start = row.checked_sub(1).map_or(0, |before| ends[before]);
            let bytes = &bytes[start..ends[row]];
            match std::str::from_utf8(bytes) {
                Ok(text) if kind != ColumnType::Opaque => text.into(),
                _ => {
                    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                    Value::Object(Map::from_iter([("hex".to_owned(), hex.into())]))
                }
            }
        }
    }
}

/// The query by which DuckDB reads the rows of `door`, whose files are in `root`: a directory, or `s3://BUCKET/PREFIX`.
///
/// `None` if it has no row.
pub fn duckdb(root: &str, door: &Door) -> Option<String> {
    let text = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let name = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let root = root.trim_end_matches('/');
    let mut runs = Vec::new();
    for (at, (parts, is_table)) in door.files().enumerate() {
        let files: Vec<_> = parts.iter().map(|part| text(&format!("{root}/{}", part.name))).collect();
        let put = if is_table { ", true AS \"put\"" } else { "" };
        runs.push(format!("SELECT *, {at} AS \"run\"{put} FROM read_parquet([{}])", files.join(", ")));
    }
    if runs.is_empty() {
        return None;
    }
    let key: Vec<_> = door.identity().key().iter().map(|field| name(&field.name)).collect();
    let gone = door.gone_before().zip(door.identity().key().first());
    let left = gone.map_or_else(String::new, |(gone, field)| {
        format!(" WHERE epoch_ms({}) >= {gone}", name(&field.name))
    });
    // A key without columns has one row.
    let by = if key.is_empty() { String::new() } else { format!("PARTITION BY {} ", key.join(", ")) };
    Some(format!(
        "SELECT * EXCLUDE (\"put\", \"run\") FROM ({}){left} \
         QUALIFY row_number() OVER ({by}ORDER BY \"run\" DESC) = 1 AND \"put\"",
        runs.join(" UNION ALL BY NAME ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Bytes, RowWriter, Stored};
    use crate::state::Identity;
    use crate::time::Time;

    #[test]
    fn rows_are_json() {
        let identity = Identity::of::<(Time, Bytes), (u64, Option<i128>)>("a", "test");
        let mut table = Table::empty(identity);
        let rows = [(Time(-1), &b"a\"\n"[..], u64::MAX, Some(-5i128)), (Time(2), b"\xff\x00", 0, None)];
        for (time, name, number, wide) in rows {
            table.rows.puts.push(true);
            (time, Bytes::from(name)).put(&mut RowWriter::new(&mut table.rows.key));
            (number, wide).put(&mut RowWriter::new(&mut table.rows.value));
        }
        let mut lines = Vec::new();
        write_rows(&table, &mut lines).unwrap();
        assert_eq!(
            String::from_utf8(lines).unwrap(),
            "{\"key.0\":-1,\"key.1\":\"a\\\"\\n\",\"value.0\":18446744073709551615,\"value.1\":-5}\n\
             {\"key.0\":2,\"key.1\":{\"hex\":\"ff00\"},\"value.0\":0,\"value.1\":null}\n"
        );
    }
}
