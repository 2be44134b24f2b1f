import { CpuDevice } from '../../adapters/devices/cpu.js';
import {
  CachingMemoryManager,
  DefaultMemoryManager,
  FailingMemoryManager,
  GuardedMemoryManager,
  LimitingMemoryManager,
  StatisticsMemoryManager,
  TrackingMemoryManager,
} from '../../managers/index.js';
import { PlainManager } from '../core/fakes.js';
import { FakeGuardMemory } from '../managers/guard-memory-fake.js';
import { CPU, type DeviceCase, type ManagerMaker, SIMULATED } from './manager-bench.js';
import { describeManager } from './manager-suite.js';

const limits = { limitBytes: 2 ** 53 - 1, limitBlocks: 1e6 };

/** Guards need the device itself, which a maker is not given: the case remembers the last one it made. */
let cpu = new CpuDevice();
const GUARDABLE_CPU: DeviceCase = {
  ...CPU,
  isWritten: true,
  make: () => {
    cpu = new CpuDevice();
    return cpu;
  },
};
/** Makes a decorator around a manager, with a call log for the outermost. */
type Wrap = (inner: ReturnType<ManagerMaker>, options?: Parameters<ManagerMaker>[2]) => ReturnType<ManagerMaker>;

const limiting: Wrap = (inner, options) => new LimitingMemoryManager(inner, { ...limits, ...options });
const tracking: Wrap = (inner, options) => new TrackingMemoryManager(inner, { ...options });
const sites: Wrap = (inner, options) => new TrackingMemoryManager(inner, { sites: 3, ...options });
const statistics: Wrap = (inner, options) => new StatisticsMemoryManager(inner, options);
const failing: Wrap = (inner, options) => new FailingMemoryManager(inner, { ...options });
const guarded: Wrap = (inner, options) => new GuardedMemoryManager(inner, { memory: new FakeGuardMemory(), ...options });
const guardedCpu: Wrap = (inner, options) => new GuardedMemoryManager(inner, { memory: cpu, ...options });

const caching: ManagerMaker = (deviceCount, table) => new CachingMemoryManager(deviceCount, table);
const byDefault: ManagerMaker = (deviceCount, table) => new DefaultMemoryManager(deviceCount, table);
const plain: ManagerMaker = (_, table) => new PlainManager(table);

/** Puts decorators around a manager, the first outermost. */
function stack(make: ManagerMaker, ...wraps: [Wrap, ...Wrap[]]): ManagerMaker {
  const [outermost, ...others] = wraps;
  return (deviceCount, table, options) =>
    outermost(
      others.reduceRight((inner, wrap) => wrap(inner), make(deviceCount, table)),
      options,
    );
}

describeManager('LimitingMemoryManager', stack(caching, limiting));
describeManager('TrackingMemoryManager', stack(caching, tracking));
describeManager('TrackingMemoryManager with sites', stack(byDefault, sites));
describeManager('StatisticsMemoryManager', stack(caching, statistics));
describeManager('FailingMemoryManager', stack(caching, failing));
describeManager('GuardedMemoryManager', stack(caching, guarded), [SIMULATED]);
describeManager('GuardedMemoryManager', stack(caching, guardedCpu), [GUARDABLE_CPU]);
describeManager('GuardedMemoryManager over default', stack(byDefault, guarded), [SIMULATED]);
describeManager('Limiting(Tracking(Statistics))', stack(caching, limiting, tracking, statistics));
describeManager('Statistics(Guarded(Tracking))', stack(caching, statistics, guardedCpu, sites), [GUARDABLE_CPU]);
describeManager('Guarded(Guarded(Limiting))', stack(byDefault, guarded, guarded, limiting), [SIMULATED]);
describeManager('Tracking(Failing(Guarded))', stack(byDefault, tracking, failing, guarded), [SIMULATED]);
describeManager('Tracking(Failing(Limiting(PlainManager)))', stack(plain, tracking, failing, limiting));
