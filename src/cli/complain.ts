/** Says on stderr what is wrong, in one line. */
export function complain(message: string): void {
  process.stderr.write(`stowage: ${message.trim().replace(/\s*[\r\n]+\s*/g, ' ')}\n`);
}
