//! Where a request comes from, seen through the proxies in front.

use std::net::{IpAddr, SocketAddr};

use actix_web::http::header::{HeaderMap, X_FORWARDED_FOR, X_FORWARDED_PROTO};
use ipnet::IpNet;

/// The caller's side of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The caller's address; `None` where a trusted proxy wrote what is no address,
    /// so that policies do not take the proxy's for the caller's.
    pub address: Option<IpAddr>,
    /// Whether the caller speaks TLS.
    pub secure: bool,
}

impl Peer {
    /// What `headers` say of the caller, as far as they are to be believed.
    ///
    /// A proxy appends the address it saw, so `X-Forwarded-For` is read from its
    /// end and only as long as trusted proxies wrote it: whatever the caller itself
    /// put there is never reached.
    pub fn new(connected: IpAddr, tls: bool, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let connected = connected.to_canonical();
        let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
        if !is_trusted(&connected) {
            return Self { address: Some(connected), secure: tls };
        }
        // As bytes: a caller may have put some that are no text in front of the
        // proxy's own entry.
        let lines = headers.get_all(X_FORWARDED_FOR);
        let hops: Vec<&[u8]> =
            lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).collect();
        let mut address = Some(connected);
        for hop in hops.into_iter().rev() {
            address = forwarded_address(hop);
            if !address.as_ref().is_some_and(is_trusted) {
                break;
            }
        }
        let protocol = headers.get_all(X_FORWARDED_PROTO).last();
        let protocol =
            protocol.and_then(|line| line.as_bytes().rsplit(|byte| *byte == b',').next());
        let secure =
            protocol.map_or(tls, |protocol| protocol.trim_ascii().eq_ignore_ascii_case(b"https"));
        Self { address, secure }
    }
}

/// One entry of `X-Forwarded-For`: an address, which some proxies give with a port.
fn forwarded_address(hop: &[u8]) -> Option<IpAddr> {
    let hop = str::from_utf8(hop).ok()?.trim();
    let with_port = || hop.parse::<SocketAddr>().map(|address| address.ip());
    hop.parse().or_else(|_| with_port()).ok().map(|address| address.to_canonical())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use actix_web::http::header::HeaderValue;
    use actix_web::test::TestRequest;

    use super::*;

    fn peer(connected: &str, forwarded: &[&str]) -> String {
        let mut request = TestRequest::default();
        for value in forwarded {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            request = request.append_header((X_FORWARDED_FOR, value));
        }
        let request = request.to_http_request();
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let peer = Peer::new(connected.parse().unwrap(), false, request.headers(), &trusted);
        peer.address.map(|address| address.to_string()).unwrap_or_default()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        for (connected, forwarded, expected) in [
            ("203.0.113.9", &["198.51.100.1"][..], "203.0.113.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["198.51.100.1, 10.0.0.2"], "198.51.100.1"),
            // The caller wrote the first; the proxy appended the second.
            ("10.0.0.1", &["10.9.9.9, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["192.0.2.7", "198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["198.51.100.1:4711"], "198.51.100.1"),
            ("10.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.0.0.1", &["198.51.100.1, nonsense"], ""),
            ("10.0.0.1", &["unknown"], ""),
            ("10.0.0.1", &[""], ""),
            ("10.0.0.1", &["ÿ, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["198.51.100.1, ÿ"], ""),
            ("::ffff:10.0.0.1", &["2001:db8::1"], "2001:db8::1"),
            ("fd00::1", &["::ffff:198.51.100.1"], "198.51.100.1"),
        ] {
            assert_eq!(peer(connected, forwarded), expected, "{connected} {forwarded:?}");
        }
    }

    #[test]
    fn the_protocol_is_the_last_proxys_word() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let secure = |from: &str, protocol: &str| {
            let protocol = HeaderValue::from_bytes(protocol.as_bytes()).unwrap();
            let request = TestRequest::default().append_header((X_FORWARDED_PROTO, protocol));
            let request = request.to_http_request();
            Peer::new(from.parse().unwrap(), true, request.headers(), &trusted).secure
        };
        assert!(!secure("10.0.0.1", "https, http"));
        assert!(secure("10.0.0.1", "ÿ, https"));
        assert!(!secure("10.0.0.1", "https, ÿ"));
        assert!(secure("203.0.113.9", "https, http"), "a stranger's header changes nothing");
    }
}
