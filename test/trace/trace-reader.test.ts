import { appendFileSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import { MemoryError } from '../../src/core/errors.js';
import { loadTrace, parseTrace, readTrace } from '../../src/trace/index.js';

const folder = mkdtempSync(join(tmpdir(), 'stowage-trace-'));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;

function fileOf(content: string | Uint8Array): string {
  const path = join(folder, `t${files++}`);
  writeFileSync(path, content);
  return path;
}

/** The line and the reason that reading gives. */
async function refusal(path: string): Promise<{ line: number; reason: string }> {
  const error = await loadTrace(path).then(
    () => undefined,
    (e: unknown) => e,
  );
  if (!MemoryError.is(error, 'ERR_MEM_BAD_INPUT')) throw new Error(`not refused: ${String(error)}`);
  expect(error.facts.file).toBe(path);
  expect(error.message.startsWith(path)).toBe(true);
  return { line: error.facts.line, reason: error.facts.reason };
}

const refusalOf = (content: string | Uint8Array): Promise<{ line: number; reason: string }> => refusal(fileOf(content));
const trace = (...lines: string[]): string => ['#alloctrace v1 small', ...lines, ''].join('\n');

describe('loadTrace', () => {
  test.each([
    ['resnet', 26_012, 13_327, 642, '474.99', 702],
    ['gpt_infer', 230_190, 115_136, 82, '99.81', 106],
    ['dlrm', 195_941, 98_034, 127, '11.73', 270],
    ['sqlite', 426_603, 213_309, 15, '15.70', 7219],
  ])('reads %s to the counts of its recording', async (name, length, allocations, liveBlocks, peakMiB, peakBlocks) => {
    const events = await loadTrace(`test/traces/${name}.trace.gz`);
    expect(events).toMatchObject({
      name,
      format: 'alloctrace',
      length,
      allocations,
      liveBlocks,
      peakBlocks,
      slotCount: peakBlocks,
    });
    expect((events.peakLiveBytes / 2 ** 20).toFixed(2)).toBe(peakMiB);
  });

  test('gives a freed slot to the next allocation', async () => {
    const events = await loadTrace(fileOf(trace('a 0 10', 'a 1 20', 'f 0', 'a 2 30', 'f 1')));
    expect([...events.slots]).toEqual([0, 1, ~0, 0, ~1]);
    expect([...events.bytes]).toEqual([10, 20, 10, 30, 20]);
    expect([...events.lines]).toEqual([2, 3, 4, 5, 6]);
    expect(events.isAlloc(2)).toBe(false);
    expect(events.slotOf(4)).toBe(1);
    expect(events.bytesOf(4)).toBe(20);
    expect(events.lineOf(4)).toBe(6);
    expect(events).toMatchObject({ allocations: 3, liveBlocks: 1, peakLiveBytes: 50, peakBlocks: 2 });
  });

  test('knows gzip by its first bytes, not by the name', async () => {
    expect((await loadTrace(fileOf(gzipSync(trace('a 0 10'))))).length).toBe(1);
  });

  test('reads a gzip file of several members', async () => {
    const members = [gzipSync('#alloctrace v1 two\n'), gzipSync('a 0 1\nf 0\n')];
    expect((await loadTrace(fileOf(Buffer.concat(members)))).length).toBe(2);
  });

  test('takes a size of 0 and one of 2^53 - 1', async () => {
    const events = await loadTrace(fileOf(trace('a 0 0', 'a 1 9007199254740991', 'f 0')));
    expect([...events.bytes]).toEqual([0, Number.MAX_SAFE_INTEGER, 0]);
  });

  test('shows no control characters of a name', async () => {
    expect((await loadTrace(fileOf('#alloctrace v1 a\u001b[31mb\na 0 1\n'))).name).toBe('a?[31mb');
  });

  test('reads the whole lines of a file that was cut off inside a line', async () => {
    const events = await loadTrace(fileOf(trace('a 0 10', 'a 1 20', 'a 2 3').slice(0, -1)));
    expect([...events.bytes]).toEqual([10, 20]);
    expect(events.cutOff).toBe('the file was cut off after line 3');
  });

  test('reads the whole lines of gzip data that is cut off, wherever it is', async () => {
    const sizes = Array.from({ length: 300 }, (_, i) => (i * 7919) % 100_003);
    const bytes = gzipSync(trace(...sizes.map((size, i) => `a ${i} ${size}`)));
    const path = fileOf(bytes);
    let before = sizes.length;
    for (const end of [bytes.length - 1, bytes.length - 8, bytes.length - 20, bytes.length >> 1, 80]) {
      truncateSync(path, end);
      const events = await loadTrace(path);
      expect([...events.bytes]).toEqual(sizes.slice(0, events.length));
      expect(events.cutOff).toMatch(new RegExp(`^the (?:file|gzip data) was cut off after line ${events.length + 1}$`));
      expect(events.length).toBeLessThanOrEqual(before);
      before = events.length;
    }
    expect(before).toBeGreaterThan(0);
    expect(before).toBeLessThan(sizes.length / 2);
  });

  test('reads the whole blocks before the end of a large gzip file that is cut off', async () => {
    const sizes = Array.from({ length: 60_000 }, (_, i) => (i * 7919) % 100_003);
    const path = fileOf(gzipSync(trace(...sizes.map((size, i) => `a ${i} ${size}`))));
    truncateSync(path, 200_000);
    const events = await loadTrace(path);
    expect(events.length).toBeGreaterThan(30_000);
    expect([...events.bytes]).toEqual(sizes.slice(0, events.length));
  });

  describe('refuses', () => {
    test('a file that is missing', async () => {
      expect(await refusal(join(folder, 'none'))).toEqual({ line: 0, reason: 'there is no such file' });
    });

    test('a folder', async () => {
      expect(await refusal(folder)).toEqual({ line: 0, reason: 'it is a folder, not a file' });
    });

    test('an empty file, plain or gzipped', async () => {
      expect(await refusalOf('')).toEqual({ line: 0, reason: 'the file is empty' });
      expect(await refusalOf(gzipSync(''))).toEqual({ line: 0, reason: 'the file is empty' });
    });

    test('a trace without events', async () => {
      expect(await refusalOf(trace())).toEqual({ line: 1, reason: 'the file ends here, and there are no allocations in it' });
      expect(await refusalOf('#alloctrace v1 small\na 0 1')).toEqual({
        line: 1,
        reason: 'the file ends here, and there are no allocations in it',
      });
    });

    test.each([
      ['text', 'once upon a time\n'],
      ['text without a line end', 'once upon a time'],
      ['bytes', Uint8Array.from({ length: 100_000 }, (_, i) => (i * 7919) & 0xff)],
      ['bytes without a line end', new Uint8Array(100_000).fill(1)],
      ['JSON', '{"version":1}\n'],
    ])('%s that is no trace', async (_, content) => {
      const { line, reason } = await refusalOf(content);
      expect(line).toBe(1);
      expect(reason).toMatch(/^its format is not known: it begins like no allocation trace .* of this library$/);
    });

    test.each([
      ['a Git LFS pointer', 'version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12\n', /^it is a Git LFS pointer/],
      ['an HTML page', '\n<!DOCTYPE html>\n<html></html>\n', /^it is an HTML page/],
      ['a ZIP archive', Buffer.from('PK\u0003\u0004\u0014\0', 'latin1'), /^it is a ZIP archive, such as torch\.save writes$/],
      ['an archive in an archive', gzipSync(gzipSync('x')), /^it is compressed with gzip/],
      ['data compressed with Zstandard', Buffer.of(0x28, 0xb5, 0x2f, 0xfd, 1, 2), /^it is compressed with Zstandard/],
      ['an SQLite database', 'SQLite format 3\0', /^it is an SQLite database/],
    ])('%s, and says that it is one', async (_, content, reason) => {
      expect(await refusalOf(content)).toEqual({ line: 1, reason: expect.stringMatching(reason) });
    });

    test('a header of another version or without a name', async () => {
      expect((await refusalOf('#alloctrace v2 x\na 0 1\n')).reason).toContain('no header that is known');
      expect((await refusalOf('#alloctrace v1 \na 0 1\n')).reason).toContain('no header that is known');
    });

    test('gzip data that is cut off before its first line', async () => {
      const path = fileOf(gzipSync(trace('a 0 10')));
      truncateSync(path, 12);
      expect((await refusal(path)).reason).toMatch(/^the gzip data is cut off: /);
      truncateSync(path, 5);
      expect((await refusal(path)).reason).toBe('the gzip data is cut off: the file is empty');
    });

    test('gzip data that is damaged', async () => {
      const bytes = gzipSync(trace(...Array.from({ length: 5000 }, (_, i) => `a ${i} ${(i * 7919) % 100_003}`)));
      const sum = Uint8Array.from(bytes);
      sum[sum.length - 6]! ^= 0xff;
      expect((await refusalOf(sum)).reason).toMatch(/^the gzip data is damaged: /);
      const header = Uint8Array.from(bytes);
      header[2] = 0xff;
      expect((await refusalOf(header)).reason).toMatch(/^the gzip data is damaged: /);
    });

    test('a header that is cut off', async () => {
      expect((await refusalOf('#alloctrace v1 x')).reason).toBe('the first line is cut off: it has no line end');
    });

    test.each([
      ['a negative size', 'a 1 -3', 'size "-3" is negative'],
      ['a size that is no integer', 'a 1 1.5', 'size "1.5" is not an integer'],
      ['a size that is no number', 'a 1 NaN', 'size "NaN" is not an integer'],
      ['a size above 2^53 - 1', 'a 1 9007199254740992', 'size "9007199254740992" is above 2^53 - 1'],
      ['a size of many digits', `a 1 ${'9'.repeat(40)}`, `size "${'9'.repeat(40)}" is above 2^53 - 1`],
      ['a negative id', 'f -1', 'id "-1" is negative'],
      ['an id that does not count up', 'a 2 10', 'id 2 does not count up: 1 comes next'],
      ['an id that comes twice', 'a 0 10', 'id 0 was allocated before'],
      ['a free of an id that was never allocated', 'f 7', 'id 7 was never allocated'],
      ['a line of another kind', 'x 1 2', '"x 1 2" is no event: a line reads "a <id> <bytes>" or "f <id>"'],
      ['an empty line', '', '"" is no event: a line reads "a <id> <bytes>" or "f <id>"'],
      ['a line that goes on', 'f 0 ', '"f 0 " is no event: a line reads "a <id> <bytes>" or "f <id>"'],
      ['a Windows line end', 'f 0\r', '"f 0\\r" is no event: a line reads "a <id> <bytes>" or "f <id>"'],
      ['control characters, which it does not show', 'f \u001b[2J', 'id "\\u001b[2J" is not an integer'],
    ])('%s', async (_, bad, reason) => {
      expect(await refusalOf(trace('a 0 10', bad, 'f 0'))).toEqual({ line: 3, reason });
    });

    test('a second free', async () => {
      expect(await refusalOf(trace('a 0 1', 'f 0', 'f 0'))).toEqual({ line: 4, reason: 'id 0 is already free' });
    });

    test('a line without end', async () => {
      expect(await refusalOf(trace(`a 0 1${' '.repeat(5000)}`))).toMatchObject({ line: 2 });
      expect(await refusalOf(`${trace('a 0 1')}${'1'.repeat(5000)}`)).toEqual({
        line: 3,
        reason: 'the line is longer than 4096 bytes',
      });
    });
  });
});

describe('readTrace', () => {
  test('streams the events that loadTrace gives at once', async () => {
    const whole = await loadTrace('test/traces/dlrm.trace.gz');
    let at = 0;
    let batches = 0;
    for await (const { slots, bytes, lines, slotCount } of readTrace('test/traces/dlrm.trace.gz')) {
      batches++;
      expect(
        Buffer.compare(Buffer.from(slots.buffer, slots.byteOffset, slots.byteLength), part(whole.slots, at, slots.length)),
      ).toBe(0);
      expect(
        Buffer.compare(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), part(whole.bytes, at, bytes.length)),
      ).toBe(0);
      expect(lines[0]).toBe(whole.lines[at]);
      expect(slotCount).toBeLessThanOrEqual(whole.slotCount);
      at += slots.length;
    }
    expect(at).toBe(whole.length);
    expect(batches).toBeGreaterThan(3);
  });

  test('holds a batch and 4 bytes an id, not the trace', async () => {
    const path = fileOf('#alloctrace v1 long\n');
    const PAIRS = 300_000;
    for (let from = 0; from < PAIRS; from += 100_000) {
      let text = '';
      for (let id = from; id < from + 100_000; id++) text += `a ${id} 64\nf ${id}\n`;
      appendFileSync(path, text);
    }
    let events = 0;
    let largest = 0;
    for await (const batch of readTrace(path)) {
      events += batch.slots.length;
      largest = Math.max(largest, batch.slots.buffer.byteLength / 4);
    }
    expect(events).toBe(2 * PAIRS);
    expect(largest).toBeLessThan(100_000);
  });

  test('closes the file when its reader stops early', async () => {
    for await (const batch of readTrace('test/traces/sqlite.trace.gz')) {
      expect(batch.slots.length).toBeGreaterThan(0);
      break;
    }
  });
});

describe('parseTrace', () => {
  test('reads text that is in memory', () => {
    expect(parseTrace(trace('a 0 5'), 'here').length).toBe(1);
    expect(parseTrace(new TextEncoder().encode(trace('a 0 5')), 'here')).toMatchObject({ file: 'here', name: 'small' });
  });
});

function part(column: Int32Array | Float64Array, from: number, length: number): Buffer {
  const wanted = column.subarray(from, from + length);
  return Buffer.from(wanted.buffer, wanted.byteOffset, wanted.byteLength);
}
