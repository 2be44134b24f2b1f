import { describe, expect, test } from 'vitest';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { SimulatedStreams } from '../../adapters/devices/simulated-streams.js';
import { codeOf } from '../fixtures/code-of.js';

describe('SimulatedStreams', () => {
  describe('advance', () => {
    test('does work in order, so much as it is told', () => {
      const streams = new SimulatedStreams();
      const done: number[] = [];
      for (let i = 0; i < 4; i++) streams.submit(1, () => done.push(i));
      expect(done).toEqual([]);
      expect(streams.advance(1)).toBe(1);
      expect(streams.advance(1, 2)).toBe(2);
      expect(done).toEqual([0, 1, 2]);
      expect(streams.pending(1)).toBe(1);
      expect(streams.advance(1, Number.POSITIVE_INFINITY)).toBe(1);
      expect(streams.advance(2)).toBe(0);
    });

    test('stops at a wait until the event is done', () => {
      const streams = new SimulatedStreams();
      const done: string[] = [];
      streams.submit(1, () => done.push('a'));
      const event = streams.record(1);
      streams.submit(2, () => done.push('before'));
      streams.wait(2, event);
      streams.submit(2, () => done.push('after'));
      expect(streams.advance(2, 9)).toBe(1);
      streams.advance(1);
      expect(streams.advance(2, 9)).toBe(1);
      expect(done).toEqual(['before', 'a', 'after']);
    });

    test('counts work that throws as done', () => {
      const streams = new SimulatedStreams();
      streams.submit(0, () => {
        throw new Error('work');
      });
      expect(() => streams.advance(0)).toThrow('work');
      expect(streams.pending(0)).toBe(0);
    });

    test('lets work submit more', () => {
      const streams = new SimulatedStreams();
      streams.submit(0, () => streams.submit(0));
      expect(streams.advance(0, 5)).toBe(2);
    });

    test('refuses bad arguments', () => {
      const streams = new SimulatedStreams();
      for (const bad of [-1, 0.5, Number.NaN]) {
        expect(codeOf(() => streams.advance(0, bad))).toBe('ERR_MEM_INVALID_ARGUMENT');
        expect(codeOf(() => streams.submit(bad))).toBe('ERR_MEM_INVALID_ARGUMENT');
        expect(codeOf(() => streams.record(bad))).toBe('ERR_MEM_INVALID_ARGUMENT');
      }
    });
  });

  describe('query', () => {
    test('tells whether the work before an event is done', () => {
      const streams = new SimulatedStreams();
      expect(streams.query(streams.record(3))).toBe(true);
      streams.submit(3);
      const event = streams.record(3);
      streams.submit(3);
      expect(streams.query(event)).toBe(false);
      streams.advance(3);
      expect(streams.query(event)).toBe(true);
    });

    test('sees through a wait that is over', () => {
      const streams = new SimulatedStreams();
      streams.submit(1);
      streams.wait(2, streams.record(1));
      const event = streams.record(2);
      expect(streams.query(event)).toBe(false);
      streams.advance(1);
      expect(streams.query(event)).toBe(true);
    });
  });

  describe('synchronize', () => {
    test('does what the event needs, in all streams, and no more', () => {
      const streams = new SimulatedStreams();
      const done: string[] = [];
      streams.submit(1, () => done.push('1a'));
      const first = streams.record(1);
      streams.submit(1, () => done.push('1b'));
      streams.wait(2, first);
      streams.submit(2, () => done.push('2a'));
      const event = streams.record(2);
      streams.submit(2, () => done.push('2b'));
      streams.synchronize(event);
      expect(done).toEqual(['1a', '2a']);
      expect(streams.query(event)).toBe(true);
    });

    test('follows a long chain of waits', () => {
      const streams = new SimulatedStreams();
      let done = 0;
      for (let i = 0; i < 20_000; i++) {
        const event = streams.record((i + 1) % 2);
        streams.wait(i % 2, event);
        streams.destroy(event);
        streams.submit(i % 2, () => {
          done++;
        });
      }
      streams.synchronize(streams.record(1));
      expect(done).toBe(20_000);
    });
  });

  describe('destroy', () => {
    test('gives an event back; one that is left shows', () => {
      const streams = new SimulatedStreams();
      const [a, b] = [streams.record(0), streams.record(0)];
      expect(streams.liveEvents).toBe(2);
      streams.destroy(a);
      expect(streams.liveEvents).toBe(1);
      for (const call of [streams.query, streams.synchronize, streams.destroy]) {
        expect(codeOf(() => call.call(streams, a))).toBe('ERR_MEM_INVALID_ARGUMENT');
      }
      expect(codeOf(() => streams.wait(0, a))).toBe('ERR_MEM_INVALID_ARGUMENT');
      expect(streams.pending(0)).toBe(0);
      expect(streams.query(b)).toBe(true);
    });

    test('leaves a wait for the event as it is', () => {
      const streams = new SimulatedStreams();
      streams.submit(1);
      const event = streams.record(1);
      streams.wait(2, event);
      streams.submit(2);
      streams.destroy(event);
      expect(streams.advance(2)).toBe(0);
      streams.advance(1);
      expect(streams.advance(2)).toBe(1);
    });
  });

  describe('defaultStream', () => {
    test('names a stream of each device, which 0 is while that device is active', () => {
      let active = 0;
      const streams = new SimulatedStreams(() => active);
      const [first, second] = [streams.defaultStream(0), streams.defaultStream(1)];
      streams.submit(0);
      active = 1;
      expect([streams.pending(0), streams.pending(first), streams.pending(second)]).toEqual([0, 1, 0]);
      const event = streams.record(0);
      expect([streams.query(event), streams.query(streams.record(first))]).toEqual([true, false]);
      streams.advance(first);
      active = 0;
      expect(streams.pending(0)).toBe(0);
      expect(streams.create()).toBe(1);
    });

    test('is where work on memory of a device goes, whichever device is active', async () => {
      const device = new SimulatedDevice({ deviceCount: 2, streams: true, virtual: true });
      const streams = device.streams!;
      const [zero, pinned] = [device.nativeAlloc(64), device.pinnedAlloc(64)];
      device.activate(1);
      const one = device.virtual!.reserve(device.virtual!.granularityBytes);
      device.virtual!.commit(one, device.virtual!.granularityBytes);
      device.activate(0);
      const work = [device.fillAsync(one, 1, 64), device.copyAsync(one, pinned, 64), device.copyAsync(pinned, one, 64)];
      device.activate(1);
      work.push(device.fillAsync(zero, 1, 64), device.fillAsync(zero, 1, 0));
      expect([streams.pending(streams.defaultStream(0)), streams.pending(streams.defaultStream(1))]).toEqual([1, 4]);
      device.synchronize();
      expect([streams.pending(streams.defaultStream(0)), streams.pending(0)]).toEqual([1, 0]);
      device.activate(0);
      device.synchronize();
      await Promise.all(work);
    });
  });

  describe('advanceAll', () => {
    test('does everything, as does synchronize of the device', () => {
      const device = new SimulatedDevice({ streams: true });
      const streams = device.streams as SimulatedStreams;
      const done: number[] = [];
      streams.submit(2, () => done.push(2));
      streams.wait(1, streams.record(2));
      streams.submit(1, () => done.push(1));
      streams.advanceAll();
      expect(done).toEqual([2, 1]);
      streams.submit(1, () => done.push(3));
      device.synchronize();
      expect(done).toEqual([2, 1, 3]);
    });
  });
});
