import test from "ava";
import { parseAccessFile } from "../../server/access/access-file.ts";
import { TensorwireError } from "../../server/errors/tensorwire-error.ts";

/** SHA-256 of "abc" (FIPS 180-2, appendix B.1). */
const hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

function problems(text: string): readonly string[] {
  try {
    parseAccessFile(text, "keys.yaml");
  } catch (error) {
    if (error instanceof TensorwireError) return error.message.split("\n");
    throw error;
  }
  return [];
}

test("keys and certificates are found by hash and by name", (t) => {
  const { keys, certificates } = parseAccessFile(
    `
# who may call
- { name: shop, sha256: "${hash.toUpperCase()}", permissions: [infer, read], models: ["iris*", digits] }
- name: web
  certificate: spiffe://cluster.local/ns/shop/sa/web
  permissions: [infer]
- { name: gateway, certificate: Gateway.Example, permissions: [infer] }
- { name: operator, certificate: CN=operator, permissions: [control] }
`,
    "keys.yaml",
  );
  const shop = keys.get(hash);
  t.is(shop?.name, "shop");
  t.is(shop?.credential, "key");
  t.deepEqual([...(shop?.permissions ?? [])], ["infer", "read"]);
  t.true(shop?.models.allows("iris-2"));
  t.false(shop?.models.allows("other"));
  t.deepEqual(
    [...certificates].map(([name, { models }]) => [name, models.all]),
    [
      ["spiffe://cluster.local/ns/shop/sa/web", true],
      ["gateway.example", true],
      ["CN=operator", true],
    ],
  );
});

test("JSON is read as well, and a list of none allows nobody", (t) => {
  const entry = { name: "a", sha256: hash, permissions: ["infer"] };
  t.is(parseAccessFile(JSON.stringify([entry]), "f").keys.size, 1);
  t.is(parseAccessFile("[]", "f").keys.size, 0);
});

const other = hash.replace("b", "c");
const wrong: readonly (readonly [string, string, readonly RegExp[]])[] = [
  ["an empty file", "", [/^keys\.yaml: expected a list of entries; a list of none is \[\]$/]],
  ["a mapping", "keys: []", [/expected a list of entries/]],
  ["what is no YAML", "- { name: a\n- x", [/^keys\.yaml, line \d+: /]],
  ["an entry that is a text", "\n- shop", [/^keys\.yaml, line 2: expected an entry such as/]],
  [
    "an unknown field and a permission that there is not",
    `- name: a\n  sha256: "${hash}"\n  role: admin\n  permissions: [infer, write]`,
    [
      /^keys\.yaml, line 3, role: not known; fields are name, sha256/,
      /^keys\.yaml, line 4, permissions: got "write", expected a list of infer, read, control$/,
    ],
  ],
  [
    "no permissions and no name",
    `- sha256: "${hash}"`,
    [/line 1, name: expected a text/, /line 1, permissions: expected a list/],
  ],
  [
    "a bare text for permissions, and models that are empty",
    `- { name: a, sha256: "${hash}", permissions: infer, models: [] }`,
    [/line 1, permissions: expected a list/, /line 1, models: expected a list of names/],
  ],
  [
    "a name with a line break",
    `- { name: "a\\nb", sha256: "${hash}", permissions: [infer] }`,
    [/line 1, name: expected a text/],
  ],
  [
    "neither key nor certificate",
    "- { name: a, permissions: [infer] }",
    [/line 1: expected either sha256, the hash of a key, or certificate/],
  ],
  [
    "both of them",
    `- { name: a, sha256: "${hash}", certificate: x.example, permissions: [infer] }`,
    [/line 1: expected either sha256/],
  ],
  [
    "a name of a certificate that is none",
    "- { name: a, certificate: 'O=x, CN=y', permissions: [infer] }",
    [/line 1, certificate: expected a URI such as "spiffe:/],
  ],
  [
    "the same hash twice",
    `- { name: a, sha256: "${hash}", permissions: [infer] }\n\n- { name: b, sha256: "${hash.toUpperCase()}", permissions: [read] }`,
    [/^keys\.yaml, line 3, sha256: the same as of the entry on line 1/],
  ],
  [
    "a field twice",
    `- { name: a, name: b, sha256: "${other}", permissions: [infer] }`,
    [/line 1: .*unique/],
  ],
];

for (const [what, text, messages] of wrong) {
  test(`${what} is refused with line and field`, (t) => {
    const found = problems(text);
    for (const message of messages)
      t.true(
        found.some((line) => message.test(line)),
        `${message} in ${found.join("\n")}`,
      );
    t.is(found.length, messages.length, found.join("\n"));
  });
}

test("a key that stands in the file by mistake is refused and not repeated", (t) => {
  const key = "tw_abcdefghijklmnopqrstuvwxyz0123456789";
  const found = problems(`- { name: a, key: ${key}, sha256: ${key}, permissions: [infer] }`);
  t.is(found.length, 2);
  t.regex(found[0]!, /line 1, key: a key never stands in the file/);
  t.regex(found[1]!, /line 1, sha256: expected 64 hexadecimal digits/);
  t.false(found.join().includes(key));
});
