//! PostgreSQL: a database that many gateways share.

mod append;
mod facts;
mod migrate;

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use data_encoding::BASE64_MIME;
use rustls::{RootCertStore, pki_types::CertificateDer};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    ConnectOptions, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions, PgSslMode},
};
use tokio::{runtime::Runtime, time::timeout};
use url::Url;

pub(super) use self::{append::Appender, facts::Facts};
use super::{error::StoreError, examined::Examined, schema::COUNTS};
use crate::{
    config::{self, Accepted},
    files,
};

/// How long connecting may take.
const CONNECTING: Duration = Duration::from_secs(10);
/// How much a password file may hold, in bytes.
const MAX_PASSWORD: u64 = 4096;
/// How long a connection that comes back to the pool may take to answer.
const RETURNING: Duration = Duration::from_secs(3);
/// For each connection: a process that is stopped inside a transaction loses its locks, and
/// nobody waits for a lock for long. They are asked for when connecting: a pooler of
/// transactions would hand what is SET later on to others.
const LIMITS: [(&str, &str); 2] =
    [("idle_in_transaction_session_timeout", "2s"), ("lock_timeout", "5s")];

/// How the database is reached.
pub(super) struct Postgres {
    options: PgConnectOptions,
    /// Whether there is a pooler that refuses [`LIMITS`].
    is_pooled: AtomicBool,
    password_file: Option<PathBuf>,
    /// The password that the pool connects with.
    password: Mutex<Option<SecretString>>,
    accept: Vec<Accepted>,
    /// For the writer's thread. Taken only when this is dropped.
    runtime: Option<Runtime>,
}

impl Postgres {
    /// Reads what the settings name; connects to nothing.
    pub fn new(url: &Url, settings: &config::Store) -> Result<Self, StoreError> {
        let mut options = PgConnectOptions::from_url(url)?
            .application_name("glacier-gateway")
            // PgBouncer refuses parameters that it does not know.
            .extra_float_digits(None)
            .disable_statement_logging();
        let remote = options.get_socket().is_none() && !is_local(options.get_host());
        if remote || settings.ca_file.is_some() {
            options = options
                .ssl_mode(PgSslMode::VerifyFull)
                .ssl_root_cert_from_pem(authorities(settings.ca_file.as_deref())?);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| StoreError::unusable(error.to_string()))?;
        Ok(Self {
            options,
            is_pooled: AtomicBool::default(),
            password_file: settings.password_file.clone(),
            password: Mutex::default(),
            accept: settings.accept.clone(),
            runtime: Some(runtime),
        })
    }

    /// How to connect now: the password is as its file has it.
    fn options(&self) -> Result<PgConnectOptions, StoreError> {
        Ok(self.options_with(self.read_password()?.as_ref()))
    }

    fn options_with(&self, password: Option<&SecretString>) -> PgConnectOptions {
        let mut options = self.options.clone();
        if !self.is_pooled.load(Relaxed) {
            options = options.options(LIMITS);
        }
        match password {
            Some(password) => options.password(password.expose_secret()),
            None => options,
        }
    }

    fn read_password(&self) -> Result<Option<SecretString>, StoreError> {
        let Some(path) = &self.password_file else { return Ok(None) };
        let file = |source| StoreError::File { path: path.display().to_string(), source };
        let text = files::read(path, MAX_PASSWORD).map_err(file)?;
        let text = String::from_utf8(text)
            .map_err(|_| file(std::io::Error::other("the password is not UTF-8")))?;
        Ok(Some(text.trim_end_matches(['\r', '\n']).into()))
    }

    /// Connects.
    pub async fn connect(&self) -> Result<PgConnection, StoreError> {
        let connecting = async {
            let connected = self.options()?.connect().await;
            match connected {
                // PgBouncer.
                Err(sqlx::Error::Database(refused))
                    if refused.message().starts_with("unsupported startup parameter")
                        && !self.is_pooled.swap(true, Relaxed) =>
                {
                    Ok(self.options()?.connect().await?)
                }
                connected => Ok(connected?),
            }
        };
        in_time(CONNECTING, connecting).await
    }

    /// Brings the schema up to date if this role may, and looks at what could lose an
    /// acknowledged entry.
    pub async fn prepare(&self) -> Result<(), StoreError> {
        let mut connection = self.connect().await?;
        migrate::migrate(&mut connection).await?;
        let facts = Facts::read(&mut connection).await?;
        facts.check(&self.accept)?;
        for warning in facts.warnings() {
            tracing::warn!("{warning}");
        }
        self.keeps_statements().await
    }

