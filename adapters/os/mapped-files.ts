import { readdirSync, readFileSync } from 'node:fs';

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
      const pids = users.get(path);
      if (pids === undefined) users.set(path, [Number(entry)]);
      else pids.push(Number(entry));
    }
  }
  return users;
}

function mappedPaths(pid: string, prefix: string): Set<string> {
  const paths = new Set<string>();
  for (const line of mapsOf(pid).split('\n')) {
    // Range, rights, offset, device and number come before the path.
    const start = line.indexOf(prefix);
    if (start > 0 && line[start - 1] === ' ' && !line.endsWith(' (deleted)')) paths.add(line.slice(start));
  }
  return paths;
}

function mapsOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/maps`, 'utf8');
  } catch {
    // Another user's, or it has just ended.
    return '';
  }
}
