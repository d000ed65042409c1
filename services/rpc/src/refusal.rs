//! Problems of HTTP on their way through gRPC.

use axum::http::StatusCode;
use serde_json::Value;
use todo_kit::problem::{FieldError, Problem};
use tonic::metadata::{BinaryMetadataKey, MetadataMap, MetadataValue};
use tonic::{Code, Status};

const KEY: &str = "problem-bin";

/// The status that says the same as a problem, and carries it.
#[must_use]
pub fn status(problem: &Problem) -> Status {
    let message = problem
        .detail
        .clone()
        .unwrap_or_else(|| problem.title.to_string());
    let mut metadata = MetadataMap::new();
    let json = serde_json::to_vec(problem).unwrap_or_default();
    metadata.insert_bin(
        BinaryMetadataKey::from_static(KEY),
        MetadataValue::from_bytes(&json),
    );
    Status::with_metadata(code(problem.status), message, metadata)
}

/// The problem that a status carries; of one that carries none, what its code says.
#[must_use]
pub fn problem(status: &Status) -> Problem {
    carried(status).unwrap_or_else(|| {
        let problem = Problem::of(equivalent(status.code()));
        // What went wrong inside of a service is nobody's business outside.
        if problem.status.is_server_error() {
            problem
        } else {
            problem.detail(status.message())
        }
    })
}

fn carried(status: &Status) -> Option<Problem> {
    let bytes = status.metadata().get_bin(KEY)?.to_bytes().ok()?;
    let Value::Object(mut fields) = serde_json::from_slice(&bytes).ok()? else {
        return None;
    };
    let mut text = |name: &str| match fields.remove(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let (kind, title, detail) = (text("type")?, text("title")?, text("detail"));
    let code = u16::try_from(fields.remove("status")?.as_u64()?).ok()?;
    let errors = fields
        .remove("errors")
        .and_then(|errors| serde_json::from_value::<Vec<FieldError>>(errors).ok());
    Some(Problem {
        kind: kind.into(),
        title: title.into(),
        status: StatusCode::from_u16(code).ok()?,
        detail,
        errors: errors.unwrap_or_default(),
        extensions: fields,
    })
}

fn code(status: StatusCode) -> Code {
    match status {
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::CONFLICT => Code::Aborted,
        StatusCode::PRECONDITION_FAILED => Code::FailedPrecondition,
        StatusCode::TOO_MANY_REQUESTS => Code::ResourceExhausted,
        StatusCode::NOT_IMPLEMENTED => Code::Unimplemented,
        StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        StatusCode::GATEWAY_TIMEOUT => Code::DeadlineExceeded,
        status if status.is_client_error() => Code::InvalidArgument,
        _ => Code::Internal,
    }
}

const fn equivalent(code: Code) -> StatusCode {
    match code {
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::Aborted | Code::AlreadyExists => StatusCode::CONFLICT,
        Code::FailedPrecondition => StatusCode::PRECONDITION_FAILED,
        Code::InvalidArgument | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable | Code::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_problem_comes_out_as_it_went_in() {
        let sent = Problem::new(
            StatusCode::PRECONDITION_FAILED,
            "stale-version",
            "Changed meanwhile",
        )
        .detail("version 3 was meant, and it has version 5")
        .error("/expected_version", "is 3")
        .with("current", json!({"title": "Milch für Zoë", "version": 5}));
        let status = status(&sent);
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert_eq!(
            status.message(),
            "version 3 was meant, and it has version 5"
        );
        assert_eq!(problem(&status), sent);
    }

    #[test]
    fn a_status_without_a_problem_says_what_its_code_says() {
        let missing = problem(&Status::not_found("there is no such list"));
        assert_eq!(missing.status, StatusCode::NOT_FOUND);
        assert_eq!(missing.detail.as_deref(), Some("there is no such list"));
    }

    #[test]
    fn what_went_wrong_inside_of_a_service_is_not_told() {
        let broken = problem(&Status::internal("password of role tasks_app is wrong"));
        assert_eq!(broken, Problem::of(StatusCode::INTERNAL_SERVER_ERROR));
    }

    #[test]
    fn every_code_comes_back_as_a_status_of_its_class() {
        for status in [
            400, 401, 403, 404, 409, 412, 413, 422, 429, 500, 501, 503, 504,
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let there_and_back = equivalent(code(status));
            assert_eq!(
                there_and_back.is_client_error(),
                status.is_client_error(),
                "{status}"
            );
        }
    }
}
