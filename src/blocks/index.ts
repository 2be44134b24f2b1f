export { AddressHash } from './address-hash.js';
export type { AddressIndex } from './address-index.js';
export { BlockTable, ensure, MANAGER_LOCK, NONE, REFERENCE_LOCK, USER_LOCK } from './block-table.js';
export { FreeBlockIndex } from './free-block-index.js';
export { PageTable } from './page-table.js';
