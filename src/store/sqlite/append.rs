//! Appends to the trail's log in an SQLite file.

use std::{cell::Cell, collections::HashSet, sync::Arc, time::Duration};

use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior, params};

use super::{
    super::{
        append::{Append, Kind, Position},
        error::StoreError,
    },
    Sqlite, connect,
    copier::Copier,
    copy,
};

/// Moves the head on, over events of these times; of outcomes alone they are null.
const HEAD: &str = "\
    UPDATE audit_head SET next = ?1, \
        earliest = coalesce(min(earliest, ?2), ?2, earliest), \
        latest = coalesce(max(latest, ?3), ?3, latest), \
        disorder = coalesce(max(disorder, max(coalesce(latest, ?3), ?3) - ?2), disorder)";

/// How many pages the write-ahead log has when they are copied into the file.
const MUCH: i32 = 1000;

thread_local! {
    /// How many pages the write-ahead log had after the writer's last commit.
    static LOGGED: Cell<i32> = const { Cell::new(0) };
}

/// What the writer writes with.
pub(in crate::store) struct Appender {
    file: Arc<Sqlite>,
    connection: Connection,
    copier: Copier,
    replica: String,
}

impl Appender {
    pub fn new(file: Arc<Sqlite>, replica: String) -> Result<Self, StoreError> {
        file.check()?;
        let connection = connect(&file.path, OpenFlags::empty())?;
        connection.wal_hook(Some(|_, pages| {
            LOGGED.set(pages);
            Ok(())
        }));
        let copier = Copier::start(&file)?;
        Ok(Self { file, connection, copier, replica })
    }

    /// Has what the write-ahead log holds copied into the file once that is much. What was
    /// committed meanwhile is little, and is copied here, so that the log begins anew. If
    /// somebody reads, more may be left, which waits for the next time.
    pub fn checkpoint(&mut self) -> Result<(), StoreError> {
        match self.copier.left()? {
            Some(left) if left < i64::from(MUCH) => {
                copy(&self.connection)?;
            }
            None if self.copier.is_busy() => {}
            _ if LOGGED.get() >= MUCH => self.copier.copy(),
            _ => {}
        }
        Ok(())
    }

    /// Waits until nothing is copied any more, but no longer than `limit`.
    pub fn finish(&mut self, limit: Duration) -> Result<(), StoreError> {
        self.copier.finish(limit)
    }

    pub fn commit(&mut self, entries: &[Append]) -> Result<Vec<Option<Position>>, StoreError> {
        self.file.check()?;
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut positions = Vec::with_capacity(entries.len());
        {
            let mut head = transaction.prepare_cached("SELECT log, next FROM audit_head")?;
            let (log, mut next): (i64, i64) =
                head.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let mut times: Option<(i64, i64)> = None;
            let mut close =
                transaction.prepare_cached("DELETE FROM audit_open WHERE event = ?1")?;
            let mut open =
                transaction.prepare_cached("INSERT INTO audit_open VALUES (?1, ?2, ?3)")?;
            let mut insert = transaction
                .prepare_cached("INSERT INTO audit_entry VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
            for Append { event, at, kind, teams, entry, leaf } in entries {
                let position = Position { log, index: next };
                match kind {
                    Kind::Outcome if close.execute([event.as_bytes()])? == 0 => {
                        positions.push(None);
                        continue;
                    }
                    Kind::Intent => {
                        open.execute(params![event.as_bytes(), self.replica, position.to_i64()])?;
                    }
                    _ => {}
                }
                let number = *kind as i16;
                let row =
                    params![position.to_i64(), at, event.as_bytes(), number, teams, leaf, entry];
                insert.execute(row)?;
                positions.push(Some(position));
                next += 1;
                if !matches!(kind, Kind::Outcome | Kind::LateOutcome) {
                    let (earliest, latest) = times.unwrap_or((*at, *at));
                    times = Some((earliest.min(*at), latest.max(*at)));
                }
            }
            let (earliest, latest) = times.unzip();
            transaction.prepare_cached(HEAD)?.execute(params![next, earliest, latest])?;
        }
        transaction.commit()?;
        Ok(positions)
    }

    pub fn present(&mut self, entries: &[Append], since: i64) -> Result<Vec<bool>, StoreError> {
        let mut recent = self
            .connection
            .prepare_cached("SELECT event, kind FROM audit_entry WHERE position >= ?1")?;
        let recent = recent.query_map([since], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let recent: HashSet<([u8; 16], i16)> = recent.collect::<Result<_, _>>()?;
        let is_present =
            |entry: &Append| recent.contains(&(entry.event.into_bytes(), entry.kind as i16));
        Ok(entries.iter().map(is_present).collect())
    }

    pub fn head(&mut self) -> Result<i64, StoreError> {
        self.file.check()?;
        let mut head = self.connection.prepare_cached("SELECT log, next FROM audit_head")?;
        let head = head.query_row([], |row| Ok(Position { log: row.get(0)?, index: row.get(1)? }));
        Ok(head.optional()?.map_or(0, Position::to_i64))
    }
}
