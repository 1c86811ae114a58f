import test from "ava";
import { HeaderField, HeaderList } from "../../../server/wire/http2/hpack/header-field.ts";
import {
  checkTrailers,
  RequestHead,
  ResponseHead,
  readRequestHead,
  readResponseHead,
} from "../../../server/wire/http2/message-head.ts";

type Pairs = readonly (readonly [name: string, value: string])[];

function list(...pairs: Pairs): HeaderList {
  return new HeaderList(
    pairs.map(([name, value]) => new HeaderField(name, value)),
    0,
    false,
  );
}

const base: Pairs = [
  [":method", "POST"],
  [":scheme", "http"],
  [":path", "/a/b?c"],
];

test("a request's head", (t) => {
  const head = readRequestHead(
    list(...base, [":authority", "host:1"], ["te", "trailers"], ["content-length", "12"]),
  );
  t.true(head instanceof RequestHead);
  t.like(head, {
    method: "POST",
    scheme: "http",
    path: "/a/b?c",
    authority: "host:1",
    contentLength: 12,
  });
  t.is((head as RequestHead).get("te"), "trailers");
  t.is((head as RequestHead).get("x"), undefined);
});

test("host stands for :authority where there is none (section 8.3.1)", (t) => {
  t.like(readRequestHead(list(...base, ["host", "h"])), { authority: "h" });
  t.like(readRequestHead(list(...base, [":authority", "a"], ["host", "h"])), { authority: "a" });
});

test("CONNECT has no scheme and no path (section 8.5)", (t) => {
  t.like(readRequestHead(list([":method", "CONNECT"], [":authority", "a:1"])), { path: "" });
  t.is(
    readRequestHead(list([":method", "CONNECT"], [":path", "/"])),
    "CONNECT has no :scheme and no :path",
  );
});

// RFC 9113, sections 8.2 and 8.3.
const malformed: Readonly<Record<string, readonly [RegExp, Pairs]>> = {
  "no method": [/:method is missing/, base.slice(1)],
  "an empty method": [/:method is missing/, [[":method", ""], ...base.slice(1)]],
  "no scheme": [/:scheme is missing/, [base[0]!, base[2]!]],
  "no path": [/:path is missing/, base.slice(0, 2)],
  "an empty path": [/:path is missing/, [...base.slice(0, 2), [":path", ""]]],
  "a pseudo-header field twice": [/:path is given twice/, [...base, [":path", "/"]]],
  "an unknown one": [/:version is no pseudo-header field/, [...base, [":version", "2"]]],
  "one of responses": [/:status is no pseudo-header field/, [...base, [":status", "200"]]],
  "one behind a field": [
    /":authority" is no field name/,
    [...base, ["a", "b"], [":authority", "h"]],
  ],
  "a name in upper case": [/"Te" is no field name/, [...base, ["Te", "trailers"]]],
  "an empty name": [/"" is no field name/, [...base, ["", "v"]]],
  "a space in a name": [/"a b" is no field name/, [...base, ["a b", "v"]]],
  "a byte above 127 in a name": [/is no field name/, [...base, ["a\xe4", "v"]]],
  "a line feed in a value": [/the value of a has/, [...base, ["a", "b\nc"]]],
  "a carriage return in a value": [/the value of a has/, [...base, ["a", "b\rc"]]],
  "NUL in a value": [/the value of a has/, [...base, ["a", "b\0c"]]],
  "a space at the beginning": [/the value of a has/, [...base, ["a", " b"]]],
  "a tab at the end": [/the value of a has/, [...base, ["a", "b\t"]]],
  "a line feed in the path": [/the value of :path/, [...base.slice(0, 2), [":path", "/\n"]]],
  connection: [/connection is no field of HTTP\/2/, [...base, ["connection", "close"]]],
  "keep-alive": [/keep-alive is no field/, [...base, ["keep-alive", "1"]]],
  "proxy-connection": [/proxy-connection is no field/, [...base, ["proxy-connection", "1"]]],
  "transfer-encoding": [/transfer-encoding is no/, [...base, ["transfer-encoding", "chunked"]]],
  upgrade: [/upgrade is no field/, [...base, ["upgrade", "h2c"]]],
  "te with something else": [/te is "gzip"/, [...base, ["te", "gzip"]]],
  "a content-length that is none": [/"-1", expected/, [...base, ["content-length", "-1"]]],
  "a content-length with a sign": [/"\+1", expected/, [...base, ["content-length", "+1"]]],
  "two lengths": [/given twice/, [...base, ["content-length", "1"], ["content-length", "2"]]],
};
for (const [name, [message, pairs]] of Object.entries(malformed)) {
  test(`malformed: ${name}`, (t) => {
    const said = readRequestHead(list(...pairs));
    t.is(typeof said, "string");
    t.regex(said as string, message);
  });
}

test("the same content-length twice is one", (t) => {
  const twice = list(...base, ["content-length", "1"], ["content-length", "1"]);
  t.like(readRequestHead(twice), { contentLength: 1 });
});

test("a field that was checked is not shared with what it was not checked for", (t) => {
  // The dynamic table gives the same field to every request: a wrong one is wrong each time.
  const wrong = new HeaderField("te", "gzip");
  const right = base.map(([name, value]) => new HeaderField(name, value));
  for (let turn = 0; turn < 2; turn++) {
    t.is(typeof readRequestHead(new HeaderList([...right, wrong], 0, false)), "string");
  }
  t.false(wrong.checked);
});

test("a response's head, and what is none", (t) => {
  const head = readResponseHead(list([":status", "200"], ["content-length", "0"]));
  t.true(head instanceof ResponseHead);
  t.like(head, { status: 200, contentLength: 0 });
  t.regex(readResponseHead(list(["a", "b"])) as string, /:status/);
  t.regex(readResponseHead(list()) as string, /:status/);
  for (const status of ["20", "2000", "099", "2x0", ""]) {
    t.regex(readResponseHead(list([":status", status])) as string, /three digits/);
  }
  t.regex(
    readResponseHead(list([":status", "200"], [":status", "200"])) as string,
    /no field name/,
  );
  t.regex(readResponseHead(list([":status", "200"], ["connection", "x"])) as string, /connection/);
});

test("trailers have no pseudo-header fields (section 8.1)", (t) => {
  t.is(checkTrailers(list(["grpc-status", "0"])), undefined);
  t.regex(checkTrailers(list([":status", "200"]))!, /":status" is no field name/);
});
