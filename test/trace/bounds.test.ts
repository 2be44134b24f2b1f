import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { MemoryError } from '../../src/core/errors.js';
import { EventBuilder, MAX_LIVE } from '../../src/trace/event-builder.js';
import { PickleReader } from '../../src/trace/formats/pickle-reader.js';
import { loadTrace, parseTrace, StringTable } from '../../src/trace/index.js';
import { searchRuns } from '../config/search.js';

const folder = mkdtempSync(join(tmpdir(), 'stowage-bounds-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe('what a file becomes is bounded', () => {
  test('in lists and dictionaries, however small the file is packed', async () => {
    const path = join(folder, 'bomb.pickle.gz');
    const members = [Buffer.of(0x80, 4), Buffer.alloc(2 ** 23, '}')];
    writeFileSync(path, Buffer.concat(members.map((bytes) => gzipSync(bytes))));
    await expect(loadTrace(path)).rejects.toThrow(
      `${path}: byte 525314: there are more than 525312 lists and dictionaries, too many for a snapshot of its size`,
    );
  });

  test('in live blocks', () => {
    const events = new EventBuilder();
    const allocate = () => {
      for (let i = 0; i <= MAX_LIVE; i++) {
        events.alloc(1, 0);
        if (i % 65_536 === 0) events.take();
      }
    };
    expect(allocate).toThrow('more than 8000000 blocks are live at once');
    expect(events.liveBlocks).toBe(MAX_LIVE);
  });

  test('in characters of names', () => {
    const names = new StringTable(10);
    names.idOf('seven..');
    names.idOf('seven..');
    expect(() => names.idOf('four')).toThrow('there are more names and allocation sites than are held: 2');
    expect(names.idOf('six')).toBe(2);
  });

  test('in allocators', () => {
    const line = (i: number) =>
      `{"category":"operation","name":"make_allocator","string_args":{"allocator_ref":"0x${i}"},"tags":{"allocator_name":"x"}}\n`;
    const lines = Array.from({ length: 65_537 }, (_, i) => line(i)).join('');
    expect(() => parseTrace(lines, 'x.stats')).toThrow('x.stats:65537: there are more than 65536 allocators');
  });

  test('in reallocations that never end', () => {
    const line = (i: number) =>
      `{"category":"operation","name":"reallocate","numeric_args":{"size":8},"string_args":{"allocator_ref":"0x1","current_ptr":"0x${i + 1}"}}\n`;
    const ends = '{"category":"operation","name":"reallocate","string_args":{"allocator_ref":"0x1","new_ptr":"0x99999"}}\n';
    const events = parseTrace(Array.from({ length: 1000 }, (_, i) => line(i)).join('') + ends.repeat(100), 'x.stats');
    expect(events.allocations).toBe(64);
  });
});

describe('PickleReader', () => {
  /** Every byte that is an instruction, and some that are none. */
  const OPCODES = [...'.(01N]la}dsue)tqrhjJKMGXBC\u0080\u0095\u0088\u0089\u008a\u008b\u008c\u008d\u0085\u0086\u0087\u0094cRx'];
  const instruction = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(...OPCODES).map((one) => Buffer.from(one, 'latin1')) },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 9 }).map((bytes) => Buffer.from(bytes)) },
  );

  test('gives a value of plain data or a fault with its byte, for any instructions', () => {
    fc.assert(
      fc.property(fc.array(instruction, { maxLength: 300 }), (instructions) => {
        const pickle = Buffer.concat([Buffer.of(0x80, 4), ...instructions]);
        let events: unknown;
        try {
          events = parseTrace(pickle, 'x.pickle');
        } catch (error) {
          if (!MemoryError.is(error, 'ERR_MEM_BAD_INPUT')) throw error;
          expect(error.message).toMatch(
            /^x\.pickle: (?:byte \d+: |the pickle is no snapshot|there are no allocations in its \d|.* of device|segment)/,
          );
        }
        expect(events).toBeUndefined();
      }),
      { numRuns: searchRuns(2000) },
    );
  });

  test('takes back what it gave for values that old writers number with gaps', () => {
    expect(new PickleReader(Buffer.from('\u0080\u0002(K\u0007q\u0003h\u0003e.'.replace('(', ']('), 'latin1')).read()).toEqual([
      7, 7,
    ]);
  });
});
