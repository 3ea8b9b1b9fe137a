//! The operator's port: is it alive, does it serve, what has it counted. HTTP/1.1 only, on one shard, beside its clients.
//!
//! Probes are open to whoever reaches the port; figures want the operator's key when there is one. Bounded: `CONNECTIONS_MAX`.

use super::hyper_rt::{HyperStream, HyperTimer};
use super::run::Core;
use super::runtime::Runtime;
use crate::base::Secret;
use bytes::Bytes;
use http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use std::cell::Cell;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

/// What the operator's port shows.
pub struct Admin {
    pub key: Option<Secret>,
    /// `Err` says why no traffic should come here now.
    pub ready: Box<dyn Fn() -> Result<(), String>>,
    /// All figures in Prometheus's text format.
    pub metrics: Box<dyn Fn() -> String>,
    /// Why an exchange went where it went, as JSON; the newest of all where none is named. `None` where that is forgotten.
    pub explain: Box<dyn Fn(Option<String>) -> Answering>,
    /// Client keys that are made and taken at run time.
    pub keys: Box<dyn Fn(KeyAsk) -> KeysTold>,
}

/// What is asked of other cores as well.
pub type Answering = Pin<Box<dyn Future<Output = Option<String>>>>;

/// What is asked of client keys; bodies are JSON, names as they stand in the path.
#[derive(Clone, Debug)]
pub enum KeyAsk {
    List,
    Create(Bytes),
    Rotate(String, Bytes),
    Revoke(String),
}

/// A status and JSON; `None` where the router is about to end.
pub type KeysTold = Pin<Box<dyn Future<Output = Option<(u16, String)>>>>;

const CONNECTIONS_MAX: usize = 64;
const HEAD_TIME: Duration = Duration::from_secs(10);

/// Serves until the core's executor ends: an operator looks at a drain too.
pub async fn listen<R: Runtime>(core: Core<R>, listener: R::Listener, admin: Admin) {
    let admin = Rc::new(admin);
    let open = Rc::new(Cell::new(0));
    loop {
        let Ok((stream, _)) = core.runtime.accept(&listener).await else {
            core.wheel.sleep(Duration::from_millis(20)).await;
            continue;
        };
        if open.get() >= CONNECTIONS_MAX {
            continue;
        }
        let (admin, place) = (Rc::clone(&admin), Place::take(&open));
        let timer = HyperTimer(core.wheel.clone());
        core.runtime.spawn(async move {
            let _place = place;
            let service = service_fn(move |request| {
                let admin = Rc::clone(&admin);
                async move { Ok::<_, Infallible>(admin.answer(request).await) }
            });
            // A connection that breaks is the operator's to notice.
            let _ = http1::Builder::new()
                .timer(timer)
                .header_read_timeout(HEAD_TIME)
                .serve_connection(HyperStream::new(stream), service)
                .await;
        });
    }
}

struct Place(Rc<Cell<usize>>);

