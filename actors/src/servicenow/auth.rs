//! How the hub shows who it is.

use reqwest::RequestBuilder;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};

use crate::domain::failure::{Effect, ErrorClass, Failure};
use crate::domain::secret::Secret;

/// The header of an inbound REST API key (plugin `com.glide.tokenbased_auth`).
const API_KEY: HeaderName = HeaderName::from_static("x-sn-apikey");

const UNSENDABLE: &str = "the api key or token holds characters that cannot be sent: enter it again";

/// What a call shows to the instance. No cookie is ever sent: calls that share a session run one at
/// a time over there, and those that wait too long are thrown away with a 202 (KB0564204).
#[derive(Clone)]
pub enum Credentials {
    /// Basic authentication. From 2026 on an instance may restrict it to users with the role
    /// `snc_basic_auth_api_access`.
    Basic {
        /// The user name; holds no colon.
        user: String,
        /// The password.
        password: Secret,
    },
    /// An inbound REST API key.
    ApiKey {
        /// The key.
        key: Secret,
    },
    /// An access token of OAuth, however it was had.
    Bearer {
        /// The access token.
        token: Secret,
    },
    /// None: every call is refused before it is sent, for this reason.
    Withheld(&'static str),
}

impl Credentials {
    /// Puts the credentials on a request, marked as not to be shown.
    pub(super) fn apply(&self, request: RequestBuilder) -> Result<RequestBuilder, Failure> {
        let (name, text) = match self {
            Self::Basic { user, password } => return Ok(request.basic_auth(user, Some(password.expose()))),
            Self::Withheld(reason) => return Err(unusable(reason)),
            Self::ApiKey { key } => (API_KEY, Secret::new(key.expose())),
            Self::Bearer { token } => (AUTHORIZATION, Secret::new(format!("Bearer {}", token.expose()))),
        };
        let mut value = HeaderValue::from_str(text.expose()).map_err(|_| unusable(UNSENDABLE))?;
        value.set_sensitive(true);
        Ok(request.header(name, value))
    }
}

fn unusable(detail: &str) -> Failure {
    Failure {
        class: ErrorClass::Auth,
        effect: Effect::None,
        http_status: None,
        detail: detail.to_owned(),
        retry_at_ms: None,
    }
}
