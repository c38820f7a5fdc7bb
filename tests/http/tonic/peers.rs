//! What a handler learns of its caller.

use std::net::SocketAddr;

use hyper_util::client::legacy::connect::HttpConnector;
use tcpchan::client::{Multiplex, TlsConnector};
use tcpchan::server::{Acceptor, ConnectInfoLayer, PeerInfo, SharedPort, Tls};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tonic::codegen::InterceptedService;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use crate::certs::Authority;
use crate::guard::within;

/// What tonic's own method and the extensions say.
type Caller = (Option<SocketAddr>, Option<PeerInfo>);

#[derive(Clone)]
struct Observer(mpsc::UnboundedSender<Caller>);

impl tonic::service::Interceptor for Observer {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let peer = request.extensions().get::<PeerInfo>().cloned();
        self.0.send((request.remote_addr(), peer)).unwrap();
        Ok(request)
    }
}

type Service = InterceptedService<HealthServer<HealthService>, Observer>;

/// A service that tells who calls.
fn service() -> (Service, mpsc::UnboundedReceiver<Caller>) {
    let (sender, callers) = mpsc::unbounded_channel();
    let health = HealthService::from_health_reporter(HealthReporter::new());
    let service = HealthServer::with_interceptor(health, Observer(sender));
    (service, callers)
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

async fn check(channel: Channel) {
    let mut client = HealthClient::new(channel);
    let check = client.check(HealthCheckRequest::default());
    within(check).await.unwrap();
}

async fn check_over(connector: Multiplex<HttpConnector>, addr: SocketAddr) {
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).unwrap();
    let connect = endpoint.connect_with_connector(connector);
    check(within(connect).await.unwrap()).await;
}

#[tokio::test]
async fn a_layer_gives_tonics_own_method_the_callers_address() {
    let (listener, addr) = listen().await;
    let acceptor = Acceptor::new(listener);
    let (service, mut callers) = service();
    let mut server = Server::builder().layer(ConnectInfoLayer::new());
    tokio::spawn(server.add_service(service).serve_with_incoming(acceptor));
    check_over(Multiplex::new(HttpConnector::new()), addr).await;
    let (remote, peer) = callers.recv().await.unwrap();
    let peer = peer.unwrap();
    assert_eq!((peer.connection, peer.channel), (1, 1));
    assert_eq!(remote, Some(peer.addr));
    assert!(
        peer.addr.ip().is_loopback() && peer.addr != addr,
        "{peer:?}"
    );
}

#[tokio::test]
async fn under_axum_the_same_layer_gives_both() {
    let (listener, addr) = listen().await;
    let acceptor = Acceptor::new(listener);
    let (service, mut callers) = service();
    let app = Routes::new(service).into_axum_router();
    let app = app.layer(ConnectInfoLayer::new());
    let service = app.into_make_service_with_connect_info::<PeerInfo>();
    tokio::spawn(async { axum::serve(acceptor, service).await });
    check_over(Multiplex::new(HttpConnector::new()), addr).await;
    let (remote, peer) = callers.recv().await.unwrap();
    assert_eq!(remote, Some(peer.unwrap().addr));
}

#[tokio::test]
async fn a_handler_learns_the_callers_certificate() {
    let authority = Authority::new();
    let (listener, addr) = listen().await;
    let tls = Tls::new(authority.server_for_known_clients());
    let acceptor = Acceptor::new(listener).with_tls(tls);
    let (service, mut callers) = service();
    let server = Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(acceptor));
    let certified = authority.certify("client");
    let certificate = certified.0.clone();
    let connector = Multiplex::new(TlsConnector::new(authority.client_with(certified)));
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).unwrap();
    let connect = endpoint.connect_with_connector(connector);
    check(within(connect).await.unwrap()).await;
    let (_, peer) = callers.recv().await.unwrap();
    let identity = peer.unwrap().identity.unwrap();
    assert_eq!(identity.certificates(), [certificate]);
}

#[tokio::test]
async fn a_shared_port_takes_calls_over_channels_and_over_tcp() {
    let (listener, addr) = listen().await;
    let port = SharedPort::new(listener);
    let (service, mut callers) = service();
    let server = Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(port));
    check_over(Multiplex::new(HttpConnector::new()), addr).await;
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).unwrap();
    check(within(endpoint.connect()).await.unwrap()).await;
    let mut numbers = Vec::new();
    for _ in 0..2 {
        let peer = callers.recv().await.unwrap().1.unwrap();
        numbers.push((peer.connection, peer.channel));
    }
    assert_eq!(numbers, [(1, 1), (0, 0)]);
}