impl Place {
    fn take(open: &Rc<Cell<usize>>) -> Self {
        open.set(open.get() + 1);
        Self(Rc::clone(open))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Admin {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let of_keys = request.uri().path().strip_prefix(KEYS).map(str::to_owned);
        if let Some(rest) = of_keys.filter(|rest| rest.is_empty() || rest.starts_with('/')) {
            return self.about_keys(request, &rest).await;
        }
        if request.method() != Method::GET {
            let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
            let headers = refusal.headers_mut();
            headers.insert(ALLOW, HeaderValue::from_static("GET"));
            return refusal;
        }
        let path = request.uri().path();
        if let Some(exchange) = path.strip_prefix(DECISIONS) {
            return self.decision(exchange, request.headers()).await;
        }
        match path {
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/readyz" => match (self.ready)() {
                Ok(()) => text(StatusCode::OK, "ready\n"),
                Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, why + "\n"),
            },
            "/metrics" if !self.allows(request.headers().get(AUTHORIZATION)) => unknown_operator(),
            "/metrics" => text(StatusCode::OK, (self.metrics)()),
            _ => text(
                StatusCode::NOT_FOUND,
                "no such path; here are /healthz, /readyz, /metrics, /admin/v1/keys and /admin/v1/decisions/ID (or latest)\n",
            ),
        }
    }

    /// Client keys: `rest` is what of the path stands behind them.
    async fn about_keys(&self, request: Request<Incoming>, rest: &str) -> Response<Full<Bytes>> {
        if !self.allows(request.headers().get(AUTHORIZATION)) {
            return unknown_operator();
        }
        // A page in an operator's browser can send forms to this port, and no JSON.
        let kind = request.headers().get(CONTENT_TYPE);
        let is_json = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
        let method = request.method().clone();
        let name = rest.strip_prefix('/').unwrap_or_default().to_owned();
        let rotated = name.strip_suffix("/rotate").map(str::to_owned);
        let ask = match (&method, &*name, rotated) {
            (&Method::GET, "", _) => KeyAsk::List,
            (&Method::DELETE, name, None) if !name.is_empty() => KeyAsk::Revoke(name.to_owned()),
            (&Method::POST, "", _) | (&Method::POST, _, Some(_)) if !is_json => {
                let message = "the body must be JSON, under content-type: application/json\n";
                return text(StatusCode::UNSUPPORTED_MEDIA_TYPE, message);
            }
            (&Method::POST, _, rotated) if name.is_empty() || rotated.is_some() => {
                let body = Limited::new(request.into_body(), KEY_BYTES_MAX)
                    .collect()
                    .await;
                let Ok(body) = body.map(http_body_util::Collected::to_bytes) else {
                    let message = "the body is longer than 64 KiB, or did not come whole\n";
                    return text(StatusCode::PAYLOAD_TOO_LARGE, message);
                };
                match rotated {
                    Some(name) => KeyAsk::Rotate(name, body),
                    None => KeyAsk::Create(body),
                }
            }
            _ => {
                let message = "here are GET and POST /admin/v1/keys, POST /admin/v1/keys/NAME/rotate and DELETE /admin/v1/keys/NAME\n";
                let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, message);
                let allowed = HeaderValue::from_static("GET, POST, DELETE");
                refusal.headers_mut().insert(ALLOW, allowed);
                return refusal;
            }
        };
        match (self.keys)(ask).await {
            Some((status, json)) => {
                let status = StatusCode::from_u16(status);
                let mut response = text(
                    status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
                    json + "\n",
                );
                let kind = HeaderValue::from_static("application/json");
                response.headers_mut().insert(CONTENT_TYPE, kind);
                // A key's text belongs to nobody's cache.
                let never = HeaderValue::from_static("no-store");
                response.headers_mut().insert(CACHE_CONTROL, never);
                response
            }
            None => text(
                StatusCode::SERVICE_UNAVAILABLE,
                "the router is about to end\n",
            ),
        }
    }

    /// Why a request went where it went.
    async fn decision(&self, exchange: &str, headers: &HeaderMap) -> Response<Full<Bytes>> {
        if !self.allows(headers.get(AUTHORIZATION)) {
            return unknown_operator();
        }
        let named = (exchange != "latest").then(|| exchange.to_owned());
        match (self.explain)(named).await {
            Some(json) => {
                let mut response = text(StatusCode::OK, json + "\n");
                let kind = HeaderValue::from_static("application/json");
                response.headers_mut().insert(CONTENT_TYPE, kind);
                response
            }
            None => text(
                StatusCode::NOT_FOUND,
                "no such decision is remembered: the id is that of x-stokehold-id, and routing.decisions_kept says how many are kept\n",
            ),
        }
    }

    fn allows(&self, shown: Option<&HeaderValue>) -> bool {
        let Some(key) = &self.key else {
            return true;
        };
        let shown = shown.map_or(&b""[..], HeaderValue::as_bytes);
        let shown = shown.strip_prefix(b"Bearer ").unwrap_or(b"");
        let key = key.expose().as_bytes();
        // Takes as long wherever they differ, so that time tells nothing of the key.
        let differ = shown
            .iter()
            .zip(key)
            .fold(0, |differ, (a, b)| differ | (a ^ b));
        shown.len() == key.len() && differ == 0
    }
}

const KEYS: &str = "/admin/v1/keys";
const KEY_BYTES_MAX: usize = 65_536;
const DECISIONS: &str = "/admin/v1/decisions/";

fn unknown_operator() -> Response<Full<Bytes>> {
    text(
        StatusCode::UNAUTHORIZED,
        "the operator's key is wanted as a bearer token\n",
    )
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
