import { NULL_PTR } from '../../../src/core/units.js';
import { callback } from '../../ffi/callback.js';
import type { CAllocatorHost } from './c-allocator-host.js';

/** The arguments of `lua_newstate(alloc, userData)` and `lua_setallocf`. */
export interface LuaAllocator {
  /** `void *lua_Alloc(void *ud, void *ptr, size_t osize, size_t nsize)` */
  readonly alloc: number;
  /** Not used: the function knows its host. */
  readonly userData: 0;
}

/**
 * Gives Lua's one allocator function. Without memory Lua collects its garbage and asks once more, then raises
 * "not enough memory", and its state stays usable. A block that shrinks never fails, as Lua assumes.
 *
 * The old size that Lua passes is not used: for a new block it is a type instead.
 *
 * @throws ERR_MEM_DISPOSED, ERR_MEM_NATIVE
 * @see Source: Lua 5.4 Reference Manual, lua_Alloc
 */
export function luaAllocator(host: CAllocatorHost): LuaAllocator {
  const { alloc } = host.callbacks.register('lua', () => ({
    alloc: callback({
      result: 'uintptr_t',
      parameters: ['uintptr_t', 'uintptr_t', 'size_t', 'size_t'],
      onError: 0,
      body: (_userData, ptr, _oldBytes, bytes) => {
        if (bytes !== 0) return host.realloc(ptr, bytes);
        host.free(ptr);
        return NULL_PTR;
      },
    }),
  }));
  return { alloc, userData: 0 };
}