    /// Brings the schema up to date, and grants `role` what a gateway needs.
    pub async fn migrate(&self, role: Option<&str>) -> Result<(), StoreError> {
        let mut connection = self.connect().await?;
        migrate::migrate(&mut connection).await?;
        if let Some(role) = role {
            migrate::grant(&mut connection, role).await?;
        }
        Ok(())
    }

    /// Looks at everything, and changes nothing.
    pub async fn examine(&self, examined: &mut Examined) -> Result<(), StoreError> {
        let mut connection = self.connect().await?;
        let facts = Facts::read(&mut connection).await?;
        examined.fact("store", format!("PostgreSQL {}", facts.server));
        examined.fact("role", &facts.role);
        examined.fact("bytes", facts.bytes);
        let told = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
        examined.fact("fsync", told(&facts.fsync));
        examined.fact("synchronous_commit", told(&facts.synchronous_commit));
        let version = migrate::version(&mut connection).await?;
        examined.version(version);
        if version.is_some_and(|version| version.version > 0) {
            let (entries, open): (i64, i64) =
                sqlx::query_as(COUNTS).fetch_one(&mut connection).await?;
            examined.fact("entries", entries);
            examined.fact("open intents", open);
        }
        examined.problems.extend(facts.refusals(&self.accept));
        examined
            .problems
            .extend(self.keeps_statements().await.err().map(|error| error.to_string()));
        examined.warnings.extend(facts.warnings());
        Ok(())
    }

    /// Whether prepared statements stay with their connection. Behind a pooler of
    /// transactions that does not know them, a statement could be run that another
    /// connection has prepared under the same name. So the same name is used on two.
    async fn keeps_statements(&self) -> Result<(), StoreError> {
        for sql in ["SELECT $1::bigint", "SELECT 1 + $1::bigint"] {
            let mut connection = self.connect().await?;
            for number in [1_i64, 2] {
                sqlx::query(sql).bind(number).execute(&mut connection).await?;
            }
        }
        Ok(())
    }

    /// Connections for everything but the trail's entries.
    pub fn pool(&self, connections: u32) -> Result<PgPool, StoreError> {
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .min_connections(0)
            .acquire_timeout(CONNECTING)
            .after_release(|connection, _| {
                // What was given up may hang for as long as TCP hopes. A session that began while
                // nothing could be written, as during a failover, stays like that.
                Box::pin(async move {
                    let reads_only = sqlx::query_scalar::<_, String>("SHOW transaction_read_only");
                    let answered = timeout(RETURNING, reads_only.fetch_one(connection)).await;
                    let reads_only = answered.map_err(|_| sqlx::Error::PoolTimedOut)??;
                    Ok(reads_only != "on")
                })
            })
            .connect_lazy_with(self.options()?);
        Ok(pool)
    }

    /// Lets the pool connect with the password that the file has now.
    pub fn refresh(&self, pool: &PgPool) {
        let Ok(Some(new)) = self.read_password() else { return };
        let mut known = self.password.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = known.as_ref().is_none_or(|old| old.expose_secret() != new.expose_secret());
        if is_new {
            pool.set_connect_options(self.options_with(Some(&new)));
            *known = Some(new);
        }
    }

    /// Runs `future` on the writer's thread.
    fn block_on<T>(
        &self,
        future: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match &self.runtime {
            Some(runtime) => runtime.block_on(future),
            None => Err(StoreError::unusable("the store is closed")),
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Not waiting for a look-up of a name that hangs.
            runtime.shutdown_background();
        }
    }
}

/// Gives `future` up after `limit`. The connection that it used must not be used again.
async fn in_time<T>(
    limit: Duration,
    future: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    timeout(limit, future).await.unwrap_or_else(|_| Err(StoreError::Silent(limit)))
}

/// Whether nobody else can listen on the way.
fn is_local(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host.starts_with('/')
        || host == "localhost"
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The certificates that the server is trusted by, as PEM: those of the file, or else the
/// system's.
fn authorities(file: Option<&Path>) -> Result<Vec<u8>, StoreError> {
    if let Some(path) = file {
        let read = files::read(path, files::MAX_SIZE);
        return read
            .map_err(|source| StoreError::File { path: path.display().to_string(), source });
    }
    let mut usable = RootCertStore::empty();
    let pem = |certificate: &CertificateDer<'_>| {
        let text = BASE64_MIME.encode(certificate);
        format!("-----BEGIN CERTIFICATE-----\r\n{text}-----END CERTIFICATE-----\r\n")
    };
    let system = rustls_native_certs::load_native_certs().certs.into_iter();
    // sqlx takes all or none, and some systems have certificates that nobody understands.
    let system = system.filter(|certificate| usable.add(certificate.clone()).is_ok());
    Ok(system.map(|certificate| pem(&certificate)).collect::<String>().into_bytes())
}
