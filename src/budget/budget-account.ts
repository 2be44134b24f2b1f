import { attempt } from '../core/attempt.js';
import { checkUsable, type MemoryError } from '../core/errors.js';
import type { NativeCharge } from '../core/native-charge.js';
import { checkStackRoomHere } from '../core/stack-room.js';
import type { BudgetLedger } from './budget-ledger.js';
import type { BudgetMember } from './budget-member.js';
import type { FreedMemory } from './freed-memory.js';
import { type BudgetReservation, currentReservation } from './reservation.js';

/** How often a request asks for the room that it made, when others who share the limit are quicker. */
const TRIES = 8;

/** What an account asks of its budget. */
export interface AccountOwner {
  /** How many bytes may be held now. */
  readonly limitBytes: number;
  /** Makes room for bytes that do not fit. @throws ERR_MEM_OUT_OF_MEMORY when there is none */
  makeRoom(asking: BudgetMember, bytes: number): void;
  /** Notes that bytes were granted. */
  granted(bytes: number): void;
  /** Makes the error of a request that is refused without further ado. */
  refusal(asking: BudgetMember, bytes: number): MemoryError;
  /** Notes that bytes came which nobody could refuse, and went past the limit. */
  overshot(asking: BudgetMember, bytes: number): void;
  /** Notes that bytes were given back. */
  hasRoom(): void;
}

/**
 * What is held of one budget, and of those around it.
 *
 * Invariant: `usedBytes == sum(member.heldBytes)`. Bytes are counted before the native call that gets them, and no longer after the one
 * that has given them back: what is there is never more than what is counted. No call that can be refused carries `usedBytes` past
 * the limit.
 */
export class BudgetAccount {
  usedBytes = 0;
  peakBytes = 0;
  /** How often bytes came back. */
  gives = 0;
  readonly members = new Set<BudgetMember>();
  readonly reservations = new Set<BudgetReservation>();
  /** The budget around this one. */
  parent: NativeCharge | undefined;
  /** Who asks now. */
  asking: BudgetMember | undefined;
  readonly #owner: AccountOwner;
  readonly #ledger: BudgetLedger | undefined;

  /**
   * @param ledger - where other isolates and processes count what they hold of the same limit
   * @param freed - what the C library may keep of memory that was given back; undefined for a card's
   */
  constructor(
    owner: AccountOwner,
    ledger: BudgetLedger | undefined,
    readonly freed: FreedMemory | undefined,
  ) {
    this.#owner = owner;
    this.#ledger = ledger;
  }

  /** Undefined once it has ended, and with it all that was counted there: who frees afterwards must not be refused. */
  get ledger(): BudgetLedger | undefined {
    return this.#ledger?.disposed === true ? undefined : this.#ledger;
  }

  /** By how much bytes would go past the limit: that of this budget, or of all who share it. */
  missingBytes(bytes: number): number {
    const { ledger } = this;
    const missing = this.#missingHere(bytes);
    return ledger === undefined ? missing : Math.max(missing, ledger.usedBytes + bytes - ledger.limitBytes);
  }

