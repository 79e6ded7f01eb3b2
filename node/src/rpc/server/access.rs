//! Which names and web pages a node lets itself be called by.
//!
//! A web page that the operator opens runs on the operator's machine and reaches `127.0.0.1`. A browser
//! says in `Origin` which page asks, and in `Host` by which name it found the node, which shows a name
//! that an attacker has turned to this address.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::{HOST, HeaderValue, ORIGIN};

/// Stands for every name, or every page, in a list.
const ANY: &str = "*";

/// The lists that the operator has given.
#[derive(Debug, Clone, Default)]
pub(super) struct Access {
    hosts: Vec<String>,
    origins: Vec<String>,
}

/// Why a request is refused, with what could be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Forbidden {
    #[error("the request names no host, or several: HTTP/1.1 needs the header Host, once")]
    NoHost,
    #[error("the host name '{0}' is not allowed here. The node allows it with --rpc-allow-host {0}")]
    Host(String),
    #[error("web pages of '{0}' are not allowed here. The node allows them with --rpc-cors {0}")]
    Origin(String),
    /// A page that names no origin to its browser, such as a file.
    #[error(
        "web pages without an origin, such as files and sandboxed frames, are not allowed here: serve the page from an address"
    )]
    NoOrigin,
}

impl Access {
    pub(super) fn new(hosts: &[String], origins: &[String]) -> Self {
        let lower = |list: &[String]| list.iter().map(|name| name.to_ascii_lowercase()).collect();
        Self { hosts: lower(hosts), origins: lower(origins) }
    }

    /// Whether a request that came to this address of ours may be answered, and the origin that the
    /// answer has to name.
    pub(super) fn check(&self, headers: &HeaderMap, local: IpAddr) -> Result<Option<HeaderValue>, Forbidden> {
        let mut named = headers.get_all(HOST).iter();
        let (Some(host), None) = (named.next(), named.next()) else { return Err(Forbidden::NoHost) };
        let host = String::from_utf8_lossy(host.as_bytes()).to_ascii_lowercase();
        let name = without_port(&host);
        if !is_own(name, local) && !self.hosts.iter().any(|allowed| allowed == name || allowed == ANY) {
            return Err(Forbidden::Host(name.to_owned()));
        }
        let Some(origin) = headers.get(ORIGIN) else { return Ok(None) };
        let page = String::from_utf8_lossy(origin.as_bytes()).to_ascii_lowercase();
        if self.origins.iter().any(|allowed| *allowed == page || allowed == ANY) {
            return Ok(Some(origin.clone()));
        }
        Err(if page == "null" { Forbidden::NoOrigin } else { Forbidden::Origin(page) })
    }
}

/// Whether the name can only mean this machine, or is the address that the connection came to.
fn is_own(name: &str, local: IpAddr) -> bool {
    if name == "localhost" {
        return true;
    }
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let address = bare.parse::<IpAddr>().map(|address| address.to_canonical());
    address.is_ok_and(|address| address.is_loopback() || address == local.to_canonical())
}

/// Whether text can stand in the list of hosts: a name or an address, without port.
pub(super) fn is_host(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
    text == ANY || (!text.is_empty() && text.chars().all(is_plain) && without_port(text) == text)
}

/// Whether text can stand in the list of web pages: a scheme and a host, as browsers say it.
pub(super) fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    text == ANY || host.is_some_and(|host| !host.is_empty() && !host.contains(['/', ' ', '@']))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // The colons of an IPv6 address stand within brackets.
        Some((name, port)) if !name.is_empty() && port.chars().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    //! Goal: a web page reaches no node that did not allow it. Method: headers by hand.

    use super::*;

    fn check(access: &Access, host: &str, origin: Option<&str>) -> Result<bool, Forbidden> {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        let local = "10.0.0.5".parse().unwrap();
        access.check(&headers, local).map(|origin| origin.is_some())
    }

    #[test]
    fn only_own_names_and_listed_ones_are_hosts() {
        let access = Access::new(&["Node.Example.org".to_owned()], &[]);
        for own in [
            "localhost:9100",
            "LOCALHOST",
            "127.0.0.1:9100",
            "127.9.9.9",
            "[::1]:9100",
            "[::ffff:127.0.0.1]",
            "10.0.0.5:1",
            "node.example.org:443",
        ] {
            assert_eq!(check(&access, own, None), Ok(false), "{own}");
        }
        for other in
            ["evil.example:9100", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.6", "x", ""]
        {
            assert!(matches!(check(&access, other, None), Err(Forbidden::Host(_))), "{other}");
        }
        assert_eq!(access.check(&HeaderMap::new(), "10.0.0.5".parse().unwrap()), Err(Forbidden::NoHost));
        assert_eq!(check(&Access::new(&["*".to_owned()], &[]), "evil.example", None), Ok(false));
    }

    #[test]
    fn no_page_calls_unless_it_is_listed() {
        let none = Access::default();
        let listed = Access::new(&[], &["https://wallet.example".to_owned()]);
        for access in [&none, &listed] {
            assert_eq!(check(access, "localhost", Some("null")), Err(Forbidden::NoOrigin));
        }
        for page in ["https://evil.example", "http://127.0.0.1:9100", "http://localhost"] {
            assert!(matches!(check(&none, "localhost", Some(page)), Err(Forbidden::Origin(_))), "{page}");
            assert!(matches!(check(&listed, "localhost", Some(page)), Err(Forbidden::Origin(_))), "{page}");
        }
        assert_eq!(check(&listed, "localhost", Some("https://Wallet.example")), Ok(true));
        // The page's own name is none of the node's.
        assert!(check(&listed, "wallet.example", Some("https://wallet.example")).is_err());
    }

    #[test]
    fn lists_take_names_and_origins_only() {
        assert!(["node.example.org", "10.0.0.5", "[::1]", "*"].iter().all(|text| is_host(text)));
        assert!(["", "node:9100", "http://node", "a b"].iter().all(|text| !is_host(text)));
        assert!(["https://wallet.example", "http://localhost:3000", "*"].iter().all(|text| is_origin(text)));
        assert!(
            ["", "wallet.example", "https://", "https://a/b", "null"].iter().all(|text| !is_origin(text))
        );
    }
}
