import { expect } from 'vitest';
import { CAllocatorHost, zlibAllocator } from '../../adapters/hosts/c-allocator/index.js';
import { requireLibrary } from '../fixtures/requires.js';
import { describeHost } from './host-suite.js';
import { Z_STREAM_END, Zlib } from './zlib.js';

const needed = requireLibrary('zlib', ['libz.so.1', 'libz.dylib'], { deep: true });
const input = Uint8Array.from({ length: 300_000 }, (_, i) => (i * i) >> 7);

describeHost(`CAllocatorHost under ${needed.title}`, {
  skip: needed.missing,
  expected: () => new Zlib(needed.library).deflate(input).output,
  open: () => {
    const zlib = new Zlib(needed.library);
    const host = new CAllocatorHost();
    const allocator = zlibAllocator(host);
    return {
      host,
      whenRefused: 'fails',
      work: (during) => {
        const { status, output } = zlib.deflate(input, allocator, (native) => host.call(native), during);
        if (status !== Z_STREAM_END) expect.fail(`zlib answers ${status}`);
        return output;
      },
      close: () => host.dispose(),
    };
  },
});
