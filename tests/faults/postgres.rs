//! PostgreSQL that is killed, stopped, hangs, or cannot be reached, while gateways go on.
//! None of them ends, so every intent has its outcome in the end.

use std::{fs, path::Path, process::Command, time::Duration};

use sqlx::Executor;

use crate::{
    cluster::{Cluster, programs},
    evidence::Place,
    proxy::{Proxy, Way},
    random_moment,
    run::Run,
    times,
};

const MOMENT: Duration = Duration::from_millis(150);

/// A server of the test's own, and the way to it.
struct Server {
    cluster: Cluster,
    proxy: Proxy,
}

impl Server {
    async fn start() -> Self {
        let cluster = Cluster::start(&[]);
        let proxy = Proxy::to(cluster.port).await;
        Self { cluster, proxy }
    }

    async fn run(&self, name: &'static str) -> Run {
        let database = self.cluster.database().await;
        let folder = self.cluster.directory.path().display().to_string().replace('/', "%2F");
        let port = self.cluster.port;
        let place = Place::Database {
            url: format!("postgres://postgres@127.0.0.1:{}/{database}", self.proxy.port),
            direct: format!("postgres://postgres@{folder}:{port}/{database}"),
        };
        let password = format!("password_file = {:?}", self.cluster.password_file());
        Run::start(name, place, &password, 0.1).await
    }

    fn folder(&self) -> &Path {
        self.cluster.directory.path()
    }

    /// The server's first process.
    fn process(&self) -> String {
        let file = fs::read_to_string(self.folder().join("data/postmaster.pid")).unwrap();
        file.lines().next().unwrap().to_owned()
    }

    /// The processes that it has started.
    fn children(&self) -> Vec<String> {
        let process = self.process();
        let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
        children.unwrap().split_whitespace().map(str::to_owned).collect()
    }

    fn signal_all(&self, name: &str) {
        let mut processes = vec![self.process()];
        processes.extend(self.children());
        signal(name, &processes);
    }

    /// Starts it again, as it was started before.
    fn start_again(&self) {
        self.control(&["-w", "-t", "60", "-l", "log", "restart", "-m", "immediate"]);
    }

    fn stop_immediately(&self) {
        self.control(&["-w", "-t", "60", "stop", "-m", "immediate"]);
    }

    fn control(&self, arguments: &[&str]) {
        // PostgreSQL refuses to be root.
        let is_root = rustix::process::geteuid().is_root();
        let program = programs().join("pg_ctl");
        let mut command = Command::new(if is_root { Path::new("runuser") } else { &program });
        if is_root {
            command.args(["-u", "postgres", "--"]).arg(&program);
        }
        let done = command.args(["-s", "-D", "data"]).args(arguments).current_dir(self.folder());
        let done = done.stdin(std::process::Stdio::null()).status().unwrap();
        assert!(done.success(), "pg_ctl {arguments:?}");
    }
}

/// Some of them may have ended by themselves.
fn signal(name: &str, processes: &[String]) {
    let _ = Command::new("kill").args(["-s", name]).args(processes).output().unwrap();
}

/// The next injury, and the recovery from it.
async fn injure(server: &Server, run: &mut Run, n: usize) {
    match n % 7 {
        // One process of the server, after which it recovers by itself.
        0 => signal("KILL", &server.children()[..1]),
        1 => {
            server.signal_all("KILL");
            run.refusals(20).await;
            server.start_again();
        }
        2 => {
            server.stop_immediately();
            run.refuses_everything().await;
            server.start_again();
        }
        3 => {
            server.signal_all("STOP");
            run.refuses_everything().await;
            assert!(run.readiness().await.contains("audit: unavailable"));
            server.signal_all("CONT");
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
    let server = Server::start().await;
    let mut run = server.run("PostgreSQL injured").await;
    for n in 0..times(7, 420) {
        run.aborts(10).await;
        random_moment(MOMENT).await;
        injure(&server, &mut run, n).await;
    }
    run.aborts(50).await;
    let figures = run.finish().await;
    assert!(figures.outcomes.contains_key("not-attempted"), "no commit was in doubt");

    let mut run = server.run("kills with PostgreSQL").await;
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
