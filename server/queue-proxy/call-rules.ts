import type { RequestHead } from "../wire/http2/message-head.ts";

/** Whose call it is, and what it counts. */
export interface CallPlace {
  /** Name of its class. */
  readonly className: string;
  /** Who shares with others in the class; "" if nobody is told apart. */
  readonly tenant: string;
  /** What it counts in rates and shares. */
  readonly cost: number;
}

/** Finds the place of a call by its head. */
export type CallRules = (head: RequestHead) => CallPlace;

const onePlace: CallPlace = { className: "default", tenant: "", cost: 1 };

/** All calls are alike. */
export const noRules: CallRules = () => onePlace;
