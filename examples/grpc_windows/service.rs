//! Many bytes, without a `.proto`.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio_stream::{Stream, StreamExt};
use tonic::body::Body;
use tonic::codegen::http;
use tonic::server::{NamedService, StreamingService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

/// Bytes of a message, and messages of a transfer.
pub const PIECE: usize = 256 << 10;
pub const PIECES: usize = 64;

/// Answers `down` with a transfer, and anything else with one word at its end.
#[derive(Clone)]
pub struct Bulk;

impl NamedService for Bulk {
    const NAME: &'static str = "bulk.Bulk";
}

impl tower::Service<http::Request<Body>> for Bulk {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async {
            let codec = ProstCodec::<String, String>::default();
            let mut grpc = tonic::server::Grpc::new(codec);
            Ok(grpc.streaming(Bulk, request).await)
        })
    }
}

type Answers = Pin<Box<dyn Stream<Item = Result<String, Status>> + Send>>;

impl StreamingService<String> for Bulk {
    type Response = String;
    type ResponseStream = Answers;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Answers>, Status>> + Send>>;

    fn call(&mut self, request: Request<Streaming<String>>) -> Self::Future {
        Box::pin(async {
            let mut messages = request.into_inner();
            let mut count = 0;
            while let Some(message) = messages.next().await.transpose()? {
                count = if message == "down" { PIECES } else { 1 };
            }
            let piece = "d".repeat(if count == 1 { 1 } else { PIECE });
            let answers = tokio_stream::iter(vec![Ok(piece); count]);
            Ok(Response::new(Box::pin(answers) as Answers))
        })
    }
}
