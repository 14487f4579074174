//! A handler that panics answers 500 and takes nothing else with it. Each one is a defect, so it is logged and counted.

use super::problem::Failure;
use crate::metrics::Metrics;
use axum::response::{IntoResponse as _, Response};
use baseos_interfaces::codes::ProblemCode;
use baseos_interfaces::problem::Problem;
use std::any::Any;
use tower_http::catch_panic::{CatchPanicLayer, ResponseForPanic};

pub(super) fn layer(metrics: &Metrics) -> CatchPanicLayer<Panics> {
    CatchPanicLayer::custom(Panics(metrics.clone()))
}

#[derive(Clone)]
pub(super) struct Panics(Metrics);

impl ResponseForPanic for Panics {
    type ResponseBody = axum::body::Body;

    fn response_for_panic(&mut self, panic: Box<dyn Any + Send + 'static>) -> Response {
        self.0.panics.inc();
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        // Where it was stands in the line that the runtime writes.
        tracing::error!(
            panic = text.unwrap_or("(no text)"),
            "a request could not be answered: this is a defect"
        );
        let title = "the request could not be answered because of a defect in Cloudly";
        Failure::from(Problem::new(500, ProblemCode::Internal, title)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::body::Body;
    use axum::extract::Request;
    use axum::routing::get;
    use hyper::service::Service as _;
    use hyper_util::service::TowerToHyperService;

    async fn fails() -> &'static str {
        panic!("this test panics")
    }

    #[tokio::test]
    async fn a_panic_answers_500_is_counted_and_the_next_request_is_answered() {
        let metrics = Metrics::new();
        let routes = Router::new()
            .route("/fails", get(fails))
            .route("/works", get(|| async { "ok" }))
            .layer(layer(&metrics));
        let service = TowerToHyperService::new(routes);
        let status = |path: &str| {
            let request = Request::builder().uri(path).body(Body::empty()).unwrap();
            let answer = service.call(request);
            async { answer.await.unwrap().status().as_u16() }
        };
        assert_eq!(status("/fails").await, 500);
        assert_eq!(status("/works").await, 200);
        assert_eq!(metrics.panics.get(), 1);
    }
}
