import { checkArgument } from './errors.js';
import { given } from './given.js';

// What a program gives where TypeScript would refuse it: JavaScript has no types, and a TypeError from inside says nothing.

/** Checks what is given for a manager. @throws ERR_MEM_INVALID_ARGUMENT */
export function checkManager(manager: unknown, expected = 'a manager'): void {
  checkArgument(hasMethod(manager, 'checkMethods'), 'manager', given(manager), expected);
}

/** Tells a class of managers from a function that makes one. */
export function isManagerClass(value: unknown): boolean {
  return typeof value === 'function' && hasMethod(value.prototype, 'allocBytes');
}

/** Checks what is given for a manager's callback table, which may be filled by hand. @throws ERR_MEM_INVALID_ARGUMENT */
export function checkTable(table: unknown): void {
  const isObject = typeof table === 'object' && table !== null;
  checkArgument(isObject, 'deviceInterface', given(table), 'a MemoryManagerDeviceInterface');
}

/** Checks what is given for a host. @throws ERR_MEM_INVALID_ARGUMENT */
export function checkHost(host: unknown): void {
  const { slot, pinnedSlot } = (host ?? {}) as { slot?: unknown; pinnedSlot?: unknown };
  const isHost = hasMethod(slot, 'observe') && hasMethod(pinnedSlot, 'observe');
  checkArgument(isHost, 'host', given(host), 'a runtime, or another host');
}

/** Checks what is given for a device. @throws ERR_MEM_INVALID_ARGUMENT */
export function checkDevice(device: unknown): void {
  const isDevice = hasMethod(device, 'nativeAlloc') && hasMethod((device as { events?: unknown }).events, 'on');
  checkArgument(isDevice, 'device', given(device), 'a device, such as new CpuDevice()');
}

/** Checks what is given for a sink of text. @throws ERR_MEM_INVALID_ARGUMENT */
export function checkSink(name: string, sink: unknown, expected = 'an object with a write function, such as a stream'): void {
  checkArgument(hasMethod(sink, 'write'), name, given(sink), expected);
}

/** Checks what is given for where a report at exit goes. @throws ERR_MEM_INVALID_ARGUMENT */
export function checkExitReport(sink: unknown): void {
  if (sink !== undefined && sink !== false) checkSink('exitReport', sink, 'an object with a write function, or false');
}

/** Checks what is given for a function. @throws ERR_MEM_INVALID_ARGUMENT */
export function checkFunction(name: string, value: unknown): void {
  checkArgument(typeof value === 'function', name, given(value), 'a function');
}

function hasMethod(value: unknown, name: string): boolean {
  return typeof (value as Record<string, unknown> | null | undefined)?.[name] === 'function';
}
