//! Services that come to a hub, and are reached there by their names.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::SocketAddr;

use ring::hmac;
use tcpchan::{Config, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Duration, Instant, timeout};

use crate::files::Files;
use crate::fixture::{echo, exchange, named_echo, talk};
use crate::guard::within;
use crate::programs::{Daemon, tcpchan};
use crate::tls::{FOR_CLIENTS, SERVER};

const KEYS: &str = "# the services\nweb 0123456789abcdef # ours\ndb  fedcba9876543210\n";

/// A hub, and where the clients of its service `web` come.
struct Hub {
    daemon: Daemon,
    port: SocketAddr,
    web: SocketAddr,
}

impl Hub {
    async fn new(files: &Files, args: &str) -> Hub {
        Hub::at(files, args, "127.0.0.1:0", "127.0.0.1:0").await
    }

    async fn at(files: &Files, args: &str, port: &str, web: &str) -> Hub {
        let args = files.args(&format!("hub --listen {port} --service web={web} {args}"));
        let mut daemon = Daemon::spawn(&mut tcpchan(&args));
        let port = daemon.listens("").await;
        let web = daemon.listens("web").await;
        Hub { daemon, port, web }
    }

    /// A service that has come here.
    async fn publish(&mut self, files: &Files, to: SocketAddr, args: &str) -> Daemon {
        let service = publish(files, self.port, to, args);
        self.daemon.says("a service has come").await;
        service
    }
}

fn publish(files: &Files, hub: SocketAddr, to: SocketAddr, args: &str) -> Daemon {
    let args = files.args(&format!("publish --hub {hub} --to {to} {args}"));
    Daemon::spawn(&mut tcpchan(&args))
}

fn with_keys(name: &str) -> Files {
    let files = Files::new(name);
    files.write("keys", KEYS);
    files
}

const BY_KEY: &str = "--name web --key-file @keys";

#[tokio::test]
async fn a_service_with_the_names_key_is_reached_through_the_hub() {
    let files = with_keys("hub-key");
    let mut hub = Hub::new(&files, "--key-file @keys").await;
    let error = exchange(hub.web, b"!").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    hub.daemon.says("no service with this name has come").await;
    let mut service = hub.publish(&files, echo().await, BY_KEY).await;
    service.says("the hub has taken the service").await;
    for _ in 0..3 {
        assert_eq!(exchange(hub.web, b"hello").await.unwrap(), b"hello");
    }
}

#[tokio::test]
async fn over_tls_a_key_is_as_good() {
    let files = with_keys("hub-tls-key");
    let mut hub = Hub::new(&files, &format!("--key-file @keys {SERVER}")).await;
    let args = format!("{BY_KEY} --tls --tls-ca @ca.pem");
    let _service = hub.publish(&files, echo().await, &args).await;
    assert_eq!(exchange(hub.web, b"hello").await.unwrap(), b"hello");
}

#[tokio::test]
async fn a_service_with_a_certificate_of_its_name_needs_no_key() {
    let files = Files::new("hub-certificate");
    files.certify("web");
    let mut hub = Hub::new(&files, FOR_CLIENTS).await;
    let with = |name: &str| {
        format!("--name web --tls --tls-ca @ca.pem --tls-cert @{name}.pem --tls-key @{name}.key")
    };
    let mut other = publish(&files, hub.port, echo().await, &with("client"));
    other.says("are not known here").await;
    hub.daemon
        .says("the certificate has no such DNS name")
        .await;
    let _service = hub.publish(&files, echo().await, &with("web")).await;
    assert_eq!(exchange(hub.web, b"hello").await.unwrap(), b"hello");
}

#[tokio::test]
async fn a_wrong_key_and_an_unknown_name_are_refused_and_told_on_both_sides() {
    let files = with_keys("hub-refused");
    files.write("others", "web 0123456789abcdeF\nmail 0123456789abcdef\n");
    let mut hub = Hub::new(&files, "--key-file @keys").await;
    for args in [
        "--name web --key-file @others",
        "--name mail --key-file @others",
        "--name web",
    ] {
        let mut service = publish(&files, hub.port, echo().await, args);
        service.says("the hub refuses: its name and key").await;
        let line = hub.daemon.line("refused a service").await;
        assert!(
            line.contains("WARN") && line.contains("the key is wrong"),
            "{line}"
        );
    }
    exchange(hub.web, b"!").await.unwrap_err();
}

