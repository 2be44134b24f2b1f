import { readdirSync } from 'node:fs';
import { systemText } from './system-text.js';

/**
 * Finds which processes have mapped files whose paths begin with `prefix`. It sees those that this user may look into,
 * and on Linux only. Cost: reads the list of mappings of every process, some ms.
 *
 * @returns pids by path; deleted files are left out
 */
export function processesMapping(prefix: string): Map<string, number[]> {
  const users = new Map<string, number[]>();
  if (process.platform !== 'linux') return users;
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    for (const path of mappedPaths(entry, prefix)) {
      users.set(path, [...(users.get(path) ?? []), Number(entry)]);
    }
  }
  return users;
}

function mappedPaths(pid: string, prefix: string): Set<string> {
  const paths = new Set<string>();
  // Empty for another user's process, or one that has just ended.
  for (const line of systemText(`/proc/${pid}/maps`).split('\n')) {
    // Range, rights, offset, device and number come before the path.
    const start = line.indexOf(prefix);
    if (start > 0 && line[start - 1] === ' ' && !line.endsWith(' (deleted)')) paths.add(line.slice(start));
  }
  return paths;
}
