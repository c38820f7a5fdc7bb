//! SIGHUP: what is to be done changes, and what is carried goes on.

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use crate::files::Files;
use crate::fixture::{exchange, named_echo, talk};
use crate::guard::within;
use crate::programs::Daemon;
use crate::proxy::Proxy;

fn serve(name: &str, keys: &str) -> String {
    format!("[service.{name}]\nmode = \"serve\"\nlisten = \"127.0.0.1:0\"\n{keys}\n")
}

/// Writes the configuration anew and has it read.
async fn reload(daemon: &mut Daemon, files: &Files, config: &str) {
    files.write("tcpchan.toml", config);
    daemon.signal("HUP").await;
}

#[tokio::test]
async fn a_target_changes_and_the_streams_to_the_old_one_go_on() {
    let files = Files::new("targets");
    let old = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = format!("to = \"{}\"", old.local_addr().unwrap());
    let mut daemon = Daemon::run(&files.write("tcpchan.toml", &serve("a", &to)));
    let relay = Daemon::relay(daemon.listens("a").await).await;
    let mut client = TcpStream::connect(relay.addr).await.unwrap();
    let (mut service, _) = within(old.accept()).await.unwrap();
    talk(&mut client, &mut service).await;
    let to = format!("to = \"{}\"", named_echo("new").await);
    reload(&mut daemon, &files, &serve("a", &to)).await;
    daemon.says(" reloaded").await;
    assert_eq!(exchange(relay.addr, b"!").await.unwrap(), b"new!");
    talk(&mut client, &mut service).await;
}

#[tokio::test]
async fn services_come_and_go_and_what_is_carried_goes_on() {
    let files = Files::new("services");
    let old = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = format!("to = \"{}\"", old.local_addr().unwrap());
    let mut daemon = Daemon::run(&files.write("tcpchan.toml", &serve("a", &to)));
    let relay = Daemon::relay(daemon.listens("a").await).await;
    let mut client = TcpStream::connect(relay.addr).await.unwrap();
    let (mut service, _) = within(old.accept()).await.unwrap();
    talk(&mut client, &mut service).await;
    let to = format!("to = \"{}\"", named_echo("b").await);
    reload(&mut daemon, &files, &serve("b", &to)).await;
    let new = Daemon::relay(daemon.listens("b").await).await;
    daemon.says(" reloaded").await;
    assert_eq!(exchange(new.addr, b"!").await.unwrap(), b"b!");
    exchange(relay.addr, b"!").await.unwrap_err();
    talk(&mut client, &mut service).await;
    daemon.signal("TERM").await;
    daemon.says("stopping").await;
    talk(&mut client, &mut service).await;
    drop((client, service));
    assert_eq!(daemon.ended().await.0, Some(0));
}

#[tokio::test]
async fn connections_go_on_to_count_unless_other_listeners_take_their_place() {
    let files = Files::new("limits");
    let old = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let with =
        |to: &str, keys: &str| serve("a", &format!("to = \"{to}\"\nmax-connections = 1{keys}"));
    let config = with(&old.local_addr().unwrap().to_string(), "");
    let mut daemon = Daemon::run(&files.write("tcpchan.toml", &config));
    let addr = daemon.listens("a").await;
    let relay = Daemon::relay(addr).await;
    let mut client = TcpStream::connect(relay.addr).await.unwrap();
    let (mut service, _) = within(old.accept()).await.unwrap();
    talk(&mut client, &mut service).await;
    let to = named_echo("b").await.to_string();
    reload(&mut daemon, &files, &with(&to, "")).await;
    daemon.says(" reloaded").await;
    let another = Daemon::relay(addr).await;
    exchange(another.addr, b"!").await.unwrap_err();
    drop(another);
    // The relay's connection drains, and it needs another beside it.
    reload(&mut daemon, &files, &with(&to, "\nmax-channels = 300")).await;
    daemon.says(" reloaded").await;
    assert_eq!(exchange(relay.addr, b"!").await.unwrap(), b"b!");
    talk(&mut client, &mut service).await;
}

