//! PostgreSQL as the system has it, in a folder of its own and on a free port. It ends
//! with the process that started it, however that ends.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::OnceLock,
};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tempfile::TempDir;
use uuid::Uuid;

/// The password of the clusters' superuser.
const PASSWORD: &str = "swordfish";

/// Makes a cluster and serves it until its standard input ends. Each line there says `stop`
/// (at once, as in a crash), `start`, or a signal for all of the server's processes; each is
/// answered by `done`. PostgreSQL refuses to be root, so root becomes the user that the
/// package brings.
const SERVE: &str = r#"
    set -eu
    folder=$1 programs=$2 password=$3
    shift 3
    if [ "$(id -u)" -eq 0 ]; then
        chown postgres "$folder"
        as() { runuser -u postgres -- "$@"; }
    else
        as() { "$@"; }
    fi
    cd "$folder"
    echo "$password" > password
    as "$programs/initdb" --no-sync --username=postgres --pwfile=password --auth-local=trust \
        --auth-host=scram-sha-256 --locale=C.UTF-8 --encoding=UTF8 data >initdb.log 2>&1
    for setting in "port=$PORT" listen_addresses=127.0.0.1 "unix_socket_directories=$PWD" \
        max_connections=200 shared_buffers=32MB "$@"
    do
        echo "${setting%%=*} = '${setting#*=}'" >> data/postgresql.conf
    done
    # After a kill the memory of the last one is in use for a moment.
    start() {
        for _ in 1 2 3 4 5 6 7 8 9 10; do
            if as "$programs/pg_ctl" -D data -l data/log -w start >/dev/null 2>&1; then return; fi
            sleep 0.5
        done
        cat data/log >&2
        exit 1
    }
    every() { echo $(head -1 data/postmaster.pid) $(pgrep -P $(head -1 data/postmaster.pid)); }
    start
    echo done
    while read -r word; do
        case $word in
            stop) as "$programs/pg_ctl" -D data -m immediate stop >/dev/null ;;
            start) start ;;
            # Some may end meanwhile.
            *) kill -s "$word" $(every) || true ;;
        esac
        echo done
    done
    if [ -s data/postmaster.pid ]; then
        kill -s CONT $(every) || true
        as "$programs/pg_ctl" -D data -m immediate stop >/dev/null || true
    fi
    rm -rf "$folder"
"#;

/// A running server.
pub struct Cluster {
    pub port: u16,
    pub directory: TempDir,
    supervisor: Child,
    /// The server ends when this does.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
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
        serve.args(["-c", SERVE, "postgres"]).arg(directory.path()).args([&programs, PASSWORD]);
        serve.args(settings).env("PORT", port.to_string());
        let mut supervisor = serve.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let orders = supervisor.stdin.take();
        let answers = BufReader::new(supervisor.stdout.take().unwrap());
        let mut cluster = Self { port, directory, supervisor, orders, answers };
        cluster.is_done();
        cluster
    }

    /// Lets the server speak TLS.
    pub async fn use_certificate(&mut self, certificate: &str, key: &str) {
        let folder = self.directory.path().join("data");
        fs::write(folder.join("server.crt"), certificate).unwrap();
        let key_file = folder.join("server.key");
        fs::write(&key_file, key).unwrap();
        let owner = fs::metadata(&folder).unwrap();
        std::os::unix::fs::chown(&key_file, Some(owner.uid()), Some(owner.gid())).unwrap();
        fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600)).unwrap();
        let mut admin = self.admin("postgres").await;
        admin.execute("ALTER SYSTEM SET ssl = on").await.unwrap();
        self.stop();
        self.resume();
    }

    /// Stops the server as a crash does.
    pub fn stop(&mut self) {
        self.order("stop");
    }

    /// Starts the server again.
    pub fn resume(&mut self) {
        self.order("start");
    }

    /// Sends a signal to all of the server's processes.
    pub fn signal(&mut self, signal: &str) {
        self.order(signal);
    }

    fn order(&mut self, word: &str) {
        writeln!(self.orders.as_ref().unwrap(), "{word}").unwrap();
        self.is_done();
    }

    fn is_done(&mut self) {
        let mut said = String::new();
        self.answers.read_line(&mut said).unwrap();
        assert_eq!(said, "done\n", "PostgreSQL does not do as it is told");
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
        drop(self.orders.take());
        let _ = self.supervisor.wait();
    }
}

/// Where the server's programs are. Debian has them beside each other by version.
fn programs() -> String {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|entry| entry.path()).max_by_key(|path| version(path));
    let newest = newest.expect("PostgreSQL is missing: run `make setup`");
    newest.join("bin").display().to_string()
}
