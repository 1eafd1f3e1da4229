// What a team writes in an afternoon with Fastify, jose and the AWS SDK. Keys are
// imported once, Glacier's connections are pooled and kept. It writes no access log.
import cluster from 'node:cluster';
import { readFileSync } from 'node:fs';
import { Agent } from 'node:http';
import {
  AbortMultipartUploadCommand,
  GlacierClient,
  ListMultipartUploadsCommand,
} from '@aws-sdk/client-glacier';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import Fastify from 'fastify';
import { createLocalJWKSet, jwtVerify } from 'jose';

const { AUDIENCE, AWS_REGION, GLACIER, ISSUER, JWKS, POLICIES, PORT, WORKERS } = process.env;

if (cluster.isPrimary && Number(WORKERS) > 1) {
  for (let worker = 0; worker < Number(WORKERS); worker += 1) cluster.fork();
} else {
  await serve();
}

async function serve() {
  const keys = createLocalJWKSet(JSON.parse(readFileSync(JWKS, 'utf8')));
  const policies = JSON.parse(readFileSync(POLICIES, 'utf8'), (name, value) =>
    name === 'vaults' ? value.map(pattern) : value,
  );
  const glacier = new GlacierClient({
    region: AWS_REGION,
    endpoint: GLACIER,
    requestHandler: new NodeHttpHandler({
      httpAgent: new Agent({ keepAlive: true, maxSockets: 256 }),
    }),
  });

  const app = Fastify({ maxParamLength: 1024 });

  app.addHook('onRequest', async (request, reply) => {
    const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1];
    try {
      const { payload } = await jwtVerify(token, keys, {
        issuer: ISSUER,
        audience: AUDIENCE,
        algorithms: ['ES256', 'RS256'],
        requiredClaims: ['exp', 'sub'],
      });
      request.team = payload.team;
    } catch {
      return reply.code(401).send({ message: 'invalid token' });
    }
  });

  // Default deny; an explicit deny wins.
  const allowed = (team, action, vault) => {
    const effects = (policies[team] ?? [])
      .filter(({ actions, vaults }) => actions.includes(action) && vaults.some((v) => v.test(vault)))
      .map(({ effect }) => effect);
    return effects.length > 0 && !effects.includes('Deny');
  };
  const authorize = (action) => async (request, reply) => {
    if (!allowed(request.team, action, request.params.vault)) {
      return reply.code(403).send({ message: `${action} is not allowed` });
    }
  };

  const uploads = '/v1/accounts/:account/vaults/:vault/multipart-uploads';
  app.delete(
    `${uploads}/:upload`,
    { preHandler: authorize('AbortMultipartUpload') },
    async (request, reply) => {
      const { account, vault, upload } = request.params;
      await glacier.send(
        new AbortMultipartUploadCommand({ accountId: account, vaultName: vault, uploadId: upload }),
      );
      return reply.code(204).send();
    },
  );
  app.get(uploads, { preHandler: authorize('ListMultipartUploads') }, async (request) => {
    const { account, vault } = request.params;
    const { limit, marker } = request.query;
    const page = await glacier.send(
      new ListMultipartUploadsCommand({
        accountId: account,
        vaultName: vault,
        limit: limit && Number(limit),
        marker,
      }),
    );
    return { uploads: page.UploadsList, marker: page.Marker };
  });

  await app.listen({ port: Number(PORT), host: '127.0.0.1' });
}

function pattern(glob) {
  const escaped = glob.replace(/[.+^${}()|[\]\\]/g, '\\$&');
  return new RegExp(`^${escaped.replaceAll('*', '.*').replaceAll('?', '.')}$`);
}
