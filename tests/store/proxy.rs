//! A TCP proxy whose connections can be cut without being closed, as a partition does it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

#[derive(Default)]
struct State {
    /// Nothing passes from the client.
    holds_questions: AtomicBool,
    /// Nothing passes from the server.
    holds_answers: AtomicBool,
    /// Connections with a number below are held both ways, whatever else.
    held_below: AtomicU64,
    accepted: AtomicU64,
}

/// What holds bytes back holds them until it is told otherwise; none are lost.
pub struct Proxy {
    pub port: u16,
    state: Arc<State>,
}

impl Proxy {
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self { port: listener.local_addr().unwrap().port(), state: Arc::default() };
        let state = proxy.state.clone();
        tokio::spawn(async move {
            let server = SocketAddr::from(([127, 0, 0, 1], port));
            while let Ok((client, _)) = listener.accept().await {
                let number = state.accepted.fetch_add(1, SeqCst);
                let Ok(server) = TcpStream::connect(server).await else { continue };
                let ((from_client, to_client), (from_server, to_server)) =
                    (client.into_split(), server.into_split());
                let (questions, answers) = (state.clone(), state.clone());
                tokio::spawn(pass(from_client, to_server, move || {
                    questions.holds_questions.load(SeqCst)
                        || number < questions.held_below.load(SeqCst)
                }));
                tokio::spawn(pass(from_server, to_client, move || {
                    answers.holds_answers.load(SeqCst) || number < answers.held_below.load(SeqCst)
                }));
            }
        });
        proxy
    }

    /// Lets nothing through.
    pub fn cut(&self) {
        self.state.holds_questions.store(true, SeqCst);
        self.state.holds_answers.store(true, SeqCst);
    }

    /// Lets what the client sends through, but no answers.
    pub fn hold_answers(&self) {
        self.state.holds_answers.store(true, SeqCst);
    }

    /// Holds the connections that there are, and lets new ones be.
    pub fn hold_present(&self) {
        self.state.held_below.store(self.state.accepted.load(SeqCst), SeqCst);
    }

    pub fn heal(&self) {
        self.state.held_below.store(0, SeqCst);
        self.state.holds_questions.store(false, SeqCst);
        self.state.holds_answers.store(false, SeqCst);
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, is_held: impl Fn() -> bool) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        while is_held() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
