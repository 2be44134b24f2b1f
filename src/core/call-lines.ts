import { MAX_DECIMAL_BYTES, writeDecimal } from './decimal-writer.js';

/** The most bytes of a line with a name of eight letters and three integers. */
export const SHORT_LINE_BYTES = 8 + 2 + 3 * (MAX_DECIMAL_BYTES + 1);

/** The most bytes of a UTF-16 unit in UTF-8. */
const UTF8_BYTES = 3;
const ASCII_END = 0x80;
const BLANK = 0x20;
const LINE_END = 0x0a;
// Several characters in the order that a little-endian store writes them.
const ALLO = 0x6f6c6c61;
const C_BLANK = 0x2063;
const UNLO = 0x6f6c6e75;
const CK_BLANK = 0x206b63;
const ZERO_BLANK = 0x2030;
const ONE_BLANK = 0x2031;
const BLANK_END = 0x0a20;

/** Bytes that a line of that name and number of integers takes at most. */
export function lineBytes(name: string, integers: number): number {
  return name.length * UTF8_BYTES + 2 + integers * (MAX_DECIMAL_BYTES + 1);
}

/** Writes a call's name and a blank. @returns the place behind them, as all functions here */
export function writeName(view: DataView, start: number, name: string): number {
  const end = start + writeText(view, start, name);
  view.setUint8(end, BLANK);
  return end + 1;
}

/** Writes an integer and a blank. */
export function writeInteger(view: DataView, start: number, value: number): number {
  const end = writeDecimal(view, start, value);
  view.setUint8(end, BLANK);
  return end + 1;
}

/** Ends a line. */
export function writeLineEnd(view: DataView, start: number): number {
  view.setUint8(start, LINE_END);
  return start + 1;
}

/** Writes the line of an allocation: its name, `bytes`, `userLock` and `ptr`. */
export function writeAlloc(view: DataView, start: number, bytes: number, userLock: boolean, ptr: number): number {
  view.setUint32(start, ALLO, true);
  view.setUint16(start + 4, C_BLANK, true);
  const lock = writeInteger(view, start + 6, bytes);
  view.setUint16(lock, userLock ? ONE_BLANK : ZERO_BLANK, true);
  const end = writeDecimal(view, lock + 2, ptr);
  view.setUint16(end, BLANK_END, true);
  return end + 2;
}

/** Writes the line of an unlock: its name, `ptr` and `userUnlock`. */
export function writeUnlock(view: DataView, start: number, ptr: number, userUnlock: boolean): number {
  view.setUint32(start, UNLO, true);
  view.setUint32(start + 4, CK_BLANK, true);
  const lock = writeInteger(view, start + 7, ptr);
  view.setUint16(lock, userUnlock ? ONE_BLANK : ZERO_BLANK, true);
  return writeLineEnd(view, lock + 2);
}

/** @returns how many bytes it wrote */
function writeText(view: DataView, start: number, text: string): number {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code >= ASCII_END)
      return new TextEncoder().encodeInto(text, new Uint8Array(view.buffer, view.byteOffset + start)).written;
    view.setUint8(start + i, code);
  }
  return text.length;
}
