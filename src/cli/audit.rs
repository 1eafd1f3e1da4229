//! `audit`: the trail's keys, its verification and its export.

use std::{
    fs,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use secrecy::ExposeSecret;

use super::{
    Failure,
    config_file::{ConfigFile, settings},
};
use crate::{
    audit::{
        export::{self, LogFolder},
        log::{
            Checkpoint, CheckpointKeys, TrustedKeys, VerifierKey, accept_loss,
            read_checkpoint_file, rows,
        },
        verify::{Kept, LogReport, Report, verify_folder, verify_store},
    },
    config::Settings,
    files,
    store::Pool,
};

/// How many records are read from the store at once.
const AT_ONCE: u64 = 4096;
/// The most that a file of kept checkpoints may hold, in bytes: one a minute for a year.
const MOST_KEPT: u64 = 256 << 20;

/// What can be done with the audit trail.
#[derive(clap::Subcommand)]
pub(super) enum Chore {
    /// Make keys that sign the trail's checkpoints.
    #[command(subcommand)]
    Key(KeyChore),
    /// Print the verifier key of each log, by which others verify its checkpoints.
    Keys(ConfigFile),
    /// Verify the trail, and name the first record that is wrong.
    ///
    /// The exit code is 0 if everything holds, 1 if something is wrong or nothing vouches for
    /// the trail, and 2 if the trail could not be read to its end.
    Verify(Verify),
    /// Copy the trail out of the store.
    Export(Export),
    /// Begin a new log after the store was found to be older than a kept checkpoint.
    ///
    /// The new log's first record says what was lost.
    AcceptLoss(AcceptLoss),
}

/// What can be done with the keys.
#[derive(clap::Subcommand)]
pub(super) enum KeyChore {
    /// Print a new key: the one line of its file. Keep it secret.
    Create,
}

/// What is verified, and against what.
#[derive(clap::Args)]
pub(super) struct Verify {
    #[command(flatten)]
    file: ConfigFile,
    /// A folder: an export, or a log's folder of tiles. Without it, the store of the
    /// configuration.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// A file with checkpoints that were kept elsewhere. May be given several times.
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    /// A verifier key, as `audit keys` prints it; that of one month is good for all. May
    /// be given several times. Without it, the keys of the configuration.
    #[arg(long, value_name = "KEY")]
    key: Vec<VerifierKey>,
}

/// What is exported, and where to.
#[derive(clap::Args)]
pub(super) struct Export {
    #[command(flatten)]
    file: ConfigFile,
    /// Write a folder for each log, as C2SP's tlog-tiles has them. The folder must not
    /// exist yet.
    #[arg(long, value_name = "FOLDER")]
    tiles: Option<PathBuf>,
}

/// Which loss.
#[derive(clap::Args)]
pub(super) struct AcceptLoss {
    #[command(flatten)]
    file: ConfigFile,
    /// A file with checkpoints that were kept elsewhere, beside audit.checkpoint_file.
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
}

pub(super) fn run(chore: Chore) -> Result<(), Failure> {
    match chore {
        Chore::Key(KeyChore::Create) => {
            let key = CheckpointKeys::create().map_err(Failure::other)?;
            println!("{}", key.expose_secret());
            Ok(())
        }
        Chore::Keys(file) => asynchronous(keys(&settings(file.config.as_deref())?)),
        Chore::Verify(wanted) => asynchronous(verify(&wanted)),
        Chore::Export(wanted) => asynchronous(export(&wanted)),
        Chore::AcceptLoss(wanted) => asynchronous(accept(&wanted)),
    }
}

fn asynchronous(chore: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Failure::other)?.block_on(chore)
}

async fn store(settings: &Settings) -> Result<Pool, Failure> {
    Pool::beside(&settings.store).await.map_err(unread)?.ok_or_else(|| {
        Failure::configuration(
            "there is no store: name one in store.url, or a folder with --folder",
        )
    })
}

fn configured_keys(settings: &Settings) -> Result<CheckpointKeys, Failure> {
    CheckpointKeys::load(&settings.audit.key_files)
        .map_err(|error| Failure::configuration(error.to_string()))
}

