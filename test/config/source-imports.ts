import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join } from 'node:path';

const IMPORT = /^\s*(?:import|export)\s+(type\s)?(?:[^'";]*?\sfrom\s+)?'([^']+)'|\bimport\('([^']+)'\)/gm;
const NODE = new Set([...builtinModules, ...builtinModules.map((name) => `node:${name}`)]);

/** Of each source file: the files and packages that it imports. */
function importsOf(file: string): string[] {
  return [...readFileSync(file, 'utf8').matchAll(IMPORT)].map(([, , fixed, lazy]) => {
    const specifier = (fixed ?? lazy) as string;
    if (!specifier.startsWith('.')) return specifier;
    const path = join(dirname(file), specifier).replaceAll('\\', '/');
    const source = path.replace(/\.js$/, '.ts');
    return existsSync(source) ? source : path;
  });
}

/** The source files. */
export const SOURCE_FILES: readonly string[] = ['src', 'adapters', 'managers']
  .flatMap((folder) => readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => `${folder}/${name}`))
  .map((name) => name.replaceAll('\\', '/'))
  // The page runs in a browser, the kernel is AssemblyScript: both have compilers of their own.
  .filter((name) => name.endsWith('.ts') && !/^src\/(?:report\/page|blocks\/kernel)\//.test(name));
/** Of each source file: the files and packages that it imports, Node's own modules aside. */
export const SOURCE_IMPORTS: ReadonlyMap<string, readonly string[]> = new Map(
  SOURCE_FILES.map((file) => [file, importsOf(file).filter((target) => !NODE.has(target))]),
);
