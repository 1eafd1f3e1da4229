//! PostgreSQL as the system has it, in a folder of its own and on a free port. It ends
//! with the process that started it, however that ends.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::OnceLock,
};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tempfile::TempDir;
use uuid::Uuid;

/// The password of the clusters' superuser.
const PASSWORD: &str = "swordfish";

/// Makes a cluster and serves it until its standard input ends. PostgreSQL refuses to be
/// root, so root becomes the user that the package brings.
const SERVE: &str = r#"
    set -eu
    if [ "$(id -u)" -eq 0 ]; then
        chown postgres "$1"
        as() { runuser -u postgres -- "$@"; }
    else
        as() { "$@"; }
    fi
    cd "$1"
    echo "$3" > password
    as "$2/initdb" --no-sync --username=postgres --pwfile=password --auth-local=trust \
        --auth-host=scram-sha-256 --locale=C.UTF-8 --encoding=UTF8 data >initdb.log 2>&1
    shift 3
    as "$PG/postgres" -D data -k "$PWD" "$@" >postgres.log 2>&1 &
    until [ -s data/postmaster.pid ] && grep -q ready data/postmaster.pid; do
        kill -0 $! || { cat postgres.log >&2; exit 1; }
        sleep 0.05
    done
    echo ready
    read -r _ || true
    as "$PG/pg_ctl" -D data -m immediate stop >/dev/null 2>&1 || true
    rm -rf "$PWD"
"#;

/// A running server.
pub struct Cluster {
    pub port: u16,
    pub directory: TempDir,
    supervisor: Child,
    /// The server ends when this does.
    _alive: Option<ChildStdin>,
}

impl Cluster {
    /// The one that tests share which do it no harm.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&[]))
    }

    /// Starts one, with further settings of the form `name=value`.
    pub fn start(settings: &[&str]) -> Self {
        let directory = tempfile::Builder::new().prefix("gateway-pg").tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let programs = programs();
        let mut serve = Command::new("sh");
        serve.args(["-c", SERVE, "postgres"]).arg(directory.path()).arg(&programs).arg(PASSWORD);
        let fixed = [
            format!("port={port}"),
            "listen_addresses=127.0.0.1".to_owned(),
            "max_connections=200".to_owned(),
            "shared_buffers=32MB".to_owned(),
        ];
        for setting in fixed.iter().map(String::as_str).chain(settings.iter().copied()) {
            serve.args(["-c", setting]);
        }
        serve.env("PG", &programs).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut supervisor = serve.spawn().unwrap();
        let mut said = String::new();
        BufReader::new(supervisor.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n", "PostgreSQL did not start");
        let alive = supervisor.stdin.take();
        Self { port, directory, supervisor, _alive: alive }
    }

    /// A URL of `database` for `role`, by TCP.
    pub fn url(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/{database}", self.port)
    }

    /// A connection of the superuser, by the socket.
    pub async fn admin(&self, database: &str) -> PgConnection {
        let folder = self.directory.path().display().to_string().replace('/', "%2F");
        let url = format!("postgres://postgres@{folder}:{}/{database}", self.port);
        PgConnection::connect(&url).await.unwrap()
    }

    /// A new, empty database.
    pub async fn database(&self) -> String {
        let name = format!("test_{}", Uuid::new_v4().simple());
        let mut admin = self.admin("postgres").await;
        admin.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
        name
    }

    /// A file with the superuser's password.
    pub fn password_file(&self) -> PathBuf {
        self.directory.path().join("password")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self._alive.take());
        let _ = self.supervisor.wait();
    }
}

/// Where the server's programs are. Debian has them beside each other by version.
pub fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|entry| entry.path()).max_by_key(|path| version(path));
    newest.map(|path| path.join("bin")).expect("PostgreSQL is missing: run `make setup`")
}
