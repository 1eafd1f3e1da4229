//! A token issuer for development: a fresh ES256 key, whose public half is served
//! as a JWK Set.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use actix_web::{
    App, HttpResponse, HttpServer,
    dev::ServerHandle,
    rt,
    web::{self, Data},
};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use jsonwebtoken::{
    Algorithm, EncodingKey, Header, encode,
    jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash},
};
use serde_json::json;

/// How long tokens and keys of `dev` are valid.
pub(super) const LIFETIME: Duration = Duration::from_secs(12 * 3600);
/// The `aud` of its tokens.
pub(super) const AUDIENCE: &str = "glacier-gateway";

/// Mints tokens and serves the key that verifies them.
pub(super) struct DevIssuer {
    /// The issuer's URL, the `iss` of its tokens.
    pub(super) url: String,
    key: EncodingKey,
    key_id: String,
    server: ServerHandle,
}

impl DevIssuer {
    /// Makes a key and serves it at `bind`.
    pub(super) fn start(bind: SocketAddr) -> io::Result<Self> {
        let pair =
            EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(io::Error::other)?;
        let document = pair.to_pkcs8v1().map_err(io::Error::other)?;
        let key = EncodingKey::from_ec_der(document.as_ref());
        let mut public =
            Jwk::from_encoding_key(&key, Algorithm::ES256).map_err(io::Error::other)?;
        let key_id = public.thumbprint(ThumbprintHash::SHA256).map_err(io::Error::other)?;
        public.common.key_id = Some(key_id.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);

        let listener = TcpListener::bind(bind)?;
        let url = format!("http://{}", listener.local_addr()?);
        let jwks = Data::new(serde_json::to_value(JwkSet { keys: vec![public] })?);
        let server = HttpServer::new(move || {
            App::new().app_data(jwks.clone()).route("/jwks.json", web::get().to(serve))
        })
        .workers(1)
        .disable_signals()
        .listen(listener)?
        .run();
        let issuer = Self { url, key, key_id, server: server.handle() };
        rt::spawn(server);
        Ok(issuer)
    }

    /// A token of `team` for the gateway.
    pub(super) fn token(&self, team: &str) -> io::Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?.as_secs();
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(self.key_id.clone());
        let claims = json!({
            "iss": self.url,
            "sub": format!("{team}-developer"),
            "aud": AUDIENCE,
            "client_id": "glacier-gateway-dev",
            "jti": uuid::Uuid::now_v7().to_string(),
            "iat": now,
            "exp": now + LIFETIME.as_secs(),
            "team": team,
        });
        encode(&header, &claims, &self.key).map_err(io::Error::other)
    }

    /// Stops serving the key.
    pub(super) async fn stop(&self) {
        self.server.stop(false).await;
    }
}

async fn serve(jwks: Data<serde_json::Value>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/jwk-set+json").json(jwks.as_ref())
}
