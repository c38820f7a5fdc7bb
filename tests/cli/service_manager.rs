//! systemd: sockets that it passes, and what it is told.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::net::UnixDatagram;
use tokio::process::Command;

use crate::files::Files;
use crate::fixture::{echo, exchange};
use crate::guard::within;
use crate::programs::{Daemon, tcpchan};

/// A command to which a socket with this name is passed.
fn with_socket(args: &str, name: &str, socket: OwnedFd) -> Command {
    let mut command = Command::new("sh");
    let program = env!("CARGO_BIN_EXE_tcpchan");
    let script = r#"LISTEN_PID=$$ exec "$0" "$@" 3<&0 0</dev/null"#;
    command
        .args(["-c", script, program])
        .args(args.split_whitespace());
    command.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", name);
    command.stdin(Stdio::from(socket)).kill_on_drop(true);
    command
}

#[tokio::test]
async fn clients_come_by_a_socket_that_was_passed() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    let args = format!("serve --to {} --listen systemd:web", echo().await);
    let mut serve = Daemon::spawn(&mut with_socket(&args, "web", socket.into()));
    serve.says(&addr.to_string()).await;
    for _ in 0..2 {
        let relay = Daemon::relay(addr).await;
        assert_eq!(exchange(relay.addr, b"!").await.unwrap(), b"!");
        serve.signal("HUP").await;
        serve.says("reloaded").await;
    }
}

#[tokio::test]
async fn a_unix_socket_may_be_passed_too() {
    let files = Files::new("passed-unix");
    let path = files.folder.join("socket");
    let socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let args = format!("serve --to {} --listen systemd:web", echo().await);
    let mut serve = Daemon::spawn(&mut with_socket(&args, "web", socket.into()));
    serve.says(&format!("unix:{}", path.display())).await;
    let relay = Daemon::start(&format!("relay --to unix:{}", path.display())).await;
    assert_eq!(exchange(relay.addr, b"!").await.unwrap(), b"!");
    serve.signal("TERM").await;
    assert_eq!(serve.ended().await.0, Some(0));
    assert!(path.exists(), "the file is systemd's");
}

#[tokio::test]
async fn a_socket_that_was_not_passed_or_is_not_used_is_told() {
    let socket = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().into();
    for (args, says) in [
        ("--listen systemd:db", "no socket db was passed, only: web"),
        (
            "--listen systemd:web --listen systemd:web",
            "systemd:web is there twice",
        ),
    ] {
        let args = format!("serve --to 127.0.0.1:1 {args}");
        let output = within(with_socket(&args, "web", socket()).output())
            .await
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(says), "{said}");
    }
    let args = "serve --to 127.0.0.1:1 --listen 127.0.0.1:0";
    let mut serve = Daemon::spawn(&mut with_socket(args, "web", socket()));
    serve
        .says("no service takes clients from a socket that was passed listen=systemd:web")
        .await;
    let args = "serve --to 127.0.0.1:1 --listen systemd:db";
    let output = within(tcpchan(args).output()).await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("no sockets were passed"), "{said}");
}

/// What a service manager hears.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new(files: &Files) -> Manager {
        let path = files.folder.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Manager { socket, path }
    }

    async fn hears(&self) -> String {
        let mut buffer = [0; 4096];
        let len = within(self.socket.recv(&mut buffer)).await.unwrap();
        String::from_utf8(buffer[..len].to_vec()).unwrap()
    }
}

#[tokio::test]
async fn the_service_manager_is_told_of_start_reloads_and_end() {
    let files = Files::new("notify");
    let manager = Manager::new(&files);
    let service = "[service.a]\nmode = \"relay\"\nlisten = \"127.0.0.1:0\"\nto = \"127.0.0.1:1\"\n";
    let config = files.write("tcpchan.toml", service);
    let mut command = tcpchan("run --config");
    let command = command.arg(&config).env("NOTIFY_SOCKET", &manager.path);
    let daemon = Daemon::spawn(command);
    assert_eq!(manager.hears().await, "READY=1\nSTATUS=1 service\n");
    daemon.signal("HUP").await;
    let reloading = manager.hears().await;
    let since = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
    assert!(
        since.unwrap().trim().parse::<u64>().unwrap() > 0,
        "{reloading}"
    );
    assert_eq!(manager.hears().await, "READY=1\nSTATUS=1 service\n");
    files.write("tcpchan.toml", "wrong = 1");
    daemon.signal("HUP").await;
    assert!(manager.hears().await.starts_with("RELOADING=1\n"));
    let ready = manager.hears().await;
    assert!(
        ready.starts_with("READY=1\nSTATUS=1 service; not reloaded: "),
        "{ready}"
    );
    assert!(
        ready.contains("tcpchan.toml:1: wrong: there is no such key"),
        "{ready}"
    );
    daemon.signal("TERM").await;
    assert_eq!(manager.hears().await, "STOPPING=1\n");
    assert_eq!(daemon.ended().await.0, Some(0));
}

#[tokio::test]
async fn a_start_that_fails_is_never_ready() {
    let files = Files::new("notify-not");
    let manager = Manager::new(&files);
    let mut command = tcpchan("relay --listen 127.0.0.1:0 --to 127.0.0.1:1 --congestion none-such");
    let command = command.env("NOTIFY_SOCKET", &manager.path);
    assert_eq!(
        within(command.output()).await.unwrap().status.code(),
        Some(1)
    );
    assert!(manager.socket.try_recv(&mut [0; 64]).is_err());
}

#[tokio::test]
async fn the_watchdog_is_told_again_and_again_and_also_while_the_process_stops() {
    let files = Files::new("watchdog");
    let manager = Manager::new(&files);
    let chain = crate::fixture::Chain::new().await;
    let args = format!("relay --listen 127.0.0.1:0 --to {}", chain.serve.addr);
    let mut command = tcpchan(&args);
    command
        .env("NOTIFY_SOCKET", &manager.path)
        .env("WATCHDOG_USEC", "20000");
    let mut relay = Daemon::spawn(&mut command);
    let addr = relay.listens("").await;
    let mut client = tokio::net::TcpStream::connect(addr).await.unwrap();
    let (mut service, _) = within(chain.service.accept()).await.unwrap();
    crate::fixture::talk(&mut client, &mut service).await;
    assert!(manager.hears().await.starts_with("READY=1"));
    for _ in 0..3 {
        assert_eq!(manager.hears().await, "WATCHDOG=1\n");
    }
    relay.signal("TERM").await;
    while manager.hears().await != "STOPPING=1\n" {}
    for _ in 0..3 {
        assert_eq!(manager.hears().await, "WATCHDOG=1\n");
    }
    relay.signal("STOP").await;
    let silent = async { while manager.hears().await == "WATCHDOG=1\n" {} };
    assert!(
        tokio::time::timeout(Duration::from_millis(300), silent)
            .await
            .is_err()
    );
    relay.signal("CONT").await;
    drop((client, service));
    assert_eq!(relay.ended().await.0, Some(0));
}
