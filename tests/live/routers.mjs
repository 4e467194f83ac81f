// Routers of Node's frameworks, each on a loopback port of its own. A route's answer names the function that was run in
// `x-ran`. The first line of output is one JSON object: ports by name. `hold…` functions run until POST /_release; GET
// /_running says how many run, and how many did at most since POST /_forget.
import http from "node:http";
import { parse } from "node:url";

import Hapi from "@hapi/hapi";
import { getRequestListener } from "@hono/node-server";
import Router from "@koa/router";
import express from "express";
import Fastify from "fastify";
import { Hono } from "hono";
import Koa from "koa";

const OPERATIONS = ["invocations", "invoke-async", "response-streaming-invocations"];
const PATHS = OPERATIONS.map((operation) => `/:date/functions/:name/${operation}`);
const SERVED = new RegExp(`^/[^/]+/functions/([^/]+)/(?:${OPERATIONS.join("|")})/?$`, "i");
const named = (name) => ({ "x-ran": encodeURIComponent(name) });

const ports = {};

async function listen(name, handler) {
  const server = http.createServer(handler);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  ports[name] = server.address().port;
}

// Express, as it is by default: without letter case, with or without a slash at the end.
let running = 0;
let most = 0;
let held = [];
const app = express();
app.get("/_running", (request, response) => response.json({ running, most }));
app.post("/_release", (request, response) => {
  held.splice(0).forEach((release) => release());
  response.json({});
});
app.post("/_forget", (request, response) => {
  most = running;
  response.json({});
});
app.all(PATHS, async (request, response) => {
  const name = request.params.name;
  most = Math.max(most, ++running);
  if (name.startsWith("hold")) await new Promise((resolve) => held.push(resolve));
  running -= 1;
  response.set(named(name)).json({});
});
await listen("express", app);

// Express behind a prefix that it strips, as `app.use` does.
const mounted = express();
const inner = express.Router();
inner.all(
  OPERATIONS.map((operation) => `/functions/:name/${operation}`),
  (request, response) => response.set(named(request.params.name)).json({}),
);
mounted.use("/:date", inner);
await listen("express, mounted", mounted);

const fastify = Fastify({
  routerOptions: {
    caseSensitive: false,
    ignoreTrailingSlash: true,
    ignoreDuplicateSlashes: true,
    useSemicolonDelimiter: true,
  },
});
fastify.addContentTypeParser("*", { parseAs: "string" }, (request, body, done) => done(null, body));
PATHS.forEach((path) => fastify.all(path, (request, reply) => reply.headers(named(request.params.name)).send({})));
await fastify.ready();
await listen("fastify, lenient", (request, response) => fastify.routing(request, response));

const koa = new Koa();
koa.silent = true;
const router = new Router();
PATHS.forEach((path) =>
  router.all(path, (context) => {
    context.set(named(context.params.name));
    context.body = {};
  }),
);
koa.use(router.routes());
await listen("koa", koa.callback());

const hapi = Hapi.server({
  port: 0,
  host: "127.0.0.1",
  router: { isCaseSensitive: false, stripTrailingSlash: true },
});
OPERATIONS.forEach((operation) =>
  hapi.route({
    method: "*",
    path: `/{date}/functions/{name}/${operation}`,
    handler: (request, toolkit) => toolkit.response({}).header("x-ran", encodeURIComponent(request.params.name)),
  }),
);
await hapi.start();
ports["hapi, lenient"] = hapi.info.port;

const hono = new Hono({ strict: false });
PATHS.forEach((path) => hono.all(path, (context) => context.json({}, 200, named(context.req.param("name")))));
await listen("hono", getRequestListener(hono.fetch));

// Hand-written servers: what they make of the target before they look at it.
function handWritten(read) {
  return (request, response) => {
    let found = null;
    try {
      found = SERVED.exec(read(request.url));
    } catch {
      // no URL, or no escape
    }
    request.resume();
    response.writeHead(found ? 200 : 404, found ? named(found[1]) : {});
    response.end("{}");
  };
}
await listen("node, new URL", handWritten((target) => decodeURIComponent(new URL(target, "http://localhost").pathname)));
await listen("node, new URL behind a host", handWritten((target) => decodeURI(new URL("http://localhost" + target).pathname)));
await listen("node, new URL of the decoded", handWritten((target) => new URL(decodeURIComponent(target), "http://a").pathname));
await listen("node, url.parse", handWritten((target) => decodeURIComponent(parse(target).pathname)));
await listen("node, unescape", handWritten((target) => unescape(target)));

console.log(JSON.stringify(ports));
