import { readFileSync } from 'node:fs';

/** A plugin of typedoc: takes the entry points from package.json, so that they are listed once. */
export function load(app) {
  app.on('bootstrapEnd', () => {
    const { exports } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
    const files = Object.values(exports).flatMap(({ default: path }) => (path === undefined ? [] : [path]));
    app.options.setValue(
      'entryPoints',
      files.map((path) => path.replace('./dist/', '').replace(/\.js$/, '.ts')),
    );
  });
}
