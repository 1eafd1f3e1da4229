//! What lies between a gateway and its database: it can be cut, and go silent.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// What the proxy does with bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// Passes them on.
    #[default]
    Open,
    /// Keeps the server's to itself, so that statements arrive and their replies do not.
    NoReplies,
    /// Keeps all of them to itself.
    Silent,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    way: Way,
    /// Connections from before a cut are closed.
    cuts: usize,
}

/// A TCP proxy on a free port.
pub struct Proxy {
    pub port: u16,
    state: watch::Sender<State>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = watch::Sender::new(State::default());
        let of_connections = state.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connect(client, server, of_connections.subscribe()));
            }
        });
        Self { port, state, accepting }
    }

    pub fn set(&self, way: Way) {
        self.state.send_modify(|state| state.way = way);
    }

    /// Closes every connection.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn connect(client: TcpStream, server: u16, mut state: watch::Receiver<State>) {
    let cuts = state.borrow().cuts;
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let there = pass(from_client, to_server, state.clone(), |way| way != Way::Silent);
    let back = pass(from_server, to_client, state.clone(), |way| way == Way::Open);
    tokio::select! {
        () = there => {}
        () = back => {}
        _ = state.wait_for(|state| state.cuts != cuts) => {}
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
    passes: fn(Way) -> bool,
) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => read,
        };
        if state.wait_for(|state| passes(state.way)).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
