//! The page and its few questions over HTTP on 127.0.0.1. It listens to nobody else: not to other machines, not to other pages of the same browser.

use crate::{Body, Hands, Keeper, Reach, Standing};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// The page uses nothing but its own files, and nobody may put it in a frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page's own requests carry it. Another site cannot add a header of its own without asking first, and is not allowed to.
const OWN_HEADER: &str = "x-homing-face";

/// Newest entries of the ledger that the page is told.
const SHOWN_ENTRIES: usize = 40;

/// A page that is being served, until it is dropped.
#[derive(Debug)]
pub struct Face {
    address: SocketAddr,
    shared: Arc<Shared>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    body: Body,
    keeper: Mutex<Box<dyn Keeper>>,
    hands: Mutex<Hands>,
}

impl core::fmt::Debug for Shared {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Shared({:?}, {:?})", self.body, self.hands)
    }
}

impl Face {
    /// Serves the page on this port of 127.0.0.1; 0 takes a free one.
    ///
    /// # Errors
    /// The system's, when the port cannot be had.
    pub fn start(body: Body, keeper: Box<dyn Keeper>, hands: Hands, port: u16) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listener =
            runtime.block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            body,
            keeper: Mutex::new(keeper),
            hands: Mutex::new(hands),
        });
        let app = app(Arc::clone(&shared), address);
        let (end, ended) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("face".into())
            .spawn(move || {
                let served = axum::serve(listener, app);
                runtime.block_on(async {
                    tokio::select! {
                        // Only the listener's death ends it by itself; the page then says that the phone is gone.
                        _ = served => {}
                        _ = ended => {}
                    }
                });
            })?;
        Ok(Self {
            address,
            shared,
            end: Some(end),
            thread: Some(thread),
        })
    }

    /// What to type into a browser.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Gives the switches to whoever looks at the page, or takes them away.
    pub fn give(&self, hands: Hands) {
        *lock(&self.shared.hands) = hands;
    }
}

