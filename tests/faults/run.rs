//! One run: a simulator, a gateway with a store, callers; and at the end the evidence.

use std::{
    collections::HashSet,
    net::SocketAddr,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    PATIENCE,
    evidence::{Figures, Place, Seen, examine},
    load::{Load, Upload},
    random_moment,
    support::{ACCOUNT, BINARY, Gateway, REGION, claims, serve_command},
    until,
};

/// How many uploads a vault is seeded with.
const IN_A_VAULT: usize = 2000;
/// The simulator keeps the uploads that were aborted.
const SIMULATOR: &[&str] = &["--abort-grace", "1day"];

/// A run.
pub struct Run {
    name: &'static str,
    pub place: Place,
    pub gateway: Gateway,
    pub load: Load,
    /// Holds what is kept outside of the store: the key and the checkpoints.
    pub outside: TempDir,
    environment: Vec<(&'static str, String)>,
    vaults: usize,
    seen: Seen,
    /// Uploads that the evidence is not about.
    forgotten: HashSet<String>,
    kills: usize,
    /// Whether the end waits until the changes of gateways that died are settled.
    pub recovers: bool,
    begun: Instant,
}

impl Run {
    /// Starts it with a store in `folder`.
    pub async fn in_folder(name: &'static str, folder: &Path) -> Self {
        Self::start(name, Place::File(folder.join("store.db")), "", 0.0).await
    }

    /// Starts it; `impatient` is the share of callers that do not wait for the reply.
    pub async fn start(name: &'static str, place: Place, settings: &str, impatient: f64) -> Self {
        let outside = TempDir::new().unwrap();
        let key = Command::new(BINARY).args(["audit", "key", "create"]).output().unwrap();
        assert!(key.status.success(), "{key:?}");
        std::fs::write(outside.path().join("key"), key.stdout).unwrap();
        let settings = format!(
            "[store]\nurl = {:?}\n{settings}\n[audit]\ncheckpoint_file = {:?}\n\
             [audit.key_files]\n1 = {:?}\n",
            place.url(),
            outside.path().join("checkpoints"),
            outside.path().join("key"),
        );
        let gateway = Gateway::with(&settings, SIMULATOR);
        let load = Load::start(token(&gateway, 0), impatient);
        let mut run = Self {
            name,
            place,
            gateway,
            load,
            outside,
            environment: Vec::new(),
            vaults: 0,
            seen: Seen::default(),
            forgotten: HashSet::new(),
            kills: 0,
            recovers: true,
            begun: Instant::now(),
        };
        run.supply(IN_A_VAULT).await;
        run.aim();
        run
    }

    fn aim(&self) {
        self.load.aim(Some(&self.gateway.rest));
    }

    /// Has at least so many uploads left to abort.
    pub async fn supply(&mut self, uploads: usize) {
        if self.load.left() < uploads {
            self.vaults += 1;
            let uploads = self.seed(&format!("own-{}", self.vaults), IN_A_VAULT).await;
            self.load.supply(uploads);
        }
    }

    /// Makes a vault with so many uploads.
    pub async fn seed(&self, vault: &str, uploads: usize) -> Vec<Upload> {
        let uploads = vec![json!({"partSizeInBytes": 1 << 20, "ageSeconds": 60}); uploads];
        let seed = json!({
            "accountId": ACCOUNT, "region": REGION, "vaultName": vault, "uploads": uploads,
        });
        let simulator = &self.gateway.simulator;
        let reply: Value =
            simulator.order(Method::POST, "/vaults", &seed).await.json().await.unwrap();
        let ids = reply["uploadIds"].as_array().unwrap();
        ids.iter().map(|id| (vault.to_owned(), id.as_str().unwrap().to_owned())).collect()
    }

    /// Waits until so many more uploads are aborted.
    pub async fn aborts(&mut self, more: usize) {
        let wanted = self.load.aborted() + more;
        until("aborts", async || {
            self.supply(500).await;
            self.load.aborted() >= wanted
        })
        .await;
    }

    /// Waits until so many more requests were refused.
    pub async fn refusals(&mut self, more: usize) {
        let wanted = self.load.refused() + more;
        until("refusals", async || {
            self.supply(500).await;
            self.load.refused() >= wanted
        })
        .await;
    }

    /// Waits until so many more requests were answered, whatever the answer.
    pub async fn replies(&mut self, more: usize) {
        let wanted = self.load.count(|_| true) + more;
        until("replies", async || self.load.count(|_| true) >= wanted).await;
    }

    /// Asks the probes, which know nothing of Glacier.
    pub async fn probes_are_green(&self) {
        for probe in ["livez", "readyz"] {
            let reply = reqwest::get(format!("{}/{probe}", self.gateway.management)).await.unwrap();
            assert_eq!(reply.status(), 200, "{probe}");
        }
    }

