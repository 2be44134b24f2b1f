// The fields of a block, as JavaScript reads and writes them.

import * as layout from './layout';
import { Block } from './layout';
import { idOf } from './block-rows';

export function addressOf(block: Block): f64 {
  return block.address;
}

export function bytesOf(block: Block): f64 {
  return block.bytes;
}

export function requestedOf(block: Block): f64 {
  return block.requested;
}

export function previousOf(block: Block): i32 {
  return idOf(block.previous);
}

export function nextOf(block: Block): i32 {
  return idOf(block.next);
}

export function deviceOf(block: Block): i32 {
  return block.owner.heap.device;
}

export function groupOf(block: Block): i32 {
  return block.group;
}

export function stateOf(block: Block): i32 {
  return layout.stateOf(block);
}

export function setState(block: Block, state: i32): void {
  block.status = (block.status & ~0xff) | <u32>state;
}

export function locksOf(block: Block): i32 {
  return layout.locksOf(block);
}

export function setLocks(block: Block, locks: i32): void {
  block.status = (block.status & ~0xff00) | (<u32><u8>locks << 8);
}

export function setHasUsers(block: Block, hasUsers: i32): void {
  block.status = (block.status & 0xffff) | (<u32>hasUsers << 16);
}

export function rowOf(block: Block): i32 {
  return block.row;
}

export function markOf(block: Block): i32 {
  return block.mark;
}

export function setMark(block: Block, mark: i32): void {
  block.mark = mark;
}
