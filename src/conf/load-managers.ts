import { createRequire } from 'node:module';
import { CachingMemoryManager } from '../../managers/caching/caching-memory-manager.js';
import { DefaultMemoryManager } from '../../managers/default/default-memory-manager.js';
import { MemoryError } from '../core/errors.js';
import { CONF_VARIABLE } from './conf-variable.js';
import type { ManagerClasses, ManagerKind } from './manager-kinds.js';

/** What every program has loaded. */
const LOADED: Partial<ManagerClasses> = { CachingMemoryManager, DefaultMemoryManager };

/**
 * Gives the class of a manager, and loads it where it is needed for the first time: a program that names none loads none.
 *
 * @throws ERR_MEM_INVALID_ARGUMENT where it cannot be loaded: in a bundle, and in Node 22.0 to 22.11
 */
export function loadManager({ name, type }: ManagerKind): ManagerClasses[keyof ManagerClasses] {
  const loaded = LOADED[type];
  if (loaded !== undefined) return loaded;
  try {
    // A bundle for CommonJS has no import.meta.url: that throws, too.
    return (createRequire(import.meta.url)('../../managers/index.js') as ManagerClasses)[type];
  } catch (error) {
    const facts = {
      name: CONF_VARIABLE,
      value: `manager:${name}`,
      expected:
        'a manager that can be loaded: caching and default are always there, the others in Node 20.19, 22.12 and later, ' +
        'and in a bundle that leaves stowage external',
    };
    throw new MemoryError('ERR_MEM_INVALID_ARGUMENT', facts, error);
  }
}
