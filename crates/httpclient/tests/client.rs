//! Clients against servers that write down what they were asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use httpclient::{Client, HttpError, Options};

/// What a server was asked: first line, headers in lower case, body.
#[derive(Debug)]
struct Asked {
    line: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Asked {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Answers each request by the next text, one connection each.
fn serve(answers: Vec<String>) -> (String, Receiver<Asked>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for answer in answers {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let mut headers = Vec::new();
            loop {
                let mut header = String::new();
                reader.read_line(&mut header).unwrap();
                let Some((name, value)) = header.trim_end().split_once(": ") else { break };
                headers.push((name.to_lowercase(), value.to_owned()));
            }
            let length = headers.iter().find(|(name, _)| name == "content-length");
            let mut body = vec![0; length.map_or(0, |(_, length)| length.parse().unwrap())];
            reader.read_exact(&mut body).unwrap();
            let body = String::from_utf8(body).unwrap();
            let _ = sender.send(Asked { line: line.trim_end().to_owned(), headers, body });
            reader.get_mut().write_all(answer.as_bytes()).unwrap();
        }
    });
    (address, receiver)
}

fn answer(status: u16, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
}

fn ok() -> String {
    answer(200, "", "fine")
}

fn options(yaml: &str) -> Options {
    serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{yaml}: {error}"))
}

fn client(yaml: &str) -> Client {
    Client::new(&options(yaml), Duration::from_secs(10)).unwrap()
}

/// The `Authorization` that a request with these options has.
fn authorization(yaml: &str) -> Option<String> {
    let (url, asked) = serve(vec![ok()]);
    client(yaml).send("GET", &url, &[], b"").unwrap();
    asked.recv().unwrap().header("authorization").map(str::to_owned)
}

#[test]
fn requests_say_who_asks() {
    let check = |yaml: &str, expected: &str| {
        assert_eq!(authorization(yaml).as_deref(), Some(expected), "{yaml}");
    };
    check("basic_auth: {username: me, password: pass}", "Basic bWU6cGFzcw==");
    check("basic_auth: {username: me, password: 123}", "Basic bWU6MTIz");
    check("authorization: {credentials: abc}", "Bearer abc");
    check("authorization: {type: GenieKey, credentials: abc}", "GenieKey abc");
    check("bearer_token: abc", "Bearer abc");
    assert_eq!(authorization("{}"), None);
}

#[test]
fn secrets_in_files_are_read_at_each_use() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    let (url, asked) = serve(vec![ok(), ok()]);
    let mut options = options("basic_auth: {username: me, password_file: password}");
    options.resolve_files(folder.path());
    let client = Client::new(&options, Duration::from_secs(10)).unwrap();
    let missing = client.send("GET", &url, &[], b"").unwrap_err();
    assert!(matches!(missing, HttpError::File { .. }), "{missing}");
    for (text, expected) in [("one\n", "Basic bWU6b25l"), ("two", "Basic bWU6dHdv")] {
        std::fs::write(&file, text).unwrap();
        client.send("GET", &url, &[], b"").unwrap();
        assert_eq!(asked.recv().unwrap().header("authorization"), Some(expected));
    }
}

