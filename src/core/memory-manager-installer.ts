import { checkHost, checkManager } from './check-given.js';
import { MemoryError } from './errors.js';
import { defaultHost, type MemoryHost } from './memory-host.js';
import type { MemoryManagerAdapter } from './memory-manager-adapter.js';
import { processState } from './process-state.js';

/**
 * Installs a manager in a host.
 *
 * Making an installer fills the manager's table; dropping it changes nothing.
 *
 * @see Source: Flashlight, fl::MemoryManagerInstaller
 */
export class MemoryManagerInstaller<M extends MemoryManagerAdapter = MemoryManagerAdapter> {
  readonly #manager: M;
  readonly #host: MemoryHost;

  /**
   * Fills the manager's table with the host's functions for ordinary memory.
   *
   * @param host - the process's default runtime when left out
   * @throws ERR_MEM_TABLE_IN_USE when the manager's table serves another manager or host
   */
  constructor(manager: M, host: MemoryHost = defaultHost()) {
    checkManager(manager);
    checkHost(host);
    this.#manager = manager;
    this.#host = host;
    if (manager.lifecycle.state === 'created') host.slot.fill(manager);
  }

  getMemoryManager(): M {
    return this.#manager;
  }

  /** Makes the manager the active one for ordinary memory. @throws as {@link ManagerSlot.install} */
  setAsMemoryManager(): void {
    this.#host.slot.install(this.#manager);
  }

  /** Makes the manager the active one for pinned memory. @throws as {@link ManagerSlot.install} */
  setAsMemoryManagerPinned(): void {
    this.#host.pinnedSlot.install(this.#manager);
  }

  /**
   * Finds a manager by its handle.
   *
   * @throws ERR_MEM_INVALID_ARGUMENT when there is no such manager any more
   */
  static getImpl(handle: number): MemoryManagerAdapter {
    const manager = processState().managers.get(handle)?.deref();
    if (manager !== undefined) return manager;
    throw new MemoryError('ERR_MEM_INVALID_ARGUMENT', {
      name: 'handle',
      value: String(handle),
      expected: 'the handle of a manager that exists',
    });
  }

  /** The manager that was installed for ordinary memory, or null when the host's own default serves. */
  static currentlyInstalledMemoryManager(host: MemoryHost = defaultHost()): MemoryManagerAdapter | null {
    return host.slot.installed;
  }

  /** Installs a fresh default manager for ordinary memory: a CachingMemoryManager, unless the host app bound another. */
  static installDefaultMemoryManager(host: MemoryHost = defaultHost()): void {
    new MemoryManagerInstaller(host.createDefaultManager(), host).setAsMemoryManager();
  }

  /** Goes back to the host's own manager for ordinary memory. Does nothing when none is installed. */
  static unsetMemoryManager(host: MemoryHost = defaultHost()): void {
    host.slot.unset();
  }
}
