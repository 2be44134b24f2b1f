import { TlsfMemoryManager } from '../../managers/tlsf/tlsf-memory-manager.js';
import { describeManager } from './manager-suite.js';

describeManager('TlsfMemoryManager', (deviceCount, table, options) => new TlsfMemoryManager(deviceCount, table, options));
