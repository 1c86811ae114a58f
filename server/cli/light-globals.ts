import { LightHeaders } from "../wire/light-headers.ts";

// Headers are what every answer over REST and Connect, and every refusal, is made of; they are all that a
// server uses of Node's fetch unless it fetches keys. Imported before what uses them. An assignment: to
// define the property, the engine would look at what is there, and so load it.
globalThis.Headers = LightHeaders;
