import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { CallLog } from '../../src/core/call-log.js';
import { MemoryError } from '../../src/core/errors.js';
import { FileLogSink } from '../../src/runtime/file-log-sink.js';
import { moduleUrl, runChild } from '../fixtures/compiled.js';

const folder = mkdtempSync(join(tmpdir(), 'stowage-log-'));
afterAll(() => rmSync(folder, { recursive: true }));

function refusal(path: string): string {
  try {
    new FileLogSink(path).dispose();
  } catch (error) {
    if (MemoryError.is(error, 'ERR_MEM_BAD_INPUT')) return error.message;
    throw error;
  }
  throw new Error('not refused');
}

describe('FileLogSink', () => {
  test('has what was written in the file at once', () => {
    const path = join(folder, 'a.log');
    const sink = new FileLogSink(path);
    sink.write('alloc 1 1 64 \n');
    sink.write(new TextEncoder().encode('unlock 64 1 \n'));
    expect(readFileSync(path, 'utf8')).toBe('alloc 1 1 64 \nunlock 64 1 \n');
    sink.dispose();
  });

  test('has the lines of a call log in the file, to the byte, from a buffer that it is lent', () => {
    const path = join(folder, 'lent.log');
    const sink = new FileLogSink(path);
    const [log, other] = [new CallLog('log', sink), new CallLog('other', sink)];
    const expected: string[] = [];
    for (let i = 0; i < 500; i++) {
      const own = i % 7 === 0 ? other : log;
      own.alloc(i * 1000, true, 2 ** 40 + i);
      own.line('größe', i);
      expected.push(`alloc ${i * 1000} 1 ${2 ** 40 + i} \n`, `größe ${i} \n`);
    }
    log.flush();
    other.flush();
    sink.dispose();
    expect(readFileSync(path, 'utf8')).toBe(expected.join(''));
    expect(() => sink.writeBytes(new Uint8Array(1), 1)).toThrow('this log file was disposed');
  });

  test('creates the file for its owner alone', () => {
    const path = join(folder, 'mode.log');
    new FileLogSink(path).dispose();
    if (process.platform !== 'win32') expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test('empties a file that is there', () => {
    const path = join(folder, 'old.log');
    writeFileSync(path, 'old');
    new FileLogSink(path).dispose();
    expect(readFileSync(path, 'utf8')).toBe('');
  });

  test('closes twice, by using as well, and then takes nothing', () => {
    const sink = new FileLogSink(join(folder, 'closed.log'));
    sink.dispose();
    sink[Symbol.dispose]();
    expect(() => sink.write('x')).toThrow('this log file was disposed');
  });

  test('refuses a path that cannot be written', () => {
    expect(refusal(join(folder, 'none', 'a.log'))).toBe(`${join(folder, 'none', 'a.log')}: its folder does not exist`);
    expect(refusal(folder)).toBe(`${folder}: it is a folder, not a file`);
    writeFileSync(join(folder, 'file'), '');
    expect(refusal(join(folder, 'file', 'a.log'))).toContain('its folder is not a folder');
    expect(refusal(join(folder, 'x'.repeat(300)))).toContain('its name is too long');
  });

  test('refuses a folder without permission', () => {
    const { stdout } = runChild(`
      import { FileLogSink } from '${moduleUrl('src/runtime/file-log-sink.js')}';
      if (process.getuid() === 0) process.setuid(65534);
      try { new FileLogSink('/stowage.log'); } catch (error) { console.log(error.message); }`);
    expect(stdout).toBe('/stowage.log: there is no permission to write it\n');
  });
});

describe('CallLog', () => {
  test('keeps the order of lines that several logs write to one sink', () => {
    let text = '';
    const sink = { write: (chunk: string | Uint8Array) => (text += String(chunk)) };
    const [first, second] = [new CallLog('first', sink), new CallLog('second', sink)];
    const expected: string[] = [];
    for (let i = 0; i < 200; i++) {
      const log = (i * i) % 3 === 0 ? first : second;
      log.line('call', i);
      expected.push(`call ${i} \n`);
    }
    first.flush();
    second.flush();
    expect(text).toBe(expected.join(''));
  });

  test('leaves the turn when it gets another sink', () => {
    const sinks = [0, 1].map(() => {
      const chunks: string[] = [];
      return { chunks, write: (chunk: string | Uint8Array) => chunks.push(String(chunk)) };
    });
    const [one, other] = [sinks[0]!, sinks[1]!];
    const [mover, stayer] = [new CallLog('mover', one), new CallLog('stayer', one)];
    mover.line('before', 1);
    mover.setSink(other);
    mover.setEnabled(true);
    mover.line('after', 2);
    stayer.line('stays', 3);
    stayer.flush();
    expect(one.chunks).toEqual(['before 1 \n', 'stays 3 \n']);
    expect(other.chunks).toEqual([]);
    mover.flush();
    expect(other.chunks).toEqual(['after 2 \n']);
  });
});