impl Drop for Face {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            let _ = end.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn app(shared: Arc<Shared>, address: SocketAddr) -> Router {
    let file = |kind: &'static str, text: &'static str| {
        get(move || async move { ([(header::CONTENT_TYPE, kind)], text) })
    };
    Router::new()
        .route(
            "/",
            file(
                "text/html; charset=utf-8",
                include_str!("../page/face.html"),
            ),
        )
        .route(
            "/face.js",
            file(
                "text/javascript; charset=utf-8",
                include_str!("../page/face.js"),
            ),
        )
        .route(
            "/face.css",
            file("text/css; charset=utf-8", include_str!("../page/face.css")),
        )
        .route("/world", get(world))
        .route("/sound", get(sound))
        .route("/screen.png", get(screen))
        .route("/ledger", get(ledger))
        .route("/set", post(set))
        .route("/standing", post(standing))
        .with_state(shared)
        .layer(middleware::from_fn(move |request, next| {
            guard(address, request, next)
        }))
}

/// Lets in what this page asks, and nobody who came here by another name or from another page.
async fn guard(address: SocketAddr, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let is_here = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .is_some_and(|host| {
            host == address.to_string() || host == format!("localhost:{}", address.port())
        });
    let changes = request.method() != axum::http::Method::GET;
    let mut response = if !is_here {
        sentence(
            StatusCode::MISDIRECTED_REQUEST,
            "this page has another address",
        )
    } else if changes && !headers.contains_key(OWN_HEADER) {
        sentence(
            StatusCode::FORBIDDEN,
            "only the page itself may use the switches",
        )
    } else {
        next.run(request).await
    };
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    let headers = response.headers_mut();
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Does what may wait for a socket or a process away from the thread that serves.
async fn apart(work: impl FnOnce() -> io::Result<Value> + Send + 'static) -> Response {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(value)) => json_of(&value),
        Ok(Err(error)) => {
            let status = match error.kind() {
                io::ErrorKind::InvalidInput => StatusCode::UNPROCESSABLE_ENTITY,
                io::ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
                _ => StatusCode::BAD_GATEWAY,
            };
            sentence(status, &error.to_string())
        }
        Err(_) => sentence(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the phone did not answer",
        ),
    }
}

fn json_of(value: &Value) -> Response {
    (
        [(header::CONTENT_TYPE, "application/json")],
        value.to_string(),
    )
        .into_response()
}

fn sentence(status: StatusCode, text: &str) -> Response {
    let mut response = json_of(&json!({ "error": text }));
    *response.status_mut() = status;
    response
}

async fn world(State(shared): State<Arc<Shared>>) -> Response {
    apart(move || {
        // The body last: what was seen before a wait for the keeper would be old.
        let standing = lock(&shared.keeper).standing();
        Ok(json!({
            "world": shared.body.world()?,
            "standing": standing.word(),
            "yours": *lock(&shared.hands) == Hands::OnThePhone,
        }))
    })
    .await
}

async fn sound(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let after = query.get("from_us").map_or(Ok(0), |text| text.parse());
    match after {
        Ok(from_us) => apart(move || shared.body.sound(from_us)).await,
        Err(_) => sentence(
            StatusCode::UNPROCESSABLE_ENTITY,
            "from_us is a number of microseconds",
        ),
    }
}

/// The panel's pixels. Whatever stands behind the path is there to tell one picture from the next.
async fn screen(State(shared): State<Arc<Shared>>) -> Response {
    match tokio::task::spawn_blocking(move || shared.body.screen()).await {
        Ok(Ok(png)) => ([(header::CONTENT_TYPE, "image/png")], png).into_response(),
        Ok(Err(error)) => sentence(StatusCode::BAD_GATEWAY, &error.to_string()),
        Err(_) => sentence(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the phone did not answer",
        ),
    }
}

async fn ledger(State(shared): State<Arc<Shared>>) -> Response {
    apart(move || {
        let question = lock(&shared.keeper).ledger();
        let mut entries = question()?;
        let newest = entries.split_off(entries.len().saturating_sub(SHOWN_ENTRIES));
        Ok(Value::Array(newest))
    })
    .await
}

async fn set(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let Ok(request) = serde_json::from_slice::<Value>(&body) else {
        return sentence(StatusCode::UNPROCESSABLE_ENTITY, "this is not JSON");
    };
    apart(move || {
        shared.let_hands_in()?;
        // The way first: a phone that hears of a network tries it at once.
        if let Some(reach) = reach_of(&request) {
            lock(&shared.keeper).carry(reach);
        }
        let answer = shared.body.set(&request)?;
        Ok(answer)
    })
    .await
}

/// What a change of the network does to the phone's traffic, if it is one.
fn reach_of(request: &Value) -> Option<Reach> {
    if request["set"] != "network" {
        return None;
    }
    match request["kind"].as_str()? {
        "none" => Some(Reach::Cut),
        "wifi" | "cellular" => Some(Reach::Open),
        // Nothing that the page offers.
        _ => None,
    }
}

async fn standing(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let word = serde_json::from_slice::<Value>(&body)
        .ok()
        .and_then(|value| value["to"].as_str().map(str::to_owned));
    let wanted = Standing::ALL
        .into_iter()
        .find(|(_, known)| Some(*known) == word.as_deref());
    let Some((wanted, _)) = wanted else {
        return sentence(
            StatusCode::UNPROCESSABLE_ENTITY,
            "a phone is on, asleep or off",
        );
    };
    apart(move || {
        shared.let_hands_in()?;
        lock(&shared.keeper).put(wanted);
        Ok(json!({"ok": true}))
    })
    .await
}

impl Shared {
    fn let_hands_in(&self) -> io::Result<()> {
        match *lock(&self.hands) {
            Hands::OnThePhone => Ok(()),
            Hands::Away => Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the tour is still on: the switches are yours when it has ended",
            )),
        }
    }
}
