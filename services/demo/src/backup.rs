//! The role `backup`: every entry on standard output.

use std::io::{self, Write};

use clap::Args;
use thiserror::Error;

use crate::database::{Database, DatabaseError, Entry, Place};
use crate::identity::Identity;

const PAGE: u16 = 1_000;

/// Options of `demo backup`.
#[derive(Args, Debug)]
pub struct Options {
    #[command(flatten)]
    identity: Identity,
    #[command(flatten)]
    database: Place,
}

/// Why a backup is not complete.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The database does not answer.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Whoever reads has gone.
    #[error("cannot write the backup to standard output: {0}; look at what reads it")]
    Output(#[from] io::Error),
}

/// Writes all entries.
///
/// # Errors
/// If not all of them could be read and written.
pub async fn run(options: &Options) -> Result<(), BackupError> {
    let database = Database::open(&options.database, &options.identity)?;
    let (mut after, mut entries) = (0, 0);
    loop {
        let page = database.read(after, PAGE).await?;
        let Some(last) = page.last() else { break };
        (after, entries) = (last.id, entries + page.len());
        write(&mut io::stdout().lock(), &page)?;
    }
    tracing::info!(entries, "the backup is complete");
    Ok(())
}

fn write(out: &mut impl Write, entries: &[Entry]) -> io::Result<()> {
    for entry in entries {
        serde_json::to_writer(&mut *out, entry)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_line() {
        let mut out = Vec::new();
        let text = "two\nlines".to_owned();
        write(&mut out, &[Entry { id: 7, text }]).unwrap();
        assert_eq!(out, b"{\"id\":7,\"text\":\"two\\nlines\"}\n");
    }
}
