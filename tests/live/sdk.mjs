// The AWS SDK for JavaScript on a line protocol: one JSON request per line in, one JSON answer per line out,
// in the order in which they finish, so that calls overlap. Payloads travel as base64.
import { createInterface } from "node:readline";
import * as sdk from "@aws-sdk/client-lambda";

const clients = new Map();

function clientFor({ endpoint, accessKeyId, secretAccessKey = "secret", sessionToken, systemClockOffset, maxAttempts }) {
  const key = JSON.stringify([endpoint, accessKeyId, secretAccessKey, sessionToken, systemClockOffset, maxAttempts]);
  if (!clients.has(key)) {
    const credentials = { accessKeyId, secretAccessKey, sessionToken };
    const options = { endpoint, region: "us-east-1", credentials, maxAttempts, systemClockOffset };
    clients.set(key, new sdk.LambdaClient(options));
  }
  return clients.get(key);
}

const decoded = (text) => (text === null ? undefined : Buffer.from(text, "base64"));
const encoded = (bytes) => Buffer.from(bytes ?? []).toString("base64");

const operations = {
  async create(client, { input, code }) {
    return client.send(new sdk.CreateFunctionCommand({ ...input, Code: { ZipFile: decoded(code) } }));
  },
  async invoke(client, { input, payload }) {
    const answer = await client.send(new sdk.InvokeCommand({ ...input, Payload: decoded(payload) }));
    return { ...answer, Payload: encoded(answer.Payload) };
  },
  async stream(client, { input, payload }) {
    const answer = await client.send(
      new sdk.InvokeWithResponseStreamCommand({ ...input, Payload: decoded(payload) }),
    );
    const chunks = [];
    let complete = null;
    for await (const event of answer.EventStream) {
      if (event.PayloadChunk) chunks.push(encoded(event.PayloadChunk.Payload));
      if (event.InvokeComplete) complete = event.InvokeComplete;
    }
    return { StatusCode: answer.StatusCode, chunks, complete, $metadata: answer.$metadata };
  },
};

function describe(error) {
  const errorClass = sdk[error.name];
  const { name, message, Reason, Type, retryAfterSeconds, $metadata } = error;
  const isModelled = errorClass !== undefined && error instanceof errorClass;
  return { name, message, isModelled, Reason, Type, retryAfterSeconds, $metadata };
}

async function answer(request) {
  const reply = { id: request.id };
  try {
    reply.result = await operations[request.operation](clientFor(request), request);
  } catch (error) {
    reply.error = describe(error);
  }
  process.stdout.write(JSON.stringify(reply) + "\n");
}

for await (const line of createInterface({ input: process.stdin })) answer(JSON.parse(line));
for (const client of clients.values()) client.destroy();
