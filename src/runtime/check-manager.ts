import { checkArgument } from '../core/errors.js';
import type { MemoryManagerAdapter } from '../core/memory-manager-adapter.js';

/** Checks what a program gives for a manager. @throws ERR_MEM_INVALID_ARGUMENT */
export function checkManager(manager: MemoryManagerAdapter, expected: string): void {
  const isManager = typeof manager?.checkMethods === 'function';
  checkArgument(isManager, 'manager', isManagerClass(manager) ? `the class ${manager.name}` : typeof manager, expected);
}

/** Tells a class of managers from a function that makes one. */
export function isManagerClass(given: unknown): boolean {
  return typeof given === 'function' && typeof given.prototype?.allocBytes === 'function';
}
