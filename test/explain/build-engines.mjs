// node test/explain/build-engines.mjs
// Compiles better-sqlite3, whose package brings sources alone: with npm's own node-gyp, against the headers beside this Node where it has any.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

const folder = join(import.meta.dirname, 'engines/node_modules/better-sqlite3');
if (!existsSync(join(folder, 'build/Release/better_sqlite3.node'))) {
  const home = dirname(dirname(process.execPath));
  const headers = existsSync(join(home, 'include/node/node.h')) ? ['--', `--nodedir=${home}`] : [];
  const { status } = spawnSync('npm', ['run', 'build-release', ...headers], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  process.exitCode = status ?? 1;
}