#[tokio::test]
async fn another_reason_why_a_hub_is_down_is_told_too() {
    let files = with_keys("hub-reasons");
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = free.local_addr().unwrap();
    drop(free);
    let mut service = publish(&files, port, echo().await, "--name web");
    service.says("nothing listens there").await;
    let _hub = Hub::at(&files, "--key-file @keys", &port.to_string(), "127.0.0.1:0").await;
    service.says("the hub refuses: its name and key").await;
}

#[tokio::test]
async fn clients_are_spread_over_the_services_of_a_name_and_leave_one_that_is_gone() {
    let files = with_keys("hub-spread");
    let mut hub = Hub::new(&files, "--key-file @keys").await;
    let a = hub.publish(&files, named_echo("a").await, BY_KEY).await;
    let _b = hub.publish(&files, named_echo("b").await, BY_KEY).await;
    let spread = async || {
        let mut counts = BTreeMap::<char, usize>::new();
        let mut held = Vec::new();
        for _ in 0..10 {
            let mut client = TcpStream::connect(hub.web).await.unwrap();
            let name = within(client.read_u8()).await.unwrap();
            *counts.entry(name.into()).or_default() += 1;
            held.push(client);
        }
        counts
    };
    assert_eq!(spread().await, [('a', 5), ('b', 5)].into());
    a.kill().await;
    hub.daemon.says("a service has gone").await;
    assert_eq!(spread().await, [('b', 10)].into());
}

#[tokio::test]
async fn a_service_comes_again_to_a_hub_that_has_restarted() {
    let files = with_keys("hub-restart");
    let mut hub = Hub::new(&files, "--key-file @keys").await;
    let mut service = hub.publish(&files, echo().await, BY_KEY).await;
    let (port, web) = (hub.port.to_string(), hub.web.to_string());
    hub.daemon.kill().await;
    service.says("the hub is down").await;
    let mut hub = Hub::at(&files, "--key-file @keys", &port, &web).await;
    hub.daemon.says("a service has come").await;
    service.says("the hub has taken the service").await;
    assert_eq!(exchange(hub.web, b"hello").await.unwrap(), b"hello");
}

#[tokio::test]
async fn on_either_side_a_stop_lets_streams_finish() {
    for stops_hub in [true, false] {
        let files = with_keys(&format!("hub-stop-{stops_hub}"));
        let mut hub = Hub::new(&files, "--key-file @keys").await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let service = hub.publish(&files, to, BY_KEY).await;
        let mut client = TcpStream::connect(hub.web).await.unwrap();
        let (mut far, _) = within(listener.accept()).await.unwrap();
        talk(&mut client, &mut far).await;
        let mut stopped = if stops_hub { hub.daemon } else { service };
        stopped.signal("TERM").await;
        stopped.says("stopping").await;
        talk(&mut client, &mut far).await;
        far.write_all(b"last").await.unwrap();
        drop(far);
        let mut got = Vec::new();
        within(client.read_to_end(&mut got)).await.unwrap();
        assert_eq!(got, b"last");
        drop(client);
        assert_eq!(stopped.ended().await.0, Some(0), "hub: {stops_hub}");
    }
}

