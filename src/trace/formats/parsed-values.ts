import { FormatFault, quote } from './format-fault.js';

/** An object of a file: its keys are texts, its values can be anything. */
export type ParsedObject = Readonly<Record<string, unknown>>;

/** Reads a line that holds one JSON object. @throws FormatFault for anything else */
export function jsonObject(text: string): ParsedObject {
  try {
    const value: unknown = JSON.parse(text);
    if (isObject(value)) return value;
  } catch {
    // The message of JSON.parse depends on the version of Node.
  }
  throw new FormatFault(`${quote(text)} is no JSON object`);
}

/** Tells whether a value is an object with keys: no list, and no bytes. */
export function isObject(value: unknown): value is ParsedObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !Buffer.isBuffer(value);
}

/** Tells whether an optional property is left out, or null. */
export function isMissing(object: ParsedObject, key: string): boolean {
  return object[key] === undefined || object[key] === null;
}

/** A property that is an object; one without keys when it is missing. */
export function objectIn(object: ParsedObject, key: string): ParsedObject {
  const value = object[key];
  return isObject(value) ? value : {};
}

/** A property that is a text; '' when it is missing. */
export function textIn(object: ParsedObject, key: string): string {
  const value = object[key];
  return typeof value === 'string' ? value : '';
}

/** Tells whether a value is an integer from 0 to 2^53 - 1. */
export function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** A property that is an integer from 0 to 2^53 - 1. @param what - it is, for messages @throws FormatFault for anything else */
export function sizeIn(object: ParsedObject, key: string, what: string): number {
  const value = object[key];
  if (!isSize(value)) throw new FormatFault(`${what} is ${shown(object, key)}, no integer below 2^53`);
  return value;
}

/** A property that is an address as text, `0x…`. @param what - it is, for messages @throws FormatFault for anything else */
export function addressIn(object: ParsedObject, key: string, what: string): number {
  const text = textIn(object, key);
  const value = text === '(nil)' ? 0 : /^(?:0x)?[\da-f]{1,14}$/i.test(text) ? Number.parseInt(text, 16) : Number.NaN;
  if (!isSize(value)) throw new FormatFault(`${what} is ${shown(object, key)}, no address below 2^53`);
  return value;
}

/** Shows a property in a message. Nested values are not shown: they may be nested deeper than the stack allows. */
export function shown(object: ParsedObject, key: string): string {
  const value = object[key];
  if (value === undefined) return 'missing';
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'a list' : 'an object';
  return quote(JSON.stringify(value));
}
