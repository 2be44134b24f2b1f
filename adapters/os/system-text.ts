import { readFileSync } from 'node:fs';

/** Reads a file of the system, such as one below /proc; empty where there is none, or where this user may not read it. */
export function systemText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
