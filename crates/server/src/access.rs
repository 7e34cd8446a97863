//! Who may ask: the Host header, the token, and headers every answer carries.

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

use crate::Server;
use crate::error::ApiError;

const COOKIE: &str = "memsight_token";

/// Lets a request pass or explains why not.
pub(crate) async fn check(State(server): State<Server>, request: Request, next: Next) -> Response {
    let mut response = match &server.token {
        None if !is_local_host(&request) => {
            let error = "this address is not served";
            ApiError::new(StatusCode::FORBIDDEN, error, "use http://127.0.0.1 or http://localhost")
                .into_response()
        }
        Some(token) if !has_token(&request, token) => refuse_or_log_in(&request, token),
        _ if !request.method().is_safe() && is_from_elsewhere(&request) => {
            let error = "another site may not change anything here";
            ApiError::new(StatusCode::FORBIDDEN, error, "use the pages of this address")
                .into_response()
        }
        _ => next.run(request).await,
    };
    let headers = response.headers_mut();
    let mut set = |name, value| headers.insert(name, HeaderValue::from_static(value));
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    set(
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'",
    );
    response
}

fn is_local_host(request: &Request) -> bool {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_matches(['[', ']']);
    let is_loopback = |ip: std::net::IpAddr| ip.is_loopback();
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(is_loopback)
}

/// Browsers let any site send requests here, without the answer; they say from where.
/// Programs say nothing.
fn is_from_elsewhere(request: &Request) -> bool {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    let origin = request.headers().get(header::ORIGIN);
    let origin = origin.map(|value| value.to_str().unwrap_or_default());
    let is_own = |origin: &str| origin.split_once("://").is_some_and(|(_, from)| from == host);
    origin.is_some_and(|origin| !is_own(origin))
}

fn has_token(request: &Request, token: &str) -> bool {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let bearer = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
    let cookies = text(header::COOKIE).unwrap_or_default();
    let cookie = cookies.split(';').filter_map(|cookie| cookie.trim().split_once('='));
    let cookie = cookie.filter(|(name, _)| *name == COOKIE).map(|(_, value)| value).next();
    bearer.or(cookie).is_some_and(|given| is_same(given, token))
}

/// A browser opens `/?token=...` once and keeps the token as a cookie.
fn refuse_or_log_in(request: &Request, token: &str) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let given = query.split('&').find_map(|part| part.strip_prefix("token="));
    if given.is_some_and(|given| is_same(given, token)) {
        let cookie = format!("{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/");
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            return ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response();
        }
    }
    let next = "send Authorization: Bearer TOKEN, or open /?token=TOKEN in a browser";
    ApiError::new(StatusCode::UNAUTHORIZED, "a token is required", next).into_response()
}

/// Takes the same time wherever the texts differ.
fn is_same(given: &str, token: &str) -> bool {
    let differ = given.bytes().zip(token.bytes()).fold(0, |differ, (a, b)| differ | (a ^ b));
    given.len() == token.len() && differ == 0
}
