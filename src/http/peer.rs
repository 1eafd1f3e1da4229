//! Where a request comes from, seen through the proxies in front. They tell it in
//! `X-Forwarded-For` and `X-Forwarded-Proto`, or in `Forwarded` (RFC 7239); never are both
//! believed, because a proxy that writes the one passes on a caller's other.

use std::net::{IpAddr, SocketAddr};

use actix_web::http::header::{
    FORWARDED, HeaderMap, HeaderName, X_FORWARDED_FOR, X_FORWARDED_PROTO,
};
use ipnet::IpNet;

use crate::config::ProxyHeader;

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
    /// A proxy appends the address it saw, so a header is read from its end and only as long
    /// as trusted proxies wrote it: whatever the caller itself put there is never reached.
    pub fn new(
        connected: IpAddr,
        tls: bool,
        headers: &HeaderMap,
        trusted: &[IpNet],
        header: ProxyHeader,
    ) -> Self {
        let connected = connected.to_canonical();
        let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
        if !is_trusted(&connected) {
            return Self { address: Some(connected), secure: tls };
        }
        let name = match header {
            ProxyHeader::XForwardedFor => X_FORWARDED_FOR,
            ProxyHeader::Forwarded => FORWARDED,
        };
        let mut address = Some(connected);
        for hop in hops(headers, &name).into_iter().rev() {
            address = match header {
                ProxyHeader::XForwardedFor => forwarded_address(hop),
                ProxyHeader::Forwarded => {
                    parameter(hop, "for").and_then(|value| forwarded_address(value.as_bytes()))
                }
            };
            if !address.as_ref().is_some_and(is_trusted) {
                break;
            }
        }
        let protocol = match header {
            ProxyHeader::XForwardedFor => hops(headers, &X_FORWARDED_PROTO)
                .pop()
                .map(|last| last.trim_ascii().eq_ignore_ascii_case(b"https")),
            ProxyHeader::Forwarded => hops(headers, &FORWARDED)
                .pop()
                .and_then(|last| parameter(last, "proto"))
                .map(|protocol| protocol.eq_ignore_ascii_case("https")),
        };
        Self { address, secure: protocol.unwrap_or(tls) }
    }
}

/// What each proxy wrote, the last one's last. As bytes: a caller may have put some that are no
/// text in front of the proxies' own. A comma in quotes, which no address has, divides as well:
/// so whatever quotes a caller leaves open, they end before the next proxy's part.
fn hops<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Vec<&'h [u8]> {
    headers.get_all(name).flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).collect()
}

/// The value of a parameter of a proxy's part of `Forwarded`, without its quotes.
fn parameter<'h>(hop: &'h [u8], wanted: &str) -> Option<&'h str> {
    str::from_utf8(hop).ok()?.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let value = value.trim();
        let unquoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        name.trim().eq_ignore_ascii_case(wanted).then_some(unquoted.unwrap_or(value))
    })
}

/// An address, which some proxies give with a port or, of IPv6, in brackets.
fn forwarded_address(hop: &[u8]) -> Option<IpAddr> {
    let hop = str::from_utf8(hop).ok()?.trim();
    let with_port = || hop.parse::<SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let address = hop.parse().ok().or_else(with_port).or_else(in_brackets)?;
    Some(address.to_canonical())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use actix_web::http::header::HeaderValue;
    use actix_web::test::TestRequest;

    use super::*;

    fn peer(connected: &str, forwarded: &[&str]) -> String {
        peer_of(connected, ProxyHeader::XForwardedFor, X_FORWARDED_FOR, forwarded)
    }

    fn peer_of(connected: &str, read: ProxyHeader, name: HeaderName, lines: &[&str]) -> String {
        let mut request = TestRequest::default();
        for value in lines {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            request = request.append_header((name.clone(), value));
        }
        let request = request.to_http_request();
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let peer = Peer::new(connected.parse().unwrap(), false, request.headers(), &trusted, read);
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
    fn forwarded_is_read_as_rfc_7239_has_it() {
        let forwarded =
            |lines: &[&str]| peer_of("10.0.0.1", ProxyHeader::Forwarded, FORWARDED, lines);
        for (lines, expected) in [
            (&["for=198.51.100.1"][..], "198.51.100.1"),
            (&["For=\"198.51.100.1:4711\";proto=https;by=10.0.0.1"], "198.51.100.1"),
            (&["proto=http; FOR=\"[2001:db8::1]:4711\""], "2001:db8::1"),
            (&["for=\"[2001:db8::1]\""], "2001:db8::1"),
            (&["for=198.51.100.1, for=10.0.0.2"], "198.51.100.1"),
            // The caller wrote the first, with a quote that it left open.
            (&["for=\"10.9.9.9, for=198.51.100.1"], "198.51.100.1"),
            (&["for=192.0.2.7", "for=198.51.100.1"], "198.51.100.1"),
            (&["for=198.51.100.1, for=_hidden"], ""),
            (&["for=unknown"], ""),
            (&["by=10.0.0.1"], ""),
            (&[], "10.0.0.1"),
        ] {
            assert_eq!(forwarded(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn of_two_headers_one_is_read() {
        let lines = ["for=198.51.100.1"];
        let read = ProxyHeader::XForwardedFor;
        assert_eq!(peer_of("10.0.0.1", read, FORWARDED, &lines), "10.0.0.1");
        let read = ProxyHeader::Forwarded;
        assert_eq!(peer_of("10.0.0.1", read, X_FORWARDED_FOR, &["198.51.100.1"]), "10.0.0.1");
    }

    #[test]
    fn forwarded_tells_the_protocol() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        for (line, secure) in [
            ("for=198.51.100.1;proto=https", true),
            ("for=198.51.100.1;proto=https, for=10.0.0.2;Proto=\"http\"", false),
            ("for=198.51.100.1", false),
        ] {
            let request = TestRequest::default().append_header((FORWARDED, line)).to_http_request();
            let (from, read) = ("10.0.0.1".parse().unwrap(), ProxyHeader::Forwarded);
            let peer = Peer::new(from, false, request.headers(), &trusted, read);
            assert_eq!(peer.secure, secure, "{line}");
        }
    }

    #[test]
    fn the_protocol_is_the_last_proxys_word() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let secure = |from: &str, protocol: &str| {
            let protocol = HeaderValue::from_bytes(protocol.as_bytes()).unwrap();
            let request = TestRequest::default().append_header((X_FORWARDED_PROTO, protocol));
            let request = request.to_http_request();
            let read = ProxyHeader::XForwardedFor;
            Peer::new(from.parse().unwrap(), true, request.headers(), &trusted, read).secure
        };
        assert!(!secure("10.0.0.1", "https, http"));
        assert!(secure("10.0.0.1", "ÿ, https"));
        assert!(!secure("10.0.0.1", "https, ÿ"));
        assert!(secure("203.0.113.9", "https, http"), "a stranger's header changes nothing");
    }
}
