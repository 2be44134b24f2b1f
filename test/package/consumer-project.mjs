// An empty project with the packed tarball in it, as a new user has it.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';

export const ROOT = resolve(import.meta.dirname, '../..');

/** The path of a command of this project's development packages. */
export function bin(name) {
  return join(ROOT, 'node_modules', '.bin', name);
}

/** A project that has the packed tarball installed, in a folder of its own below the one for temporary files. */
export class ConsumerProject {
  folder = mkdtempSync(join(tmpdir(), 'stowage-consumer-'));

  constructor() {
    execFileSync('npm', ['pack', '--silent', '--pack-destination', this.folder], {
      cwd: ROOT,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    this.tarball = this.path(readdirSync(this.folder).find((name) => name.endsWith('.tgz')));
    this.write('package.json', JSON.stringify({ name: 'consumer', private: true, type: 'module' }));
    const install = ['install', '--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error', this.tarball];
    execFileSync('npm', install, { cwd: this.folder, stdio: ['ignore', 'ignore', 'inherit'] });
  }

  path(name) {
    return join(this.folder, name);
  }

  write(name, text) {
    mkdirSync(dirname(this.path(name)), { recursive: true });
    writeFileSync(this.path(name), text);
    return this.path(name);
  }

  /** Brings a package of this project's own: a peer dependency, or what a consumer has beside Stowage. */
  link(name, from = join(ROOT, 'node_modules')) {
    const link = this.path(join('node_modules', name));
    if (existsSync(link)) return;
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(join(from, name), link);
  }

  /**
   * Runs a program to its end, by default under the Node of this process. What it prints is shown when it fails.
   *
   * @param options - `node`: the path of the Node that it and the commands it starts find; `quiet`: it must write no warning
   * @returns what it printed
   */
  run(command, args, { node = process.execPath, quiet = false } = {}) {
    const env = {
      ...process.env,
      PATH: `${dirname(node)}${delimiter}${process.env.PATH}`,
      NODE_OPTIONS: '',
      NODE_EXTRA_CA_CERTS: '',
    };
    const { status, stdout, stderr, error } = spawnSync(command, args, { cwd: this.folder, encoding: 'utf8', env });
    if (error !== undefined) throw error;
    if (status !== 0 || (quiet && stderr !== ''))
      throw new Error(`${command} ${args.join(' ')} ends with ${status}:\n${stdout}${stderr}`);
    return stdout.trim();
  }

  dispose() {
    rmSync(this.folder, { recursive: true });
  }
}

/** The first block of README.md in a language. */
export function readmeBlock(language) {
  const block = new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\`\`\``).exec(readFileSync(join(ROOT, 'README.md'), 'utf8'))?.[1];
  if (block === undefined) throw new Error(`README.md has no block of ${language}`);
  return block;
}

/** Does some checks and prints their name. */
export function check(title, work) {
  const detail = work();
  console.log(`ok  ${title}${typeof detail === 'string' ? `: ${detail}` : ''}`);
}