    /// The gateway's memory, in bytes.
    pub fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most memory that the gateway had so far, in bytes.
    pub fn most_memory(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// A number of the process's status, which has it in KiB.
    fn status(&self, name: &str) -> u64 {
        let status = format!("/proc/{}/status", self.gateway.process.child.id());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() << 10
    }

    /// Waits until everything is refused, and nothing is forwarded any more. Reads are
    /// served all the same.
    pub async fn refuses_everything(&mut self) {
        let mut asked = None;
        for _ in 0..20 {
            self.refusals(50).await;
            self.look().await;
            // What was forwarded before may only have arrived now.
            if asked.replace(self.seen.asked.len()) == Some(self.seen.asked.len()) {
                assert_eq!(self.read().await, 200);
                return;
            }
        }
        panic!("changes are refused and forwarded by turns");
    }

    /// Takes everything so far out of the evidence, which is lost on purpose. Gives the
    /// number of aborts. No gateway runs.
    pub async fn forget(&mut self) -> usize {
        until("all callers have their replies", async || self.load.is_idle()).await;
        self.forgotten.extend(self.load.attempted());
        self.load.aborted()
    }

    /// Stops the gateway with SIGSTOP, and waits until all of its threads stand. One
    /// that is inside of a sync gets its answer first.
    pub async fn stop(&self) {
        self.gateway.process.signal("STOP");
        let threads = format!("/proc/{}/task", self.gateway.process.child.id());
        let stands = |thread: std::fs::DirEntry| {
            let status = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            // The state follows the name, which stands in brackets.
            status.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
        };
        until("all threads stand", async || {
            std::fs::read_dir(&threads).unwrap().all(|thread| stands(thread.unwrap()))
        })
        .await;
    }

    /// Waits until every intent has its outcome, also those of gateways that have died.
    pub async fn outcomes(&self) {
        until("all outcomes", async || self.place.open_intents().await == 0).await;
    }

    /// Kills the gateway with SIGKILL.
    pub async fn kill(&mut self) {
        self.gateway.process.child.kill().unwrap();
        self.gateway.process.child.wait().unwrap();
        self.note_death().await;
    }

    /// A gateway has died, by this or otherwise.
    pub async fn note_death(&mut self) {
        self.load.aim(None);
        self.kills += 1;
        self.look().await;
    }

    /// Asks the gateway to end, and waits until it has.
    pub async fn end(&mut self) {
        self.gateway.process.signal("TERM");
        // Some callers come when it is too late.
        random_moment(Duration::from_millis(100)).await;
        self.load.aim(None);
        let child = &mut self.gateway.process.child;
        let begun = Instant::now();
        while child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < PATIENCE, "it does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.look().await;
    }

    /// Starts the gateway again, which was killed or has ended.
    pub async fn restart(&mut self) {
        let environment: Vec<_> =
            self.environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        // It waits for the gateway, and the callers go on meanwhile.
        tokio::task::block_in_place(|| self.gateway.restart(&environment));
        self.aim();
    }

    /// Lets it listen on the same ports from the next start on; gives the address.
    pub fn fix_ports(&self) -> SocketAddr {
        let file = self.gateway.directory.path().join("gateway.toml");
        let mut config = std::fs::read_to_string(&file).unwrap();
        let listeners: Vec<_> =
            (0..2).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let addresses: Vec<_> =
            listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
        for address in &addresses {
            config = config.replacen("\"127.0.0.1:0\"", &format!("\"{address}\""), 1);
        }
        std::fs::write(&file, config).unwrap();
        addresses[0]
    }

    /// Starts the gateway with `command`, which is the binary or runs it. Who calls this
    /// must wait until it listens.
    pub fn serve_with(&self, command: Command, output: fn() -> Stdio) -> Serving {
        let mut command = serve_command(command, &self.gateway.directory);
        command.stdin(Stdio::null()).stdout(output()).stderr(output());
        Serving(command.process_group(0).spawn().unwrap())
    }

    /// What the gateway's environment says from the next start on.
    pub fn set_environment(&mut self, environment: Vec<(&'static str, String)>) {
        self.environment = environment;
    }

    /// A caller whose clock is `ahead` seconds ahead.
    pub fn shift_callers(&self, ahead: i64) {
        self.load.set_token(token(&self.gateway, ahead));
    }

    /// Notes what Glacier was asked so far. While a gateway sends, something may come
    /// between the question and the removal; it is found by its effect later.
    pub async fn look(&mut self) {
        let simulator = &self.gateway.simulator;
        for request in simulator.requests().await {
            if request["method"] == "DELETE" {
                let target = request["target"].as_str().unwrap();
                let (_, upload) = target.rsplit_once('/').unwrap();
                *self.seen.asked.entry(upload.to_owned()).or_default() += 1;
            }
        }
        simulator.order(Method::DELETE, "/requests", &Value::Null).await;
    }

    /// How often Glacier was asked to abort an upload, as far as was looked at.
    pub fn asked(&self, upload: &str) -> usize {
        self.seen.asked.get(upload).copied().unwrap_or(0)
    }

    /// What the gateway says of itself.
    pub async fn readiness(&self) -> String {
        let reply = reqwest::get(format!("{}/readyz", self.gateway.management)).await.unwrap();
        assert_eq!(reply.status(), 200, "readiness does not depend on the trail");
        reply.text().await.unwrap()
    }

    /// A read through the gateway: its status.
    pub async fn read(&self) -> u16 {
        let path = crate::support::uploads("own-1");
        let path = format!("{path}?limit=1");
        self.gateway.call_with(&token(&self.gateway, 0), Method::GET, &path).await.status().as_u16()
    }

    /// Ends the callers, waits until the gateway has written all outcomes, ends it, and
    /// examines what is left. Prints the figures.
    pub async fn finish(mut self) -> Figures {
        let died = self.kills > 0;
        let load = std::mem::replace(&mut self.load, Load::start(String::new(), 0.0));
        let mut notes = load.finish().await;
        if !died || self.recovers {
            self.outcomes().await;
        }
        if died {
            // The one that was killed may have the sealer's lease for a moment yet.
            let checkpoints = self.outside.path().join("checkpoints");
            let is_kept = || std::fs::read(&checkpoints).is_ok_and(|kept| !kept.is_empty());
            until("a checkpoint", async || is_kept()).await;
        }
        self.end().await;
        let simulator = &self.gateway.simulator;
        let state: Value =
            simulator.order(Method::GET, "/state", &Value::Null).await.json().await.unwrap();
        for vault in state["vaults"].as_array().unwrap() {
            for upload in vault["uploads"].as_array().unwrap() {
                if upload["status"] == "aborted" {
                    let id = upload["MultipartUploadId"].as_str().unwrap();
                    self.seen.aborted.insert(id.to_owned());
                }
            }
        }
        let Self { seen, forgotten, .. } = &mut self;
        notes.replies.retain(|upload, _| !forgotten.contains(upload));
        seen.asked.retain(|upload, _| !forgotten.contains(upload));
        seen.aborted.retain(|upload| !forgotten.contains(upload));
        seen.forgotten = std::mem::take(forgotten);
        let figures = examine(&self.place, &notes.replies, &self.seen, died).await;
        let verified = self.gateway.command(&["audit", "verify"], true);
        assert!(verified.status.success(), "{verified:?}");
        println!(
            "{}: {} requests, {} x 204, {} kills, {} refusals, {} broken, {} left, problems {:?}; \
             {} intents, outcomes {:?}, {} late, {} open, {} unsure; {} losses, {} duplicates; \
             longest reply {:.1?}, {:.0?}",
            self.name,
            figures.requests,
            figures.aborted,
            self.kills,
            figures.refused,
            figures.broken,
            figures.left,
            figures.problems,
            figures.intents,
            figures.outcomes,
            figures.late,
            figures.open,
            figures.unsure,
            figures.losses,
            figures.duplicates,
            notes.longest,
            self.begun.elapsed(),
        );
        figures
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What the gateway said of its store.
            let lines = self.gateway.process.all_lines();
            let told = lines.iter().filter(|line| !line.contains("glacier_gateway::checkpoint"));
            let told: Vec<_> = told.filter(|line| !line.contains("\"status\"")).collect();
            let last = told.len().saturating_sub(20);
            told[last..].iter().for_each(|line| eprintln!("{}: {line}", self.name));
        }
    }
}

/// A gateway with whatever runs it; they end with the test.
pub struct Serving(pub Child);

impl Serving {
    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// Asks it to end, and waits until it has.
    pub async fn end(&mut self) {
        self.signal("TERM");
        until("the end", async || self.has_ended()).await;
    }

    fn signal(&self, name: &str) {
        // To the group.
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-s", name, "--", &group]).output();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if !self.has_ended() {
            self.signal("KILL");
            let _ = self.0.wait();
        }
    }
}

/// A token that is good for hours around the gateway's clock.
fn token(gateway: &Gateway, ahead: i64) -> String {
    let mut claims = claims("owner");
    let now = i64::try_from(crate::support::now()).unwrap() + ahead;
    claims["iat"] = json!(now - 3 * 3600);
    claims["exp"] = json!(now + 6 * 3600);
    gateway.key.sign(&claims)
}
