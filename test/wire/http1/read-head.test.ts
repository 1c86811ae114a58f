import test from "ava";
import { Http1Error } from "../../../server/wire/http1/http1-error.ts";
import { readRequestHead, readResponseHead } from "../../../server/wire/http1/read-head.ts";

function request(...lines: string[]) {
  return readRequestHead(lines.join("\r\n"));
}

test("method, path, host and fields of a request", (t) => {
  const head = request("POST /a?b=1 HTTP/1.1", "Host: h:1", "X-A:  v w ", "x-a:2");
  t.is(head.method, "POST");
  t.is(head.path, "/a?b=1");
  t.is(head.authority, "h:1");
  t.is(head.minor, 1);
  t.true(head.persists);
  t.deepEqual(
    head.fields.map(({ name, value }) => [name, value]),
    [
      ["x-a", "v w"],
      ["x-a", "2"],
    ],
  );
});

test("what speaks of one connection is taken out, and upgrades are told", (t) => {
  const head = request(
    "GET / HTTP/1.1",
    "Host: h",
    "Connection: Upgrade, X-Hop",
    "Upgrade: websocket",
    "X-Hop: 1",
    "Keep-Alive: timeout=5",
    "TE: trailers, deflate",
  );
  t.is(head.upgrade, "websocket");
  t.deepEqual(
    head.fields.map(({ name }) => name),
    ["upgrade", "te"],
  );
  const plain = request("GET / HTTP/1.1", "Host: h", "Connection: Upgrade", "Upgrade: h2c");
  t.is(plain.upgrade, undefined);
  t.deepEqual(plain.fields, []);
});

test("an absolute target counts more than Host", (t) => {
  const head = request("GET http://real:8/x?y HTTP/1.1", "Host: other");
  t.is(head.authority, "real:8");
  t.is(head.path, "/x?y");
});

test("which connections persist", (t) => {
  t.true(request("GET / HTTP/1.1", "Host: h").persists);
  t.false(request("GET / HTTP/1.1", "Host: h", "Connection: close").persists);
  t.false(request("GET / HTTP/1.0").persists);
  t.true(request("GET / HTTP/1.0", "Connection: keep-alive").persists);
});

const refused: readonly (readonly [why: string, status: number, lines: readonly string[]])[] = [
  ["no host", 400, ["GET / HTTP/1.1"]],
  ["two hosts", 400, ["GET / HTTP/1.1", "Host: a", "Host: b"]],
  [
    "a length and chunks",
    400,
    ["POST / HTTP/1.1", "Host: h", "Content-Length: 3", "Transfer-Encoding: chunked"],
  ],
  ["two lengths", 400, ["POST / HTTP/1.1", "Host: h", "Content-Length: 3", "Content-Length: 4"]],
  ["a length in a list", 400, ["POST / HTTP/1.1", "Host: h", "Content-Length: 3, 3"]],
  ["a length with a sign", 400, ["POST / HTTP/1.1", "Host: h", "Content-Length: +3"]],
  ["a blank before the colon", 400, ["GET / HTTP/1.1", "Host: h", "X-A : 1"]],
  ["a folded line", 400, ["GET / HTTP/1.1", "Host: h", "X-A: 1", " 2"]],
  ["a line without a colon", 400, ["GET / HTTP/1.1", "Host: h", "X-A"]],
  ["a bare line feed in a value", 400, ["GET / HTTP/1.1", "Host: h", "X-A: 1\nX-B: 2"]],
  ["a NUL", 400, ["GET / HTTP/1.1", "Host: h", "X-A: \0"]],
  ["two blanks in the first line", 400, ["GET  / HTTP/1.1", "Host: h"]],
  ["a control character in the target", 400, ["GET /\x01 HTTP/1.1", "Host: h"]],
  ["no version", 400, ["GET /"]],
  ["another version", 505, ["GET / HTTP/2.0", "Host: h"]],
  ["another coding", 501, ["POST / HTTP/1.1", "Host: h", "Transfer-Encoding: gzip, chunked"]],
  [
    "chunks twice",
    501,
    ["POST / HTTP/1.1", "Host: h", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
  ],
  ["chunks in HTTP/1.0", 400, ["POST / HTTP/1.0", "Transfer-Encoding: chunked"]],
];

for (const [why, status, lines] of refused) {
  test(`a request is refused for ${why}`, (t) => {
    t.is(t.throws(() => request(...lines), { instanceOf: Http1Error })?.status, status);
  });
}

test("an answer and where its content ends", (t) => {
  const sized = readResponseHead("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX: y");
  t.is(sized.status, 200);
  t.is(sized.contentEnd, "length");
  t.is(sized.contentLength, 3);
  t.is(readResponseHead("HTTP/1.1 200\r\nTransfer-Encoding: chunked").contentEnd, "chunked");
  t.is(readResponseHead("HTTP/1.1 200 OK").contentEnd, "close");
  t.is(readResponseHead("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5, max=10").keepAliveMs, 5000);
});

test("what is no answer is refused", (t) => {
  for (const text of ["HTTP/2 200 OK", "200 OK", "HTTP/1.1 20 OK", "HTTP/1.1 200 OK\r\nbad"]) {
    t.throws(() => readResponseHead(text), { instanceOf: Http1Error });
  }
});
