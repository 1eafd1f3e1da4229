//! What is asked of a PostgreSQL server before it is trusted with a trail.

use std::{fs, path::PathBuf};

use glacier_gateway::config::Accepted;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use sqlx::{AssertSqlSafe, Executor};

use crate::{
    cluster::Cluster,
    commands::Installation,
    support::{Place, intend, until},
};

#[tokio::test]
async fn a_server_that_does_not_wait_for_its_disk_is_refused_unless_that_is_accepted() {
    let cluster = Cluster::start(&["fsync=off"]);
    let mut place = Place::at(&cluster).await;
    let error = place.try_open().await.err().unwrap().to_string();
    assert!(error.contains("fsync is off") && error.contains("\"fsync-off\""), "{error}");
    let check = Installation::of(&place).run(&["store", "check"]);
    assert!(!check.success && check.told.contains("fsync is off"), "{}", check.told);
    place.settings.accept = vec![Accepted::FsyncOff];
    intend(&place.open().await).await.unwrap();
}

#[tokio::test]
async fn a_server_that_acknowledges_too_early_is_refused_unless_that_is_accepted() {
    for value in ["off", "local"] {
        let mut place = Place::postgres().await;
        let change = format!(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = {value}', \
             current_database()); END $$"
        );
        place.connection().await.execute(AssertSqlSafe(change)).await.unwrap();
        let error = place.try_open().await.err().unwrap().to_string();
        assert!(error.contains(&format!("synchronous_commit is {value}")), "{error}");
        place.settings.accept = vec![Accepted::SynchronousCommitOff];
        intend(&place.open().await).await.unwrap();
    }
}

/// A CA's certificate, and one that it issued for 127.0.0.1 with its key, as PEM.
fn certificates() -> (String, String, String) {
    let mut ca = CertificateParams::new(vec![]).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let server = server.signed_by(&key, &ca).unwrap();
    (ca.pem(), server.pem(), key.serialize_pem())
}

fn write(place: &Place, name: &str, text: &str) -> PathBuf {
    let path = place.directory.path().join(name);
    fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn a_server_is_known_by_its_certificate() {
    let cluster = Cluster::shared();
    let (ca, certificate, key) = certificates();
    let mut plain = Place::at(cluster).await;
    plain.settings.ca_file = Some(write(&plain, "ca.pem", &ca));
    let error = plain.try_open().await.err().unwrap().to_string();
    assert!(error.contains("does not support TLS"), "{error}");

    let mut cluster = Cluster::start(&[]);
    cluster.use_certificate(&certificate, &key).await;
    let mut place = Place::at(&cluster).await;
    place.settings.ca_file = Some(write(&place, "ca.pem", &ca));
    intend(&place.open().await).await.unwrap();
    let (other, ..) = certificates();
    place.settings.ca_file = Some(write(&place, "ca.pem", &other));
    let error = place.try_open().await.err().unwrap().to_string();
    assert!(error.contains("certificate"), "{error}");
}

#[tokio::test]
async fn a_password_is_read_anew_for_each_connection() {
    let owner = Place::postgres().await;
    let (place, role) = owner.as_new_role().await;
    let migrated = Installation::of(&owner).run(&["store", "migrate", "--grant-to", &role]);
    assert!(migrated.success, "{}", migrated.told);
    let store = place.open().await;
    intend(&store).await.unwrap();
    let mut admin = owner.connection().await;
    let change = format!("ALTER ROLE {role} PASSWORD 'rotated'");
    admin.execute(AssertSqlSafe(change)).await.unwrap();
    let end =
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'");
    admin.execute(AssertSqlSafe(end)).await.unwrap();
    until("the loss", async || store.status().trouble.is_some()).await;
    until("a refused password", async || {
        store.status().trouble.is_some_and(|(_, reason)| reason.contains("password"))
    })
    .await;
    fs::write(place.settings.password_file.as_ref().unwrap(), "rotated\n").unwrap();
    until("the store is available", async || intend(&store).await.is_ok()).await;
    // The other connections have the new password as well.
    store.lease("sealer", crate::support::PATIENCE).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_wrong_password_is_told_without_the_password() {
    let place = Place::postgres().await;
    let (place, _) = place.as_new_role().await;
    fs::write(place.settings.password_file.as_ref().unwrap(), "sesame-7291").unwrap();
    let said = Installation::of(&place).run(&["serve"]);
    assert!(!said.success && said.told.contains("password"), "{}", said.told);
    assert!(!said.told.contains("sesame-7291"), "{}", said.told);
}
