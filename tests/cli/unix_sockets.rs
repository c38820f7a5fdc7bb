//! Unix sockets on all sides.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixListener, UnixStream};

use crate::files::Files;
use crate::fixture::{echo, exchange};
use crate::guard::within;
use crate::programs::{Daemon, tcpchan};

async fn exchange_at(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut client = UnixStream::connect(path).await?;
    client.write_all(b"hello").await?;
    client.shutdown().await?;
    let mut got = Vec::new();
    within(client.read_to_end(&mut got)).await?;
    Ok(got)
}

/// A command that listens at a path, once it does.
async fn at(args: &str, path: &Path) -> Daemon {
    let listen = format!("unix:{}", path.display());
    let mut daemon = Daemon::spawn(tcpchan(args).args(["--listen", &listen]));
    daemon.says(&listen).await;
    daemon
}

#[tokio::test]
async fn clients_links_and_services_may_be_at_unix_sockets() {
    let files = Files::new("unix-all");
    let path = |name: &str| files.folder.join(name);
    let service = UnixListener::bind(path("service")).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = service.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                tokio::io::copy(&mut reader, &mut writer).await?;
                writer.shutdown().await
            });
        }
    });
    let to = |name: &str| format!("--to unix:{}", path(name).display());
    let serve = format!("serve {} --log-streams", to("service"));
    let mut serve = at(&serve, &path("link")).await;
    let _relay = at(&format!("relay {}", to("link")), &path("clients")).await;
    for _ in 0..3 {
        assert_eq!(exchange_at(&path("clients")).await.unwrap(), b"hello");
        let line = serve.line("the stream has ended").await;
        assert!(line.contains(" client=unix "), "{line}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_name_may_be_abstract() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixStream as Std};

    let name = format!("tcpchan-test-{}", std::process::id());
    let to = echo().await;
    let serve = format!("serve --to {to} --listen unix:@{name}");
    let mut serve = Daemon::spawn(&mut tcpchan(&serve));
    serve.says(&format!("unix:@{name}")).await;
    let relay = Daemon::start(&format!("relay --to unix:@{name}")).await;
    assert_eq!(exchange(relay.addr, b"hello").await.unwrap(), b"hello");
    let addr = SocketAddr::from_abstract_name(&name).unwrap();
    assert!(Std::connect_addr(&addr).is_ok());
}

#[tokio::test]
async fn the_file_of_a_process_that_was_killed_is_replaced_and_that_of_a_live_one_is_not() {
    let files = Files::new("unix-stale");
    let path = files.folder.join("socket");
    let args = format!("serve --to {}", echo().await);
    at(&args, &path).await.kill().await;
    assert!(path.exists());
    let serve = at(&args, &path).await;
    let other = format!("{args} --listen unix:{}", path.display());
    let output = within(tcpchan(&other).output()).await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("Address already in use"), "{said}");
    let relay = Daemon::start(&format!("relay --to unix:{}", path.display())).await;
    assert_eq!(exchange(relay.addr, b"hello").await.unwrap(), b"hello");
    serve.signal("TERM").await;
    assert_eq!(serve.ended().await.0, Some(0));
    assert!(!path.exists());
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_left_alone() {
    let files = Files::new("unix-file");
    let path = files.write("file", "precious");
    let args = format!("serve --to 127.0.0.1:1 --listen unix:{}", path.display());
    let output = within(tcpchan(&args).output()).await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("can't listen on unix:"), "{said}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn the_permissions_of_a_socket_may_be_given() {
    let files = Files::new("unix-mode");
    for mode in [0o600, 0o666] {
        let path = files.folder.join(format!("socket-{mode:o}"));
        let _relay = at(
            &format!("relay --to 127.0.0.1:1 --unix-mode {mode:o}"),
            &path,
        )
        .await;
        let found = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(found & 0o777, mode);
    }
}

#[tokio::test]
async fn tls_over_a_unix_socket_is_refused_at_the_start() {
    let args = "relay --listen 127.0.0.1:0 --to unix:/tmp/x --tls";
    let output = within(tcpchan(args).output()).await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("a unix socket has no TLS"), "{said}");
}

#[tokio::test]
async fn a_service_at_a_unix_socket_that_is_not_there_is_down() {
    let files = Files::new("unix-down");
    let to = files.folder.join("none");
    let mut serve = Daemon::start(&format!("serve --to unix:{}", to.display())).await;
    let relay = Daemon::relay(serve.addr).await;
    let mut client = TcpStream::connect(relay.addr).await.unwrap();
    within(client.read(&mut [0])).await.unwrap_err();
    serve.says("down").await;
}