#[test]
fn a_request_carries_its_headers_and_body() {
    let (url, asked) = serve(vec![answer(429, "Retry-After: 7\r\n", "too many\nof them")]);
    let client = client("http_headers: {X-Scope: {values: [a, b], secrets: [c]}}");
    let answer = client.send("POST", &format!("{url}/x?y=z"), &[("Content-Type", "t")], b"body");
    let answer = answer.unwrap();
    let asked = asked.recv().unwrap();
    assert_eq!((asked.line.as_str(), asked.body.as_str()), ("POST /x?y=z HTTP/1.1", "body"));
    assert_eq!(asked.header("content-type"), Some("t"));
    let agent = format!("memsight/{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(asked.header("user-agent"), Some(agent.as_str()));
    let scopes = asked.headers.iter().filter(|(name, _)| name == "x-scope");
    assert_eq!(scopes.map(|(_, value)| value.as_str()).collect::<String>(), "abc");
    assert_eq!((answer.status, answer.first_line().as_str()), (429, "too many"));
    let now = std::time::SystemTime::now();
    assert_eq!(answer.retry_after(now), Some(Duration::from_secs(7)));
}

#[test]
fn user_and_password_may_stand_in_the_address() {
    let (url, asked) = serve(vec![ok()]);
    let url = url.replace("http://", "http://me:pass@");
    client("{}").send("GET", &url, &[], b"").unwrap();
    assert_eq!(asked.recv().unwrap().header("authorization"), Some("Basic bWU6cGFzcw=="));
}

#[test]
fn redirects_keep_what_is_posted_and_not_the_secrets() {
    let (other, other_asked) = serve(vec![ok()]);
    let other = other.replace("127.0.0.1", "localhost");
    let (url, asked) = serve(vec![
        answer(301, "Location: /there\r\n", ""),
        answer(307, &format!("Location: {other}/far\r\n"), ""),
    ]);
    let end = client("bearer_token: abc").send("POST", &url, &[], b"body").unwrap();
    assert_eq!(end.body, b"fine");
    asked.recv().unwrap();
    let second = asked.recv().unwrap();
    assert_eq!((second.line.as_str(), second.body.as_str()), ("POST /there HTTP/1.1", "body"));
    assert_eq!(second.header("authorization"), Some("Bearer abc"));
    let third = other_asked.recv().unwrap();
    assert_eq!((third.line.as_str(), third.body.as_str()), ("POST /far HTTP/1.1", "body"));
    assert_eq!(third.header("authorization"), None);

    let (url, _asked) = serve(vec![answer(302, "Location: /there\r\n", "")]);
    let end = client("follow_redirects: false").send("GET", &url, &[], b"").unwrap();
    assert_eq!(end.status, 302);
}

#[test]
fn oauth2_tokens_are_kept_until_they_expire() {
    let token = |name: &str, seconds: u32| {
        let body =
            format!(r#"{{"access_token":"{name}","token_type":"bearer","expires_in":{seconds}}}"#);
        answer(200, "", &body)
    };
    // The first attempt is refused as servers do that want the identity in the form.
    let refused = answer(401, "", "no");
    let (tokens, tokens_asked) = serve(vec![refused, token("t1", 3600), token("t2", 3600)]);
    let (url, asked) = serve(vec![ok(), answer(401, "", ""), ok()]);
    let client = client(&format!(
        "oauth2: {{client_id: id, client_secret: 's&', scopes: [a, b], token_url: '{tokens}/t',
           endpoint_params: {{audience: x}}}}"
    ));
    for expected in ["Bearer t1", "Bearer t1", "Bearer t2"] {
        client.send("GET", &url, &[], b"").unwrap();
        assert_eq!(asked.recv().unwrap().header("authorization"), Some(expected));
    }
    let first = tokens_asked.recv().unwrap();
    assert_eq!(first.header("authorization"), Some("Basic aWQ6cyUyNg=="));
    assert_eq!(first.body, "grant_type=client_credentials&scope=a%20b&audience=x");
    let second = tokens_asked.recv().unwrap();
    assert!(second.body.ends_with("&client_id=id&client_secret=s%26"), "{}", second.body);
}

#[test]
fn proxies_are_asked_to_connect() {
    let (proxy, asked) = serve(vec![answer(403, "", "")]);
    let proxy = proxy.replace("http://", "http://me:pass@");
    let client = client(&format!("{{proxy_url: '{proxy}', no_proxy: 'other.example'}}"));
    client.send("GET", "http://peer.example:9/", &[], b"").unwrap_err();
    let asked = asked.recv().unwrap();
    assert_eq!(asked.line, "CONNECT peer.example:9 HTTP/1.1");
    assert_eq!(
        asked.header("proxy-authorization").map(str::to_lowercase).as_deref(),
        Some("basic bwu6cgfzcw==")
    );
}

#[test]
fn wrong_options_are_refused_where_they_stand() {
    let check = |yaml: &str, line: u64, expected: &str| {
        let error = serde_saphyr::from_str::<Options>(yaml).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(expected), "{text}");
        let at = error.location().map(|location| location.line());
        assert_eq!(at, Some(line), "{text}");
    };
    check("basic_auth:\n  username: a\n  pass: b", 3, "unknown field `pass`");
    check("follow_redirects: true\nsigv4: {}", 2, "unknown field `sigv4`");
    check("tls_config:\n  cert: x", 2, "give both or none");
    check("tls_config:\n  min_version: TLS13", 2, "min_version");
    check("oauth2:\n  client_id: a\n  token_url: http://a", 2, "exactly one of client_secret");
    check("proxy_url: nowhere", 1, "is no URL");
    check("basic_auth:\n  password: a\n  password_file: b", 2, "exclude each other");

    let check = |yaml: &str, expected: &str| {
        let error = options(yaml).check().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check("{bearer_token: a, basic_auth: {}}", "exclude each other");
    check("{bearer_token: a, bearer_token_file: b}", "exclude each other");
    check("http_headers: {Content-Type: {values: [a]}}", "Content-Type is set");
    check("{proxy_from_environment: true, proxy_url: 'http://a'}", "excludes");
    check("{proxy_url: 'http://a', proxy_connect_header: {A: [b]}}", "cannot be sent");
    check("no_proxy: a", "needs a proxy_url");
    let socks = Client::new(&options("proxy_url: 'http://a'"), Duration::from_secs(1));
    assert!(socks.is_ok());
}

