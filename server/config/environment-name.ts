/** Prefix of every environment variable. */
export const environmentPrefix = "TENSORWIRE_";

/** Name of a setting's environment variable. */
export function environmentName(flag: string): string {
  return environmentPrefix + flag.replaceAll("-", "_").toUpperCase();
}
