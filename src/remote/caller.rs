//! Calls to the API of a running server, each with a deadline.

use std::future::Future;
use std::io;
use std::mem::ManuallyDrop;
use std::time::Duration;

use awc::error::{ConnectError, SendRequestError};
use awc::http::Method;
use awc::http::header::CONTENT_TYPE;
use awc::{Client, Connector};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::address::Remote;
use super::text::printable;
use crate::admin::model::{FaultCode, Refusal};
use crate::version::VERSION;

/// Longest time for a call, including the body of the answer, unless the caller sets another.
const DEADLINE: Duration = Duration::from_secs(5);

/// The path that says whether the server is ready.
const READY: &str = "/health/ready";

/// Size limit of an answer.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Why a call brings nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Nobody answers.
    #[error(
        "{base} does not answer: {cause}. The address comes from {named_by}: check that the server runs and that its \
         setting admin.listen is this address, or name another one by --admin ADDR"
    )]
    Silent {
        /// The URL of the listener.
        base: String,
        /// The setting or the flag that names the listener.
        named_by: String,
        /// The error of the system, in words.
        cause: String,
    },
    /// The server misses a key, or does not accept it for this.
    #[error(
        "{base} refuses: {why}. It needs the key that its own admin.token holds, and here is {key}: set it by the \
         variable MAXTALK_ADMIN__TOKEN, or in the file of --config"
    )]
    Key {
        /// The URL of the listener.
        base: String,
        /// The server's message.
        why: String,
        /// The setting of this program, with its source.
        key: String,
    },
    /// The server refuses the request, and says why.
    #[error("{0}")]
    Refused(String),
    /// The server answers that it is not ready for clients.
    #[error("{base} is not ready: {why}")]
    NotReady {
        /// The URL of the listener.
        base: String,
        /// The server's reason.
        why: String,
    },
    /// The answer is not one of this version of the API.
    #[error("{base}: {what}. {}", other_version(version))]
    Foreign {
        /// The URL of the listener.
        base: String,
        /// The fault of the answer.
        what: String,
        /// The version of the server, if it is one.
        version: Option<String>,
    },
}

impl CallError {
    /// Returns the reason alone, in a few words.
    pub fn reason(&self) -> String {
        match self {
            Self::Silent { cause, .. } => cause.clone(),
            Self::Key { why, .. } => format!("{why} (the key is the setting admin.token)"),
            Self::Refused(message) => message.clone(),
            Self::NotReady { why, .. } => format!("not ready: {why}"),
            Self::Foreign { what, version, .. } => format!("{what}. {}", other_version(version)),
        }
    }
}

fn other_version(version: &Option<String>) -> String {
    match version {
        Some(version) if version == VERSION => format!("It is maxtalk {version}, as this program is"),
        Some(version) => {
            format!("It is maxtalk {version}, and this program is maxtalk {VERSION}: use the one of the server")
        }
        None => format!("It may be no admin listener of maxtalk; this program is maxtalk {VERSION}"),
    }
}

/// Makes calls to one server. Needs an actix system.
pub struct Caller {
    client: Client,
    remote: Remote,
    deadline: Duration,
}

impl Caller {
    /// Creates a caller. It does not connect yet.
    pub fn new(remote: Remote) -> Self {
        Self::with_deadline(remote, DEADLINE)
    }

    /// Creates a caller whose calls may take this long, including the body of the answer.
    pub fn with_deadline(remote: Remote, deadline: Duration) -> Self {
        // Our own deadline covers the whole call, so awc's timeouts are set to come later.
        let later = deadline + Duration::from_secs(1);
        let client = Client::builder()
            .connector(Connector::new().timeout(later).handshake_timeout(later))
            .disable_timeout()
            .disable_redirects()
            .add_default_header(("User-Agent", concat!("maxtalk/", env!("CARGO_PKG_VERSION"))))
            .finish();
        Self { client, remote, deadline }
    }

    /// Asks for the JSON at a path.
    ///
    /// # Errors
    /// There is no JSON.
    pub async fn get(&self, path: &str) -> Result<Value, CallError> {
        self.call(Method::GET, path, None).await
    }

    /// Sends changes to a path. Returns the JSON of the answer.
    ///
    /// # Errors
    /// The changes are refused, or the answer is not JSON.
    pub async fn patch(&self, path: &str, changes: &Value) -> Result<Value, CallError> {
        self.call(Method::PATCH, path, Some(changes)).await
    }

