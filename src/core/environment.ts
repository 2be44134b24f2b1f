import { checkArgument } from './errors.js';

/** Names the variable that turns collections off which memory pressure asks for. */
export const COLLECT_VARIABLE = 'STOWAGE_COLLECT';

/**
 * Reads a setting of the environment that is on or off.
 *
 * @param byDefault - what it is when the variable is not set, or empty
 * @throws ERR_MEM_INVALID_ARGUMENT for anything but 0 and 1
 */
export function flagFromEnvironment(name: string, byDefault: boolean): boolean {
  const text = process.env[name];
  if (text === undefined || text === '') return byDefault;
  checkArgument(text === '0' || text === '1', name, JSON.stringify(text), '0 or 1');
  return text === '1';
}