/// The checkpoints in these files.
fn checkpoints(files: &[PathBuf]) -> Result<Vec<Kept>, Failure> {
    let mut kept = Vec::new();
    for path in files {
        let unusable =
            |reason: String| Failure::configuration(format!("{}: {reason}", path.display()));
        let text = files::read(path, MOST_KEPT).map_err(|error| unusable(error.to_string()))?;
        let text = String::from_utf8(text).map_err(|_| unusable("it is no text".to_owned()))?;
        let found = Checkpoint::parse_all(&text).map_err(|line| {
            unusable(format!("line {line} begins something that is no checkpoint"))
        })?;
        let from = path.display().to_string();
        kept.extend(found.into_iter().map(|checkpoint| Kept { checkpoint, from: from.clone() }));
    }
    Ok(kept)
}

/// The checkpoints in the file that the settings name, if there is one.
fn kept_by_settings(settings: &Settings) -> Result<Vec<Kept>, Failure> {
    let Some(path) = &settings.audit.checkpoint_file else { return Ok(Vec::new()) };
    let found = read_checkpoint_file(path).map_err(|error| {
        Failure::configuration(format!("audit.checkpoint_file: {}: {error}", path.display()))
    })?;
    let from = path.display().to_string();
    Ok(found.into_iter().map(|checkpoint| Kept { checkpoint, from: from.clone() }).collect())
}

async fn keys(settings: &Settings) -> Result<(), Failure> {
    let keys = configured_keys(settings)?;
    if keys.is_empty() {
        return Err(Failure::configuration(
            "there is no key: make one with `glacier-gateway audit key create`, and name its file \
             in audit.key_files",
        ));
    }
    for log in rows::logs(&store(settings).await?).await.map_err(unread)? {
        for (_, key) in keys.verifiers() {
            println!("{}", key.of_log(&log.origin));
        }
    }
    Ok(())
}

async fn verify(wanted: &Verify) -> Result<(), Failure> {
    let mut kept = checkpoints(&wanted.checkpoint)?;
    let mut keys = TrustedKeys(wanted.key.clone());
    let mut lacking = None;
    let report = if let Some(folder) = &wanted.folder {
        if wanted.file.config.is_some() && keys.0.is_empty() {
            keys = configured_keys(&settings(wanted.file.config.as_deref())?)?.trusted();
        }
        verify_folder(folder, &kept, trusted(&keys)).map_err(unread)?
    } else {
        let settings = settings(wanted.file.config.as_deref())?;
        kept.extend(kept_by_settings(&settings)?);
        if keys.0.is_empty() {
            keys = configured_keys(&settings)?.trusted();
        }
        let (pool, keep) = (store(&settings).await?, settings.audit.keep);
        let report = verify_store(&pool, &kept, trusted(&keys), keep).await.map_err(unread)?;
        let is_vouched = report.logs.iter().any(|log| log.vouched > 0);
        if !keys.0.is_empty() && is_vouched && !keeps_any(&settings).await? {
            lacking = settings.audit.checkpoint_file;
        }
        report
    };
    tell(&report, &keys, lacking.as_deref())
}

