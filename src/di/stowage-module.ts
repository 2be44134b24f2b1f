import { checkOptionNames, type OptionNames } from '../core/option-names.js';
import '../defaults.js';
import { ContainerModule, type ContainerModuleLoadOptions, type ResolutionContext } from 'inversify';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import { CachingMemoryManager } from '../../managers/caching/caching-memory-manager.js';
import type { LogSink } from '../core/call-log.js';
import { checkDevice, checkFunction, checkManager, checkSink } from '../core/check-given.js';
import type { Device } from '../core/device.js';
import { MemoryManagerDeviceInterface } from '../core/device-interface.js';
import { badArgument } from '../core/errors.js';
import type { ManagerFactory, MemoryHost } from '../core/memory-host.js';
import type { MemoryManagerAdapter } from '../core/memory-manager-adapter.js';
import { MemoryManagerInstaller } from '../core/memory-manager-installer.js';
import { MemoryRuntime } from '../runtime/memory-runtime.js';
import { type StowageSettings, StowageTokens } from './stowage-tokens.js';

/** What the module binds; what is left out gets the defaults of {@link StowageTokens}, unless the container has it bound. */
export interface StowageModuleOptions extends StowageSettings {
  readonly device?: Device;
  /** Makes the manager; for classes without decorators. A decorated one is bound to `StowageTokens.manager` itself. */
  readonly createManager?: ManagerFactory;
  readonly logSink?: LogSink;
}

const OPTIONS: OptionNames<StowageModuleOptions> = { device: true, createManager: true, logSink: true, logFlushInterval: true };

/**
 * Binds everything a host app needs: `container.load(stowageModule())`, then `container.get(StowageTokens.runtime)`.
 *
 * The manager is installed when the runtime or the host is first resolved. It is uninstalled when it is unbound; one that is bound
 * then is installed when either is resolved next. Unloading the module and `container.unbindAll()` uninstall it, too, and close
 * the runtime that the module made; a host that the app bound stays open.
 */
export function stowageModule(options: StowageModuleOptions = {}): ContainerModule {
  checkOptionNames('stowageModule', options, OPTIONS);
  if (options.device !== undefined) checkDevice(options.device);
  if (options.createManager !== undefined) checkFunction('createManager', options.createManager);
  if (options.logSink !== undefined) checkSink('logSink', options.logSink);
  return new ContainerModule((load) => {
    const seat = new HostSeat(load);
    bindParts(load, options, seat);
    bindManager(load, options);
    bindHost(load, seat);
  });
}

function bindParts(load: ContainerModuleLoadOptions, options: StowageModuleOptions, seat: HostSeat): void {
  const { settings, device, deviceCount, deviceInterface, logSink } = StowageTokens;
  if (!load.isBound(settings)) load.bind(settings).toConstantValue(options);
  if (options.device !== undefined) load.bind(device).toConstantValue(options.device);
  else if (!load.isBound(device))
    load
      .bind(device)
      .toDynamicValue(() => new CpuDevice())
      .inSingletonScope();
  if (options.logSink !== undefined) load.bind(logSink).toConstantValue(options.logSink);
  load.bind(deviceCount).toDynamicValue((context) => seat.host?.deviceCount ?? context.get(device).deviceCount);
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

function bindHost(load: ContainerModuleLoadOptions, seat: HostSeat): void {
  const { host, runtime, device } = StowageTokens;
  if (load.isBound(host)) {
    load.onActivation(host, (context, activated) => seat.installIn(activated, context));
    load.onDeactivation(host, () => seat.leave());
  } else if (load.isBound(runtime)) {
    load.bind(host).toDynamicValue((context) => seat.installIn(context.get(runtime), context));
  } else {
    // A singleton of its own, which ends with the container. The tokens look each time whether there is a new manager.
    const opened: unique symbol = Symbol('stowage:opened');
    load
      .bind<MemoryRuntime>(opened)
      .toDynamicValue((context) => new MemoryRuntime(context.get(device)))
      .inSingletonScope()
      .onDeactivation((own) => {
        seat.leave();
        own.close();
      });
    load.bind(host).toDynamicValue((context) => {
      const own = context.get<MemoryRuntime>(opened);
      return seat.installIn(own, context);
    });
  }
  if (load.isBound(runtime)) {
    load.onActivation(runtime, (context, activated) => seat.installIn(activated, context));
    load.onDeactivation(runtime, () => seat.leave());
  } else load.bind(runtime).toDynamicValue((context) => seat.installIn(checkRuntime(context.get(host)), context));
}

function checkRuntime(host: MemoryHost): MemoryRuntime {
  if (typeof (host as MemoryRuntime).allocate === 'function') return host as MemoryRuntime;
  throw badArgument('StowageTokens.host', host.constructor.name, 'a MemoryRuntime, for StowageTokens.runtime');
}

/** Where the container's manager is installed. */
class HostSeat {
  /** Its manager serves the devices of this host. */
  host: MemoryHost | undefined;
  readonly #load: ContainerModuleLoadOptions;
  #installed: MemoryManagerAdapter | undefined;
  /** The container forgets who wants to know when it has told them. */
  #isTold = false;

  constructor(load: ContainerModuleLoadOptions) {
    this.#load = load;
  }

  /** Installs the container's manager in a host, unless that is done. @returns the host */
  installIn<H extends MemoryHost>(host: H, context: ResolutionContext): H {
    if (this.host === host && this.#installed !== undefined) return host;
    this.host = host;
    const { manager } = StowageTokens;
    const installed = context.get(manager);
    checkManager(installed, 'what StowageTokens.manager is bound to, or createManager makes: a manager');
    configureLog(context, installed);
    new MemoryManagerInstaller(installed, host).setAsMemoryManager();
    this.#installed = installed;
    if (!this.#isTold) this.#load.onDeactivation(manager, () => this.#uninstall());
    this.#isTold = true;
    return host;
  }

  /** Uninstalls the manager, and lets go of the host. */
  leave(): void {
    this.#uninstall();
    this.host = undefined;
  }

  #uninstall(): void {
    this.#isTold = false;
    const installed = this.#installed;
    this.#installed = undefined;
    if (installed !== undefined && this.host?.slot.installed === installed) this.host.slot.unset();
  }
}

function configureLog(context: ResolutionContext, manager: MemoryManagerAdapter): void {
  const sink = context.get(StowageTokens.logSink, { optional: true });
  if (sink === undefined) return;
  const { logFlushInterval } = context.get(StowageTokens.settings);
  if (logFlushInterval !== undefined) manager.setLogFlushInterval(logFlushInterval);
  manager.setLogStream(sink);
  manager.setLoggingEnabled(true);
}
