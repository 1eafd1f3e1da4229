//! The command line, and the real binary for other tests.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use glacier_gateway::{
    config::{Accepted, StoreUrl},
    store::Kind,
};
use tempfile::TempDir;
use uuid::Uuid;

use crate::support::{PATIENCE, Place, close, entry, intend, on_both};

/// A configuration that names a store, for the real binary.
pub struct Installation {
    directory: TempDir,
}

/// What a command said, on both streams.
pub struct Said {
    pub success: bool,
    pub code: Option<i32>,
    pub told: String,
}

/// A gateway that runs.
pub struct Serving {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
    lines: Vec<String>,
}

impl Installation {
    pub fn of(place: &Place) -> Self {
        Self::with(place, "")
    }

    /// With further settings.
    pub fn with(place: &Place, more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().display();
        fs::create_dir_all(directory.path().join("policies/teams")).unwrap();
        fs::write(directory.path().join("keys.json"), r#"{"keys":[]}"#).unwrap();
        let settings = &place.settings;
        let url = match &settings.url {
            StoreUrl::Sqlite(path) => format!("sqlite:{}", path.display()),
            StoreUrl::Postgres(url) => url.to_string(),
            StoreUrl::None => "none".to_owned(),
        };
        let file = |key: &str, path: &Option<std::path::PathBuf>| {
            path.as_ref().map(|path| format!("{key} = {path:?}\n")).unwrap_or_default()
        };
        let accept = settings.accept.iter().map(|accepted| match accepted {
            Accepted::FsyncOff => "fsync-off",
            Accepted::SynchronousCommitOff => "synchronous-commit-off",
            Accepted::NetworkFileSystem => "network-file-system",
        });
        let accept: Vec<_> = accept.collect();
        let config = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nmanagement_listen = \"127.0.0.1:0\"\nworkers = 1\n\
             [aws]\nregion = \"eu-central-1\"\naccount_id = \"111122223333\"\n\
             [policy]\ndirectory = \"{folder}/policies\"\n\
             [issuers.corporate]\nissuer = \"https://login.example.com\"\n\
             audiences = [\"glacier-gateway\"]\njwks_file = \"{folder}/keys.json\"\n\
             [store]\nurl = {url:?}\naccept = {accept:?}\n{}{}{more}",
            file("ca_file", &settings.ca_file),
            file("password_file", &settings.password_file),
        );
        fs::write(directory.path().join("gateway.toml"), config).unwrap();
        Self { directory }
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_glacier-gateway"));
        command
            .args(words)
            .env("GATEWAY_CONFIG", self.directory.path().join("gateway.toml"))
            .env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, words: &[&str]) -> Said {
        Said::of(&mut self.command(words))
    }

    pub fn serve(&self) -> Serving {
        Serving::of(&mut self.command(&["serve"]))
    }
}

impl Said {
    pub fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        let told = [output.stdout, output.stderr].concat();
        let told = String::from_utf8(told).unwrap();
        Self { success: output.status.success(), code: output.status.code(), told }
    }
}

impl Serving {
    pub fn of(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Self { child, log, lines: Vec::new() }
    }

    /// Waits until it listens.
    pub fn listens(&mut self) {
        while !self.said("\"listening\"") {
            let mut line = String::new();
            let length = self.log.read_line(&mut line).unwrap();
            assert!(length > 0, "it has ended: {:#?}", self.lines);
            self.lines.push(line);
        }
    }

    pub fn said(&self, words: &str) -> bool {
        self.lines.iter().any(|line| line.contains(words))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

on_both! {
    async fn check_tells_the_facts_while_the_store_is_used(place: Place) {
        let installation = Installation::of(&place);
        let missing = installation.run(&["store", "check"]);
        assert!(!missing.success, "{}", missing.told);
        let migrated = installation.run(&["store", "migrate"]);
        assert!(migrated.success, "{}", migrated.told);
        let store = place.open().await;
        let event = intend(&store).await.unwrap();
        intend(&store).await.unwrap();
        let outcome = store.append(entry(event, Kind::Outcome, "aborted"));
        outcome.durable(PATIENCE).await.unwrap();
        let check = installation.run(&["store", "check"]);
        assert!(check.success, "{}", check.told);
        for fact in [", readable by 1 and later; this gateway knows ", "entries: 3\n", "open intents: 1\n"] {
            assert!(check.told.contains(fact), "{fact} is missing from {}", check.told);
        }
        close(&store).await;
    }
}

#[tokio::test]
async fn a_backup_is_whole_although_the_gateway_goes_on() {
    let place = Place::sqlite();
    let store = place.open().await;
    let first = intend(&store).await.unwrap();
    let writing = store.clone();
    let writing = std::thread::spawn(move || {
        (0..2000).all(|_| {
            std::thread::sleep(std::time::Duration::from_micros(100));
            writing.append_later(entry(Uuid::now_v7(), Kind::Event, "event"))
        })
    });
    let copy = Place::sqlite();
    let StoreUrl::Sqlite(file) = &copy.settings.url else { unreachable!() };
    let file = file.to_str().unwrap();
    let installation = Installation::of(&place);
    let made = installation.run(&["store", "backup", file]);
    assert!(made.success, "{}", made.told);
    assert!(writing.join().unwrap());
    close(&store).await;
    let rows = copy.rows().await;
    assert_eq!(rows[0].event, first);
    assert!(rows.iter().map(|row| row.position.index).eq(0..rows.len() as i64));
    assert_eq!(place.rows().await.len(), 2001);
    let store = copy.open().await;
    let pending = store.append(entry(first, Kind::Outcome, "aborted"));
    assert_eq!(pending.durable(PATIENCE).await.unwrap().index, rows.len() as i64);
    let again = installation.run(&["store", "backup", file]);
    assert!(!again.success && again.told.contains("exists"), "{}", again.told);
}

#[tokio::test]
async fn postgresql_is_backed_up_by_its_own_tools() {
    let said = Installation::of(&Place::postgres().await).run(&["store", "backup", "/tmp/copy"]);
    assert!(!said.success && said.told.contains("pg_dump"), "{}", said.told);
}

#[tokio::test]
async fn a_damaged_file_is_called_damaged() {
    let place = Place::sqlite();
    let store = place.open().await;
    for _ in 0..200 {
        store.append_later(entry(Uuid::now_v7(), Kind::Event, &"event".repeat(500)));
    }
    close(&store).await;
    store.finish(PATIENCE).await;
    drop(store);
    let StoreUrl::Sqlite(path) = &place.settings.url else { unreachable!() };
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 40_000].fill(0xff);
    fs::write(path, bytes).unwrap();
    let said = Installation::of(&place).run(&["store", "check"]);
    assert!(!said.success && said.told.contains("damaged"), "{}", said.told);
}

#[tokio::test]
async fn nothing_is_granted_to_everybody() {
    let place = Place::postgres().await;
    let installation = Installation::of(&place);
    for everybody in ["public", "PUBLIC"] {
        let said = installation.run(&["store", "migrate", "--grant-to", everybody]);
        assert!(!said.success && said.told.contains("every role"), "{}", said.told);
    }
    let granted: Vec<(i64,)> = sqlx::query_as(
        "SELECT count(*) FROM information_schema.role_table_grants \
         WHERE grantee = 'PUBLIC' AND table_schema = 'public'",
    )
    .fetch_all(&mut place.connection().await)
    .await
    .unwrap();
    assert_eq!(granted, [(0,)]);
}
