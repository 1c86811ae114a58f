/**
 * One form for the names in certificates and those in the access file: a URI as it is, a common name
 * behind `CN=`, and a DNS name in lower case.
 *
 * @returns `undefined` for a text that is none of them
 */
export function certificateName(text: string): string | undefined {
  if (text.includes("://")) return text;
  if (text.startsWith("CN=")) return text.length > "CN=".length ? text : undefined;
  return /^[\w*-]+(\.[\w-]+)*\.?$/.test(text) ? text.toLowerCase() : undefined;
}
