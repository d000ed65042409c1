//! Spans arrive where OTLP says, in the trace of the caller; logs name the same trace. Who takes them is a stub here, made of
//! OpenTelemetry's own definitions.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panic"
)]

use axum::Router;
use axum::http::Request;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use clap::Parser;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use todo_kit::lifecycle::Lifecycle;
use todo_kit::metrics::Metrics;
use todo_kit::observe::{Observer, observe};
use todo_kit::telemetry;
use tokio::sync::mpsc;
use tonic::{Response, Status};
use tower::ServiceExt as _;

struct Collector(mpsc::UnboundedSender<ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.send(request.into_inner()).unwrap();
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    telemetry: telemetry::Options,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_a_span_in_the_trace_of_its_caller() {
    let (sender, mut received) = mpsc::unbounded_channel();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let service = TraceServiceServer::new(Collector(sender));
    let routes = tonic::service::Routes::new(service).into_axum_router();
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });

    let words = [
        "test",
        "--otlp-endpoint",
        &endpoint,
        "--service-name",
        "tasks",
    ];
    let arguments = Arguments::try_parse_from(words).unwrap();
    let telemetry = telemetry::start(&arguments.telemetry).unwrap();
    let observer = Observer {
        metrics: Metrics::default(),
        lifecycle: Lifecycle::default(),
    };
    let router = Router::new()
        .route("/lists", get(|| async { "none" }))
        .layer(from_fn_with_state(observer, observe));
    let request = Request::get("/lists")
        .header("x-b3-traceid", "4bf92f3577b34da6a3ce929d0e0e4736")
        .header("x-b3-spanid", "00f067aa0ba902b7")
        .header("x-b3-sampled", "1");
    router
        .oneshot(request.body(axum::body::Body::empty()).unwrap())
        .await
        .unwrap();
    tokio::task::spawn_blocking(move || telemetry.end())
        .await
        .unwrap();

    let exported = received.recv().await.unwrap();
    let resource = &exported.resource_spans[0];
    let attributes = format!("{:?}", resource.resource.as_ref().unwrap().attributes);
    assert!(attributes.contains("\"tasks\""), "{attributes}");
    let span = &resource.scope_spans[0].spans[0];
    assert_eq!(span.name, "GET /lists");
    assert_eq!(span.parent_span_id, 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes());
    assert_eq!(
        span.trace_id,
        0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes()
    );
}
