import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';

/** A peer that cannot take part, and why. */
export interface MissingPeer {
  readonly name: string;
  readonly reason: string;
}

/** A program that was compiled, or the reason why it was not. */
export type BuiltPeer = { readonly file: string } | { readonly reason: string };

/** The peers that are compiled here. */
export interface NativePeers {
  readonly caching: BuiltPeer;
  readonly mallocLoop: BuiltPeer;
}

const OPTIMISE = ['-O3', '-Wall', '-Wextra'];
// The compiler must not take pairs of malloc and free out, or know what malloc returns.
const PLAIN_MALLOC = ['-fno-builtin-malloc', '-fno-builtin-free'];

/** Compiles the native peers. What was compiled before from the same sources is used again. */
export function buildNativePeers(sources: string, cache: string): NativePeers {
  return {
    caching: build('caching.cpp', process.env['CXX'] ?? 'g++', ['-std=c++17', ...OPTIMISE]),
    mallocLoop: build('malloc-loop.c', process.env['CC'] ?? 'gcc', [...OPTIMISE, ...PLAIN_MALLOC]),
  };

  function build(source: string, compiler: string, flags: readonly string[]): BuiltPeer {
    const { status, stdout } = spawnSync(compiler, ['--version'], { encoding: 'utf8' });
    if (status !== 0) return { reason: `there is no compiler ${compiler} (Debian: apt-get install gcc g++ libc6-dev)` };
    const hash = createHash('sha1').update([stdout, ...flags].join('\0'));
    for (const part of [source, 'events.h']) hash.update(readFileSync(join(sources, part)));
    const file = join(cache, `${source.replace(/\.\w+$/, '')}-${hash.digest('hex').slice(0, 16)}`);
    if (existsSync(file)) return { file };
    mkdirSync(cache, { recursive: true });
    const part = `${file}.${process.pid}.part`;
    try {
      execFileSync(compiler, [...flags, '-o', part, join(sources, source), '-ldl'], { stdio: 'pipe', encoding: 'utf8' });
    } catch (error) {
      return { reason: `${compiler} could not compile ${source}: ${firstLine((error as { stderr?: string }).stderr)}` };
    }
    // Whole or not there: another run may be looking.
    renameSync(part, file);
    return { file };
  }
}

/** The path of a shared library that the loader knows, or undefined. */
export function findPreload(library: string): string | undefined {
  for (const ldconfig of ['ldconfig', '/sbin/ldconfig']) {
    const { status, stdout } = spawnSync(ldconfig, ['-p'], { encoding: 'utf8' });
    if (status !== 0) continue;
    for (const line of stdout.split('\n')) {
      const [name, path] = line.trim().split(/ .*=> /);
      if (name === library && path !== undefined && existsSync(path)) return path;
    }
  }
  return undefined;
}

function firstLine(text = ''): string {
  return text.trim().split('\n')[0] ?? '';
}