    /// Asks whether the server is ready for clients.
    ///
    /// # Errors
    /// The server does not answer, or is not ready.
    pub async fn ready(&self) -> Result<(), CallError> {
        let (status, bytes) = self.exchange(Method::GET, READY, None).await.map_err(|cause| self.silent(cause))?;
        let health = serde_json::from_slice::<Value>(&bytes).unwrap_or_default();
        match (status, health["reason"].as_str()) {
            (200, _) if health["status"] == "ok" => Ok(()),
            (503, Some(why)) => Err(CallError::NotReady { base: self.remote.base.to_string(), why: printable(why) }),
            _ => Err(self.foreign(format!("it answers {READY} with the status {status}")).await),
        }
    }

    /// Reads a value of the API.
    ///
    /// # Errors
    /// The value does not have this type.
    pub async fn read<T: DeserializeOwned>(&self, path: &str, value: Value) -> Result<T, CallError> {
        match serde_json::from_value(value) {
            Ok(value) => Ok(value),
            Err(error) => Err(self.unreadable(path, &error).await),
        }
    }

    /// Returns the error of an answer that cannot be understood.
    pub async fn unreadable(&self, path: &str, why: &dyn std::fmt::Display) -> CallError {
        self.foreign(format!("its answer at {path} cannot be read: {}", printable(&why.to_string()))).await
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, CallError> {
        let (status, bytes) = self.exchange(method, path, body).await.map_err(|cause| self.silent(cause))?;
        if (200..300).contains(&status) {
            return match serde_json::from_slice(&bytes) {
                Ok(value) => Ok(value),
                Err(error) => Err(self.unreadable(path, &error).await),
            };
        }
        let Ok(Refusal { error }) = serde_json::from_slice(&bytes) else {
            return Err(self.foreign(format!("it answers {path} with the status {status}")).await);
        };
        let message: Vec<_> = error.message.lines().map(printable).collect();
        let message = message.join("\n");
        Err(match error.code {
            FaultCode::Unauthorized | FaultCode::Forbidden => {
                CallError::Key { base: self.remote.base.to_string(), why: message, key: self.remote.key.clone() }
            }
            FaultCode::NotFound | FaultCode::MethodNotAllowed => {
                self.foreign(format!("it has no {path} for this ({message})")).await
            }
            _ => CallError::Refused(message),
        })
    }

    /// Makes a request, and reads the whole answer.
    async fn exchange(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(u16, Bytes), String> {
        let mut request = self.client.request(method, format!("{}{path}", self.remote.base));
        if let Some(token) = &self.remote.token {
            request = request.bearer_auth(token.reveal());
        }
        let exchange = async {
            let sent = match body {
                Some(body) => request.insert_header((CONTENT_TYPE, "application/json")).send_body(body.to_string()),
                None => request.send(),
            };
            let mut answer = sent.await.map_err(|error| in_words(&error))?;
            let status = answer.status().as_u16();
            let bytes = answer.body().limit(ANSWER_BYTES_MAX).await.map_err(|error| error.to_string())?;
            Ok((status, bytes))
        };
        tokio::time::timeout(self.deadline, exchange).await.unwrap_or_else(|_| Err(self.too_late()))
    }

    fn too_late(&self) -> String {
        format!("no answer within {} s", self.deadline.as_secs_f64())
    }

    /// Returns the error of a server that does not answer within the deadline.
    pub fn late(&self) -> CallError {
        self.silent(self.too_late())
    }

    fn silent(&self, cause: String) -> CallError {
        let Remote { base, named_by, .. } = &self.remote;
        CallError::Silent { base: base.to_string(), named_by: named_by.clone(), cause }
    }

    /// Returns the error of an answer that is not one of this version of the API. Asks the server for its version.
    async fn foreign(&self, what: String) -> CallError {
        let health = self.exchange(Method::GET, "/health", None).await.ok();
        let health = health.and_then(|(_, bytes)| serde_json::from_slice::<Value>(&bytes).ok());
        let version = health.as_ref().and_then(|health| health["version"].as_str()).map(printable);
        CallError::Foreign { base: self.remote.base.to_string(), what, version }
    }
}

fn in_words(error: &SendRequestError) -> String {
    match error {
        SendRequestError::Connect(ConnectError::Io(error)) => error.to_string(),
        error => error.to_string(),
    }
}

/// Runs a future that makes calls.
///
/// # Errors
/// The system gives no runtime.
pub fn run<T>(calls: impl Future<Output = T>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Not dropped: the drop of a runtime would wait for its resolver, which may hang.
    let system = ManuallyDrop::new(actix_rt::System::with_tokio_rt(|| runtime));
    Ok(system.block_on(calls))
}
