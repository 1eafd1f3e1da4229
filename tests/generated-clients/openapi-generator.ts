// The three calls of `dev` with a TypeScript client that openapi-generator generated.

import { Configuration, ProblemDetailsFromJSON, ResponseError, UploadsApi } from "./client/index.js";

const { REST, MEDIA, FINANCE, VAULT, FIRST, SECOND } = process.env as Record<string, string>;
const client = (accessToken: string) =>
  new UploadsApi(new Configuration({ basePath: REST, accessToken }));
const vault = { accountId: "-", vaultName: VAULT };

const aborted = await client(MEDIA).abortMultipartUploadRaw({ ...vault, uploadId: FIRST });
const denied = await client(FINANCE)
  .abortMultipartUpload({ ...vault, uploadId: SECOND })
  .then(
    () => Promise.reject(new Error("the abort was not denied")),
    (error) => (error instanceof ResponseError ? error.response : Promise.reject(error)),
  );
const problem = ProblemDetailsFromJSON(await denied.json());
const near = problem.nearMisses?.[0];
const left = await client(MEDIA).listMultipartUploads(vault);
console.log(
  JSON.stringify({
    aborted: aborted.raw.status,
    denied: {
      status: denied.status,
      code: problem.code,
      reason: problem.reason,
      policy: near?.statement.policy,
      missed: near?.missed,
    },
    left: left.uploads.map((upload) => upload.uploadId),
  }),
);
