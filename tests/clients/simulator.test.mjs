// The simulator is Glacier enough for the AWS SDK for JavaScript.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { after, before, beforeEach, test } from "node:test";

import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateVaultCommand,
  GlacierClient,
  InitiateMultipartUploadCommand,
  ListPartsCommand,
  UploadMultipartPartCommand,
  paginateListMultipartUploads,
} from "@aws-sdk/client-glacier";

const binary =
  process.env.GATEWAY_BIN ?? new URL("../../target/debug/glacier-gateway", import.meta.url).pathname;
const photos = { accountId: "-", vaultName: "photos" };
let simulator, endpoint, control, glacier;

function client(settings) {
  return new GlacierClient({
    endpoint,
    region: "eu-central-1",
    credentials: {
      accessKeyId: "AKIAIOSFODNN7EXAMPLE",
      secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    },
    ...settings,
  });
}

async function order(path, body) {
  const headers = { "Content-Type": "application/json" };
  const reply = await fetch(control + path, { method: "POST", headers, body: JSON.stringify(body) });
  assert.ok(reply.ok, `${path}: ${reply.status}`);
  return reply.status === 204 ? undefined : reply.json();
}

before(async () => {
  simulator = spawn(binary, ["simulator"], { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = await once(createInterface(simulator.stdout), "line");
  ({ endpoint, control } = JSON.parse(line));
  glacier = client();
});

after(async () => {
  glacier.destroy();
  simulator.kill();
  await once(simulator, "exit");
});

beforeEach(() => order("/reset"));

test("an archive is uploaded in parts and completed", async () => {
  await glacier.send(new CreateVaultCommand(photos));
  const { uploadId } = await glacier.send(
    new InitiateMultipartUploadCommand({ ...photos, partSize: "1048576", archiveDescription: "a trip" }),
  );
  const body = Buffer.from("a small archive");
  const range = `bytes 0-${body.length - 1}/*`;
  // The SDK computes the tree hash itself.
  const { checksum } = await glacier.send(
    new UploadMultipartPartCommand({ ...photos, uploadId, range, body }),
  );
  const parts = await glacier.send(new ListPartsCommand({ ...photos, uploadId }));
  assert.deepEqual(parts.Parts, [
    { RangeInBytes: `0-${body.length - 1}`, SHA256TreeHash: checksum },
  ]);
  assert.equal(parts.ArchiveDescription, "a trip");
  const archiveSize = String(body.length);
  const done = await glacier.send(
    new CompleteMultipartUploadCommand({ ...photos, uploadId, archiveSize, checksum }),
  );
  assert.equal(done.checksum, checksum);
  assert.equal(done.archiveId.length, 138);
});

test("an upload is aborted, and once more", async () => {
  const seed = { accountId: "111122223333", region: "eu-central-1", vaultName: "photos" };
  const { uploadIds } = await order("/vaults", { ...seed, uploads: [{ parts: 1 }] });
  const uploadId = uploadIds[0];
  for (const _ of [1, 2]) {
    const reply = await glacier.send(new AbortMultipartUploadCommand({ ...photos, uploadId }));
    assert.equal(reply.$metadata.httpStatusCode, 204);
  }
  await assert.rejects(glacier.send(new ListPartsCommand({ ...photos, uploadId })), {
    name: "ResourceNotFoundException",
    code: "ResourceNotFoundException",
    type: "Client",
  });
});

test("the paginator walks every page", async () => {
  const seed = { accountId: "111122223333", region: "eu-central-1", vaultName: "photos" };
  const { uploadIds } = await order("/vaults", { ...seed, uploads: Array(60).fill({}) });
  const listed = [];
  for await (const page of paginateListMultipartUploads({ client: glacier }, photos)) {
    listed.push(...page.UploadsList.map((upload) => upload.MultipartUploadId));
  }
  assert.deepEqual(listed.sort(), uploadIds.sort());
});

test("a wrong secret is refused", async () => {
  const stranger = client({ credentials: { accessKeyId: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: "wrong" } });
  await assert.rejects(stranger.send(new CreateVaultCommand(photos)), {
    name: "InvalidSignatureException",
  });
  stranger.destroy();
});

test("unavailability is outlived by retries", async () => {
  await glacier.send(new CreateVaultCommand(photos));
  await order("/faults", { effect: "unavailable", times: 2 });
  const page = await paginateListMultipartUploads({ client: glacier }, photos).next();
  assert.equal(page.value.$metadata.attempts, 3);
});
