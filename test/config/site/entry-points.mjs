import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { Comment, CommentTag, Converter, ReflectionKind } from 'typedoc';

const ROOT = resolve(import.meta.dirname, '../../..');
const GROUP = 'API';

/** The source of each entry point, by import path: `stowage/managers`. They are listed once, in package.json. */
function entryPoints() {
  const { name, exports } = JSON.parse(readFileSync(resolve(ROOT, 'package.json'), 'utf8'));
  const pairs = Object.entries(exports).flatMap(([path, { default: file }]) => {
    if (file === undefined) return [];
    return [[path.replace('.', name), file.replace('./dist/', '').replace(/\.js$/, '.ts')]];
  });
  return new Map(pairs.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Takes the entry points from package.json, and names their modules as programs import them. */
export function addEntryPoints(app) {
  const entries = entryPoints();
  const paths = new Map(Array.from(entries, ([path, file]) => [file.replace(/(\/index)?\.ts$/, ''), path]));
  app.options.setValue('entryPoints', [...entries.values()]);
  app.converter.on(Converter.EVENT_CREATE_DECLARATION, (_context, reflection) => {
    if (reflection.kind !== ReflectionKind.Module) return;
    const path = paths.get(reflection.name);
    if (path === undefined) throw new Error(`${reflection.name} is the module of no entry point`);
    reflection.name = path;
    reflection.comment ??= new Comment();
    reflection.comment.blockTags.push(new CommentTag('@group', [{ kind: 'text', text: GROUP }]));
  });
}
