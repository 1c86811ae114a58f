/** Whether a text from a configuration names a file of a folder, and leads nowhere else. */
export function isPlainFileName(name: string): boolean {
  return name !== "" && name !== "." && name !== ".." && !/[/\\\0]/.test(name);
}
