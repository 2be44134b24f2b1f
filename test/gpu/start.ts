import { join } from 'node:path';
import { main } from './main.js';

// In a bundle: its root is above app/test/gpu.
process.exitCode = await main(join(import.meta.dirname, '../../..'), process.argv.slice(2));
