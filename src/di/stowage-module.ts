import { orUndo } from '../core/attempt.js';
import { checkOptionNames, type OptionNames } from '../core/option-names.js';
import '../defaults.js';
import { ContainerModule, type ContainerModuleLoadOptions, type ResolutionContext, type ServiceIdentifier } from 'inversify';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import { CachingMemoryManager } from '../../managers/caching/caching-memory-manager.js';
import type { LogSink } from '../core/call-log.js';
import type { Device } from '../core/device.js';
import { MemoryManagerDeviceInterface } from '../core/device-interface.js';
import type { ManagerFactory, MemoryHost } from '../core/memory-host.js';
import type { MemoryManagerAdapter } from '../core/memory-manager-adapter.js';
import { MemoryManagerInstaller } from '../core/memory-manager-installer.js';
import { MemoryRuntime } from '../runtime/memory-runtime.js';

/** Settings of the module. */
export interface StowageSettings {
  /** Lines that a manager's log buffers before the sink gets them. @defaultValue 50 */
  readonly logFlushInterval?: number;
}

/** What a container resolves, each with its type: `container.get(StowageTokens.host)` is a MemoryHost. */
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
  /** Who calls the manager; resolving it installs the manager. @defaultValue a MemoryRuntime */
  readonly host: ServiceIdentifier<MemoryHost>;
  /** Where logged calls go; binding one turns logging on. @defaultValue none */
  readonly logSink: ServiceIdentifier<LogSink>;
}

/** The tokens of this package. `Symbol.for`, so that two copies of it mean the same. */
export const StowageTokens: StowageTokenTypes = {
  settings: Symbol.for('stowage:settings'),
  device: Symbol.for('stowage:device'),
  deviceCount: Symbol.for('stowage:deviceCount'),
  deviceInterface: Symbol.for('stowage:deviceInterface'),
  manager: Symbol.for('stowage:manager'),
  host: Symbol.for('stowage:host'),
  logSink: Symbol.for('stowage:logSink'),
};

/** What the module binds; what is left out gets the defaults of {@link StowageTokens}, unless the container has it bound. */
export interface StowageModuleOptions extends StowageSettings {
  readonly device?: Device;
  /** Makes the manager; for classes without decorators. A decorated one is bound to `StowageTokens.manager` itself. */
  readonly createManager?: ManagerFactory;
  readonly logSink?: LogSink;
}

const OPTIONS: OptionNames<StowageModuleOptions> = { device: true, createManager: true, logSink: true, logFlushInterval: true };

/**
 * Binds everything a host app needs: `container.load(stowageModule())`, then `container.get(StowageTokens.host)`.
 *
 * The manager is installed when the host is first resolved. It is uninstalled when the manager is unbound, or the host is,
 * or the module is unloaded, or `container.unbindAll()` is called. A host that the module made is closed then, too;
 * one that the app bound stays open.
 */
export function stowageModule(options: StowageModuleOptions = {}): ContainerModule {
  checkOptionNames('stowageModule', options, OPTIONS);
  return new ContainerModule((load) => {
    const activation: Activation = { host: undefined };
    bindParts(load, options, activation);
    bindManager(load, options);
    bindHost(load, activation);
  });
}

/** The host that is being activated, or was: its manager serves its devices. */
interface Activation {
  host: MemoryHost | undefined;
}

function bindParts(load: ContainerModuleLoadOptions, options: StowageModuleOptions, activation: Activation): void {
  const { settings, device, deviceCount, deviceInterface, logSink } = StowageTokens;
  if (!load.isBound(settings)) load.bind(settings).toConstantValue(options);
  if (options.device !== undefined) load.bind(device).toConstantValue(options.device);
  else if (!load.isBound(device))
    load
      .bind(device)
      .toDynamicValue(() => new CpuDevice())
      .inSingletonScope();
  if (options.logSink !== undefined) load.bind(logSink).toConstantValue(options.logSink);
  load.bind(deviceCount).toDynamicValue((context) => activation.host?.deviceCount ?? context.get(device).deviceCount);
  load.bind(deviceInterface).toDynamicValue(() => new MemoryManagerDeviceInterface());
}

function bindManager(load: ContainerModuleLoadOptions, options: StowageModuleOptions): void {
  const { manager, deviceCount, deviceInterface } = StowageTokens;
  const create: ManagerFactory = options.createManager ?? ((count, table) => new CachingMemoryManager(count, table));
  if (options.createManager === undefined && load.isBound(manager)) return;
  load
    .bind(manager)
    .toDynamicValue((context) => create(context.get(deviceCount), context.get(deviceInterface)))
    .inSingletonScope();
}

function bindHost(load: ContainerModuleLoadOptions, activation: Activation): void {
  const { host, manager, device } = StowageTokens;
  let own: MemoryRuntime | undefined;
  let seat: { readonly host: MemoryHost; readonly manager: MemoryManagerAdapter } | undefined;
  const uninstall = (): void => {
    if (seat?.host.slot.installed === seat?.manager) seat?.host.slot.unset();
    seat = undefined;
  };
  if (!load.isBound(host)) {
    const open = (context: ResolutionContext): MemoryRuntime => (own = new MemoryRuntime(context.get(device)));
    load.bind(host).toDynamicValue(open).inSingletonScope();
  }
  const install = (context: ResolutionContext, activated: MemoryHost): void => {
    activation.host = activated;
    const installed = context.get(manager);
    if (seat?.host === activated && seat.manager === installed) return;
    configureLog(context, installed);
    new MemoryManagerInstaller(installed, activated).setAsMemoryManager();
    seat = { host: activated, manager: installed };
  };
  const close = (): void => {
    own?.close();
    own = undefined;
    activation.host = undefined;
  };
  load.onActivation(host, (context, activated) => {
    orUndo(() => install(context, activated), close);
    return activated;
  });
  load.onDeactivation(manager, uninstall);
  load.onDeactivation(host, () => {
    uninstall();
    close();
  });
}

function configureLog(context: ResolutionContext, manager: MemoryManagerAdapter): void {
  const sink = context.get(StowageTokens.logSink, { optional: true });
  if (sink === undefined) return;
  const { logFlushInterval } = context.get(StowageTokens.settings);
  if (logFlushInterval !== undefined) manager.setLogFlushInterval(logFlushInterval);
  manager.setLogStream(sink);
  manager.setLoggingEnabled(true);
}
