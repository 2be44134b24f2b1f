import { quote } from './integer-scanner.js';

/** An object as JSON.parse gives it: whatever a file holds. */
export interface JsonObject {
  readonly [key: string]: unknown;
}

/** Reads a line that holds one JSON object; undefined for anything else. */
export function jsonObject(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Tells whether a value is an object with keys. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Tells whether an optional property is left out; null says so, too. */
export function isMissing(object: JsonObject, key: string): boolean {
  return object[key] === undefined || object[key] === null;
}

/** A property that is an object; one without keys when it is missing. */
export function objectIn(object: JsonObject, key: string): JsonObject {
  const value = object[key];
  return isJsonObject(value) ? value : {};
}

/** A property that is a text; '' when it is missing. */
export function textIn(object: JsonObject, key: string): string {
  const value = object[key];
  return typeof value === 'string' ? value : '';
}

/** A property that is an integer from 0 to 2^53 - 1; undefined when it is missing or anything else. */
export function sizeIn(object: JsonObject, key: string): number | undefined {
  const value = object[key];
  return Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : undefined;
}

/** A property that is an address as text, `0x…`; undefined when it is missing or anything else. */
export function addressIn(object: JsonObject, key: string): number | undefined {
  const text = textIn(object, key);
  const value = text === '(nil)' ? 0 : /^(?:0x)?[\da-f]{1,14}$/i.test(text) ? Number.parseInt(text, 16) : Number.NaN;
  return Number.isSafeInteger(value) ? value : undefined;
}

/** Shows a property in a message. What is nested is not shown: it may be nested deeper than the stack is. */
export function shown(object: JsonObject, key: string): string {
  const value = object[key];
  if (value === undefined) return 'missing';
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'a list' : 'an object';
  return quote(JSON.stringify(value));
}