  #missingHere(bytes: number): number {
    return this.usedBytes + bytes - this.#owner.limitBytes;
  }

  /** How many bytes a member may hold at most, of this budget and of those around it. O(members) of each */
  mostBytesOf(member: BudgetMember): number {
    let most = Math.min(this.#owner.limitBytes, this.parent?.mostBytes ?? Number.POSITIVE_INFINITY);
    for (const other of this.members) if (other !== member) most -= other.keptBytes;
    return Math.max(0, most);
  }

  /** Counts bytes that a member is about to get. @throws ERR_MEM_OUT_OF_MEMORY, ERR_MEM_DISPOSED without its ledger; nothing has changed then */
  take(member: BudgetMember, bytes: number): void {
    checkStackRoomHere();
    checkUsable(this.#ledger?.disposed !== true, 'ledger of a budget');
    const drawn = this.reservations.size === 0 ? 0 : this.#draw(member, bytes);
    try {
      if (bytes > drawn) this.#grant(member, bytes - drawn);
    } catch (error) {
      if (drawn > 0) this.#giveUp(member, drawn);
      throw error;
    }
    member.hold(bytes);
    this.#keepFreedWithinLimit();
  }

  /** Counts bytes that a member has got already. */
  force(member: BudgetMember, bytes: number): void {
    this.#count(bytes);
    member.hold(bytes);
    this.parent?.force(bytes);
    if (member.kind !== 'segment') this.ledger?.force(bytes);
    if (bytes > 0 && this.missingBytes(0) > 0) this.#owner.overshot(member, bytes);
    this.#keepFreedWithinLimit();
  }

  /** Counts bytes of a member no more. */
  give(member: BudgetMember, bytes: number): void {
    member.heldBytes -= bytes;
    if (this.parent === undefined && (member.kind === 'memory' || member.kind === 'budget')) this.freed?.freed(bytes);
    this.#giveUp(member, bytes);
  }

  /** Gives bytes that no member holds back to the reservations that they were drawn from, and what is left over to everybody. */
  #giveUp(member: BudgetMember, bytes: number): void {
    const rest = member.drawnFrom.size === 0 ? bytes : bytes - this.#refill(member, bytes);
    if (rest === 0) return;
    this.usedBytes -= rest;
    this.gives++;
    this.parent?.give(rest);
    if (member.kind === 'segment') this.ledger?.detachSegment(member.name);
    else this.ledger?.give(rest);
    this.#owner.hasRoom();
  }

  /** Has the system get what was freed, before it and what is held are more than the limit. */
  #keepFreedWithinLimit(): void {
    const { freed } = this;
    if (freed === undefined || freed.bytes === 0 || this.missingBytes(freed.bytes) <= 0) return;
    attempt(() => freed.giveBackMuch(this.#owner.limitBytes));
  }

  #grant(member: BudgetMember, bytes: number): void {
    const before = this.asking;
    this.asking = member;
    try {
      // A segment may be counted in the ledger already.
      const missing = member.kind === 'segment' ? this.#missingHere(bytes) : this.missingBytes(bytes);
      if (missing > 0) this.#owner.makeRoom(member, bytes);
      this.#count(bytes);
      const { parent } = this;
      try {
        parent?.take(bytes);
        this.#grantShared(member, bytes);
      } catch (error) {
        this.usedBytes -= bytes;
        // A listener may have put this budget into another one meanwhile, with these bytes.
        if (this.parent !== parent) this.parent?.give(bytes);
        throw error;
      }
    } finally {
      this.asking = before;
    }
    // The bytes are the member's: what follows may fail without them.
    attempt(() => this.#owner.granted(bytes));
  }

  /** Takes bytes of the limit that others share. One of them may take the room meanwhile that was made here. */
  #grantShared(member: BudgetMember, bytes: number): void {
    const { ledger } = this;
    if (ledger === undefined) return;
    const take = () => (member.kind === 'segment' ? ledger.attachSegment(member.name, bytes) : ledger.take(bytes));
    for (let tries = 0; !take(); tries++) {
      // Counted here already, and not there.
      this.usedBytes -= bytes;
      try {
        if (tries === TRIES) throw this.#owner.refusal(member, bytes);
        this.#owner.makeRoom(member, bytes);
      } finally {
        this.usedBytes += bytes;
      }
    }
  }

  #count(bytes: number): void {
    this.usedBytes += bytes;
    if (this.usedBytes > this.peakBytes) this.peakBytes = this.usedBytes;
  }

  #draw(member: BudgetMember, bytes: number): number {
    // A ledger counts segments apart: what is drawn would be counted there as this isolate's, and never given back.
    if (member.kind === 'segment' && this.ledger !== undefined) return 0;
    return this.#current?.draw(member, bytes) ?? 0;
  }

  /** Refills reservations, first that of the job that runs: what it has just drawn in vain returns to it. */
  #refill(member: BudgetMember, bytes: number): number {
    let back = this.#current?.refill(member, bytes) ?? 0;
    for (const reservation of member.drawnFrom) back += reservation.refill(member, bytes - back);
    return back;
  }

  get #current(): BudgetReservation | undefined {
    const reservation = currentReservation();
    return reservation !== undefined && this.reservations.has(reservation) ? reservation : undefined;
  }
}