/// Whether the file that the settings name keeps a checkpoint. The gateway writes it right
/// after it has stored the first one.
async fn keeps_any(settings: &Settings) -> Result<bool, Failure> {
    if kept_by_settings(settings)?.is_empty() && settings.audit.checkpoint_file.is_some() {
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    Ok(settings.audit.checkpoint_file.is_none() || !kept_by_settings(settings)?.is_empty())
}

fn trusted(keys: &TrustedKeys) -> Option<&TrustedKeys> {
    (!keys.0.is_empty()).then_some(keys)
}

/// Prints what was found. `lacking` is a file that ought to keep checkpoints and does not.
fn tell(report: &Report, keys: &TrustedKeys, lacking: Option<&Path>) -> Result<(), Failure> {
    for LogReport { origin, size, vouched, dropped, losses, .. } in &report.logs {
        if *dropped {
            println!("{origin}: {size} records, dropped by retention");
        } else {
            println!("{origin}: {size} records, of which a checkpoint vouches for {vouched}");
        }
        losses.iter().for_each(|loss| println!("{origin}: accepted loss: {loss}"));
    }
    if report.under_way > 0 {
        println!("Changes without an outcome so far: {}.", report.under_way);
    }
    if keys.0.is_empty() {
        println!(
            "No signature was verified, for want of a key. Whoever can write the trail can make \
             checkpoints without a signature to fit: name a verifier key with --key."
        );
    }
    let wrong: Vec<String> = report.wrong().map(ToString::to_string).collect();
    let in_vain = |message: String| Err(Failure { message, code: 1 });
    match (wrong.split_first(), lacking) {
        (None, _) if report.records() == 0 => {
            in_vain("The trail is empty: nothing was verified.".to_owned())
        }
        (None, Some(file)) => in_vain(format!(
            "The records hold in themselves, but audit.checkpoint_file is missing or empty: {}. \
             Without it an older copy of the store looks whole",
            file.display()
        )),
        (None, None) => {
            println!("{} records: the trail holds.", report.records());
            Ok(())
        }
        (Some((first, more)), _) => {
            let mut message = format!("The trail does not hold. First: {first}");
            more.iter().for_each(|wrong| message.push_str(&format!("\nAlso: {wrong}")));
            Err(Failure { message, code: 1 })
        }
    }
}

/// The trail could not be read to its end.
fn unread(error: impl std::fmt::Display) -> Failure {
    Failure { message: error.to_string(), code: 2 }
}

async fn export(wanted: &Export) -> Result<(), Failure> {
    let settings = settings(wanted.file.config.as_deref())?;
    let pool = store(&settings).await?;
    match &wanted.tiles {
        Some(folder) => export_tiles(&pool, folder).await,
        None => export_lines(&pool).await,
    }
}

/// Every record on a line, from the oldest.
async fn export_lines(pool: &Pool) -> Result<(), Failure> {
    let logs = rows::logs(pool).await.map_err(unread)?;
    let mut out = BufWriter::new(io::stdout().lock());
    for log in logs.iter().filter(|log| !log.dropped) {
        each_record(pool, log.log, log.records, |entry| {
            out.write_all(entry)?;
            out.write_all(b"\n")
        })
        .await?;
    }
    out.flush().map_err(unread)
}

/// Each log as far as a checkpoint vouches for it.
async fn export_tiles(pool: &Pool, folder: &Path) -> Result<(), Failure> {
    let logs = rows::logs(pool).await.map_err(unread)?;
    let named = |error: io::Error| unread(format!("{}: {error}", folder.display()));
    fs::create_dir(folder).map_err(named)?;
    for log in logs {
        let Some(checkpoint) = &log.checkpoint else {
            println!("{}: left out, for want of a checkpoint", log.origin);
            continue;
        };
        let path = folder.join(log.name());
        if log.dropped {
            export::write_dropped(&path, checkpoint).map_err(named)?;
            println!("{}: only its checkpoint; retention dropped its records", log.origin);
            continue;
        }
        let mut files = LogFolder::create(&path).map_err(named)?;
        each_record(pool, log.log, checkpoint.size, |entry| files.push(entry)).await?;
        files.finish(checkpoint).map_err(unread)?;
        println!("{}: {} records", log.origin, checkpoint.size);
    }
    Ok(())
}

async fn each_record(
    pool: &Pool,
    log: i64,
    size: u64,
    mut tell: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), Failure> {
    for from in (0..size).step_by(AT_ONCE as usize) {
        let to = size.min(from + AT_ONCE);
        for record in rows::records(pool, log, from, to).await.map_err(unread)? {
            tell(&record.entry).map_err(unread)?;
        }
    }
    Ok(())
}

async fn accept(wanted: &AcceptLoss) -> Result<(), Failure> {
    let settings = settings(wanted.file.config.as_deref())?;
    let mut kept = checkpoints(&wanted.checkpoint)?;
    let keys = configured_keys(&settings)?.trusted();
    for Kept { checkpoint, from } in &kept {
        checkpoint.verify(&keys).map_err(|error| {
            Failure::configuration(format!(
                "{from}: the checkpoint of {}: {error}",
                checkpoint.origin
            ))
        })?;
    }
    for found in kept_by_settings(&settings)? {
        match found.checkpoint.verify(&keys) {
            Ok(()) => kept.push(found),
            Err(error) => {
                let Checkpoint { origin, size, .. } = found.checkpoint;
                println!("Ignored: {}: {origin} with {size} records: {error}.", found.from);
            }
        }
    }
    let pool = store(&settings).await?;
    let prefix = match &settings.audit.origin {
        Some(origin) => origin.clone(),
        None => rows::store_id(&pool).await.map_err(unread)?,
    };
    let kept: Vec<Checkpoint> = kept.into_iter().map(|kept| kept.checkpoint).collect();
    let accepted = accept_loss(&pool, &prefix, &kept, &keys).await.map_err(Failure::other)?;
    for lost in &accepted.lost {
        println!("Lost: records of {}, which had {} records.", lost.origin, lost.size);
    }
    println!("Left: {} records of {}.", accepted.left, accepted.before);
    println!("The log {} begins, and says so in its first record.", accepted.origin);
    Ok(())
}
