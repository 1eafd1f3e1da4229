// The door is Glacier to the AWS SDK for JavaScript, for five operations.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { after, before, beforeEach, test } from "node:test";

import {
  AbortMultipartUploadCommand,
  DeleteVaultCommand,
  DescribeVaultCommand,
  GlacierClient,
  ListMultipartUploadsCommand,
  ListPartsCommand,
  ListVaultsCommand,
  ResourceNotFoundException,
  ServiceUnavailableException,
  UploadArchiveCommand,
  paginateListMultipartUploads,
} from "@aws-sdk/client-glacier";

const binary =
  process.env.GATEWAY_BIN ?? new URL("../../target/debug/glacier-gateway", import.meta.url).pathname;
const vault = { accountId: "-", vaultName: "media-photos" };
let dev, facts, glacier;

function client(settings, team = "media") {
  return new GlacierClient({
    endpoint: facts.door,
    region: "eu-central-1",
    credentials: facts.keys[team],
    ...settings,
  });
}

async function order(path, body) {
  const headers = { "Content-Type": "application/json" };
  const sent = body === undefined ? {} : { method: "POST", headers, body: JSON.stringify(body) };
  const reply = await fetch(facts.simulator.control + path, sent);
  assert.ok(reply.ok, `${path}: ${reply.status}`);
  return reply.status === 204 ? undefined : reply.json();
}

async function seed(vaultName, ...uploads) {
  const seed = { accountId: "111122223333", region: "eu-central-1", vaultName, uploads };
  return (await order("/vaults", seed)).uploadIds;
}

before(async () => {
  dev = spawn(binary, ["dev", "--port", "0", "--json"], { stdio: ["ignore", "pipe", "ignore"] });
  const [line] = await once(createInterface(dev.stdout), "line");
  facts = JSON.parse(line);
  glacier = client();
});

after(async () => {
  glacier.destroy();
  dev.kill();
  await once(dev, "exit");
});

beforeEach(() => order("/reset", null));

test("the five operations", async () => {
  const [uploadId] = await seed("media-photos", { parts: 2 });
  const { VaultList } = await glacier.send(new ListVaultsCommand({ accountId: "-" }));
  assert.deepEqual(VaultList.map((listed) => listed.VaultName), ["media-photos"]);
  const described = await glacier.send(new DescribeVaultCommand(vault));
  assert.equal(described.VaultARN, VaultList[0].VaultARN);
  const { UploadsList } = await glacier.send(new ListMultipartUploadsCommand(vault));
  assert.deepEqual(UploadsList.map((listed) => listed.MultipartUploadId), [uploadId]);
  const { Parts } = await glacier.send(new ListPartsCommand({ ...vault, uploadId }));
  assert.equal(Parts.length, 2);
  const aborted = await glacier.send(new AbortMultipartUploadCommand({ ...vault, uploadId }));
  assert.equal(aborted.$metadata.httpStatusCode, 204);
  assert.ok(aborted.$metadata.requestId);
  const after = await glacier.send(new ListMultipartUploadsCommand(vault));
  assert.deepEqual(after.UploadsList, []);
});

test("names of every shape", async () => {
  for (const vaultName of ["media-a.b", "media-..", "media--_"]) {
    const [uploadId] = await seed(vaultName, {});
    await glacier.send(new AbortMultipartUploadCommand({ accountId: "-", vaultName, uploadId }));
    await assert.rejects(
      glacier.send(new AbortMultipartUploadCommand({ accountId: "-", vaultName, uploadId: "-abc" })),
      ResourceNotFoundException,
    );
  }
});

test("the paginator walks every page", async () => {
  const uploadIds = await seed("media-photos", ...Array(120).fill({}));
  const listed = [];
  for await (const page of paginateListMultipartUploads({ client: glacier, pageSize: 25 }, vault)) {
    listed.push(...page.UploadsList.map((upload) => upload.MultipartUploadId));
  }
  assert.deepEqual(listed.sort(), uploadIds.sort());
});

test("a denial is AccessDeniedException with the reason, and nothing is forwarded", async () => {
  const [uploadId] = await seed("media-photos", {});
  const finance = client({}, "finance");
  await assert.rejects(finance.send(new AbortMultipartUploadCommand({ ...vault, uploadId })), {
    name: "AccessDeniedException",
    message: /no policy of your teams allows this/,
  });
  finance.destroy();
  for (const command of [
    new DeleteVaultCommand(vault),
    new UploadArchiveCommand({ ...vault, body: Buffer.alloc(5_000_000) }),
  ]) {
    await assert.rejects(glacier.send(command), {
      name: "AccessDeniedException",
      message: /AbortMultipartUpload, ListMultipartUploads, ListParts, DescribeVault, ListVaults/,
    });
  }
  assert.deepEqual(await order("/requests"), []);
});

test("Glacier's unavailability is its own class", async () => {
  const [uploadId] = await seed("media-photos", {});
  await order("/faults", { effect: "unavailable" });
  const once = client({ maxAttempts: 1 });
  await assert.rejects(
    once.send(new AbortMultipartUploadCommand({ ...vault, uploadId })),
    ServiceUnavailableException,
  );
  once.destroy();
});

test("throttling is outlived by retries", async () => {
  const [uploadId] = await seed("media-photos", {});
  // Three attempts of the gateway's for each of the SDK's.
  await order("/faults", { effect: "throttle", times: 4 });
  const reply = await glacier.send(new AbortMultipartUploadCommand({ ...vault, uploadId }));
  assert.equal(reply.$metadata.attempts, 2);
});

test("wrong credentials are told apart", async () => {
  for (const [credentials, name] of [
    [{ ...facts.keys.media, secretAccessKey: "wrong" }, "SignatureDoesNotMatch"],
    [{ ...facts.keys.media, sessionToken: "token" }, "UnrecognizedClientException"],
    [{ accessKeyId: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: "x" }, "UnrecognizedClientException"],
  ]) {
    const stranger = client({ credentials });
    await assert.rejects(stranger.send(new ListVaultsCommand({ accountId: "-" })), { name });
    stranger.destroy();
  }
});

test("a clock that is off is told, and set right by the SDK for the next attempt", async () => {
  await seed("media-photos");
  const off = client({ systemClockOffset: -20 * 60 * 1000, maxAttempts: 1 });
  await assert.rejects(off.send(new ListVaultsCommand({ accountId: "-" })), {
    name: "RequestExpired",
    message: /^Signature expired/,
  });
  const { VaultList } = await off.send(new ListVaultsCommand({ accountId: "-" }));
  assert.equal(VaultList.length, 1);
  off.destroy();
});

test("a bearer token is set by a middleware", async () => {
  const [uploadId] = await seed("media-photos", {});
  const bearer = new GlacierClient({
    endpoint: facts.door,
    region: "eu-central-1",
    credentials: { accessKeyId: "unused", secretAccessKey: "unused" },
  });
  bearer.middlewareStack.add(
    (next) => (call) => {
      call.request.headers = {
        host: call.request.headers.host,
        "x-amz-glacier-version": "2012-06-01",
        authorization: `Bearer ${facts.tokens.media}`,
      };
      return next(call);
    },
    { step: "finalizeRequest", priority: "low" },
  );
  const reply = await bearer.send(new AbortMultipartUploadCommand({ ...vault, uploadId }));
  assert.equal(reply.$metadata.httpStatusCode, 204);
  bearer.destroy();
});
