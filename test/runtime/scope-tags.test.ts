import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import type { DevicePtr } from '../../src/core/units.js';
import { allocationTag, MemoryRuntime } from '../../src/index.js';
import { installed, PlainManager } from '../core/fakes.js';
import { codeOf } from '../fixtures/code-of.js';

/** Notes the tag of each allocation. */
class TagManager extends PlainManager {
  last: string | undefined;

  override allocBytes(bytes: number, userLock: boolean, alignment?: number): DevicePtr {
    this.last = allocationTag();
    return super.allocBytes(bytes, userLock, alignment);
  }
}

let runtime: MemoryRuntime;
let manager: TagManager;

beforeEach(() => {
  runtime = new MemoryRuntime(new SimulatedDevice(), { exitReport: false });
  manager = installed(new TagManager(), runtime);
});

afterEach(() => {
  runtime.close();
});

/** The tag of a block that is allocated now; undefined for none. */
function tagNow(): string | undefined {
  runtime.allocate(64);
  return manager.last;
}

describe('Scope', () => {
  describe('tag', () => {
    test('is that of what is allocated while the scope is open', () => {
      {
        using _scope = runtime.scope({ tag: 'a' });
        expect(tagNow()).toBe('a');
      }
      expect(tagNow()).toBeUndefined();
    });

    test('is that around a scope that says none, also by undefined', () => {
      runtime.tag('outer', () => {
        using _plain = runtime.scope();
        expect(tagNow()).toBe('outer');
        using _undefined = runtime.scope({ tag: undefined } as unknown as { tag: string });
        expect(tagNow()).toBe('outer');
      });
    });

    test('gives way to that of a scope inside, and is back after it', () => {
      using _outer = runtime.scope({ tag: 'outer' });
      {
        using _inner = runtime.scope({ tag: 'inner' });
        expect(tagNow()).toBe('inner');
      }
      expect(tagNow()).toBe('outer');
    });

    test('gives way to runtime.tag inside, and to an option of allocate', () => {
      using _scope = runtime.scope({ tag: 'scope' });
      runtime.tag('inside', () => expect(tagNow()).toBe('inside'));
      expect(tagNow()).toBe('scope');
    });

    test('leaves the tag of runtime.tag when the scope is disposed inside of it', () => {
      const scope = runtime.scope({ tag: 'scope' });
      runtime.tag('inside', () => {
        scope.dispose();
        expect(tagNow()).toBe('inside');
      });
    });

    test('ends with scopes that are disposed in the wrong order', () => {
      const outer = runtime.scope({ tag: 'outer' });
      const inner = runtime.scope();
      outer.dispose();
      inner.dispose();
      expect(tagNow()).toBeUndefined();
    });

    test('of an inner scope stays when the outer one is disposed first', () => {
      const outer = runtime.scope({ tag: 'outer' });
      const inner = runtime.scope({ tag: 'inner' });
      outer.dispose();
      expect(tagNow()).toBe('inner');
      inner.dispose();
      expect(tagNow()).toBeUndefined();
    });

    test('goes on over awaits in scoped, and ends with it', async () => {
      await runtime.scoped(
        async () => {
          await sleep(1);
          expect(tagNow()).toBe('job');
        },
        { tag: 'job' },
      );
      expect(tagNow()).toBeUndefined();
    });

    test('is not that of code beside a scoped function', async () => {
      const job = runtime.scoped(() => sleep(5), { tag: 'job' });
      expect(tagNow()).toBeUndefined();
      await job;
    });

    test.each([[3], [null], [{}]])('is refused when it is no text: %s', (tag) => {
      expect(codeOf(() => runtime.scope({ tag: tag as unknown as string }))).toBe('ERR_MEM_INVALID_ARGUMENT');
      expect(codeOf(() => runtime.scoped(() => 0, { tag: tag as unknown as string }))).toBe('ERR_MEM_INVALID_ARGUMENT');
      expect(tagNow()).toBeUndefined();
    });

    test('is the only option', () => {
      expect(codeOf(() => runtime.scope({ tags: 'a' } as unknown as { tag: string }))).toBe('ERR_MEM_INVALID_ARGUMENT');
    });
  });
});
