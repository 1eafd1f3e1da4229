//! PgBouncer in front of PostgreSQL, pooling transactions.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Stdio},
};

use glacier_gateway::{
    config::StoreUrl,
    store::{Kind, StoreError},
};
use sqlx::{ConnectOptions, Executor, PgConnection, Row, postgres::PgConnectOptions};
use tempfile::TempDir;
use uuid::Uuid;

use crate::{
    cluster::Cluster,
    commands::Installation,
    support::{PATIENCE, Place, close, entry, intend, until},
};

/// Debian's, unless another is named.
fn program() -> String {
    std::env::var("PGBOUNCER").unwrap_or_else(|_| "/usr/sbin/pgbouncer".to_owned())
}

/// How many connections a pooler of transactions has to the server.
const SERVERS: usize = 3;

struct PgBouncer {
    port: u16,
    child: Child,
    _directory: TempDir,
}

impl PgBouncer {
    /// Starts it before the shared cluster.
    async fn start(mode: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let sockets = Cluster::shared().directory.path().display();
        let server = Cluster::shared().port;
        // So few that connections take turns, if they can.
        let size = if mode == "transaction" { SERVERS } else { 20 };
        let prepared = if is_new() { "max_prepared_statements = 100\n" } else { "" };
        let config = format!(
            "[databases]\n* = host={sockets} port={server}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = {mode}\ndefault_pool_size = {size}\n{prepared}"
        );
        // With this kind of authentication the user is the one that the database has.
        let config = config.replace("[pgbouncer]", "[pgbouncer]\nlogfile = /dev/null");
        let config = config.replace(" port=", " user=postgres port=");
        let file = directory.path().join("pgbouncer.ini");
        fs::write(&file, config).unwrap();
        // It refuses to be root as well.
        let is_root = rustix::process::geteuid().is_root();
        let mut command = Command::new(if is_root { "runuser".to_owned() } else { program() });
        if is_root {
            command.args(["-u", "postgres", "--"]).arg(program());
        }
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let child = command.arg("--quiet").arg(file).spawn().unwrap();
        until("PgBouncer", async || TcpStream::connect(("127.0.0.1", port)).is_ok()).await;
        Self { port, child, _directory: directory }
    }
}

impl PgBouncer {
    /// A client that is not a gateway.
    async fn connect(&self, place: &Place) -> PgConnection {
        let StoreUrl::Postgres(url) = &place.settings.url else { unreachable!() };
        // PgBouncer refuses the one that sqlx sends otherwise.
        let options = PgConnectOptions::from_url(url).unwrap().extra_float_digits(None);
        options.port(self.port).connect().await.unwrap()
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let process = self.child.id().to_string();
        let _ = Command::new("kill").args(["-s", "TERM", &process]).status();
        let _ = self.child.wait();
    }
}

/// Whether it knows prepared statements.
fn is_new() -> bool {
    let output = Command::new(program()).arg("--version").output().expect("run `make setup`");
    let said = String::from_utf8(output.stdout).unwrap();
    let version = said.split_whitespace().nth(1).unwrap();
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap());
    (numbers.next(), numbers.next()) >= (Some(1), Some(21))
}

/// Several connections at once, through the writer and beside it.
async fn works(pooler: &PgBouncer) -> Result<(), StoreError> {
    let place = Place::postgres().await;
    let through = place.through(pooler.port);
    let (one, two) = (through.try_open().await?, through.try_open().await?);
    for store in [&one, &two] {
        place.begin_log().await;
        intend(store).await.unwrap();
    }
    let length = PATIENCE;
    for n in 0..50 {
        let (event, other) = (Uuid::now_v7(), Uuid::now_v7());
        let appended = tokio::join!(
            one.append(entry(event, Kind::Intent, "intent")).durable(length),
            two.append(entry(other, Kind::Intent, "intent")).durable(length),
        );
        assert!(appended.0.is_ok() && appended.1.is_ok());
        one.append_later(entry(event, Kind::Outcome, "aborted"));
        two.append_later(entry(other, Kind::Outcome, "aborted"));
        let leases = tokio::join!(one.lease("a", length), two.lease("b", length));
        assert!(leases.0?.is_some() && leases.1?.is_some(), "{n}");
    }
    close(&one).await;
    close(&two).await;
    assert_eq!(place.open_intents().await.len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_pooler_of_transactions_serves_if_it_knows_prepared_statements_and_is_else_refused() {
    let pooler = PgBouncer::start("transaction").await;
    match works(&pooler).await {
        Ok(()) => assert!(is_new()),
        Err(error) => {
            assert!(!is_new(), "{error}");
            assert!(error.to_string().contains("PgBouncer 1.21"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_pooler_of_sessions_serves() {
    let pooler = PgBouncer::start("session").await;
    works(&pooler).await.unwrap();
}

/// Others get the same connections.
#[tokio::test]
async fn a_gateway_leaves_no_setting_in_a_pooler_of_transactions() {
    let pooler = PgBouncer::start("transaction").await;
    let place = Place::postgres().await;
    let through = place.through(pooler.port);
    assert_eq!(through.try_open().await.is_ok(), is_new());
    // All of the pooler's connections at once.
    let mut clients = Vec::new();
    for _ in 0..SERVERS {
        let mut client = pooler.connect(&place).await;
        client.execute("BEGIN").await.unwrap();
        let setting = client.fetch_one(sqlx::raw_sql("SHOW lock_timeout")).await.unwrap();
        assert_eq!(setting.get::<String, _>(0), "0");
        clients.push(client);
    }
}

#[tokio::test]
async fn limits_are_set_or_their_lack_is_told() {
    let pooler = PgBouncer::start("session").await;
    let place = Place::postgres().await;
    assert!(Installation::of(&place).run(&["store", "migrate"]).success);
    let advice = "SET lock_timeout = '5s'";
    let pooled = Installation::of(&place.through(pooler.port)).run(&["store", "check"]);
    assert!(pooled.success && pooled.told.contains(advice), "{}", pooled.told);
    let direct = Installation::of(&place).run(&["store", "check"]);
    assert!(direct.success && !direct.told.contains(advice), "{}", direct.told);
}
