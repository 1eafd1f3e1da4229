// The three calls of `dev` with types that openapi-typescript generated.

import createClient from "openapi-fetch";
import type { paths } from "./generated.js";

const { REST, MEDIA, FINANCE, VAULT, FIRST, SECOND } = process.env as Record<string, string>;
const client = (token: string) =>
  createClient<paths>({ baseUrl: REST, headers: { Authorization: `Bearer ${token}` } });
const vault = { accountId: "-", vaultName: VAULT };
const abort = (token: string, uploadId: string) =>
  client(token).DELETE(
    "/v1/accounts/{accountId}/vaults/{vaultName}/multipart-uploads/{uploadId}",
    { params: { path: { ...vault, uploadId } } },
  );

const aborted = await abort(MEDIA, FIRST);
const denied = await abort(FINANCE, SECOND);
const near = denied.error?.nearMisses?.[0];
const list = await client(MEDIA).GET(
  "/v1/accounts/{accountId}/vaults/{vaultName}/multipart-uploads",
  { params: { path: vault } },
);
console.log(
  JSON.stringify({
    aborted: aborted.response.status,
    denied: {
      status: denied.response.status,
      code: denied.error?.code,
      reason: denied.error?.reason,
      policy: near?.statement.policy,
      missed: near?.missed,
    },
    left: list.data?.uploads.map((upload) => upload.uploadId),
  }),
);
