import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import { CAllocatorHost, type LuaAllocator, luaAllocator } from '../../adapters/hosts/c-allocator/index.js';
import { FailingMemoryManager, LimitingMemoryManager } from '../../managers/index.js';
import { KiB, MiB } from '../../src/core/index.js';
import { requireLibrary } from '../fixtures/requires.js';
import { LUA_ERRMEM, LuaLibrary, LuaState } from './lua.js';
import { cachingManager, ExhaustedManager, exactManager, install } from './test-managers.js';

const needed = requireLibrary('Lua 5.4', ['liblua5.4.so.0', 'liblua5.4.so', 'liblua.5.4.dylib', 'liblua.dylib']);

/** Builds tables and strings, drops most of them, and sums up what is left. */
const script = (rounds: number) => `
  local kept, sum = {}, 0
  for i = 1, ${rounds} do
    local words = {}
    for j = 1, 40 do words[j] = string.format("%d:%d", i, j * i % 97) end
    local line = table.concat(words, ",")
    if i % 10 == 0 then kept[#kept + 1] = { line = line, words = words } end
  end
  for _, entry in ipairs(kept) do sum = (sum * 31 + #entry.line + #entry.words) % 1000003 end
  return #kept .. "/" .. sum .. "/" .. kept[#kept].line:sub(-9)
`;
const NO_MEMORY = { status: LUA_ERRMEM, text: 'not enough memory' };

describe.skipIf(needed.missing)(`CAllocatorHost under ${needed.title}`, () => {
  let lua: LuaLibrary;
  let device: CpuDevice;
  let host: CAllocatorHost;
  let allocator: LuaAllocator;

  beforeEach(() => {
    lua = new LuaLibrary(needed.library);
    device = new CpuDevice();
    host = new CAllocatorHost({ device });
    allocator = luaAllocator(host);
  });

  afterEach(() => {
    host.dispose();
    expect(host.slot.nativeFrees).toBe(host.slot.nativeAllocs);
    expect(device.liveBytes).toBe(0);
  });

  const call = <T>(native: () => T): T => host.call(native);
  const open = (): LuaState => LuaState.open(lua, allocator, call) ?? expect.fail('no state');

  function withDefaultAllocator(source: string): string {
    const state = LuaState.open(lua) ?? expect.fail('no state');
    const { status, text } = state.run(source);
    state.close();
    expect(status).toBe(0);
    return text;
  }

  test.each([true, false])('computes what it computes with the default allocator, with a size header: %s', (sizeHeader) => {
    const other = new CAllocatorHost({ device, sizeHeader });
    install(other, cachingManager());
    const state = LuaState.open(lua, luaAllocator(other), (native) => other.call(native)) ?? expect.fail('no state');
    expect(state.run(script(1000))).toEqual({ status: 0, text: withDefaultAllocator(script(1000)) });
    expect(other.slot.liveBlocks).toBeGreaterThan(100);
    state.close();
    expect(other.slot.liveBlocks).toBe(0);
    other.dispose();
  });

  test('works with every n-th allocation refused: Lua collects and asks again', () => {
    const expected = withDefaultAllocator(script(30));
    for (const every of [2, 3, 5, 7, 11, 101]) {
      const failing = install(host, new FailingMemoryManager(exactManager(), { every }));
      const state = LuaState.open(lua, allocator, call);
      // Until a state is complete Lua has nothing to collect, and does not ask again.
      if (state === undefined) {
        expect(failing.failures).toBe(1);
      } else {
        const result = state.run(script(30));
        state.close();
        expect(failing.failures).toBeGreaterThan(0);
        expect([{ status: 0, text: expected }, NO_MEMORY]).toContainEqual(result);
      }
      expect(host.slot.liveBlocks).toBe(0);
    }
  });

  test('says "not enough memory" with a usable state, from whichever allocation on there is none', () => {
    let refusedStates = 0;
    let errors = 0;
    for (let from = 1; ; from++) {
      const manager = install(host, new ExhaustedManager(exactManager()));
      manager.from = from;
      const state = LuaState.open(lua, allocator, call);
      if (state === undefined) {
        refusedStates++;
        expect(host.slot.liveBlocks).toBe(0);
        continue;
      }
      const result = state.run(script(10));
      const { refusals } = manager;
      manager.from = Number.POSITIVE_INFINITY;
      if (refusals > 0) {
        errors++;
        expect(result).toEqual(NO_MEMORY);
        expect(state.run('return "usable"')).toEqual({ status: 0, text: 'usable' });
      }
      state.close();
      expect(host.slot.liveBlocks).toBe(0);
      if (refusals === 0) break;
    }
    expect(refusedStates).toBeGreaterThan(5);
    expect(errors).toBeGreaterThan(50);
  }, 120_000);

  test('says "not enough memory" at a limit, and can go on below it', () => {
    const limiting = install(host, new LimitingMemoryManager(exactManager(), { limitBytes: 1 * MiB }));
    const state = open();
    expect(state.run('return #string.rep("x", 8 * 1024 * 1024)')).toEqual(NO_MEMORY);
    expect(host.lastError?.facts).toMatchObject({ capacityBytes: 1 * MiB });
    expect(state.run('local t = {} for i = 1, 1e9 do t[i] = i end')).toEqual(NO_MEMORY);
    expect(state.run('return #string.rep("x", 1000)')).toEqual({ status: 0, text: '1000' });
    state.collect();
    expect(limiting.usedBytes).toBeLessThan(200 * KiB);
    state.close();
  });

  test('shrinks blocks while every allocation is refused', () => {
    const manager = install(host, new ExhaustedManager(cachingManager()));
    const state = open();
    // The hash table of all strings grows with them, and each collection without them halves it.
    expect(state.run('local t = {} for i = 1, 50000 do t[i] = "s" .. i end return "grown"').text).toBe('grown');
    const before = manager.stats(0)?.allocatedBytes.current ?? 0;
    manager.from = 1;
    for (let i = 0; i < 5; i++) state.collect();
    expect(manager.refusals).toBeGreaterThan(0);
    manager.from = Number.POSITIVE_INFINITY;
    expect(manager.stats(0)?.allocatedBytes.current).toBeLessThan(before);
    expect(state.run('return "usable"')).toEqual({ status: 0, text: 'usable' });
    state.close();
  });

  test('goes on over swaps of the manager, and stops each one when its last block is gone', () => {
    const managers = [install(host, cachingManager())];
    const state = open();
    state.run('kept = {}');
    for (let round = 0; round < 5; round++) {
      const { status } = state.run(`for i = 1, 300 do kept[${round} * 300 + i] = { tostring(i) } end ${script(100)}`);
      expect(status).toBe(0);
      managers.push(install(host, cachingManager()));
    }
    expect(host.slot.draining.length).toBe(5);
    expect(state.run('local n = 0 for i = 1, #kept do n = n + kept[i][1] end return n').text).toBe(`${5 * 45150}`);
    state.close();
    expect(managers.map((manager) => manager.lifecycle.state)).toEqual([...Array(5).fill('stopped'), 'active']);
  });

  test('serves an asynchronous call from its thread', async () => {
    install(host, cachingManager());
    const state = open();
    state.run('return 1');
    expect(host.callbacks.foreignCalls).toBe(0);
    expect(await host.callAsync(() => state.runAsync('return #("x"):rep(100000)'))).toEqual({ status: 0, text: '100000' });
    expect(host.callbacks.foreignCalls).toBeGreaterThan(0);
    state.close();
  });
});
