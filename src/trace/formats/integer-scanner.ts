import { quote } from './format-fault.js';

const ZERO = 0x30;
const MAX_DIGITS = 16;

/** Reads decimal integers from bytes, without an object for each. */
export class IntegerScanner {
  /** Where the last scan ended. */
  at = 0;

  /**
   * Reads the digits from `start` on.
   *
   * @returns the integer, or -1 when there is no digit or the value is above 2^53 - 1
   */
  scan(text: Uint8Array, start: number, end: number): number {
    let at = start;
    let value = 0;
    while (at < end) {
      const digit = text[at]! - ZERO;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
      at++;
    }
    this.at = at;
    // Up to 16 digits the value is exact enough to be compared with 2^53 - 1.
    if (at === start || at - start > MAX_DIGITS || value > Number.MAX_SAFE_INTEGER) return -1;
    return value;
  }
}

/** Says why `token` is not an integer from 0 to 2^53 - 1; undefined when it is one. */
export function integerFault(what: string, token: string): string | undefined {
  const shown = quote(token);
  if (/^-\d/.test(token)) return `${what} ${shown} is negative`;
  if (!/^\d+$/.test(token)) return `${what} ${shown} is not an integer`;
  if (!Number.isSafeInteger(Number(token)) || token.length > MAX_DIGITS) return `${what} ${shown} is above 2^53 - 1`;
  return undefined;
}
