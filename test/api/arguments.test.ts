import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Container } from 'inversify';
import { afterAll, expect, test } from 'vitest';
import { CachingMemoryManager, LimitingMemoryManager, TrackingMemoryManager } from '../../managers/index.js';
import { CallLog } from '../../src/core/call-log.js';
import { StowageTokens, stowageModule } from '../../src/di/index.js';
import { devicePtr, MemoryManagerDeviceInterface, MemoryManagerInstaller, MemoryRuntime } from '../../src/index.js';
import { serveDashboard } from '../../src/report/index.js';
import { recordFlight, recordTrace } from '../../src/trace/index.js';
import { budgetOfTest } from '../budget/budgets.js';
import { memoryError, simulatedRuntime } from '../core/fakes.js';

const folder = mkdtempSync(join(tmpdir(), 'stowage-arguments-'));
const file = join(folder, 'not-made');
afterAll(() => rmSync(folder, { recursive: true }));
const { runtime, device } = simulatedRuntime();
const table = () => new MemoryManagerDeviceInterface();
const manager = () => new CachingMemoryManager(1, table());
const resolved = (createManager: never) => {
  const container = new Container();
  container.load(stowageModule({ device, createManager }));
  return container.get(StowageTokens.runtime);
};

/** What a compiler refuses, and a program without types gives. */
type Wrong = never;
const wrong = (value: unknown) => value as Wrong;

const CALLS: Record<string, readonly [name: string, value: string, call: () => unknown]> = {
  'a runtime without a device': ['device', 'undefined', () => new MemoryRuntime(wrong(undefined))],
  'a runtime over an object': ['device', 'an object', () => new MemoryRuntime(wrong({}))],
  'a runtime over a runtime': ['device', 'an instance of MemoryRuntime', () => new MemoryRuntime(wrong(runtime))],
  'a runtime with a manager for a factory': [
    'createDefaultManager',
    'an instance of CachingMemoryManager',
    () => new MemoryRuntime(device, { createDefaultManager: wrong(manager()) }),
  ],
  'a factory that makes none': [
    'manager',
    '5',
    () => new MemoryRuntime(device, { exitReport: false, createDefaultManager: () => wrong(5) }).allocate(1),
  ],
  'a report to a number': ['exitReport', '5', () => new MemoryRuntime(device, { exitReport: wrong(5) })],
  'tag without a function': ['fn', 'undefined', () => runtime.tag('x', wrong(undefined))],
  'scoped without one': ['fn', '5', () => runtime.scoped(wrong(5))],
  'withDevice without one': ['fn', '"f"', () => runtime.withDevice(0, wrong('f'))],
  'withStream without one': ['fn', 'null', () => runtime.withStream(0, wrong(null))],
  'withManager without one': ['fn', 'undefined', () => runtime.withManager(manager(), wrong(undefined))],
  'withManager without a manager': ['manager', 'undefined', () => runtime.withManager(wrong(undefined), () => 0)],
  'use with a class': ['manager', 'the class CachingMemoryManager', () => runtime.use(wrong(CachingMemoryManager))],
  'a scope that runs none': ['fn', 'an object', () => runtime.scope().run(wrong({}))],
  'capture without one': ['fn', 'undefined', () => runtime.capture(0, wrong(undefined))],
  'install of nothing': ['manager', 'undefined', () => runtime.slot.install(wrong(undefined))],
  'an installer of a table': [
    'manager',
    'an instance of MemoryManagerDeviceInterface',
    () => new MemoryManagerInstaller(wrong(table()), runtime),
  ],
  'an installer for a device': [
    'host',
    'an instance of SimulatedDevice',
    () => new MemoryManagerInstaller(manager(), wrong(device)),
  ],
  'a manager without a table': ['deviceInterface', 'undefined', () => new CachingMemoryManager(1, wrong(undefined))],
  'a manager with a number for a table': ['deviceInterface', '5', () => new CachingMemoryManager(1, wrong(5))],
  'a decorator of nothing': ['manager', 'undefined', () => new LimitingMemoryManager(wrong(undefined), { limitBytes: 1 })],
  'a decorator of a class': [
    'manager',
    'the class CachingMemoryManager',
    () => new TrackingMemoryManager(wrong(CachingMemoryManager)),
  ],
  'a log to a number': ['logStream', '5', () => new CachingMemoryManager(1, table(), { logStream: wrong(5) })],
  'setLogStream to a text': ['logStream', '"calls.log"', () => manager().setLogStream(wrong('calls.log'))],
  'a call log to an object': ['logStream', 'an object', () => new CallLog('log', wrong({}))],
  'recordTrace of an object': ['host', 'an object', () => recordTrace(wrong({}), file)],
  'recordFlight of a path': ['host', '"app"', () => recordFlight(wrong('app'), file)],
  'a module with a number for a sink': ['logSink', '5', () => stowageModule({ logSink: wrong(5) })],
  'a module with an object for a device': ['device', 'an object', () => stowageModule({ device: wrong({}) })],
  'a module with a number for a factory': ['createManager', '5', () => stowageModule({ createManager: wrong(5) })],
  'a module whose factory makes none': ['manager', '5', () => resolved(wrong(() => 5))],
  'a budget that reports to a path': ['exitReport', '"out"', () => budgetOfTest({ exitReport: wrong('out') })],
  'a budget that watches a number': ['read', '5', () => budgetOfTest({}).watch('x', wrong(5))],
  'a budget that a device joins': ['member', 'an instance of SimulatedDevice', () => budgetOfTest({}).add(wrong(device))],
};

test.each(Object.entries(CALLS))('%s is refused by name', (_, [name, value, call]) => {
  expect(call).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name, value }));
});

test('a live page of a number is refused by name', async () => {
  await expect(serveDashboard(wrong(5))).rejects.toMatchObject({
    code: 'ERR_MEM_INVALID_ARGUMENT',
    facts: { name: 'host', value: '5' },
  });
});

test('nothing is left of what was refused', () => {
  expect([existsSync(file), device.liveBytes, runtime.slot.draining]).toEqual([false, 0, []]);
});

test('setLogStream keeps the sink that it had when it refuses another', () => {
  const one = manager();
  one.setLogStream(process.stdout);
  expect(() => one.setLogStream(wrong(5))).toThrow();
  expect(one.getLogStream()).toBe(process.stdout);
});

test.each([
  ['"10" is not a size', () => runtime.allocate(wrong('10'))],
  ['10n is not a size', () => runtime.allocate(wrong(10n))],
  ['"16" is not an alignment', () => runtime.allocate(8, { alignment: wrong('16') })],
  ['"4096" is not an address', () => devicePtr(wrong('4096'))],
  ['deviceCount is "1", but must be an integer', () => new CachingMemoryManager(wrong('1'), table())],
])('%s: a text is shown as one', (message, call) => {
  expect(call).toThrow(message);
});
