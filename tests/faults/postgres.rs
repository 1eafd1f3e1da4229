//! PostgreSQL that is killed, stopped, hangs, or cannot be reached, while gateways go on.
//! None of them ends, so every intent has its outcome in the end.

use std::{fs, process::Command, time::Duration};

use sqlx::Executor;

use crate::{
    cluster::Cluster,
    evidence::Place,
    proxy::{Proxy, Way},
    random_moment,
    run::Run,
    times,
};

const MOMENT: Duration = Duration::from_millis(150);

/// A server of the test's own, and the way to it.
pub struct Server {
    pub cluster: Cluster,
    proxy: Proxy,
}

impl Server {
    pub async fn start() -> Self {
        let cluster = Cluster::start(&[]);
        let proxy = Proxy::to(cluster.port).await;
        Self { cluster, proxy }
    }

    /// A run whose store is a database of this server.
    pub async fn run(&self, name: &'static str, settings: &str) -> Run {
        let database = self.cluster.database().await;
        let folder = self.cluster.directory.path().display().to_string().replace('/', "%2F");
        let port = self.cluster.port;
        let place = Place::Database {
            url: format!("postgres://postgres@127.0.0.1:{}/{database}", self.proxy.port),
            direct: format!("postgres://postgres@{folder}:{port}/{database}"),
        };
        let password = format!("password_file = {:?}", self.cluster.password_file());
        Run::start(name, place, &format!("{password}\n{settings}"), 0.1).await
    }

    /// Kills one of the server's processes, after which it recovers by itself.
    fn kill_one(&self) {
        let file = self.cluster.directory.path().join("data/postmaster.pid");
        let file = fs::read_to_string(file).unwrap();
        let first = file.lines().next().unwrap();
        let children = fs::read_to_string(format!("/proc/{first}/task/{first}/children")).unwrap();
        let child = children.split_whitespace().next().unwrap();
        let _ = Command::new("kill").args(["-s", "KILL", child]).output().unwrap();
    }
}

/// The next injury, and the recovery from it.
async fn injure(server: &mut Server, run: &mut Run, n: usize) {
    match n % 7 {
        0 => server.kill_one(),
        1 => {
            server.cluster.signal("KILL");
            run.refusals(20).await;
            server.cluster.resume();
        }
        2 => {
            server.cluster.stop();
            run.refuses_everything().await;
            server.cluster.resume();
        }
        3 => {
            server.cluster.signal("STOP");
            run.refuses_everything().await;
            assert!(run.readiness().await.contains("audit: unavailable"));
            server.cluster.signal("CONT");
        }
        // Nobody says so, but nothing arrives any more.
        4 => {
            server.proxy.set(Way::Silent);
            run.refuses_everything().await;
            assert!(run.readiness().await.contains("audit: unavailable"));
            server.proxy.set(Way::Open);
        }
        // The statement arrives, and is done; its reply is lost. So nobody knows what is
        // durable: callers are refused, or the connection breaks before they are.
        5 => {
            server.proxy.set(Way::NoReplies);
            if n % 2 == 1 {
                run.refuses_everything().await;
            } else {
                random_moment(MOMENT).await;
            }
            server.proxy.cut();
            server.proxy.set(Way::Open);
        }
        _ => {
            let mut admin = server.cluster.admin("postgres").await;
            for _ in 0..50 {
                let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                           WHERE application_name = 'glacier-gateway'";
                admin.execute(end).await.unwrap();
                random_moment(MOMENT / 5).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_server_that_is_injured_loses_nothing() {
    let mut server = Server::start().await;
    let mut run = server.run("PostgreSQL injured", "").await;
    for n in 0..times(7, 420) {
        run.aborts(10).await;
        random_moment(MOMENT).await;
        injure(&mut server, &mut run, n).await;
    }
    run.aborts(50).await;
    let figures = run.finish().await;
    assert!(figures.outcomes.contains_key("not-attempted"), "no commit was in doubt");

    let mut run = server.run("kills with PostgreSQL", "").await;
    // A replica counts as gone only after half a minute.
    run.recovers = times(0, 1) > 0;
    for _ in 0..times(3, 200) {
        run.aborts(5).await;
        random_moment(MOMENT).await;
        run.kill().await;
        run.restart().await;
    }
    run.finish().await;
}
