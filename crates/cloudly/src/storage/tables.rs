//! All tables of Cloudly as both engines have them, row by row: for backups. What a table has is read from the database,
//! so a new column needs nothing here.

use super::columns::text;
use super::connection::{Connection, Error, Result};
use super::engine::Engine;
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};
use std::collections::BTreeMap;

/// The table that says which version the schema has; the migrations fill it.
pub(super) const SCHEMA: &str = "cloudly_schema";
/// Rows in one statement at most.
const BATCH: usize = 200;
/// Parameters in one statement at most: SQLite allows 32,766.
const PARAMETERS: usize = 30_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) columns: Vec<Column>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    is_text: bool,
}

/// What stands in one column of one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Cell {
    Number(i64),
    Text(String),
    Null(()),
}

impl Table {
    fn column_names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str())
    }

    /// The same with its columns in this order; `None`: it has others.
    pub(crate) fn in_order(&self, names: &[String]) -> Option<Self> {
        let column = |name: &String| self.columns.iter().find(|column| column.name == *name);
        let columns = names.iter().map(|name| column(name).cloned());
        let columns = columns.collect::<Option<Vec<_>>>()?;
        (columns.len() == self.columns.len()).then(|| Self {
            name: self.name.clone(),
            columns,
        })
    }

    fn has(&self, column: &str) -> bool {
        self.column_names().any(|name| name == column)
    }

    /// Its columns for a statement. Names are of the database's own catalogue, and quoted.
    fn list(&self) -> String {
        let names: Vec<_> = self.column_names().map(quoted).collect();
        names.join(", ")
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The tables with rows, by their names; none in a new database.
pub(super) async fn list(c: &mut Connection) -> Result<Vec<Table>> {
    let rows = sqlx::query(Engine::of(c).columns()).fetch_all(c).await?;
    let mut tables = BTreeMap::<String, Vec<Column>>::new();
    for row in &rows {
        let column = Column {
            name: row.try_get(1)?,
            is_text: row.try_get::<&str, _>(2)? == "text",
        };
        tables.entry(row.try_get(0)?).or_default().push(column);
    }
    tables.remove(SCHEMA);
    let table = |(name, columns)| Table { name, columns };
    Ok(tables.into_iter().map(table).collect())
}

/// The fingerprint of the pepper that a database was made with; `None`: no server has used it.
pub(super) async fn pepper_fingerprint(c: &mut Connection) -> Result<Option<String>> {
    let value = sqlx::query_scalar("SELECT value FROM meta WHERE name = 'pepper'");
    Ok(value.fetch_optional(c).await?)
}

pub(super) async fn count(c: &mut Connection, table: &Table) -> Result<u64> {
    let sql = format!("SELECT COUNT(*) FROM {}", quoted(&table.name));
    let count: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(c).await?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// The statement for all rows of a table, in the order of its first column, which begins its primary key.
pub(super) fn select(table: &Table) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!(
        "SELECT {} FROM {} ORDER BY 1",
        table.list(),
        quoted(&table.name)
    ))
}

pub(super) fn cells(table: &Table, row: &AnyRow) -> Result<Vec<Cell>> {
    let cell = |(at, column): (usize, &Column)| {
        let cell = if column.is_text {
            row.try_get::<Option<String>, _>(at)?.map(Cell::Text)
        } else {
            row.try_get::<Option<i64>, _>(at)?.map(Cell::Number)
        };
        Ok(cell.unwrap_or(Cell::Null(())))
    };
    table.columns.iter().enumerate().map(cell).collect()
}

/// Inserts rows, each with a cell for each column.
pub(super) async fn insert(c: &mut Connection, table: &Table, rows: &[Vec<Cell>]) -> Result<()> {
    let width = table.columns.len().max(1);
    for batch in rows.chunks(BATCH.min(PARAMETERS / width).max(1)) {
        let values: Vec<_> = (0..batch.len()).map(|row| placeholders(row, width)).collect();
        let sql = format!(
            "INSERT INTO {} ({}) VALUES {}",
            quoted(&table.name),
            table.list(),
            values.join(", ")
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for row in batch {
            for (cell, column) in row.iter().zip(&table.columns) {
                query = match (cell, column.is_text) {
                    (Cell::Text(value), true) => query.bind(text(value)),
                    (Cell::Number(value), false) => query.bind(*value),
                    (Cell::Null(()), true) => query.bind(None::<String>),
                    (Cell::Null(()), false) => query.bind(None::<i64>),
                    (Cell::Text(_), false) | (Cell::Number(_), true) => {
                        let wrong = format!("{}.{} holds a value of another type", table.name, column.name);
                        return Err(Error::Sql(sqlx::Error::Encode(wrong.into())));
                    }
                };
            }
        }
        query.execute(&mut *c).await?;
    }
    Ok(())
}

/// `($4, $5, $6)` for the row with index 1 of three columns.
fn placeholders(row: usize, width: usize) -> String {
    let numbers: Vec<_> = (1..=width).map(|at| format!("${}", row * width + at)).collect();
    format!("({})", numbers.join(", "))
}

/// Removes what the migrations have put into a table.
pub(super) async fn clear(c: &mut Connection, table: &Table) -> Result<()> {
    if count(c, table).await? > 0 {
        let sql = format!("DELETE FROM {}", quoted(&table.name));
        sqlx::query(AssertSqlSafe(sql)).execute(c).await?;
    }
    Ok(())
}

/// Lets the numbers of new rows go on after the highest one. SQLite does so by itself.
pub(super) async fn continue_sequences(c: &mut Connection, tables: &[Table]) -> Result<()> {
    if Engine::of(c) == Engine::Sqlite {
        return Ok(());
    }
    for table in tables.iter().filter(|table| table.has("sequence")) {
        let name = quoted(&table.name);
        let sql = format!(
            "SELECT setval(pg_get_serial_sequence('{name}', 'sequence'),
                 (SELECT COALESCE(MAX(sequence), 0) + 1 FROM {name}), false)"
        );
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *c).await?;
    }
    Ok(())
}

/// Removes every table with what it holds, for a restore that takes their place.
pub(super) async fn drop_all(c: &mut Connection, tables: &[Table]) -> Result<()> {
    let names = tables.iter().map(|table| table.name.as_str());
    for name in names.chain([SCHEMA]) {
        let sql = format!("DROP TABLE {}", quoted(name));
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *c).await?;
    }
    sqlx::query("DROP FUNCTION IF EXISTS refuse_change()")
        .execute(c)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_written_as_what_it_is_and_reads_back() {
        for (cell, json) in [
            (Cell::Number(i64::MIN), "-9223372036854775808"),
            (Cell::Text("5\"\n".into()), r#""5\"\n""#),
            (Cell::Null(()), "null"),
        ] {
            assert_eq!(serde_json::to_string(&cell).unwrap(), json);
            assert_eq!(serde_json::from_str::<Cell>(json).unwrap(), cell);
        }
        for other in ["1.5", "true", "[]", "9223372036854775808"] {
            assert!(serde_json::from_str::<Cell>(other).is_err(), "{other}");
        }
    }
}