#[tokio::test]
async fn a_stream_of_a_service_that_is_killed_is_reset() {
    let files = with_keys("hub-killed");
    let mut hub = Hub::new(&files, "--key-file @keys").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    let service = hub.publish(&files, to, BY_KEY).await;
    let mut client = TcpStream::connect(hub.web).await.unwrap();
    let (mut far, _) = within(listener.accept()).await.unwrap();
    talk(&mut client, &mut far).await;
    service.kill().await;
    let error = within(client.read(&mut [0])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn strangers_at_the_hubs_port_keep_nobody_out() {
    let files = with_keys("hub-strangers");
    let mut hub = Hub::new(&files, "--key-file @keys").await;
    let mut strangers = Vec::new();
    for bytes in [
        vec![],
        vec![b'x'; 100_000],
        b"web\n".to_vec(),
        b"\xff\xff\n".to_vec(),
    ] {
        let mut stranger = TcpStream::connect(hub.port).await.unwrap();
        let _ = stranger.write_all(&bytes).await; // it may be reset already
        strangers.push(stranger);
    }
    for _ in 0..3 {
        hub.daemon.says("refused a service").await;
    }
    let _service = hub.publish(&files, echo().await, BY_KEY).await;
    assert_eq!(exchange(hub.web, b"hello").await.unwrap(), b"hello");
}

#[tokio::test]
async fn a_hub_that_would_let_anybody_in_does_not_start() {
    let args = "hub --listen 127.0.0.1:0 --service web=127.0.0.1:0";
    let output = within(tcpchan(args).output()).await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("anybody could take a name"), "{said}");
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test]
async fn a_key_file_that_is_wrong_is_told_with_its_line() {
    let files = Files::new("hub-keys");
    for (keys, says) in [
        ("web", "keys:1: it must be NAME KEY"),
        ("\nweb short", "keys:2: a key must have at least 16 bytes"),
        (
            "web 0123456789abcdef\nweb 0123456789abcdef",
            "keys:2: the name is there twice",
        ),
    ] {
        files.write("keys", keys);
        let args = files.args("hub --listen 127.0.0.1:0 --key-file @keys");
        let output = within(tcpchan(&args).output()).await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(says), "{said}");
    }
    files.write("keys", KEYS);
    let args = files.args("publish --hub a:1 --to a:1 --name mail --key-file @keys");
    let output = within(tcpchan(&args).output()).await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("it has no key of the name mail"), "{said}");
}

#[tokio::test]
async fn a_file_may_have_a_hub_with_relays_and_a_reload_changes_them() {
    let files = with_keys("hub-file");
    let hub = "[service.hub]\nmode = \"hub\"\nlisten = \"127.0.0.1:0\"\nkey-file = \"keys\"\n";
    let relay = |name: &str| {
        format!(
            "[service.to-{name}]\nmode = \"relay\"\nlisten = \"127.0.0.1:0\"\n\
             to = \"published:{name}\"\n"
        )
    };
    let config = files.write("tcpchan.toml", &format!("{hub}{}", relay("web")));
    let mut daemon = Daemon::run(&config);
    let port = daemon.listens("hub").await;
    let web = daemon.listens("to-web").await;
    let service = |name: &str, to: SocketAddr| {
        format!(
            "[service.{name}]\nmode = \"publish\"\nhub = \"{port}\"\nname = \"{name}\"\n\
             key-file = \"keys\"\nto = \"{to}\"\n"
        )
    };
    let (a, b) = (named_echo("a").await, named_echo("b").await);
    let here = files.write("services.toml", &(service("web", a) + &service("db", b)));
    let _services = Daemon::run(&here);
    for _ in 0..2 {
        daemon.says("a service has come").await;
    }
    assert_eq!(exchange(web, b"!").await.unwrap(), b"a!");
    files.write(
        "tcpchan.toml",
        &format!("{hub}{}{}", relay("web"), relay("db")),
    );
    daemon.signal("HUP").await;
    let db = daemon.listens("to-db").await;
    assert_eq!(exchange(db, b"!").await.unwrap(), b"b!");
    assert_eq!(exchange(web, b"!").await.unwrap(), b"a!");
}

#[tokio::test]
async fn a_service_may_have_several_addresses_and_a_stop_ends_them_all() {
    let files = with_keys("hub-addresses");
    let args = "--key-file @keys --service web=127.0.0.1:0";
    let mut hub = Hub::new(&files, args).await;
    let other = hub.daemon.listens("web").await;
    let _service = hub.publish(&files, echo().await, BY_KEY).await;
    for clients in [hub.web, other] {
        assert_eq!(exchange(clients, b"hello").await.unwrap(), b"hello");
    }
    hub.daemon.signal("TERM").await;
    assert_eq!(hub.daemon.ended().await.0, Some(0));
}

