import { koffi } from '../../adapters/ffi/koffi.js';
import type { NativeLibrary } from '../../adapters/ffi/library.js';
import type { LuaAllocator } from '../../adapters/hosts/c-allocator/index.js';
import type { Caller } from './zlib.js';

const LUA_OK = 0;
export const LUA_ERRMEM = 4;
const GC_COLLECT = 2;

/** What a script came to: `status` 0 and its result, or an error status and the message. */
export interface LuaResult {
  readonly status: number;
  readonly text: string;
}

/** The functions of the Lua library that tests use. */
export class LuaLibrary {
  readonly newState: (alloc: number, userData: number) => number;
  readonly newStandardState: () => number;
  readonly close: (state: number) => void;
  readonly loadString: (state: number, source: string) => number;
  readonly pushCClosure: (state: number, fn: unknown, upvalues: number) => void;
  readonly pcall: (state: number, values: number, results: number, handler: number, context: number, k: number) => number;
  readonly toString: (state: number, index: number, length: number) => string;
  readonly setTop: (state: number, index: number) => void;
  readonly gc: (state: number, what: number) => number;
  /** `luaopen_base`, `luaopen_string` and `luaopen_table`. */
  readonly openers: readonly unknown[];

  constructor(library: NativeLibrary) {
    this.newState = library.func('lua_newstate', 'uintptr_t', ['uintptr_t', 'uintptr_t']);
    this.newStandardState = library.func('luaL_newstate', 'uintptr_t', []);
    this.close = library.func('lua_close', 'void', ['uintptr_t']);
    this.loadString = library.func('luaL_loadstring', 'int', ['uintptr_t', 'const char *']);
    this.pushCClosure = library.func('lua_pushcclosure', 'void', ['uintptr_t', 'void *', 'int']);
    this.pcall = library.func('lua_pcallk', 'int', ['uintptr_t', 'int', 'int', 'int', 'intptr_t', 'uintptr_t']);
    this.toString = library.func('lua_tolstring', 'const char *', ['uintptr_t', 'int', 'uintptr_t']);
    this.setTop = library.func('lua_settop', 'void', ['uintptr_t', 'int']);
    this.gc = library.func('lua_gc', 'int', ['uintptr_t', 'int']);
    const handle = koffi().load(library.path);
    this.openers = ['luaopen_base', 'luaopen_string', 'luaopen_table'].map((name) => handle.symbol(name));
  }
}

/**
 * A Lua state with the base, string and table libraries. All that may allocate runs in protected calls: outside of one
 * Lua answers a lack of memory with abort().
 */
export class LuaState {
  readonly #lua: LuaLibrary;
  readonly #call: Caller;
  readonly #state: number;

  private constructor(lua: LuaLibrary, call: Caller, state: number) {
    this.#lua = lua;
    this.#call = call;
    this.#state = state;
  }

  /** @param allocator - Lua's own when left out. @returns undefined when there is no memory for a state */
  static open(lua: LuaLibrary, allocator?: LuaAllocator, call: Caller = (native) => native()): LuaState | undefined {
    const state = call(() =>
      allocator === undefined ? lua.newStandardState() : lua.newState(allocator.alloc, allocator.userData),
    );
    return state === 0 ? undefined : new LuaState(lua, call, state);
  }

  /** Runs a script, which gets the string and the table library as its arguments. */
  run(source: string): LuaResult {
    return this.#call(() => {
      const lua = this.#lua;
      const state = this.#state;
      let status = lua.loadString(state, `local string, table = ...\n${source}`);
      for (const [i, opener] of lua.openers.entries()) {
        if (status !== LUA_OK) break;
        // The table that luaopen_base gives is the globals': the script needs no other.
        lua.pushCClosure(state, opener, 0);
        status = lua.pcall(state, 0, i === 0 ? 0 : 1, 0, 0, 0);
      }
      if (status === LUA_OK) status = lua.pcall(state, 2, 1, 0, 0, 0);
      const text = lua.toString(state, -1, 0);
      lua.setTop(state, 0);
      return { status, text };
    });
  }

  /** Runs a script on another thread, with the libraries that {@link run} has opened. */
  async runAsync(source: string): Promise<LuaResult> {
    const lua = this.#lua;
    const state = this.#state;
    const loaded = lua.loadString(state, source);
    if (loaded !== LUA_OK) return { status: loaded, text: lua.toString(state, -1, 0) };
    const pcall = lua.pcall as typeof lua.pcall & { async: (...values: unknown[]) => void };
    const status = await new Promise<number>((resolve, reject) => {
      pcall.async(state, 0, 1, 0, 0, 0, (error: unknown, result: number) => (error == null ? resolve(result) : reject(error)));
    });
    const text = lua.toString(state, -1, 0);
    lua.setTop(state, 0);
    return { status, text };
  }

  collect(): void {
    this.#call(() => this.#lua.gc(this.#state, GC_COLLECT));
  }

  close(): void {
    this.#call(() => this.#lua.close(this.#state));
  }
}
