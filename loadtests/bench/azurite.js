// node --require azurite.js …/azurite-blob: an account that tells what it sends and, as Azure
// does, stands some milliseconds away at the end of a line.
//
// BENCH_TRACE: the file that gets a line for each answer: [method, URL, status, bytes sent,
//   time of the body's first byte on the clock of CLOCK_MONOTONIC in ns or null].
// BENCH_DELAY_MS: how long each request waits before Azurite sees it,
// BENCH_REQUEST_BYTES_S: and how much of its body comes a second: for that it waits as well.
// BENCH_BYTES_S: how much all answers together may bring a second.
"use strict";

const fs = require("fs");
const http = require("http");

const trace = fs.openSync(process.env.BENCH_TRACE, "a");
const delayMs = Number(process.env.BENCH_DELAY_MS);
const requestBytesPerMs = Number(process.env.BENCH_REQUEST_BYTES_S) / 1e3;
const bytesPerNs = Number(process.env.BENCH_BYTES_S) / 1e9;
const LEAST_WAIT_NS = 2e6; // timers count whole milliseconds
let due = 0;

const now = () => Number(process.hrtime.bigint());

function watch(request, response) {
  const { method, url, socket } = request;
  const before = socket.bytesWritten;
  const { write, emit } = response;
  let first = null;
  let held = false;

  response.write = function (chunk, ...rest) {
    first ??= now();
    const isReady = write.call(this, chunk, ...rest);
    due = Math.max(due, now()) + chunk.length / bytesPerNs;
    const ahead = due - now();
    if (held || ahead < LEAST_WAIT_NS) return isReady;
    held = true;
    setTimeout(() => { held = false; emit.call(this, "drain"); }, ahead / 1e6);
    return false;
  };
  response.emit = function (event, ...rest) {
    return event === "drain" && held ? false : emit.call(this, event, ...rest);
  };
  response.on("close", () => {
    const sent = socket.bytesWritten - before;
    fs.writeSync(trace, JSON.stringify([method, url, response.statusCode, sent, first]) + "\n");
  });
}

const serverEmit = http.Server.prototype.emit;
http.Server.prototype.emit = function (event, ...rest) {
  if (event !== "request") return serverEmit.call(this, event, ...rest);
  watch(...rest);
  const bytes = Number(rest[0].headers["content-length"] || 0);
  const waitMs = delayMs + bytes / requestBytesPerMs;
  if (!waitMs) return serverEmit.call(this, event, ...rest); // a timer takes 1 ms at least
  setTimeout(() => serverEmit.call(this, event, ...rest), waitMs);
  return true;
};
