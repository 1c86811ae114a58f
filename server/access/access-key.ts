import { hash, randomBytes } from "node:crypto";

/** Tells scanners for secrets, and people, what a text is. */
const keyPrefix = "tw_";
/** 256 bits: nobody finds a key by trying, so a plain hash keeps it as well as a slow one would. */
const keyBytes = 32;

/** Makes a new key from the system's random source. */
export function createAccessKey(): string {
  return keyPrefix + randomBytes(keyBytes).toString("base64url");
}

/** What the access file has in place of a key: its SHA-256 in lower-case hexadecimal digits. */
export function hashAccessKey(key: string): string {
  return hash("sha256", key, "hex");
}
