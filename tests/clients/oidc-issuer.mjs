// An OpenID provider (oidc-provider) for the tests: clients of two teams, people
// who sign in with any password, keys that rotate on order.
//
//   node oidc-issuer.mjs KEYS PORT REDIRECT_URI
//
// KEYS is a file with the provider's private JWK Set, written when it is missing,
// so that a provider that comes back is the same one. Prints one line of JSON.
// POST /control/rotate makes a new key, publishes it and signs with it; POST
// /control/withdraw publishes the newest key only.

import { generateKeyPairSync, randomUUID } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";

import Provider from "oidc-provider";

const [file, port, redirectUri] = process.argv.slice(2);

function newKey() {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return { ...privateKey.export({ format: "jwk" }), alg: "ES256", use: "sig", kid: randomUUID() };
}

function load() {
  if (!existsSync(file)) writeFileSync(file, JSON.stringify({ keys: [newKey()] }));
  return JSON.parse(readFileSync(file, "utf8"));
}

function service(team) {
  return {
    client_id: `${team}-service`,
    client_secret: `${team}-secret`,
    grant_types: ["client_credentials"],
    redirect_uris: [],
    response_types: [],
    id_token_signed_response_alg: "ES256",
  };
}

function provider(issuer, jwks) {
  const provider = new Provider(issuer, {
    jwks,
    clients: [
      service("media"),
      service("finance"),
      {
        client_id: "swagger-ui",
        token_endpoint_auth_method: "none",
        application_type: "native",
        grant_types: ["authorization_code"],
        redirect_uris: [redirectUri],
        id_token_signed_response_alg: "ES256",
      },
    ],
    clientBasedCORS: (ctx, origin, client) => client.clientId === "swagger-ui",
    extraTokenClaims: (ctx, token) => ({
      groups: [`glacier-${token.accountId ?? token.clientId.split("-")[0]}`, "staff"],
    }),
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: true },
      resourceIndicators: {
        enabled: true,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          scope: "abort",
          audience: "glacier-gateway",
          accessTokenFormat: "jwt",
          accessTokenTTL: 600,
          jwt: { sign: { alg: "ES256" } },
        }),
      },
    },
    pkce: { required: () => true },
    cookies: { keys: ["for tests"] },
  });
  provider.on("server_error", (_, error) => console.error(error));
  return provider.callback();
}

let handle;
const server = createServer((request, response) => {
  const order = request.method === "POST" && request.url.match(/^\/control\/(\w+)$/)?.[1];
  if (!order) return handle(request, response);
  const jwks = load();
  // The provider signs with the first key.
  if (order === "rotate") jwks.keys.unshift(newKey());
  if (order === "withdraw") jwks.keys.splice(1);
  writeFileSync(file, JSON.stringify(jwks));
  handle = provider(issuer, jwks);
  response.end();
});
let issuer;
server.listen(Number(port), "127.0.0.1", () => {
  issuer = `http://127.0.0.1:${server.address().port}`;
  handle = provider(issuer, load());
  console.log(JSON.stringify({ issuer }));
});
process.on("SIGTERM", () => process.exit(0));
