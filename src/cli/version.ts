import { existsSync, readFileSync } from 'node:fs';

/** The version of this package: from its package.json, which stands somewhere above this file, compiled or not. */
export function packageVersion(): string {
  for (let folder = new URL('.', import.meta.url); ; folder = new URL('..', folder)) {
    const file = new URL('package.json', folder);
    if (existsSync(file)) {
      const { name, version } = JSON.parse(readFileSync(file, 'utf8')) as { name?: string; version?: string };
      if (name === 'stowage' && version !== undefined) return version;
    }
    if (new URL('..', folder).href === folder.href) return 'unknown';
  }
}
