//! Requests to the Glacier door made by hand, so that tests can spoil them.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{AccessKey, Gateway, REGION};

/// A request made by hand.
#[derive(Clone)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn new(gateway: &Gateway, method: &str, target: &str) -> Self {
        let host = gateway.rest.strip_prefix("http://").unwrap().to_owned();
        let request = Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        };
        request.with("host", &host).with("x-amz-glacier-version", "2012-06-01")
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        let length = self.body.len().to_string();
        self.with("content-length", &length)
    }

    pub fn signed(self, key: &AccessKey) -> Self {
        self.signed_as(key, SystemTime::now(), "glacier")
    }

    /// Signs everything that is there now with the AWS SDK's own signer.
    pub fn signed_as(mut self, key: &AccessKey, time: SystemTime, service: &str) -> Self {
        let identity = Credentials::new(&key.id, &key.secret, None, None, "test").into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(REGION)
            .name(service)
            .time(time)
            .settings(SigningSettings::default())
            .build()
            .unwrap();
        let signable = SignableRequest::new(
            &self.method,
            &self.target,
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())),
            SignableBody::Bytes(&self.body),
        );
        let signed = sign(signable.unwrap(), &parameters.into()).unwrap();
        let (instructions, _) = signed.into_parts();
        for (name, value) in instructions.headers() {
            self.headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    fn text(&self) -> String {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text + "connection: close\r\n\r\n"
    }

    pub async fn send(&self, gateway: &Gateway) -> (u16, Value) {
        let stream = TcpStream::connect(gateway.rest.strip_prefix("http://").unwrap()).await;
        self.send_on(stream.unwrap()).await
    }

    /// Sends on a connection that there is.
    pub async fn send_on(&self, stream: impl AsyncRead + AsyncWrite + Unpin) -> (u16, Value) {
        let reply = self.reply(stream).await;
        let status = reply.split(' ').nth(1).unwrap().parse().unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        // What is not HTTP is answered before the door is reached, without a body.
        assert!(body.is_empty() || head.to_lowercase().contains("x-amzn-requestid: "), "{head}");
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        if body["code"] == "ThrottlingException" {
            assert!(head.to_lowercase().contains("retry-after: "), "{head}");
        }
        (status, body)
    }
    /// Sends to either door; gives the reply's status.
    pub async fn send_to_either(&self, gateway: &Gateway) -> u16 {
        let stream = TcpStream::connect(gateway.rest.strip_prefix("http://").unwrap()).await;
        let reply = self.reply(stream.unwrap()).await;
        reply.split(' ').nth(1).unwrap().parse().unwrap()
    }

    async fn reply(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> String {
        stream.write_all(self.text().as_bytes()).await.unwrap();
        stream.write_all(&self.body).await.unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).await.unwrap();
        String::from_utf8(reply).unwrap()
    }
}
