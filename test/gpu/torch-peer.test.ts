import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { BenchEvents } from '../bench/event-file.js';
import { compiledLibrary } from '../fixtures/compiled-c.js';
import { TorchPeer } from './torch-peer.js';

const scratch = mkdtempSync(join(tmpdir(), 'stowage-torch-test-'));
const torch = join(scratch, 'site/torch');
const cuda = join(scratch, 'site/nvidia/cuda_runtime');
const commands = join(scratch, 'bin');
const temporary = join(scratch, 'tmp');

// As much of the headers as the peer needs; it fails where something is freed that was not allocated.
const ALLOCATOR = `#pragma once
#include <cstdio>
#include <cstdlib>
#include <set>
namespace c10::cuda::CUDACachingAllocator {
inline std::set<void *> &live() { static std::set<void *> pointers; return pointers; }
inline void init(int) { std::atexit([] { if (!live().empty()) std::_Exit(9); }); }
inline void *raw_alloc(size_t bytes) { if (std::getenv("TORCH_FAILS")) std::_Exit(7); return *live().insert(std::malloc(bytes)).first; }
inline void raw_delete(void *pointer) { if (live().erase(pointer) != 1) std::_Exit(8); std::free(pointer); }
}`;
const FUNCTIONS = '#pragma once\nnamespace c10::cuda { inline void set_device(int) {} }';
const RUNTIME = '#pragma once\ninline int cudaFree(void *) { return 0; }\ninline int cudaDeviceSynchronize() { return 0; }';

/** Three blocks, one of which stays live, and an empty one. */
const EVENTS: BenchEvents & { readonly name: string } = {
  name: 'tiny',
  length: 6,
  slotCount: 3,
  peakLiveBytes: 300,
  slots: Int32Array.of(0, 1, ~0, 0, 2, ~1),
  bytes: Float64Array.of(100, 200, 100, 50, 0, 200),
};

function write(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

/** Puts a command before those of the machine. */
function command(name: string, text: string): void {
  write(join(commands, name), `#!/bin/sh\n${text}\n`);
  chmodSync(join(commands, name), 0o755);
  vi.stubEnv('PATH', `${commands}${delimiter}${process.env['PATH']}`);
}

/** Puts a PyTorch there that has just what the peer needs. */
function installTorch(): void {
  write(join(torch, 'include/c10/cuda/CUDACachingAllocator.h'), ALLOCATOR);
  write(join(torch, 'include/c10/cuda/CUDAFunctions.h'), FUNCTIONS);
  write(join(cuda, 'include/cuda_runtime_api.h'), RUNTIME);
  mkdirSync(join(torch, 'lib'), { recursive: true });
  // Any library can stand for those that only have to be there.
  const library = compiledLibrary('gpu');
  for (const name of ['libc10.so', 'libc10_cuda.so']) write(join(torch, 'lib', name), `INPUT(${library})`);
  write(join(cuda, 'lib/libcudart.so.13'), `INPUT(${library})`);
  command('python3', `echo noise; echo '${JSON.stringify({ version: '2.99', folder: torch })}'`);
}

beforeEach(() => {
  mkdirSync(temporary, { recursive: true });
  vi.stubEnv('TMPDIR', temporary);
});
afterEach(() => {
  vi.unstubAllEnvs();
  // Peers leave nothing there.
  expect(readdirSync(temporary)).toEqual([]);
  rmSync(join(scratch, 'site'), { recursive: true, force: true });
  rmSync(commands, { recursive: true, force: true });
});
afterAll(() => rmSync(scratch, { recursive: true }));

describe('TorchPeer', () => {
  test('compiles the peer and measures PyTorch with and without expandable segments', () => {
    installTorch();
    using peer = new TorchPeer();
    expect(peer.text).toBe('PyTorch 2.99 is beside the card.');
    const rows = peer.measure(EVENTS, 3);
    expect(rows.map(({ allocator, trace }) => [allocator, trace])).toEqual([
      ['PyTorch', 'tiny'],
      ['PyTorch, expandable', 'tiny'],
    ]);
    for (const row of rows) expect(Math.min(row.firstUsPerEvent, row.laterUsPerEvent)).toBeGreaterThan(0);
  });

  test('gives no rows where the peer fails', () => {
    installTorch();
    using peer = new TorchPeer();
    vi.stubEnv('TORCH_FAILS', '1');
    expect(peer.measure(EVENTS, 1)).toEqual([]);
  });

  test.each([
    ['echo "ModuleNotFoundError: no torch" >&2; exit 1', 'PyTorch is not measured: ModuleNotFoundError: no torch'],
    ['echo nothing', 'PyTorch is not measured: python3 said nothing'],
  ])('says why there is nothing to measure: %s', (script, text) => {
    command('python3', script);
    using peer = new TorchPeer();
    expect([peer.text, peer.measure(EVENTS, 1)]).toEqual([text, []]);
  });

  test('says what the compiler says', () => {
    installTorch();
    command('g++', 'echo "it is broken" >&2; exit 1');
    using peer = new TorchPeer();
    expect(peer.text).toBe('PyTorch is not measured: g++ failed: it is broken');
  });
});
