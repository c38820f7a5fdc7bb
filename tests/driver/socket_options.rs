//! TCP sockets get the options of the profile, on both sides.

#[cfg(target_os = "linux")]
use crate::certs;
use crate::neighbour;
use std::net::SocketAddr;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use socket2::SockRef;
use tcpchan::client::Multiplex;
use tcpchan::{Config, Connection, SocketProfile};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tower::ServiceExt;
use tower::service_fn;

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(addr), listener.accept());
    (near.unwrap(), far.unwrap().0)
}

#[tokio::test]
async fn the_default_profile_sends_small_frames_at_once_and_limits_what_is_unsent() {
    let (stream, _far) = pair().await;
    SocketProfile::default().apply(&stream).unwrap();
    let socket = SockRef::from(&stream);
    assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
    #[cfg(target_os = "linux")]
    assert_eq!(socket.tcp_notsent_lowat().unwrap(), 128 << 10);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_congestion_control_that_the_system_has_is_chosen_per_socket() {
    let profile = SocketProfile::default().congestion("reno").unwrap();
    let (stream, _far) = pair().await;
    profile.apply(&stream).unwrap();
    let name = SockRef::from(&stream).tcp_congestion().unwrap();
    assert!(name.starts_with(b"reno"));
}

/// The congestion control after the profile was applied to a socket that had Reno.
#[cfg(target_os = "linux")]
fn chosen(profile: SocketProfile, stream: &TcpStream) -> Vec<u8> {
    let socket = SockRef::from(stream);
    socket.set_tcp_congestion(b"reno").unwrap();
    profile.apply(stream).unwrap();
    let name = socket.tcp_congestion().unwrap();
    name.into_iter().take_while(|byte| *byte != 0).collect()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_socket_to_another_host_gets_bbr_if_the_system_lets_it() {
    use neighbour::{Family, Neighbour};

    for family in [Family::V4, Family::V6] {
        let Some(host) = Neighbour::new(family, std::time::Duration::ZERO) else {
            return;
        };
        let listener = TcpListener::bind((host.ours, 0)).await.unwrap();
        host.carry_to(listener.local_addr().unwrap());
        let stream = TcpStream::connect(host.addr).await.unwrap();
        let allowed = SocketProfile::default().congestion("bbr").is_ok();
        let expected: &[u8] = if allowed { b"bbr" } else { b"reno" };
        assert_eq!(chosen(SocketProfile::default(), &stream), expected);
        let system = SocketProfile::default().system_congestion();
        assert_eq!(chosen(system, &stream), b"reno");
    }
}

/// Containers and pods of one host have several.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_socket_to_an_address_of_this_host_keeps_its_congestion_control() {
    let probe = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let _ = probe.connect("192.0.2.1:9"); // sends nothing
    let other = probe.local_addr().unwrap().ip();
    for (from, to) in [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.2"),
        ("::1", "::1"),
    ] {
        kept(from.parse().unwrap(), to.parse().unwrap()).await;
    }
    if !other.is_unspecified() {
        kept(other, other).await;
        kept("127.0.0.1".parse().unwrap(), other).await;
        kept(other, "127.0.0.1".parse().unwrap()).await;
    }
}

#[cfg(target_os = "linux")]
async fn kept(from: std::net::IpAddr, to: std::net::IpAddr) {
    let listener = TcpListener::bind((to, 0)).await.unwrap();
    let socket = match to.is_ipv4() {
        true => tokio::net::TcpSocket::new_v4().unwrap(),
        false => tokio::net::TcpSocket::new_v6().unwrap(),
    };
    socket.bind((from, 0).into()).unwrap();
    let stream = socket
        .connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let name = chosen(SocketProfile::default(), &stream);
    assert_eq!(name, b"reno", "{from} to {to}");
}

#[test]
fn a_congestion_control_that_the_system_lacks_is_an_error_where_it_is_set() {
    let error = SocketProfile::default().congestion("nosuch").unwrap_err();
    assert!(error.to_string().contains("\"nosuch\""), "{error}");
}

/// A socket that has no option of TCP at all, as other systems lack some, and
/// its peer.
#[cfg(unix)]
fn without_options() -> (TcpStream, std::os::unix::net::UnixStream) {
    let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    let near = std::net::TcpStream::from(std::os::fd::OwnedFd::from(near));
    (TcpStream::from_std(near).unwrap(), far)
}

#[cfg(unix)]
#[tokio::test]
async fn options_that_the_system_lacks_are_left_out() {
    let (stream, _far) = without_options();
    SocketProfile::default().apply(&stream).unwrap();
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_congestion_control_that_was_asked_for_is_not_left_out() {
    let (stream, _far) = without_options();
    let profile = SocketProfile::default().congestion("reno").unwrap();
    let error = profile.apply(&stream).unwrap_err().to_string();
    assert!(
        error.contains("takes no congestion control \"reno\""),
        "{error}"
    );
}

#[cfg(unix)]
#[tokio::test]
async fn a_dial_succeeds_though_the_system_lacks_options() {
    let (sender, mut peers) = mpsc::unbounded_channel();
    let connector = service_fn(move |_| {
        let (stream, far) = without_options();
        let _ = sender.send(far);
        async { Ok::<_, tower::BoxError>(TokioIo::new(stream)) }
    });
    let multiplex = Multiplex::new(connector);
    multiplex
        .oneshot("http://host/".parse().unwrap())
        .await
        .unwrap();
    assert!(peers.recv().await.is_some());
}

/// A raw descriptor would be unsafe to look at: the connector keeps a second
/// handle of the socket that it hands out.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_socket_of_hypers_connector_gets_the_profile() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr: SocketAddr = listener.local_addr().unwrap();
    let (sender, mut handles) = mpsc::unbounded_channel();
    let connector = service_fn(move |uri| {
        let sender = sender.clone();
        async move {
            let io: TokioIo<TcpStream> = HttpConnector::new().oneshot(uri).await?;
            let handle = SockRef::from(io.inner()).try_clone();
            let _ = sender.send(handle);
            Ok::<_, tower::BoxError>(io)
        }
    });
    let profile = SocketProfile::default().unsent(Some(54_321)).unwrap();
    let config = Config::default().socket(profile);
    let client: Client<_, Empty<Bytes>> =
        Client::builder(TokioExecutor::new()).build(Multiplex::new(connector).with_config(config));
    let request = client.get(format!("http://{addr}/").parse().unwrap());
    let accept = async {
        let (_stream, _) = listener.accept().await.unwrap();
        let socket = handles.recv().await.unwrap().unwrap();
        while socket.tcp_notsent_lowat().unwrap() != 54_321 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! { _ = request => panic!("nobody answers"), () = accept => {} }
}

/// What the tests look at after the stream was given away.
#[cfg(target_os = "linux")]
fn second_handle(stream: &TcpStream) -> socket2::Socket {
    SockRef::from(stream).try_clone().unwrap()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_sockets_of_plain_connections_get_the_profile() {
    let profile = SocketProfile::default().unsent(Some(54_321)).unwrap();
    let config = Config::default().socket(profile);
    let (near, far) = pair().await;
    let sockets = [second_handle(&near), second_handle(&far)];
    let _connections = (
        Connection::client(near, config.clone()),
        Connection::server(far, config),
    );
    for socket in sockets {
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), 54_321);
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_socket_in_hypers_adapter_gets_the_profile() {
    let (near, _far) = pair().await;
    let socket = second_handle(&near);
    let adapted = TokioIo::new(TokioIo::new(near));
    let _connection = Connection::client(adapted, Config::default());
    assert!(socket.tcp_nodelay().unwrap());
}

#[cfg(all(target_os = "linux", feature = "tls"))]
#[tokio::test]
async fn a_socket_under_tls_gets_the_profile() {
    use tokio_rustls::rustls::pki_types::ServerName;

    let authority = certs::Authority::new();
    let server = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(authority.server()));
    let client = tokio_rustls::TlsConnector::from(std::sync::Arc::new(authority.client()));
    let (near, far) = pair().await;
    let sockets = [second_handle(&near), second_handle(&far)];
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let (near, far) = tokio::join!(client.connect(name, near), server.accept(far));
    let _connections = (
        Connection::client(near.unwrap(), Config::default()),
        Connection::server(
            tokio_rustls::TlsStream::from(far.unwrap()),
            Config::default(),
        ),
    );
    for socket in sockets {
        assert!(socket.tcp_nodelay().unwrap());
    }
}