#[tokio::test]
async fn a_service_with_the_name_of_a_hubs_relay_is_told() {
    let files = with_keys("hub-names");
    let config = files.write(
        "tcpchan.toml",
        "[service.hub]\nmode = \"hub\"\nlisten = \"127.0.0.1:0\"\nkey-file = \"keys\"\n\
         service = \"web=127.0.0.1:0\"\n\
         [service.\"hub.web\"]\nmode = \"relay\"\nlisten = \"127.0.0.1:0\"\n\
         to = \"127.0.0.1:1\"\n",
    );
    let mut check = tcpchan("run --check --config");
    let output = within(check.arg(&config).output()).await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("another service has the name hub.web"),
        "{said}"
    );
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test]
async fn a_hub_at_a_unix_socket_is_refused_at_the_start() {
    let files = with_keys("hub-unix");
    let listen = files.folder.join("socket");
    let args = format!("hub --listen unix:{} --key-file @keys", listen.display());
    let output = within(tcpchan(&files.args(&args)).output()).await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("--listen") && said.contains("over TCP only"),
        "{said}"
    );
}

#[tokio::test]
async fn strangers_who_say_nothing_make_room_for_services_of_other_addresses() {
    let files = with_keys("hub-silent");
    let mut hub = Hub::new(&files, "--key-file @keys").await;
    let mut strangers = Vec::new();
    for _ in 0..1024 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        strangers.push(socket.connect(hub.port).await.unwrap());
    }
    let start = Instant::now();
    let _service = hub.publish(&files, echo().await, BY_KEY).await;
    assert_eq!(exchange(hub.web, b"hello").await.unwrap(), b"hello");
    // The oldest has lost its place.
    let soon = Duration::from_secs(9).saturating_sub(start.elapsed()); // it would have 10 s
    let ended = timeout(soon, strangers[0].read_to_end(&mut Vec::new())).await;
    assert!(ended.is_ok());
}

#[tokio::test]
async fn many_refused_clients_are_20_warnings_and_all_of_them_lines_of_streams() {
    for (args, lines) in [("", 20), ("--log-streams", 30)] {
        let files = with_keys(&format!("hub-warnings{args}"));
        let hub = Hub::new(&files, &format!("--key-file @keys {args}")).await;
        for _ in 0..30 {
            exchange(hub.web, b"!").await.unwrap_err();
        }
        hub.daemon.signal("TERM").await;
        let said = hub.daemon.said().await;
        let refused = said.iter().filter(|line| line.contains("refused a client"));
        assert_eq!(refused.count(), lines, "{said:?}");
    }
}

#[tokio::test]
async fn the_streams_of_a_hubs_service_are_lines_with_its_name() {
    let files = with_keys("hub-streams");
    let mut hub = Hub::new(&files, "--key-file @keys --log-streams").await;
    let _service = hub.publish(&files, echo().await, BY_KEY).await;
    assert_eq!(exchange(hub.web, b"hello").await.unwrap(), b"hello");
    let line = hub.daemon.line("the stream has ended").await;
    for part in [
        "service=web",
        "target=published:web",
        "bytes_to_client=5",
        "end=finished",
    ] {
        assert!(line.contains(part), "{line}");
    }
}

/// A connection on which the hub has taken `web`.
async fn by_hand(hub: SocketAddr) -> Connection {
    let mut tcp = TcpStream::connect(hub).await.unwrap();
    let mut greeting = [0; "tcpchan-hub/1 ".len() + 64 + 1];
    within(tcp.read_exact(&mut greeting)).await.unwrap();
    let nonce = std::str::from_utf8(&greeting).unwrap().trim_end();
    let nonce = nonce.strip_prefix("tcpchan-hub/1 ").unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"0123456789abcdef");
    let code = hmac::sign(&key, format!("tcpchan-hub/1 web {nonce}").as_bytes());
    let code = code.as_ref().iter().map(|byte| format!("{byte:02x}"));
    let line = format!("web {}\n", code.collect::<String>());
    tcp.write_all(line.as_bytes()).await.unwrap();
    let mut taken = [0; 3];
    within(tcp.read_exact(&mut taken)).await.unwrap();
    assert_eq!(&taken, b"ok\n");
    Connection::client(tcp, Config::default())
}

#[tokio::test]
async fn a_stream_that_a_service_opens_is_refused() {
    let files = with_keys("hub-turned");
    let hub = Hub::new(&files, "--key-file @keys").await;
    let service = by_hand(hub.port).await;
    let mut channel = service.open().await.unwrap();
    channel.write_all(b"hello").await.unwrap();
    let error = within(channel.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}
