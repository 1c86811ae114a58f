import { randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { temporaryFolder } from "../../support/temporary-folder.ts";
import { findTool, runTool } from "../../support/tools.ts";
import { certificate, tlsFlags } from "./certificates.ts";
import { startIdentity } from "./identity-server.ts";

// curl, whose HTTP/2 is nghttp2's.

const curl = findTool("curl");
const maybe = curl ? test : test.skip;

const values = [1.5, -2, 3.25];
const request = JSON.stringify({
  inputs: [{ name: "x", datatype: "FP32", shape: [values.length], data: values }],
});

interface CurlAnswer {
  readonly status: string;
  /** `1.1` or `2`. */
  readonly version: string;
  readonly body: string;
}

async function call(t: ExecutionContext, url: string, ...args: string[]): Promise<CurlAnswer> {
  const { code, output } = await runTool(curl!, [
    ...["--silent", "--show-error", "--max-time", "20"],
    ...["--write-out", "\n%{http_version} %{http_code}", ...args, url],
  ]);
  t.is(code, 0, output);
  const end = output.lastIndexOf("\n");
  const [version, status] = output.slice(end + 1).split(" ");
  return { status: status!, version: version!, body: output.slice(0, end) };
}

const infer = ["--json", request];

for (const [name, flag, version] of [
  ["HTTP/2 by prior knowledge", "--http2-prior-knowledge", "2"],
  // The answer of a server that ignores Upgrade: h2c (RFC 9113, section 3.1) is one of HTTP/1.1.
  ["HTTP/1.1 that asks for an upgrade", "--http2", "1.1"],
  ["HTTP/1.1", "--http1.1", "1.1"],
] as const) {
  maybe(`curl in cleartext: ${name}`, async (t) => {
    const server = await startIdentity(t);
    const url = `${server.url}/v2/models/identity/infer`;
    const answer = await call(t, url, flag, ...infer);
    t.like(answer, { status: "200", version });
    t.deepEqual(JSON.parse(answer.body).outputs[0].data, values);
    // Two calls on one connection.
    const missing = await call(t, `${server.url}/v2/models/none/infer`, flag, ...infer);
    t.like(missing, { status: "404", version });
    t.regex(missing.body, /MODEL_NOT_FOUND/);
  });
}

for (const [flag, version] of [
  ["--http2", "2"],
  ["--http1.1", "1.1"],
] as const) {
  maybe(`curl over TLS with ${flag} speaks HTTP/${version}, by ALPN`, async (t) => {
    const server = await startIdentity(t, ...tlsFlags);
    const url = `${server.url.replace("127.0.0.1", "localhost")}/v2/models/identity/infer`;
    const answer = await call(t, url, "--cacert", certificate("ca.pem"), flag, ...infer);
    t.like(answer, { status: "200", version });
    t.deepEqual(JSON.parse(answer.body).outputs[0].data, values);
    // Three calls on one connection; in cleartext curl 7.88 fails at that with any server (curl #10634).
    const more = await call(t, url, "--cacert", certificate("ca.pem"), flag, ...infer, url, url);
    t.is(more.body.match(/"data":\[1.5,-2,3.25\]/g)?.length, 3);
  });
}

for (const flag of ["--http2-prior-knowledge", "--http1.1"]) {
  maybe(`curl ${flag}: 24 MB there and back`, async (t) => {
    const server = await startIdentity(t);
    const count = 6_000_000;
    const content = randomBytes(count * 4);
    const folder = await temporaryFolder(t);
    const [sent, received] = [join(folder, "sent"), join(folder, "received")];
    const head = JSON.stringify({
      inputs: [
        {
          name: "x",
          datatype: "FP32",
          shape: [count],
          parameters: { binary_data_size: content.length },
        },
      ],
      outputs: [{ name: "y", parameters: { binary_data: true } }],
    });
    await writeFile(sent, Buffer.concat([Buffer.from(head), content]));
    const answer = await call(
      t,
      `${server.url}/v2/models/identity/infer`,
      flag,
      ...[
        ...["--header", `Inference-Header-Content-Length: ${Buffer.byteLength(head)}`],
        ...["--header", "Content-Type: application/octet-stream", "--header", "Expect:"],
        ...["--data-binary", `@${sent}`, "--output", received],
      ],
    );
    t.is(answer.status, "200");
    const bytes = await readFile(received);
    t.true(bytes.subarray(bytes.length - content.length).equals(content));
  });
}
