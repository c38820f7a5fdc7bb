//! What every way runs on: loopback TCP with TCP_NODELAY, plain or with TLS.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock};

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use tokio_util::either::Either;

pub type Io = Either<TcpStream, Box<TlsStream<TcpStream>>>;

pub const HOST: &str = "localhost";

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Transport {
    Plain,
    Tls,
}

impl Transport {
    pub async fn connect(self, addr: SocketAddr) -> anyhow::Result<Io> {
        let tcp = TcpStream::connect(addr).await?;
        tcp.set_nodelay(true)?;
        if self == Transport::Plain {
            return Ok(Either::Left(tcp));
        }
        let name = ServerName::try_from(HOST)?;
        let tls = IDENTITY.connector.connect(name, tcp).await?;
        Ok(Either::Right(Box::new(tls.into())))
    }

    pub async fn accept(self, tcp: TcpStream) -> io::Result<Io> {
        tcp.set_nodelay(true)?;
        if self == Transport::Plain {
            return Ok(Either::Left(tcp));
        }
        let tls = IDENTITY.acceptor.accept(tcp).await?;
        Ok(Either::Right(Box::new(tls.into())))
    }
}

/// Where a server of any way over TCP accepts.
pub struct Listener {
    pub tcp: TcpListener,
    pub transport: Transport,
}

impl Listener {
    pub fn bind(transport: Transport) -> anyhow::Result<(SocketAddr, Listener)> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let tcp = socket.listen(4096)?;
        Ok((tcp.local_addr()?, Listener { tcp, transport }))
    }

    /// The one connection that carries all streams.
    pub async fn accept(self) -> anyhow::Result<Io> {
        let (tcp, _) = self.tcp.accept().await?;
        Ok(self.transport.accept(tcp).await?)
    }
}

/// The server's self-signed certificate, which the client trusts.
pub struct Identity {
    pub certificate: CertificateDer<'static>,
    pub key: PrivateKeyDer<'static>,
    pub roots: Arc<RootCertStore>,
    connector: TlsConnector,
    acceptor: TlsAcceptor,
}

pub static IDENTITY: LazyLock<Identity> =
    LazyLock::new(|| identity().unwrap_or_else(|error| panic!("no certificate: {error}")));

fn identity() -> anyhow::Result<Identity> {
    let made = rcgen::generate_simple_self_signed([HOST.to_owned()])?;
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone())?;
    let roots = Arc::new(roots);
    let client = ClientConfig::builder()
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.clone_key())?;
    Ok(Identity {
        certificate,
        key,
        roots,
        connector: Arc::new(client).into(),
        acceptor: Arc::new(server).into(),
    })
}
