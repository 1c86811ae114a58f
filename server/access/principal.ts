import type { ModelPatterns } from "./model-patterns.ts";
import type { Permission } from "./permissions.ts";

/** What a caller showed to say who it is. */
export type CredentialKind = "key" | "token" | "certificate";

/** A caller that is known, and what it may do. */
export interface Principal {
  /** As the access file or the token's `sub` has it; for the audit log. */
  readonly name: string;
  readonly credential: CredentialKind;
  readonly permissions: ReadonlySet<Permission>;
  /** Models that the permissions hold for. */
  readonly models: ModelPatterns;
}