#[tokio::test]
async fn a_client_that_waits_gets_the_place_that_a_reload_adds() {
    let files = Files::new("max-clients");
    let serve = Daemon::serve(named_echo("a").await).await;
    let with = |clients| {
        let keys = format!("to = \"{}\"\nmax-clients = {clients}", serve.addr);
        format!("[service.r]\nmode = \"relay\"\nlisten = \"127.0.0.1:0\"\n{keys}\n")
    };
    let mut daemon = Daemon::run(&files.write("tcpchan.toml", &with(1)));
    let addr = daemon.listens("r").await;
    let mut first = TcpStream::connect(addr).await.unwrap();
    assert_eq!(within(first.read_u8()).await.unwrap(), b'a');
    let mut second = TcpStream::connect(addr).await.unwrap();
    reload(&mut daemon, &files, &with(2)).await;
    assert_eq!(within(second.read_u8()).await.unwrap(), b'a');
}

/// A client of the plan before finds it down.
#[tokio::test]
async fn a_target_that_is_found_down_over_a_reload_is_tried_again() {
    let files = Files::new("revival");
    let a = Daemon::serve(named_echo("a").await).await;
    let b = Daemon::serve(named_echo("b").await).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let way = Proxy::start(silent.local_addr().unwrap(), None).await;
    let to = format!("to = [\"{}\", \"{}\"]", way.addr, b.addr);
    let config = format!("[service.r]\nmode = \"relay\"\nlisten = \"127.0.0.1:0\"\n{to}\n");
    let mut daemon = Daemon::run(&files.write("tcpchan.toml", &config));
    let addr = daemon.listens("r").await;
    let mut client = TcpStream::connect(addr).await.unwrap();
    let _dialled = within(silent.accept()).await.unwrap();
    reload(&mut daemon, &files, &config).await;
    daemon.says(" reloaded").await;
    daemon.says("is down").await;
    assert_eq!(within(client.read_u8()).await.unwrap(), b'b');
    way.switch(a.addr);
    assert_eq!(exchange(addr, b"!").await.unwrap(), b"b!");
    daemon.says("is up again").await;
}

/// A service that is told apart from others by its name only.
#[tokio::test]
async fn another_service_takes_over_an_address_and_no_client_is_refused() {
    let files = Files::new("address");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = free.local_addr().unwrap();
    drop(free);
    let to = named_echo("s").await;
    let at = |name: &str, more: &str| {
        serve(name, &format!("to = \"{to}\"\n{more}")).replace("127.0.0.1:0", &place.to_string())
    };
    let mut daemon = Daemon::run(&files.write("tcpchan.toml", &at("a", "")));
    daemon.listens("a").await;
    for config in [at("b", ""), at("b", "max-channels = 300"), at("a", "")] {
        reload(&mut daemon, &files, &config).await;
        daemon.says(" reloaded").await;
        let relay = Daemon::relay(place).await;
        assert_eq!(exchange(relay.addr, b"!").await.unwrap(), b"s!");
    }
}

#[tokio::test]
async fn a_wrong_file_changes_nothing_and_is_told() {
    let files = Files::new("reload-wrong");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().map(|addr| (taken, addr)).unwrap();
    let to = format!("to = \"{}\"", named_echo("a").await);
    let good = serve("a", &to);
    let mut daemon = Daemon::run(&files.write("tcpchan.toml", &good));
    let relay = Daemon::relay(daemon.listens("a").await).await;
    let busy = serve("b", &to).replace("127.0.0.1:0", &taken.1.to_string());
    for (config, says) in [
        (
            serve("b", "too = \"x\""),
            "tcpchan.toml:4: service.b.too: there is no such key",
        ),
        (serve("b", &busy), "tcpchan.toml"),
        (busy, "tcpchan.toml:3: service.b.listen: can't listen on"),
        (
            serve(
                "a",
                &format!("{to}\ntls-cert = \"no.pem\"\ntls-key = \"no.key\""),
            ),
            "tcpchan.toml:5: service.a.tls-cert: ",
        ),
    ] {
        reload(&mut daemon, &files, &config).await;
        daemon.says(says).await;
        daemon.says("not reloaded: nothing has changed").await;
        assert_eq!(exchange(relay.addr, b"!").await.unwrap(), b"a!");
    }
    reload(&mut daemon, &files, &good).await;
    daemon.says(" reloaded").await;
}

