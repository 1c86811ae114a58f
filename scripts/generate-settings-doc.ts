import { readFileSync, writeFileSync } from "node:fs";
import { settingsDocument } from "../server/config/settings-document.ts";

const path = new URL("../docs/settings.md", import.meta.url);
const text = settingsDocument();

if (process.argv.includes("--check")) {
  if (readFileSync(path, "utf8") !== text) {
    console.error("docs/settings.md differs from the declarations; run npm run generate");
    process.exitCode = 1;
  }
} else writeFileSync(path, text);
