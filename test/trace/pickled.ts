import { OPCODE } from '../../src/trace/formats/pickle-format.js';
import { PickleWriter } from '../../src/trace/formats/pickle-writer.js';

/** Pickles plain data. */
export function pickled(value: unknown): Buffer {
  const chunks: Buffer[] = [];
  const pickle = new PickleWriter({ write: (chunk) => chunks.push(Buffer.from(chunk as Uint8Array)) });
  const put = (one: unknown): void => {
    if (typeof one === 'string') pickle.key(one);
    // Inactive blocks of PyTorch have sizes of 2^64 - 1 that nobody asked for.
    else if (typeof one === 'number') pickle.integer(Number.isSafeInteger(one) ? one : 0);
    else if (typeof one === 'boolean') pickle.put(one ? OPCODE.newTrue : OPCODE.newFalse);
    else if (Array.isArray(one)) {
      pickle.put(OPCODE.emptyList);
      pickle.put(OPCODE.mark);
      for (const item of one) put(item);
      pickle.put(OPCODE.appends);
    } else {
      pickle.put(OPCODE.emptyDict);
      pickle.put(OPCODE.mark);
      const dictionary = one as Record<string, unknown>;
      for (const key of Object.keys(dictionary)) {
        pickle.key(key);
        put(dictionary[key]);
      }
      pickle.put(OPCODE.setItems);
    }
  };
  put(value);
  pickle.stop();
  return Buffer.concat(chunks);
}