#[tokio::test]
async fn an_option_of_the_process_that_changes_needs_a_restart() {
    let files = Files::new("process-option");
    let service = serve("a", "to = \"127.0.0.1:1\"");
    let mut daemon = Daemon::run(&files.write("tcpchan.toml", &service));
    daemon.listens("a").await;
    reload(&mut daemon, &files, &format!("grace = 3\n{service}")).await;
    daemon.says("needs a restart option=grace").await;
    daemon.says(" reloaded").await;
}

#[tokio::test]
async fn without_a_file_certificates_are_read_again() {
    let files = Files::new("certificates");
    let args = "--tls-cert @127.0.0.1.pem --tls-key @127.0.0.1.key --tls-client-ca @ca.pem";
    let mut serve = files.serve(args).await;
    let others = Files::new("other-certificates");
    let as_other = "--tls --tls-ca @ca.pem --tls-cert @client.pem --tls-key @client.key";
    let relay = others.relay(&serve, as_other).await;
    exchange(relay.addr, b"!").await.unwrap_err();
    for name in ["ca.pem", "127.0.0.1.pem", "127.0.0.1.key"] {
        std::fs::copy(others.folder.join(name), files.folder.join(name)).unwrap();
    }
    serve.signal("HUP").await;
    serve.says(" reloaded").await;
    let relay = others.relay(&serve, as_other).await;
    assert_eq!(exchange(relay.addr, b"!").await.unwrap(), b"!");
}

#[tokio::test]
async fn a_relay_shows_its_new_certificate_and_its_streams_go_on() {
    let files = Files::new("relay-certificates");
    let others = Files::new("relay-other");
    let args = "--tls-cert @127.0.0.1.pem --tls-key @127.0.0.1.key --tls-client-ca @ca.pem";
    let serve = files.serve(args).await;
    let ca = files.folder.join("ca.pem");
    let args = format!(
        "--tls --tls-ca {} --tls-cert @client.pem --tls-key @client.key",
        ca.display()
    );
    let mut relay = others.relay(&serve, &args).await;
    exchange(relay.addr, b"!").await.unwrap_err();
    for name in ["client.pem", "client.key"] {
        std::fs::copy(files.folder.join(name), others.folder.join(name)).unwrap();
    }
    relay.signal("HUP").await;
    relay.says(" reloaded").await;
    assert_eq!(exchange(relay.addr, b"!").await.unwrap(), b"!");
}

#[tokio::test]
async fn many_signals_at_once_are_no_harm() {
    let files = Files::new("signals");
    let to = format!("to = \"{}\"", named_echo("a").await);
    let mut daemon = Daemon::run(&files.write("tcpchan.toml", &serve("a", &to)));
    let relay = Daemon::relay(daemon.listens("a").await).await;
    for _ in 0..20 {
        daemon.signal("HUP").await;
    }
    daemon.says(" reloaded").await;
    assert_eq!(exchange(relay.addr, b"!").await.unwrap(), b"a!");
    daemon.signal("TERM").await;
    daemon.signal("HUP").await;
    assert_eq!(daemon.ended().await.0, Some(0));
}

#[tokio::test]
async fn an_address_that_the_process_has_itself_is_told_as_that() {
    let files = Files::new("reload-own");
    let socket = files.folder.join("socket");
    let with = |address: &str, mode: &str| {
        format!(
            "[service.a]\nmode = \"serve\"\nlisten = \"{address}\"\nto = \"127.0.0.1:1\"\n\
             [service.b]\nmode = \"serve\"\nlisten = \"unix:{}\"\nunix-mode = \"{mode}\"\n\
             to = \"127.0.0.1:1\"\n",
            socket.display()
        )
    };
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let before = with(&format!("127.0.0.1:{port}"), "600");
    let mut daemon = Daemon::run(&files.write("tcpchan.toml", &before));
    daemon.says("listening service=b").await;
    files.write("tcpchan.toml", &with(&format!("0.0.0.0:{port}"), "660"));
    daemon.signal("HUP").await;
    for key in ["service.a.listen", "service.b.listen"] {
        let line = daemon.line(key).await;
        assert!(line.contains("this process listens there"), "{line}");
    }
    daemon.says("nothing has changed").await;
}
