import type { ServiceIdentifier } from 'inversify';
import type { LogSink } from '../core/call-log.js';
import type { Device } from '../core/device.js';
import type { MemoryManagerDeviceInterface } from '../core/device-interface.js';
import type { MemoryHost } from '../core/memory-host.js';
import type { MemoryManagerAdapter } from '../core/memory-manager-adapter.js';
import type { MemoryRuntime } from '../runtime/memory-runtime.js';
import type { RequestMemory } from './request-memory.js';

/** Settings of the module. */
export interface StowageSettings {
  /** Lines that a manager's log buffers before the sink gets them. @defaultValue 50 */
  readonly logFlushInterval?: number;
}

/** What a container resolves, each with its type: `container.get(StowageTokens.runtime)` is a MemoryRuntime. */
export interface StowageTokenTypes {
  readonly settings: ServiceIdentifier<StowageSettings>;
  /** The memory to hand out. @defaultValue a CpuDevice */
  readonly device: ServiceIdentifier<Device>;
  /** How many devices a manager serves; for a manager's constructor. */
  readonly deviceCount: ServiceIdentifier<number>;
  /** A fresh callback table each time; for a manager's constructor. */
  readonly deviceInterface: ServiceIdentifier<MemoryManagerDeviceInterface>;
  /** The manager to install. @defaultValue a CachingMemoryManager */
  readonly manager: ServiceIdentifier<MemoryManagerAdapter>;
  /** What a program allocates from; resolving it installs the manager. @defaultValue the host, which has to be a MemoryRuntime */
  readonly runtime: ServiceIdentifier<MemoryRuntime>;
  /** Who calls the manager; resolving it installs the manager. @defaultValue a MemoryRuntime over the device */
  readonly host: ServiceIdentifier<MemoryHost>;
  /** Where logged calls go; binding one turns logging on. @defaultValue none */
  readonly logSink: ServiceIdentifier<LogSink>;
  /** The memory of one request: in a child container with a `requestModule()`. */
  readonly request: ServiceIdentifier<RequestMemory>;
}

/** The tokens of this package. `Symbol.for`, so that two copies of it mean the same. */
export const StowageTokens: StowageTokenTypes = {
  settings: Symbol.for('stowage:settings'),
  device: Symbol.for('stowage:device'),
  deviceCount: Symbol.for('stowage:deviceCount'),
  deviceInterface: Symbol.for('stowage:deviceInterface'),
  manager: Symbol.for('stowage:manager'),
  runtime: Symbol.for('stowage:runtime'),
  host: Symbol.for('stowage:host'),
  logSink: Symbol.for('stowage:logSink'),
  request: Symbol.for('stowage:request'),
};
