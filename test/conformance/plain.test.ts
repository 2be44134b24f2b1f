import { PlainManager } from '../core/fakes.js';
import { describeManager } from './manager-suite.js';

describeManager('PlainManager', (_, table, options) => new PlainManager(table, options?.logStream));
