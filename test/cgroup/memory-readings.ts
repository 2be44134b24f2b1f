import { readFileSync } from 'node:fs';
import type { MemoryHost } from '../../src/core/memory-host.js';
import { KiB } from '../../src/core/units.js';

/** Bytes at one moment. */
export interface MemoryReading {
  /** What the hosts' managers have reserved from the system. */
  readonly reservedBytes: number;
  /** Memory of this process that no file backs: what its memory group cannot take away. */
  readonly anonymousBytes: number;
  /** Pages of files, such as libraries: the kernel can drop most of them. */
  readonly fileBytes: number;
  readonly heapBytes: number;
  readonly arrayBufferBytes: number;
}

const LINES = { anonymous: /^RssAnon:\s+(\d+) kB$/m, file: /^RssFile:\s+(\d+) kB$/m };

export function readMemory(hosts: readonly MemoryHost[]): MemoryReading {
  const status = readFileSync('/proc/self/status', 'utf8');
  const bytesOf = (line: RegExp) => Number(line.exec(status)?.[1] ?? Number.NaN) * KiB;
  const { heapTotal, arrayBuffers } = process.memoryUsage();
  return {
    reservedBytes: hosts.reduce((sum, { slot }) => sum + slot.reservedBytes, 0),
    anonymousBytes: bytesOf(LINES.anonymous),
    fileBytes: bytesOf(LINES.file),
    heapBytes: heapTotal,
    arrayBufferBytes: arrayBuffers,
  };
}
