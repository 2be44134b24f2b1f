import { readFileSync } from 'node:fs';

const IMPORT = /^import (?:\{[^}]*\}) from '(\.\/[\w-]+\.js)';\n/gm;
const EXPORT = /^export (?=(?:async )?function|class|const|let)/gm;
const DECLARATION = /^(?:async )?(?:function|class|const|let) (\w+)/gm;
const UNSUPPORTED = /^(?:import|export)\b.*$/m;

/**
 * Puts a module and those that it imports into one script, the imported ones first. Understands what the page's own
 * modules use: named imports of neighbours, and exported declarations whose names differ from those of the other modules.
 *
 * @throws Error for a module that uses more than that: a defect of the page
 */
export function inlineModules(entry: URL): string {
  const seen = new Set<string>();
  const names = new Set<string>();
  const parts: string[] = [];
  const visit = (url: URL): void => {
    if (seen.has(url.href)) return;
    seen.add(url.href);
    const source = readFileSync(url, 'utf8');
    for (const [, path] of source.matchAll(IMPORT)) visit(new URL(path as string, url));
    const body = source.replace(IMPORT, '').replace(EXPORT, '');
    const left = UNSUPPORTED.exec(body);
    if (left !== null) throw new Error(`${url.href}: this cannot be inlined: ${left[0]}`);
    for (const [, name = ''] of body.matchAll(DECLARATION)) {
      if (names.has(name)) throw new Error(`${url.href}: another module of the page has a ${name}, too`);
      names.add(name);
    }
    parts.push(body.trim());
  };
  visit(entry);
  return parts.join('\n');
}