#[test]
fn secrets_are_not_printed() {
    let options = options(
        "{basic_auth: {username: me, password: hidden}, http_headers: {A: {secrets: [hidden]}}}",
    );
    let text = format!("{options:?}");
    assert!(!text.contains("hidden") && text.contains("<secret>"), "{text}");
}

#[test]
fn nobody_there_is_an_error_without_the_password() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let url = format!("http://me:hidden@127.0.0.1:{port}/");
    let error = client("{}").send("GET", &url, &[], b"").unwrap_err();
    assert!(matches!(error, HttpError::Exchange { is_timeout: false, .. }), "{error}");
    assert!(!error.to_string().contains("hidden"), "{error}");
}

#[test]
fn answers_are_bounded() {
    let (url, _asked) = serve(vec![answer(200, "", &"x".repeat(100)), answer(200, "", "12345")]);
    let client = client("{}").with_body_max(5);
    assert!(client.send("GET", &url, &[], b"").is_err());
    assert_eq!(client.send("GET", &url, &[], b"").unwrap().body, b"12345");
}

/// Makes an authority with a server's and a client's certificate, and starts a server that wants
/// the latter. Nothing without openssl.
fn tls_server(folder: &std::path::Path) -> Option<(std::process::Child, u16)> {
    const CERTIFICATES: &str = "set -e
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout ca.key -out ca.pem -subj /CN=ca
        for name in server client; do
            openssl req -newkey rsa:2048 -nodes -keyout $name.key -out $name.csr -subj /CN=$name
            echo subjectAltName=DNS:memsight.test >$name.ext
            openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
                -extfile $name.ext -out $name.pem
        done";
    let mut made = std::process::Command::new("sh");
    let made = made.args(["-c", CERTIFICATES]).current_dir(folder).output().ok()?;
    if !made.status.success() {
        eprintln!("skipped: TLS: {}", String::from_utf8_lossy(&made.stderr));
        return None;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let mut server = std::process::Command::new("openssl");
    server.args(["s_server", "-www", "-cert", "server.pem", "-key", "server.key"]);
    server.args(["-CAfile", "ca.pem", "-Verify", "2", "-verify_return_error", "-quiet"]);
    server.arg("-accept").arg(format!("127.0.0.1:{port}")).current_dir(folder);
    server.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let server = server.stdin(std::process::Stdio::null()).spawn().unwrap();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        std::thread::sleep(Duration::from_millis(20));
    }
    Some((server, port))
}

#[test]
fn tls_trusts_and_presents_what_is_configured() {
    let folder = tempfile::tempdir().unwrap();
    let Some((mut server, port)) = tls_server(folder.path()) else { return };
    let url = format!("https://127.0.0.1:{port}/");
    let ask = |yaml: &str| {
        let mut options = options(&format!("tls_config: {{{yaml}}}"));
        options.resolve_files(folder.path());
        let client = Client::new(&options, Duration::from_secs(10)).unwrap();
        client.send("GET", &url, &[], b"").map(|answer| answer.status)
    };
    let identity = "cert_file: client.pem, key_file: client.key";
    let named = format!("ca_file: ca.pem, server_name: memsight.test, {identity}");
    let answers = [
        ask(&named),
        ask(&format!("insecure_skip_verify: true, {identity}")),
        ask(&format!("ca_file: ca.pem, {identity}")),
        ask(&format!("server_name: memsight.test, {identity}")),
        ask("ca_file: ca.pem, server_name: memsight.test"),
        ask("ca_file: client.key"),
    ];
    server.kill().unwrap();
    server.wait().unwrap();
    let good = answers.iter().map(|answer| matches!(answer, Ok(200))).collect::<Vec<_>>();
    assert_eq!(good, [true, true, false, false, false, false], "{answers:?}");
}
