//! Jobs whose gateways and whose store are injured while they work: every item ends once, the
//! trail says the same of it as the job, and what was sent again is counted.

use std::{
    collections::{BTreeMap, HashSet},
    process::{Command, Stdio},
    time::Duration,
};

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    PATIENCE,
    evidence::Place,
    postgres::Server,
    proxy::{Proxy, Way},
    random_moment,
    run::{Run, Serving},
    support::{BINARY, JOBS_POLICY, client},
    times, until,
};

const MOMENT: Duration = Duration::from_millis(500);
/// Longer than a lane's lease.
const LONG: Duration = Duration::from_secs(20);
const JOBS: &str = "[jobs]\nconcurrency = 16\n";
/// How many uploads a vault has.
const IN_A_VAULT: usize = 2000;

/// A job that aborts all uploads of the vaults `own-job-*`.
struct Job {
    path: String,
    uploads: HashSet<String>,
}

impl Job {
    async fn start(run: &Run, uploads: usize) -> Self {
        let folder = run.gateway.directory.path().join("policies/teams/owner");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("jobs.json"), JOBS_POLICY).unwrap();
        let mut seeded = HashSet::new();
        for vault in 0..uploads.div_ceil(IN_A_VAULT) {
            let number = (uploads - seeded.len()).min(IN_A_VAULT);
            let vault = run.seed(&format!("own-job-{vault}"), number).await;
            seeded.extend(vault.into_iter().map(|(_, upload)| upload));
        }
        let abort = json!({"operation": "AbortMultipartUpload", "latencyMillis": 50,
            "carriedOut": true});
        run.gateway.simulator.fault(abort).await;
        let job = json!({"target": {"vaults": ["own-job-*"]},
            "select": {"all": true, "quietFor": "PT0S"}, "maxUploads": uploads,
            "confirm": "auto"});
        let url = format!("{}/v1/abort-jobs", run.gateway.rest);
        let mut path = String::new();
        until("the job is accepted", async || {
            let token = run.gateway.key.token("owner");
            let request = client().post(&url).bearer_auth(token).json(&job);
            let reply = request.send().await.unwrap();
            if reply.status() == 202 {
                path = reply.headers()["location"].to_str().unwrap().to_owned();
            }
            !path.is_empty()
        })
        .await;
        Self { path, uploads: seeded }
    }

    /// The job, if the gateway can say how it stands.
    async fn now(&self, run: &Run) -> Option<Value> {
        let token = run.gateway.key.token("owner");
        let reply = run.gateway.call_with(&token, Method::GET, &self.path).await;
        let is_known = reply.status() == 200;
        let job = reply.json().await.unwrap();
        is_known.then_some(job)
    }

    /// Waits until so many more items have ended, or all.
    async fn goes_on(&self, run: &Run, more: usize) {
        let wanted = self.uploads.len().min(self.ended(run).await + more);
        until("the job goes on", async || self.ended(run).await >= wanted).await;
    }

    /// How many items have ended.
    async fn ended(&self, run: &Run) -> usize {
        let items = run.place.items().await;
        let is_left = |state: &str| matches!(state, "found" | "waiting" | "claimed");
        items.iter().filter(|(_, state, _)| !is_left(state)).count()
    }

    /// Waits until the job has ended, and holds it against the trail and against Glacier.
    async fn finish(&self, run: &mut Run, name: &str, injuries: usize) {
        let waiting = async {
            loop {
                run.look().await;
                match self.now(run).await {
                    Some(job) if job["finishedAt"].is_string() => break job,
                    _ => tokio::time::sleep(MOMENT).await,
                }
            }
        };
        // All items of a replica that has died are left to the recovery first.
        let job = tokio::time::timeout(3 * PATIENCE, waiting).await.expect("the job never ended");
        assert_eq!(job["state"], "completed", "{job:#}");
        let counts = &job["counts"];
        let count = |name: &str| counts[name].as_u64().unwrap() as usize;
        let outcomes = run.place.outcomes().await;
        let items = run.place.items().await;
        let mut states = BTreeMap::<&str, usize>::new();
        let mut uploads = HashSet::new();
        for (upload, state, event) in &items {
            *states.entry(state).or_default() += 1;
            assert!(uploads.insert(upload.clone()), "{upload} stands in the job twice");
            let told = event.as_ref().and_then(|event| outcomes.get(event));
            assert_eq!(told, Some(state), "of {upload} the trail says another thing");
        }
        assert_eq!(uploads, self.uploads);
        for (state, number) in &states {
            assert_eq!(count(state), *number, "{state}: {job:#}");
        }
        let again: usize =
            self.uploads.iter().map(|upload| run.asked(upload).saturating_sub(1)).sum();
        assert!(again <= count("repeats") + count("late"), "{again} sent again: {job:#}");
        println!(
            "{name}: {} items, {injuries} injuries, {states:?}; {} losses; {again} sent again, \
             {} repeats, {} late",
            items.len(),
            self.uploads.len() - items.len(),
            count("repeats"),
            count("late"),
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_gateway_is_killed_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::File(folder.path().join("store.db"));
    let mut run = Run::start("callers beside a job", place, JOBS, 0.1).await;
    let job = Job::start(&run, times(300, 60_000)).await;
    let kills = times(2, 120);
    for _ in 0..kills {
        job.goes_on(&run, times(50, 400)).await;
        random_moment(MOMENT).await;
        run.kill().await;
        run.restart().await;
    }
    job.finish(&mut run, "a job whose gateway is killed", kills).await;
    run.finish().await;
}

/// Three of them serve nobody, and work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_four_replicas_loses_nothing() {
    let mut server = Server::start().await;
    let mut run = server.run("callers beside a job of four replicas", JOBS).await;
    let far = Proxy::to(server.cluster.port).await;
    let url = run.place.url();
    let (rest, database) = url.rsplit_once('/').unwrap();
    let (rest, _) = rest.rsplit_once(':').unwrap();
    let far_url = format!("{rest}:{}/{database}", far.port);
    let replica = |run: &Run, n: usize| {
        let mut command = Command::new(BINARY);
        command.env("GATEWAY__STORE__URL", if n == 0 { &far_url } else { &url });
        run.serve_with(command, Stdio::null)
    };
    let mut replicas: Vec<Serving> = (0..3).map(|n| replica(&run, n)).collect();
    let job = Job::start(&run, times(300, 60_000)).await;
    let is_long = times(0, 10) > 0;
    let injuries = times(2, 60);
    for n in 0..injuries {
        job.goes_on(&run, times(50, 800)).await;
        random_moment(MOMENT).await;
        run.look().await;
        // What needs half a minute until it is made good comes in the long form only.
        match n % 6 {
            0 => {
                server.cluster.stop();
                random_moment(MOMENT).await;
                server.cluster.resume();
            }
            1 => {
                far.set(Way::Silent);
                random_moment(if is_long { LONG } else { MOMENT }).await;
                far.set(Way::Open);
            }
            2 => {
                run.kill().await;
                run.restart().await;
            }
            // Its drop kills it.
            3 | 4 => {
                let one = n % 3;
                replicas[one] = replica(&run, one);
            }
            _ => {
                run.stop().await;
                random_moment(LONG).await;
                run.gateway.process.signal("CONT");
            }
        }
    }
    job.finish(&mut run, "a job of four replicas", injuries).await;
    for replica in &mut replicas {
        replica.end().await;
    }
    run.finish().await;
}
