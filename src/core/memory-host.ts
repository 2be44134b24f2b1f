import { EventEmitter } from 'eventemitter3';
import { INSPECT, inspected } from './inspect.js';
import './disposable.js';
import { checkFunction } from './check-given.js';
import { MemoryManagerDeviceInterface, type NativeFunctions } from './device-interface.js';
import { MemoryError } from './errors.js';
import type { MemoryEvents, SlotKind } from './events.js';
import { ManagerSlot } from './manager-slot.js';
import type { MemoryManagerAdapter } from './memory-manager-adapter.js';
import { processState } from './process-state.js';
import { HOST_MEMORY } from './slot-charges.js';
import { slotFacts } from './slot-facts.js';

/** Makes a manager for a table of a device with that many ids. */
export type ManagerFactory = (deviceCount: number, deviceInterface: MemoryManagerDeviceInterface) => MemoryManagerAdapter;

declare module './process-state.js' {
  interface ProcessState {
    /** The host that installers use when they are given none. */
    defaultHost: MemoryHost | undefined;
    createDefaultHost: (() => MemoryHost) | undefined;
    /** Makes what `installDefaultMemoryManager` installs. */
    createDefaultManager: ManagerFactory | undefined;
    /** Makes what a host falls back to when no manager is installed. */
    createFallbackManager: ManagerFactory | undefined;
    /** Told of every host that is made from now on, before its first call. */
    readonly hostListeners: Set<(host: MemoryHost) => void>;
    /** Every host of this isolate. The references are weak: whoever drops a host is to lose it. */
    readonly hosts: Set<WeakRef<MemoryHost>>;
  }
}

/** How many hosts are noted before those that are gone are looked for. */
const LEAST_SWEEP = 16;
let sweepAt = LEAST_SWEEP;

/** What a host is made of. */
export interface MemoryHostOptions {
  /** How many devices its managers serve. */
  readonly deviceCount: number;
  readonly natives: NativeFunctions;
  readonly pinnedNatives: NativeFunctions;
  /** The kind of its ordinary memory: `host` for that of this machine. Pinned memory is always that. @defaultValue host */
  readonly memory?: string | undefined;
  /** The name of its device, for people. @defaultValue none */
  readonly deviceName?: string | undefined;
  /** Makes what `installDefaultMemoryManager` installs. @defaultValue a CachingMemoryManager, unless the process bound another */
  readonly createDefaultManager?: ManagerFactory | undefined;
  /** Makes what serves a slot while nothing is installed. @defaultValue a DefaultMemoryManager */
  readonly createFallbackManager?: ManagerFactory | undefined;
}

/**
 * Who calls a manager: this library's own runtime, or an engine behind FFI.
 * A host owns two slots, for ordinary and for pinned memory, and supplies the native functions of each.
 */
export abstract class MemoryHost {
  readonly deviceCount: number;
  readonly events = new EventEmitter<MemoryEvents>();
  readonly slot: ManagerSlot;
  readonly pinnedSlot: ManagerSlot;
  readonly #options: MemoryHostOptions;
  #used = false;

  constructor(options: MemoryHostOptions) {
    for (const name of ['createDefaultManager', 'createFallbackManager'] as const) {
      if (options[name] !== undefined) checkFunction(name, options[name]);
    }
    this.#options = options;
    this.deviceCount = options.deviceCount;
    this.slot = this.#slot('ordinary', options.natives, options.memory ?? HOST_MEMORY);
    this.pinnedSlot = this.#slot('pinned', options.pinnedNatives, HOST_MEMORY);
    noteHost(this);
    for (const listener of processState().hostListeners) listener(this);
  }

  /** Makes a default manager of this host; it is not installed yet. */
  createDefaultManager(): MemoryManagerAdapter {
    const factory = this.#options.createDefaultManager ?? processState().createDefaultManager;
    return this.#make(factory, 'createDefaultManager');
  }

  /** Installs the default manager when the host is first used, unless another was installed before. */
  protected startUse(): void {
    if (!this.#used) this.#startUse();
  }

  #startUse(): void {
    if (this.slot.closed) throw new MemoryError('ERR_MEM_DISPOSED', { what: this.constructor.name });
    if (this.slot.active === null) this.slot.install(this.createDefaultManager());
    this.#used = true;
  }

  /** `MemoryRuntime { cpu, active: CachingMemoryManager, 3 live blocks, 20.00 MiB reserved }`. @internal */
  [INSPECT](): string {
    return inspected(this, () => {
      const { deviceName } = this.#options;
      const pinned = this.pinnedSlot.active === null ? [] : slotFacts(this.pinnedSlot).map((fact) => `pinned ${fact}`);
      return [...(deviceName === undefined ? [] : [deviceName]), ...slotFacts(this.slot), ...pinned];
    });
  }

  #slot(kind: SlotKind, natives: NativeFunctions, memory: string): ManagerSlot {
    return new ManagerSlot({
      kind,
      owner: this.constructor.name,
      natives,
      memory,
      events: this.events,
      // A program may use the slot before its host does.
      createFirst: kind === 'ordinary' ? () => this.createDefaultManager() : undefined,
      createFallback: () =>
        this.#make(this.#options.createFallbackManager ?? processState().createFallbackManager, 'createFallbackManager'),
    });
  }

  #make(factory: ManagerFactory | undefined, functionName: string): MemoryManagerAdapter {
    if (factory === undefined) throw new MemoryError('ERR_MEM_NOT_INSTALLED', { functionName });
    return factory(this.deviceCount, new MemoryManagerDeviceInterface());
  }
}

/** Enters a host into what {@link memoryHosts} lists. Cost: an amortised O(1). */
function noteHost(host: MemoryHost): void {
  const { hosts } = processState();
  hosts.add(new WeakRef(host));
  if (hosts.size < sweepAt) return;
  for (const one of hosts) if (one.deref() === undefined) hosts.delete(one);
  sweepAt = Math.max(LEAST_SWEEP, 2 * hosts.size);
}

/** The hosts of this isolate that nobody has dropped, the oldest first. */
export function memoryHosts(): MemoryHost[] {
  return [...processState().hosts].flatMap((host) => host.deref() ?? []);
}

/** The host that installers use when they are given none: made at its first use. */
export function defaultHost(): MemoryHost {
  const state = processState();
  if (state.defaultHost === undefined) {
    if (state.createDefaultHost === undefined) {
      throw new MemoryError('ERR_MEM_NOT_INSTALLED', { functionName: 'createDefaultHost' });
    }
    state.defaultHost = state.createDefaultHost();
  }
  return state.defaultHost;
}
