import { readFileSync } from "node:fs";
import test from "ava";
import { environmentName } from "../../server/config/environment-name.ts";
import { serveSettings } from "../../server/config/serve-settings.ts";
import { settingsDocument } from "../../server/config/settings-document.ts";

const path = new URL("../../docs/settings.md", import.meta.url);

test("docs/settings.md is what the declarations give", (t) => {
  t.is(readFileSync(path, "utf8"), settingsDocument(), "run npm run generate");
});

test("docs/settings.md has a row for every setting of serve, with its variable and meaning", (t) => {
  const rows = readFileSync(path, "utf8").split("\n");
  for (const [flag, { help }] of Object.entries(serveSettings)) {
    const row = rows.find((line) => line.startsWith(`| \`--${flag}`));
    t.true(row?.includes(environmentName(flag)), flag);
    t.true(row?.includes(help), flag);
  }
});
